import pytest
from scsi import copies

from iscsim.scsi import cdb
from iscsim.scsi.copy_parameters import MAXIMUM_SEGMENT_DESCRIPTORS, MAXIMUM_SEGMENT_LENGTH
from iscsim.scsi.copy_results import COPY_STATUS, FAILURE_DETAILS, OPERATING_PARAMETERS
from iscsim.scsi.sense import FieldPointer, Sense
from iscsim.scsi.unit_attention import UnitAttention

STATUS, PARAMETERS, DETAILS = 0, 3, 4


def copy(rig, *segments, nexus=None, **fields):
    command = copies.command([copies.cscd(rig.unit)], segments or [copies.blocks(2, 0, 9)], **fields)
    return rig.execute(*command, nexus=nexus or rig.nexus)


def status(rig, identifier=1, **at):
    fields = COPY_STATUS.parse(rig.good(cdb.receive_copy_results(STATUS, identifier), **at))
    assert (fields["available"], fields["transfer_count_units"]) == (8, 0)
    return fields["status"], fields["segments_processed"], fields["transfer_count"]


def unknown(rig, action=STATUS, identifier=1, **at):
    sense = rig.sense(cdb.receive_copy_results(action, identifier), **at)
    assert sense.field_pointer == FieldPointer(2)
    return str(sense)[-9:-1] == "05/24/00"


def test_the_status_of_a_copy_is_told_once(rig):
    assert unknown(rig)
    copy(rig)
    assert unknown(rig, identifier=2)
    assert status(rig) == (1, 1, 1024)
    assert unknown(rig)


def test_a_short_allocation_length_cuts_the_status_and_discards_it(rig):
    copy(rig)
    assert rig.good(cdb.receive_copy_results(STATUS, 1, allocation_length=4)) == bytes((0, 0, 0, 8))
    assert unknown(rig)


def test_the_status_of_a_failed_copy_counts_what_was_done(rig):
    copy(rig, copies.blocks(3, 0, 9), copies.blocks(1, 0, 9, source=1))
    assert status(rig) == (2, 2, 1536)


def test_a_new_copy_takes_the_place_of_the_old_one(rig):
    copy(rig)
    copy(rig, copies.blocks(1, 0, 9))
    assert status(rig) == (1, 1, 512)


def test_every_identifier_has_its_own_result(rig):
    for identifier in range(256):
        copy(rig, copies.blocks(identifier, 0, 300), identifier=identifier)
    assert [status(rig, identifier)[2] for identifier in (255, 0, 7)] == [255 * 512, 0, 7 * 512]


@pytest.mark.parametrize("usage, identifier, known", [(0, 1, True), (2, 1, True), (3, 0, False)])
def test_list_id_usage(rig, usage, identifier, known):
    assert copy(rig, usage=usage, identifier=identifier).status == 0
    if known:
        assert status(rig, identifier) == (1, 1, 1024)
    else:
        assert unknown(rig, identifier=identifier)


def test_a_list_that_is_refused_was_no_copy(rig):
    copy(rig, copies.blocks(1, type=3))
    assert unknown(rig)


def test_results_belong_to_their_nexus(rig):
    other = rig.other()
    copy(rig)
    assert unknown(rig, nexus=other)
    assert status(rig) == (1, 1, 1024)


def test_results_end_with_their_nexus_and_with_a_reset(rig):
    other = rig.other()
    copy(rig)
    copy(rig, nexus=other)
    rig.server.nexus_lost(other)
    rig.server.nexus_established(other)
    rig.nexus.unit_attentions.clear()
    other.unit_attentions.clear()
    assert unknown(rig, nexus=other)
    rig.unit.reset(UnitAttention.BUS_DEVICE_RESET)
    rig.nexus.unit_attentions.clear()
    assert unknown(rig)


def test_the_details_of_a_failure_are_its_sense_data(rig):
    assert unknown(rig, DETAILS)
    failed = copy(rig, copies.blocks(1, source=1))
    part = rig.good(cdb.receive_copy_results(DETAILS, 1, allocation_length=8))
    data = rig.good(cdb.receive_copy_results(DETAILS, 1))
    fields = FAILURE_DETAILS.parse(data)
    assert (part, fields["available"], fields["status"]) == (data[:8], len(data) - 4, 2)
    assert data[60:] == failed.sense
    assert fields["sense_length"] == len(failed.sense)
    assert str(Sense.parse(data[60:]))[-9:-1] == "0a/08/04"
    assert rig.good(cdb.receive_copy_results(DETAILS, 1)) == bytes(4)  # told, and the status still waits
    assert status(rig) == (2, 1, 0)
    assert unknown(rig, DETAILS)


def test_a_copy_without_errors_has_no_details(rig):
    copy(rig)
    assert rig.good(cdb.receive_copy_results(DETAILS, 1)) == bytes(4)
    assert status(rig) == (1, 1, 1024)
    assert unknown(rig, DETAILS)


def test_asking_for_nothing_gives_the_details_up(rig):
    copy(rig, copies.blocks(1, source=1))
    assert rig.good(cdb.receive_copy_results(DETAILS, 1, allocation_length=0)) == b""
    assert rig.good(cdb.receive_copy_results(DETAILS, 1)) == bytes(4)


def test_operating_parameters_are_the_limits(rig):
    data = rig.good(cdb.receive_copy_results(PARAMETERS))
    fields = OPERATING_PARAMETERS.parse(data)
    assert (fields["available"], fields["flags"]) == (len(data) - 4, 1)
    assert fields["maximum_segment_descriptors"] == MAXIMUM_SEGMENT_DESCRIPTORS
    assert fields["maximum_segment_length"] == MAXIMUM_SEGMENT_LENGTH
    assert (data[43], data[44:]) == (3, bytes((0x02, 0x0A, 0xE4)))
    assert rig.good(cdb.receive_copy_results(PARAMETERS, allocation_length=10)) == data[:10]


@pytest.mark.parametrize("command", ["8401", "8402", "8405", "8301"])
def test_other_service_actions_are_not_there(rig, command):
    sense = rig.sense(bytes.fromhex(command).ljust(16, b"\0"))
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", FieldPointer(1, 4))
