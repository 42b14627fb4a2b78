"""The login phase of both roles, without I/O (RFC 7143 section 6.3).

``TargetLogin`` turns Login Requests into Login Responses, ``InitiatorLogin`` the other way round.
"""

from iscsim.session.login_initiator import InitiatorLogin, LoginConfig
from iscsim.session.login_status import (
    STATUS_TEXTS,
    LoginRedirected,
    RedirectLogin,
    login_error,
    status_text,
)
from iscsim.session.login_target import LoginPolicy, LoginResult, TargetLogin, TargetView

__all__ = [
    "STATUS_TEXTS",
    "InitiatorLogin",
    "LoginConfig",
    "LoginPolicy",
    "LoginRedirected",
    "LoginResult",
    "RedirectLogin",
    "TargetLogin",
    "TargetView",
    "login_error",
    "status_text",
]
