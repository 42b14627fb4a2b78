"""What the control socket of a running target talks to: the methods of the table, made to happen."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iscsim.errors import ConfigError
from iscsim.hints import hint
from iscsim.session.events import LoginCompleted, LoginRefused
from iscsim.target.administration.acls import ACLs
from iscsim.target.administration.backstores import Backstores, BackstoreSpec
from iscsim.target.administration.configuration import Configuration
from iscsim.target.administration.errors import NotFound
from iscsim.target.administration.luns import LUNs
from iscsim.target.administration.methods import METHODS, Method
from iscsim.target.administration.parameters import check
from iscsim.target.administration.restoring import Plan
from iscsim.target.administration.rows import Rows, session_row
from iscsim.target.administration.state_file import read_state, write_state
from iscsim.target.saveconfig import from_saveconfig, to_saveconfig
from iscsim.target.saveconfig_defaults import PORTAL_GROUP_ATTRIBUTES

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.session.chap import Randomness
    from iscsim.target.connection import TargetConnection
    from iscsim.target.node import Portal
    from iscsim.target.server import TargetServer
    from iscsim.target.session import TargetSession

__all__ = ["TargetControl"]

_STEPS_AT_ONCE = 8


class TargetControl:
    """Looks at, changes and ends what one server serves. ``stop`` ends the serving itself.

    ``keep`` has the registrations of a new unit survive, where there is a state for them. ``rng`` is
    injected only by simulations.
    """

    def __init__(
        self,
        server: TargetServer,
        stop: Callable[[], None],
        *,
        keep: Callable[[LogicalUnit], None] | None = None,
        rng: Randomness | None = None,
    ) -> None:
        self._server, self._stop, self._keep = server, stop, keep
        self._entity = server.entity
        self._rng = secrets.SystemRandom() if rng is None else rng
        self.configuration = Configuration(server.entity, self._rng, Backstores(keep))
        self._luns, self._acls = LUNs(self.configuration), ACLs(self.configuration)
        self._rows = Rows(self.configuration)
        self._changing, self._saving = asyncio.Lock(), asyncio.Lock()
        self._began = asyncio.get_running_loop().time()
        self._logins: Counter[int] = Counter()
        self._past_requests = 0
        server.listeners.append(self._count)

    @property
    def methods(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Method name -> method, as `iscsim.net.rpc.RPCServer` takes them."""
        return {name: self._method(METHODS[name], handler) for name, handler in self._handlers().items()}

    def _handlers(self) -> dict[str, Callable[..., Any]]:
        return {
            "target.create": self._create_target,
            "target.delete": self._delete_target,
            "target.list": lambda: list(self._entity.nodes),
            "target.show": lambda target: self._rows.target(self.configuration.node(target)),
            "tpg.create": self._create_tpg,
            "tpg.delete": self._delete_tpg,
            "tpg.enable": lambda target, tag: self.configuration.enable_group(target, tag),
            "tpg.disable": lambda target, tag: self.configuration.disable_group(target, tag),
            "tpg.set": self._set_tpg,
            "portal.create": self._create_portal,
            "portal.delete": self._delete_portal,
            "backstore.create": self._create_backstore,
            "backstore.delete": lambda name: self._luns.delete_backstore(name),
            "backstore.list": self._list_backstores,
            "lun.create": self._create_lun,
            "lun.delete": lambda target, tag, lun: self._luns.delete(target, tag, lun),
            "lun.resize": lambda **given: self._rows.backstore(self._luns.resize(**given)),
            "lun.swap": self._swap_lun,
            "acl.create": self._create_acl,
            "acl.delete": lambda target, tag, initiator: self._acls.delete(target, tag, initiator),
            "acl.list": lambda target, tag: self._group_row(target, tag)["acls"],
            "acl.set_chap": self._set_chap,
            "mapped_lun.create": self._create_mapped_lun,
            "mapped_lun.delete": self._delete_mapped_lun,
            "session.list": self._list_sessions,
            "session.kick": self._kick,
            "session.send_async": self._send_async,
            "alua.set": self._set_alua,
            "personality.set": lambda personality, target: self.configuration.set_personality(
                personality, target
            ),
            "describe": lambda: self._model(self._rows),
            "counters": self.counters,
            "save": self._save,
            "restore": self._restore,
            "stop": self._stop,
        }

    def _method(self, method: Method, handler: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        async def call(**given: Any) -> Any:
            wanted = check(method.name, method.parameters, given)
            if not method.changes:
                return await _result(handler(**wanted))
            async with self._changing:
                return await _result(handler(**wanted))

        return call

    # -- targets and portal groups -----------------------------------------------------------------

    def _create_target(self, target: str, alias: str) -> dict[str, Any]:
        return self._rows.target(self.configuration.create_target(target, alias))

    def _delete_target(self, target: str) -> None:
        self._stop_listening(self.configuration.delete_target(target))

    async def _listen(self, portal: Portal) -> None:
        try:
            await self._server.listen(portal)
        except OSError as error:
            error.filename = str(portal)
            raise

    def _stop_listening(self, portals: list[Portal]) -> None:
        for portal in portals:
            self._server.stop_listening(portal)

    def _group_row(self, target: str, tag: int) -> dict[str, Any]:
        return self._rows.group(*self.configuration.group(target, tag))

    def _create_tpg(self, target: str, tag: int | None) -> dict[str, Any]:
        group = self.configuration.create_group(target, tag)
        return self._group_row(target, group.tag)

    def _delete_tpg(self, target: str, tag: int) -> None:
        self._stop_listening(self.configuration.delete_group(target, tag))

    def _set_tpg(
        self, target: str, tag: int, attributes: Any, parameters: Any, **chap: Any
    ) -> dict[str, Any]:
        _check_names(attributes or {}, self.configuration.access(target, tag).attributes)
        self.configuration.set_group(target, tag, attributes, parameters, chap)
        return self._group_row(target, tag)

    async def _create_portal(self, target: str, tag: int, address: str, port: int) -> dict[str, Any]:
        portal = self.configuration.new_portal(target, tag, address, port)
        await self._listen(portal)
        self.configuration.add_portal(target, tag, portal)
        return {"address": portal.address, "port": portal.port}

    def _delete_portal(self, target: str, tag: int, address: str, port: int) -> None:
        self._stop_listening(self.configuration.remove_portal(target, tag, address, port))

    # -- backstores, LUNs, ACLs --------------------------------------------------------------------

    def _create_backstore(self, **given: Any) -> dict[str, Any]:
        given["serial"] = given["serial"] or self.configuration.new_serial()
        given["attributes"] = given["attributes"] or {}
        backstores, policy = self.configuration.backstores, self._entity.policy
        return self._rows.backstore(backstores.create(BackstoreSpec(**given), policy))

    def _list_backstores(self) -> list[dict[str, Any]]:
        return [self._rows.backstore(each) for each in self.configuration.backstores.values()]

    def _create_lun(self, target: str, tag: int, **given: Any) -> dict[str, Any]:
        mapped = self._luns.create(target, tag, **given)
        return self._lun_row(target, tag, mapped.number)

    def _lun_row(self, target: str, tag: int, lun: int) -> dict[str, Any]:
        node, access = self.configuration.node(target), self.configuration.access(target, tag)
        return self._rows.lun(node, access, self._luns.mapped(target, tag, lun))

    def _swap_lun(self, target: str, tag: int, lun: int, backstore: str) -> dict[str, Any]:
        self._luns.swap(target, tag, lun, backstore)
        return self._lun_row(target, tag, lun)

    def _create_acl(
        self, target: str, tag: int, initiator: str, attributes: Any, map_luns: bool, **chap: str
    ) -> dict[str, Any]:
        acl = self._acls.create(target, tag, initiator, chap, attributes or {})
        access = self.configuration.access(target, tag)
        for mapped in access.lun_map if map_luns else ():
            self._luns.show(target, tag, acl, mapped.number, mapped.number, False, None)
        return self._rows.acl(access, acl)

    def _set_chap(self, target: str, tag: int, initiator: str, **chap: str) -> dict[str, Any]:
        acl = self._acls.set_chap(target, tag, initiator, chap)
        return self._rows.acl(self.configuration.access(target, tag), acl)

    def _create_mapped_lun(
        self, target: str, tag: int, initiator: str, lun: int, tpg_lun: int, write_protect: bool, alias: Any
    ) -> dict[str, Any]:
        acl = self._acls.find(target, tag, initiator)
        mapped = self._luns.show(target, tag, acl, lun, tpg_lun, write_protect, alias)
        return self._rows.mapped_lun(acl, mapped)

    def _delete_mapped_lun(self, target: str, tag: int, initiator: str, lun: int) -> None:
        self._luns.hide(target, tag, self._acls.find(target, tag, initiator), lun)

    def _set_alua(self, target: str, tag: int, state: str, lun: int | None) -> list[dict[str, Any]]:
        self.configuration.set_alua(target, tag, state, lun)
        rows: list[dict[str, Any]] = self._group_row(target, tag)["luns"]
        return rows

    # -- sessions ----------------------------------------------------------------------------------

    def _list_sessions(self, target: str | None) -> list[dict[str, Any]]:
        sessions = self._entity.sessions if target is None else self.configuration.node(target).sessions
        peers = self._server.peers
        return [session_row(session, peers) for session in sessions]

    def _session(self, tsih: int) -> TargetSession:
        for session in self._entity.sessions:
            if session.tsih == tsih:
                return session
        raise NotFound(f"no session with handle {tsih}")

    async def _kick(self, tsih: int, time_s: int, wait: bool) -> dict[str, Any]:
        session, ended = self._session(tsih), asyncio.Event()
        row = session_row(session, self._server.peers)
        session.when_ended.append(ended.set)
        session.request_logout(time_s, asyncio.get_running_loop().time())
        if wait:
            await ended.wait()
        return row

    def _send_async(self, tsih: int, event: int, lun: str, sense: str, data: str, **numbers: int) -> None:
        try:
            lun_bytes, sense_data, vendor_data = (bytes.fromhex(text) for text in (lun, sense, data))
        except ValueError:
            raise ConfigError("session.send_async: lun, sense and data are hexadecimal") from None
        if len(lun_bytes) != 8:
            raise ConfigError("session.send_async: lun: expected 8 bytes")
        for connection in list(self._session(tsih).connections.values()):
            connection.notices.send(event, lun=lun_bytes, sense=sense_data, data=vendor_data, **numbers)

    # -- numbers -----------------------------------------------------------------------------------

    def _count(self, connection: TargetConnection, peer: tuple[str, int], event: object) -> None:
        match event:
            case LoginCompleted():
                self._logins[0] += 1
                session = connection.session
                session.when_ended.append(lambda: self._add_requests(session))
            case LoginRefused(status):
                self._logins[status] += 1

    def _add_requests(self, session: TargetSession) -> None:
        self._past_requests += session.requests

    def counters(self) -> dict[str, Any]:
        """Numbers that are there anyway: see `iscsim.net.control_types.Counters`."""
        sessions, discovering = self._entity.sessions, len(self._entity.discovery_sessions)
        return {
            "uptime_s": asyncio.get_running_loop().time() - self._began,
            "targets": len(self._entity.nodes),
            "connections": len(self._server.peers),
            "sessions": len(sessions) - discovering,
            "discovery_sessions": discovering,
            "logins": {f"0x{status:04x}": count for status, count in sorted(self._logins.items())},
            "requests": self._past_requests + sum(session.requests for session in sessions),
            "open_commands": sum(len(session.tasks) for session in sessions),
            "luns": {
                name: self._lun_counters(backstore.unit)
                for name, backstore in self.configuration.backstores.items()
            },
        }

    def _lun_counters(self, unit: LogicalUnit) -> dict[str, int]:
        return {
            "blocks": unit.blocks,
            "sessions": len(unit.nexuses),
            "open_commands": self._entity.task_sets.count(unit),
            "read_errors": unit.read_errors,
            "write_errors": unit.write_errors,
        }

    # -- all of it ---------------------------------------------------------------------------------

    async def _model(self, rows: Rows) -> dict[str, Any]:
        """All there is at one moment: nothing changes while it is looked at, which takes a while."""
        model: dict[str, Any] = {}
        async with self._changing:
            await _in_turns(rows.fill(model))
        return model

    async def _save(self, path: str) -> None:
        """In a thread, as a disk may be slow; one after the other, as the last one must win."""
        where = _absolute(path)
        async with self._saving:
            self._refuse_blocks(where)
            model = await self._model(Rows(self.configuration, secrets=True))
            await asyncio.to_thread(lambda: write_state(where, to_saveconfig(model)))

    def _refuse_blocks(self, where: Path) -> None:
        """The file of a backstore would be replaced, and what is written to it from then on be lost."""
        for backstore in self.configuration.backstores.values():
            if backstore.path is not None and Path(backstore.path).resolve() == where.resolve():
                raise ConfigError(f"{where} is the file of backstore {backstore.name!r}")

    async def _restore(self, path: str) -> None:
        where = _absolute(path)
        model = await asyncio.to_thread(lambda: from_saveconfig(read_state(where)))
        plan = Plan(model, self.configuration, self._rng, self._keep)
        listening: list[Portal] = []
        try:
            await _in_turns(plan.build())
            for portal in plan.new_portals:
                await self._listen(portal)
                listening.append(portal)
        except BaseException:
            self._stop_listening(listening)
            plan.give_up()
            raise
        old = plan.old_portals
        plan.put_in_force()
        self._stop_listening(old)


async def _in_turns(steps: Iterable[None]) -> None:
    """Take steps, and let others have their turn every few."""
    for number, _ in enumerate(steps):
        if number % _STEPS_AT_ONCE == 0:
            await asyncio.sleep(0)


def _absolute(path: str) -> Path:
    found = Path(path)
    if not found.is_absolute():
        raise ConfigError(f"path {path!r:.200} is not absolute")
    return found


async def _result(answer: Any) -> Any:
    """Some methods must wait for their answer. What answers nothing answers true."""
    found = await answer if asyncio.iscoroutine(answer) else answer
    return True if found is None else found


def _check_names(attributes: dict[str, Any], present: dict[str, Any]) -> None:
    """Attributes are LIO's, and those a restored file had: a slip of the pen would be kept and do nothing."""
    known = {**PORTAL_GROUP_ATTRIBUTES, **present}
    for name in attributes:
        if name not in known:
            raise ConfigError(f"unknown attribute {name!r:.60} ({hint(name, known)})")
