"""How long open-iscsi tries, without a network: the policy is told what came of each attempt."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.errors import ConfigError, ConnectionFailed, LoginFailed, SessionFailed
from iscsim.initiator.exit_codes import IscsiadmExitCode
from iscsim.initiator.initial_login import (
    Again,
    InitialLogin,
    InitialLoginFailed,
    InitialLoginSettings,
    exit_code_of,
)

TIMEOUT, UNANSWERED = IscsiadmExitCode.TRANS_TIMEOUT, IscsiadmExitCode.PDU_TIMEOUT
WAIT, CONNECT = False, True


def policy(now: float = 100.0, **settings: Any) -> InitialLogin:
    return InitialLogin(InitialLoginSettings(**settings), now)


def test_attempt_has_the_login_timeout_for_connection_and_login_together() -> None:
    assert policy(login_timeout=5).attempt_ends(100.0) == 105.0


def test_time2wait_is_waited_once_when_no_connection_comes_up() -> None:
    login = policy()
    assert login.failed(TIMEOUT, 115.0) == Again(117.0, WAIT)
    assert login.waited(117.0) == Again(117.0, CONNECT)
    assert login.failed(TIMEOUT, 132.0) == Again(132.0, CONNECT)


def test_time2wait_is_waited_after_every_connection_that_came_up() -> None:
    login = policy()
    for now in (115.0, 132.0):
        login.connected()
        assert login.failed(UNANSWERED, now) == Again(now + 2, WAIT)
        assert login.waited(now + 2) == Again(now + 2, CONNECT)


def test_refused_connection_is_tried_again_after_three_seconds() -> None:
    login = policy(default_time2wait=0)
    assert login.not_connected(100.0) == Again(103.0, WAIT)
    assert login.waited(103.0) == Again(103.0, CONNECT)


def test_time_is_what_counts_and_not_attempts() -> None:
    login = policy(login_timeout=15, initial_login_retry_max=1, default_time2wait=0)
    for attempt in range(4):
        assert login.waited(103.0 + 3 * attempt) == Again(103.0 + 3 * attempt, CONNECT)
    assert login.waited(115.0) is TIMEOUT


@pytest.mark.parametrize("code", [TIMEOUT, UNANSWERED, IscsiadmExitCode.LOGIN])
def test_when_the_time_is_over_the_last_failure_is_the_exit_code(code: IscsiadmExitCode) -> None:
    assert policy().failed(code, 220.0) is code
    assert isinstance(policy().failed(code, 219.9), Again)


def test_time_that_is_over_in_a_wait_is_a_connection_that_timed_out() -> None:
    login = policy(login_timeout=5, initial_login_retry_max=4)
    login.connected()
    assert login.failed(UNANSWERED, 119.0) == Again(121.0, WAIT)
    assert login.waited(121.0) is TIMEOUT


@pytest.mark.parametrize("code", [IscsiadmExitCode.FATAL_LOGIN, IscsiadmExitCode.LOGIN_AUTH_FAILED])
def test_refusal_for_good_ends_it_at_once(code: IscsiadmExitCode) -> None:
    assert policy().failed(code, 100.0) is code


def test_no_retries_is_one_attempt() -> None:
    assert policy(initial_login_retry_max=0).failed(TIMEOUT, 115.0) is TIMEOUT


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LoginFailed("", 2, 1), 24),
        (LoginFailed("", 2, 2), 24),
        (LoginFailed("", 2, 0), 19),
        (LoginFailed("", 2, 3), 19),
        (LoginFailed("", 2, 11), 19),
        (LoginFailed("", 3, 1), 5),
        (LoginFailed("", 9, 9), 19),
        (ConnectionFailed(""), 8),
        (InitialLoginFailed("", UNANSWERED, []), 11),
        (SessionFailed(""), 1),
    ],
)
def test_exit_code_of_an_error(error: Exception, code: int) -> None:
    assert exit_code_of(error) == code


def test_settings_have_the_defaults_of_iscsid_conf() -> None:
    settings = InitialLoginSettings()
    assert (settings.login_timeout, settings.initial_login_retry_max, settings.patience_s) == (15, 8, 120)


def test_settings_are_read_from_a_node_record() -> None:
    record = {
        "node.name": "iqn.2026-11.test:disk",
        "node.conn[0].timeo.login_timeout": "5",
        "node.session.initial_login_retry_max": 4,
    }
    wanted = InitialLoginSettings(login_timeout=5, initial_login_retry_max=4, default_time2wait=2)
    assert InitialLoginSettings.from_node_record(record) == wanted


def test_node_record_with_a_word_for_a_number_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"login_timeout must be a number, not 'soon'"):
        InitialLoginSettings.from_node_record({"node.conn[0].timeo.login_timeout": "soon"})


@pytest.mark.parametrize(
    "settings",
    [
        {"login_timeout": 0},
        {"login_timeout": float("nan")},
        {"initial_login_retry_max": -1},
        {"default_time2wait": float("inf")},
    ],
)
def test_settings_nobody_can_keep_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        InitialLoginSettings(**settings)
