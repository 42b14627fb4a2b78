"""Faults of single TCP connections; names and meanings are toxiproxy's where it has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from iscsim.faults.conditions import Pieces, direction_of
from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.network_faults import DIRECTION, in_direction, lose
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import Seconds
from iscsim.net.conditions import End, Flow, Passage, Verdict

_SEGMENT = (Hook.SEGMENT,)
_AFTER_BYTES = Parameter(
    "after_bytes", int, "bytes of the connection that still get through", default=0, minimum=0
)
_GARBAGE = b"\x0f" + bytes(7) + b"\xff" * 40
"""48 bytes with an operation code that is none, and lengths of zero, so that nobody waits for more."""


def _has_data(rule: FaultRule, occasion: Occasion) -> bool:
    return occasion.length > 0


def _stall_accept(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> float:
    return float(rule.parameters["delay"])


add_kind(
    FaultKind(
        name="tcp.accept_stall",
        hooks=(Hook.ACCEPT,),
        summary="the target's kernel completes the handshake, its program accepts later",
        observable="TCP connects, the login is not answered: ConnectionFailed at the login timeout",
        action=_stall_accept,
        parameters=(Parameter("delay", Seconds, "seconds until it accepts", required=True),),
    )
)


# -- ends --------------------------------------------------------------------------------------------


def _reaches(rule: FaultRule, occasion: Occasion) -> bool:
    """Whether this segment brings the connection to its last byte, or is behind it."""
    if not occasion.length:
        return False
    total = rule.state.get(occasion.connection, 0) + occasion.length
    rule.state[occasion.connection] = total
    return bool(total >= rule.parameters["after_bytes"])


def _cut(rule: FaultRule, flow: Flow, pieces: Pieces, limit: int, total: int, end: End) -> list[Passage]:
    """What is left up to byte ``limit``, when this segment ends at byte ``total``, and the end behind it."""
    found = pieces or []
    room = max(0, limit - (total - sum(len(piece.data) for piece in found)))
    if ("ended", flow.number, flow.from_client) in rule.state:
        return []
    rule.state["ended", flow.number, flow.from_client] = True
    left = []
    for piece in found:
        left.append(replace(piece, data=piece.data[:room]))
        room -= len(left[-1].data)
        if not room:
            break
    return [*left[:-1], replace(left[-1], end=end)] if left else [Passage(b"", end=end)]


def _ending(end: End) -> Any:
    def action(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Pieces:
        total = rule.state[flow.number]
        return _cut(rule, flow, pieces, rule.parameters["after_bytes"], total, end)

    return action


add_kind(
    FaultKind(
        name="tcp.reset",
        hooks=_SEGMENT,
        summary="a RST ends the connection for both sides",
        observable="in a login ConnectionFailed, later SessionFailed: Connection reset by peer",
        action=_ending(End.RST),
        parameters=(_AFTER_BYTES,),
        applies=_reaches,
    )
)
add_kind(
    FaultKind(
        name="tcp.fin",
        hooks=_SEGMENT,
        summary="the connection is closed, in the middle of a PDU where after_bytes says so",
        observable="in a login ConnectionFailed, later SessionFailed: the target closed the connection",
        action=_ending(End.FIN),
        parameters=(_AFTER_BYTES,),
        applies=_reaches,
    )
)


def _reaches_one_way(rule: FaultRule, occasion: Occasion) -> bool:
    """As `_reaches`, for one direction, which the first segment that counts decides."""
    way = rule.state.setdefault(("way", occasion.connection), occasion.direction)
    return bool(way == occasion.direction and _reaches(rule, occasion))


add_kind(
    FaultKind(
        name="tcp.half_close",
        hooks=_SEGMENT,
        summary="one direction is closed and what is still sent on it vanishes; the other goes on",
        observable="a target that sees FIN ends the session; so does an initiator, which says SessionFailed",
        action=_ending(End.FIN),
        parameters=(_AFTER_BYTES,),
        applies=_reaches_one_way,
    )
)


def _limit_reached(rule: FaultRule, occasion: Occasion) -> bool:
    if not occasion.length:
        return False
    stream = (occasion.connection, occasion.direction)
    rule.state[stream] = rule.state.get(stream, 0) + occasion.length
    return bool(rule.state[stream] >= rule.parameters["bytes"])


def _limit_data(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Pieces:
    total = rule.state[flow.number, direction_of(flow)]
    return _cut(rule, flow, pieces, rule.parameters["bytes"], total, End.FIN)


add_kind(
    FaultKind(
        name="tcp.limit_data",
        hooks=_SEGMENT,
        summary="a direction of a connection is closed once it has carried so many bytes",
        observable="SessionFailed after so many bytes: the target closed the connection",
        action=_limit_data,
        parameters=(Parameter("bytes", int, "bytes that get through", required=True, minimum=0),),
        applies=_limit_reached,
    )
)


def _slow_close(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Pieces:
    return [replace(piece, delay_s=piece.delay_s + rule.parameters["delay"]) for piece in pieces or []]


add_kind(
    FaultKind(
        name="tcp.slow_close",
        hooks=_SEGMENT,
        summary="FIN and RST are late",
        observable="the end of a connection is seen later: commands sent meanwhile fail only then",
        action=_slow_close,
        parameters=(Parameter("delay", Seconds, "seconds by which they are late", required=True),),
        applies=lambda rule, occasion: occasion.length == 0,
    )
)


# -- streams -----------------------------------------------------------------------------------------


def _slice(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Pieces:
    stream = (flow.number, direction_of(flow))
    chance = rule.stream(f"{flow.number} {direction_of(flow)} sizes")
    at = max(now, rule.state.get(stream, 0.0))
    found: list[Passage] = []
    for piece in pieces or []:
        for part in _parts(piece, rule.parameters["avg"], rule.parameters["var"], chance):
            found.append(replace(part, delay_s=piece.delay_s + at - now))
            at += rule.parameters["delay"]
    rule.state[stream] = at
    return found


def _parts(piece: Passage, average: int, variation: int, chance: Any) -> list[Passage]:
    found, start = [], 0
    while start < len(piece.data):
        size = max(1, average + chance.randint(-variation, variation))
        found.append(Passage(piece.data[start : start + size], comment=None if start else piece.comment))
        start += size
    return [*found[:-1], replace(found[-1], end=piece.end)] if found else [piece]


add_kind(
    FaultKind(
        name="tcp.slicer",
        hooks=_SEGMENT,
        summary="data comes in small segments, with a pause between them",
        observable="nothing but time: PDUs are put together from whatever comes",
        action=_slice,
        parameters=(
            Parameter("avg", int, "bytes of a segment on average", default=64, minimum=1),
            Parameter("var", int, "bytes by which it may be more or less", default=0, minimum=0),
            Parameter("delay", Seconds, "seconds between two segments", default=0.0),
        ),
        applies=_has_data,
    )
)

add_kind(
    FaultKind(
        name="tcp.stall",
        hooks=_SEGMENT,
        summary="an established connection carries nothing any more, and nobody says so",
        observable="pings go unanswered: SessionFailed after ping interval and timeout",
        action=lose,
        parameters=(DIRECTION,),
        applies=in_direction,
    )
)


def _hold(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Pieces:
    first, *rest = pieces or [Passage(b"")]
    data = first.data + b"".join(piece.data for piece in rest)
    return [Passage(data, comment=first.comment, held=True)]


add_kind(
    FaultKind(
        name="tcp.rcvbuf_zero",
        hooks=_SEGMENT,
        summary="the receiver's window is closed: it acknowledges probes, and takes no byte",
        observable="pings go unanswered: SessionFailed; unlike with tcp.stall the connection never times out",
        action=_hold,
        parameters=(DIRECTION,),
        applies=lambda rule, occasion: occasion.length > 0 and in_direction(rule, occasion),
    )
)


def _ignore_syn(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Verdict:
    return Verdict.LOST


add_kind(
    FaultKind(
        name="tcp.backlog_full",
        hooks=(Hook.CONNECT,),
        summary="the queue of a listening socket is full: the next n SYNs are ignored, or all",
        observable="a connect takes 1, 3 or 7 s longer, or ends in ConnectionFailed at the login timeout",
        action=_ignore_syn,
        parameters=(Parameter("n", int, "SYNs that are ignored; 0 for all", default=0, minimum=0),),
        applies=lambda rule, occasion: not rule.parameters["n"] or rule.fired < rule.parameters["n"],
    )
)


# -- wrong bytes -------------------------------------------------------------------------------------


def _is_within(rule: FaultRule, occasion: Occasion) -> bool:
    offset = rule.parameters["offset"]
    return bool(-occasion.length <= offset < occasion.length)


def _corrupt(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Pieces:
    found = pieces or []
    offset = rule.parameters["offset"] % max(1, sum(len(piece.data) for piece in found))
    left = []
    for piece in found:
        data = bytearray(piece.data)
        if 0 <= offset < len(data):
            data[offset] ^= rule.parameters["xor"]
        offset -= len(piece.data)
        left.append(replace(piece, data=bytes(data)))
    return left


add_kind(
    FaultKind(
        name="tcp.corrupt",
        hooks=_SEGMENT,
        summary="a byte of a segment is changed on the way, and TCP's checksum does not see it",
        observable="with digests SessionFailed; without, wrong data or a PDU that is none",
        action=_corrupt,
        parameters=(
            Parameter("offset", int, "which byte of the segment; from its end when negative", default=0),
            Parameter("xor", int, "what it is combined with", default=0xFF, minimum=1, maximum=0xFF),
        ),
        applies=_is_within,
    )
)


def _garbage(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Pieces:
    if rule.parameters["then"] == "close":
        return [Passage(rule.parameters["bytes"], end=End.FIN)]
    return [Passage(rule.parameters["bytes"]), *(pieces or [])]


add_kind(
    FaultKind(
        name="tcp.garbage",
        hooks=_SEGMENT,
        summary="bytes that are no PDU come before a segment, or in its place and then FIN",
        observable="whoever reads them ends the connection: ConnectionFailed or SessionFailed",
        action=_garbage,
        parameters=(
            Parameter("bytes", bytes, "what comes", default=_GARBAGE),
            Parameter("then", str, "what follows", default="close", choices=("close", "continue")),
        ),
        applies=_has_data,
    )
)
