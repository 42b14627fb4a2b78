"""Task sets (SAM-5): which of the open commands of a logical unit may run, and how many there may be.

Most commands end within their own PDU and never enter a task set. One enters when it stays open: its data
is still coming, its store makes it wait, or its task attribute or that of another keeps it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from iscsim.pdu import TaskAttribute
from iscsim.scsi.status import Status

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.target.connection import TargetConnection
    from iscsim.target.policy import TargetPolicy
    from iscsim.target.room import SharedRoom
    from iscsim.target.session import TargetSession
    from iscsim.target.task import Task

_RESTRICTING = frozenset({TaskAttribute.ORDERED, TaskAttribute.HEAD_OF_QUEUE})


class TaskSet:
    """The open commands of all nexuses on one logical unit (SAM-5, TST 000b of the Control mode page).

    A task is enabled, or dormant until those it has to follow have ended. HEAD OF QUEUE is enabled at once
    and goes before all that are dormant; ORDERED follows every older one; SIMPLE follows every older ORDERED
    one and every HEAD OF QUEUE. So the dormant ones begin in the order they came in.
    """

    __slots__ = ("_counts", "_dormant", "_enabled", "_restricting", "releasing")

    def __init__(self) -> None:
        self._enabled: dict[Task, None] = {}
        self._dormant: dict[Task, None] = {}  # in the order of arrival, as all these
        self._restricting = 0  # enabled ones that keep newer ones back
        self._counts: dict[TargetSession, int] = {}
        self.releasing = False

    def __len__(self) -> int:
        return len(self._enabled) + len(self._dormant)

    def count(self, session: TargetSession) -> int:
        """How many tasks of one nexus there are."""
        return self._counts.get(session, 0)

    @property
    def restricted(self) -> bool:
        """Whether even a SIMPLE command has to wait."""
        return bool(self._dormant or self._restricting)

    def holds_back(self, attribute: int) -> bool:
        """Whether a command of that attribute has to wait when it comes now."""
        if attribute >= TaskAttribute.HEAD_OF_QUEUE:  # ACA is refused, not queued
            return False
        return self.restricted or (attribute == TaskAttribute.ORDERED and bool(self._enabled))

    def enter(self, task: Task, *, enabled: bool) -> None:
        """Take in a task, enabled or dormant."""
        session = task.connection.session
        self._counts[session] = self.count(session) + 1
        if enabled:
            self._enable(task)
        else:
            self._dormant[task] = None

    def leave(self, task: Task) -> None:
        """A task has ended."""
        if task in self._enabled:
            del self._enabled[task]
            self._restricting -= task.command.task_attribute in _RESTRICTING
        else:
            del self._dormant[task]
        session = task.connection.session
        self._counts[session] -= 1
        if not self._counts[session]:
            del self._counts[session]

    def next(self) -> Task | None:
        """The oldest dormant task if it may begin now: then it is enabled."""
        task = next(iter(self._dormant), None)
        if task is None or self._restricting:
            return None
        if task.command.task_attribute == TaskAttribute.ORDERED and self._enabled:
            return None
        del self._dormant[task]
        self._enable(task)
        return task

    def _enable(self, task: Task) -> None:
        self._enabled[task] = None
        self._restricting += task.command.task_attribute in _RESTRICTING


class TaskSets:
    """The task sets of a network entity, by logical unit; an empty one is not kept.

    ``restricted`` holds the units whose task set keeps SIMPLE commands back: its truth is all that the quick
    path looks at.
    """

    def __init__(self, policy: TargetPolicy, room: SharedRoom) -> None:
        self._policy = policy
        self._room = room
        self._sets: dict[LogicalUnit, TaskSet] = {}
        self.restricted: dict[LogicalUnit, None] = {}

    def __len__(self) -> int:
        return len(self._sets)

    def count(self, unit: LogicalUnit) -> int:
        """How many commands of a unit are in its task set."""
        tasks = self._sets.get(unit)
        return 0 if tasks is None else len(tasks)

    def holds_back(self, unit: LogicalUnit | None, attribute: int) -> bool:
        """Whether a command of that attribute to that unit has to wait when it comes now."""
        tasks = self._sets.get(unit) if unit is not None else None
        return tasks is not None and tasks.holds_back(attribute)

    def refusal(self, task: Task) -> Status | None:
        """The status of a task for which there is no place: TASK SET FULL, or BUSY for who has none yet.

        SAM-5, "Status codes".
        """
        tasks = self._sets.get(task.unit) if task.unit is not None else None
        session = task.connection.session
        count = tasks.count(session) if tasks is not None else 0
        full = tasks is not None and (
            len(tasks) >= self._policy.task_set_size or count >= self._policy.nexus_task_set_size
        )
        kept = session.kept_length
        if not full and not (kept and kept + task.kept_length > self._room.unsolicited_share):
            return None
        return Status.TASK_SET_FULL if count else Status.BUSY

    def enter(self, task: Task, *, enabled: bool) -> None:
        """Take a task into the set of its unit; one that is for no unit has none."""
        if task.unit is not None:
            self._sets.setdefault(task.unit, TaskSet()).enter(task, enabled=enabled)
            task.in_task_set = True
            task.connection.session.kept_length += task.kept_length
            self._update(task.unit)

    def leave(self, task: Task, by: TargetConnection) -> None:
        """A task has ended on the connection ``by``: what waited for it begins."""
        if task.in_task_set:
            self.release(self.remove([task]), by)

    def remove(self, tasks: Iterable[Task]) -> Iterable[LogicalUnit]:
        """Take tasks out; then call :meth:`release` for the units returned."""
        units: dict[LogicalUnit, None] = {}
        for task in tasks:
            if task.in_task_set and task.unit is not None:
                task.in_task_set = False
                task.connection.session.kept_length -= task.kept_length
                self._sets[task.unit].leave(task)
                units[task.unit] = None
        return units

    def release(self, units: Iterable[LogicalUnit], by: TargetConnection | None = None) -> None:
        """Begin what may begin now.

        The connection that is at work, ``by``, sends what it has by itself; others are woken.
        """
        for unit in units:
            self._release(unit, by)

    def _release(self, unit: LogicalUnit, by: TargetConnection | None) -> None:
        """What begins and ends at once lets more begin, in this same loop."""
        tasks = self._sets.get(unit)
        if tasks is None or tasks.releasing:
            return
        tasks.releasing = True
        started: dict[TargetConnection, None] = {}
        while (task := tasks.next()) is not None:
            self._update(unit)
            task.connection.commands.start(task)
            started[task.connection] = None
        tasks.releasing = False
        self._update(unit)
        for connection in started:
            if connection is not by and connection.wake is not None:
                connection.wake()

    def _update(self, unit: LogicalUnit) -> None:
        tasks = self._sets[unit]
        if tasks.restricted:
            self.restricted[unit] = None
        else:
            self.restricted.pop(unit, None)
        if not len(tasks) and not tasks.releasing:
            del self._sets[unit]
