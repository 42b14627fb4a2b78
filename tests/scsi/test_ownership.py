"""A unit of a VNX: who owns it, what the other storage processor's path does, and how it is taken over."""

import pytest

from iscsim.errors import ConfigError
from iscsim.scsi import cdb
from iscsim.scsi.asymmetric_access import AccessState
from iscsim.scsi.makes import VNX
from iscsim.scsi.target_port_groups import encode_states, parse_report
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.scsi.unit_path_report import UnitPathReport

SHORT_TRESPASS = bytes.fromhex("00000000 22 02 01 ff")
LONG_TRESPASS = bytes.fromhex("0000000000000000 22 09 81 ffff 000000000000")
ACTIVE_PASSIVE, ALUA = 1, 4
CHANGED = UnitAttention.ASYMMETRIC_ACCESS_STATE_CHANGED


@pytest.fixture
def array(make_rig):
    """Paths to SP A (``nexus``) and SP B (``b``)."""

    def make(failover_mode, **options):
        rig = make_rig(profile=VNX, serial="FNM00150600267", failover_mode=failover_mode, **options)
        rig.b = rig.other(port=2)
        return rig

    return make


def report(rig, nexus):
    return UnitPathReport.parse(rig.good(cdb.inquiry(0xC0), nexus=nexus))


def test_path_report_has_what_linux_and_multipath_tools_look_at(array):
    """multipath-tools checkers/emc_clariion.c and prioritizers/emc.c, Linux scsi_dh_emc."""
    rig = array(ACTIVE_PASSIVE)
    page = rig.good(cdb.inquiry(0xC0))
    assert (page[1], page[9], len(page)) == (0xC0, 0, 128)
    assert page[10:26].hex() == rig.unit.wwn
    assert (page[27], page[28] & 0x07, page[30] & 0x04, page[48]) == (3, 4, 4, 0)
    assert page[49] == 14
    assert page[50:64] == b"FNM00150600267"


@pytest.mark.parametrize("mode, code", [(ACTIVE_PASSIVE, 4), (ALUA, 6)])
def test_path_report_tells_state_owner_processor_and_mode(array, mode, code):
    rig = array(mode)
    for nexus, state, processor in ((rig.nexus, 2, 0), (rig.b, 1, 1)):
        page = rig.good(cdb.inquiry(0xC0), nexus=nexus)
        assert (page[4], page[5], page[7], page[8], page[28]) == (state, 0, 0, processor, code)


def test_the_other_owner_can_be_chosen(array):
    rig = array(ALUA, owner=1)
    assert (report(rig, rig.nexus).lun_state, report(rig, rig.b).lun_state) == (1, 2)
    assert report(rig, rig.nexus).default_owner == 1


def test_passive_path_needs_manual_intervention_but_tells_its_size(array):
    rig = array(ACTIVE_PASSIVE)
    for command in (cdb.read_10(0, 1), cdb.test_unit_ready()):
        assert rig.fault(command, nexus=rig.b) == "02/04/03"
    assert rig.good(cdb.read_capacity_10(), nexus=rig.b) == rig.good(cdb.read_capacity_10())
    assert rig.good(cdb.inquiry(0x83), nexus=rig.b)
    rig.good(cdb.read_10(0, 1))


def test_active_passive_array_has_no_access_states_to_ask_for(array):
    rig = array(ACTIVE_PASSIVE)
    assert rig.good(cdb.inquiry())[5] & 0x30 == 0
    assert rig.fault(cdb.report_target_port_groups()) == "05/24/00"
    assert array(ALUA).good(cdb.inquiry())[5] & 0x30 == 0x30


@pytest.mark.parametrize(
    "command, parameters",
    [(cdb.mode_select_6, SHORT_TRESPASS), (cdb.mode_select_10, LONG_TRESPASS)],
    ids=["short", "long"],
)
@pytest.mark.parametrize("mode", [ACTIVE_PASSIVE, ALUA])
def test_trespass_moves_the_unit_to_the_processor_it_comes_to(array, mode, command, parameters):
    rig = array(mode)
    rig.good(command(parameters), parameters, nexus=rig.b)
    assert rig.unit.access.owner == 1
    assert (report(rig, rig.nexus).lun_state, report(rig, rig.b).lun_state) == (1, 2)
    assert report(rig, rig.b).default_owner == 0
    rig.good(cdb.read_10(0, 1), nexus=rig.b)
    told = rig.nexus.unit_attentions.pop(rig.unit, [])
    assert told == ([CHANGED] if mode == ALUA else [])
    if mode == ACTIVE_PASSIVE:
        assert rig.fault(cdb.read_10(0, 1)) == "02/04/03"


@pytest.mark.parametrize(
    "page, code",
    [
        ("22 02 02 ff", "05/26/00"),
        ("22 02 01 05", "05/26/00"),
        ("22 03 01 ff 00", "05/26/00"),
        ("22", "05/1a/00"),
        ("22 02 01", "05/26/00"),
    ],
)
def test_wrong_trespass_changes_nothing(array, page, code):
    rig = array(ACTIVE_PASSIVE)
    parameters = bytes(4) + bytes.fromhex(page)
    assert rig.fault(cdb.mode_select_6(parameters), parameters, nexus=rig.b) == code
    assert rig.unit.access.owner == 0


def test_trespass_may_name_the_processor(array):
    rig = array(ALUA)
    parameters = bytes(4) + bytes.fromhex("22 02 01 01")
    rig.good(cdb.mode_select_6(parameters), parameters)
    assert rig.unit.access.owner == 1


def test_other_disks_know_no_trespass_page(make_rig):
    assert make_rig().fault(cdb.mode_select_6(SHORT_TRESPASS), SHORT_TRESPASS) == "05/26/00"


def test_alua_array_serves_both_paths_and_prefers_the_default_owner(array):
    rig = array(ALUA)
    rig.good(cdb.read_10(0, 1), nexus=rig.b)
    groups, _ = parse_report(rig.good(cdb.report_target_port_groups()))
    assert [(group.group, group.state, group.preferred) for group in groups] == [(1, 0, True), (2, 1, False)]


def test_set_target_port_groups_moves_the_unit(array):
    rig = array(ALUA)
    states = encode_states([(2, AccessState.ACTIVE_OPTIMIZED)])
    rig.good(cdb.set_target_port_groups(parameter_list_length=len(states)), states, nexus=rig.b)
    assert rig.unit.access.owner == 1
    assert rig.unit.access.state(1) is AccessState.ACTIVE_NON_OPTIMIZED
    assert report(rig, rig.b).lun_state == 2


def test_administrator_can_move_the_unit_and_take_a_processor_away(array):
    rig = array(ALUA)
    rig.unit.access.set_state(2, AccessState.ACTIVE_OPTIMIZED)
    assert rig.unit.access.owner == 1
    rig.unit.access.set_state(1, AccessState.UNAVAILABLE)
    rig.unit.access.trespass(1)
    assert rig.unit.access.state(1) is AccessState.UNAVAILABLE


@pytest.mark.parametrize("options", [{"owner": 2}, {"failover_mode": 3}], ids=str)
def test_owner_or_mode_there_is_not(array, options):
    with pytest.raises(ConfigError, match="expected"):
        array(**{"failover_mode": ALUA} | options)


def test_processor_there_is_not(array):
    with pytest.raises(ConfigError, match="processor 2"):
        array(ALUA).unit.access.trespass(2)
