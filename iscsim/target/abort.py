"""Ending tasks before their time: which, with or without a status, and who is told.

SAM-5, "Aborting commands"; RFC 7143 section 4.2.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from iscsim.pdu import AsyncEvent, AsyncMessage, NOPOut
from iscsim.scsi.asc import ASC
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.session.connection import Phase
from iscsim.session.numbering import serial_less

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.target.connection import TargetConnection
    from iscsim.target.session import TargetSession
    from iscsim.target.task import Task

_QERR_ALL, _QERR_NEXUS = 1, 3


def unit_of(connection: TargetConnection, lun: bytes) -> LogicalUnit | None:
    """The unit that the nexus of ``connection`` sees under ``lun``."""
    nexus = connection.session.nexus
    mapped = nexus.lun_map.lookup(lun) if nexus is not None else None
    return mapped.logical_unit if mapped is not None else None


def tasks_of_unit(connection: TargetConnection, unit: LogicalUnit) -> list[Task]:
    """The tasks of every nexus on a logical unit."""
    return [task for session in connection.entity.sessions for task in tasks_on(session, unit)]


def tasks_on(session: TargetSession, unit: LogicalUnit) -> list[Task]:
    """The tasks of one nexus on a logical unit."""
    return [task for task in session.tasks.values() if task.unit is unit]


def abort(tasks: Iterable[Task], by: TargetConnection) -> None:
    """End tasks without a response; their late data is swallowed.

    Those of other nexuses end with TASK ABORTED instead where the TAS bit of the Control mode page asks for
    it (SAM-5, "Aborting commands"). Tasks that waited for these ones begin.
    """
    ended = [task for task in tasks if not task.aborted]
    told = [task for task in ended if _is_told(task, by)]
    silent = [task for task in ended if not _is_told(task, by)]
    units = by.entity.task_sets.remove(ended)
    for task in silent:
        task.aborted = True
    for task in silent:
        task.connection.commands.forget(task)
    for task in told:
        if task.status is None:
            task.connection.commands.end(task, Status.TASK_ABORTED)
    _announce(ended, by)
    by.entity.task_sets.release(units, by)
    for connection in dict.fromkeys(task.connection for task in ended):
        connection.commands.use_room()
        if connection is not by and connection.wake is not None:
            connection.wake()


def end_unmapped(sessions: Iterable[TargetSession], unit: LogicalUnit) -> None:
    """``sessions`` do not see ``unit`` any more: their commands to it end with 05/25/00.

    None of them may end up on another unit under that LUN.
    """
    sense = Sense.of(SenseKey.ILLEGAL_REQUEST, ASC.LOGICAL_UNIT_NOT_SUPPORTED).encode()
    for session in sessions:
        ended = [task for task in tasks_on(session, unit) if not task.aborted and task.status is None]
        units = session.entity.task_sets.remove(ended)
        for task in ended:
            task.connection.commands.end(task, Status.CHECK_CONDITION, sense)
        session.entity.task_sets.release(units)
        for connection in dict.fromkeys(task.connection for task in ended):
            connection.commands.use_room()
            if connection.wake is not None:
                connection.wake()


def _announce(ended: Iterable[Task], by: TargetConnection) -> None:
    """Tell other sessions with FastAbort that tasks of theirs end (RFC 7143 section 4.2.3.4, step d)."""
    told: dict[tuple[TargetConnection, bytes], list[Task]] = {}
    for task in ended:
        session = task.connection.session
        if session is not by.session and session.fast_abort and not task.connection.closing:
            told.setdefault((task.connection, task.command.lun), []).append(task)
    for (connection, lun), tasks in told.items():
        terminations = connection.session.terminations
        for stat_sn in [number for number, gone in terminations.items() if not _live(gone)]:
            del terminations[stat_sn]  # what is kept is bounded as the aborted tasks are
        terminations[connection.stat_sn] = tasks
        numbers = connection.numbers()
        connection.send(AsyncMessage(lun=lun, async_event=AsyncEvent.ALL_TASKS_TERMINATED, **numbers))


def _live(tasks: Iterable[Task]) -> bool:
    return any(task.connection.session.tasks.get(task.tag) is task for task in tasks)


def acknowledged(connection: TargetConnection, pdu: NOPOut) -> None:
    """A NOP-Out acknowledges what was announced: no data of those tasks comes any more (RFC 7143 11.9.1)."""
    if connection.phase is not Phase.FULL_FEATURE:
        return
    terminations = connection.session.terminations
    for stat_sn in [number for number in terminations if serial_less(number, pdu.exp_stat_sn)]:
        tasks = terminations[stat_sn]
        if tasks[0].command.lun == pdu.lun:
            connection.commands.bury(tasks)
            del terminations[stat_sn]


def _is_told(task: Task, by: TargetConnection) -> bool:
    """Whether a task that ``by`` aborts ends with a status (TAS)."""
    unit = task.unit
    return task.connection.session is not by.session and unit is not None and unit.task_aborted_status


def clear(tasks: Iterable[Task], by: TargetConnection) -> None:
    """Abort tasks of any nexus; who loses some without a status hears so instead (2F/00, SAM-5)."""
    tasks = list(tasks)
    for task in tasks:
        nexus = task.connection.session.nexus
        if task.aborted or task.connection.session is by.session or _is_told(task, by):
            continue
        if nexus is not None and task.unit is not None:
            nexus.establish(task.unit, UnitAttention.COMMANDS_CLEARED)
    abort(tasks, by)


def check_condition_sent(connection: TargetConnection, lun: bytes) -> None:
    """Obey QERR of the Control mode page (SPC-4): 01b aborts all tasks of the unit, 11b the nexus' own."""
    unit = unit_of(connection, lun)
    if unit is None or unit.queue_error_management not in (_QERR_ALL, _QERR_NEXUS):
        return
    if unit.queue_error_management == _QERR_ALL:
        clear(tasks_of_unit(connection, unit), connection)
    else:
        abort(tasks_on(connection.session, unit), connection)
