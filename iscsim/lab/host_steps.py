"""What the steps of a scenario do on emulated Linux hosts: commands, and os-brick where it is installed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from iscsim.errors import ConfigError
from iscsim.faults.seconds import parse_seconds
from iscsim.lab.oracles import BrokenInvariant

if TYPE_CHECKING:
    from iscsim.host.model import Host
    from iscsim.lab.world import Lab

__all__ = ["HostSteps"]

Step = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Attached:
    """What a ``connect_volume`` has left: on which host, what it was told, what it returned."""

    host: Host
    properties: dict[str, Any]
    device: Any


class HostSteps:
    """The steps; ``tables`` are the ``[[host]]`` of the scenario. A host is made when a step names it."""

    def __init__(self, lab: Lab, tables: Sequence[Mapping[str, Any]]) -> None:
        self._lab = lab
        self._tables = {str(table["name"]): table for table in tables}
        self._hosts: dict[str, Host] = {}
        self._volumes: dict[str, _Attached] = {}

    def _host(self, step: Step) -> Host:
        from iscsim.lab.linux_host import host_of_table

        name = step.get("host", next(iter(self._tables), ""))
        if name not in self._tables:
            raise ConfigError(f"no host {name!r} (there are: {', '.join(self._tables) or 'none'})")
        if name not in self._hosts:
            self._hosts[name] = host_of_table(self._lab, self._tables[name])
        return self._hosts[name]

    # -- commands ----------------------------------------------------------------------------------

    async def execute(self, step: Step) -> str:
        """Run a command, and compare what it leaves."""
        host, argv = self._host(step), _words(step["command"])
        result = await host.execute(*argv, stdin=step.get("stdin", "").encode())
        for stream, text in (("stdout", result.text), ("stderr", result.error)):
            if stream in step and not _pattern(step[stream]).search(text):
                raise BrokenInvariant(f"{stream} is {text!r}, expected {step[stream]!r} in it")
        wanted = step.get("exit_code", 0)
        if result.exit_code != wanted:
            said = result.error.strip() or result.text.strip()
            raise BrokenInvariant(f"exit code {result.exit_code}, expected {wanted}: {said}")
        return f"exit code {result.exit_code}: {' '.join(argv)}"

    async def fail_command(self, step: Step) -> str:
        """Have a command fail from now on, some times."""
        self._host(step).fail_command(
            *_words(step["command"]),
            exit_code=step.get("exit_code", 1),
            stdout=step.get("stdout", ""),
            stderr=step.get("stderr", ""),
            seconds=parse_seconds(step.get("seconds", 0)),
            times=step.get("times", 1),
        )
        return f"{step['command']} fails"

    async def settle(self, step: Step) -> str:
        """Wait for udev and multipathd."""
        await self._host(step).settle()
        return "udev and multipathd are done"

    async def leftovers(self, step: Step) -> str:
        """What is left must be what the step says, each by how it begins."""
        found, wanted = self._host(step).leftovers(), list(step.get("left", []))
        missing = [text for text in wanted if not any(each.startswith(text) for each in found)]
        other = [each for each in found if not each.startswith(tuple(wanted) or ("\0",))]
        if missing or other:
            problems = [f"not left: {text}" for text in missing] + [f"left: {each}" for each in other]
            raise BrokenInvariant("; ".join(problems))
        return f"left: {', '.join(found) or 'nothing'}"

    # -- os-brick ----------------------------------------------------------------------------------

    async def connect_volume(self, step: Step) -> str:
        """``connect_volume`` of os-brick's iSCSI connector; what it returns must have what the step says."""
        host = self._host(step)
        properties = self._properties(step)
        device = await self._call(host, step, "connect_volume", properties)
        if device is None:
            return f"raised {step['raises']}"
        self._volumes[step.get("name", "volume")] = _Attached(host, properties, device)
        for key, name in (("path", "path"), ("wwn", "scsi_wwn")):
            if key in step and not _pattern(step[key]).search(str(device.get(name))):
                raise BrokenInvariant(f"{name} is {device.get(name)!r}, expected {step[key]!r} in it")
        return f"{device['path']}, {device.get('scsi_wwn')}"

    async def disconnect_volume(self, step: Step) -> str:
        """``disconnect_volume``, of what was connected under that name."""
        name = step.get("name", "volume")
        if name not in self._volumes:
            known = ", ".join(self._volumes) or "none"
            raise ConfigError(f"no volume {name!r} was connected (there are: {known})")
        attached = self._volumes[name]
        options = {"force": True, "ignore_errors": True} if step.get("force") else {}
        arguments = (attached.properties, attached.device)
        await self._call(attached.host, step, "disconnect_volume", *arguments, **options)
        if "raises" in step:
            return f"raised {step['raises']}"
        del self._volumes[name]
        return "disconnected"

    def _properties(self, step: Step) -> dict[str, Any]:
        """What cinder would say of the LUN."""
        target = step.get("target", next(iter(self._lab.live_targets), ""))
        found: dict[str, Any] = self._lab.connection_info(target, step.get("lun", 1))["data"]
        if "user" in step:
            found |= {
                "auth_method": "CHAP",
                "auth_username": step["user"],
                "auth_password": step.get("password", ""),
            }
        return found

    async def _call(
        self, host: Host, step: Step, method: str, *arguments: Any, **options: Any
    ) -> dict[str, Any] | None:
        """What it returned; None once it has raised what the step wants. Raises BrokenInvariant."""
        from iscsim.host.sandbox.sandbox import HostSandbox

        async with HostSandbox(host, seed=self._lab.seed) as box:
            factory: Callable[..., Any] = import_module(
                "os_brick.initiator.connector"
            ).InitiatorConnector.factory
            connector = factory("ISCSI", "", use_multipath=step.get("multipath", True))
            try:
                answer = await box.call(getattr(connector, method), *arguments, **options)
            except Exception as error:  # whatever os-brick raises, the step may name it
                if step.get("raises") not in [each.__name__ for each in type(error).__mro__]:
                    raise BrokenInvariant(f"{type(error).__name__}: {error}") from error
                return None
        if "raises" in step:
            raise BrokenInvariant(f"it worked, expected {step['raises']}")
        return answer if answer is not None else {}


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"command {command!r}: {error}") from None
    if not words:
        raise ConfigError("command is empty")
    return words


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.MULTILINE)
    except re.error as error:
        raise ConfigError(f"{text!r} is no regular expression: {error}") from None
