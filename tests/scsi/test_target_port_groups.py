"""REPORT and SET TARGET PORT GROUPS, byte by byte."""

import pytest

from iscsim.scsi import cdb
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asymmetric_access import AccessModes, AccessState, AccessStatus
from iscsim.scsi.designator import Designator, DesignatorType
from iscsim.scsi.inquiry import StandardInquiry
from iscsim.scsi.sense import FieldPointer
from iscsim.scsi.target_port_groups import TargetPortGroup, encode_states, parse_report
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.scsi.vpd import parse_device_identification

CHANGED = UnitAttention.ASYMMETRIC_ACCESS_STATE_CHANGED
ASK = cdb.report_target_port_groups()
STANDBY = AccessState.STANDBY


@pytest.fixture
def two(make_rig):
    """Two groups, the second with two ports; explicit changes too. ``second`` comes through port 3."""
    rig = make_rig(tpgs=AccessModes.BOTH)
    rig.groups[2] = [3, 2]
    rig.second = rig.other(port=3)
    return rig


def change(rig, *states, nexus=None, **options):
    parameters = options.get("parameters", encode_states(states))
    command = cdb.set_target_port_groups(parameter_list_length=options.get("length", len(parameters)))
    return (command, parameters), {"nexus": nexus or rig.nexus}


def test_report_is_laid_out_as_spc_4_says(two):
    two.unit.access.set_state(2, STANDBY)
    two.unit.access.prefer(1)
    for nexus in (two.nexus, two.second):
        nexus.unit_attentions.clear()
    first = "80 cf 0001 00 00 00 01 0000 0001"
    second = "02 cf 0002 00 02 00 02 0000 0002 0000 0003"
    assert two.good(ASK) == bytes.fromhex(f"0000001c {first} {second}")
    assert two.good(ASK, nexus=two.second) == two.good(ASK)


def test_extended_header_has_the_transition_time(two):
    two.unit.access.implicit_transition_time_s = 60
    data = two.good(cdb.report_target_port_groups(extended=True))
    assert data[:8] == bytes.fromhex("00000020 10 3c 0000")
    assert data[8:] == two.good(ASK)[4:]


def test_length_field_counts_all_however_little_is_asked_for(two):
    assert two.good(cdb.report_target_port_groups(allocation_length=6)) == bytes.fromhex("0000001c00cf")
    assert two.good(cdb.report_target_port_groups(allocation_length=0)) == b""


@pytest.mark.parametrize("parameter_data_format", range(2, 8))
def test_unknown_parameter_data_format_is_refused(two, parameter_data_format):
    command = bytes((0xA3, parameter_data_format << 5 | 0x0A)) + ASK[2:]
    assert two.fault(command) == "05/24/00"
    assert two.sense(command).field_pointer == FieldPointer(1, 7)


def test_groups_are_those_of_the_moment(rig):
    assert [group.group for group in parse_report(rig.good(ASK))[0]] == [1]
    rig.groups[7] = [9]
    assert [(group.group, group.ports) for group in parse_report(rig.good(ASK))[0]] == [(1, (1,)), (7, (9,))]
    del rig.groups[7]
    assert len(parse_report(rig.good(ASK))[0]) == 1


def test_supported_states_are_those_of_the_unit(rig):
    some = frozenset({AccessState.ACTIVE_OPTIMIZED, AccessState.TRANSITIONING})
    rig.unit.access.supported = some
    assert rig.good(ASK)[5] == 0x81
    assert parse_report(rig.good(ASK))[0][0].supported == some


def test_report_is_read_back_in_both_formats(two):
    two.unit.access.set_state(1, AccessState.TRANSITIONING)
    two.unit.access.implicit_transition_time_s = 7
    plain, time_s = parse_report(two.good(ASK, nexus=two.second))
    assert time_s == 0
    assert parse_report(two.good(cdb.report_target_port_groups(extended=True), nexus=two.second)) == (
        plain,
        7,
    )
    assert plain[0] == TargetPortGroup(
        group=1,
        ports=(1,),
        state=AccessState.TRANSITIONING,
        status=AccessStatus.IMPLICIT,
        supported=two.unit.access.supported,
    )


def test_report_is_that_of_lio_for_the_same_group(recorded, make_rig):
    """LIO's one group, number 0, with states and port as ours; Linux asks for 4 bytes first."""
    for row in recorded("a30a", peer="LIO"):
        rig = make_rig()
        rig.groups = {0: [1]}
        rig.nexus.target_port_group = 0
        assert rig.good(row.cdb) == row.data[: int.from_bytes(row.cdb[6:10], "big")]
        (group,), time_s = parse_report(row.data)
        assert (group.group, group.ports, group.state, time_s) == (0, (1,), 0, 0)
        assert group.supported == rig.unit.access.supported


def test_inquiry_with_both_modes_has_the_tpgs_of_lio(recorded, make_rig):
    (lio,) = {row.data[5] >> 4 & 3 for row in recorded("12000000", peer="LIO", lun="00c5")}
    assert make_rig(tpgs=AccessModes.BOTH).good(cdb.inquiry())[5] >> 4 & 3 == lio


@pytest.mark.parametrize("length", [0, 3, 4, 11, 12, 20, 31])
def test_report_that_was_cut_cannot_be_parsed(two, length):
    with pytest.raises(ValueError, match="bytes"):
        parse_report(two.good(ASK)[:length])


def test_report_whose_port_count_lies_cannot_be_parsed():
    with pytest.raises(ValueError, match="bytes"):
        parse_report(bytes.fromhex("0000000c 00 cf 0001 00 00 00 02 0000 0001"))


def test_unit_without_asymmetric_access_has_no_report(make_rig):
    rig = make_rig(tpgs=AccessModes.NONE)
    assert rig.fault(ASK) == "05/24/00"
    assert rig.sense(ASK).field_pointer == FieldPointer(1, 4)


def test_report_runs_whoever_has_reserved_the_unit(two):
    two.good(layouts.RESERVE_6.build(opcode=0x16), nexus=two.second)
    two.good(ASK)


# What INQUIRY says of it.


@pytest.mark.parametrize("modes", range(4))
def test_inquiry_says_who_changes_states(make_rig, modes):
    rig = make_rig(tpgs=AccessModes(modes))
    data = rig.good(cdb.inquiry())
    assert (data[5] >> 4 & 3, StandardInquiry.parse(data).tpgs) == (modes, modes)


def test_implicit_is_the_default(rig):
    assert rig.good(cdb.inquiry())[5] & 0x30 == 0x10


def test_multiple_ports_are_those_of_the_moment(rig):
    seen = []
    for groups in ({1: [1]}, {1: [1, 2]}, {1: [1], 2: [2]}, {1: [1]}):
        rig.groups = groups
        seen.append(bool(rig.good(cdb.inquiry())[6] & 0x10))
    assert seen == [False, True, True, False]


def test_device_identification_names_a_group_and_port_of_the_report(two):
    for nexus in (two.nexus, two.second):
        page = two.good(cdb.inquiry(0x83), nexus=nexus)
        named = {each.type: int.from_bytes(each.value, "big") for each in _ports(page)}
        (group,) = [
            group
            for group in parse_report(two.good(ASK, nexus=nexus))[0]
            if group.group == named[DesignatorType.TARGET_PORT_GROUP]
        ]
        assert named[DesignatorType.RELATIVE_TARGET_PORT] in group.ports


def _ports(page: bytes) -> list[Designator]:
    kinds = (DesignatorType.RELATIVE_TARGET_PORT, DesignatorType.TARGET_PORT_GROUP)
    return [each for each in parse_device_identification(page) if each.type in kinds]


@pytest.mark.parametrize(("modes", "reports", "sets"), [(0, 1, 1), (1, 3, 1), (2, 3, 3), (3, 3, 3)])
def test_supported_operation_codes_are_those_of_the_mode(make_rig, modes, reports, sets):
    rig = make_rig(tpgs=AccessModes(modes))
    supported = [
        rig.good(
            layouts.REPORT_SUPPORTED_OPERATION_CODES.build(
                opcode=0xA3,
                service_action=0x0C,
                options=2,
                requested_opcode=opcode,
                requested_service_action=0x0A,
                allocation_length=64,
            )
        )
        for opcode in (0xA3, 0xA4)
    ]
    assert [answer[1] & 7 for answer in supported] == [reports, sets]
    if reports == 3:
        assert supported[0][4:].hex() == "a3ea00000000ffffffff0000"


# SET TARGET PORT GROUPS.


def test_states_are_set_and_all_the_others_hear_of_it(two):
    command, at = change(two, (1, AccessState.ACTIVE_NON_OPTIMIZED), (2, AccessState.UNAVAILABLE))
    two.good(*command, **at)
    found = {group.group: (group.state, group.status) for group in parse_report(two.good(ASK))[0]}
    assert found == {1: (1, AccessStatus.EXPLICIT), 2: (3, AccessStatus.EXPLICIT)}
    assert two.nexus.unit_attentions == {}
    assert two.second.unit_attentions == {two.unit: [CHANGED]}


def test_unit_can_be_brought_back_from_where_it_cannot_be_reached(two):
    command, at = change(two, (1, AccessState.UNAVAILABLE), nexus=two.second)
    two.good(*command, **at)
    two.nexus.take(two.unit)
    assert two.fault(cdb.read_10(0, 1)) == "02/04/0c"
    command, at = change(two, (1, AccessState.ACTIVE_OPTIMIZED))
    two.good(*command, **at)
    two.good(cdb.read_10(0, 1))


@pytest.mark.parametrize("modes", [AccessModes.NONE, AccessModes.IMPLICIT])
def test_setting_is_refused_where_only_the_device_changes_states(make_rig, modes):
    rig = make_rig(tpgs=modes)
    command, at = change(rig, (1, STANDBY))
    assert rig.fault(*command, **at) == "05/20/00"
    assert rig.server.data_out_length(rig.nexus, rig.lun, command[0]) == 0
    assert rig.unit.access.state(1) is AccessState.ACTIVE_OPTIMIZED


@pytest.mark.parametrize(
    ("states", "byte", "bit"),
    [
        ([(1, STANDBY), (3, STANDBY)], 10, None),  # no such group
        ([(1, STANDBY), (1, STANDBY)], 10, None),  # twice
        ([(1, STANDBY), (2, 4)], 8, 3),  # logical block dependent
        ([(1, STANDBY), (2, 5)], 8, 3),  # reserved
        ([(1, STANDBY), (2, 0xE)], 8, 3),
        ([(1, STANDBY), (2, 0xF)], 8, 3),
    ],
)
def test_one_wrong_state_and_nothing_is_changed(two, states, byte, bit):
    command, at = change(two, *states)
    assert two.fault(*command, **at) == "05/26/00"
    assert two.sense(*command, **at).field_pointer == FieldPointer(byte, bit, in_cdb=False)
    assert two.unit.access.state(1) is AccessState.ACTIVE_OPTIMIZED
    assert two.second.unit_attentions == {}


def test_state_the_unit_does_not_support_cannot_be_set(two):
    two.unit.access.supported = frozenset({AccessState.ACTIVE_OPTIMIZED})
    command, at = change(two, (1, STANDBY))
    assert two.fault(*command, **at) == "05/26/00"


@pytest.mark.parametrize("length", [1, 3, 5, 7, 9, 4104, 0xFFFFFFFC])
def test_list_with_half_a_descriptor_or_too_many_is_refused(two, length):
    command, at = change(two, length=length)
    assert two.fault(*command, **at) == "05/24/00"
    assert two.sense(*command, **at).field_pointer == FieldPointer(6)
    assert two.server.data_out_length(two.nexus, two.lun, command[0]) == 0


@pytest.mark.parametrize("length", [0, 4])
def test_list_without_descriptors_changes_nothing(two, length):
    command, at = change(two, parameters=bytes(length))
    two.good(*command, **at)
    assert two.second.unit_attentions == {}


def test_list_that_did_not_come_whole_is_an_error(two):
    command, at = change(two, (1, STANDBY), length=12)
    assert two.fault(*command, **at) == "05/1a/00"


def test_group_in_transition_cannot_be_set(two):
    transition = two.unit.access.transition(2, STANDBY)
    command, at = change(two, (1, STANDBY), (2, STANDBY))
    assert two.fault(*command, **at) == "02/04/0a"
    assert two.unit.access.state(1) is AccessState.ACTIVE_OPTIMIZED
    assert transition.finish()


def test_setting_conflicts_with_a_reservation(two):
    two.good(layouts.RESERVE_6.build(opcode=0x16), nexus=two.second)
    command, at = change(two, (1, STANDBY))
    assert two.conflicts(*command, **at)
    assert two.unit.access.state(1) is AccessState.ACTIVE_OPTIMIZED
