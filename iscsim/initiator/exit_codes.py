"""What ``iscsiadm`` exits with (open-iscsi, ISCSI_ERR_*): os-brick decides by these numbers."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["IscsiadmExitCode"]


class IscsiadmExitCode(IntEnum):
    """Open-iscsi's names without ``ISCSI_ERR_``, and its numbers."""

    SUCCESS = 0
    UNKNOWN = 1
    SESS_NOT_FOUND = 2
    NOMEM = 3
    TRANS = 4
    LOGIN = 5
    """The time was over when the target refused for now (RFC 7143 section 11.13.5: class 3)."""
    IDBM = 6
    INVAL = 7
    TRANS_TIMEOUT = 8
    """TCP never came up, dropped or refused; or the time was over between two attempts."""
    INTERNAL = 9
    LOGOUT = 10
    PDU_TIMEOUT = 11
    """TCP came up, and the login did not end in time."""
    TRANS_NOT_FOUND = 12
    ACCESS = 13
    TRANS_CAPS = 14
    SESS_EXISTS = 15
    INVALID_MGMT_REQ = 16
    ISNS_UNAVAILABLE = 17
    ISCSID_COMM_ERR = 18
    FATAL_LOGIN = 19
    """The target refuses for good: a status of class 2 but for the next."""
    ISCSID_NOTCONN = 20
    NO_OBJS_FOUND = 21
    SYSFS_LOOKUP = 22
    HOST_NOT_FOUND = 23
    LOGIN_AUTH_FAILED = 24
    """The target does not know us, or does not let us in: status 0201 and 0202."""
    ISNS_QUERY = 25
    ISNS_REG_FAILED = 26
    OP_NOT_SUPP = 27
    BUSY = 28
    AGAIN = 29
    UNKNOWN_DISCOVERY_TYPE = 30
    CHILD_TERMINATED = 31

    @property
    def words(self) -> str:
        """As ``iscsiadm`` puts it, where a login can end so; else the name."""
        return _WORDS.get(self, self.name)


_WORDS = {
    IscsiadmExitCode.LOGIN: "encountered iSCSI login failure",
    IscsiadmExitCode.TRANS_TIMEOUT: "connection timed out",
    IscsiadmExitCode.PDU_TIMEOUT: "iSCSI PDU timed out",
    IscsiadmExitCode.FATAL_LOGIN: "encountered non-retryable iSCSI login failure",
    IscsiadmExitCode.LOGIN_AUTH_FAILED: "iSCSI login failed due to authorization failure",
}
