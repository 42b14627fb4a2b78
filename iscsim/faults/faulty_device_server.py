"""The seam between iSCSI and SCSI: faults before a command is executed, and before it is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isinf
from typing import TYPE_CHECKING

from iscsim.faults.engine import FaultEngine
from iscsim.faults.faulty_store import FaultyStore, StoreClock, put_beneath
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule
from iscsim.scsi.completion import Completion
from iscsim.scsi.device_server import DeviceServer
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.store import Buffer

if TYPE_CHECKING:
    from iscsim.target.connection import TargetConnection
    from iscsim.target.node import NetworkEntity

__all__ = ["CommandAtHand", "FaultyDeviceServer", "later"]

Observer = Callable[["CommandAtHand", Completion], None]


@dataclass(slots=True, kw_only=True)
class CommandAtHand:
    """One command on its way through the seam.

    ``lun`` and ``cdb`` (16 bytes or more) are those of the request, ``mapped`` is None for a LUN without a
    unit.
    """

    nexus: ITNexus
    lun: bytes
    cdb: bytes
    data_out: Buffer
    offered: int | None
    now: float
    mapped: MappedLUN | None
    execute: Callable[[], Completion]

    @property
    def unit(self) -> LogicalUnit | None:
        """The logical unit that is meant."""
        return self.mapped.logical_unit if self.mapped is not None else None


def later(completion: Completion, now: float, seconds: float) -> Completion:
    """``completion``, to be answered ``seconds`` after it would be."""
    completion.ready_at = max(now, completion.ready_at or now) + seconds
    return completion


class FaultyDeviceServer(DeviceServer):
    """A device server that asks ``engine`` at START and FINISH, and puts what stores have to wait for into
    the completions. `install` puts it in the place of an entity's own, before anybody connects.

    Actions at START get ``(rule, command)`` and give a `Completion` in place of the execution, or None to go
    on; of several completions the first counts. Actions at FINISH get ``(rule, command, completion)`` and
    give the one to answer with. Stores are wrapped when the first fault is armed that needs it.
    ``observers`` are told of every command and its completion once nothing changes it any more.
    ``commenting`` gets the first connection of a session that is befallen and the comment of the fault, for
    a capture to show on what is sent next there.
    """

    __slots__ = ("_clock", "_engine", "_entity", "_held", "_inner", "_wraps", "commenting", "observers")

    def __init__(self, entity: NetworkEntity, engine: FaultEngine) -> None:
        self._inner = entity.device_server
        self._table = self._inner._table
        self._entity, self._engine = entity, engine
        self._clock = StoreClock(engine.clock)
        self._wraps = False
        self._held: list[tuple[ITNexus, Completion]] = []  # wait for a store of which nobody knows how long
        self.commenting: Callable[[TargetConnection, str], None] | None = None
        self.observers: list[Observer] = []
        engine.listeners.append(self._rule_added)
        engine.removal_listeners.append(self._rule_removed)
        for rule in engine.rules.values():
            self._rule_added(rule)

    @classmethod
    def install(cls, entity: NetworkEntity, engine: FaultEngine) -> FaultyDeviceServer:
        """Put it in the place of the device server of ``entity``."""
        server = entity.device_server = cls(entity, engine)
        return server

    def _rule_added(self, rule: FaultRule) -> None:
        if Hook.STORE in rule.kind.hooks or rule.kind.name == "disk.crash":
            self._wraps = True
            for node in self._entity.nodes.values():
                for unit in node.units():
                    self._wrap(unit)

    def _rule_removed(self, rule: FaultRule) -> None:
        if rule.kind.name == "disk.pause":
            self._release()

    def resume_stores(self) -> None:
        """End every pause: what waited for stores to go on is answered now."""
        for rule in self._engine.rules.values():
            if rule.kind.name == "disk.pause":
                rule.armed = False
        self._release()

    def _release(self) -> None:
        now, held = self._engine.clock(), self._held
        self._held = []
        for nexus, completion in held:
            for connection in self._connections_of(nexus):
                connection.commands.hasten(completion, now)
                if connection.wake is not None:
                    connection.wake()

    def _wrap(self, unit: LogicalUnit) -> None:
        put_beneath(unit, lambda store: FaultyStore(store, self._engine, self._clock, unit))

    def execute(
        self, nexus: ITNexus, lun: bytes, cdb: bytes, data_out: Buffer = b"", offered: int | None = None
    ) -> Completion:
        """See `DeviceServer.execute`."""
        engine = self._engine
        if not (engine.expects(Hook.START) or engine.expects(Hook.FINISH) or self._wraps or self.observers):
            return self._inner.execute(nexus, lun, cdb, data_out, offered)
        command = self._at_hand(nexus, lun, cdb, data_out, offered)
        if self._wraps and command.unit is not None:
            self._wrap(command.unit)
        completion = self._start(command) or command.execute()
        ready_at = self._clock.take()
        if ready_at is not None:
            completion.ready_at = max(ready_at, completion.ready_at or ready_at)
            if isinf(ready_at):
                self._held.append((nexus, completion))
        completion = self._finish(command, completion)
        for observer in self.observers:
            observer(command, completion)
        return completion

    def _at_hand(
        self, nexus: ITNexus, lun: bytes, cdb: bytes, data_out: Buffer, offered: int | None
    ) -> CommandAtHand:
        return CommandAtHand(
            nexus=nexus,
            lun=bytes(lun),
            cdb=bytes(cdb).ljust(16, b"\0"),
            data_out=data_out,
            offered=offered,
            now=self._engine.clock(),
            mapped=nexus.lun_map.lookup(lun),
            execute=lambda: self._inner.execute(nexus, lun, cdb, data_out, offered),
        )

    def _start(self, command: CommandAtHand) -> Completion | None:
        found = None
        for rule in self._firing(Hook.START, command, None):
            completion = rule.kind.action(rule, command)
            found = completion if found is None else found
        return found

    def _finish(self, command: CommandAtHand, completion: Completion) -> Completion:
        for rule in self._firing(Hook.FINISH, command, completion):
            completion = rule.kind.action(rule, command, completion)
        return completion

    def _firing(self, hook: Hook, command: CommandAtHand, completion: Completion | None) -> list[FaultRule]:
        if not self._engine.expects(hook):
            return []
        nexus, unit = command.nexus, command.unit
        occasion = Occasion(
            hook=hook,
            now=command.now,
            portal=self._portal_of(nexus),
            initiator=nexus.initiator_name,
            target=nexus.target_name,
            lun=command.lun,
            cdb=command.cdb,
            unit=unit.wwn if unit is not None else "",
            length=len(command.data_out) + (len(completion.data_in) if completion is not None else 0),
            subject=command,
        )
        rules = self._engine.firing(occasion)
        if self.commenting is not None:
            for connection in self._connections_of(nexus)[:1]:
                for rule in rules:
                    self.commenting(connection, rule.comment)
        return rules

    def _portal_of(self, nexus: ITNexus) -> str:
        """Through which portal the session came: that of its first connection."""
        return next((str(connection.portal) for connection in self._connections_of(nexus)), "")

    def _connections_of(self, nexus: ITNexus) -> list[TargetConnection]:
        node = self._entity.nodes.get(nexus.target_name)
        for session in node.sessions if node is not None else ():
            if session.nexus is nexus:
                return list(session.connections.values())
        return []
