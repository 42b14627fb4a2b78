"""The process that keeps sessions between commands: the first login starts it, the last logout ends it.

It answers JSON-RPC on a socket in :func:`iscsim.cli.runtime.runtime_directory`. Run as
``python -m iscsim.cli.keeper``; :mod:`iscsim.cli.keeper_client` does so when none is there.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from iscsim.cli.kept_session import KeptSession
from iscsim.cli.maps import map_row
from iscsim.cli.node_settings import node_settings
from iscsim.cli.runtime import NOT_ATTACHED
from iscsim.cli.units import unit_row
from iscsim.errors import ConfigError, ConnectionFailed, ISCSIError, SessionFailed
from iscsim.initiator.device_names import DiskNames, LowestFree
from iscsim.initiator.multipath import MultipathDaemon
from iscsim.initiator.session_state import SessionState
from iscsim.net.rpc import RPCServer
from iscsim.openstack.attach import AttachedVolume, NoPathWorks, attach, path_row
from iscsim.openstack.connection_info import ConnectionInfo, PathSpec, parse_connection_info

if TYPE_CHECKING:
    from iscsim.initiator.recovering_session import RecoveringSession
    from iscsim.initiator.session import Session
    from iscsim.initiator.verbs import SCSIVerbs

_OWN_OPTIONS = {
    "login_timeout": "node.conn[0].timeo.login_timeout",
    "initial_login_retry_max": "node.session.initial_login_retry_max",
}
"""Settings that are options of ``iscsim login`` as well; ``--set`` goes first."""
_IDLE_S = 2.0
"""How long a keeper without sessions waits for the next command."""


def _state(session: Session) -> dict[str, Any]:
    """Of a session of an attached volume, which does not log in again by itself."""
    if session.is_open:
        return {"state": str(SessionState.LOGGED_IN), "reason": None}
    return {"state": str(SessionState.FREE), "reason": str(session.failure or "the session has ended")}


Volume = frozenset[PathSpec]
"""What a volume is known by: all its paths, in whatever order."""


class Keeper:
    """Sessions and attached volumes of one user."""

    def __init__(self) -> None:
        self._sessions: dict[int, KeptSession] = {}
        self._volumes: dict[Volume, AttachedVolume] = {}
        self._locks: WeakValueDictionary[Volume, asyncio.Lock] = WeakValueDictionary()
        self._daemon = MultipathDaemon()
        self._checks_paths = False
        self._names, self._hosts = DiskNames(), LowestFree()
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
        settings: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Log in and keep the session; with ``retries`` as patiently as open-iscsi.

        ``settings`` are those of a node, by open-iscsi's names.
        """
        from iscsim.initiator.recovering_session import log_in

        node = node_settings(settings or {}, user=user, password=password)
        own: dict[str, Any] = {"login_timeout": login_timeout, "initial_login_retry_max": retries}
        given = settings or {}
        node = replace(node, **{key: value for key, value in own.items() if _OWN_OPTIONS[key] not in given})
        self._calls += 1
        try:
            number = self._last_sid + 1
            session = await log_in(portal, target, settings=node, initiator_name=initiator_name, sid=number)
            kept = await self._keep(portal, target, session)
        finally:
            self._calls -= 1
            self.changed.set()
        return kept.row()

    async def _keep(self, portal: str, target: str, session: RecoveringSession) -> KeptSession:
        """Scan a session that is logged in, and number it. One that cannot be scanned is closed."""
        from iscsim.initiator.scsi_host import SCSIHost

        number = self._hosts.take()
        host = SCSIHost(number, session, names=self._names, queue_depth=session.settings.queue_depth)
        kept = KeptSession(0, portal, target, session, host)
        try:
            await session.scan()
            await self._add_paths(kept)
        except BaseException:
            self._hosts.give_back(number)
            await kept.close()
            raise
        self._last_sid += 1
        kept.sid = session.sid = self._last_sid
        self._sessions[kept.sid] = kept
        return kept

    async def _add_paths(self, kept: KeptSession) -> None:
        """Have the disks that are new in multipath maps."""
        if not self._checks_paths:
            self._checks_paths = True
            await self._daemon.__aenter__()
        for path in await kept.scan():
            path.memory["portal"] = kept.portal
            try:
                await self._daemon.add_path(path)
            except ConfigError as error:
                print(f"iscsim keeper: {path.name} at {kept.portal}: {error}", file=sys.stderr)

    async def logout(self, sid: int | None = None) -> list[dict[str, Any]]:
        """Log out of one session, or of all that were logged in by hand."""
        if sid is not None and sid not in self._sessions:
            raise SessionFailed(f"no session {sid}")
        ended = []
        for number in [sid] if sid is not None else list(self._sessions):
            kept = self._sessions.pop(number)
            ended.append(kept.row() | {"state": "logged out", "reason": None})
            for path in kept.paths:
                self._daemon.remove_path(path)
            await kept.close()
            self._hosts.give_back(kept.host.number)
        self.changed.set()
        return ended

    async def sessions(self, detail: bool = False) -> list[dict[str, Any]]:
        """Every session there is, those of attached volumes among them, which have no ``detail``."""
        rows = [
            (kept.detail() if detail else kept.row()) | {"volume": None} for kept in self._sessions.values()
        ]
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
        changes: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        everything = list(self._all())
        for row, session in everything:
            try:
                added, removed = await self._rescan(row["sid"], session)
            except ISCSIError as error:
                failed.append(row | {"error": str(error)})
                continue
            for change, units in (("added", added), ("removed", removed)):
                changes += [row | {"change": change} | unit_row(unit) for unit in units]
        return {"sessions": len(everything), "changes": changes, "failed": failed}

    async def _rescan(self, sid: int | None, session: SCSIVerbs) -> Any:
        """What was added and removed. Raises SessionFailed at once while there is no connection."""
        kept = self._sessions.get(sid) if sid is not None else None
        if kept is not None and not kept.is_logged_in:
            raise SessionFailed(f"the session is {kept.session.state}: {kept.reason}")
        found = await session.rescan()
        if kept is not None:
            await self._add_paths(kept)
        return found

    async def maps(self) -> list[dict[str, Any]]:
        """The multipath maps, of sessions and of attached volumes."""
        volumes = [volume.device for volume in self._volumes.values()]
        return [map_row(device) for device in (*self._daemon.maps.values(), *volumes)]

    async def volume_paths(self, wwn: str) -> dict[str, Any]:
        """Where the paths of an attached volume go, and the CHAP to log in with there."""
        for volume in self._volumes.values():
            if volume.wwn in (wwn, f"3{wwn}"):
                credential = volume.info.chap.outgoing if volume.info.chap is not None else None
                return {
                    "paths": [path_row(path.spec) for path in volume.paths],
                    "user": credential.name if credential is not None else "",
                    "password": credential.secret.decode() if credential is not None else "",
                }
        raise ConnectionFailed(NOT_ATTACHED)

    def _all(self) -> Iterator[tuple[dict[str, Any], SCSIVerbs]]:
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
        await self._daemon.stop()


_METHODS = ("login", "logout", "sessions", "luns", "rescan", "maps", "attach", "detach", "volume_paths")


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
