"""lsblk: the host's block devices as a tree, or as a list."""

from __future__ import annotations

import getopt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from iscsim.host.model import Host
from iscsim.host.shell import Call, command
from iscsim.host.udev import DEVICE_MAPPER_MAJOR
from iscsim.initiator.multipath import MultipathDevice

_DEFAULT = ("NAME", "MAJ:MIN", "RM", "SIZE", "RO", "TYPE", "MOUNTPOINTS")
_UNITS = "BKMGTP"


@dataclass(slots=True)
class _Device:
    name: str
    number: str
    size: int
    read_only: bool = False
    kind: str = "disk"
    mountpoint: str = ""
    children: list[_Device] = field(default_factory=list)


def _devices(host: Host) -> list[_Device]:
    """The roots; sd before what the host has of its own, as the kernel lists them."""
    roots = []
    maps = host.multipathd.maps.values()
    for disk in sorted(host.kernel.disks.values(), key=lambda disk: (len(disk.name), disk.name)):
        if not disk.size:
            continue  # lsblk leaves out what has no size
        device = _Device(disk.name, disk.device_number, disk.size, disk.read_only)
        mine = [each for each in maps if disk.name in [path.name for path in each.paths]]
        device.children = [_map(host, each) for each in mine]
        roots.append(device)
    locals_ = {
        each.name: _Device(each.name, each.device_number, each.size, False, each.kind, each.mountpoint)
        for each in host.settings.local_disks
    }
    for local in host.settings.local_disks:
        if local.parent in locals_:
            locals_[local.parent].children.append(locals_[local.name])
        else:
            roots.append(locals_[local.name])
    return roots


def _map(host: Host, device: MultipathDevice) -> _Device:
    number = f"{DEVICE_MAPPER_MAJOR}:{device.minor}"
    mountpoint = host.mounts.get(f"/dev/mapper/{device.alias}", "")
    return _Device(device.alias, number, device.size, device.unit.read_only, "mpath", mountpoint)


def shown_size(size: int) -> str:
    """As lsblk shows it: ``64M``, ``3G``, ``1.5G``."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    text = f"{value:.1f}".removesuffix(".0")
    return f"{text}{_UNITS[unit]}"


@dataclass(frozen=True, slots=True)
class _Column:
    """How a column is filled; numbers are at the right."""

    cell: Callable[[_Device], str]
    right: bool = False
    least: int = 0


def _number(device: _Device) -> str:
    major, _, minor = device.number.partition(":")
    return f"{major:>3}:{minor:<3}"


_COLUMNS = {
    "NAME": _Column(lambda device: device.name),
    "KNAME": _Column(lambda device: device.name),
    "MAJ:MIN": _Column(_number, least=7),
    "RM": _Column(lambda device: "0", right=True),
    "SIZE": _Column(lambda device: shown_size(device.size), right=True),
    "RO": _Column(lambda device: str(int(device.read_only)), right=True),
    "TYPE": _Column(lambda device: device.kind),
    "MOUNTPOINTS": _Column(lambda device: device.mountpoint),
    "MOUNTPOINT": _Column(lambda device: device.mountpoint),
}


def _walk(devices: Sequence[_Device], lead: str = "") -> Iterator[tuple[str, _Device]]:
    """Devices with what is drawn before their names."""
    for device in devices:
        yield lead, device
        stem = lead.replace("├─", "│ ").replace("└─", "  ")
        for position, child in enumerate(device.children):
            branch = "└─" if position == len(device.children) - 1 else "├─"
            yield from _walk([child], stem + branch)


@command("lsblk")
async def lsblk(call: Call) -> int:
    """List block devices; ``-o``, ``-l``, ``-n`` are understood."""
    try:
        found, wanted = getopt.gnu_getopt(
            call.arguments, "o:lnbdap", ["output=", "list", "noheadings", "bytes", "nodeps", "all", "paths"]
        )
    except getopt.GetoptError as error:
        call.output.error(f"lsblk: {error}")
        return 1
    options = dict(found)
    names = (options.get("-o") or options.get("--output") or ",".join(_DEFAULT)).upper().split(",")
    unknown = [name for name in names if name not in _COLUMNS]
    if unknown:
        call.output.error(f"lsblk: unknown column: {unknown[0]}")
        return 1
    flat = "-l" in options or "--list" in options
    rows = [(lead, device) for lead, device in _walk(_devices(call.host)) if _is_wanted(device, wanted)]
    table = [[_cell(name, lead, device, flat) for name in names] for lead, device in rows]
    headings = "-n" not in options and "--noheadings" not in options
    for line in _lines(names, table, headings):
        call.output.line(line)
    return 0 if rows or not wanted else 32


def _is_wanted(device: _Device, wanted: Sequence[str]) -> bool:
    return not wanted or any(name.rpartition("/")[2] == device.name for name in wanted)


def _cell(name: str, lead: str, device: _Device, flat: bool) -> str:
    text = _COLUMNS[name].cell(device)
    return lead + text if name == "NAME" and not flat else text


def _lines(names: Sequence[str], rows: Sequence[Sequence[str]], headings: bool) -> Iterator[str]:
    widths = [
        max([len(name), _COLUMNS[name].least, *(len(row[index]) for row in rows)])
        for index, name in enumerate(names)
    ]
    for row in ([list(names)] if headings else []) + [list(row) for row in rows]:
        cells = [
            text.rjust(width) if _COLUMNS[name].right else text.ljust(width)
            for name, text, width in zip(names, row, widths, strict=True)
        ]
        if not _COLUMNS[names[-1]].right:
            cells[-1] = row[-1]
        yield " ".join(cells)
