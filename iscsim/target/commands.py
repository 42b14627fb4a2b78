"""SCSI commands of one connection: the quick read path, writes with their data, responses."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from iscsim.pdu import (
    PADS,
    RESERVED_TAG,
    ReadyToTransfer,
    RejectReason,
    SCSICommand,
    SCSIDataIn,
    SCSIDataOut,
    TaskAttribute,
    UnknownAHS,
)
from iscsim.scsi.asc import ASC
from iscsim.scsi.completion import Completion, PreemptAndAbortCompletion
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.session.numbering import SERIAL_MASK
from iscsim.session.transfer import DataOutFailure, DataOutTransfer
from iscsim.target.responder import Responder
from iscsim.target.room import WriteRoom
from iscsim.target.task import Task, failure_sense
from iscsim.target.task_management import abort_preempted, data_ended

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.target.connection import TargetConnection
    from iscsim.target.session import TargetSession

_pack_data_in = SCSIDataIn.codec.pack
_flags = SCSIDataIn.codec.pack_flags  # opcode and flags as one number
# final, acknowledge, overflow, underflow, status_present
_EXACT = _flags[True, False, False, False, True]
_UNDERFLOW = _flags[True, False, False, True, True]
_SIMPLE, _ACA = int(TaskAttribute.SIMPLE), int(TaskAttribute.ACA)
_MAX_IMMEDIATE_TASKS = 8
"""Immediate writes a connection may have open; one more is rejected (RFC 7143 section 4.2.2.1)."""


class CommandService:
    """Takes the SCSI Command and Data-Out PDUs of one connection and answers them."""

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self._device_server = connection.entity.device_server
        self._next_tag = 0
        self._room = WriteRoom(connection.entity.policy.write_room)
        self._delayed: list[tuple[float, int, Task, Completion]] = []
        self._delayed_count = 0
        self._quick_length = 0
        self._data_out_timeout_s = connection.entity.policy.data_out_timeout_s
        self._watching = False
        self._task_sets = connection.entity.task_sets
        self._restricted = connection.entity.task_sets.restricted
        self.ready: deque[Task] = deque()
        """Tasks that may begin once less is owed to the initiator."""

    def begin(self, session: TargetSession) -> None:
        """The session is there: remember what every command asks for."""
        self._session = session
        self._window = session.window
        if session.nexus is not None:  # a discovery session has none, and gets no commands
            self._nexus = session.nexus
            self._responder = Responder(self._connection, session, session.nexus)
            self._connection.entity.room.join(self._connection)
        self.update_limits()

    def update_limits(self) -> None:
        """Digests, a tap or another MaxRecvDataSegmentLength change what may go the quick way."""
        connection, parameters = self._connection, self._session.parameters
        plain = not (connection.send_header_digest or connection.send_data_digest) and connection.tap is None
        limit = min(parameters.max_send_data_segment_length, parameters.max_burst_length)
        self._quick_length = limit if plain else 0

    def receive(self, pdu: SCSICommand) -> None:
        """A SCSI Command: reads are answered here and now (design, chapter 4)."""
        connection, window = self._connection, self._window
        if not pdu.immediate:
            cmd_sn = pdu.cmd_sn
            if cmd_sn != window.exp_cmd_sn or cmd_sn == connection._first_beyond:
                connection.take_turn(pdu)
                return
            window.exp_cmd_sn = (cmd_sn + 1) & SERIAL_MASK
        elif not connection.admits_immediate(pdu):
            return
        tag = pdu.initiator_task_tag
        if (
            pdu.write
            or pdu.ahs
            or tag in self._session.tasks
            or tag == RESERVED_TAG
            or pdu.task_attribute > _SIMPLE
            or self._restricted
        ):
            self._begin(pdu)
        else:
            if not pdu.immediate:
                window.max_cmd_sn = (window.max_cmd_sn + 1) & SERIAL_MASK
            self._answer(pdu, self._device_server.execute(self._nexus, pdu.lun, pdu.cdb))
        if self._session.held:
            connection.release_held()

    # -- commands with data to come, or with company -----------------------------------------------

    def _begin(self, pdu: SCSICommand) -> None:
        tasks, tag = self._session.tasks, pdu.initiator_task_tag
        if refusal := self._refusal(pdu):
            if not pdu.immediate:
                self._window.untake()
            self._connection.reject(pdu, *refusal)
            return
        if tag in tasks:  # an aborted task whose late data now cannot be told from that of the new one
            self._bury(tasks[tag])
        attribute = pdu.task_attribute
        if (self._restricted or attribute > _SIMPLE) and self._held_back(pdu):
            self._open(pdu, dormant=True)
        elif attribute == _ACA or (pdu.write and not pdu.final):
            self._open(pdu)
        else:
            length = pdu.expected_data_transfer_length if pdu.write else 0
            wanted = self._device_server.data_out_length(self._nexus, pdu.lun, pdu.whole_cdb, length)
            transfer = DataOutTransfer(length, wanted, self._session.parameters)
            transfer.begin(pdu.data, True)
            if transfer.complete:
                self._perform(pdu, transfer, wanted)
                return
            task = Task(pdu, transfer, self._connection, wanted, kept_length=len(pdu.data))
            pdu.data = b""  # the transfer has it: do not keep the whole segment alive
            self._admit(task)
            self._go_on(task)

    def _unit(self, lun: bytes) -> LogicalUnit | None:
        mapped = self._nexus.lun_map.lookup(lun)
        return mapped.logical_unit if mapped is not None else None

    def _held_back(self, pdu: SCSICommand) -> bool:
        return self._task_sets.holds_back(self._unit(pdu.lun), pdu.task_attribute)

    def _open(self, pdu: SCSICommand, *, dormant: bool = False) -> None:
        """A command that cannot be settled now: unsolicited data follows it, or others go first.

        What it wants is asked for only then, as the state of the unit may change until it begins. So one
        that is refused waits for the end of its data (RFC 7143 section 11.4.2).
        """
        parameters = self._session.parameters
        length = pdu.expected_data_transfer_length if pdu.write else 0
        transfer = DataOutTransfer(length, length, parameters)
        transfer.begin(bytes(pdu.data), pdu.final or not pdu.write)
        pdu.data = b""
        task = Task(pdu, transfer, self._connection, 0, settled=False)
        task.kept_length = min(length, parameters.first_burst_length)
        self._admit(task, dormant=dormant)
        self._watch(task)
        self._go_on(task)

    def _admit(self, task: Task, *, dormant: bool = False) -> None:
        """Take a task into its task set, or decide that it ends with a status instead."""
        task.unit = self._unit(task.command.lun)
        if task.command.task_attribute == _ACA:
            # SAM-5: there is never an ACA condition (NORMACA is 0), so the attribute has no meaning
            task.fail(Sense.of(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_MESSAGE_ERROR))
        else:
            task.status = self._task_sets.refusal(task)
        if task.status is not None:
            task.transfer.fail(DataOutFailure.DATA_SEQUENCE_ERROR)
        elif task.unit is None:
            task.transfer.limit(0)  # it is going to fail
        else:
            task.dormant = dormant
            self._task_sets.enter(task, enabled=not dormant)
        self._session.tasks[task.tag] = task

    def start(self, task: Task) -> None:
        """Its task set lets a dormant task begin."""
        if self._connection.owed > self._connection.most_owed:
            self.ready.append(task)
            return
        task.dormant = False
        self._go_on(task)

    def start_ready(self) -> None:
        """Begin tasks that waited until less was owed."""
        while self.ready and self._connection.owed <= self._connection.most_owed:
            self.start(self.ready.popleft())

    def _settle(self, task: Task) -> None:
        """Ask what the command wants, now that it has begun and its unsolicited data has come."""
        command = task.command
        length = command.expected_data_transfer_length if command.write else 0
        task.wanted_length = self._device_server.data_out_length(
            self._nexus, command.lun, command.whole_cdb, length
        )
        task.transfer.limit(task.wanted_length)
        task.settled = True

    def _refusal(self, pdu: SCSICommand) -> tuple[RejectReason, str] | None:
        """Why this command is rejected, if it is (RFC 7143 section 11.17.1)."""
        tasks, tag = self._session.tasks, pdu.initiator_task_tag
        if tag == RESERVED_TAG:
            return RejectReason.INVALID_PDU_FIELD, "SCSICommand with the reserved task tag"
        if tag in tasks and not tasks[tag].aborted:
            return RejectReason.TASK_IN_PROGRESS, f"task tag {tag:#x} is in use"
        if pdu.task_attribute > _ACA:
            return RejectReason.INVALID_PDU_FIELD, f"reserved task attribute {pdu.task_attribute}"
        if pdu.ahs and any(isinstance(segment, UnknownAHS) for segment in pdu.ahs):
            return RejectReason.INVALID_PDU_FIELD, "SCSICommand with an AHS of unknown type"
        if pdu.immediate and self._immediate_tasks() >= _MAX_IMMEDIATE_TASKS:
            return RejectReason.IMMEDIATE_COMMAND_REJECT, "too many immediate commands"
        return None

    def _immediate_tasks(self) -> int:
        return sum(task.command.immediate and not task.aborted for task in self._session.tasks.values())

    def _ask(self, task: Task) -> None:
        """Send the R2Ts that are due (RFC 7143 section 11.8), as far as there is room for the data."""
        if not (task.transfer.may_ask and self._room.take(task)):
            return
        self._watch(task)
        while burst := task.transfer.next_burst(self._next_tag + 1):
            self._next_tag = (self._next_tag + 1) % (RESERVED_TAG - 1)
            offset, length = burst
            self._connection.send(
                ReadyToTransfer(
                    lun=task.command.lun,
                    initiator_task_tag=task.command.initiator_task_tag,
                    target_transfer_tag=self._next_tag or RESERVED_TAG - 1,
                    r2t_sn=task.r2t_sn,
                    buffer_offset=offset,
                    desired_data_transfer_length=length,
                    **self._connection.numbers_without_status(),
                )
            )
            task.r2t_sn += 1

    def _watch(self, task: Task) -> None:
        """Look after a while whether the data of a task has come."""
        task.since = self._connection.now
        if self._data_out_timeout_s and not self._watching:
            self._watching = True
            self._connection.set_timer(self._look_for_data, task.since + self._data_out_timeout_s)

    def _look_for_data(self) -> None:
        late = [
            each for each in self._session.tasks.values() if each.transfer.awaits_data and not each.aborted
        ]
        self._watching = bool(late)
        if not late:
            return
        due = min(task.since for task in late) + self._data_out_timeout_s
        if due > self._connection.now:
            self._connection.set_timer(self._look_for_data, due)
            return
        message = f"a write without its data for {self._data_out_timeout_s:g} s"
        self._connection.end(message)
        self._session.end(message)

    def receive_data_out(self, pdu: SCSIDataOut) -> None:
        """A Data-Out: the next piece of a write under way."""
        task = self._session.tasks.get(pdu.initiator_task_tag)
        if task is None:
            if not self._session.held.hold_data(pdu, self._session.parameters.first_burst_length):
                message = f"Data-Out for unknown task tag {pdu.initiator_task_tag:#x}"
                self._connection.reject(pdu, RejectReason.INVALID_PDU_FIELD, message)
            return
        if not task.transfer.expects(pdu):
            message = f"Data-Out for unknown transfer tag {pdu.target_transfer_tag:#x}"
            self._connection.reject(pdu, RejectReason.INVALID_PDU_FIELD, message)
            return
        if pdu.target_transfer_tag != RESERVED_TAG and pdu.lun != task.command.lun:
            # RFC 7143 sections 4.2.5.3 and 11.17.1: a LUN qualifying a transfer tag must be the command's
            message = f"Data-Out for LUN {pdu.lun.hex()}, the command is for {task.command.lun.hex()}"
            self._connection.reject(pdu, RejectReason.INVALID_PDU_FIELD, message)
            return
        if task.dormant:
            pdu.data = bytes(pdu.data)  # it may wait long: do not keep the whole segment alive
        task.transfer.receive(pdu)
        task.since = self._connection.now
        self._go_on(task)

    def lose_data_out(self, pdu: SCSIDataOut) -> None:
        """A Data-Out whose data digest was wrong."""
        task = self._session.tasks.get(pdu.initiator_task_tag)
        if task is not None and task.transfer.expects(pdu):
            task.transfer.lose(pdu)
            self._go_on(task)

    def _go_on(self, task: Task) -> None:
        if task.aborted:
            if task.transfer.complete:
                self._bury(task)
            return
        if not task.settled:
            if task.dormant or task.transfer.unsolicited:
                return
            self._settle(task)
        if not task.transfer.complete:
            self._ask(task)
        else:
            del self._session.tasks[task.tag]
            self._execute(task)
            self._room.give_back(task)
            self.use_room()

    def resize_room(self, size: int) -> None:
        """Another share of the room for write data."""
        self._room.resize(size)
        if self.use_room() and self._connection.wake is not None:
            self._connection.wake()

    def use_room(self) -> bool:
        """Ask for the data of writes that have waited for room; whether there were any."""
        found = False
        while (task := self._room.next()) is not None:
            self._ask(task)
            found = True
        return found

    def forget(self, task: Task) -> None:
        """A task was aborted: its place in the window is free, its late data will be swallowed.

        Then call :meth:`use_room`.
        """
        self._give_back(task.command)
        self._stop(task)
        if task.transfer.complete:  # it may be gone: another one of those that are aborted had it buried
            self._session.tasks.pop(task.tag, None)
        aborted = [each for each in self._session.tasks.values() if each.aborted]
        if len(aborted) > self._window.size:  # an initiator need not send that data: do not wait for ever
            self._bury(aborted[0])

    def bury(self, tasks: Iterable[Task]) -> None:
        """The initiator has said that no data of these aborted tasks comes any more."""
        for task in tasks:
            if self._session.tasks.get(task.tag) is task:
                self._bury(task)

    def end(self, task: Task, status: Status, sense: bytes = b"") -> None:
        """Somebody else aborted a task: it ends with ``status`` when its late data has come.

        Under FastAbort that data does not come (RFC 7143 section 4.2.3.4). Then call :meth:`use_room`.
        """
        task.status, task.sense = status, sense
        self._stop(task)
        if task.transfer.complete or not self._session.fast_abort:
            self._go_on(task)
            return
        self._answer(task.command, Completion(status, b"", sense), task.wanted_length)
        task.aborted = True
        self.forget(task)

    def _stop(self, task: Task) -> None:
        self._room.give_back(task)
        self._delayed = [each for each in self._delayed if each[2] is not task]
        heapq.heapify(self._delayed)
        if task in self.ready:
            self.ready.remove(task)
        task.transfer.fail(DataOutFailure.DATA_SEQUENCE_ERROR)
        task.dormant = False

    def drop(self) -> None:
        """The session has ended: keep nothing of its tasks."""
        self._delayed.clear()
        self.ready.clear()
        self._room.clear()
        self._connection.entity.room.leave(self._connection)

    def _bury(self, task: Task) -> None:
        """An aborted task has sent its late data, or is not waited for any longer."""
        del self._session.tasks[task.tag]
        data_ended(self._connection, task)

    def _execute(self, task: Task) -> None:
        if task.status is None:
            self._perform(task.command, task.transfer, task.wanted_length)
        else:
            self._give_back(task.command)
            self._answer(task.command, Completion(task.status, b"", task.sense), task.wanted_length)
        self._task_sets.leave(task, self._connection)

    def _perform(self, command: SCSICommand, transfer: DataOutTransfer, wanted_length: int) -> None:
        """All its data has come: run a command, and answer it."""
        if transfer.failure is not None:
            completion = Completion(Status.CHECK_CONDITION, b"", failure_sense(transfer.failure))
        else:
            offered = command.expected_data_transfer_length if command.write else None
            completion = self._device_server.execute(
                self._nexus, command.lun, command.whole_cdb, transfer.data, offered
            )
            if type(completion) is PreemptAndAbortCompletion:
                abort_preempted(self._connection, command.lun, completion.preempted)
        self._give_back(command)
        self._answer(command, completion, wanted_length)

    def _give_back(self, command: SCSICommand) -> None:
        if not command.immediate:
            self._window.give_back()

    # -- answers -----------------------------------------------------------------------------------

    def _answer(self, pdu: SCSICommand, completion: Completion, wanted_length: int = 0) -> None:
        """Data-In with status in one PDU when it all fits there, anything else by the long way."""
        data = completion.data_in
        length = len(data)
        self._connection.owed += length
        expected = pdu.expected_data_transfer_length
        if (
            0 < length <= self._quick_length
            and length <= expected
            and completion.status == 0
            and pdu.read
            and not pdu.write
            and completion.ready_at is None
        ):
            connection, window = self._connection, self._window
            stat_sn = connection.stat_sn
            header = _pack_data_in(
                _EXACT if length == expected else _UNDERFLOW,
                0,
                length,
                pdu.lun,
                pdu.initiator_task_tag,
                RESERVED_TAG,
                stat_sn,
                window.exp_cmd_sn,
                window.max_cmd_sn,
                0,
                0,
                expected - length,
            )
            connection._out += (header, data, PADS[length & 3]) if length & 3 else (header, data)
            connection.stat_sn = (stat_sn + 1) & SERIAL_MASK
        elif completion.ready_at is None:
            self._responder.answer(pdu, completion, wanted_length)
        else:
            self._delay(pdu, completion, wanted_length)

    # -- stores that must wait ---------------------------------------------------------------------

    def _delay(self, pdu: SCSICommand, completion: Completion, wanted_length: int) -> None:
        """Keep an answer until it is ready; until then the command is a task with a place in the window."""
        assert completion.ready_at is not None
        if not pdu.immediate:
            self._window.take_back()
        nothing = DataOutTransfer(0, 0, self._session.parameters)
        task = self._session.tasks[pdu.initiator_task_tag] = Task(
            pdu, nothing, self._connection, wanted_length
        )
        task.unit = self._unit(pdu.lun)
        self._task_sets.enter(task, enabled=True)
        self._delayed_count += 1
        heapq.heappush(self._delayed, (completion.ready_at, self._delayed_count, task, completion))
        self._connection.set_timer(self._release_delayed, self._delayed[0][0])

    def hasten(self, completion: Completion, at: float) -> None:
        """Send an answer at another time than its own: a store that nobody knew the end of goes on."""
        self._delayed = [(at if each[3] is completion else each[0], *each[1:]) for each in self._delayed]
        heapq.heapify(self._delayed)
        if self._delayed:
            self._connection.set_timer(self._release_delayed, self._delayed[0][0])

    def _release_delayed(self) -> None:
        while self._delayed and self._delayed[0][0] <= self._connection.now:
            _, _, task, completion = heapq.heappop(self._delayed)
            del self._session.tasks[task.tag]
            self._give_back(task.command)
            self._responder.answer(task.command, completion, task.wanted_length)
            self._task_sets.leave(task, self._connection)
        if self._delayed:
            self._connection.set_timer(self._release_delayed, self._delayed[0][0])
