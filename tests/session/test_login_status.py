"""The statuses of a Login Response (RFC 7143 section 11.13.5)."""

from iscsim.pdu import LoginStatus
from iscsim.session.login_status import STATUS_TEXTS, RedirectLogin, login_error, status_text


def test_every_status_has_a_text():
    assert set(STATUS_TEXTS) == set(LoginStatus)
    assert status_text(2, 1) == "login status 0x0201: authentication failed"
    assert "0x0399" in status_text(3, 0x99)


def test_an_error_carries_the_status_a_target_answers():
    error = login_error(LoginStatus.NOT_FOUND, "no target iqn.nope")
    assert (error.status_class, error.status_detail) == (2, 3)
    assert (RedirectLogin("a").status_detail, RedirectLogin("a", permanent=True).status_detail) == (1, 2)
