"""multipathd as a client: questions to the daemon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from iscsim.errors import ConfigError, ISCSIError
from iscsim.host.shell import Call, command
from iscsim.initiator.multipath import CheckerState, MapInUse, MultipathDevice
from iscsim.initiator.multipath.show import (
    MAP_NAMES,
    PATH_CHECKER,
    show_maps,
    show_paths,
    show_topology,
)

_FAIL, _OK = "fail", "ok"


@command("multipathd")
async def multipathd(call: Call) -> int:
    """Ask the daemon; without one nothing is answered."""
    words = [each for each in call.arguments if each != "-k"]
    if words and words[0].startswith("-k"):
        words = words[0][2:].strip().split() + words[1:]
    words = " ".join(words).split()
    if not call.host.multipathd.running:
        return 1
    for verbs, answer in _ANSWERS.items():
        if words[: len(verbs)] == list(verbs):
            text = await answer(call, words[len(verbs) :])
            call.output.text(text)
            return int(text.strip() == _FAIL)
    call.output.line(_FAIL)
    return 1


def _maps(call: Call) -> list[MultipathDevice]:
    return list(call.host.multipathd.maps.values())


async def _status(call: Call, words: list[str]) -> str:
    paths = call.host.multipathd.paths.values()
    mapped = [path for device in _maps(call) for path in device.paths]
    states = [path.checker_state for path in paths]
    lines = ["path checker states:"]
    lines += [f"{state.value:<20}{states.count(state)}" for state in CheckerState if state in states]
    return "\n".join([*lines, "", f"paths: {len(mapped)}", "busy: False", ""])


async def _paths(call: Call, words: list[str]) -> str:
    raw = words[:1] == ["raw"]
    words = words[1:] if raw else words
    form = " ".join(words[1:]) if words[:1] == ["format"] else PATH_CHECKER
    orphans = _orphans(call, form) if raw else ""
    return show_paths(_maps(call), form.strip("\"'"), raw=raw) + orphans


def _orphans(call: Call, form: str) -> str:
    """Lines of disks that are watched and in no map; of the host's own disks too."""
    mapped = {path.name for device in _maps(call) for path in device.paths}
    names = [name for name in call.host.multipathd.paths if name not in mapped]
    names += [each.name for each in call.host.settings.local_disks if each.kind == "disk"]
    form = form.strip("\"'")
    return "".join(form.replace("%d", name).replace("%0", "0") + "\n" for name in names)


async def _show_maps(call: Call, words: list[str]) -> str:
    raw = words[:1] == ["raw"]
    words = words[1:] if raw else words
    form = " ".join(words[1:]) if words[:1] == ["format"] else MAP_NAMES
    return show_maps(_maps(call), form.strip("\"'"), raw=raw)


async def _topology(call: Call, words: list[str]) -> str:
    return show_topology(_maps(call), style=call.host.settings.multipath_tools_version)


async def _add_path(call: Call, words: list[str]) -> str:
    try:
        device = await call.host.multipathd.add_path(call.host.device_name(words[0]) if words else "")
    except KeyError:
        return f"{_FAIL}\n"
    return f"{_OK if device is not None else _FAIL}\n"


async def _remove_path(call: Call, words: list[str]) -> str:
    try:
        call.host.multipathd.remove_path(call.host.device_name(words[0]) if words else "")
    except KeyError:
        return f"{_FAIL}\n"
    return f"{_OK}\n"


async def _remove_map(call: Call, words: list[str]) -> str:
    try:
        call.host.multipathd.flush(call.host.device_name(words[0]) if words else "")
    except (ConfigError, MapInUse):
        return f"{_FAIL}\n"
    return f"{_OK}\n"


async def _resize(call: Call, words: list[str]) -> str:
    try:
        device = call.host.multipathd.daemon.find(call.host.device_name(words[0]) if words else "")
        await device.resize()
    except (ConfigError, ISCSIError):
        return f"{_FAIL}\n"
    call.host.changed()
    return f"{_OK}\n"


async def _reconfigure(call: Call, words: list[str]) -> str:
    await call.host.multipathd.reconfigure()
    return f"{_OK}\n"


_ANSWERS: dict[tuple[str, ...], Callable[[Call, list[str]], Awaitable[str]]] = {
    ("show", "status"): _status,
    ("show", "paths"): _paths,
    ("list", "paths"): _paths,
    ("show", "maps"): _show_maps,
    ("show", "topology"): _topology,
    ("show", "maps", "topology"): _topology,
    ("add", "path"): _add_path,
    ("del", "path"): _remove_path,
    ("del", "map"): _remove_map,
    ("resize", "map"): _resize,
    ("reconfigure",): _reconfigure,
}
