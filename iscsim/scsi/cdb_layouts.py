"""The layouts of command descriptor blocks, and of parameter data that is fixed: one each, read and built."""

from __future__ import annotations

from construct import Bytes, Int8ub, Int16ub, Int32ub, Int64ub, Padding

from iscsim.scsi.layout import Layout, bits

# SBC-3. READ and WRITE share a layout, WRPROTECT standing where RDPROTECT does.
_ACCESS = bits(protect=3, dpo=1, fua=1, _=3)
TRANSFER_6 = Layout(
    "opcode" / Int8ub,
    "lba_high" / bits(_=3, lba=5),
    "lba_low" / Int16ub,
    "blocks" / Int8ub,
    Padding(1),
)
TRANSFER_10 = Layout(
    "opcode" / Int8ub, "access" / _ACCESS, "lba" / Int32ub, Padding(1), "blocks" / Int16ub, Padding(1)
)
TRANSFER_12 = Layout("opcode" / Int8ub, "access" / _ACCESS, "lba" / Int32ub, "blocks" / Int32ub, Padding(2))
TRANSFER_16 = Layout("opcode" / Int8ub, "access" / _ACCESS, "lba" / Int64ub, "blocks" / Int32ub, Padding(2))

# SPC-4 and SBC-3, the commands about the unit itself.
SIX = Layout("opcode" / Int8ub, Padding(5))
REQUEST_SENSE = Layout(
    "opcode" / Int8ub, "flags" / bits(_=7, desc=1), Padding(2), "allocation_length" / Int8ub, Padding(1)
)
INQUIRY = Layout(
    "opcode" / Int8ub,
    "flags" / bits(_=6, cmddt=1, evpd=1),
    "page" / Int8ub,
    "allocation_length" / Int16ub,
    Padding(1),
)
MODE_SENSE_6 = Layout(
    "opcode" / Int8ub,
    "flags" / bits(_1=3, llbaa=1, dbd=1, _2=3),
    "page" / bits(control=2, code=6),
    "subpage" / Int8ub,
    "allocation_length" / Int8ub,
    Padding(1),
)
MODE_SENSE_10 = Layout(
    "opcode" / Int8ub,
    "flags" / bits(_1=3, llbaa=1, dbd=1, _2=3),
    "page" / bits(control=2, code=6),
    "subpage" / Int8ub,
    Padding(3),
    "allocation_length" / Int16ub,
    Padding(1),
)
# SPC-2. What was byte 1's third party and extent is looked at, to refuse it.
RESERVE_6 = Layout(
    "opcode" / Int8ub, "flags" / bits(_1=3, third_party=1, _2=2, longid=1, extent=1), Padding(4)
)
RESERVE_10 = Layout(
    "opcode" / Int8ub, "flags" / bits(_1=3, third_party=1, _2=2, longid=1, extent=1), Padding(8)
)
PERSISTENT_RESERVE_IN = Layout(
    "opcode" / Int8ub, "service_action" / Int8ub, Padding(5), "allocation_length" / Int16ub, Padding(1)
)
PERSISTENT_RESERVE_OUT = Layout(
    "opcode" / Int8ub,
    "service_action" / Int8ub,
    "scope_type" / bits(scope=4, reservation_type=4),
    Padding(2),
    "parameter_list_length" / Int32ub,
    Padding(1),
)
_SELECT = bits(_1=3, pf=1, _2=2, rtd=1, sp=1)
MODE_SELECT_6 = Layout(
    "opcode" / Int8ub, "flags" / _SELECT, Padding(2), "parameter_list_length" / Int8ub, Padding(1)
)
MODE_SELECT_10 = Layout(
    "opcode" / Int8ub, "flags" / _SELECT, Padding(5), "parameter_list_length" / Int16ub, Padding(1)
)
START_STOP_UNIT = Layout(
    "opcode" / Int8ub,
    "flags" / bits(_=7, immed=1),
    Padding(1),
    "modifier" / bits(_=4, modifier=4),
    "power" / bits(condition=4, _=1, no_flush=1, loej=1, start=1),
    Padding(1),
)
SEND_DIAGNOSTIC = Layout(
    "opcode" / Int8ub,
    "flags" / bits(code=3, pf=1, _=1, selftest=1, devoffl=1, unitoffl=1),
    Padding(1),
    "parameter_list_length" / Int16ub,
    Padding(1),
)
READ_CAPACITY_10 = Layout(
    "opcode" / Int8ub, Padding(1), "lba" / Int32ub, Padding(2), "flags" / bits(_=7, pmi=1), Padding(1)
)
SERVICE_ACTION_IN_16 = Layout(
    "opcode" / Int8ub,
    "service_action" / Int8ub,
    "lba" / Int64ub,
    "allocation_length" / Int32ub,
    "flags" / bits(_=7, pmi=1),
    Padding(1),
)
SYNCHRONIZE_CACHE_10 = Layout(
    "opcode" / Int8ub,
    "flags" / bits(_=6, immed=1, _1=1),
    "lba" / Int32ub,
    Padding(1),
    "blocks" / Int16ub,
    Padding(1),
)
SYNCHRONIZE_CACHE_16 = Layout(
    "opcode" / Int8ub, "flags" / bits(_=6, immed=1, _1=1), "lba" / Int64ub, "blocks" / Int32ub, Padding(2)
)
REPORT_LUNS = Layout(
    "opcode" / Int8ub,
    Padding(1),
    "select_report" / Int8ub,
    Padding(3),
    "allocation_length" / Int32ub,
    Padding(2),
)
PREVENT_ALLOW_MEDIUM_REMOVAL = Layout(
    "opcode" / Int8ub, Padding(3), "prevent" / bits(_=6, prevent=2), Padding(1)
)
_CHECK = bits(protect=3, dpo=1, _1=1, bytchk=2, _2=1)
VERIFY_10 = Layout(
    "opcode" / Int8ub, "check" / _CHECK, "lba" / Int32ub, Padding(1), "blocks" / Int16ub, Padding(1)
)
VERIFY_12 = Layout("opcode" / Int8ub, "check" / _CHECK, "lba" / Int32ub, "blocks" / Int32ub, Padding(2))
VERIFY_16 = Layout("opcode" / Int8ub, "check" / _CHECK, "lba" / Int64ub, "blocks" / Int32ub, Padding(2))
COMPARE_AND_WRITE = Layout(
    "opcode" / Int8ub, "access" / _ACCESS, "lba" / Int64ub, Padding(3), "blocks" / Int8ub, Padding(2)
)
PRE_FETCH_10 = Layout(
    "opcode" / Int8ub,
    "flags" / bits(_=6, immed=1, _1=1),
    "lba" / Int32ub,
    Padding(1),
    "blocks" / Int16ub,
    Padding(1),
)
PRE_FETCH_16 = Layout(
    "opcode" / Int8ub, "flags" / bits(_=6, immed=1, _1=1), "lba" / Int64ub, "blocks" / Int32ub, Padding(2)
)
_SAME = bits(protect=3, anchor=1, unmap=1, pbdata=1, lbdata=1, ndob=1)
WRITE_SAME_10 = Layout(
    "opcode" / Int8ub, "flags" / _SAME, "lba" / Int32ub, Padding(1), "blocks" / Int16ub, Padding(1)
)
WRITE_SAME_16 = Layout("opcode" / Int8ub, "flags" / _SAME, "lba" / Int64ub, "blocks" / Int32ub, Padding(2))
REPORT_SUPPORTED_OPERATION_CODES = Layout(
    "opcode" / Int8ub,
    "service_action" / Int8ub,
    "options" / bits(rctd=1, _=4, reporting=3),
    "requested_opcode" / Int8ub,
    "requested_service_action" / Int16ub,
    "allocation_length" / Int32ub,
    Padding(2),
)
REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS = Layout(
    "opcode" / Int8ub,
    "service_action" / Int8ub,
    "options" / bits(repd=1, _=7),
    Padding(3),
    "allocation_length" / Int32ub,
    Padding(2),
)
REPORT_TARGET_PORT_GROUPS = Layout(
    "opcode" / Int8ub,
    "action" / bits(parameter_data_format=3, service_action=5),
    Padding(4),
    "allocation_length" / Int32ub,
    Padding(2),
)
SET_TARGET_PORT_GROUPS = Layout(
    "opcode" / Int8ub, "service_action" / Int8ub, Padding(4), "parameter_list_length" / Int32ub, Padding(2)
)
EXTENDED_COPY = Layout(
    "opcode" / Int8ub, "service_action" / Int8ub, Padding(8), "parameter_list_length" / Int32ub, Padding(2)
)
RECEIVE_COPY_RESULTS = Layout(
    "opcode" / Int8ub,
    "service_action" / Int8ub,
    "list_identifier" / Int8ub,
    Padding(7),
    "allocation_length" / Int32ub,
    Padding(2),
)
LOG_SELECT = Layout(
    "opcode" / Int8ub,
    "flags" / bits(_=6, pcr=1, sp=1),
    "page" / bits(control=2, code=6),
    "subpage" / Int8ub,
    Padding(3),
    "parameter_list_length" / Int16ub,
    Padding(1),
)
LOG_SENSE = Layout(
    "opcode" / Int8ub,
    "flags" / bits(_=6, ppc=1, sp=1),
    "page" / bits(control=2, code=6),
    "subpage" / Int8ub,
    Padding(1),
    "parameter_pointer" / Int16ub,
    "allocation_length" / Int16ub,
    Padding(1),
)
UNMAP = Layout(
    "opcode" / Int8ub,
    "flags" / bits(_=7, anchor=1),
    Padding(5),
    "parameter_list_length" / Int16ub,
    Padding(1),
)
# SBC-4. The service actions share a layout; only OVERWRITE has a parameter list.
SANITIZE = Layout(
    "opcode" / Int8ub,
    "options" / bits(immed=1, _=1, ause=1, service_action=5),
    Padding(5),
    "parameter_list_length" / Int16ub,
    Padding(1),
)
OVERWRITE = Layout("options" / bits(invert=1, test=2, count=5), Padding(1), "pattern_length" / Int16ub)
FORMAT_UNIT = Layout(
    "opcode" / Int8ub,
    "options" / bits(fmtpinfo=2, longlist=1, fmtdata=1, cmplst=1, defect_list_format=3),
    Padding(2),
    "fast" / bits(_=6, ffmt=2),
    Padding(1),
)
# The parameter list of FORMAT UNIT: one of two headers, and perhaps a pattern.
_FORMAT_FLAGS = bits(fov=1, dpry=1, dcrt=1, stpf=1, ip=1, obsolete=1, immed=1, vendor_specific=1)
_PROTECTION_FIELD_USAGE = bits(_=5, field_usage=3)
FORMAT_SHORT_HEADER = Layout(
    "protection" / _PROTECTION_FIELD_USAGE, "flags" / _FORMAT_FLAGS, "defect_list_length" / Int16ub
)
FORMAT_LONG_HEADER = Layout(
    "protection" / _PROTECTION_FIELD_USAGE,
    "flags" / _FORMAT_FLAGS,
    Padding(1),
    "interval" / bits(information=4, exponent=4),
    "defect_list_length" / Int32ub,
)
FORMAT_PATTERN = Layout(
    "modifier" / bits(obsolete=2, security=1, _=5), "pattern_type" / Int8ub, "pattern_length" / Int16ub
)
_DEFECT_LISTS = bits(_=3, plist=1, glist=1, format=3)
READ_DEFECT_DATA_10 = Layout(
    "opcode" / Int8ub,
    Padding(1),
    "request" / _DEFECT_LISTS,
    Padding(4),
    "allocation_length" / Int16ub,
    Padding(1),
)
READ_DEFECT_DATA_12 = Layout(
    "opcode" / Int8ub,
    "request" / _DEFECT_LISTS,
    "index" / Int32ub,
    "allocation_length" / Int32ub,
    Padding(2),
)
# Their parameter data, as far as there is any without defects.
DEFECT_DATA_10 = Layout(Padding(1), "lists" / _DEFECT_LISTS, "list_length" / Int16ub)
DEFECT_DATA_12 = Layout(Padding(1), "lists" / _DEFECT_LISTS, "generation" / Int16ub, "list_length" / Int32ub)
WRITE_ATOMIC_16 = Layout(
    "opcode" / Int8ub,
    "access" / _ACCESS,
    "lba" / Int64ub,
    "boundary" / Int16ub,
    "blocks" / Int16ub,
    Padding(2),
)
# A variable length CDB (SPC-4): byte 7 counts what follows it, bytes 8 and 9 are the service action.
WRITE_SAME_32 = Layout(
    "opcode" / Int8ub,
    Padding(6),
    "additional_cdb_length" / Int8ub,
    "service_action" / Int16ub,
    "flags" / _SAME,
    Padding(1),
    "lba" / Int64ub,
    Padding(8),
    "blocks" / Int32ub,
)
# Parameter data of GET LBA STATUS (SBC-3): a header and one descriptor.
LBA_STATUS = Layout(
    "data_length" / Int32ub,
    Padding(4),
    "lba" / Int64ub,
    "blocks" / Int32ub,
    "status" / bits(_=4, provisioning=4),
    Padding(3),
)
# Parameter list of UNMAP (SBC-3): a header and 16-byte block descriptors.
UNMAP_HEADER = Layout("data_length" / Int16ub, "descriptors_length" / Int16ub, Padding(4))
UNMAP_DESCRIPTOR = Layout("lba" / Int64ub, "blocks" / Int32ub, "reserved" / Bytes(4))
