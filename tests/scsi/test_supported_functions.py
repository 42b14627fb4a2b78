import pytest

from iscsim.scsi import cdb
from iscsim.scsi.sense import FieldPointer
from iscsim.scsi.supported_functions import parse_supported_functions
from iscsim.scsi.task_management import TaskManagement

ask = cdb.report_supported_task_management_functions
DONE = TaskManagement.ABORT_TASK | TaskManagement.LOGICAL_UNIT_RESET | TaskManagement.QUERY_TASK_SET


def test_basic_format_is_four_bytes(rig):
    rig.nexus.task_management = DONE
    data = rig.good(ask())
    assert data.hex() == "88020000"
    assert parse_supported_functions(data) == DONE


def test_extended_format_says_that_there_are_no_timeouts(rig):
    rig.nexus.task_management = DONE
    assert rig.good(ask(extended=True)).hex() == "8802000c" + "00" * 12


def test_nothing_is_supported_unless_the_transport_says_so(rig):
    assert parse_supported_functions(rig.good(ask())) == TaskManagement.NONE


def test_answer_is_cut_to_the_allocation_length_but_never_below_four(rig):
    assert len(rig.good(ask(extended=True, allocation_length=7))) == 7
    assert rig.sense(ask(allocation_length=3)).field_pointer == FieldPointer(6)
    assert rig.fault(ask(allocation_length=3)) == "05/24/00"


def test_stump_cannot_be_parsed():
    with pytest.raises(ValueError, match="3 bytes"):
        parse_supported_functions(b"\x88\x02\x00")


def test_reserved_bits_are_not_taken_for_functions():
    assert parse_supported_functions(b"\xff\xff\xff\x00") == sum(TaskManagement)
