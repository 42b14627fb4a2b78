"""The commands every device server has (SPC-4).

Handlers raise `CheckCondition`; the device server answers.
"""

from __future__ import annotations

from collections.abc import Callable

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi import vpd
from iscsim.scsi.asc import ASC
from iscsim.scsi.command import Command, CommandFlag, invalid_field
from iscsim.scsi.completion import Completion
from iscsim.scsi.inquiry import DeviceType, Qualifier, StandardInquiry
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.lun import REPORT_LUNS_WELL_KNOWN_LUN, InvalidLUN, decode_lun, encode_lun_list
from iscsim.scsi.mode import ALL_SUBPAGES, ModePageCode, ModeParameters, PageControl
from iscsim.scsi.mode_pages import ON_REQUEST, PageKey, changeable_bits, page_key
from iscsim.scsi.nexus import ITNexus, MappedLUN
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.ownership import OwnedAccess
from iscsim.scsi.profile import DeviceProfile
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.sense import CheckCondition, Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.store import Buffer
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.scsi.unit_path_report import UnitPathReport
from iscsim.scsi.vpd import VPDPage

__all__ = ["COMMANDS", "answer_unmapped", "answer_well_known"]

_EVPD = layouts.INQUIRY.masks("flags")["evpd"]
_CMDDT = layouts.INQUIRY.masks("flags")["cmddt"]
_DESC = layouts.REQUEST_SENSE.masks("flags")["desc"]
_DBD = layouts.MODE_SENSE_6.masks("flags")["dbd"]
_LLBAA = layouts.MODE_SENSE_10.masks("flags")["llbaa"]
_NOTHING = Sense.of(SenseKey.NO_SENSE, ASC.NO_ADDITIONAL_SENSE)
# SELECT REPORT: are the units of the map listed, and the well-known one? The last three are about
# conglomerates: administrative units alone, with those that are in none, and subsidiary units. None is here.
_SELECTIONS = {
    0x00: (True, False),
    0x01: (False, True),
    0x02: (True, True),
    0x10: (False, False),
    0x11: (True, False),
    0x12: (False, False),
}


def test_unit_ready(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4, TEST UNIT READY: whoever gets here is ready."""
    return Completion()


def inquiry(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4, INQUIRY. Only EVPD and CMDDT are looked at in byte 1: hosts still put an old LUN in its top
    bits.
    """
    allocation_length, page = _inquiry_request(cdb)
    unit = mapped.logical_unit
    if page is None:
        return Completion(Status.GOOD, unit.inquiry_through(nexus).encode()[:allocation_length])
    build = _VPD_PAGES.get(page)
    if build is None or page not in unit.profile.vpd_pages:
        raise invalid_field(2)
    data = build(unit, nexus)
    if unit.access.hides(nexus):  # every page begins with the qualifier
        data = bytes((Qualifier.NOT_CONNECTED << 5 | data[0],)) + data[1:]
    return Completion(Status.GOOD, data[:allocation_length])


def _inquiry_request(cdb: bytes) -> tuple[int, int | None]:
    """Allocation length, and the page code or None for standard data."""
    _, flags, page, allocation_length = layouts.INQUIRY.struct.unpack_from(cdb)
    if flags & _CMDDT:
        raise invalid_field(1, 1)
    if flags & _EVPD:
        return allocation_length, page
    if page:
        raise invalid_field(2)
    return allocation_length, None


def _supported_pages(unit: LogicalUnit, nexus: ITNexus) -> bytes:
    return vpd.encode_supported_pages(sorted(unit.profile.vpd_pages), unit.device_type)


def _unit_path_report(unit: LogicalUnit, nexus: ITNexus) -> bytes:
    if not isinstance(unit.access, OwnedAccess):
        raise invalid_field(2)
    return unit.access.path_report(nexus).encode(unit.device_type)


_VPD_PAGES: dict[int, Callable[[LogicalUnit, ITNexus], bytes]] = {
    VPDPage.SUPPORTED_PAGES: _supported_pages,
    VPDPage.UNIT_SERIAL_NUMBER: lambda unit, nexus: vpd.encode_unit_serial_number(
        unit.serial, unit.device_type
    ),
    VPDPage.DEVICE_IDENTIFICATION: lambda unit, nexus: vpd.encode_device_identification(
        unit.designators(nexus), unit.device_type
    ),
    VPDPage.THIRD_PARTY_COPY: lambda unit, nexus: unit.third_party_copy.encode(unit.device_type),
    VPDPage.EXTENDED_INQUIRY: lambda unit, nexus: unit.extended_inquiry.encode(unit.device_type),
    VPDPage.BLOCK_LIMITS: lambda unit, nexus: unit.block_limits.encode(unit.device_type),
    VPDPage.BLOCK_DEVICE_CHARACTERISTICS: lambda unit, nexus: unit.characteristics.encode(unit.device_type),
    VPDPage.LOGICAL_BLOCK_PROVISIONING: lambda unit, nexus: unit.provisioning.encode(unit.device_type),
    VPDPage.REFERRALS: lambda unit, nexus: vpd.encode_referrals(unit.device_type),
    VPDPage.UNIT_PATH_REPORT: _unit_path_report,
}


def report_luns(nexus: ITNexus, mapped: MappedLUN | None, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4, REPORT LUNS: the nexus' own list; its length field counts all, however little is asked for."""
    _, select_report, allocation_length = layouts.REPORT_LUNS.struct.unpack_from(cdb)
    if select_report not in _SELECTIONS:
        raise invalid_field(2)
    with_units, with_well_known = _SELECTIONS[select_report]
    luns = nexus.luns() if with_units else []
    if with_well_known:
        luns.append(REPORT_LUNS_WELL_KNOWN_LUN)
    nexus.clear(UnitAttention.REPORTED_LUNS_CHANGED)
    return Completion(Status.GOOD, encode_lun_list(luns)[:allocation_length])


def request_sense(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4, REQUEST SENSE: a pending unit attention as data, which clears it; else the unit's state."""
    unit = mapped.logical_unit
    attention = nexus.take(unit)
    if attention is not None:
        return _sense_data(Sense.of(SenseKey.UNIT_ATTENTION, attention.value), cdb)
    busy = unit.erasure.busy(nexus)
    if busy is not None:
        return _sense_data(busy.sense, cdb)
    try:
        unit.access.check(nexus, CommandFlag.NONE)
        unit.check_medium()
    except CheckCondition as condition:
        return _sense_data(condition.sense, cdb)
    return _sense_data(_predicted_failure(unit) or unit.power.sense or _NOTHING, cdb)


def _predicted_failure(unit: LogicalUnit) -> Sense | None:
    """SPC-4, MRIE 6: an informational exception is told to who asks."""
    exceptions = unit.informational_exceptions
    if exceptions.test and exceptions.method == ON_REQUEST:
        return Sense.of(SenseKey.NO_SENSE, ASC.FAILURE_PREDICTION_THRESHOLD_EXCEEDED_FALSE)
    return None


def _sense_data(sense: Sense, cdb: bytes) -> Completion:
    _, flags, allocation_length = layouts.REQUEST_SENSE.struct.unpack_from(cdb)
    return Completion(Status.GOOD, sense.encode(bool(flags & _DESC))[:allocation_length])


def mode_sense_6(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4, MODE SENSE (6)."""
    _, flags, page, subpage, allocation_length = layouts.MODE_SENSE_6.struct.unpack_from(cdb)
    parameters = _mode_parameters(mapped, page, subpage, with_descriptor=not flags & _DBD)
    return Completion(Status.GOOD, parameters.encode_6()[:allocation_length])


def mode_sense_10(nexus: ITNexus, mapped: MappedLUN, cdb: bytes, data_out: Buffer) -> Completion:
    """SPC-4, MODE SENSE (10)."""
    _, flags, page, subpage, allocation_length = layouts.MODE_SENSE_10.struct.unpack_from(cdb)
    parameters = _mode_parameters(mapped, page, subpage, with_descriptor=not flags & _DBD)
    return Completion(Status.GOOD, parameters.encode_10(long_lba=bool(flags & _LLBAA))[:allocation_length])


def _mode_parameters(mapped: MappedLUN, page: int, subpage: int, *, with_descriptor: bool) -> ModeParameters:
    unit = mapped.logical_unit
    return ModeParameters(
        write_protected=mapped.read_only or unit.read_only or unit.software_write_protect,
        dpo_fua=True,
        blocks=unit.blocks if with_descriptor else None,
        block_size=unit.block_size if with_descriptor else None,
        pages=_mode_pages(unit, page & 0x3F, subpage, PageControl(page >> 6)),
    )


def _mode_pages(unit: LogicalUnit, code: int, subpage: int, control: PageControl) -> tuple[bytes, ...]:
    """The pages asked for, by code and subpage, ascending."""
    if control == PageControl.SAVED:
        raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.SAVING_PARAMETERS_NOT_SUPPORTED, field=(2, 7))
    pages = unit.default_mode_pages if control == PageControl.DEFAULT else unit.mode_pages()
    found = [pages[key] for key in _page_keys(list(pages), code, subpage)]
    return tuple(_changeable(page) for page in found) if control == PageControl.CHANGEABLE else tuple(found)


def _page_keys(there: list[PageKey], code: int, subpage: int) -> list[PageKey]:
    """SPC-4: 3Fh asks for every page, subpage FFh for the page and its subpages."""
    if code == ModePageCode.ALL:
        if subpage not in (0, ALL_SUBPAGES):
            raise invalid_field(3)
        return [key for key in there if subpage or not key[1]]
    found = [key for key in there if key[0] == code]
    if not found:
        raise invalid_field(2, 5)
    if subpage != ALL_SUBPAGES:
        found = [key for key in found if key[1] == subpage]
    if not found:
        raise invalid_field(3)
    return found


def _changeable(page: bytes) -> bytes:
    """The page with masks for values."""
    header = 2 if page_key(page)[1] == 0 else 4
    return page[:header] + changeable_bits(page)[header:]


_ALWAYS = ReservationRule.ALWAYS
_READS = ReservationRule.UNDER_WRITE_EXCLUSIVE
# What works before anything else does.
_BEFORE_ATTENTION = CommandFlag.WITH_UNIT_ATTENTION | CommandFlag.IN_ANY_ACCESS_STATE
_IN_STANDBY = CommandFlag.IN_STANDBY

COMMANDS: dict[int, Command] = {
    Opcode.TEST_UNIT_READY: Command(
        test_unit_ready, layouts.SIX, CommandFlag.NEEDS_MEDIUM, reservation=ReservationRule.UNDER_PERSISTENT
    ),
    Opcode.REQUEST_SENSE: Command(
        request_sense, layouts.REQUEST_SENSE, _BEFORE_ATTENTION, reservation=_ALWAYS
    ),
    Opcode.INQUIRY: Command(inquiry, layouts.INQUIRY, _BEFORE_ATTENTION, reservation=_ALWAYS),
    Opcode.MODE_SENSE_6: Command(mode_sense_6, layouts.MODE_SENSE_6, _IN_STANDBY, reservation=_READS),
    Opcode.MODE_SENSE_10: Command(mode_sense_10, layouts.MODE_SENSE_10, _IN_STANDBY, reservation=_READS),
    Opcode.REPORT_LUNS: Command(report_luns, layouts.REPORT_LUNS, _BEFORE_ATTENTION, reservation=_ALWAYS),
}


# Logical units that are not there, and the one that always is.


def answer_unmapped(nexus: ITNexus, lun: bytes, cdb: bytes) -> Completion:
    """SPC-4 for a LUN without a logical unit: INQUIRY, REPORT LUNS and REQUEST SENSE answer, all else is
    05/25/00. At LUN 0 a make may have something that calls itself a disk (EMC's LUNZ).
    """
    not_supported = CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.LOGICAL_UNIT_NOT_SUPPORTED)
    match cdb[0]:
        case Opcode.INQUIRY:
            if nexus.profile and nexus.sees_placeholder and _is_lun_0(lun):
                return _inquire_placeholder(nexus, nexus.profile, cdb)
            absent = StandardInquiry(device_type=DeviceType.UNKNOWN, qualifier=Qualifier.NOT_CAPABLE)
            return _inquiry_without_unit(absent, cdb)
        case Opcode.REPORT_LUNS:
            return report_luns(nexus, None, cdb, b"")
        case Opcode.REQUEST_SENSE:
            return _sense_data(not_supported.sense, cdb)
    raise not_supported


def _is_lun_0(lun: bytes) -> bool:
    try:
        return decode_lun(lun) == 0
    except InvalidLUN:
        return False


def _inquire_placeholder(nexus: ITNexus, make: DeviceProfile, cdb: bytes) -> Completion:
    """Standard data of the make, its serial number, and a path report that says that no unit is bound."""
    allocation_length, page = _inquiry_request(cdb)
    serial = make.serial(nexus.target_name, 0)
    standard = StandardInquiry(
        vendor=make.vendor, product=make.placeholder, revision=make.revision, version=make.version
    )
    pages: dict[int, bytes] = {
        VPDPage.UNIT_SERIAL_NUMBER: vpd.encode_unit_serial_number(serial),
        VPDPage.UNIT_PATH_REPORT: UnitPathReport(
            processor=nexus.target_port_group - 1, port=nexus.port_in_group, serial=serial
        ).encode(),
    }
    pages[VPDPage.SUPPORTED_PAGES] = vpd.encode_supported_pages([VPDPage.SUPPORTED_PAGES, *pages])
    if page is None:
        return Completion(Status.GOOD, standard.encode()[:allocation_length])
    if page not in pages:
        raise invalid_field(2)
    return Completion(Status.GOOD, pages[page][:allocation_length])


def answer_well_known(nexus: ITNexus, cdb: bytes) -> Completion:
    """SPC-4, the REPORT LUNS well-known logical unit (C1 01): four commands, all else is 05/20/00."""
    match cdb[0]:
        case Opcode.INQUIRY:
            itself = StandardInquiry(device_type=DeviceType.WELL_KNOWN_LOGICAL_UNIT)
            return _inquiry_without_unit(itself, cdb)
        case Opcode.REPORT_LUNS:
            return report_luns(nexus, None, cdb, b"")
        case Opcode.REQUEST_SENSE:
            return _sense_data(_NOTHING, cdb)
        case Opcode.TEST_UNIT_READY:
            return Completion()
    raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_COMMAND_OPERATION_CODE, field=(0, None))


def _inquiry_without_unit(standard: StandardInquiry, cdb: bytes) -> Completion:
    """Standard data, and of the vital product data only the list that names itself."""
    allocation_length, page = _inquiry_request(cdb)
    peripheral = standard.qualifier << 5 | standard.device_type
    if page is None:
        return Completion(Status.GOOD, standard.encode()[:allocation_length])
    if page != VPDPage.SUPPORTED_PAGES:
        raise invalid_field(2)
    return Completion(Status.GOOD, vpd.encode_supported_pages([page], peripheral)[:allocation_length])
