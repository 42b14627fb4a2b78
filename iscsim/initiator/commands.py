"""SCSI commands of one connection as an initiator sees them: window, Data-In, R2T, responses, time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from iscsim.errors import FormatError, ISCSIError, LocalProtocolError, RemoteProtocolError, SequenceError
from iscsim.initiator.task import (
    CommandAborted,
    CommandTask,
    CommandTimedOut,
    Extents,
    Management,
    TargetFailure,
)
from iscsim.pdu import (
    PDU,
    RESERVED_TAG,
    BidirectionalReadLength,
    ExtendedCDB,
    ReadyToTransfer,
    SCSICommand,
    SCSIDataIn,
    SCSIDataOut,
    SCSIResponse,
    SCSIResponseCode,
    TaskManagementFunction,
    TaskManagementResponseCode,
)
from iscsim.scsi.status import Status
from iscsim.session.connection import Phase
from iscsim.session.numbering import SERIAL_MASK
from iscsim.session.parameters import Parameters
from iscsim.session.transfer import DataOutPlan, segments

if TYPE_CHECKING:
    from iscsim.initiator.connection import InitiatorConnection

_pack_command = SCSICommand.codec.pack
_flags = SCSICommand.codec.pack_flags  # immediate, final, read, write, task_attribute
_MAX_LENGTH = 0xFFFFFFFF
_HALF = 1 << 31
_CDB_LENGTH = 16
_LONG = 32 << 10
# The status codes that end a command well, the only ones a Data-In may carry (RFC 7143 section 11.7.3); the
# numbers are SAM-2's INTERMEDIATE and INTERMEDIATE-CONDITION MET, which later editions do not have.
_GOOD_ENDS = frozenset({Status.GOOD, Status.CONDITION_MET, 0x10, 0x14})


class CommandService:
    """Sends SCSI commands within the command window and takes what comes back for them."""

    def __init__(self, connection: InitiatorConnection) -> None:
        self._connection = connection
        self._numbers = connection.numbers
        self.tasks: dict[int, CommandTask] = {}
        self.queue: deque[CommandTask] = deque()
        """Commands for which the window was closed (RFC 7143 section 4.2.2.1)."""
        self.goes_on = False
        """Whether the last Data-In was a long one of several: the next is likely of the same command."""
        self.lent = False
        """Somebody was given a view of what was received."""
        self._placed: CommandTask | None = None
        self._in_order = True
        self._parameters = Parameters()

    def update(self, parameters: Parameters) -> None:
        """The login is through, or a text negotiation has changed something."""
        self._parameters = parameters
        self._in_order = parameters.data_pdu_in_order and parameters.data_sequence_in_order

    # -- sending -----------------------------------------------------------------------------------

    def submit(self, task: CommandTask) -> None:
        """Send ``task``, or queue it while the command window is closed.

        Raises:
            SessionFailed: the session takes no more commands.
            LocalProtocolError: the CDB or a length does not fit the PDU.
        """
        connection, numbers = self._connection, self._numbers
        if connection.closing or connection.draining or connection.phase is not Phase.FULL_FEATURE:
            connection.check_open()
        if (
            not 0 < len(task.cdb) <= 260
            or len(task.data_out) > _MAX_LENGTH
            or task.data_in_length > _MAX_LENGTH
        ):
            raise LocalProtocolError(f"{task.name} does not fit a SCSI Command", "11.3")
        # the window is open unless MaxCmdSN lies behind CmdSN (RFC 7143 section 4.2.2.1)
        if task.immediate or (not self.queue and (numbers.max_cmd_sn - numbers.cmd_sn) & SERIAL_MASK < _HALF):
            self._send(task)
        else:
            self.queue.append(task)
        if task.deadline < connection.sweep_at:
            connection.watch(task)

    def release(self) -> None:
        """Send what the window now lets through."""
        queue, numbers = self.queue, self._numbers
        while queue and numbers.window_open:
            self._send(queue.popleft())

    def _send(self, task: CommandTask) -> None:
        connection, numbers, data = self._connection, self._numbers, task.data_out
        task.initiator_task_tag = tag = connection.new_tag()
        task.cmd_sn = numbers.cmd_sn if task.immediate else numbers.take()
        self.tasks[tag] = task
        if not data and connection.plain and len(task.cdb) <= _CDB_LENGTH:
            length = task.data_in_length
            connection._out.append(
                _pack_command(
                    _flags[task.immediate, True, length > 0, False, task.task_attribute],
                    0,
                    task.lun,
                    tag,
                    length,
                    task.cmd_sn,
                    connection.exp_stat_sn,
                    task.cdb,
                )
            )
        else:
            self._send_at_length(task)

    def _send_at_length(self, task: CommandTask) -> None:
        """Writes, bidirectional commands, long CDBs, digests and taps."""
        data, length = task.data_out, len(task.data_out)
        plan = DataOutPlan.of(length, self._parameters)
        self._connection.send(
            SCSICommand(
                immediate=task.immediate,
                final=plan.final,
                read=task.data_in_length > 0,
                write=length > 0,
                task_attribute=task.task_attribute,
                lun=task.lun,
                initiator_task_tag=task.initiator_task_tag,
                expected_data_transfer_length=length or task.data_in_length,
                cmd_sn=task.cmd_sn,
                exp_stat_sn=self._connection.exp_stat_sn,
                cdb=task.cdb[:_CDB_LENGTH].ljust(_CDB_LENGTH, b"\0"),
                ahs=_additional_headers(task),
                data=memoryview(data)[: plan.immediate_length] if plan.immediate_length else b"",
            )
        )
        task.asked = plan.immediate_length + plan.unsolicited_length
        if plan.unsolicited_length:
            self._send_data_out(task, plan.immediate_length, plan.unsolicited_length)
        if not self._in_order and task.asked:
            task.data_out_pieces = Extents()
            task.data_out_pieces.claim(0, task.asked)

    def _send_data_out(
        self,
        task: CommandTask,
        offset: int,
        length: int,
        transfer_tag: int = RESERVED_TAG,
        lun: bytes = bytes(8),
    ) -> None:
        """One sequence of Data-Out PDUs: DataSN from 0, F in the last (RFC 7143 section 11.7)."""
        data = memoryview(task.data_out)
        pieces = segments(offset, length, self._parameters.max_send_data_segment_length)
        for data_sn, (start, size, final) in enumerate(pieces):
            self._connection.send(
                SCSIDataOut(
                    final=final,
                    lun=lun,  # RFC 7143 section 11.7.4: reserved without a Target Transfer Tag
                    initiator_task_tag=task.initiator_task_tag,
                    target_transfer_tag=transfer_tag,
                    exp_stat_sn=self._connection.exp_stat_sn,
                    data_sn=data_sn,
                    buffer_offset=start,
                    data=data[start : start + size],
                )
            )

    # -- receiving ---------------------------------------------------------------------------------

    def _task_of(self, pdu: SCSIDataIn | SCSIResponse | ReadyToTransfer) -> CommandTask:
        task = self.tasks.get(pdu.initiator_task_tag)
        if task is None:
            raise RemoteProtocolError(
                f"{type(pdu).__name__} for unknown task tag {pdu.initiator_task_tag:#x}", "11.2.1.8"
            )
        return task

    def receive_data_in(self, pdu: SCSIDataIn) -> None:
        """Data of a read, and its status when S is set (RFC 7143 section 11.7)."""
        task = self.tasks.get(pdu.initiator_task_tag) or self._task_of(pdu)
        data, offset = pdu.data, pdu.buffer_offset
        length = len(data)
        end = offset + length
        if pdu.data_sn != task.transfer_sn:
            raise SequenceError(f"Data-In with DataSN {pdu.data_sn}, expected {task.transfer_sn}", "7.9")
        task.transfer_sn += 1
        if end > task.data_in_length:
            raise FormatError(
                f"Data-In of bytes {offset} to {end} for {task.name}, {task.data_in_length} were expected",
                "11.7.6",
            )
        if offset != task.received or not self._in_order:
            self._check_order(task, offset, end)
        if self._placed is task:
            self._placed = None
        elif offset == 0 and end == task.data_in_length and task.buffer is None:
            # all in one PDU; a short view would keep a long buffer from being used again
            task.data_in = data if length >= _LONG else bytes(data)
            self.lent |= length >= _LONG
        elif end > offset:
            if task.buffer is None:
                task.buffer = bytearray(task.data_in_length)
            task.buffer[offset:end] = data
        task.received += length
        self.goes_on = length >= _LONG and end < task.data_in_length
        if pdu.status_present:
            self._end_with_data_in(task, pdu)
        numbers = self._numbers
        if pdu.max_cmd_sn != numbers.max_cmd_sn or pdu.exp_cmd_sn != numbers.exp_cmd_sn:
            numbers.update(pdu.exp_cmd_sn, pdu.max_cmd_sn)
            if self.queue:
                self.release()

    def _check_order(self, task: CommandTask, offset: int, end: int) -> None:
        if self._in_order:
            # RFC 7143 sections 13.18 and 13.19: increasing, without gaps or overlap
            raise SequenceError(f"Data-In at offset {offset}, expected {task.received}", "13.18")
        if task.data_in_pieces is None:
            task.data_in_pieces = Extents()
        if end > offset and not task.data_in_pieces.claim(offset, end):
            raise SequenceError(f"Data-In of bytes {offset} to {end} overlaps what came before", "13.18")

    def _end_with_data_in(self, task: CommandTask, pdu: SCSIDataIn) -> None:
        # RFC 7143 section 11.7.3: S only in the last PDU, with a status that needs no sense data
        if not pdu.final or pdu.status not in _GOOD_ENDS:
            raise FormatError(f"Data-In with S, F {pdu.final:d} and status {pdu.status:#04x}", "11.7.3")
        if task.data_out:
            raise FormatError(f"Data-In with S for {task.name}, which sends data too", "11.7.3")
        connection = self._connection
        if pdu.stat_sn == connection.exp_stat_sn:
            connection.exp_stat_sn = (pdu.stat_sn + 1) & SERIAL_MASK
        else:
            connection.take_stat_sn(pdu)
        task.status = pdu.status
        if pdu.underflow or pdu.overflow:
            task.residual = _residual(pdu.underflow, pdu.overflow, pdu.residual_count)
        self._finish(task)

    def receive_response(self, pdu: SCSIResponse) -> None:
        """The end of a command (RFC 7143 section 11.4)."""
        task = self._task_of(pdu)
        if pdu.exp_data_sn > task.transfer_sn:
            # a target may count its R2Ts or leave 0, but not more than came
            raise SequenceError(
                f"SCSI Response with ExpDataSN {pdu.exp_data_sn} after {task.transfer_sn} PDUs", "7.9"
            )
        self._connection.take_numbers(pdu)
        residual = _residual(pdu.underflow, pdu.overflow, pdu.residual_count)
        if pdu.response != SCSIResponseCode.COMMAND_COMPLETED_AT_TARGET:
            task.error = TargetFailure(f"{task.name}: target failure, response code {pdu.response:#04x}")
        else:
            task.status, task.residual, task.sense_data = pdu.status, residual, pdu.sense
            task.error = None  # it may have been on its way to be aborted
        self._finish(task)

    def _finish(self, task: CommandTask) -> None:
        """``task`` has ended: hand over what it read."""
        del self.tasks[task.initiator_task_tag]
        buffer, received = task.buffer, task.received
        if buffer is not None:
            # out of order there may be holes: then only a complete buffer says anything
            usable = received if task.data_in_pieces is None or received == task.data_in_length else 0
            task.data_in = buffer if usable == len(buffer) else bytes(memoryview(buffer)[:usable])
        task.done(task)
        if self._connection.draining:
            self._connection.notices.look_for_the_end()

    def receive_ready_to_transfer(self, pdu: ReadyToTransfer) -> None:
        """Send what the target asks for (RFC 7143 section 11.8)."""
        task = self._task_of(pdu)
        self._check_ready_to_transfer(task, pdu)
        task.transfer_sn += 1
        task.asked += pdu.desired_data_transfer_length
        self._connection.take_window(pdu)
        self._send_data_out(
            task, pdu.buffer_offset, pdu.desired_data_transfer_length, pdu.target_transfer_tag, pdu.lun
        )

    def _check_ready_to_transfer(self, task: CommandTask, pdu: ReadyToTransfer) -> None:
        offset, length = pdu.buffer_offset, pdu.desired_data_transfer_length
        end = offset + length
        if pdu.lun != task.lun:
            # RFC 7143 section 4.2.5.3: a LUN that qualifies a transfer tag must be the command's
            raise FormatError(f"R2T for LUN {pdu.lun.hex()}, {task.name} is for {task.lun.hex()}", "4.2.5.3")
        if pdu.r2t_sn != task.transfer_sn:
            raise SequenceError(f"R2T with R2TSN {pdu.r2t_sn}, expected {task.transfer_sn}", "7.9")
        if pdu.target_transfer_tag == RESERVED_TAG:
            raise FormatError("R2T with the reserved Target Transfer Tag", "11.8.5")
        if not 0 < length <= self._parameters.max_burst_length or end > len(task.data_out):
            raise FormatError(
                f"R2T for bytes {offset} to {end} of {task.name}, which sends {len(task.data_out)}"
                f" in bursts of {self._parameters.max_burst_length} at most",
                "11.8.4",
            )
        if self._in_order:
            if offset != task.asked:
                raise SequenceError(f"R2T at offset {offset}, expected {task.asked}", "13.19")
            return
        if task.data_out_pieces is None:
            task.data_out_pieces = Extents()
        if not task.data_out_pieces.claim(offset, end):
            raise SequenceError(
                f"R2T for bytes {offset} to {end}, a part of which was sent already", "11.8.4"
            )

    def place(self, pdu: PDU, length: int) -> memoryview | None:
        """Where the data segment of a Data-In may be received right away, without a copy later.

        ``pdu`` is its header only. None when it has to take the usual way, or must be refused.
        """
        if not isinstance(pdu, SCSIDataIn) or not self._in_order or self._connection.tap is not None:
            return None
        task = self.tasks.get(pdu.initiator_task_tag)
        offset = pdu.buffer_offset
        if task is None or offset != task.received or offset + length > task.data_in_length:
            return None
        if task.buffer is None and length == task.data_in_length:
            return None  # it will be handed over as it came
        if task.buffer is None:
            task.buffer = bytearray(task.data_in_length)
        self._placed = task
        return memoryview(task.buffer)[offset : offset + length]

    # -- commands that do not end by themselves ----------------------------------------------------

    def abort(self, task: CommandTask, error: ISCSIError) -> None:
        """End ``task`` with ``error``: at once when it was not sent yet, else by ABORT TASK.

        When the target does not abort it in time, the session ends: nobody could say what became of it.
        """
        if task in self.queue:
            self.queue.remove(task)
            self._give_up(task, error)
            return
        if self.tasks.get(task.initiator_task_tag) is not task or task.aborting:
            return
        task.aborting = True
        management = Management(TaskManagementFunction.ABORT_TASK, task.lun, task)
        management.context = error
        management.done = self._abort_answered
        self._connection.manage(management)

    def _abort_answered(self, management: Management) -> None:
        task = management.task
        assert task is not None
        if self.tasks.get(task.initiator_task_tag) is not task:
            return  # its own response was quicker
        if management.response == TaskManagementResponseCode.TASK_DOES_NOT_EXIST:
            del self.tasks[task.initiator_task_tag]
            self._give_up(task, management.context)
        else:  # without effect when the connection has ended already
            reason = management.error or f"response {management.response}"
            self._connection.end(f"{task.name} could not be aborted: {reason}")

    def overdue(self, task: CommandTask) -> None:
        """The time of ``task`` is up."""
        task.deadline = float("inf")
        self.abort(task, CommandTimedOut(f"{task.name} was not answered in time"))

    def affected_by(self, management: Management) -> list[CommandTask]:
        """The commands under way that ``management`` ends; those sent behind it are not affected.

        RFC 7143 sections 4.2.3.3 and 11.5.1.
        """
        match management.function:
            case TaskManagementFunction.ABORT_TASK:
                return [task for task in self.tasks.values() if task is management.task]
            case TaskManagementFunction.TARGET_WARM_RESET | TaskManagementFunction.TARGET_COLD_RESET:
                return list(self.tasks.values())
            case (
                TaskManagementFunction.ABORT_TASK_SET
                | TaskManagementFunction.CLEAR_TASK_SET
                | TaskManagementFunction.LOGICAL_UNIT_RESET
            ):
                return [task for task in self.tasks.values() if task.lun == management.lun]
        return []

    def terminated(self, management: Management) -> None:
        """A task management function is complete: no response comes for the commands it ended.

        RFC 7143 section 11.6.1.
        """
        for task in management.affected:
            if self.tasks.get(task.initiator_task_tag) is task:
                del self.tasks[task.initiator_task_tag]
                reason = management.context if isinstance(management.context, ISCSIError) else None
                self._give_up(task, reason or CommandAborted(f"{task.name} was ended by {management.name}"))

    def rejected(self, task: CommandTask, message: str) -> None:
        """The target rejected the command PDU itself: it will never answer (RFC 7143 section 7.3)."""
        del self.tasks[task.initiator_task_tag]
        self._give_up(task, CommandAborted(f"{task.name} was rejected: {message}"))

    def fail_queue(self, error: ISCSIError) -> None:
        """What has not been sent will not be."""
        queue, self.queue = self.queue, deque()
        for task in queue:
            self._give_up(task, error)

    def fail_all(self, error: ISCSIError) -> None:
        """The connection is gone."""
        tasks, self.tasks = self.tasks, {}
        for task in tasks.values():
            self._give_up(task, error)
        self.fail_queue(error)

    def _give_up(self, task: CommandTask, error: ISCSIError) -> None:
        task.error = error
        task.done(task)


def _additional_headers(task: CommandTask) -> tuple[Any, ...]:
    """RFC 7143 sections 11.2.2.3 and 11.2.2.4."""
    segments: list[Any] = []
    if len(task.cdb) > _CDB_LENGTH:
        segments.append(ExtendedCDB(task.cdb[_CDB_LENGTH:]))
    if task.data_out and task.data_in_length:
        segments.append(BidirectionalReadLength(task.data_in_length))
    return tuple(segments)


def _residual(underflow: bool, overflow: bool, count: int) -> int:
    if underflow and overflow:
        raise FormatError("overflow and underflow in one response", "11.4.5.1")
    return -count if overflow else count if underflow else 0
