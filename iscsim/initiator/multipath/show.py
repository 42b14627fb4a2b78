"""Maps and paths as text, in the very form of ``multipath`` and ``multipathd show``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from iscsim.initiator.multipath.path import Path
from iscsim.initiator.multipath.states import SHOWN, CheckerState

if TYPE_CHECKING:
    from iscsim.initiator.multipath.device import MultipathDevice
    from iscsim.initiator.multipath.grouping import PathGroup

__all__ = [
    "MAP_COLUMNS",
    "MAP_NAMES",
    "MAP_STATISTICS",
    "MAP_STATUS",
    "PATH_COLUMNS",
    "describe",
    "format_size",
    "show_maps",
    "show_paths",
    "show_status",
    "show_topology",
    "topology",
]

PATH_CHECKER = "%i %d %D %p %t %T %o %C"
MAP_STATUS = "%n %F %Q %N %t %r"
MAP_STATISTICS = "%n %0 %1 %2 %3 %4"
MAP_NAMES = "%n %d %w"
_PATH_INDENT = "%i %d %D %t %T %o"
_PROGRESS_LENGTH = 10
_UNITS = "KMGTP"

Item = TypeVar("Item")
Column = tuple[str, Callable[[Item], str]]
Row = tuple["MultipathDevice", Path]


def format_size(size: int) -> str:
    """As ``multipath`` shows it: ``3.0G``, ``512K``, ``64M``; one decimal below 10."""
    value, unit = float(size // 1024), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f}{_UNITS[unit]}" if value < 10 else f"{value:.0f}{_UNITS[unit]}"


def _progress(current: int, total: int) -> str:
    done = _PROGRESS_LENGTH * current // total if total > 0 else 0
    return f"{'X' * done}{'.' * (_PROGRESS_LENGTH - done)} {current}/{total}"


def _failback(device: MultipathDevice) -> str:
    if device.settings.failback in ("immediate", "followover"):
        return str(device.settings.failback)
    if not device.failback_tick:
        return "-"
    return _progress(device.failback_tick, int(device.settings.failback))


def _queueing(device: MultipathDevice) -> str:
    retry = device.settings.no_path_retry
    if not isinstance(retry, int):
        return {"fail": "off", "queue": "on", None: "-"}[retry]
    if device.retry_tick:
        return f"{device.retry_tick} sec"
    return f"{retry} chk" if device.active_paths else "off"


def _sysfs_name(device: MultipathDevice) -> str:
    return "undef" if device.minor is None else f"dm-{device.minor}"


def _statistic(name: str) -> Callable[[MultipathDevice], str]:
    return lambda device: str(device.statistics[name])


MAP_COLUMNS: dict[str, Column[MultipathDevice]] = {
    "n": ("name", lambda device: device.alias),
    "w": ("uuid", lambda device: device.wwn),
    "d": ("sysfs", _sysfs_name),
    "F": ("failback", _failback),
    "Q": ("queueing", _queueing),
    "N": ("paths", lambda device: str(len(device.active_paths))),
    "r": ("write_prot", lambda device: "ro" if device.unit.read_only else "rw"),
    "t": ("dm-st", lambda device: "active"),
    "S": ("size", lambda device: format_size(device.size)),
    "f": ("features", lambda device: device.features),
    "x": ("failures", _statistic("failures")),
    "h": ("hwhandler", lambda device: device.hardware_handler),
    "0": ("path_faults", _statistic("path_faults")),
    "1": ("switch_grp", _statistic("switch_grp")),
    "2": ("map_loads", _statistic("map_loads")),
    "3": ("total_q_time", _statistic("total_q_time")),
    "4": ("q_timeouts", _statistic("q_timeouts")),
    "s": ("vend/prod", lambda device: f"{device.unit.vendor},{device.unit.product}"),
    "v": ("vend", lambda device: device.unit.vendor),
    "p": ("prod", lambda device: device.unit.product),
    "e": ("rev", lambda device: device.unit.revision),
    "G": ("foreign", lambda device: "--"),
    "g": ("vpd page data", lambda device: "[undef]"),
}
"""Wildcards of ``show maps format``: header, and what a map has there."""


def _identification(row: Row) -> str:
    unit = row[1].unit
    return ",".join(text or "##" for text in (unit.vendor, unit.product, unit.revision))


def _target_name(row: Row) -> str:
    return str(getattr(row[1].session, "target_name", "") or "[undef]")


def _address(row: Row) -> str:
    return str(getattr(getattr(row[1].session, "portal", None), "address", "[undef]"))


PATH_COLUMNS: dict[str, Column[Row]] = {
    "w": ("uuid", lambda row: row[1].unit.wwn),
    "i": ("hcil", lambda row: row[1].hctl or "#:#:#:#"),
    "d": ("dev", lambda row: row[1].name or "-"),
    "D": ("dev_t", lambda row: row[1].device_number or "#:#"),
    "t": ("dm_st", lambda row: row[1].state.value),
    "o": ("dev_st", lambda row: row[1].device_state),
    "T": ("chk_st", lambda row: SHOWN.get(row[1].checker_state, "undef")),
    "s": ("vend/prod/rev", _identification),
    "c": ("checker", lambda row: row[0].checker_of(row[1])),
    "C": ("next_check", lambda row: _progress(row[1].tick, row[1].check_interval)),
    "p": ("pri", lambda row: str(row[1].priority)),
    "S": ("size", lambda row: format_size(row[1].unit.size)),
    "z": ("serial", lambda row: row[1].unit.serial),
    "M": ("marginal_st", lambda row: "normal"),
    "m": ("multipath", lambda row: row[0].alias),
    "N": ("host WWNN", lambda row: "[undef]"),
    "n": ("target WWNN", _target_name),
    "R": ("host WWPN", lambda row: "[undef]"),
    "r": ("target WWPN", lambda row: "[undef]"),
    "a": ("host adapter", _address),
    "G": ("foreign", lambda row: "--"),
    "g": ("vpd page data", lambda row: "[undef]"),
    "0": ("failures", lambda row: str(row[1].failures)),
    "P": ("protocol", lambda row: "scsi:iscsi"),
    "I": ("init_st", lambda row: "ok"),
    "L": ("LUN hex", lambda row: f"0x{row[1].unit.lun.hex()}"),
}
"""Wildcards of ``show paths format``: header, and what a path of a map has there."""


def _expand(form: str, cells: Mapping[str, str], widths: Mapping[str, int]) -> str:
    """``form`` with every ``%x`` replaced and padded to its width; wildcards nobody knows are left out."""
    text, *parts = form.split("%")
    for part in parts:
        key = part[:1]
        text += cells.get(key, "").ljust(widths.get(key, 0)) + part[1:]
    return text + "\n"


def _table(
    items: Iterable[Item], columns: Mapping[str, Column[Item]], form: str, *, header: bool, padded: bool
) -> str:
    wanted = [part[:1] for part in form.split("%")[1:] if part[:1] in columns]
    rows = [{key: columns[key][1](item) for key in wanted} for item in items]
    if header:
        rows.insert(0, {key: columns[key][0] for key in wanted})
    widths = {key: max((len(row[key]) for row in rows), default=0) for key in wanted} if padded else {}
    return "".join(_expand(form, row, widths) for row in rows)


def _rows(devices: Iterable[MultipathDevice]) -> list[Row]:
    return [(device, path) for device in devices for path in device.paths]


def show_paths(devices: Iterable[MultipathDevice], form: str = PATH_CHECKER, *, raw: bool = False) -> str:
    """``multipathd show paths [raw] format FORM``."""
    return _table(_rows(devices), PATH_COLUMNS, form, header=not raw, padded=not raw)


def show_maps(devices: Iterable[MultipathDevice], form: str = MAP_NAMES, *, raw: bool = False) -> str:
    """``multipathd show maps [raw] format FORM``; see `MAP_NAMES`, `MAP_STATUS` and `MAP_STATISTICS`."""
    return _table(devices, MAP_COLUMNS, form, header=not raw, padded=not raw)


def show_status(devices: Iterable[MultipathDevice], *, busy: bool = False) -> str:
    """``multipathd show status``: how many paths are in which state."""
    states = [path.checker_state for _, path in _rows(devices)]
    lines = ["path checker states:"]
    lines += [f"{state.value:<20}{states.count(state)}" for state in CheckerState if state in states]
    return "\n".join([*lines, "", f"paths: {len(states)}", f"busy: {busy}", ""])


def topology(
    device: MultipathDevice,
    *,
    checked: bool = True,
    action: str = "",
    applied: bool = True,
    beside: Sequence[MultipathDevice] = (),
) -> str:
    """One map as ``multipath -ll`` shows it, or ``multipath -l``, which asks no path: not ``checked``.

    ``action`` is what ``multipath -r`` and others say they do, ``"reload"``; it is shown not ``applied`` yet,
    when nothing is known from the kernel. Columns are as wide as these paths need, and those of ``beside``.
    """
    sysfs, features, protection = _sysfs_name(device), device.features, MAP_COLUMNS["r"][1](device)
    if not applied:
        sysfs, features, protection = "undef", device.settings.features, "undef"
    alias = device.alias if device.alias == device.wwn else f"{device.alias} ({device.wwn})"
    vendor, product = device.unit.vendor or "##", device.unit.product or "##"
    lines = [
        f"{action}: {alias}" * bool(action) or alias,
        f"size={format_size(device.size)} features='{features}' hwhandler='{device.hardware_handler}'"
        f" wp={protection}",
    ]
    lines[0] += f" {sysfs} {vendor},{product}"
    cells = _path_cells([device, *beside], checked)
    for index, group in enumerate(device.groups):
        last = index == len(device.groups) - 1
        lines.append(f"{'`' if last else '|'}-+- {_group_line(device, group, checked, applied)}")
        for path in group.paths:
            branch = "`" if path is group.paths[-1] else "|"
            lines.append(f"{' ' if last else '|'} {branch}- {cells[path]}")
    return "\n".join([*lines, ""])


def _group_line(device: MultipathDevice, group: PathGroup, checked: bool, applied: bool) -> str:
    status = device.group_state(group).value if applied else "undef"
    priority = group.priority if checked else 0
    return f"policy='{device.settings.path_selector}' prio={priority} status={status}"


def _path_cells(devices: Sequence[MultipathDevice], checked: bool) -> dict[Path, str]:
    columns = dict(PATH_COLUMNS)
    if not checked:
        columns["T"] = ("chk_st", lambda row: "undef")
    rows = _rows(devices)
    text = _table(rows, columns, _PATH_INDENT, header=False, padded=True)
    return {path: line for (_, path), line in zip(rows, text.splitlines(), strict=True)}


def show_topology(devices: Sequence[MultipathDevice], *, checked: bool = True, style: str = "0.9.4") -> str:
    """All maps as ``multipath -ll`` shows them, or ``-l``. Up to 0.8 columns are as wide as any map needs."""
    beside = [] if style == "0.9.4" else list(devices)
    return "".join(topology(device, checked=checked, beside=beside) for device in devices)


def describe(device: MultipathDevice) -> str:
    """For people: `topology`, with portals where a path has no name."""
    text = topology(device).rstrip("\n").splitlines()
    if device.minor is None:
        text[0] = text[0].replace(" undef ", " ", 1)
    shown = iter(path for group in device.groups for path in group.paths)
    lines = []
    for line in text:
        if line[2:5] in ("|- ", "`- "):
            path = next(shown)
            line = line if path.name else f"{line[:5]}{path}"
        lines.append(line)
    return "\n".join(lines)
