"""Faults of the login phase: ``login.*``.

Where there is no answer the request never reaches the target; where the answer is wrong the target has
answered well. A login that a fault refuses leaves no session behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from iscsim.errors import ConfigError
from iscsim.faults.key_text import Pair, join_pairs, split_pairs, with_pair
from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.pdu_tap import FaultTap
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import Seconds
from iscsim.pdu import PDU, LoginRequest, LoginResponse, LoginStatus, RawPDU, Stage
from iscsim.session.login_status import STATUS_TEXTS

__all__ = ["refuse"]

PDUs = list[PDU]

# -- no answer, or a late one ----------------------------------------------------------------------


def _no_response(rule: FaultRule, tap: FaultTap, request: LoginRequest) -> PDUs:
    tap.keep_waiting()
    return []


def _delay(rule: FaultRule, tap: FaultTap, request: LoginRequest) -> PDUs:
    tap.keep_waiting()
    tap.handle_later(rule.parameters["seconds"], rule, request)
    return []


def _drop(rule: FaultRule, tap: FaultTap, request: LoginRequest) -> PDUs:
    tap.connection.end(rule.comment)
    return []


def _partial(rule: FaultRule, tap: FaultTap, response: LoginResponse) -> PDUs:
    tap.fall_silent()
    return [RawPDU(b"".join(map(bytes, response.encode()))[: rule.parameters["length"]])]


# -- a login that goes on and on -------------------------------------------------------------------


def _go_on(rule: FaultRule, tap: FaultTap, response: LoginResponse) -> PDUs:
    """Answer after a while, as a network would; at once it would be a race without an end."""
    connection = tap.connection
    response.stat_sn = connection.stat_sn
    connection.stat_sn = (connection.stat_sn + 1) & 0xFFFFFFFF
    tap.keep_waiting()
    tap.send_later(rule.parameters["seconds"], rule, response)
    return []


def _c_bit(rule: FaultRule, tap: FaultTap, request: LoginRequest) -> PDUs:
    return _go_on(rule, tap, replace(_answer(request), continuation=True, data=b"X-org.iscsim.more=1\0"))


def _never_transit(rule: FaultRule, tap: FaultTap, request: LoginRequest) -> PDUs:
    return _go_on(rule, tap, _answer(request))


def _answer(request: LoginRequest) -> LoginResponse:
    return LoginResponse(
        current_stage=request.current_stage,
        isid=request.isid,
        tsih=request.tsih,
        initiator_task_tag=request.initiator_task_tag,
        exp_cmd_sn=request.cmd_sn,
        max_cmd_sn=request.cmd_sn,
    )


# -- refusals --------------------------------------------------------------------------------------


def refuse(rule: FaultRule, tap: FaultTap, request: LoginRequest, status: int, text: bytes = b"") -> PDUs:
    """Answer a Login Request with ``status`` (class << 8 | detail), and close."""
    connection = tap.connection
    status_class, detail = divmod(status, 256)
    connection.put(
        replace(
            _answer(request),
            status_class=status_class,
            status_detail=detail,
            exp_cmd_sn=0,
            max_cmd_sn=0,
            data=text,
        )
    )
    connection.end(rule.comment)
    return []


def _status(rule: FaultRule, tap: FaultTap, request: LoginRequest) -> PDUs:
    return refuse(rule, tap, request, rule.parameters["class"] << 8 | rule.parameters["detail"])


def _redirect(rule: FaultRule, tap: FaultTap, request: LoginRequest) -> PDUs:
    moved = {True: LoginStatus.TARGET_MOVED_PERMANENTLY, False: LoginStatus.TARGET_MOVED_TEMPORARILY}
    given = rule.parameters
    address = given["address"] or tap.portal
    return refuse(rule, tap, request, moved[given["permanent"]], join_pairs([("TargetAddress", address)]))


def _goes_on(rule: FaultRule, occasion: Occasion) -> bool:
    return not rule.parameters["loop"] or rule.fired < rule.parameters["loop"]


# -- wrong answers ---------------------------------------------------------------------------------


def _text_changed(
    change: Callable[[Mapping[str, Any], list[Pair], FaultTap], list[Pair]],
) -> Callable[[FaultRule, FaultTap, LoginResponse], PDUs]:
    """An action that changes the pairs of a response."""

    def action(rule: FaultRule, tap: FaultTap, response: LoginResponse) -> PDUs:
        pairs = change(rule.parameters, split_pairs(response.data), tap)
        return [replace(response, data=join_pairs(pairs))]

    return action


def _header_changed(
    change: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> Callable[[FaultRule, FaultTap, LoginResponse], PDUs]:
    """An action that changes fields of a response."""
    return lambda rule, tap, response: [replace(response, **change(rule.parameters))]


def _changed_param(given: Mapping[str, Any], pairs: list[Pair], tap: FaultTap) -> list[Pair]:
    key = given["key"]
    if given["missing"]:
        return [pair for pair in pairs if pair[0] != key]
    if given["value"] is not None:
        pairs = split_pairs(with_pair(join_pairs(pairs), key, given["value"]))
    if given["duplicate"]:
        pairs += [pair for pair in pairs if pair[0] == key]
    return pairs


def _check_param(given: Mapping[str, Any]) -> None:
    if given["value"] is None and not (given["missing"] or given["duplicate"]):
        raise ConfigError("login.param needs a value, missing or duplicate")
    if given["missing"] and (given["duplicate"] or given["value"] is not None):
        raise ConfigError("login.param: a key that is missing has no value and is not said twice")


def _param_applies(rule: FaultRule, occasion: Occasion) -> bool:
    """A value can come unasked; what is left out or said twice must be there."""
    is_there = any(key == rule.parameters["key"] for key, _ in split_pairs(occasion.subject.data))
    return _is_success(rule, occasion) and (is_there or rule.parameters["value"] is not None)


def _is_success(rule: FaultRule, occasion: Occasion) -> bool:
    return bool(occasion.subject.status_class == 0)


def _is_last(rule: FaultRule, occasion: Occasion) -> bool:
    response = occasion.subject
    return bool(response.transit and response.next_stage == Stage.FULL_FEATURE)


def _has_key(key: str) -> Callable[[FaultRule, Occasion], bool]:
    return lambda rule, occasion: any(name == key for name, _ in split_pairs(occasion.subject.data))


def _unknown_keys(given: Mapping[str, Any], pairs: list[Pair], tap: FaultTap) -> list[Pair]:
    return pairs + [(f"X-org.iscsim.unknown-{number}", "1") for number in range(1, given["n"] + 1)]


# -- CHAP ------------------------------------------------------------------------------------------


def _replaced(**values: str) -> Callable[[list[Pair], FaultTap], list[Pair]]:
    return lambda pairs, tap: [(key, values.get(key, value)) for key, value in pairs]


def _reflected(pairs: list[Pair], tap: FaultTap) -> list[Pair]:
    """The initiator's own name and response as ours (RFC 7143 section 9.2.1)."""
    own = dict(split_pairs(tap.last_login.data)) if tap.last_login is not None else {}
    return [(key, own.get(key, value) if key in ("CHAP_N", "CHAP_R") else value) for key, value in pairs]


def _without_proof(pairs: list[Pair], tap: FaultTap) -> list[Pair]:
    return [pair for pair in pairs if pair[0] not in ("CHAP_N", "CHAP_R")]


_CHAP: dict[str, tuple[str, Callable[[list[Pair], FaultTap], list[Pair]]]] = {
    "wrong_response": ("CHAP_R", _replaced(CHAP_R="0x" + "5a" * 16)),
    "reflect": ("CHAP_R", _reflected),
    "bad_alg": ("CHAP_A", _replaced(CHAP_A="99")),
    "short_challenge": ("CHAP_C", _replaced(CHAP_C="0x5a")),
    "long_challenge": ("CHAP_C", _replaced(CHAP_C="0x" + "5a" * 1025)),
    "no_mutual": ("CHAP_R", _without_proof),
    "wrong_name": ("CHAP_N", _replaced(CHAP_N="somebody-else")),
}
"""Mode -> the key that must be in the response, and what becomes of its pairs."""


def _changed_chap(given: Mapping[str, Any], pairs: list[Pair], tap: FaultTap) -> list[Pair]:
    return _CHAP[given["mode"]][1](pairs, tap)


def _chap_applies(rule: FaultRule, occasion: Occasion) -> bool:
    return _has_key(_CHAP[rule.parameters["mode"]][0])(rule, occasion)


# -- the table -------------------------------------------------------------------------------------

_PACE = Parameter("seconds", Seconds, "seconds before each of these answers", 0.5, minimum=0.01)
_STAGE = Parameter(
    "stage",
    str,
    "the stage in which it happens",
    Stage.OPERATIONAL_NEGOTIATION.name,
    choices=(Stage.SECURITY_NEGOTIATION.name, Stage.OPERATIONAL_NEGOTIATION.name),
)


def _kind(
    hook: Hook, name: str, summary: str, observable: str, action: Any, *parameters: Any, **more: Any
) -> None:
    add_kind(
        FaultKind(
            name=f"login.{name}",
            hooks=(hook,),
            summary=summary,
            observable=observable,
            action=action,
            parameters=parameters,
            opcodes=("LoginRequest" if hook is Hook.RECEIVE else "LoginResponse",),
            **more,
        )
    )


_kind(
    Hook.RECEIVE,
    "no_response",
    "the target takes the connection and never answers a Login Request",
    "ConnectionFailed after the login timeout: no end of the login within 15 s",
    _no_response,
)
_kind(
    Hook.RECEIVE,
    "delay",
    "each Login Request is answered late",
    "the login takes so much longer, or fails as with no answer once the login timeout is over",
    _delay,
    Parameter("seconds", Seconds, "seconds before the target sees each request", required=True, minimum=0),
)
_kind(
    Hook.RECEIVE,
    "status",
    "the target refuses the login with a status of its own choice, known or not",
    "LoginFailed at once, with that status",
    _status,
    Parameter("class", int, "Status-Class; 0 would be success", required=True, minimum=1, maximum=255),
    Parameter("detail", int, "Status-Detail", 0, minimum=0, maximum=255),
)
_kind(
    Hook.RECEIVE,
    "redirect",
    "the target sends the initiator elsewhere",
    "the session is at the other portal; ConnectionFailed after too many redirections",
    _redirect,
    Parameter("address", str, "host[:port] to go to; without it the portal that was asked", ""),
    Parameter("permanent", bool, "say that the target has moved for good", False),
    Parameter("loop", int, "redirect so many times, then let the login through; 0: always", 0, minimum=0),
    applies=_goes_on,
)
_kind(
    Hook.RECEIVE,
    "drop_at",
    "the target closes the connection in the middle of the login",
    "ConnectionFailed at once: the target closed the connection",
    _drop,
    _STAGE,
    applies=lambda rule, occasion: bool(occasion.stage == rule.parameters["stage"]),
)
_kind(
    Hook.SEND,
    "param",
    "a key of the negotiation is answered wrongly, not at all, or twice",
    "ConnectionFailed that names the key, or other parameters in force",
    _text_changed(_changed_param),
    Parameter("key", str, "the key, as MaxBurstLength", required=True),
    Parameter("value", str, "what is said instead, or unasked"),
    Parameter("missing", bool, "leave the key out", False),
    Parameter("duplicate", bool, "say it twice", False),
    applies=_param_applies,
    check=_check_param,
)
_kind(
    Hook.SEND,
    "chap",
    "the target does CHAP wrongly, or is not who it says it is",
    "ConnectionFailed that says what is wrong, or LoginFailed 0x0201 when the target cannot tell",
    _text_changed(_changed_chap),
    Parameter("mode", str, "what is wrong", required=True, choices=tuple(_CHAP)),
    applies=_chap_applies,
)
_kind(
    Hook.SEND,
    "tpgt",
    "the target shows another portal group tag than discovery did",
    "ConnectionFailed when the initiator knows which tag to expect: portal group 7 instead of 1",
    lambda rule, tap, response: [
        replace(
            response, data=with_pair(response.data, "TargetPortalGroupTag", str(rule.parameters["value"]))
        )
    ],
    Parameter("value", int, "the tag", required=True, minimum=0),
    applies=_has_key("TargetPortalGroupTag"),
)
_kind(
    Hook.SEND,
    "tsih_zero",
    "the last Login Response gives no session handle",
    "ConnectionFailed: TSIH 0 in the final response",
    _header_changed(lambda given: {"tsih": 0}),
    applies=_is_last,
)
_kind(
    Hook.SEND,
    "version",
    "the target answers with an iSCSI version that nobody offered",
    "ConnectionFailed: version 1 was not offered",
    _header_changed(lambda given: {"version_active": given["value"]}),
    Parameter("value", int, "Version-active.", required=True, minimum=0, maximum=255),
    applies=_is_success,
)
_kind(
    Hook.SEND,
    "partial_pdu",
    "the target sends the beginning of a Login Response and then nothing",
    "ConnectionFailed after the login timeout: no end of the login within 15 s",
    _partial,
    Parameter("length", int, "bytes of the response that are sent", 24, minimum=1),
)
_kind(
    Hook.RECEIVE,
    "c_bit_forever",
    "every Login Response says that more text follows",
    "ConnectionFailed after the login timeout, or after 64 exchanges when they are quick",
    _c_bit,
    _PACE,
)
_kind(
    Hook.SEND,
    "unknown_keys",
    "the target's answer has keys nobody knows",
    "nothing: they are answered NotUnderstood; ConnectionFailed when the response becomes too long",
    _text_changed(_unknown_keys),
    Parameter("n", int, "how many", 1, minimum=1),
    applies=_is_success,
)
_kind(
    Hook.RECEIVE,
    "never_transit",
    "the target never lets the login go to its next stage",
    "ConnectionFailed after the login timeout, or after 64 exchanges when they are quick",
    _never_transit,
    _PACE,
)

CODES = tuple(divmod(int(status), 256) for status in STATUS_TEXTS if status)
"""Every (class, detail) RFC 7143 section 11.13.5 knows but success."""
