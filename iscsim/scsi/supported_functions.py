"""REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4): what the transport of the nexus does, and no more."""

from __future__ import annotations

from construct import Int8ub, Int16ub, Int32ub, Padding

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.command import Command, CommandFlag, invalid_field
from iscsim.scsi.completion import Completion
from iscsim.scsi.layout import Layout, bits
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import ServiceAction
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer
from iscsim.scsi.task_management import TaskManagement

__all__ = ["MAINTENANCE_IN", "parse_supported_functions"]

BASIC = Layout("functions" / Int16ub, Padding(1), "additional_length" / Int8ub)
# Only with REPD. No function has a timeout here: all are done when they are answered.
TIMEOUTS = Layout(
    Padding(1),
    "valid" / bits(_=7, tmftmov=1),
    "functions_with_timeout" / Int16ub,
    "long_timeout_100ms" / Int32ub,
    "short_timeout_100ms" / Int32ub,
)
_REPD = layouts.REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS.masks("options")["repd"]


def report_supported_functions(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4: an allocation length that has no room for the basic data is an error."""
    _, _, options, allocation_length = layouts.REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS.struct.unpack_from(
        cdb
    )
    if allocation_length < BASIC.size:
        raise invalid_field(6)
    timeouts = TIMEOUTS.build() if options & _REPD else b""
    data = BASIC.build(functions=nexus.task_management, additional_length=len(timeouts)) + timeouts
    return Completion(Status.GOOD, data[:allocation_length])


def parse_supported_functions(data: bytes | bytearray | memoryview) -> TaskManagement:
    """What a target says it does. Raises `ValueError` for less than 4 bytes."""
    return TaskManagement(BASIC.parse(data)["functions"] & sum(TaskManagement))


MAINTENANCE_IN: dict[int, Command] = {
    ServiceAction.REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS & 0x1F: Command(
        report_supported_functions,
        layouts.REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS,
        CommandFlag.NONE,
        reservation=ReservationRule.UNDER_WRITE_EXCLUSIVE,
    )
}
