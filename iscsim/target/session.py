"""What belongs to a session rather than to one of its connections (design: MC/S needs no rewrite)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from iscsim.pdu import AsyncEvent
from iscsim.scsi.nexus import ITNexus
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.session.keys import SessionType
from iscsim.session.names import initiator_port_name, target_port_name
from iscsim.session.numbering import CommandWindow
from iscsim.session.parameters import Parameters
from iscsim.target.held import HeldRequests
from iscsim.target.task_management import SUPPORTED

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.target.connection import TargetConnection
    from iscsim.target.node import NetworkEntity, TargetNode
    from iscsim.target.task import Task
    from iscsim.target.task_management import Fence


class TargetSession:
    """A session a target has with one initiator port (RFC 7143 section 4.4.3.1).

    ``held`` keeps requests that came before their turn, ``tasks`` the commands under way by their tag,
    ``fences`` the task management responses that wait for late data; the command window bounds all three.
    """

    def __init__(
        self,
        entity: NetworkEntity,
        node: TargetNode | None,
        isid: bytes,
        tsih: int,
        parameters: Parameters,
        first_cmd_sn: int,
        nexus: ITNexus | None,
    ) -> None:
        self.entity = entity
        self.node = node
        self.isid = isid
        self.tsih = tsih
        self.parameters = parameters
        self.initiator_name = parameters.initiator_name
        self.portal_group_tag = nexus.relative_target_port if nexus else 0
        self._first_cmd_sn = first_cmd_sn
        self.window = CommandWindow(first_cmd_sn, (node or entity).policy.command_window)
        self.nexus = nexus
        if nexus is not None:
            nexus.clock = self.time
        self.discovers_at: object = None
        """For a discovery session: the portal, or the target and portal group, that it is bound to."""
        self.connections: dict[int, TargetConnection] = {}
        self.tasks: dict[int, Task] = {}
        self.kept_length = 0
        """Bytes that may be kept for open commands though nobody asked for them."""
        self.held = HeldRequests()
        self.fences: list[Fence] = []
        self.terminations: dict[int, list[Task]] = {}
        """Aborted tasks an Asynchronous Message told of, by its StatSN, until that is acknowledged."""
        self.when_ended: list[Callable[[], None]] = []
        """Called once the session has ended."""

    def time(self) -> float:
        """Now, on the loop's clock, as its connections were last told."""
        return max((connection.now for connection in self.connections.values()), default=0.0)

    @property
    def requests(self) -> int:
        """How many requests it has sent that were not immediate; after 2**32 the count begins anew."""
        return (self.window.exp_cmd_sn - self._first_cmd_sn) & 0xFFFFFFFF

    @property
    def identity(self) -> tuple[str, bytes, int]:
        """Initiator name, ISID and target portal group tag: the I_T nexus."""
        return self.initiator_name, self.isid, self.portal_group_tag

    @property
    def fast_abort(self) -> bool:
        """Whether FastAbort semantics hold (RFC 7143 section 4.2.3.4)."""
        return self.parameters.task_reporting == "FastAbort"

    @property
    def is_discovery(self) -> bool:
        """Whether it only discovers (RFC 7143 section 4.3)."""
        return self.parameters.session_type is SessionType.DISCOVERY

    def end(self, message: str = "") -> None:
        """End the session: tasks are gone, connections close, SCSI sees an I_T nexus loss.

        RFC 7143 section 6.3.5 and Appendix E.2.
        """
        siblings = self.node.sessions if self.node else self.entity.discovery_sessions
        if self not in siblings:
            return
        siblings.remove(self)
        tasks = list(self.tasks.values())
        self.tasks.clear()
        self._forget_waiting()
        for connection in list(self.connections.values()):
            _drop(connection, message)
        if self.nexus is not None:
            self.entity.device_server.nexus_lost(self.nexus)
        task_sets = self.entity.task_sets
        task_sets.release(task_sets.remove(tasks))  # what waited for them goes on, now that the nexus is gone
        for tell in self.when_ended:
            tell()

    def _forget_waiting(self) -> None:
        """What came before its turn, and the responses that wait, are gone."""
        self.held.clear()
        self.fences.clear()
        self.terminations.clear()

    def lose(self, connection: TargetConnection, message: str = "") -> None:
        """A connection is gone, and at ErrorRecoveryLevel 0 its session with it.

        Nothing happens when another connection has taken its place.
        """
        if self.connections.get(connection.cid) is connection:
            self.end(message)

    def reinstate(self, cid: int, parameters: Parameters, message: str) -> None:
        """Log the connection ``cid`` out implicitly: another takes its place (RFC 7143 section 6.3.4).

        Its tasks end without a response, what it sent before its turn is forgotten, and the units concerned
        say so with a unit attention (RFC 7143 section 11.14.5). CmdSN goes on.
        """
        old = self.connections.pop(cid)
        ended = [task for task in self.tasks.values() if task.connection is old]
        for task in ended:
            self._terminate(task)
        self._forget_waiting()
        self.parameters = parameters
        _drop(old, message)
        self.entity.task_sets.release(self.entity.task_sets.remove(ended))

    def _terminate(self, task: Task) -> None:
        del self.tasks[task.tag]
        if task.aborted:
            return
        if not task.command.immediate:
            self.window.give_back()
        mapped = self.nexus.lun_map.lookup(task.command.lun) if self.nexus is not None else None
        if self.nexus is not None and mapped is not None:
            self.nexus.establish(mapped.logical_unit, UnitAttention.COMMANDS_CLEARED_BY_ISCSI)

    def request_logout(self, time_s: int, now: float) -> None:
        """Ask the initiator to log out within ``time_s`` seconds of ``now``, and drop the session after that.

        A discovery session is dropped at once, without a word (RFC 7143 section 7.4.3); so is, with a word,
        a normal one whose time is 0.

        Raises:
            LocalProtocolError: the time is not 0 to 65535 seconds.
        """
        if self.is_discovery or time_s == 0:
            self.drop("dropped by the target")
            return
        for connection in list(self.connections.values()):
            connection.notices.request_logout(time_s, now, of_session=True)

    def announce_attention(self, logical_unit: LogicalUnit, attention: UnitAttention) -> None:
        """Tell of a unit attention by an Asynchronous Message (event 0 of RFC 7143 section 11.9.1)."""
        assert self.nexus is not None
        lun_map = self.nexus.lun_map
        lun = next(
            (lun_map.encode(each.number) for each in lun_map if each.logical_unit is logical_unit), None
        )
        for connection in self.connections.values():
            if lun is not None and not connection.closing:
                sense = Sense.of(SenseKey.UNIT_ATTENTION, attention.value).encode()
                connection.notices.send(AsyncEvent.SCSI_EVENT, lun=lun, sense=sense)
                return

    def drop(self, message: str) -> None:
        """Tell the initiator that all connections are dropped (event 3 of RFC 7143 section 11.9.1); end."""
        if not self.is_discovery:
            for connection in list(self.connections.values()):
                connection.notices.announce_session_drop()
        self.end(message)


def _drop(connection: TargetConnection, message: str) -> None:
    """End a connection, with the answers it still had to make."""
    connection.end(message)
    connection.commands.drop()
    if connection.wake is not None:
        connection.wake()


def make_nexus(
    node: TargetNode,
    initiator_name: str,
    isid: bytes,
    portal_group_tag: int,
) -> ITNexus:
    """The I_T nexus of a session (RFC 7143 section 4.4.3.1); a portal group is a SCSI target port."""
    return ITNexus(
        initiator_name=initiator_name,
        initiator_port=initiator_port_name(initiator_name, isid),
        target_name=node.name,
        target_port=target_port_name(node.name, portal_group_tag),
        relative_target_port=portal_group_tag,
        target_port_group=node.target_port_group_of(portal_group_tag),
        target_ports=node.ports,
        task_management=SUPPORTED,
        target_port_names=node.target_port_names,
        lun_map=node.lun_map_of(initiator_name, portal_group_tag),
        profile=node.policy.device,
    )
