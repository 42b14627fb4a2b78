"""The tables, against what Linux 6.1's scsi_decide_disposition, scsi_check_sense, scsi_io_completion do."""

import errno

import pytest

from iscsim.errors import ISCSIError, SessionFailed
from iscsim.initiator import disposition
from iscsim.initiator.disposition import (
    SENSE_RULES,
    STATUS_RULES,
    Action,
    BlockStatus,
    DeviceEventKind,
    Disposition,
    block_status_of,
    event_of,
    is_block_command,
    rule_of,
    rule_of_error,
    timeout_factor,
)
from iscsim.initiator.session_state import TransportDisrupted, TransportFailed
from iscsim.initiator.task import CommandAborted, CommandTask, CommandTimedOut, TargetFailure
from iscsim.scsi import cdb
from iscsim.scsi.lun import encode_lun
from iscsim.scsi.sense import CommandFailed, Sense, SenseKey
from iscsim.scsi.status import Status

UP, RETRY = Disposition.SUCCESS, Disposition.NEEDS_RETRY
QUEUE, HANDLER = Disposition.ADD_TO_MLQUEUE, Disposition.FAILED
GOOD, FAIL, AGAIN, LATER = Action.GOOD, Action.FAIL, Action.RETRY, Action.DELAYED_REPREP
BLOCK = BlockStatus


def ended(status: int, sense: Sense | bytes = b"", command: bytes = cdb.read_10(0, 8)) -> CommandTask:
    task = CommandTask(encode_lun(1), command)
    task.status = status
    task.sense_data = sense.encode() if isinstance(sense, Sense) else sense
    return task


def check(text: str, **more: object) -> CommandTask:
    """A task that ended with CHECK CONDITION and sense ``"key/asc/ascq"`` in hexadecimal."""
    key, asc, ascq = (int(part, 16) for part in text.split("/"))
    return ended(Status.CHECK_CONDITION, Sense(key, asc, ascq, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "status, first, then, block",
    [
        (0x00, UP, GOOD, BLOCK.OK),
        (0x04, UP, GOOD, BLOCK.OK),
        (0x08, QUEUE, FAIL, BLOCK.IOERR),
        (0x18, UP, FAIL, BLOCK.NEXUS),
        (0x28, QUEUE, FAIL, BLOCK.IOERR),
        (0x30, UP, FAIL, BLOCK.IOERR),
        (0x40, RETRY, FAIL, BLOCK.IOERR),
        (0x55, HANDLER, FAIL, BLOCK.IOERR),
        (0xFF, HANDLER, FAIL, BLOCK.IOERR),
    ],
)
def test_status(status: int, first: Disposition, then: Action, block: BlockStatus) -> None:
    rule = rule_of(ended(status))
    assert (rule.disposition, rule.action, rule.status) == (first, then, block)


def test_every_status_of_sam_has_a_rule() -> None:
    assert set(STATUS_RULES) | {Status.CHECK_CONDITION} == set(Status)


@pytest.mark.parametrize(
    "sense, first, then, block",
    [
        ("0/00/00", UP, AGAIN, BLOCK.IOERR),  # a false check condition
        ("1/17/01", UP, GOOD, BLOCK.OK),
        ("2/04/01", RETRY, AGAIN, BLOCK.IOERR),
        ("2/04/04", UP, AGAIN, BLOCK.IOERR),
        ("2/04/07", UP, AGAIN, BLOCK.IOERR),
        ("2/04/09", UP, AGAIN, BLOCK.IOERR),
        ("2/04/14", UP, AGAIN, BLOCK.IOERR),
        ("2/04/1b", UP, AGAIN, BLOCK.IOERR),
        ("2/04/0a", UP, LATER, BLOCK.IOERR),
        ("2/04/00", UP, FAIL, BLOCK.IOERR),
        ("2/04/02", UP, FAIL, BLOCK.IOERR),  # initializing command required
        ("2/04/03", UP, FAIL, BLOCK.IOERR),
        ("2/04/0b", UP, FAIL, BLOCK.IOERR),  # standby
        ("2/04/0c", UP, FAIL, BLOCK.IOERR),  # unavailable
        ("2/3a/00", UP, FAIL, BLOCK.IOERR),
        ("3/11/00", UP, FAIL, BLOCK.MEDIUM),
        ("3/13/00", UP, FAIL, BLOCK.MEDIUM),
        ("3/14/01", UP, FAIL, BLOCK.MEDIUM),
        ("3/0c/00", RETRY, FAIL, BLOCK.IOERR),  # write error
        ("4/44/00", UP, FAIL, BLOCK.TARGET),
        ("5/10/01", UP, FAIL, BLOCK.PROTECTION),
        ("5/20/00", UP, FAIL, BLOCK.TARGET),
        ("5/21/00", UP, FAIL, BLOCK.TARGET),
        ("5/24/00", UP, FAIL, BLOCK.TARGET),
        ("5/25/00", UP, FAIL, BLOCK.IOERR),  # no such LUN: another path may have it
        ("5/26/00", UP, FAIL, BLOCK.TARGET),
        ("6/28/00", UP, AGAIN, BLOCK.IOERR),
        ("6/29/00", UP, AGAIN, BLOCK.IOERR),
        ("6/3f/0e", UP, AGAIN, BLOCK.IOERR),
        ("7/27/00", UP, FAIL, BLOCK.TARGET),
        ("7/27/07", UP, FAIL, BLOCK.NOSPC),
        ("8/00/00", UP, FAIL, BLOCK.TARGET),
        ("9/80/00", UP, FAIL, BLOCK.IOERR),
        ("a/0d/01", UP, FAIL, BLOCK.TARGET),
        ("b/10/01", UP, FAIL, BLOCK.PROTECTION),
        ("b/00/00", RETRY, FAIL, BLOCK.IOERR),
        ("b/44/00", RETRY, FAIL, BLOCK.IOERR),
        ("c/00/00", UP, FAIL, BLOCK.IOERR),
        ("d/00/00", UP, FAIL, BLOCK.TARGET),
        ("e/1d/00", UP, FAIL, BLOCK.TARGET),
        ("f/00/00", UP, FAIL, BLOCK.IOERR),
    ],
)
def test_sense(sense: str, first: Disposition, then: Action, block: BlockStatus) -> None:
    rule = rule_of(check(sense))
    assert (rule.disposition, rule.action, rule.status) == (first, then, block)


def test_every_sense_key_has_a_rule_for_codes_nobody_knows() -> None:
    assert {rule.key for rule in SENSE_RULES if rule.asc is None} == set(SenseKey)


def test_no_two_rules_are_for_the_same() -> None:
    assert len({(rule.key, rule.asc, rule.ascq) for rule in SENSE_RULES}) == len(SENSE_RULES)


def test_without_sense_data_the_error_handler_asks() -> None:
    assert rule_of(ended(Status.CHECK_CONDITION)).disposition is HANDLER
    assert rule_of(ended(Status.CHECK_CONDITION, b"\x11\x22\x33")).disposition is HANDLER


def test_a_deferred_error_is_repeated_whatever_it_is() -> None:
    rule = rule_of(check("5/24/00", deferred=True))
    assert (rule.disposition, rule.action) == (RETRY, FAIL)


def test_who_sends_test_unit_ready_sees_what_it_says() -> None:
    task = check("b/00/00")
    task.cdb = cdb.test_unit_ready()
    assert rule_of(task).disposition is UP
    assert rule_of(task, of_handler=True).disposition is RETRY


def test_filemark_bits_of_fixed_sense_data_go_up() -> None:
    sense = bytearray(Sense(SenseKey.ABORTED_COMMAND, 0, 0).encode())
    sense[2] |= 0x20
    rule = rule_of(ended(Status.CHECK_CONDITION, bytes(sense)))
    assert (rule.disposition, rule.action) == (UP, FAIL)


@pytest.mark.parametrize(
    "error, first, block",
    [
        (TransportDisrupted("gone"), RETRY, BLOCK.IOERR),
        (TransportFailed("gone for long"), UP, BLOCK.TRANSPORT),
        (SessionFailed("closed"), UP, BLOCK.TRANSPORT),
        (CommandAborted("reset"), RETRY, BLOCK.IOERR),
        (TargetFailure("response 1"), RETRY, BLOCK.IOERR),
        (CommandTimedOut("late"), UP, BLOCK.IOERR),
    ],
)
def test_errors_without_a_status(error: ISCSIError, first: Disposition, block: BlockStatus) -> None:
    assert (rule_of_error(error).disposition, block_status_of(error)) == (first, block)


@pytest.mark.parametrize(
    "text, event",
    [
        ("6/29/00", "POWER_ON_RESET_OCCURRED"),
        ("6/29/07", "POWER_ON_RESET_OCCURRED"),
        ("6/2a/01", "MODE_PARAMETERS_CHANGED"),
        ("6/2a/06", "ASYMMETRIC_ACCESS_STATE_CHANGED"),
        ("6/2a/09", "CAPACITY_DATA_HAS_CHANGED"),
        ("6/38/07", "THIN_PROVISIONING_SOFT_THRESHOLD_REACHED"),
        ("6/3f/03", "INQUIRY_DATA_HAS_CHANGED"),
        ("6/3f/0e", "REPORTED_LUNS_DATA_HAS_CHANGED"),
        ("6/2a/00", None),
        ("6/28/00", None),
        ("5/3f/0e", None),
    ],
)
def test_events(text: str, event: str | None) -> None:
    assert event_of(check(text)) == (DeviceEventKind(event) if event else None)


def test_multipath_tries_another_path_only_for_what_a_path_can_be_at_fault() -> None:
    path_errors = {status for status in BlockStatus if status.is_path_error}
    assert path_errors == {BLOCK.IOERR, BLOCK.TRANSPORT}
    assert BLOCK.NOSPC.value == errno.ENOSPC


def test_the_errors_of_the_verbs_have_a_block_status_too() -> None:
    sense = Sense(SenseKey.MEDIUM_ERROR, 0x11, 0)
    assert block_status_of(CommandFailed(Status.CHECK_CONDITION, sense)) is BLOCK.MEDIUM
    assert block_status_of(CommandFailed(Status.CHECK_CONDITION, None)) is BLOCK.IOERR
    assert block_status_of(CommandFailed(Status.RESERVATION_CONFLICT)) is BLOCK.NEXUS
    assert block_status_of(ended(Status.BUSY)) is BLOCK.IOERR


@pytest.mark.parametrize(
    "command, block, factor",
    [
        (cdb.read_16(0, 8), True, 1),
        (cdb.write_10(0, 8), True, 1),
        (cdb.synchronize_cache_10(), True, 2),
        (bytes((0x93,)) + bytes(15), True, 4),  # WRITE SAME (16)
        (cdb.inquiry(), False, 1),
        (cdb.test_unit_ready(), False, 1),
        (cdb.report_luns(), False, 1),
    ],
)
def test_which_commands_sd_sends_and_how_long_they_may_take(command: bytes, block: bool, factor: int) -> None:
    assert (is_block_command(command), timeout_factor(command)) == (block, factor)


def test_the_rules_say_what_they_are_about() -> None:
    rules = [*STATUS_RULES.values(), *SENSE_RULES, disposition.UNKNOWN_STATUS]
    assert all(rule.meaning for rule in rules)
