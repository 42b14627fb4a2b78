"""multipath: maps, by hand."""

from __future__ import annotations

import getopt

from iscsim.errors import ConfigError
from iscsim.host.model import Host
from iscsim.host.shell import Call, command
from iscsim.initiator.multipath import MapInUse, MultipathDevice
from iscsim.initiator.multipath.show import show_topology, topology
from iscsim.initiator.multipath.states import USABLE

_OPTIONS = "aAb:B:cCdfFhl:iLpqrtTUv:wW"


@command("multipath")
async def multipath(call: Call) -> int:
    """``-l``, ``-ll``, ``-r``, ``-f``, ``-F``, ``-a``, ``-w``, ``-C`` and nothing else."""
    arguments = ["-L" if each == "-ll" else each for each in call.arguments]
    try:
        found, names = getopt.gnu_getopt(arguments, _OPTIONS.replace("l:", "l"))
    except getopt.GetoptError as error:
        call.output.error(f"multipath: {error}")
        return 1
    options = dict(found)
    for letter, verb in _VERBS.items():
        if letter in options:
            return await verb(call, names)
    return await _reload(call, names) if not names else await _show(call, names, checked=True)


def _chosen(host: Host, names: list[str]) -> list[MultipathDevice]:
    """The maps of these names, or of a disk's; all without names."""
    maps = list(host.multipathd.maps.values())
    if not names:
        return maps
    real = [host.device_name(name) for name in names]
    return [
        device
        for device in maps
        if {device.alias, device.wwn, f"dm-{device.minor}", *(path.name for path in device.paths)} & set(real)
    ]


async def _show(call: Call, names: list[str], *, checked: bool) -> int:
    if checked:
        await call.host.multipathd.daemon.check_all()
    style = call.host.settings.multipath_tools_version
    call.output.text(show_topology(_chosen(call.host, names), checked=checked, style=style))
    return 0


async def _list(call: Call, names: list[str]) -> int:
    return await _show(call, names, checked=False)


async def _list_checked(call: Call, names: list[str]) -> int:
    return await _show(call, names, checked=True)


async def _reload(call: Call, names: list[str]) -> int:
    """Disks without a map get one if they should, and every map is loaded again."""
    await call.host.multipathd.reconfigure()
    for device in _chosen(call.host, names):
        call.output.text(topology(device, action="reload", applied=False))
    return 0


async def _flush(call: Call, names: list[str]) -> int:
    if not names:
        call.output.error(f"{call.host.now:.6f} | the -f option requires a map name to remove")
        return 1
    for name in names:
        try:
            call.host.multipathd.flush(call.host.device_name(name))
        except MapInUse as error:
            call.output.error(f"{call.host.now:.6f} | {error}")
            return 1
        except ConfigError:
            return 1
    return 0


async def _flush_all(call: Call, names: list[str]) -> int:
    exit_code = 0
    for device in list(call.host.multipathd.maps.values()):
        exit_code |= await _flush(call, [device.alias])
    return exit_code


async def _add(call: Call, names: list[str]) -> int:
    for name in names:
        wwid = _wwid(call.host, name)
        call.host.multipathd.add_wwid(wwid)
        call.output.line(f"wwid '{wwid}' added")
    return 0 if names else 1


async def _forget(call: Call, names: list[str]) -> int:
    for name in names:
        wwid = _wwid(call.host, name)
        if not call.host.multipathd.remove_wwid(wwid):
            call.output.line(f"wwid '{wwid}' not in wwids file")
            return 1
        call.output.line(f"wwid '{wwid}' removed")
    return 0 if names else 1


def _wwid(host: Host, name: str) -> str:
    disk = host.disk(name)
    return disk.properties.get("ID_SERIAL", name) if disk else name


async def _usable(call: Call, names: list[str]) -> int:
    """Whether each map has a path that works."""
    found = _chosen(call.host, names)
    works = [
        any(path.is_active and path.checker_state in USABLE for path in device.paths) for device in found
    ]
    return 0 if works and all(works) else 1


_VERBS = {
    "-L": _list_checked,
    "-l": _list,
    "-f": _flush,
    "-F": _flush_all,
    "-a": _add,
    "-w": _forget,
    "-C": _usable,
    "-r": _reload,
}
