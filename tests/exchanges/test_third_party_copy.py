"""EXTENDED COPY on the wire: the list is asked for, and what is too long is not."""

from exchanges.ladder import command, data_out, like, log_in, lun, make_entity, node_of, unit_of
from scsi import copies

from iscsim.pdu import ReadyToTransfer, SCSIDataIn, SCSIResponse
from iscsim.scsi import cdb
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.copy_parameters import MAXIMUM_LIST_LENGTH
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.sense import ForwardedSense, Sense
from iscsim.scsi.store import MemoryStore

R2T_ONLY = {"InitialR2T": "Yes", "ImmediateData": "No"}


def between(entity, source, destination, segment):
    cscds = [copies.cscd(source), copies.cscd(destination)]
    return copies.command(cscds, [segment])


def sent(command_block, data=b"", **fields):
    length = {"write": True, "expected_data_transfer_length": len(data), "data": data}
    return command(command_block, **(length | fields))


def test_the_list_is_asked_for_and_the_copy_done_before_the_answer():
    entity = make_entity()
    source, destination = unit_of(entity, 0), unit_of(entity, 1)
    source.store.write(5, b"\x5a" * 1024)
    block, data = between(entity, source, destination, copies.blocks(2, 5, 70, destination=1))
    exchange = log_in(entity, R2T_ONLY) >> sent(block, b"", expected_data_transfer_length=len(data))
    request = exchange.next()
    assert isinstance(request, ReadyToTransfer)
    assert request.desired_data_transfer_length == len(data)
    exchange >> data_out(1, data=data, target_transfer_tag=request.target_transfer_tag, lun=lun(0))
    assert exchange << like(SCSIResponse, status=0, residual_count=0)
    assert bytes(destination.store.read(70, 2)) == b"\x5a" * 1024
    status = command(cdb.receive_copy_results(0, 1), read=True, expected_data_transfer_length=12)
    assert exchange >> status << like(SCSIDataIn, data=bytes.fromhex("00000008 01 0001 00 00000400"))


def test_a_list_longer_than_the_limit_is_refused_without_an_r2t():
    length = MAXIMUM_LIST_LENGTH + 1
    block = layouts.EXTENDED_COPY.build(opcode=0x83, parameter_list_length=length)
    exchange = log_in(None, R2T_ONLY) >> sent(block, b"", expected_data_transfer_length=length)
    answer = exchange.next()
    assert (answer.status, str(Sense.parse(answer.sense))[-9:-1]) == (2, "05/1a/00")
    assert exchange


def test_a_unit_outside_the_map_of_the_nexus_is_not_reached():
    entity = make_entity(luns=1)
    hidden = LogicalUnit(MemoryStore(64), serial="hidden")
    block, data = between(entity, unit_of(entity), hidden, copies.blocks(1, destination=1))
    exchange = log_in(entity) >> sent(block, data)
    answer = exchange.next()
    assert str(Sense.parse(answer.sense))[-9:-1] == "0a/0d/02"
    assert bytes(hidden.store.read(0, 64)) == bytes(64 * 512)


def test_a_unit_that_is_read_only_in_the_map_is_not_written():
    entity = make_entity(luns=1)
    protected = LogicalUnit(MemoryStore(64), serial="protected")
    node_of(entity).lun_map.add(1, protected, read_only=True)
    block, data = between(entity, unit_of(entity), protected, copies.blocks(1, destination=1))
    answer = (log_in(entity) >> sent(block, data)).next()
    sense = Sense.parse(answer.sense)
    assert isinstance(sense.forwarded, ForwardedSense)
    assert str(Sense.parse(sense.forwarded.sense))[-9:-1] == "07/27/00"
