"""What the status of a Login Response means, and the errors that carry one (RFC 7143 section 11.13.5)."""

from __future__ import annotations

from iscsim.errors import LoginFailed, NegotiationError
from iscsim.pdu.constants import LoginStatus

STATUS_TEXTS = {
    LoginStatus.SUCCESS: "success",
    LoginStatus.TARGET_MOVED_TEMPORARILY: "the target has moved temporarily",
    LoginStatus.TARGET_MOVED_PERMANENTLY: "the target has moved permanently",
    LoginStatus.INITIATOR_ERROR: "initiator error",
    LoginStatus.AUTHENTICATION_FAILURE: "authentication failed",
    LoginStatus.AUTHORIZATION_FAILURE: "the initiator may not use this target",
    LoginStatus.NOT_FOUND: "no such target at this address",
    LoginStatus.TARGET_REMOVED: "the target has been removed",
    LoginStatus.UNSUPPORTED_VERSION: "the iSCSI version is not supported",
    LoginStatus.TOO_MANY_CONNECTIONS: "too many connections in this session",
    LoginStatus.MISSING_PARAMETER: "a parameter is missing",
    LoginStatus.CANNOT_INCLUDE_IN_SESSION: "the connection cannot be part of this session",
    LoginStatus.SESSION_TYPE_NOT_SUPPORTED: "the session type is not supported",
    LoginStatus.SESSION_DOES_NOT_EXIST: "the session does not exist",
    LoginStatus.INVALID_DURING_LOGIN: "a request that is invalid during login",
    LoginStatus.TARGET_ERROR: "target error",
    LoginStatus.SERVICE_UNAVAILABLE: "the target is not operational now",
    LoginStatus.OUT_OF_RESOURCES: "the target is out of resources",
}


class LoginRedirected(LoginFailed):
    """The target sends the initiator to ``address`` (``host[:port]``), for good when ``permanent``."""

    def __init__(self, status_class: int, status_detail: int, address: str) -> None:
        message = f"{status_text(status_class, status_detail)}, to {address}"
        super().__init__(message, status_class, status_detail)
        self.address = address

    @property
    def permanent(self) -> bool:
        return self.status == LoginStatus.TARGET_MOVED_PERMANENTLY


class RedirectLogin(NegotiationError):
    """Raised by a target's policy to answer a login with a redirection to ``address``.

    ``address`` is ``host[:port]``, without a portal group tag (RFC 7143 section 13.8).
    """

    def __init__(self, address: str, *, permanent: bool = False) -> None:
        status = LoginStatus.TARGET_MOVED_PERMANENTLY if permanent else LoginStatus.TARGET_MOVED_TEMPORARILY
        super().__init__(f"{STATUS_TEXTS[status]}, to {address}", "11.13.5", *divmod(status, 256))
        self.address = address


def login_error(status: LoginStatus, message: str, section: str = "11.13.5") -> NegotiationError:
    """The error that makes a target answer a login with ``status``."""
    return NegotiationError(message, section, *divmod(status, 256))


def status_text(status_class: int, status_detail: int) -> str:
    """One line for people, as in ``login status 0x0201: authentication failed``."""
    status = status_class << 8 | status_detail
    text = next((text for known, text in STATUS_TEXTS.items() if known == status), "a status unknown to us")
    return f"login status 0x{status:04x}: {text}"
