"""SAM's task router and device servers: CDB in, completion out. Knows no transport, no clock and no queue."""

from __future__ import annotations

from collections.abc import Mapping

from iscsim.scsi import (
    atomic,
    copy_results,
    defects,
    extended_copy,
    format_unit,
    log_pages,
    mode_select,
    persistent_reserve,
    provisioning,
    reserve,
    sanitize,
    sbc,
    self_test,
    spc,
    start_stop,
    supported,
    supported_functions,
    target_port_groups,
    verify,
)
from iscsim.scsi.command import (
    Command,
    CommandFlag,
    check_control,
    checking_control,
    invalid_field,
    store_sense,
)
from iscsim.scsi.completion import Completion
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.lun import REPORT_LUNS_WELL_KNOWN_LUN, encode_lun
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode, service_action
from iscsim.scsi.reservations import ReservationConflict
from iscsim.scsi.sense import ASC, CheckCondition, Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer
from iscsim.scsi.unit_attention import UnitAttention

__all__ = ["COMMANDS", "DeviceServer"]

COMMANDS: dict[int, Command] = {
    **spc.COMMANDS,
    **mode_select.COMMANDS,
    **self_test.COMMANDS,
    **reserve.COMMANDS,
    **persistent_reserve.COMMANDS,
    **sbc.COMMANDS,
    **start_stop.COMMANDS,
    **verify.COMMANDS,
    **provisioning.COMMANDS,
    **extended_copy.COMMANDS,
    **copy_results.COMMANDS,
    **log_pages.COMMANDS,
    **atomic.COMMANDS,
    **defects.COMMANDS,
    **format_unit.COMMANDS,
    Opcode.SANITIZE: Command(service_actions=sanitize.SERVICE_ACTIONS),
    Opcode.VARIABLE_LENGTH: Command(service_actions=provisioning.VARIABLE_LENGTH_SERVICE_ACTIONS),
}
COMMANDS[Opcode.SERVICE_ACTION_IN_16] = Command(
    service_actions={**sbc.SERVICE_ACTIONS_IN_16, **provisioning.SERVICE_ACTIONS_IN_16}
)
COMMANDS[Opcode.MAINTENANCE_IN] = Command(
    service_actions={
        **target_port_groups.MAINTENANCE_IN,
        **supported.maintenance_in(COMMANDS),
        **supported_functions.MAINTENANCE_IN,
    }
)
COMMANDS[Opcode.MAINTENANCE_OUT] = Command(service_actions={**target_port_groups.MAINTENANCE_OUT})
_FLUSHES = frozenset({Opcode.SYNCHRONIZE_CACHE_10, Opcode.SYNCHRONIZE_CACHE_16, Opcode.START_STOP_UNIT})
_SHORTEST_SLOT = 16  # iSCSI's CDB field; handlers unpack from that many bytes
_WITH_UNIT_ATTENTION = CommandFlag.WITH_UNIT_ATTENTION
_NEEDS_MEDIUM = CommandFlag.NEEDS_MEDIUM
_EXACT_DATA_OUT = int(CommandFlag.EXACT_DATA_OUT)
_OPEN_DATA_OUT = int(CommandFlag.OPEN_DATA_OUT)


class DeviceServer:
    """Executes commands for the nexuses of one target. ``commands`` is the table, opcode -> `Command`."""

    __slots__ = ("_table",)

    def __init__(self, commands: Mapping[int, Command] = COMMANDS) -> None:
        rows = {opcode: checking_control(opcode, row) for opcode, row in commands.items()}
        self._table = tuple(rows.get(opcode) for opcode in range(256))

    def execute(
        self, nexus: ITNexus, lun: bytes, cdb: bytes, data_out: Buffer = b"", offered: int | None = None
    ) -> Completion:
        """Run one command to its end.

        ``lun`` is the 8 bytes of the request, ``cdb`` its CDB (shorter ones are padded with zeros as iSCSI
        does), ``data_out`` what the initiator sent, see `data_out_length`. ``offered`` is how many bytes it
        was ready to send (iSCSI's expected data transfer length), for the commands that take no other number
        than theirs. Whatever is wrong is in the completion: this never raises for what came over the wire.
        """
        mapped = nexus.lun_map.by_lun.get(lun)
        try:
            if mapped is None:
                return self._execute_elsewhere(nexus, lun, cdb, data_out, offered)
            if len(cdb) < _SHORTEST_SLOT:
                cdb = _padded(cdb)
            command = self._table[cdb[0]]
            if command is None or command.handler is None:
                command = self._service_action(mapped, command, cdb)
            unit = mapped.logical_unit
            if unit.restricted or nexus.unit_attentions:
                _admit(nexus, unit, command, cdb)
            if offered is not None and command.bits & _EXACT_DATA_OUT:
                _check_offer(mapped, cdb, command, offered)
            return command.handler(nexus, mapped, cdb, data_out)  # type: ignore[misc]
        except ReservationConflict:
            return Completion(Status.RESERVATION_CONFLICT)
        except CheckCondition as condition:
            return _failed(condition.sense, mapped.logical_unit if mapped else None)
        except OSError as error:
            return self._store_failed(error, cdb, mapped.logical_unit if mapped else None)

    def _execute_elsewhere(
        self, nexus: ITNexus, lun: bytes, cdb: bytes, data_out: Buffer, offered: int | None
    ) -> Completion:
        """A LUN in an unusual spelling, the well-known unit, or none at all."""
        mapped = nexus.lun_map.lookup(lun)
        if mapped is not None:
            return self.execute(nexus, encode_lun(mapped.number), cdb, data_out, offered)
        cdb = _padded(cdb)
        check_control(cdb)
        if lun == REPORT_LUNS_WELL_KNOWN_LUN:
            return spc.answer_well_known(nexus, cdb)
        return spc.answer_unmapped(nexus, lun, cdb)

    def _service_action(self, mapped: MappedLUN, command: Command | None, cdb: bytes) -> Command:
        """The row of a service action.

        Raises 05/20/00 for an unknown command, 05/24/00 for an unknown action, and for a variable length CDB
        that is not as long as it says, or as the action needs.
        """
        variable = cdb[0] == Opcode.VARIABLE_LENGTH
        if command is None or (variable and not mapped.logical_unit.long_cdbs):
            raise CheckCondition(
                SenseKey.ILLEGAL_REQUEST, ASC.INVALID_COMMAND_OPERATION_CODE, field=(0, None)
            )
        found = command.service_actions.get(service_action(cdb))
        if found is None:
            raise invalid_field(8) if variable else invalid_field(1, 4)
        if variable and not (found.layout and len(cdb) == cdb[7] + 8 == found.layout.size):
            raise invalid_field(7)
        return found

    def _store_failed(self, error: OSError, cdb: bytes, unit: LogicalUnit | None) -> Completion:
        command = self._table[cdb[0]]
        if command is not None and command.handler is None:
            command = command.service_actions.get(service_action(cdb))
        writes = command is not None and (command.data_out_length or cdb[0] in _FLUSHES)
        sense = store_sense(error, writing=bool(writes))
        if unit is not None:
            unit.count_failure(sense)
        return _failed(sense, unit)

    def data_out_length(self, nexus: ITNexus, lun: bytes, cdb: bytes, offered: int | None = None) -> int:
        """Bytes of Data-Out this command wants: what iSCSI may allocate and ask for.

        ``offered`` is for the commands whose CDB does not say; see `execute`.
        0 when it wants none, and when it is going to fail anyway: then `execute` it at once, before a unit
        attention that stood in its way is told to somebody else. Never more than the maximum transfer length.
        """
        mapped = nexus.lun_map.lookup(lun)
        if mapped is None or not cdb:
            return 0
        cdb = _padded(cdb)
        try:
            command = self._table[cdb[0]]
            if command is None or command.handler is None:
                command = self._service_action(mapped, command, cdb)
            if command.data_out_length is None:
                return 0
            unit = mapped.logical_unit
            if nexus.unit_attentions.get(unit):
                return 0
            if unit.restricted:
                _admit(nexus, unit, command, cdb)
            length = command.data_out_length(mapped, cdb)
            if command.bits & _OPEN_DATA_OUT and offered is not None:
                return min(length, offered)
            return length
        except (CheckCondition, ReservationConflict):
            return 0

    # Nexuses and resets.

    def nexus_established(
        self, nexus: ITNexus, attention: UnitAttention = UnitAttention.POWER_ON_RESET
    ) -> None:
        """A session has begun: ``attention`` waits on every unit it sees (29/07 after a nexus loss)."""
        nexus.lun_map.attach(nexus, attention)

    def nexus_lost(self, nexus: ITNexus) -> None:
        """The session is over, in whatever way."""
        nexus.lun_map.detach(nexus)

    def logical_unit_reset(self, nexus: ITNexus, lun: bytes) -> bool:
        """LOGICAL UNIT RESET from ``nexus``: every nexus hears 29/03. False when there is no such unit."""
        mapped = nexus.lun_map.lookup(lun)
        if mapped is None:
            return False
        mapped.logical_unit.reset(UnitAttention.BUS_DEVICE_RESET)
        return True

    def target_reset(
        self, nexus: ITNexus, attention: UnitAttention = UnitAttention.BUS_DEVICE_RESET
    ) -> list[LogicalUnit]:
        """TARGET WARM or COLD RESET from ``nexus``: every unit it sees is reset; returns them, each once."""
        units = list(dict.fromkeys(mapped.logical_unit for mapped in nexus.lun_map))
        for unit in units:
            unit.reset(attention)
        return units


def _padded(cdb: bytes) -> bytes:
    if not cdb:
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_COMMAND_OPERATION_CODE)
    return cdb if len(cdb) >= _SHORTEST_SLOT else cdb.ljust(_SHORTEST_SLOT, b"\0")


def _admit(nexus: ITNexus, unit: LogicalUnit, command: Command, cdb: bytes) -> None:
    """Raises what keeps ``command`` from running now: a reservation, a unit attention, the unit's state.

    SAM-5, "Status precedence": RESERVATION CONFLICT comes before any CHECK CONDITION, and a unit attention
    goes on waiting.
    """
    if unit.reservations.in_force:
        rule = command.reservation
        unit.reservations.check(nexus, rule(cdb) if callable(rule) else rule)
    if not command.flags & _WITH_UNIT_ATTENTION:
        attention = nexus.take(unit)
        if attention is not None:
            raise CheckCondition(SenseKey.UNIT_ATTENTION, attention.value)
    if unit.restricted:
        unit.access.check(nexus, command.flags)
        unit.erasure.check(nexus, cdb)
        if command.flags & _NEEDS_MEDIUM:
            unit.check_medium()
            if cdb[0] != Opcode.TEST_UNIT_READY:
                unit.wake()


def _check_offer(mapped: MappedLUN, cdb: bytes, command: Command, offered: int) -> None:
    """Raises 05/24/00 when the initiator and the CDB disagree about the length of Data-Out."""
    if command.data_out_length is not None and command.data_out_length(mapped, cdb) != offered:
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB)


def _failed(sense: Sense, unit: LogicalUnit | None) -> Completion:
    """The one place where CHECK CONDITION is answered."""
    return Completion(Status.CHECK_CONDITION, b"", sense.encode(unit is not None and unit.d_sense))
