"""REPORT SUPPORTED OPERATION CODES (SPC-4), told from the command table itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import construct
from construct import Int8ub, Int16ub, Padding

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asymmetric_access import AccessModes
from iscsim.scsi.command import Command, CommandFlag, Handler, invalid_field
from iscsim.scsi.completion import Completion
from iscsim.scsi.layout import Layout, bits
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import ServiceAction
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer

__all__ = ["cdb_usage", "maintenance_in"]

Table = Mapping[int, Command]

DESCRIPTOR = Layout(
    "opcode" / Int8ub,
    Padding(1),
    "service_action" / Int16ub,
    Padding(1),
    "flags" / bits(_=6, ctdp=1, servactv=1),
    "cdb_length" / Int16ub,
)
ONE_COMMAND = Layout(Padding(1), "support" / bits(ctdp=1, _=4, support=3), "cdb_length" / Int16ub)
_TIMEOUTS = (10).to_bytes(2, "big") + bytes(10)  # a timeouts descriptor that promises nothing
_NOT_SUPPORTED, _SUPPORTED = 0b001, 0b011
_ALL, _BY_OPCODE, _BY_SERVICE_ACTION = 0, 1, 2  # REPORTING OPTIONS
_RCTD = layouts.REPORT_SUPPORTED_OPERATION_CODES.masks("options")["rctd"]
_CTDP = DESCRIPTOR.masks("flags")["ctdp"]
_SERVACTV = DESCRIPTOR.masks("flags")["servactv"]
_ONE_CTDP = ONE_COMMAND.masks("support")["ctdp"]


def maintenance_in(table: Table) -> dict[int, Command]:
    """The service action of MAINTENANCE IN that reports on ``table`` (and on itself, once it is in there)."""
    row = Command(
        _handler(table),
        layouts.REPORT_SUPPORTED_OPERATION_CODES,
        reservation=ReservationRule.UNDER_WRITE_EXCLUSIVE,
    )
    return {ServiceAction.REPORT_SUPPORTED_OPERATION_CODES & 0x1F: row}


def _handler(table: Table) -> Handler:
    def report(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
        _, _, options, opcode, service_action, allocation_length = (
            layouts.REPORT_SUPPORTED_OPERATION_CODES.struct.unpack_from(cdb)
        )
        unit, timeouts = mapped.logical_unit, bool(options & _RCTD)
        match options & 0b111:
            case code if code == _ALL:
                data = _all_commands(table, unit, timeouts)
            case code if code == _BY_OPCODE:
                data = _one_command(_by_opcode(table, opcode), unit, opcode, 0, timeouts)
            case code if code == _BY_SERVICE_ACTION:
                row = _by_service_action(table, opcode, service_action)
                data = _one_command(row, unit, opcode, service_action, timeouts)
            case _:
                raise invalid_field(2, 2)
        return Completion(Status.GOOD, data[:allocation_length])

    return report


def _by_opcode(table: Table, opcode: int) -> Command | None:
    """Raises 05/24/00 for an operation code that has service actions: it must be asked by both."""
    row = table.get(opcode)
    if row is not None and row.service_actions:
        raise invalid_field(2, 2)
    return row


def _by_service_action(table: Table, opcode: int, service_action: int) -> Command | None:
    """Raises 05/24/00 for an operation code that has no service actions."""
    row = table.get(opcode)
    if row is None:
        return None
    if not row.service_actions:
        raise invalid_field(2, 2)
    return row.service_actions.get(service_action)


def _is_supported(row: Command, unit: LogicalUnit) -> bool:
    return all(holds(unit) for flag, holds in _CONDITIONS.items() if row.flags & flag)


_CONDITIONS: dict[CommandFlag, Callable[[LogicalUnit], bool]] = {
    CommandFlag.THIN_ONLY: lambda unit: unit.thin,
    CommandFlag.LONG_CDB_ONLY: lambda unit: unit.long_cdbs,
    CommandFlag.ASYMMETRIC_ONLY: lambda unit: bool(unit.access.modes),
    CommandFlag.EXPLICIT_ONLY: lambda unit: bool(unit.access.modes & AccessModes.EXPLICIT),
}


def _all_commands(table: Table, unit: LogicalUnit, timeouts: bool) -> bytes:
    found = b"".join(
        _descriptor(opcode, action, bool(entry.service_actions), row, timeouts)
        for opcode, entry in sorted(table.items())
        for action, row in sorted(entry.service_actions.items() or {0: entry}.items())
        if row.layout is not None and _is_supported(row, unit)
    )
    return len(found).to_bytes(4, "big") + found


def _descriptor(opcode: int, action: int, has_actions: bool, row: Command, timeouts: bool) -> bytes:
    flags = (_CTDP if timeouts else 0) | (_SERVACTV if has_actions else 0)
    size = row.layout.size if row.layout else 0
    entry = DESCRIPTOR.build(opcode=opcode, service_action=action, flags=flags, cdb_length=size)
    return entry + (_TIMEOUTS if timeouts else b"")


def _one_command(
    row: Command | None, unit: LogicalUnit, opcode: int, service_action: int, timeouts: bool
) -> bytes:
    if row is None or row.layout is None or not _is_supported(row, unit):
        return ONE_COMMAND.build(support=_NOT_SUPPORTED)
    usage = cdb_usage(row.layout, opcode, service_action)
    support = _SUPPORTED | (_ONE_CTDP if timeouts else 0)
    return (
        ONE_COMMAND.build(support=support, cdb_length=len(usage)) + usage + (_TIMEOUTS if timeouts else b"")
    )


def cdb_usage(layout: Layout, opcode: int, service_action: int = 0) -> bytes:
    """CDB USAGE DATA: a 1 for every bit that is looked at, with the codes themselves in their places."""
    codes = {"opcode": opcode, "service_action": service_action, "additional_cdb_length": layout.size - 8}
    usage = b""
    for field in layout.construct.subcons:
        size = field.sizeof()
        if field.name is None:
            usage += bytes(size)
        elif field.name in codes:
            usage += codes[field.name].to_bytes(size, "big")
        elif isinstance(field.subcon, construct.Transformed):
            masks = layout.masks(field.name)
            code = service_action if masks.pop("service_action", 0) else 0
            usage += bytes((sum(masks.values()) | code,))
        else:
            usage += b"\xff" * size
    return usage
