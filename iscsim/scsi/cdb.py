"""Command descriptor blocks: what our initiator sends, built by the layouts of `cdb_layouts`.

A builder returns exactly the CDB's own length (6, 10, 12 or 16 bytes, or 32 of a variable length CDB); iSCSI
pads it to 16, and carries what is beyond in an additional header segment.
"""

from __future__ import annotations

from iscsim.scsi.cdb_layouts import (
    EXTENDED_COPY,
    INQUIRY,
    LOG_SELECT,
    LOG_SENSE,
    MODE_SELECT_6,
    MODE_SELECT_10,
    MODE_SENSE_6,
    MODE_SENSE_10,
    PERSISTENT_RESERVE_IN,
    PERSISTENT_RESERVE_OUT,
    READ_CAPACITY_10,
    RECEIVE_COPY_RESULTS,
    REPORT_LUNS,
    REPORT_SUPPORTED_OPERATION_CODES,
    REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS,
    REPORT_TARGET_PORT_GROUPS,
    REQUEST_SENSE,
    SERVICE_ACTION_IN_16,
    SET_TARGET_PORT_GROUPS,
    SIX,
    START_STOP_UNIT,
    SYNCHRONIZE_CACHE_10,
    SYNCHRONIZE_CACHE_16,
    TRANSFER_6,
    TRANSFER_10,
    TRANSFER_12,
    TRANSFER_16,
    UNMAP,
    UNMAP_DESCRIPTOR,
    UNMAP_HEADER,
)
from iscsim.scsi.opcode import Opcode, ServiceAction, cdb_length, cdb_name

__all__ = [
    "Opcode",
    "ServiceAction",
    "cdb_length",
    "cdb_name",
    "extended_copy",
    "inquiry",
    "log_select",
    "log_sense",
    "mode_select_6",
    "mode_select_10",
    "mode_sense_6",
    "mode_sense_10",
    "persistent_reserve_in",
    "persistent_reserve_out",
    "read_6",
    "read_10",
    "read_12",
    "read_16",
    "read_capacity_10",
    "read_capacity_16",
    "receive_copy_results",
    "report_luns",
    "report_supported_operation_codes",
    "report_supported_task_management_functions",
    "report_target_port_groups",
    "request_sense",
    "set_target_port_groups",
    "start_stop_unit",
    "synchronize_cache_10",
    "synchronize_cache_16",
    "test_unit_ready",
    "unmap",
    "write_6",
    "write_10",
    "write_12",
    "write_16",
]

# The initiator's quick path: one call of the derived packer, in the layout's order.
_pack_10 = TRANSFER_10.struct.pack
_pack_12 = TRANSFER_12.struct.pack
_pack_16 = TRANSFER_16.struct.pack


def _transfer_6(opcode: Opcode, lba: int, blocks: int) -> bytes:
    # SBC-3, READ (6): 21 bits of address, and 0 blocks means 256.
    if not (0 <= lba < 1 << 21 and 1 <= blocks <= 256):
        raise ValueError(f"{blocks} blocks at {lba} do not fit a 6-byte CDB")
    return TRANSFER_6.build(opcode=opcode, lba_high=lba >> 16, lba_low=lba & 0xFFFF, blocks=blocks & 0xFF)


def read_6(lba: int, blocks: int) -> bytes:
    """SBC-3, READ (6): 1 to 256 blocks below 2**21. Raises `ValueError` beyond that."""
    return _transfer_6(Opcode.READ_6, lba, blocks)


def write_6(lba: int, blocks: int) -> bytes:
    """SBC-3, WRITE (6): 1 to 256 blocks below 2**21. Raises `ValueError` beyond that."""
    return _transfer_6(Opcode.WRITE_6, lba, blocks)


def read_10(lba: int, blocks: int, *, fua: bool = False, dpo: bool = False, protect: int = 0) -> bytes:
    """SBC-3, READ (10): up to 65535 blocks below 2**32. Raises `struct.error` beyond that."""
    return _pack_10(Opcode.READ_10, protect << 5 | dpo << 4 | fua << 3, lba, blocks)


def write_10(lba: int, blocks: int, *, fua: bool = False, dpo: bool = False, protect: int = 0) -> bytes:
    """SBC-3, WRITE (10): up to 65535 blocks below 2**32. Raises `struct.error` beyond that."""
    return _pack_10(Opcode.WRITE_10, protect << 5 | dpo << 4 | fua << 3, lba, blocks)


def read_12(lba: int, blocks: int, *, fua: bool = False, dpo: bool = False, protect: int = 0) -> bytes:
    """SBC-3, READ (12): up to 2**32 - 1 blocks below 2**32."""
    return _pack_12(Opcode.READ_12, protect << 5 | dpo << 4 | fua << 3, lba, blocks)


def write_12(lba: int, blocks: int, *, fua: bool = False, dpo: bool = False, protect: int = 0) -> bytes:
    """SBC-3, WRITE (12): up to 2**32 - 1 blocks below 2**32."""
    return _pack_12(Opcode.WRITE_12, protect << 5 | dpo << 4 | fua << 3, lba, blocks)


def read_16(lba: int, blocks: int, *, fua: bool = False, dpo: bool = False, protect: int = 0) -> bytes:
    """SBC-3, READ (16): up to 2**32 - 1 blocks below 2**64."""
    return _pack_16(Opcode.READ_16, protect << 5 | dpo << 4 | fua << 3, lba, blocks)


def write_16(lba: int, blocks: int, *, fua: bool = False, dpo: bool = False, protect: int = 0) -> bytes:
    """SBC-3, WRITE (16): up to 2**32 - 1 blocks below 2**64."""
    return _pack_16(Opcode.WRITE_16, protect << 5 | dpo << 4 | fua << 3, lba, blocks)


def test_unit_ready() -> bytes:
    """SPC-4, TEST UNIT READY."""
    return SIX.build(opcode=Opcode.TEST_UNIT_READY)


test_unit_ready.__test__ = False  # type: ignore[attr-defined]  # a SCSI command, not a test of pytest's


def request_sense(*, descriptor: bool = False, allocation_length: int = 252) -> bytes:
    """SPC-4, REQUEST SENSE; ``descriptor`` asks for descriptor format."""
    return REQUEST_SENSE.build(
        opcode=Opcode.REQUEST_SENSE, flags=int(descriptor), allocation_length=allocation_length
    )


def inquiry(page: int | None = None, *, allocation_length: int = 255) -> bytes:
    """SPC-4, INQUIRY: standard data, or the vital product data page ``page``."""
    return INQUIRY.build(
        opcode=Opcode.INQUIRY,
        flags=0 if page is None else 1,
        page=page or 0,
        allocation_length=allocation_length,
    )


def mode_sense_6(
    page: int, subpage: int = 0, *, control: int = 0, dbd: bool = False, allocation_length: int = 255
) -> bytes:
    """SPC-4, MODE SENSE (6); ``control`` is PC: 0 current, 1 changeable, 2 default, 3 saved values."""
    return MODE_SENSE_6.build(
        opcode=Opcode.MODE_SENSE_6,
        flags=0x08 if dbd else 0,
        page=control << 6 | page,
        subpage=subpage,
        allocation_length=allocation_length,
    )


def mode_sense_10(
    page: int,
    subpage: int = 0,
    *,
    control: int = 0,
    dbd: bool = False,
    llbaa: bool = False,
    allocation_length: int = 4096,
) -> bytes:
    """SPC-4, MODE SENSE (10); ``llbaa`` accepts the long block descriptor."""
    return MODE_SENSE_10.build(
        opcode=Opcode.MODE_SENSE_10,
        flags=(0x10 if llbaa else 0) | (0x08 if dbd else 0),
        page=control << 6 | page,
        subpage=subpage,
        allocation_length=allocation_length,
    )


def mode_select_6(parameters: bytes, *, save: bool = False) -> bytes:
    """SPC-4, MODE SELECT (6) of standard pages; ``parameters`` is sent as Data-Out, up to 255 bytes."""
    return MODE_SELECT_6.build(
        opcode=Opcode.MODE_SELECT_6, flags=0x10 | save, parameter_list_length=len(parameters)
    )


def mode_select_10(parameters: bytes, *, save: bool = False) -> bytes:
    """SPC-4, MODE SELECT (10) of standard pages; ``parameters`` is sent as Data-Out, up to 65535 bytes."""
    return MODE_SELECT_10.build(
        opcode=Opcode.MODE_SELECT_10, flags=0x10 | save, parameter_list_length=len(parameters)
    )


def start_stop_unit(
    *,
    start: bool,
    load_eject: bool = False,
    immediate: bool = False,
    no_flush: bool = False,
    condition: int = 0,
) -> bytes:
    """SBC-3, START STOP UNIT; ``load_eject`` loads (with ``start``) or ejects the medium."""
    power = condition << 4 | no_flush << 2 | load_eject << 1 | int(start)
    return START_STOP_UNIT.build(opcode=Opcode.START_STOP_UNIT, flags=int(immediate), power=power)


def read_capacity_10() -> bytes:
    """SBC-3, READ CAPACITY (10)."""
    return READ_CAPACITY_10.build(opcode=Opcode.READ_CAPACITY_10)


def read_capacity_16(*, allocation_length: int = 32) -> bytes:
    """SBC-3, READ CAPACITY (16)."""
    return SERVICE_ACTION_IN_16.build(
        opcode=Opcode.SERVICE_ACTION_IN_16,
        service_action=ServiceAction.READ_CAPACITY_16 & 0x1F,
        allocation_length=allocation_length,
    )


def synchronize_cache_10(lba: int = 0, blocks: int = 0, *, immediate: bool = False) -> bytes:
    """SBC-3, SYNCHRONIZE CACHE (10); 0 blocks means to the end."""
    return SYNCHRONIZE_CACHE_10.build(
        opcode=Opcode.SYNCHRONIZE_CACHE_10, flags=immediate << 1, lba=lba, blocks=blocks
    )


def synchronize_cache_16(lba: int = 0, blocks: int = 0, *, immediate: bool = False) -> bytes:
    """SBC-3, SYNCHRONIZE CACHE (16); 0 blocks means to the end."""
    return SYNCHRONIZE_CACHE_16.build(
        opcode=Opcode.SYNCHRONIZE_CACHE_16, flags=immediate << 1, lba=lba, blocks=blocks
    )


def persistent_reserve_in(service_action: int, *, allocation_length: int = 4096) -> bytes:
    """SPC-4, PERSISTENT RESERVE IN: 0 READ KEYS, 1 READ RESERVATION, 2 REPORT CAPABILITIES, 3 READ FULL
    STATUS.
    """
    return PERSISTENT_RESERVE_IN.build(
        opcode=Opcode.PERSISTENT_RESERVE_IN,
        service_action=service_action & 0x1F,
        allocation_length=allocation_length,
    )


def persistent_reserve_out(
    service_action: int, *, reservation_type: int = 0, parameter_list_length: int = 24
) -> bytes:
    """SPC-4, PERSISTENT RESERVE OUT: 0 REGISTER to 7 REGISTER AND MOVE; the scope is the logical unit."""
    return PERSISTENT_RESERVE_OUT.build(
        opcode=Opcode.PERSISTENT_RESERVE_OUT,
        service_action=service_action & 0x1F,
        scope_type=reservation_type,
        parameter_list_length=parameter_list_length,
    )


def extended_copy(parameters: bytes) -> bytes:
    """SPC-4, EXTENDED COPY (LID1); ``parameters`` is sent as Data-Out."""
    return EXTENDED_COPY.build(opcode=Opcode.EXTENDED_COPY, parameter_list_length=len(parameters))


def receive_copy_results(
    service_action: int, list_identifier: int = 0, *, allocation_length: int = 1024
) -> bytes:
    """SPC-4: 0 RECEIVE COPY STATUS, 3 RECEIVE COPY OPERATING PARAMETERS, 4 RECEIVE COPY FAILURE DETAILS."""
    return RECEIVE_COPY_RESULTS.build(
        opcode=Opcode.RECEIVE_COPY_RESULTS,
        service_action=service_action & 0x1F,
        list_identifier=list_identifier,
        allocation_length=allocation_length,
    )


def log_select(page: int = 0, subpage: int = 0, *, control: int = 1, reset: bool = True) -> bytes:
    """SPC-4, LOG SELECT without a parameter list: by default sets the counters of ``page`` (0: of all) to
    zero.
    """
    return LOG_SELECT.build(
        opcode=Opcode.LOG_SELECT, flags=reset << 1, page=control << 6 | page, subpage=subpage
    )


def log_sense(
    page: int, subpage: int = 0, *, control: int = 1, pointer: int = 0, allocation_length: int = 4096
) -> bytes:
    """SPC-4, LOG SENSE; ``control`` is PC: 1 cumulative, 3 default cumulative values."""
    return LOG_SENSE.build(
        opcode=Opcode.LOG_SENSE,
        page=control << 6 | page,
        subpage=subpage,
        parameter_pointer=pointer,
        allocation_length=allocation_length,
    )


def report_luns(select_report: int = 0, *, allocation_length: int = 4096) -> bytes:
    """SPC-4, REPORT LUNS: 0 logical units, 1 well-known logical units, 2 both."""
    return REPORT_LUNS.build(
        opcode=Opcode.REPORT_LUNS, select_report=select_report, allocation_length=allocation_length
    )


def report_target_port_groups(*, extended: bool = False, allocation_length: int = 4096) -> bytes:
    """SPC-4, REPORT TARGET PORT GROUPS; ``extended`` asks for the header with the transition time."""
    return REPORT_TARGET_PORT_GROUPS.build(
        opcode=Opcode.MAINTENANCE_IN,
        action=extended << 5 | ServiceAction.REPORT_TARGET_PORT_GROUPS & 0x1F,
        allocation_length=allocation_length,
    )


def set_target_port_groups(*, parameter_list_length: int) -> bytes:
    """SPC-4, SET TARGET PORT GROUPS."""
    return SET_TARGET_PORT_GROUPS.build(
        opcode=Opcode.MAINTENANCE_OUT,
        service_action=ServiceAction.SET_TARGET_PORT_GROUPS & 0x1F,
        parameter_list_length=parameter_list_length,
    )


def report_supported_operation_codes(opcode: int, *, allocation_length: int) -> bytes:
    """SPC-4, REPORT SUPPORTED OPERATION CODES: what is known of one command without service actions."""
    return REPORT_SUPPORTED_OPERATION_CODES.build(
        opcode=Opcode.MAINTENANCE_IN,
        service_action=ServiceAction.REPORT_SUPPORTED_OPERATION_CODES & 0x1F,
        options=1,
        requested_opcode=opcode,
        allocation_length=allocation_length,
    )


def report_supported_task_management_functions(
    *, extended: bool = False, allocation_length: int = 16
) -> bytes:
    """SPC-4, REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS; ``extended`` (REPD) asks for the timeouts too."""
    return REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS.build(
        opcode=Opcode.MAINTENANCE_IN,
        service_action=ServiceAction.REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS & 0x1F,
        options=extended << 7,
        allocation_length=allocation_length,
    )


def unmap(ranges: list[tuple[int, int]]) -> tuple[bytes, bytes]:
    """SBC-3, UNMAP of ``ranges`` (lba, blocks): the CDB and its parameter list."""
    descriptors = b"".join(UNMAP_DESCRIPTOR.build(lba=lba, blocks=blocks) for lba, blocks in ranges)
    header = UNMAP_HEADER.build(data_length=6 + len(descriptors), descriptors_length=len(descriptors))
    length = len(header) + len(descriptors)
    return UNMAP.build(opcode=Opcode.UNMAP, parameter_list_length=length), header + descriptors
