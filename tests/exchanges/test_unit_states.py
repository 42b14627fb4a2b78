"""What a unit's power, its mode pages and CONTROL do on the wire."""

from exchanges.ladder import command, like, log_in, make_entity, read_10, test_unit_ready, unit_of, write_10

from iscsim.pdu import SCSIDataIn, SCSIResponse
from iscsim.scsi import cdb
from iscsim.scsi.asc import ASC
from iscsim.scsi.mode_pages import ControlPage
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status

OTHER_ISID = bytes.fromhex("00023d000002")


def failed(key, asc, **more):
    sense = Sense.of(key, asc, **more).encode()
    data = SCSIResponse.sense_segment(sense)
    return like(SCSIResponse, status=Status.CHECK_CONDITION, data=data)


def test_a_stopped_unit_asks_for_no_data_and_reads_again_once_it_is_started():
    exchange = log_in(keys={"ImmediateData": "No"})
    not_ready = failed(SenseKey.NOT_READY, ASC.INITIALIZING_COMMAND_REQUIRED)
    assert exchange >> command(cdb.start_stop_unit(start=False)) << like(SCSIResponse, status=Status.GOOD)
    assert exchange >> write_10() << not_ready
    assert exchange >> read_10() << not_ready
    assert exchange >> command(cdb.start_stop_unit(start=True)) << like(SCSIResponse, status=Status.GOOD)
    assert exchange >> read_10() << like(SCSIDataIn, data=bytes(512), status=Status.GOOD)


def test_naca_on_a_write_is_refused_before_its_data_is_asked_for():
    exchange = log_in(keys={"ImmediateData": "No"})
    write = write_10()
    write.cdb = write.cdb[:9] + b"\x04" + write.cdb[10:]
    pointer = bytes.fromhex("ca0009")  # byte 9, bit 2
    refused = failed(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB, sense_key_specific=pointer)
    assert exchange >> write << refused


def test_mode_select_is_news_to_the_other_session_only():
    entity = make_entity()
    first, second = log_in(entity), log_in(entity, isid=OTHER_ISID)
    pages = bytes(4) + ControlPage(software_write_protect=True).encode()
    select = command(
        cdb.mode_select_6(pages), write=True, data=pages, expected_data_transfer_length=len(pages)
    )
    assert first >> select << like(SCSIResponse, status=Status.GOOD)
    assert second >> test_unit_ready() << failed(SenseKey.UNIT_ATTENTION, ASC.MODE_PARAMETERS_CHANGED)
    assert second >> write_10(data=bytes(512)) << failed(SenseKey.DATA_PROTECT, ASC.WRITE_PROTECTED)
    assert first >> test_unit_ready() << like(SCSIResponse, status=Status.GOOD)
    assert unit_of(entity).software_write_protect
