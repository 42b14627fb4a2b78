"""Faults that befall whole sessions by themselves: ``session.async``, ``session.drop`` and their like.

They fire at the rule's ``after``, and again every ``period`` seconds when that is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.match import same_text
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import Seconds
from iscsim.faults.world import Undo, World
from iscsim.pdu import PDU, AsyncEvent, AsyncMessage, NOPIn, SCSIResponse
from iscsim.scsi.asc import ASC
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.target.connection import TargetConnection
from iscsim.target.session import TargetSession

__all__: list[str] = []


def _sessions(rule: FaultRule, world: World) -> Iterator[TargetSession]:
    """The sessions ``rule`` is about and somebody is behind, in the order of their logins."""
    for name, node in world.targets.items():
        if same_text(rule.parameters["target"], name):
            for session in list(node.sessions):
                if session.connections and same_text(rule.parameters["initiator"], session.initiator_name):
                    yield session


def _finds_one(rule: FaultRule, occasion: Occasion) -> bool:
    return any(True for _ in _sessions(rule, occasion.seam))


def _connections(rule: FaultRule, world: World) -> list[TargetConnection]:
    sessions = list(_sessions(rule, world))
    return [connection for session in sessions for connection in session.connections.values()]


def _say(rule: FaultRule, connection: TargetConnection, *pdus: PDU) -> None:
    connection.comment(rule.comment)
    for pdu in pdus:
        connection.send(pdu)
    _wake(connection)


def _wake(connection: TargetConnection) -> None:
    if connection.wake is not None:
        connection.wake()


def _async(rule: FaultRule, world: World) -> None:
    for connection in _connections(rule, world):
        _say(rule, connection, _message(connection, rule.parameters))


def _message(connection: TargetConnection, given: Any) -> AsyncMessage:
    event = given["event"]
    sense = Sense.of(SenseKey.UNIT_ATTENTION, ASC.REPORTED_LUNS_DATA_HAS_CHANGED).encode()
    return AsyncMessage(
        async_event=event,
        parameter_1=given["p1"],
        parameter_2=given["p2"],
        parameter_3=given["p3"],
        data=SCSIResponse.sense_segment(sense) if event == AsyncEvent.SCSI_EVENT else b"",
        **connection.numbers(),
    )


def _drop(rule: FaultRule, world: World) -> None:
    """RFC 7143 section 11.9.1: say so, then close."""
    given = rule.parameters
    for session in list(_sessions(rule, world)):
        for connection in list(session.connections.values()):
            message = AsyncMessage(
                async_event=AsyncEvent.ALL_CONNECTIONS_DROPPED,
                parameter_2=given["time2wait"],
                parameter_3=given["time2retain"],
                **connection.numbers(),
            )
            _say(rule, connection, message)
        session.end(rule.comment)


def _reinstate(rule: FaultRule, world: World) -> Undo:
    """The session of another host with the same name and ISID takes the place of ours.

    RFC 7143 section 6.3.5. Nobody is behind it; who logs in next takes its place in turn.
    """
    foreign = []
    for session in list(_sessions(rule, world)):
        node, entity = session.node, session.entity
        assert node is not None
        for connection in session.connections.values():
            connection.comment(rule.comment)
        session.end(rule.comment)
        other = TargetSession(
            entity,
            node,
            session.isid,
            entity.new_tsih(session.tsih),
            session.parameters,
            session.window.exp_cmd_sn,
            session.nexus,
        )
        node.sessions.append(other)
        foreign.append(other)

    def undo() -> None:
        for each in foreign:
            each.end()

    return undo


def _flood(rule: FaultRule, world: World) -> None:
    for connection in _connections(rule, world):
        numbers = connection.numbers_without_status()
        tags = range(1, rule.parameters["n"] + 1)
        _say(rule, connection, *(NOPIn(target_transfer_tag=tag, **numbers) for tag in tags))


_WHOSE = (
    Parameter("initiator", str, "sessions of which initiators: a pattern of names", "*"),
    Parameter("target", str, "sessions with which targets: a pattern of names", "*"),
    Parameter("period", Seconds, "seconds after which it happens again; without it once", minimum=0.001),
)


def _kind(name: str, summary: str, observable: str, action: Any, *parameters: Parameter) -> None:
    add_kind(
        FaultKind(
            name=f"session.{name}",
            hooks=(Hook.TIMER,),
            summary=summary,
            observable=observable,
            action=action,
            parameters=(*parameters, *_WHOSE),
            applies=_finds_one,
        )
    )


def _number(name: str, summary: str, default: int = 0) -> Parameter:
    return Parameter(name, int, summary, default, minimum=0, maximum=0xFFFF)


_kind(
    "async",
    "the target sends an Asynchronous Message",
    "0: the event. 1: a logout. 2 and 3: SessionFailed, the target drops the connection. 4: a text"
    " negotiation. 5: the event, and a NOP-Out that acknowledges it",
    _async,
    Parameter(
        "event",
        int,
        "AsyncEvent: RFC 7143 section 11.9.1",
        required=True,
        choices=tuple(map(int, AsyncEvent)),
    ),
    _number("p1", "Parameter1: for event 2 the CID"),
    _number("p2", "Parameter2: for events 2 and 3 Time2Wait"),
    _number("p3", "Parameter3: for events 1 and 4 the time in seconds, for 2 and 3 Time2Retain"),
)
_kind(
    "drop",
    "the target says that it drops its connections, and does",
    "SessionFailed: the target drops the connection (asynchronous event 3)",
    _drop,
    _number("time2wait", "seconds to wait before a new login", 2),
    _number("time2retain", "seconds for which tasks are kept"),
)
_kind(
    "reinstate_foreign",
    "another host logs in with the same initiator name and ISID, and takes the session over",
    "SessionFailed: the target closed the connection; after a new login the unit reports 06/29/00",
    _reinstate,
)
_kind(
    "nop_in_flood",
    "the target sends many pings at once",
    "each is answered by a NOP-Out; the session goes on",
    _flood,
    Parameter("n", int, "how many", 100, minimum=1),
)
