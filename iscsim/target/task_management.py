"""Task management functions (RFC 7143 sections 11.5 and 11.6): one table, one handler each.

Commands complete within their own PDU unless their data is still coming, so a function finds few tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from iscsim.pdu import (
    SCSICommand,
    TaskManagementFunction,
    TaskManagementRequest,
    TaskManagementResponse,
    TaskManagementResponseCode,
)
from iscsim.session.numbering import serial_less

if TYPE_CHECKING:
    from iscsim.target.connection import TargetConnection
    from iscsim.target.task import Task

Code = TaskManagementResponseCode


def manage(connection: TargetConnection, pdu: TaskManagementRequest) -> TaskManagementResponse:
    """Carry out a function and make its response."""
    handler = _FUNCTIONS.get(pdu.function)
    response = handler(connection, pdu) if handler else Code.FUNCTION_NOT_SUPPORTED
    return TaskManagementResponse(
        response=response, initiator_task_tag=pdu.initiator_task_tag, **connection.numbers()
    )


def _abort(tasks: Iterable[Task]) -> None:
    """End tasks without a response; their late data is swallowed."""
    for task in tasks:
        if not task.aborted:
            task.aborted = True
            task.connection.commands.forget(task)


def _abort_task(connection: TargetConnection, pdu: TaskManagementRequest) -> Code:
    session = connection.session
    task = session.tasks.get(pdu.referenced_task_tag)
    if task is not None and not task.aborted:
        if task.command.lun != pdu.lun:
            return Code.TASK_DOES_NOT_EXIST
        _abort([task])
        return Code.FUNCTION_COMPLETE
    for cmd_sn, held in session.held.items():
        command = held[0]
        if isinstance(command, SCSICommand) and command.initiator_task_tag == pdu.referenced_task_tag:
            return _plug(connection, cmd_sn)
    # RFC 7143 section 11.6.1: a command that never came is taken as received if its CmdSN is one the
    # target still waits for and precedes this request
    if session.window.holds(pdu.ref_cmd_sn) and serial_less(pdu.ref_cmd_sn, pdu.cmd_sn):
        return _plug(connection, pdu.ref_cmd_sn)
    return Code.TASK_DOES_NOT_EXIST


def _plug(connection: TargetConnection, cmd_sn: int) -> Code:
    """Take a CmdSN as received without doing anything for it."""
    connection.session.held[cmd_sn] = []
    connection.release_held()
    return Code.FUNCTION_COMPLETE


def _abort_task_set(connection: TargetConnection, pdu: TaskManagementRequest) -> Code:
    if not _lun_exists(connection, pdu):
        return Code.LUN_DOES_NOT_EXIST
    _abort(task for task in list(connection.session.tasks.values()) if task.command.lun == pdu.lun)
    return Code.FUNCTION_COMPLETE


def _tasks_of_unit(connection: TargetConnection, lun: bytes) -> list[Task]:
    """The tasks of every nexus on the logical unit behind ``lun`` of this one."""
    nexus = connection.session.nexus
    assert nexus is not None
    unit = nexus.lun_map.lookup(lun)
    return [
        task
        for session in connection.entity.sessions
        for task in list(session.tasks.values())
        if session.nexus is not None
        and unit is not None
        and (other := session.nexus.lun_map.lookup(task.command.lun)) is not None
        and other.logical_unit is unit.logical_unit
    ]


def _lun_exists(connection: TargetConnection, pdu: TaskManagementRequest) -> bool:
    nexus = connection.session.nexus
    return nexus is not None and nexus.lun_map.lookup(pdu.lun) is not None


def _clear_task_set(connection: TargetConnection, pdu: TaskManagementRequest) -> Code:
    if not _lun_exists(connection, pdu):
        return Code.LUN_DOES_NOT_EXIST
    _abort(_tasks_of_unit(connection, pdu.lun))
    return Code.FUNCTION_COMPLETE


def _logical_unit_reset(connection: TargetConnection, pdu: TaskManagementRequest) -> Code:
    if not _lun_exists(connection, pdu):
        return Code.LUN_DOES_NOT_EXIST
    _abort(_tasks_of_unit(connection, pdu.lun))
    assert connection.session.nexus is not None
    connection.entity.device_server.logical_unit_reset(connection.session.nexus, pdu.lun)
    return Code.FUNCTION_COMPLETE


def _target_warm_reset(connection: TargetConnection, pdu: TaskManagementRequest) -> Code:
    node, nexus = connection.session.node, connection.session.nexus
    assert node is not None
    assert nexus is not None
    for session in node.sessions:
        _abort(list(session.tasks.values()))
    connection.entity.device_server.target_reset(nexus)
    return Code.FUNCTION_COMPLETE


def _target_cold_reset(connection: TargetConnection, pdu: TaskManagementRequest) -> Code:
    """As a warm reset; then every TCP connection of the target closes (RFC 7143 section 11.5.1)."""
    code = _target_warm_reset(connection, pdu)
    connection.end_node_after_answer("target cold reset")
    return code


_FUNCTIONS: dict[int, Callable[[TargetConnection, TaskManagementRequest], Code]] = {
    TaskManagementFunction.ABORT_TASK: _abort_task,
    TaskManagementFunction.ABORT_TASK_SET: _abort_task_set,
    TaskManagementFunction.CLEAR_TASK_SET: _clear_task_set,
    TaskManagementFunction.LOGICAL_UNIT_RESET: _logical_unit_reset,
    TaskManagementFunction.TARGET_WARM_RESET: _target_warm_reset,
    TaskManagementFunction.TARGET_COLD_RESET: _target_cold_reset,
    # RFC 7143 section 11.6.1: reassignment needs ErrorRecoveryLevel 2
    TaskManagementFunction.TASK_REASSIGN: lambda connection, pdu: (
        Code.TASK_ALLEGIANCE_REASSIGNMENT_NOT_SUPPORTED
    ),
}
