"""What must hold whatever went wrong: judged at the end of a lab, or whenever it is asked.

A fault that fired excuses what it befell: connections, or logical units, and everybody where nobody can say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from iscsim.faults.faulty_store import FaultyStore
from iscsim.faults.write_model import ModelledStore
from iscsim.session.events import ConnectionEnded, PDURejected
from iscsim.session.names import format_portal

if TYPE_CHECKING:
    from iscsim.initiator.session import Session
    from iscsim.net.network import Address
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.target.connection import TargetConnection
    from iscsim.target.session import TargetSession

__all__ = ["BrokenInvariant", "Excuses", "Oracles", "model_writes"]

_NOBODY = ("", "0.0.0.0:0")
_OF_DATA = ("disk.", "lun.")
_MOST_ERRORS = 100


class BrokenInvariant(AssertionError):
    """Something happened that no fault explains; the message has a line for each."""


class Excuses:
    """What the faults that fired have befallen, as far as the trace says it."""

    def __init__(self) -> None:
        self._portals: set[str] = set()
        self._pairs: set[tuple[str, str]] = set()
        self._units: set[str] = set()
        self._everybody = self._every_unit = False

    def learn(self, entry: dict[str, Any]) -> None:
        """Look at a line of the trace."""
        if entry["event"] != "fault" or not entry["fired"]:
            return
        portal, peer = entry.get("portal", ""), entry.get("initiator_address", "")
        if entry.get("operation"):
            self._units.add(entry["unit"])
        elif entry["rule"].startswith(_OF_DATA) or not portal:
            self._every_unit = True
        if not portal:
            self._everybody = True
        elif peer in _NOBODY:
            self._portals.add(portal)
        else:
            self._pairs.add((portal, peer))

    def connection(self, portal: str, peer: str) -> bool:
        """Whether a fault befell the connection of ``peer`` to ``portal``."""
        return self._everybody or portal in self._portals or (portal, peer) in self._pairs

    def unit(self, wwn: str) -> bool:
        """Whether a fault may have changed what is on the unit."""
        return self._every_unit or wwn in self._units


class Oracles:
    """Gathers what went wrong without a fault. ``expected`` are texts of errors that somebody wants."""

    def __init__(self) -> None:
        self.excuses = Excuses()
        self.expected: list[str] = []
        self._errors: list[tuple[str, str, str]] = []
        self._sessions: list[tuple[str, Session]] = []

    def target_event(self, connection: TargetConnection, peer: Address, event: object) -> None:
        """A listener of `TargetServer`."""
        match event:
            case ConnectionEnded(message) | PDURejected(_, message) if message:
                self._note(_portal_of(connection), format_portal(*peer), message)

    def watch(self, host: str, session: Session) -> None:
        """Judge a session of one of our hosts."""
        self._sessions.append((host, session))

    @property
    def errors(self) -> int:
        """How many errors the targets have told of so far."""
        return len(self._errors)

    def forgive_since(self, count: int) -> None:
        """Errors after the first ``count`` were wanted."""
        del self._errors[count:]

    def _note(self, portal: str, peer: str, message: str) -> None:
        if len(self._errors) < _MOST_ERRORS:
            self._errors.append((portal, peer, message))

    def problems(self, sessions: Iterable[TargetSession], units: Iterable[LogicalUnit] = ()) -> list[str]:
        """A line for everything that is wrong now; ``sessions`` are those the targets have."""
        return [
            *self._unanswered(),
            *self._left_behind(),
            *self._kept(sessions),
            *self._unexpected(),
            *self._corrupt(units),
        ]

    def _unanswered(self) -> list[str]:
        """Tasks of sessions that have ended, or been forgotten, must have an answer."""
        found = []
        for host, session in self._sessions:
            count = session.unanswered
            if count:
                tasks = "a task" if count == 1 else f"{count} tasks"
                found.append(f"{tasks} of {host} without an answer: {session!r}")
        return found

    def _left_behind(self) -> list[str]:
        return [
            f"{host} left a session behind: {session!r}"
            for host, session in self._sessions
            if session.is_open
        ]

    def _kept(self, sessions: Iterable[TargetSession]) -> list[str]:
        """Sessions only the target still has, where no fault kept it from hearing of their end."""
        if any(session.is_open for _, session in self._sessions):
            return []
        found = []
        for session in sessions:
            peers = [connection for connection in session.connections.values()]
            portals = {_portal_of(connection) for connection in peers}
            # without a connection it is at its end, and only Time2Retain keeps it
            if portals and not any(self._befallen(portal) for portal in portals):
                found.append(
                    f"a session of {session.initiator_name} is still there at {', '.join(sorted(portals))}"
                )
        return found

    def _befallen(self, portal: str) -> bool:
        excuses = self.excuses
        return excuses.connection(portal, "") or any(each[0] == portal for each in excuses._pairs)

    def _unexpected(self) -> list[str]:
        return [
            f"{portal}, peer {peer}: {message}"
            for portal, peer, message in self._errors
            if not self.excuses.connection(portal, peer)
            and not any(text in message for text in self.expected)
        ]

    def _corrupt(self, units: Iterable[LogicalUnit]) -> list[str]:
        found = []
        for unit in units:
            store = unit.store
            if isinstance(store, ModelledStore) and not self.excuses.unit(unit.wwn):
                differences = store.model.differences(_reader_of(store))
                found += [f"LUN with WWN {unit.wwn}: {difference}" for difference in differences[:4]]
        return found


def model_writes(unit: LogicalUnit) -> None:
    """Have a model remember what is written to ``unit`` from now on."""
    if not isinstance(unit.store, ModelledStore):
        unit.use_store(ModelledStore(unit.store))


def _reader_of(store: ModelledStore) -> Callable[[int, int], Any]:
    """What reads beneath the faults."""
    inner = store.inner
    while isinstance(inner, FaultyStore):
        inner = inner.inner
    return inner.read


def _portal_of(connection: TargetConnection) -> str:
    return format_portal(connection.local_address, connection.portal.port)
