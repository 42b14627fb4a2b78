"""Errors of the system in the system's words."""

from __future__ import annotations

import errno
import socket

import pytest

from iscsim.net.reasons import reason_of


@pytest.mark.parametrize(
    "error, reason",
    [
        (OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 3260)"), "Connection refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError("no number"), "no number"),
        (ValueError("something else"), "something else"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_reason_is_the_words_alone(error: BaseException, reason: str) -> None:
    assert reason_of(error) == reason
