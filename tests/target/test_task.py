"""A command under way, and the sense of a transfer that failed."""

import pytest
from exchanges.ladder import log_in

from iscsim.pdu import SCSICommand
from iscsim.session.parameters import Parameters
from iscsim.session.transfer import DataOutFailure, DataOutTransfer
from iscsim.target.task import Task


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
def test_a_failed_transfer_is_an_aborted_command(task, failure, asc):
    """RFC 7143 section 11.4.7.2."""
    sense = task.failure_sense(failure)
    assert (sense[2] & 0xF, sense[12:14].hex()) == (0x0B, asc)
