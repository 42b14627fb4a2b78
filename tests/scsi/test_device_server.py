import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi import cdb
from iscsim.scsi.command import Command
from iscsim.scsi.completion import Completion
from iscsim.scsi.device_server import COMMANDS, DeviceServer
from iscsim.scsi.lun import REPORT_LUNS_WELL_KNOWN_LUN, encode_lun
from iscsim.scsi.sense import FieldPointer, Sense
from iscsim.scsi.status import Status
from iscsim.scsi.store import MemoryStore
from iscsim.scsi.unit_attention import UnitAttention

MISSING = encode_lun(9)


def test_an_unsupported_operation_code(rig):
    sense = rig.sense(b"\xc0")
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/20/00", FieldPointer(0))


def test_an_empty_cdb_is_an_unsupported_operation_code(rig):
    assert rig.fault(b"") == "05/20/00"
    assert rig.fault(b"", lun=MISSING) == "05/20/00"


def test_a_short_cdb_is_padded_as_iscsi_pads_it(rig):
    assert rig.good(b"\x08") == bytes(256 * 512)


def test_sense_follows_the_units_format(make_rig):
    assert make_rig().execute(b"\xc0").sense[0] == 0x70
    assert make_rig(d_sense=True).execute(b"\xc0").sense[0] == 0x72


@pytest.mark.parametrize("lun", ["00c5", "40c5", "d20000c5", "e200000000c5"])
def test_a_lun_is_found_however_it_is_written(make_rig, lun):
    rig = make_rig(number=197)
    assert rig.good(cdb.test_unit_ready(), lun=bytes.fromhex(lun.ljust(16, "0"))) == b""


def test_a_second_level_lun_is_not_its_first_level(rig):
    assert rig.fault(cdb.test_unit_ready(), lun=bytes.fromhex("0000000100000000")) == "05/25/00"


# CONTROL

EVERY_CDB = [
    (opcode, action)
    for opcode, command in COMMANDS.items()
    for action in (command.service_actions or {0: command})
    if cdb.cdb_length(opcode)
]


@pytest.mark.parametrize("opcode, action", EVERY_CDB)
def test_naca_is_refused_by_every_command_before_it_takes_data(make_rig, opcode, action):
    rig = make_rig(thin=True)
    length = cdb.cdb_length(opcode)
    command = bytes((opcode, action)).ljust(length - 1, b"\0") + b"\x04"
    assert rig.server.data_out_length(rig.nexus, rig.lun, command) == 0
    sense = rig.sense(command)
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(length - 1, 2))


@pytest.mark.parametrize("lun", [MISSING, REPORT_LUNS_WELL_KNOWN_LUN])
def test_naca_is_refused_where_no_unit_is(rig, lun):
    assert rig.fault(bytes.fromhex("120000002404"), lun=lun) == "05/24/00"


@pytest.mark.parametrize("command", ["280000000000000001c3", "2a0000000000000001c3", "0000000000c3"])
def test_the_other_bits_of_control_change_nothing(rig, command):
    assert rig.execute(bytes.fromhex(command), bytes(512)).status == Status.GOOD


# Unit attentions


def test_a_new_nexus_hears_power_on_once(rig):
    nexus = rig.connect("iqn.other")
    assert rig.fault(cdb.test_unit_ready(), nexus=nexus) == "06/29/00"
    rig.good(cdb.test_unit_ready(), nexus=nexus)


def test_a_nexus_that_comes_back_after_a_loss_hears_that(rig):
    rig.server.nexus_lost(rig.nexus)
    rig.server.nexus_established(rig.nexus, UnitAttention.IT_NEXUS_LOSS)
    assert rig.fault(cdb.test_unit_ready()) == "06/29/07"


@pytest.mark.parametrize("command", [cdb.inquiry(), cdb.inquiry(0x83), cdb.report_luns()])
def test_inquiry_and_report_luns_neither_report_nor_clear_it(rig, command):
    rig.unit.resize(4096)
    rig.good(command)
    assert rig.fault(cdb.read_10(0, 1)) == "06/2a/09"


def test_several_are_reported_one_command_each_by_precedence(rig):
    rig.unit.establish(UnitAttention.MODE_PARAMETERS_CHANGED)
    rig.unit.reset(UnitAttention.BUS_DEVICE_RESET)
    assert [rig.fault(cdb.test_unit_ready()) for _ in range(2)] == ["06/29/03", "06/2a/01"]
    rig.good(cdb.test_unit_ready())


def test_one_unit_waiting_does_not_hold_up_another(rig):
    other = rig.add(1)
    rig.good(cdb.report_luns())
    rig.good(cdb.read_10(0, 1))
    assert rig.nexus.unit_attentions == {other: [UnitAttention.POWER_ON_RESET]}


def test_a_command_that_reports_one_is_not_executed(rig):
    rig.unit.resize(4096)
    assert rig.fault(cdb.write_10(0, 1), b"x" * 512) == "06/2a/09"
    assert rig.good(cdb.read_10(0, 1)) == bytes(512)


# Data-Out


@pytest.mark.parametrize(
    "command, length",
    [
        (cdb.write_6(0, 256), 131072),
        (cdb.write_10(0, 8), 4096),
        (cdb.write_12(0, 8), 4096),
        (cdb.write_16(2040, 8), 4096),
        (cdb.unmap([(0, 1)])[0], 24),
        (cdb.read_10(0, 8), 0),
        (cdb.write_10(0, 0), 0),
        (cdb.write_10(2041, 8), 0),
        (cdb.write_10(0, 8, protect=1), 0),
        (cdb.test_unit_ready(), 0),
        (cdb.read_capacity_16(), 0),
        (b"\xc0", 0),
        (b"\x9e\x1f", 0),
        (b"", 0),
    ],
)
def test_data_out_length(make_rig, command, length):
    rig = make_rig(thin=True)
    assert rig.server.data_out_length(rig.nexus, rig.lun, command) == length


def test_data_out_length_never_exceeds_the_maximum_transfer_length(make_rig):
    rig = make_rig(MemoryStore(1 << 40))
    assert rig.server.data_out_length(rig.nexus, rig.lun, cdb.write_16(0, 32768)) == 16 << 20
    assert rig.server.data_out_length(rig.nexus, rig.lun, cdb.write_16(0, 32769)) == 0
    assert rig.server.data_out_length(rig.nexus, rig.lun, cdb.write_16(0, 0xFFFFFFFF)) == 0


def test_data_out_length_of_a_write_that_cannot_succeed_is_0(make_rig):
    protected = make_rig(read_only=True)
    assert protected.server.data_out_length(protected.nexus, protected.lun, cdb.write_10(0, 8)) == 0
    assert protected.server.data_out_length(protected.nexus, MISSING, cdb.write_10(0, 8)) == 0


def test_data_out_length_leaves_a_unit_attention_alone(rig):
    rig.unit.resize(4096)
    assert rig.server.data_out_length(rig.nexus, rig.lun, cdb.write_10(0, 8)) == 0
    assert rig.fault(cdb.write_10(0, 8)) == "06/2a/09"


@pytest.mark.parametrize(
    "command", [bytes.fromhex("41000000000000000100"), bytes.fromhex("93" + "00" * 12 + "010000")]
)
@pytest.mark.parametrize("offered, status", [(512, 0), (1024, 2), (0, 2), (None, 0)])
def test_write_same_refuses_an_offer_of_another_length(rig, command, offered, status):
    assert rig.execute(command, bytes(512), offered=offered).status == status


def test_compare_and_write_of_nothing_refuses_an_offer_of_something(rig):
    command = bytes.fromhex("89") + bytes(15)
    assert rig.fault(command, offered=512 * 512) == "05/24/00"
    assert rig.good(command, offered=0) == b""


@pytest.mark.parametrize("offered", [0, 200, 512, 10000])
def test_write_10_leaves_another_length_to_the_residual(rig, offered):
    rig.good(cdb.write_10(0, 1), bytes(min(offered, 512)), offered=offered)


# Resets


def test_logical_unit_reset_is_heard_by_every_nexus_the_one_that_asked_among_them(rig):
    other = rig.connect("iqn.other")
    other.take(rig.unit)
    assert rig.server.logical_unit_reset(rig.nexus, rig.lun)
    assert rig.fault(cdb.test_unit_ready()) == "06/29/03"
    assert rig.fault(cdb.test_unit_ready(), nexus=other) == "06/29/03"


@pytest.mark.parametrize("lun", [MISSING, REPORT_LUNS_WELL_KNOWN_LUN])
def test_logical_unit_reset_of_a_missing_lun(rig, lun):
    assert not rig.server.logical_unit_reset(rig.nexus, lun)


def test_target_reset_resets_each_unit_once(rig):
    unit = rig.add(1)
    rig.lun_map.add(2, unit)
    other = rig.connect("iqn.other")
    other.unit_attentions.clear()
    units = rig.server.target_reset(rig.nexus, UnitAttention.POWER_ON_RESET)
    assert units == [rig.unit, unit]
    assert set(other.unit_attentions) == {rig.unit, unit}


def test_a_table_of_ones_own(rig):
    def echo(nexus, mapped, command, data_out):
        return Completion(Status.GOOD, bytes(data_out))

    rig.server = DeviceServer({**COMMANDS, 0xC0: Command(echo, data_out_length=lambda mapped, command: 5)})
    assert rig.good(b"\xc0", b"hello") == b"hello"
    assert rig.server.data_out_length(rig.nexus, rig.lun, b"\xc0") == 5


# Everything a peer may send


def test_linux_scan_of_tgt_and_lio_gets_an_answer_to_every_command(make_rig, recorded):
    """What Linux sent to tgt and LIO in the captures, sent to us: what they could answer, we can."""
    later = ("5e", "5f", "a30a")  # reservations and target port groups are not there yet
    for row in recorded():
        rig = make_rig(MemoryStore(131072), number=197)
        wanted = rig.server.data_out_length(rig.nexus, row.lun, row.cdb)
        completion = rig.execute(row.cdb, bytes(wanted), lun=row.lun)
        assert completion.status in (Status.GOOD, Status.CHECK_CONDITION)
        if row.status == Status.GOOD and not row.cdb.hex().startswith(later) and row.lun == rig.lun:
            supported = row.cdb[0] != 0x12 or not row.cdb[1] & 1 or row.cdb[2] not in (0x86, 0xB3)
            assert completion.status == Status.GOOD or not supported


@given(
    lun=st.sampled_from([encode_lun(0), MISSING, REPORT_LUNS_WELL_KNOWN_LUN]) | st.binary(max_size=9),
    command=st.builds(
        lambda opcode, rest: bytes((opcode,)) + rest,
        st.sampled_from(sorted(COMMANDS)),
        st.binary(max_size=19),
    )
    | st.binary(max_size=20),
    data_out=st.binary(max_size=1100),
)
def test_nothing_from_the_wire_escapes_as_an_exception(make_rig, lun, command, data_out):
    rig = make_rig(removable=True, thin=True)
    wanted = rig.server.data_out_length(rig.nexus, lun, command)
    assert 0 <= wanted <= 16 << 20
    completion = rig.execute(command, data_out, lun=lun)
    if completion.status == Status.CHECK_CONDITION:
        assert Sense.parse(completion.sense).key in (0x1, 0x2, 0x5, 0x6, 0x7, 0xE)
    else:
        assert (completion.status, completion.sense) == (Status.GOOD, b"")
