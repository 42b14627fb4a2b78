"""Faults of LUNs: units that are not there, that are others, and that change without a word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from iscsim.errors import ConfigError, FaultError
from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.occasion import Hook
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import Seconds
from iscsim.faults.units import TARGET, mapped_of, maps_of, nodes_of
from iscsim.faults.world import Undo, World
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.lun import MAXIMUM_LUN, AddressingMethod
from iscsim.scsi.nexus import LUNMap
from iscsim.scsi.store import MemoryStore
from iscsim.scsi.unit_attention import UnitAttention

__all__: list[str] = []

_CHANGED = UnitAttention.REPORTED_LUNS_CHANGED


def _quietly(lun_map: LUNMap, notify: bool, change: Callable[[], Any]) -> None:
    """Do ``change``; without ``notify`` no nexus has to hear 3F/0E because of it."""
    told = {nexus: nexus.unit_attentions for nexus in lun_map.nexuses}
    before = {
        (nexus, unit)
        for nexus, waiting in told.items()
        for unit, pending in waiting.items()
        if _CHANGED in pending
    }
    change()
    if notify:
        return
    for nexus, waiting in told.items():
        for unit, pending in list(waiting.items()):
            if _CHANGED in pending and (nexus, unit) not in before:
                pending.remove(_CHANGED)
                if not pending:
                    del waiting[unit]


def _take_away(rule: FaultRule, world: World) -> Undo:
    """The LUN is gone from every map it is in; undone, it is there again."""
    notify = rule.parameters["notify"]
    places = [
        (lun_map, mapped.number, mapped.logical_unit, mapped.read_only)
        for _, lun_map, mapped in mapped_of(rule, world)
    ]
    for lun_map, number, _, _ in places:
        _quietly(lun_map, notify, partial(lun_map.remove, number))

    def put_back() -> None:
        while places:  # once, whoever comes first
            _map_again(*places.pop(), notify)

    return put_back


def _map_again(lun_map: LUNMap, number: int, unit: LogicalUnit, read_only: bool, notify: bool) -> None:
    if number not in lun_map:
        _quietly(lun_map, notify, lambda: lun_map.add(number, unit, read_only))


def _appear_late(rule: FaultRule, world: World) -> Undo:
    put_back = _take_away(rule, world)
    handle = world.call_at(world.time() + rule.parameters["delay"], put_back)

    def undo() -> None:
        handle.cancel()
        put_back()

    return undo


def _renumber(rule: FaultRule, world: World) -> Undo:
    number, notify = rule.parameters["to"], rule.parameters["notify"]
    found = mapped_of(rule, world)
    if any(number in lun_map for _, lun_map, _ in found):
        raise FaultError(f"{rule.id}: LUN {number} is mapped already")

    def move(lun_map: LUNMap, old: int, new: int, read_only: bool) -> None:
        if old in lun_map and new not in lun_map:
            _quietly(lun_map, notify, lambda: lun_map.add(new, lun_map.remove(old), read_only))

    moves = [(lun_map, mapped.number, mapped.read_only) for _, lun_map, mapped in found]
    for lun_map, old, read_only in moves:
        move(lun_map, old, number, read_only)

    def move_back() -> None:
        for lun_map, old, read_only in moves:
            move(lun_map, number, old, read_only)

    return move_back


def _swap(rule: FaultRule, world: World) -> Undo:
    """Another unit answers under the LUN: the one of another LUN, or a new one."""
    given = rule.parameters
    if given["other"] is not None:
        (_, _, other), *_ = mapped_of(rule, world, given["other"])
        unit = other.logical_unit
    else:
        (_, _, mapped), *_ = mapped_of(rule, world)
        unit = _stranger(mapped.logical_unit, given["wwn"], given["data"])
    before = [(lun_map, lun_map.replace(given["lun"], unit)) for _, lun_map, _ in mapped_of(rule, world)]
    _announce(unit, UnitAttention.INQUIRY_DATA_CHANGED, given["notify"])

    def swap_back() -> None:
        for lun_map, old in before:
            if given["lun"] in lun_map:
                lun_map.replace(given["lun"], old)

    return swap_back


def _stranger(unit: LogicalUnit, wwn: str | None, other_data: bool) -> LogicalUnit:
    """A disk of the same make and size, with another name and nothing on it, or the same data."""
    return LogicalUnit(
        MemoryStore(unit.blocks, unit.block_size) if other_data else unit.store,
        serial=f"{unit.serial[:190]}-other",
        wwn=wwn,
        vendor=unit.vendor,
        product=unit.product,
        revision=unit.revision,
        thin=unit.thin,
    )


def _check_swap(given: Mapping[str, Any]) -> None:
    if given["other"] is not None and (given["wwn"] is not None or not given["data"]):
        raise ConfigError("lun.swap_identity: the unit of another LUN has its own WWN and data")


def _announce(unit: LogicalUnit, attention: UnitAttention, notify: bool) -> None:
    if notify:
        unit.establish(attention)


def _duplicate(rule: FaultRule, world: World) -> Undo:
    (_, _, original), *_ = mapped_of(rule, world, rule.parameters["of"])
    before = [(each.logical_unit, each.logical_unit.wwn) for _, _, each in mapped_of(rule, world)]
    for unit, _ in before:
        unit.wwn = original.logical_unit.wwn

    def give_back() -> None:
        for unit, wwn in before:
            unit.wwn = wwn

    return give_back


def _resize(rule: FaultRule, world: World) -> None:
    given = rule.parameters
    for unit in dict.fromkeys(mapped.logical_unit for _, _, mapped in mapped_of(rule, world)):
        blocks, rest = divmod(given["bytes"], unit.block_size)
        if rest:
            raise FaultError(f"{rule.id}: {given['bytes']} bytes are not whole blocks of {unit.block_size}")
        if given["notify"]:
            unit.resize(blocks)
        else:
            unit.store.resize(blocks)
            unit.blocks = unit.store.blocks


def _protect(rule: FaultRule, world: World) -> Undo:
    found = [(mapped, mapped.read_only) for _, _, mapped in mapped_of(rule, world)]
    for mapped, _ in found:
        mapped.read_only = True
        _announce(mapped.logical_unit, UnitAttention.MODE_PARAMETERS_CHANGED, rule.parameters["notify"])

    def give_back() -> None:
        for mapped, read_only in found:
            mapped.read_only = read_only

    return give_back


_METHODS: dict[str, AddressingMethod | None] = {"sam": "peripheral", "sam2": None, "flat": "flat"}


def _address(rule: FaultRule, world: World) -> Undo:
    maps = [(each, each.method) for node in nodes_of(rule, world) for each in maps_of(node)]
    for lun_map, _ in maps:
        lun_map.method = _METHODS[rule.parameters["mode"]]

    def give_back() -> None:
        for lun_map, method in maps:
            lun_map.method = method

    return give_back


# -- the catalogue --------------------------------------------------------------------------------

_LUN = Parameter("lun", int, "the LUN", required=True, minimum=0, maximum=MAXIMUM_LUN, known="mapped_lun")


def _other_lun(name: str, summary: str, *, required: bool = True, known: str = "lun") -> Parameter:
    return Parameter(name, int, summary, required=required, minimum=0, maximum=MAXIMUM_LUN, known=known)


def _notify(default: bool, code: str) -> Parameter:
    return Parameter("notify", bool, f"tell the sessions with unit attention {code}", default=default)


def _add(name: str, summary: str, observable: str, action: Callable[..., Any], **more: Any) -> None:
    parameters = (TARGET, *more.pop("parameters"))
    add_kind(
        FaultKind(
            name=f"lun.{name}",
            hooks=(Hook.TIMER,),
            summary=summary,
            observable=observable,
            action=action,
            parameters=parameters,
            **more,
        )
    )


_add(
    "hide",
    "A LUN is not there: the export has failed and nobody said so.",
    "REPORT LUNS lacks it, commands end with 05/25/00; os-brick scans again and gives up",
    _take_away,
    parameters=(_LUN, _notify(False, "3F/0E")),
)
_add(
    "remove_in_use",
    "A LUN is unmapped while it is used.",
    "06/3f/0e on the other LUNs, and 05/25/00 for whatever still uses it",
    _take_away,
    parameters=(_LUN, _notify(True, "3F/0E")),
)
_add(
    "appear_late",
    "A LUN comes only some time after the array has said that it is there.",
    "a scan finds it at the second or third attempt",
    _appear_late,
    parameters=(
        _LUN,
        Parameter("delay", Seconds, "how late", required=True),
        _notify(False, "3F/0E"),
    ),
)
_add(
    "renumber",
    "A unit is found under another number.",
    "05/25/00 under the old one; a host that does not look at the WWID attaches the wrong disk",
    _renumber,
    parameters=(_LUN, _other_lun("to", "its new number", known=""), _notify(True, "3F/0E")),
)
_add(
    "swap_identity",
    "Another unit answers under the same LUN: a mapping was used again (the class of CVE-2023-2088).",
    "nothing at all but another WWID in page 83h: who does not look writes to somebody else's volume",
    _swap,
    parameters=(
        _LUN,
        _other_lun("other", "the LUN whose unit answers; a new one, without it", required=False),
        Parameter("wwn", str, "the new unit's name; derived, without it"),
        Parameter("data", bool, "a new unit has other data too: zeros", default=True),
        _notify(False, "3F/03"),
    ),
    check=_check_swap,
)
_add(
    "duplicate_wwid",
    "Two units have one WWID.",
    "multipath makes one map of two disks",
    _duplicate,
    parameters=(_LUN, _other_lun("of", "the LUN whose WWID it shows")),
)
_add(
    "resize",
    "The capacity changes.",
    "06/2a/09 once, and another READ CAPACITY; beyond the end 05/21/00",
    _resize,
    parameters=(
        _LUN,
        Parameter("bytes", int, "the new size", required=True, minimum=512),
        _notify(True, "2A/09"),
    ),
)
_add(
    "readonly",
    "A LUN can only be read any more.",
    "07/27/00 for writes, and the WP bit of mode data",
    _protect,
    parameters=(_LUN, _notify(False, "2A/01")),
)
_add(
    "addressing",
    "REPORT LUNS writes LUNs in another way: `sam` with 8 bits, `sam2` flat from 256 on, `flat` always flat.",
    "LUN 1 as 0001 or 4001: a host that takes the field for a number finds LUN 16385",
    _address,
    parameters=(Parameter("mode", str, "which way", required=True, choices=tuple(_METHODS)),),
)
