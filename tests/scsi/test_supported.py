import pytest

from iscsim.scsi import cdb
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.device_server import COMMANDS
from iscsim.scsi.sense import FieldPointer
from iscsim.scsi.supported import DESCRIPTOR, cdb_usage


def report(options=0, opcode=0, service_action=0, length=4096, rctd=False):
    return layouts.REPORT_SUPPORTED_OPERATION_CODES.build(
        opcode=0xA3,
        service_action=0x0C,
        options=options | (0x80 if rctd else 0),
        requested_opcode=opcode,
        requested_service_action=service_action,
        allocation_length=length,
    )


def listed(data, size=8):
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    return [DESCRIPTOR.parse(data, start) for start in range(4, len(data), size)]


def test_all_commands_are_the_table(rig):
    entries = listed(rig.good(report()))
    found = {(entry["opcode"], entry["service_action"]) for entry in entries}
    assert found == {
        (opcode, action)
        for opcode, command in COMMANDS.items()
        for action in (command.service_actions or [0])
        if (opcode, action)
        not in {(0x42, 0), (0x9E, 0x12), (0xA4, 0x0A), (0x48, 0x02), (0x48, 0x03), (0x7F, 0x0D)}
    }
    assert {(0x9E, 0x10), (0xA3, 0x0C), (0x28, 0)} <= found
    assert all(entry["cdb_length"] == cdb.cdb_length(entry["opcode"]) for entry in entries)


def test_the_list_ascends(rig):
    found = [(entry["opcode"], entry["service_action"]) for entry in listed(rig.good(report()))]
    assert found == sorted(found)


def test_no_usage_has_naca(rig):
    """NORMACA is 0: a CDB with that bit is refused."""
    for entry in listed(rig.good(report())):
        option = 2 if entry["flags"] & 1 else 1
        usage = rig.good(report(option, entry["opcode"], entry["service_action"]))[4:]
        assert (len(usage), usage[-1] & 0x04) == (entry["cdb_length"], 0)


def test_service_actions_are_marked(rig):
    flags = {entry["opcode"]: entry["flags"] for entry in listed(rig.good(report()))}
    assert (flags[0x9E], flags[0x28]) == (1, 0)


def test_unmap_is_there_on_thin_units_only(make_rig):
    assert 0x42 in {entry["opcode"] for entry in listed(make_rig(thin=True).good(report()))}
    assert make_rig(thin=True).good(report(1, 0x42))[1] == 3
    assert make_rig().good(report(1, 0x42))[1] == 1


def test_long_cdbs_are_there_where_they_are_taken_only(make_rig):
    rig = make_rig(long_cdbs=True)
    assert (0x7F, 0x0D, 32) in {
        (entry["opcode"], entry["service_action"], entry["cdb_length"])
        for entry in listed(rig.good(report()))
    }
    usage = "7f0000000000001800" + "0dff00" + "ff" * 8 + "00" * 8 + "ff" * 4
    assert rig.good(report(2, 0x7F, 0x0D)).hex() == "00030020" + usage
    assert make_rig().good(report(2, 0x7F, 0x0D)).hex() == "00010000"


def test_timeouts_come_when_asked_for(rig):
    data = rig.good(report(rctd=True))
    assert {entry["flags"] & 2 for entry in listed(data, size=20)} == {2}
    assert data[12:14] == b"\x00\x0a"
    one = rig.good(report(1, 0x12, rctd=True))
    assert (one[1], one[10:12], len(one)) == (0x83, b"\x00\x0a", 22)


def test_one_command_as_linux_asked_tgt(rig, recorded):
    """tgt and we agree on INQUIRY, but for CMDDT, which we look at, and CONTROL, which we do not."""
    (tgt,) = {row.data for row in recorded("a30c0112", "tgt")}
    ours = rig.good(recorded("a30c0112", "tgt")[0].cdb)
    assert (tgt.hex(), ours.hex()) == ("000300061201ffffff07", "000300061203ffffff00")


@pytest.mark.parametrize(
    "command, usage",
    [
        (report(1, 0x28), "28f8ffffffff00ffff00"),
        (report(1, 0x00), "000000000000"),
        (report(1, 0x08), "081fffffff00"),
        (report(1, 0x1B), "1b01000ff700"),
        (report(1, 0x1D), "1df700ffff00"),
        (report(2, 0x9E, 0x10), "9e10ffffffffffffffffffffffff0100"),
        (report(2, 0xA3, 0x0C), "a30c87ffffffffffffff0000"),
        (report(2, 0x48, 0x1F), "48bf0000000000ffff00"),
        (report(2, 0x48, 0x01), "48a10000000000ffff00"),
    ],
)
def test_usage_has_a_bit_for_every_bit_that_is_looked_at(rig, command, usage):
    assert rig.good(command).hex() == f"0003{len(usage) // 2:04x}{usage}"


@pytest.mark.parametrize("command", [report(1, 0xC0), report(2, 0xC0, 1), report(2, 0x9E, 0x1F)])
def test_what_is_not_there_is_not_supported(rig, command):
    assert rig.good(command).hex() == "00010000"


@pytest.mark.parametrize("command", [report(1, 0x9E), report(2, 0x28), report(3, 0x28), report(7)])
def test_an_option_that_does_not_fit_is_an_invalid_field(rig, command):
    sense = rig.sense(command)
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(2, 2))


@pytest.mark.parametrize("length", [0, 4, 12])
def test_the_report_is_cut_to_the_allocation_length(rig, length):
    assert rig.good(report(length=length)) == rig.good(report())[:length]


def test_every_row_of_the_table_has_a_usage():
    for opcode, command in COMMANDS.items():
        for action, row in (command.service_actions or {0: command}).items():
            usage = cdb_usage(row.layout, opcode, action)
            assert (usage[0], len(usage)) == (opcode, cdb.cdb_length(opcode) or row.layout.size)
