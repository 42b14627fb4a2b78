import pytest

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.sense import Sense


def read_10(request, length=100):
    return layouts.READ_DEFECT_DATA_10.build(opcode=0x37, request=request, allocation_length=length)


def read_12(request, index=0, length=100):
    return layouts.READ_DEFECT_DATA_12.build(
        opcode=0xB7, request=request, index=index, allocation_length=length
    )


@pytest.mark.parametrize("request_byte", [0x00, 0x08, 0x10, 0x18, 0x1B, 0x1D])
def test_the_lists_asked_for_are_there_and_empty(rig, request_byte):
    assert rig.good(read_10(request_byte)) == bytes((0, request_byte, 0, 0))
    assert rig.good(read_12(request_byte)) == bytes((0, request_byte, 0, 0, 0, 0, 0, 0))
    assert rig.good(read_12(request_byte, index=7)) == bytes((0, request_byte, 0, 0, 0, 0, 0, 0))


def test_the_header_is_cut_to_the_allocation_length(rig):
    assert rig.good(read_10(0x18, 2)) == b"\0\x18"
    assert rig.good(read_12(0x18, length=0)) == b""


@pytest.mark.parametrize("command", [read_10(0x1E), read_12(0x1F)])
def test_a_format_nobody_knows_comes_as_the_default_with_recovered_error(rig, command):
    completion = rig.execute(command)
    assert (completion.status, completion.data_in[:2]) == (2, b"\0\x18")
    assert str(Sense.parse(completion.sense))[-9:-1] == "01/1c/00"


def test_there_must_be_a_medium(make_rig):
    rig = make_rig(removable=True)
    rig.unit.eject()
    assert rig.fault(read_10(0)) == "02/3a/02"
