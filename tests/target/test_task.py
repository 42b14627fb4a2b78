"""A command under way, and the sense of a transfer that failed."""

import pytest
from exchanges.ladder import log_in

from iscsim.pdu import SCSICommand
from iscsim.scsi.asc import ASC
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.store import MemoryStore
from iscsim.session.parameters import Parameters
from iscsim.session.transfer import DataOutFailure, DataOutTransfer
from iscsim.target.task import Task, failure_sense


@pytest.fixture
def task() -> Task:
    command = SCSICommand(write=True, initiator_task_tag=7)
    return Task(command, DataOutTransfer(512, 512, Parameters()), log_in().connection, 512)


def test_a_task_is_known_by_its_tag(task):
    assert (task.tag, task.aborted, task.has_room, task.r2t_sn) == (7, False, False, 0)


@pytest.mark.parametrize(
    "failure, asc",
    [
        (DataOutFailure.UNEXPECTED_UNSOLICITED_DATA, "0c0c"),
        (DataOutFailure.INCORRECT_AMOUNT_OF_DATA, "0c0d"),
        (DataOutFailure.DATA_SEQUENCE_ERROR, "4705"),
        (DataOutFailure.DATA_DIGEST_ERROR, "4705"),
    ],
)
def test_a_failed_transfer_is_an_aborted_command(failure, asc):
    """RFC 7143 section 11.4.7.2."""
    sense = failure_sense(failure)
    assert (sense[2] & 0xF, sense[12:14].hex()) == (0x0B, asc)


def test_a_task_that_fails_speaks_the_sense_format_of_its_unit(task):
    sense = Sense.of(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_MESSAGE_ERROR)
    task.fail(sense)
    assert (task.status, task.sense) == (Status.CHECK_CONDITION, sense.encode())
    task.unit = LogicalUnit(MemoryStore(1), serial="x", d_sense=True)
    task.fail(sense)
    assert task.sense == sense.encode(True)
