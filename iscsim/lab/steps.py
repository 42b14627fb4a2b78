"""What the steps of a scenario do in a lab."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from iscsim.errors import ConfigError
from iscsim.faults.seconds import parse_seconds
from iscsim.faults.write_model import WriteModel
from iscsim.initiator.initial_login import InitialLoginSettings
from iscsim.initiator.session import Session
from iscsim.lab.host import LabHost
from iscsim.lab.host_steps import HostSteps
from iscsim.lab.oracles import BrokenInvariant
from iscsim.lab.serving import LiveTarget
from iscsim.lab.world import Lab
from iscsim.openstack.attach import AttachedVolume

__all__ = ["Steps"]

Step = Mapping[str, Any]
_DEFAULT_BLOCKS = 8


class Steps:
    """Does steps in ``lab``: one method for each ``do``, that returns what it found as a text; those of Linux
    hosts are in `HostSteps`. ``hosts`` are the tables of the scenario's hosts.

    Each volume and session has a model of what was written through it, by LUN: reads must agree.
    """

    def __init__(self, lab: Lab, hosts: Sequence[Mapping[str, Any]] = ()) -> None:
        self._lab = lab
        self._linux = HostSteps(lab, hosts)
        self._open: dict[str, AttachedVolume | Session] = {}
        self._models: dict[tuple[str, int], WriteModel] = {}

    async def do(self, step: Step) -> str:
        """Do one. Raises what it ends with."""
        do = step["do"]
        mine: Callable[[Step], Awaitable[str]] | None = getattr(self, f"_{do}", None)
        method: Callable[[Step], Awaitable[str]] = mine or getattr(self._linux, do)
        return await method(step)

    # -- who and what ------------------------------------------------------------------------------

    def _host(self, step: Step) -> LabHost:
        hosts = self._lab.hosts
        name = step.get("host", next(iter(hosts), "host"))
        if hosts and name not in hosts:
            raise ConfigError(f"no host {name!r} (there are: {', '.join(hosts)})")
        return self._lab.host(name)

    def _target(self, step: Step) -> LiveTarget:
        name = step.get("target", next(iter(self._lab.live_targets), ""))
        return self._lab.live_target(name)

    def _options(self, step: Step) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if "user" in step:
            found["chap"] = (step["user"], step.get("password", ""))
        if "login_timeout" in step:
            found["login_timeout_s"] = parse_seconds(step["login_timeout"])
        if step.get("retries"):
            timeout_s = found.get("login_timeout_s", InitialLoginSettings().login_timeout)
            found["retry"] = InitialLoginSettings(
                login_timeout=timeout_s, initial_login_retry_max=step["retries"]
            )
        return found

    def _keep(self, name: str, what: AttachedVolume | Session) -> None:
        self._open[name] = what

    def _named(self, step: Step, default: str = "") -> tuple[str, AttachedVolume | Session]:
        name = step.get("name") or default or next(iter(self._open), "volume")
        if name not in self._open:
            raise ConfigError(f"nothing is open as {name!r} (there are: {', '.join(self._open) or 'none'})")
        return name, self._open[name]

    def _volume(self, step: Step) -> AttachedVolume:
        name, found = self._named(step)
        if not isinstance(found, AttachedVolume):
            raise ConfigError(f"{name!r} is a session, no volume")
        return found

    # -- sessions and volumes ----------------------------------------------------------------------

    async def _login(self, step: Step) -> str:
        target, portal = self._target(step), step.get("portal", 0)
        if isinstance(portal, int) and portal >= len(target.portals):
            raise ConfigError(f"{target.name} has {len(target.portals)} portals, no portal {portal}")
        session = await self._host(step).connect(target, portal, **self._options(step))
        self._keep(step.get("name", "session"), session)
        return f"logged in to {session.target_name} at {session.portal}"

    async def _logout(self, step: Step) -> str:
        name, session = self._named(step, "session")
        del self._open[name]
        await cast(Session, session).close()
        return "logged out"

    async def _attach(self, step: Step) -> str:
        host, info = self._host(step), self._lab.connection_info(self._target(step), step.get("lun", 1))
        options = self._options(step)
        if chap := options.pop("chap", None):
            info["data"] |= {"auth_method": "CHAP", "auth_username": chap[0], "auth_password": chap[1]}
        volume = await host.attach(info, **options)
        self._keep(step.get("name", "volume"), volume)
        return f"{volume.wwn}, {len(volume.working)} of {len(volume.info.paths)} paths"

    async def _detach(self, step: Step) -> str:
        name, _ = self._named(step, "volume")
        volume = self._volume({"name": name})
        del self._open[name]
        await volume.detach()
        return "detached"

    async def _discover(self, step: Step) -> str:
        target, portal = self._target(step), step.get("portal", 0)
        where = target.portals[portal] if isinstance(portal, int) else portal
        found = await self._host(step).discover(where, **self._options(step))
        names = [each.name for each in found]
        _compare("targets", names, step.get("targets"))
        return ", ".join(names) or "no target"

    async def _scan(self, step: Step) -> str:
        portal = step.get("portal", 0)
        units = await self._host(step).scan(self._target(step), portal, **self._options(step))
        numbers = [unit.number for unit in units]
        _compare("luns", numbers, step.get("luns"))
        return f"LUNs {', '.join(map(str, numbers)) or 'none'}"

    async def _paths(self, step: Step) -> str:
        working = len(self._volume(step).working)
        _compare("working paths", working, step["working"])
        return f"{working} paths work"

    async def _check(self, step: Step) -> str:
        volume = self._volume(step)
        active = await volume.device.check()
        lost = [
            f"{path.session.portal}: {path.failure}" for path in volume.device.paths if path not in active
        ]
        if lost:
            raise BrokenInvariant("; ".join(lost))
        return f"{len(active)} paths lead to {volume.wwn}"

    # -- blocks ------------------------------------------------------------------------------------

    def _disk(self, step: Step) -> tuple[Any, tuple[Any, ...], tuple[str, int]]:
        """What reads and writes, the first arguments of both, and under which name its model is."""
        name, found = self._named(step)
        lun = step.get("lun", 1)
        if isinstance(found, AttachedVolume):
            return found.device, (), (name, 0)
        return found, (lun,), (name, lun)

    async def _model(self, disk: Any, first: tuple[Any, ...], key: tuple[str, int]) -> WriteModel:
        if key not in self._models:
            if first:
                capacity = await disk.read_capacity(*first)
                blocks, size = capacity.blocks, capacity.block_size
            else:
                blocks, size = disk.unit.blocks, disk.block_size
            self._models[key] = WriteModel(blocks, size)
        return self._models[key]

    async def _write(self, step: Step) -> str:
        disk, first, key = self._disk(step)
        model = await self._model(disk, first, key)
        lba, blocks = step.get("lba", 0), step.get("blocks", _DEFAULT_BLOCKS)
        text = (step.get("text") or "iscsim ").encode()
        length = blocks * model.block_size
        data = (text * (length // len(text) + 1))[:length]
        try:
            await disk.write(*first, lba, data)
        except Exception:
            model.failed(lba, data)
            raise
        model.wrote(lba, data)
        return f"{blocks} blocks from {lba} on"

    async def _read(self, step: Step) -> str:
        disk, first, key = self._disk(step)
        model = await self._model(disk, first, key)
        lba, blocks = step.get("lba", 0), step.get("blocks", _DEFAULT_BLOCKS)
        data = await disk.read(*first, lba, blocks)
        written = dict.fromkeys(model.written)
        wrong = [each for each in model.compare(lba, data) if each.lba in written]
        if wrong:
            raise BrokenInvariant(str(wrong[0]))
        return f"{blocks} blocks from {lba} on"

    async def _verify(self, step: Step) -> str:
        disk, first, key = self._disk(step)
        model = await self._model(disk, first, key)
        for lba in model.written:
            wrong = model.compare(lba, await disk.read(*first, lba, 1))
            if wrong:
                raise BrokenInvariant(str(wrong[0]))
        return f"{len(model.written)} blocks are as they were written"

    # -- the world ---------------------------------------------------------------------------------

    async def _flag(self, step: Step) -> str:
        self._lab.flag(step["flag"], step.get("up", True))
        return f"{step['flag']} is {'up' if step.get('up', True) else 'down'}"

    async def _sleep(self, step: Step) -> str:
        await asyncio.sleep(parse_seconds(step["seconds"]))
        return ""

    async def _heal(self, step: Step) -> str:
        self._lab.heal()
        return "all is well"


def _compare(what: str, found: Any, wanted: Any) -> None:
    if wanted is not None and found != wanted:
        raise BrokenInvariant(f"{what}: {found}, expected {wanted}")
