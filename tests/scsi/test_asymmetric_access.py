"""What each access state lets through, and who hears of a change."""

import pytest

from iscsim.errors import ConfigError
from iscsim.scsi import cdb
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.asymmetric_access import AccessModes, AccessState, AccessStatus, GroupAccess
from iscsim.scsi.device_server import COMMANDS
from iscsim.scsi.sense import Sense
from iscsim.scsi.target_ports import TargetPorts
from iscsim.scsi.unit_attention import UnitAttention

REFUSED = {
    AccessState.STANDBY: "02/04/0b",
    AccessState.UNAVAILABLE: "02/04/0c",
    AccessState.OFFLINE: "02/04/12",
    AccessState.TRANSITIONING: "02/04/0a",
}
REPORT, SET = (0xA3, 0x0A), (0xA4, 0x0A)
ALWAYS = {(0x03, None), (0x12, None), (0xA0, None), REPORT}
IN_STANDBY = {(opcode, None) for opcode in (0x15, 0x55, 0x1A, 0x5A, 0x1C, 0x1D, 0x4C, 0x4D, 0x3B, 0x3C)} | {
    *((0x5E, action) for action in range(32)),
    *((0x5F, action) for action in range(32)),
}
ALLOWED = {
    AccessState.STANDBY: ALWAYS | {SET} | IN_STANDBY,
    AccessState.UNAVAILABLE: ALWAYS | {SET},
    AccessState.OFFLINE: ALWAYS | {SET},
    AccessState.TRANSITIONING: ALWAYS,
}
ROWS = [
    (opcode, action)
    for opcode, command in COMMANDS.items()
    for action in (command.service_actions or {None: command})
]
CHANGED, FAILED = (
    UnitAttention.ASYMMETRIC_ACCESS_STATE_CHANGED,
    (UnitAttention.IMPLICIT_ACCESS_STATE_TRANSITION_FAILED),
)


def heard(rig, nexus):
    return nexus.unit_attentions.pop(rig.unit, [])


@pytest.fixture
def two(make_rig):
    """A unit behind ports 1 and 2, and a nexus through each."""
    rig = make_rig(thin=True, long_cdbs=True)
    rig.second = rig.other(port=2)
    return rig


def any_cdb(opcode, action):
    if opcode != 0x7F:
        return bytes((opcode, action or 0)) + bytes(14)
    size = COMMANDS[opcode].service_actions[action].layout.size
    return bytes((opcode, 0, 0, 0, 0, 0, 0, size - 8)) + action.to_bytes(2, "big") + bytes(size - 10)


@pytest.mark.parametrize("state", REFUSED)
def test_every_other_command_is_refused(two, state):
    """The whole table: only what SPC-4 lists for the state may run."""
    two.unit.access.modes = AccessModes.BOTH
    two.unit.access.set_state(1, state)
    two.nexus.take(two.unit)
    refused = set()
    for opcode, action in ROWS:
        completion = two.execute(any_cdb(opcode, action))
        if completion.sense and str(Sense.parse(completion.sense))[-9:-1] == REFUSED[state]:
            refused.add((opcode, action))
    assert set(ROWS) - refused == ALLOWED[state] & set(ROWS)


@pytest.mark.parametrize("state", REFUSED)
def test_other_ports_are_not_concerned(two, state):
    two.unit.access.set_state(1, state)
    heard(two, two.second)
    assert two.good(cdb.read_10(0, 1), nexus=two.second) == bytes(512)
    two.good(cdb.test_unit_ready(), nexus=two.second)


@pytest.mark.parametrize("state", [AccessState.ACTIVE_OPTIMIZED, AccessState.ACTIVE_NON_OPTIMIZED])
def test_active_states_refuse_nothing_and_cost_nothing(rig, state):
    rig.unit.access.set_state(1, state)
    heard(rig, rig.nexus)
    rig.good(cdb.test_unit_ready())
    assert not rig.unit.restricted


@pytest.mark.parametrize("state", REFUSED)
def test_write_that_is_going_to_be_refused_asks_for_no_data(rig, state):
    rig.unit.access.set_state(1, state)
    heard(rig, rig.nexus)
    write = cdb.write_10(0, 1)
    assert rig.server.data_out_length(rig.nexus, rig.lun, write) == 0
    assert rig.fault(write, b"x" * 512) == REFUSED[state]
    assert bytes(rig.unit.store.read(0, 1)) == bytes(512)


@pytest.mark.parametrize("state", REFUSED)
def test_request_sense_tells_the_attention_and_then_the_state(rig, state):
    rig.unit.access.set_state(1, state)
    rig.nexus.establish(rig.unit, CHANGED)
    answers = [str(Sense.parse(rig.good(cdb.request_sense())))[-9:-1] for _ in range(2)]
    assert answers == ["06/2a/06", REFUSED[state]]


def test_attention_is_reported_before_a_refusal_and_only_once(rig):
    rig.unit.access.set_state(1, AccessState.STANDBY)
    assert [rig.fault(cdb.test_unit_ready()) for _ in range(3)] == ["06/2a/06", "02/04/0b", "02/04/0b"]


def test_asking_for_the_length_of_a_refused_write_consumes_no_attention(rig):
    rig.unit.access.set_state(1, AccessState.STANDBY)
    assert rig.server.data_out_length(rig.nexus, rig.lun, cdb.write_10(0, 1)) == 0
    assert rig.fault(cdb.write_10(0, 1), b"x" * 512) == "06/2a/06"


def test_reservation_conflict_comes_first(two):
    two.good(layouts.RESERVE_6.build(opcode=0x16), nexus=two.second)
    two.unit.access.set_state(1, AccessState.STANDBY)
    assert two.conflicts(cdb.read_10(0, 1))
    assert heard(two, two.nexus) == [CHANGED]


def test_access_state_comes_before_the_medium(make_rig):
    rig = make_rig(removable=True)
    rig.unit.access.set_state(1, AccessState.STANDBY)
    rig.unit.eject()
    heard(rig, rig.nexus)
    assert rig.fault(cdb.test_unit_ready()) == "02/04/0b"
    rig.unit.access.set_state(1, AccessState.ACTIVE_OPTIMIZED)
    heard(rig, rig.nexus)
    assert rig.fault(cdb.test_unit_ready()) == "02/3a/02"


def test_unit_is_not_connected_through_an_unavailable_group(two):
    two.unit.access.set_state(1, AccessState.UNAVAILABLE)
    ask = [cdb.inquiry(), cdb.inquiry(0x00), cdb.inquiry(0x83)]
    assert [two.good(one)[0] for one in ask] == [0x20] * 3
    assert [two.good(one, nexus=two.second)[0] for one in ask] == [0x00] * 3


# Who hears of it.


def test_every_nexus_hears_of_a_change_once(two):
    two.unit.access.set_state(2, AccessState.STANDBY)
    two.unit.access.set_state(2, AccessState.UNAVAILABLE)
    assert [heard(two, nexus) for nexus in (two.nexus, two.second)] == [[CHANGED], [CHANGED]]


def test_same_state_again_is_no_change(two):
    two.unit.access.set_state(2, AccessState.ACTIVE_OPTIMIZED)
    assert heard(two, two.nexus) == []
    assert two.unit.access.group(2).status is AccessStatus.NONE


def test_nexus_that_comes_later_hears_nothing_of_it(two):
    two.unit.access.set_state(2, AccessState.STANDBY)
    assert heard(two, two.connect("iqn.late")) == [UnitAttention.POWER_ON_RESET]


def test_other_units_have_states_of_their_own(two):
    other = two.add(1, serial="other", wwn=None)
    two.unit.access.set_state(1, AccessState.STANDBY)
    assert other.access.state(1) is AccessState.ACTIVE_OPTIMIZED
    assert CHANGED not in two.nexus.unit_attentions.get(other, [])


def test_reset_changes_no_access_state(rig):
    rig.unit.access.set_state(1, AccessState.STANDBY)
    rig.server.logical_unit_reset(rig.nexus, rig.lun)
    assert rig.unit.access.state(1) is AccessState.STANDBY
    assert rig.unit.restricted


# Changes that take time.


def test_transition_is_heard_of_when_it_is_finished(two):
    transition = two.unit.access.transition(2, AccessState.STANDBY)
    assert (two.unit.access.state(2), transition.in_progress) == (AccessState.TRANSITIONING, True)
    assert heard(two, two.nexus) == []
    assert two.fault(cdb.test_unit_ready(), nexus=two.second) == "02/04/0a"
    assert transition.finish()
    assert two.unit.access.group(2) == GroupAccess(AccessState.STANDBY, AccessStatus.IMPLICIT)
    assert [heard(two, nexus) for nexus in (two.nexus, two.second)] == [[CHANGED], [CHANGED]]


def test_failed_transition_leads_back_to_where_it_began(two):
    two.unit.access.set_state(2, AccessState.ACTIVE_NON_OPTIMIZED)
    before = two.unit.access.group(2)
    for nexus in (two.nexus, two.second):
        heard(two, nexus)
    assert two.unit.access.transition(2, AccessState.STANDBY).fail()
    assert two.unit.access.group(2) == before
    assert [heard(two, nexus) for nexus in (two.nexus, two.second)] == [[FAILED], [FAILED]]
    assert not two.unit.restricted


def test_transition_ends_once(two):
    transition = two.unit.access.transition(2, AccessState.STANDBY)
    assert transition.finish()
    assert (transition.finish(), transition.fail(), transition.in_progress) == (False, False, False)


def test_set_state_ends_a_transition(two):
    transition = two.unit.access.transition(2, AccessState.STANDBY)
    two.unit.access.set_state(2, AccessState.ACTIVE_OPTIMIZED)
    assert heard(two, two.nexus) == [CHANGED]
    assert not transition.finish()
    assert two.unit.access.state(2) is AccessState.ACTIVE_OPTIMIZED


def test_second_transition_has_to_wait(two):
    two.unit.access.transition(2, AccessState.STANDBY)
    with pytest.raises(ConfigError, match="in transition already"):
        two.unit.access.transition(2, AccessState.UNAVAILABLE)


# A unit in two devices.


@pytest.fixture
def shared(two):
    """The unit of ``two`` in another device as well, whose group 1 is another group 1."""
    two.elsewhere = TargetPorts(lambda: {1: [1]})
    two.stranger = two.other("iqn.stranger")
    two.stranger.target_ports = two.elsewhere
    return two


def test_group_of_one_device_is_not_that_of_another(shared):
    shared.unit.access.set_state(1, AccessState.STANDBY, ports=shared.ports)
    shared.good(cdb.test_unit_ready(), nexus=shared.stranger)
    assert heard(shared, shared.nexus) == [CHANGED]
    assert shared.fault(cdb.test_unit_ready()) == "02/04/0b"


def test_change_without_a_device_is_one_in_all_of_them(shared):
    access = shared.unit.access
    access.set_state(1, AccessState.UNAVAILABLE, ports=shared.ports)
    access.set_state(1, AccessState.STANDBY)
    assert {access.state(1, ports) for ports in (shared.ports, shared.elsewhere, None)} == {
        AccessState.STANDBY
    }


def test_only_devices_that_change_hear_of_it(shared):
    access = shared.unit.access
    access.set_state(1, AccessState.STANDBY, ports=shared.ports)
    heard(shared, shared.nexus)
    access.set_state(1, AccessState.STANDBY)
    assert heard(shared, shared.nexus) == []
    assert heard(shared, shared.stranger) == [CHANGED]


def test_state_without_a_device_is_what_was_said_last(shared):
    access = shared.unit.access
    access.set_state(1, AccessState.STANDBY, ports=shared.ports)
    access.set_state(1, AccessState.OFFLINE, ports=shared.elsewhere)
    assert access.state(1) is AccessState.OFFLINE
    access.set_state(1, AccessState.UNAVAILABLE, ports=shared.ports)
    assert access.state(1) is AccessState.UNAVAILABLE


# What cannot be.


@pytest.mark.parametrize(
    ("group", "state", "message"),
    [
        (-1, AccessState.STANDBY, "-1 is not one of 0 to 65535"),
        (65536, AccessState.STANDBY, "65536 is not one"),
        (1, AccessState.LOGICAL_BLOCK_DEPENDENT, "does not support the access state logical-block-dependent"),
    ],
)
def test_change_that_cannot_be_is_refused(rig, group, state, message):
    with pytest.raises(ConfigError, match=message):
        rig.unit.access.set_state(group, state)
    with pytest.raises(ConfigError, match=message):
        rig.unit.access.transition(group, state)


def test_unit_without_asymmetric_access_has_no_states(make_rig):
    rig = make_rig(tpgs=AccessModes.NONE)
    with pytest.raises(ConfigError, match="has no asymmetric access"):
        rig.unit.access.set_state(1, AccessState.STANDBY)


def test_supported_states_can_be_fewer(rig):
    rig.unit.access.supported = frozenset({AccessState.ACTIVE_OPTIMIZED, AccessState.STANDBY})
    rig.unit.access.set_state(1, AccessState.STANDBY)
    with pytest.raises(ConfigError, match="transitioning"):
        rig.unit.access.transition(1, AccessState.ACTIVE_OPTIMIZED)


@pytest.mark.parametrize("modes", [-1, 4, 7])
def test_there_are_four_modes(make_rig, modes):
    with pytest.raises(ConfigError, match=f"access modes {modes}: expected 0 to 3"):
        make_rig(tpgs=modes)


@pytest.mark.parametrize("seconds", [-1, 256])
def test_transition_time_is_one_byte(rig, seconds):
    with pytest.raises(ConfigError, match="expected 0 to 255"):
        rig.unit.access.implicit_transition_time_s = seconds


@pytest.mark.parametrize("state", AccessState)
def test_state_is_found_by_its_text(state):
    assert AccessState.of(state.text) is state


def test_texts_are_those_of_the_standard():
    assert [state.text for state in AccessState] == [
        "active/optimized",
        "active/non-optimized",
        "standby",
        "unavailable",
        "logical-block-dependent",
        "offline",
        "transitioning",
    ]
    with pytest.raises(ConfigError, match="'asleep': expected one of active/optimized, "):
        AccessState.of("asleep")
