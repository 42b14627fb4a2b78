"""Faults of a session in its full feature phase that befall a PDU: ``session.*``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from iscsim.errors import DigestError
from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.login_faults import refuse
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.pdu_tap import FaultTap, uses_stat_sn
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import Seconds
from iscsim.pdu import (
    PDU,
    RESERVED_TAG,
    LoginRequest,
    LoginStatus,
    LogoutRequest,
    LogoutResponse,
    NOPIn,
    NOPOut,
    RawPDU,
    ReadyToTransfer,
    RejectReason,
    SCSIDataIn,
)
from iscsim.session.framer import DamagedPDU
from iscsim.session.numbering import serial_add

__all__ = ["RESPONSES"]

PDUs = list[PDU]
Given = Mapping[str, Any]

RESPONSES = (
    "SCSIResponse",
    "SCSIDataIn",
    "ReadyToTransfer",
    "TaskManagementResponse",
    "TextResponse",
    "LogoutResponse",
    "NOPIn",
    "AsyncMessage",
    "Reject",
)
"""What a target sends in the full feature phase; all of it has StatSN, ExpCmdSN and MaxCmdSN."""
_REQUESTS = (
    "SCSICommand",
    "TaskManagementRequest",
    "TextRequest",
    "LogoutRequest",
    "NOPOut",
    "SCSIDataOut",
    "SNACKRequest",
)

# -- numbers ---------------------------------------------------------------------------------------


def _statsn_gap(rule: FaultRule, tap: FaultTap, pdu: Any) -> PDUs:
    n = rule.parameters["n"]
    tap.connection.stat_sn = serial_add(tap.connection.stat_sn, n)  # what follows counts on from there
    return [replace(pdu, stat_sn=serial_add(pdu.stat_sn, n))]


def _cmdsn_window(rule: FaultRule, tap: FaultTap, pdu: Any) -> PDUs:
    first = serial_add(pdu.exp_cmd_sn, -1)
    n = rule.parameters["n"]
    width = (pdu.max_cmd_sn - first) & 0xFFFFFFFF
    maximum = {
        "close": first,
        "shrink": serial_add(first, max(width - n, 0)),
        "jump": serial_add(pdu.max_cmd_sn, n),
    }
    return [replace(pdu, max_cmd_sn=maximum[rule.parameters["mode"]])]


def _expcmdsn_stuck(rule: FaultRule, tap: FaultTap, pdu: Any) -> PDUs:
    """Both numbers stand still: a target gives no room for what it has not taken note of."""
    expected, maximum = tap.kept.setdefault(rule, (pdu.exp_cmd_sn, pdu.max_cmd_sn))
    return [replace(pdu, exp_cmd_sn=expected, max_cmd_sn=maximum)]


def _datasn_gap(rule: FaultRule, tap: FaultTap, pdu: SCSIDataIn) -> PDUs:
    return [replace(pdu, data_sn=serial_add(pdu.data_sn, rule.parameters["n"]))]


def _r2tsn_dup(rule: FaultRule, tap: FaultTap, pdu: ReadyToTransfer) -> PDUs:
    return [pdu, pdu]


# -- pings, rejects, logout ------------------------------------------------------------------------


def _nop_ignore(rule: FaultRule, tap: FaultTap, ping: NOPOut) -> PDUs:
    tap.skip(ping)
    return []


def _nop_bad_ttt(rule: FaultRule, tap: FaultTap, answer: NOPIn) -> PDUs:
    return [replace(answer, target_transfer_tag=rule.parameters["n"])]


def _is_ping(rule: FaultRule, occasion: Occasion) -> bool:
    return bool(occasion.subject.initiator_task_tag != RESERVED_TAG)


def _reject(rule: FaultRule, tap: FaultTap, pdu: PDU) -> PDUs:
    """RFC 7143 section 7.3: a CmdSN that came with it counts as not received."""
    tap.connection.reject(pdu, RejectReason(rule.parameters["reason"]), rule.comment)
    return []


def _logout(rule: FaultRule, tap: FaultTap, request: LogoutRequest) -> PDUs:
    given = rule.parameters
    if given["none"]:
        tap.skip(request)
    elif not given["response"]:
        tap.handle_later(given["delay"], rule, request)
    else:
        tap.skip(request)
        tap.later(given["delay"], rule, lambda: _answer_logout(tap, request, given["response"]))
    return []


def _answer_logout(tap: FaultTap, request: LogoutRequest, response: int) -> None:
    connection = tap.connection
    tag = request.initiator_task_tag
    connection.put(LogoutResponse(response=response, initiator_task_tag=tag, **connection.numbers()))


# -- digests ---------------------------------------------------------------------------------------


def _header_digest(rule: FaultRule, tap: FaultTap, pdu: PDU) -> PDUs:
    if rule.parameters["direction"] == "rx":
        raise DigestError(f"header digest of {type(pdu).__name__} does not match", "header")
    return [_with_flipped_bit(tap, pdu, len(pdu.header()))]


def _data_digest(rule: FaultRule, tap: FaultTap, pdu: PDU) -> PDUs:
    if rule.parameters["direction"] == "rx":
        return [DamagedPDU(pdu)]
    return [_with_flipped_bit(tap, pdu, -1)]


def _with_flipped_bit(tap: FaultTap, pdu: PDU, index: int) -> RawPDU:
    connection = tap.connection
    pieces = pdu.encode(connection.send_header_digest, connection.send_data_digest)
    wire = bytearray(b"".join(map(bytes, pieces)))
    wire[index] ^= 1
    return RawPDU(bytes(wire))


def _has_header_digest(rule: FaultRule, occasion: Occasion) -> bool:
    return _is_direction(rule, occasion) and bool(occasion.seam.connection.send_header_digest)


def _has_data_digest(rule: FaultRule, occasion: Occasion) -> bool:
    digests = occasion.seam.connection.send_data_digest
    return _is_direction(rule, occasion) and bool(digests) and len(occasion.subject.data) > 0


def _is_direction(rule: FaultRule, occasion: Occasion) -> bool:
    return bool(occasion.hook is {"rx": Hook.RECEIVE, "tx": Hook.SEND}[rule.parameters["direction"]])


# -- limits ----------------------------------------------------------------------------------------


def _refuse_with(status: LoginStatus) -> Callable[[FaultRule, FaultTap, LoginRequest], PDUs]:
    return lambda rule, tap, request: refuse(rule, tap, request, status)


def _too_many_connections(rule: FaultRule, occasion: Occasion) -> bool:
    """What comes on top of the connections this initiator has with the target."""
    sessions = _sessions(occasion)
    connections = sum(len(each.connections) for each in sessions if each.initiator_name == occasion.initiator)
    return connections >= int(rule.parameters["n"])


def _too_many_sessions(rule: FaultRule, occasion: Occasion) -> bool:
    return len(_sessions(occasion)) >= int(rule.parameters["n"])


def _sessions(occasion: Occasion) -> list[Any]:
    node = occasion.seam.connection.entity.nodes.get(occasion.target.lower())
    return node.sessions if node is not None else []


# -- the table -------------------------------------------------------------------------------------


def _kind(
    name: str,
    hooks: tuple[Hook, ...],
    opcodes: tuple[str, ...],
    summary: str,
    observable: str,
    action: Any,
    *parameters: Parameter,
    **more: Any,
) -> None:
    add_kind(
        FaultKind(
            name=f"session.{name}",
            hooks=hooks,
            summary=summary,
            observable=observable,
            action=action,
            parameters=parameters,
            opcodes=opcodes,
            **more,
        )
    )


def _count(default: int, summary: str, minimum: int = 1) -> Parameter:
    return Parameter("n", int, summary, default, minimum=minimum)


_DIRECTION = Parameter(
    "direction",
    str,
    "what is damaged: what the target sends (tx) or receives (rx)",
    "tx",
    choices=("tx", "rx"),
)
_SEND, _RECEIVE = (Hook.SEND,), (Hook.RECEIVE,)

_kind(
    "statsn_gap",
    _SEND,
    RESPONSES,
    "the target skips numbers of StatSN",
    "SessionFailed: a StatSN that is not the expected one (RFC 7143 section 7.9)",
    _statsn_gap,
    _count(1, "how many numbers"),
    applies=lambda rule, occasion: uses_stat_sn(occasion.subject),
)
_kind(
    "cmdsn_window",
    _SEND,
    ("LoginResponse", *RESPONSES),
    "the target closes, narrows or misstates its command window",
    "what was open stays so, as MaxCmdSN never goes back. Closed: commands wait and end with CommandTimedOut."
    " Narrow: they go one after the other. Too wide: those beyond the real window end with CommandTimedOut",
    _cmdsn_window,
    Parameter("mode", str, "what happens to it", "close", choices=("close", "shrink", "jump")),
    _count(127, "by how many commands it shrinks, or MaxCmdSN jumps"),
)
_kind(
    "datasn_gap",
    _SEND,
    ("SCSIDataIn",),
    "a Data-In has a DataSN that is too high",
    "SessionFailed: Data-In with DataSN 1, expected 0 (RFC 7143 section 7.9)",
    _datasn_gap,
    _count(1, "how many numbers are left out"),
)
_kind(
    "r2tsn_dup",
    _SEND,
    ("ReadyToTransfer",),
    "an R2T is sent twice",
    "SessionFailed: R2T with R2TSN 0, expected 1",
    _r2tsn_dup,
)
_kind(
    "expcmdsn_stuck",
    _SEND,
    RESPONSES,
    "ExpCmdSN, and MaxCmdSN with it, stop where they are",
    "commands go on until the window is used up, then wait and end with CommandTimedOut",
    _expcmdsn_stuck,
)
_kind(
    "nop_ignore",
    _RECEIVE,
    ("NOPOut",),
    "the target does not answer pings",
    "SessionFailed: no answer to a ping within 5 s, after 5 s of silence",
    _nop_ignore,
    applies=_is_ping,
)
_kind(
    "nop_bad_ttt",
    _SEND,
    ("NOPIn",),
    "the answer to a ping has a Target Transfer Tag, as if it were one itself",
    "SessionFailed: the answer to a ping with a Target Transfer Tag (RFC 7143 section 11.19.1)",
    _nop_bad_ttt,
    Parameter("n", int, "the tag", 1, minimum=0, maximum=RESERVED_TAG - 1),
    applies=_is_ping,
)
_kind(
    "reject",
    _RECEIVE,
    _REQUESTS,
    "the target rejects a PDU",
    "CommandAborted with the reason for a command; the session goes on, or ends where the reason says so",
    _reject,
    Parameter(
        "reason", int, "RFC 7143 section 11.17.1, 0x02 to 0x0c", required=True, choices=tuple(RejectReason)
    ),
)
_kind(
    "header_digest",
    (Hook.RECEIVE, Hook.SEND),
    (),
    "a header digest does not match",
    "SessionFailed: header digest does not match, or the target closes the connection",
    _header_digest,
    _DIRECTION,
    applies=_has_header_digest,
)
_kind(
    "data_digest",
    (Hook.RECEIVE, Hook.SEND),
    (),
    "a data digest does not match",
    "tx: SessionFailed, data digest does not match. rx: a Reject, and CommandFailed 0B/47/05 for a write",
    _data_digest,
    _DIRECTION,
    applies=_has_data_digest,
)
_kind(
    "logout",
    _RECEIVE,
    ("LogoutRequest",),
    "the target answers a logout late, with a failure, or not at all",
    "SessionFailed: logout response 1, or no answer to Logout Request in time (15 s)",
    _logout,
    Parameter("response", int, "RFC 7143 section 11.15.1", 0, choices=(0, 1, 2, 3)),
    Parameter("delay", Seconds, "seconds before the answer", 0.0, minimum=0),
    Parameter("none", bool, "do not answer", False),
)
_kind(
    "max_conn",
    _RECEIVE,
    ("LoginRequest",),
    "the target takes no more than so many connections of one initiator",
    "LoginFailed 0x0206: too many connections in this session",
    _refuse_with(LoginStatus.TOO_MANY_CONNECTIONS),
    _count(1, "how many connections it may have", minimum=0),
    applies=_too_many_connections,
)
_kind(
    "limit",
    _RECEIVE,
    ("LoginRequest",),
    "the target takes no more than so many sessions",
    "LoginFailed 0x0302: the target is out of resources",
    _refuse_with(LoginStatus.OUT_OF_RESOURCES),
    _count(1, "how many sessions there may be", minimum=0),
    applies=_too_many_sessions,
)
