"""Task management functions (RFC 7143 sections 11.5 and 11.6): one table, one handler each.

Commands complete within their own PDU unless their data is still coming or their store makes them wait,
so a function finds few tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iscsim.pdu import (
    RejectReason,
    SCSICommand,
    TaskManagementFunction,
    TaskManagementRequest,
    TaskManagementResponse,
    TaskManagementResponseCode,
)
from iscsim.scsi.task_management import TaskManagement
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.session.numbering import serial_add, serial_less
from iscsim.target.abort import abort, clear, tasks_of_unit, tasks_on, unit_of
from iscsim.target.rejection import RequestRejected

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.scsi.nexus import ITNexus
    from iscsim.target.connection import TargetConnection
    from iscsim.target.node import NetworkEntity
    from iscsim.target.session import TargetSession
    from iscsim.target.task import Task

Code = TaskManagementResponseCode
Handler = Callable[["TargetConnection", TaskManagementRequest], Code]

_MAX_WAITING = 8
"""Immediate functions that may wait for the commands before them."""


@dataclass(slots=True, eq=False)
class Fence:
    """A response that must not go out before the data of the tasks it ended has come."""

    request: TaskManagementRequest
    code: Code
    tasks: set[Task]


@dataclass(frozen=True, slots=True)
class _Function:
    """One row of the table.

    ``after_commands``: every command before it must have come (RFC 7143 section 4.2.3.3).
    ``after_data``: the data asked for by R2Ts must have come too, unless FastAbort was negotiated. RFC 7143
    section 4.2.3.3 wants that of every function that ends several tasks; here only the two wait that
    section 11.5.1 names, because initiators do not send that data after a reset, and would wait for the
    response for ever.
    """

    handler: Handler
    after_commands: bool = False
    after_data: bool = False


def manage(connection: TargetConnection, pdu: TaskManagementRequest) -> None:
    """Carry out a function and answer it, now or when what it must wait for has come.

    Raises:
        RequestRejected: too many functions wait already.
    """
    function = _FUNCTIONS.get(pdu.function)
    if function is None:
        _respond(connection, pdu, Code.FUNCTION_NOT_SUPPORTED)
    elif function.after_commands and connection.is_ahead(pdu):
        if connection.session.held.waiting_functions >= _MAX_WAITING:
            raise RequestRejected(RejectReason.IMMEDIATE_COMMAND_REJECT, "too many task management functions")
        connection.session.held.wait(pdu)
    else:
        tasks = connection.session.tasks
        before = [task for task in tasks.values() if not task.aborted]
        code = function.handler(connection, pdu)
        late = {task for task in before if task.aborted and tasks.get(task.tag) is task}
        if function.after_data and late and not connection.session.fast_abort:
            connection.session.fences.append(Fence(pdu, code, late))
        else:
            _respond(connection, pdu, code)
            connection.end_node_if_asked()


def data_ended(connection: TargetConnection, task: Task) -> None:
    """The late data of an aborted task has come: answer the functions that waited for it."""
    fences = connection.session.fences
    for fence in list(fences):
        fence.tasks.discard(task)
        if not fence.tasks:
            fences.remove(fence)
            _respond(connection, fence.request, fence.code)


def _respond(connection: TargetConnection, pdu: TaskManagementRequest, code: Code) -> None:
    numbers = connection.numbers()
    connection.send(
        TaskManagementResponse(response=code, initiator_task_tag=pdu.initiator_task_tag, **numbers)
    )


def abort_tasks_of(
    entity: NetworkEntity, unit: LogicalUnit, nexuses: Collection[ITNexus], by: TargetConnection
) -> None:
    """Abort what ``nexuses`` have open on ``unit``, for ``by``.

    Tasks of other nexuses than that of ``by`` end with TASK ABORTED if TAS says so; else those nexuses hear
    2F/00 (SAM-5).
    """
    sessions = [session for session in entity.sessions if session.nexus in nexuses]
    clear((task for session in sessions for task in tasks_on(session, unit)), by)


def abort_preempted(connection: TargetConnection, lun: bytes, nexuses: Collection[ITNexus]) -> None:
    """Abort the tasks that ``nexuses`` have on the unit ``connection`` sees under ``lun``.

    SPC-4, PERSISTENT RESERVE OUT with the PREEMPT AND ABORT service action: before it is answered.
    """
    unit = unit_of(connection, lun)
    if unit is not None and nexuses:
        abort_tasks_of(connection.entity, unit, nexuses, connection)


def _abort_task(connection: TargetConnection, pdu: TaskManagementRequest) -> Code:
    session = connection.session
    if _is_function(connection, pdu.referenced_task_tag):
        return Code.FUNCTION_REJECTED
    task = session.tasks.get(pdu.referenced_task_tag)
    if task is not None and not task.aborted:
        if task.command.lun != pdu.lun and (
            task.unit is None or task.unit is not unit_of(connection, pdu.lun)
        ):
            return Code.TASK_DOES_NOT_EXIST
        abort([task], connection)
        return Code.FUNCTION_COMPLETE
    held = session.held.cmd_sn_of(pdu.referenced_task_tag)
    if held is not None:
        return _plug(connection, held)
    # RFC 7143 section 11.6.1: a command that never came is taken as received if its CmdSN is one the
    # target still waits for and precedes this request
    if connection.may_come(pdu.ref_cmd_sn) and serial_less(pdu.ref_cmd_sn, pdu.cmd_sn):
        return _plug(connection, pdu.ref_cmd_sn)
    return Code.TASK_DOES_NOT_EXIST if unit_of(connection, pdu.lun) is not None else Code.LUN_DOES_NOT_EXIST


def _is_function(connection: TargetConnection, initiator_task_tag: int) -> bool:
    """Whether the tag is that of a task management function under way: none may be aborted.

    RFC 7143 sections 4.2.2.1 and 11.5.1.
    """
    session = connection.session
    answering = (fence.request.initiator_task_tag for fence in session.fences)
    return session.held.has_function(initiator_task_tag) or initiator_task_tag in answering


def _plug(connection: TargetConnection, cmd_sn: int) -> Code:
    """Take a CmdSN as received without doing anything for it."""
    connection.session.held.plug(cmd_sn)
    connection.release_held()
    return Code.FUNCTION_COMPLETE


def _plug_all_before(connection: TargetConnection, pdu: TaskManagementRequest) -> None:
    """RFC 7143 section 4.2.3.3: what has not come when a target is reset is taken as received."""
    if connection.is_ahead(pdu):
        cmd_sn = connection.session.window.exp_cmd_sn
        while cmd_sn != pdu.cmd_sn:
            connection.session.held.plug(cmd_sn)
            cmd_sn = serial_add(cmd_sn, 1)
        connection.release_held()


def _abort_task_set(connection: TargetConnection, pdu: TaskManagementRequest) -> Code:
    unit = unit_of(connection, pdu.lun)
    if unit is None:
        return Code.LUN_DOES_NOT_EXIST
    abort(tasks_on(connection.session, unit), connection)
    return Code.FUNCTION_COMPLETE


def _clear_task_set(connection: TargetConnection, pdu: TaskManagementRequest) -> Code:
    unit = unit_of(connection, pdu.lun)
    if unit is None:
        return Code.LUN_DOES_NOT_EXIST
    clear(tasks_of_unit(connection, unit), connection)
    return Code.FUNCTION_COMPLETE


def _logical_unit_reset(connection: TargetConnection, pdu: TaskManagementRequest) -> Code:
    unit = unit_of(connection, pdu.lun)
    if unit is None:
        return Code.LUN_DOES_NOT_EXIST
    abort(tasks_of_unit(connection, unit), connection)
    assert connection.session.nexus is not None
    connection.entity.device_server.logical_unit_reset(connection.session.nexus, pdu.lun)
    return Code.FUNCTION_COMPLETE


def _target_warm_reset(
    connection: TargetConnection,
    pdu: TaskManagementRequest,
    attention: UnitAttention = UnitAttention.BUS_DEVICE_RESET,
) -> Code:
    _plug_all_before(connection, pdu)
    nexus = connection.session.nexus
    assert nexus is not None
    units = {mapped.logical_unit: None for mapped in nexus.lun_map}
    for session in connection.entity.sessions:
        if session is not connection.session:
            _discard_held(session, units)
    abort([task for unit in units for task in tasks_of_unit(connection, unit)], connection)
    connection.entity.device_server.target_reset(nexus, attention)
    return Code.FUNCTION_COMPLETE


def _discard_held(session: TargetSession, units: Collection[LogicalUnit]) -> None:
    """Commands that wait for their turn do not survive a target reset (RFC 7143 Appendix E)."""
    for place in session.held.values():
        request = place.request
        if isinstance(request, SCSICommand) and session.nexus is not None:
            mapped = session.nexus.lun_map.lookup(request.lun)
            if mapped is not None and mapped.logical_unit in units:
                place.plug()


def _target_cold_reset(connection: TargetConnection, pdu: TaskManagementRequest) -> Code:
    """As a warm reset, but like switching on; then every TCP connection of the target closes.

    RFC 7143 sections 11.5.1 and 11.6.1.
    """
    code = _target_warm_reset(connection, pdu, UnitAttention.POWER_ON)
    connection.end_node_after_answer("target cold reset")
    return code


def _task_reassign(connection: TargetConnection, pdu: TaskManagementRequest) -> Code:
    """RFC 7143 section 11.6.1: reassignment needs ErrorRecoveryLevel 2."""
    if _is_function(connection, pdu.referenced_task_tag):
        return Code.FUNCTION_REJECTED
    return Code.TASK_ALLEGIANCE_REASSIGNMENT_NOT_SUPPORTED


_FUNCTIONS: dict[int, _Function] = {
    TaskManagementFunction.ABORT_TASK: _Function(_abort_task),
    TaskManagementFunction.ABORT_TASK_SET: _Function(_abort_task_set, after_commands=True, after_data=True),
    TaskManagementFunction.CLEAR_TASK_SET: _Function(_clear_task_set, after_commands=True, after_data=True),
    TaskManagementFunction.LOGICAL_UNIT_RESET: _Function(_logical_unit_reset, after_commands=True),
    TaskManagementFunction.TARGET_WARM_RESET: _Function(_target_warm_reset),
    TaskManagementFunction.TARGET_COLD_RESET: _Function(_target_cold_reset),
    TaskManagementFunction.TASK_REASSIGN: _Function(_task_reassign),
}

_SCSI_NAMES = {
    TaskManagementFunction.ABORT_TASK: TaskManagement.ABORT_TASK,
    TaskManagementFunction.ABORT_TASK_SET: TaskManagement.ABORT_TASK_SET,
    TaskManagementFunction.CLEAR_ACA: TaskManagement.CLEAR_ACA,
    TaskManagementFunction.CLEAR_TASK_SET: TaskManagement.CLEAR_TASK_SET,
    TaskManagementFunction.LOGICAL_UNIT_RESET: TaskManagement.LOGICAL_UNIT_RESET,
    TaskManagementFunction.TARGET_WARM_RESET: TaskManagement.TARGET_RESET,
}
SUPPORTED = TaskManagement(sum(name for function, name in _SCSI_NAMES.items() if function in _FUNCTIONS))
"""What of the table SCSI has a name for: REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS tells it."""
