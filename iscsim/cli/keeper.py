"""The process that keeps sessions between commands: the first login starts it, the last logout ends it.

It answers JSON-RPC on a socket in :func:`iscsim.cli.runtime.runtime_directory`. Run as
``python -m iscsim.cli.keeper``; :mod:`iscsim.cli.keeper_client` does so when none is there.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from iscsim.cli.runtime import NOT_ATTACHED
from iscsim.cli.units import unit_row
from iscsim.errors import ConnectionFailed, ISCSIError, SessionFailed
from iscsim.net.rpc import RPCServer
from iscsim.openstack.attach import AttachedVolume, NoPathWorks, attach, path_row
from iscsim.openstack.connection_info import ConnectionInfo, PathSpec, parse_connection_info

if TYPE_CHECKING:
    from iscsim.initiator.session import Session

_IDLE_S = 2.0
"""How long a keeper without sessions waits for the next command."""


@dataclass(slots=True)
class KeptSession:
    """A session that outlives the command that made it."""

    sid: int
    portal: str
    target: str
    session: Session
    stack: AsyncExitStack = field(repr=False)

    def row(self) -> dict[str, Any]:
        """For ``iscsim sessions``."""
        where = {"sid": self.sid, "portal": self.portal, "target": self.target}
        return where | _state(self.session)


def _state(session: Session) -> dict[str, Any]:
    if session.is_open:
        return {"state": "logged in", "reason": None}
    return {"state": "failed", "reason": str(session.failure or "the session has ended")}


Volume = frozenset[PathSpec]
"""What a volume is known by: all its paths, in whatever order."""


class Keeper:
    """Sessions and attached volumes of one user."""

    def __init__(self) -> None:
        self._sessions: dict[int, KeptSession] = {}
        self._volumes: dict[Volume, AttachedVolume] = {}
        self._locks: WeakValueDictionary[Volume, asyncio.Lock] = WeakValueDictionary()
        self._last_sid = 0
        self._calls = 0
        self.changed = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Nothing is kept and nothing is being done."""
        return not (self._sessions or self._volumes or self._calls)

    async def login(
        self,
        portal: str,
        target: str,
        initiator_name: str,
        user: str = "",
        password: str = "",
        login_timeout: float = 15,
        retries: int = 0,
    ) -> dict[str, Any]:
        """Log in and keep the session; with ``retries`` as patiently as open-iscsi."""
        from iscsim.initiator import InitialLoginSettings, connect

        chap = (user, password) if user else None
        settings = InitialLoginSettings(login_timeout=login_timeout, initial_login_retry_max=retries)
        stack = AsyncExitStack()
        self._calls += 1
        try:
            session = await stack.enter_async_context(
                connect(
                    portal,
                    target,
                    initiator_name=initiator_name,
                    chap=chap,
                    login_timeout_s=login_timeout,
                    retry=settings if retries else None,
                )
            )
            await session.scan()
        except BaseException:
            await stack.aclose()
            raise
        finally:
            self._calls -= 1
            self.changed.set()
        self._last_sid += 1
        kept = self._sessions[self._last_sid] = KeptSession(self._last_sid, portal, target, session, stack)
        return kept.row()

    async def logout(self, sid: int | None = None) -> list[dict[str, Any]]:
        """Log out of one session, or of all that were logged in by hand."""
        if sid is not None and sid not in self._sessions:
            raise SessionFailed(f"no session {sid}")
        ended = []
        for number in [sid] if sid is not None else list(self._sessions):
            kept = self._sessions.pop(number)
            ended.append(kept.row() | {"state": "logged out", "reason": None})
            await kept.stack.aclose()
        self.changed.set()
        return ended

    async def sessions(self) -> list[dict[str, Any]]:
        """Every session there is, those of attached volumes among them."""
        rows = [kept.row() | {"volume": None} for kept in self._sessions.values()]
        for volume in self._volumes.values():
            for path in volume.paths:
                row = {"sid": None, "portal": path.spec.portal, "target": path.spec.target_name}
                rows.append(row | _state(path.session) | {"volume": volume.wwn})
        return rows

    async def luns(self) -> list[dict[str, Any]]:
        """The LUNs of every session, as of its last scan."""
        return [row | unit_row(unit) for row, session in self._all() for unit in session.units]

    async def rescan(self) -> dict[str, Any]:
        """Scan every session again: how many there are, what was added and removed, which failed and why."""
        sessions = list(self._all())
        changes: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for row, session in sessions:
            try:
                added, removed = await session.rescan()
            except ISCSIError as error:
                failed.append(row | {"error": str(error)})
                continue
            for change, units in (("added", added), ("removed", removed)):
                changes += [row | {"change": change} | unit_row(unit) for unit in units]
        return {"sessions": len(sessions), "changes": changes, "failed": failed}

    def _all(self) -> Iterator[tuple[dict[str, Any], Session]]:
        """Every session; those of attached volumes have no number, as they cannot be logged out of."""
        for kept in self._sessions.values():
            yield {"sid": kept.sid, "portal": kept.portal, "volume": None}, kept.session
        for volume in self._volumes.values():
            for path in volume.paths:
                yield {"sid": None, "portal": path.spec.portal, "volume": volume.wwn}, path.session

    async def attach(self, connection_info: dict[str, Any], initiator_name: str) -> dict[str, Any]:
        """Attach a volume; of one that is attached already the paths that do not work are tried again.

        Without a path that works the answer has none in ``paths``, and why in ``failed_paths``.
        """
        info = parse_connection_info(connection_info)
        key = frozenset(info.paths)
        self._calls += 1
        try:
            async with self._locks.setdefault(key, asyncio.Lock()):  # the second of two waits, and finds it
                return await self._attach(key, info, initiator_name)
        except NoPathWorks as error:
            rows = [path_row(spec) | {"error": reason} for spec, reason in error.failed.items()]
            return {"paths": [], "failed_paths": rows, "already_attached": False}
        finally:
            self._calls -= 1
            self.changed.set()

    async def _attach(self, key: Volume, info: ConnectionInfo, initiator_name: str) -> dict[str, Any]:
        if key in self._volumes and not self._volumes[key].is_alive:
            await self._volumes.pop(key).detach()
        already = key in self._volumes
        if already:
            await self._volumes[key].reconnect(initiator_name=initiator_name, chap=info.chap)
        else:
            self._volumes[key] = await attach(info, initiator_name=initiator_name)
        return self._volumes[key].describe() | {"already_attached": already}

    async def detach(self, connection_info: dict[str, Any]) -> dict[str, Any]:
        """Detach a volume that was attached with the same paths."""
        info = parse_connection_info(connection_info)
        for key in [key for key in self._volumes if key & set(info.paths)]:
            async with self._locks.setdefault(key, asyncio.Lock()):  # not while it is being attached again
                if volume := self._volumes.pop(key, None):
                    described = volume.describe()
                    await volume.detach()
                    self.changed.set()
                    return described
        raise ConnectionFailed(NOT_ATTACHED)

    async def close(self) -> None:
        """Detach and log out of everything."""
        for volume in self._volumes.values():
            await volume.detach()
        self._volumes.clear()
        await self.logout()


_METHODS = ("login", "logout", "sessions", "luns", "rescan", "attach", "detach")


async def keep(socket: Path) -> None:
    """Keep sessions until the last one is gone. Raises OSError when another keeper has the socket."""
    keeper = Keeper()
    server = RPCServer(socket, {name: getattr(keeper, name) for name in _METHODS})
    await server.start()
    try:
        while True:
            keeper.changed.clear()
            try:
                await asyncio.wait_for(keeper.changed.wait(), _IDLE_S)
            except TimeoutError:
                if keeper.is_idle:
                    return
    finally:
        await server.close()
        await keeper.close()


def main() -> int:
    """``python -m iscsim.cli.keeper SOCKET``."""
    from iscsim.net.runner import run

    try:
        run(keep(Path(sys.argv[1])))
    except FileExistsError:
        return 3
    except (OSError, ISCSIError) as error:
        print(f"iscsim keeper: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
