"""What rules match, and matches that can never be true."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.errors import ConfigError
from iscsim.faults.kinds import FaultKind
from iscsim.faults.match import check_known, checked_match, compile_match
from iscsim.faults.occasion import Hook, Occasion

READ_10 = bytes.fromhex("28000000002a00000800")
COMMAND = FaultKind(name="t", hooks=(Hook.START,), summary="", observable="", action=print)
REQUEST = FaultKind(
    name="t", hooks=(Hook.RECEIVE,), summary="", observable="", action=print, opcodes=("LoginRequest",)
)
WIRE = FaultKind(name="t", hooks=(Hook.CONNECT, Hook.SEGMENT), summary="", observable="", action=print)

MATCHES = [
    (COMMAND, {}, True),
    (COMMAND, {"portal": "10.0.0.1:3260"}, True),
    (COMMAND, {"portal": "10.0.0.1"}, True),
    (COMMAND, {"portal": "10.0.0.?:*"}, True),
    (COMMAND, {"portal": "10.0.0.1:326"}, False),
    (COMMAND, {"portal": ["10.0.0.9:3260", "10.0.0.1:3260"]}, True),
    (COMMAND, {"initiator": "IQN.1993-08.*"}, True),
    (COMMAND, {"initiator": "iqn.1993-08"}, False),
    (COMMAND, {"lun": 5}, True),
    (COMMAND, {"lun": "5"}, True),
    (COMMAND, {"lun": 0x4005}, True),
    (COMMAND, {"lun": "0x4005"}, True),
    (COMMAND, {"lun": [4, 6]}, False),
    (COMMAND, {"command": "READ (10)"}, True),
    (COMMAND, {"command": "read_10"}, True),
    (COMMAND, {"command": "read*"}, True),
    (COMMAND, {"command": "READ (16)"}, False),
    (COMMAND, {"command": {"WRITE (10)", "READ (10)"}}, True),
]


@pytest.mark.parametrize("kind, match, holds", MATCHES)
def test_match(kind: FaultKind, match: dict[str, Any], holds: bool) -> None:
    occasion = Occasion(
        hook=Hook.START,
        now=0,
        portal="10.0.0.1:3260",
        initiator="iqn.1993-08.org.debian:01:host",
        lun=b"\x40\5" + bytes(6),
        cdb=READ_10,
    )
    tests = compile_match(checked_match(kind, match))
    assert all(test(occasion) for test in tests.values()) is holds


@pytest.mark.parametrize("wanted", ["[fe80::1]:3260", "fe80::1", "[fe80::1]", "[fe80::*]:3260"])
def test_brackets_of_ipv6_are_no_pattern(wanted: str) -> None:
    (test,) = compile_match(checked_match(WIRE, {"portal": wanted})).values()
    assert test(Occasion(hook=Hook.CONNECT, now=0, portal="[fe80::1]:3260"))
    assert not test(Occasion(hook=Hook.CONNECT, now=0, portal="f:3260"))


NEVER = [
    (COMMAND, {"comand": "READ (10)"}, "unknown match of t 'comand' (did you mean 'command'?)"),
    (COMMAND, {"command": "REED (10)"}, "command='REED (10)' can never be true (did you mean 'READ (10)'?)"),
    (COMMAND, {"lun": -1}, "lun is '-1', expected a number of 0 to 65535"),
    (COMMAND, {"lun": "five"}, "lun is 'five', expected a number"),
    (COMMAND, {"lun": True}, "lun is 'True', expected a number"),
    (COMMAND, {"portal": 3260}, "portal is '3260', expected a text"),
    (COMMAND, {"portal": []}, "empty list, which can never be true"),
    (COMMAND, {"portal": ""}, "portal is '', expected a text"),
    (REQUEST, {"opcode": "NOPOut"}, "t befalls LoginRequest: opcode='NOPOut' can never be true"),
    (REQUEST, {"stage": "FULL"}, "did you mean 'FULL_FEATURE'"),
    (WIRE, {"opcode": "NOPOut"}, "unknown match of t 'opcode'"),
    (WIRE, {"direction": "up"}, "unknown match of t 'direction'"),  # a SYN has none
    (WIRE, {"port": 99999}, "expected a number of 0 to 65535"),
]


@pytest.mark.parametrize("kind, match, message", NEVER)
def test_what_can_never_be_true_is_refused(kind: FaultKind, match: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_match(kind, match)
    assert message in str(caught.value)


def test_opcode_is_one_that_comes_by_at_the_hook() -> None:
    received = FaultKind(name="t", hooks=(Hook.RECEIVE,), summary="", observable="", action=print)
    with pytest.raises(ConfigError, match=r"opcode='LoginResponse' can never .*'LoginRequest'"):
        checked_match(received, {"opcode": "LoginResponse"})


def test_what_nobody_has_is_refused_when_the_lab_is_known() -> None:
    known = {"portal": lambda: ["10.0.0.1:3260", "10.0.0.2:3260"], "lun": lambda: [0, 5]}
    for match in (
        {"portal": "10.0.0.2:3260"},
        {"portal": "10.*"},
        {"lun": 5},
        {"lun": 0x4005},
        {"target": "x"},
    ):
        check_known(COMMAND, checked_match(COMMAND, match), {}, known)
    with pytest.raises(ConfigError, match=r"nobody has portal='10.0.0.9:3260' .did you mean '10.0.0"):
        check_known(COMMAND, {"portal": "10.0.0.9:3260"}, {}, known)
    with pytest.raises(ConfigError, match=r"nobody has lun=7 \(known: 0, 5\)"):
        check_known(COMMAND, {"lun": 7}, {}, known)
