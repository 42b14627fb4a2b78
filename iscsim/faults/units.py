"""Which targets and logical units a fault that happens by itself is about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from iscsim.errors import FaultError
from iscsim.faults.kinds import Parameter
from iscsim.faults.rule import FaultRule
from iscsim.faults.world import World
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import LUNMap, MappedLUN
from iscsim.target.node import TargetNode

__all__ = ["LUN", "TARGET", "luns_of", "mapped_of", "nodes_of", "units_of"]

TARGET = Parameter("target", str, "the target's name; every target, without it", known="target")
LUN = Parameter("lun", int, "the LUN; every one, without it", minimum=0, known="mapped_lun")


def nodes_of(rule: FaultRule, world: World) -> list[TargetNode]:
    """The targets that are meant. Raises `FaultError` when there is none."""
    wanted = rule.parameters["target"]
    found = [node for name, node in world.targets.items() if wanted in (None, name)]
    if not found:
        raise FaultError(f"{rule.id}: there is no target {wanted or 'at all'}")
    return found


def units_of(rule: FaultRule, world: World) -> list[LogicalUnit]:
    """The units that are meant, each once. Raises `FaultError` when there is none."""
    found = [unit for node in nodes_of(rule, world) for unit in node.units(rule.parameters["lun"])]
    if not found:
        raise FaultError(f"{rule.id}: there is no LUN {rule.parameters['lun']}")
    return list(dict.fromkeys(found))


def maps_of(node: TargetNode) -> Iterator[LUNMap]:
    """Every LUN map of a target, once."""
    return iter(dict.fromkeys(lun_map for access in node.accesses for lun_map in access.maps))


def luns_of(nodes: Iterable[TargetNode], rules: Iterable[FaultRule]) -> list[int]:
    """The LUNs there are, or may come to be by one of ``rules``."""
    mapped = {lun.number: None for node in nodes for lun_map in maps_of(node) for lun in lun_map}
    made = {value: None for rule in rules for value in [rule.parameters.get("to")] if type(value) is int}
    return sorted(mapped | made)


def mapped_of(
    rule: FaultRule, world: World, lun: int | None = None
) -> list[tuple[TargetNode, LUNMap, MappedLUN]]:
    """Where ``lun``, by default that of the rule, is mapped. Raises `FaultError` when nowhere."""
    number = rule.parameters["lun"] if lun is None else lun
    found = [
        (node, lun_map, mapped)
        for node in nodes_of(rule, world)
        for lun_map in maps_of(node)
        for mapped in lun_map
        if mapped.number == number
    ]
    if not found:
        raise FaultError(f"{rule.id}: there is no LUN {number}")
    return found
