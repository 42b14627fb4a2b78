"""I_T nexuses, and which logical units each sees under which number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from iscsim.errors import ConfigError
from iscsim.scsi.lun import MAXIMUM_LUN, AddressingMethod, InvalidLUN, decode_lun, encode_lun, lun_encodings
from iscsim.scsi.target_ports import TargetPorts
from iscsim.scsi.task_management import TaskManagement
from iscsim.scsi.unit_attention import UnitAttention

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.scsi.profile import DeviceProfile

__all__ = ["ITNexus", "LUNMap", "MappedLUN"]


class ITNexus:
    """One initiator port at one target port (SAM-5), which for iSCSI is one session.

    ``initiator_port`` is ``"iqn...,i,0x00023d000001"``, ``target_port`` ``"iqn...,t,0x0001"``;
    ``target_port_names()`` are all ports its target has now, by relative target port identifier.
    ``unit_attentions`` holds what is still to be told, by logical unit and in the order of precedence; a unit
    with nothing to tell has no entry, so the device server's quick path looks at nothing but its truth.
    ``target_ports`` are the ports of the whole target device, only its own one unless they are given;
    ``task_management`` is what the transport does at this port.
    ``clock`` tells the time to what takes some, in seconds; without one nothing does. ``profile`` is the make
    of the target, which may have something to say at LUN 0 when no unit is there.
    """

    __slots__ = (
        "clock",
        "initiator_name",
        "initiator_port",
        "lun_map",
        "on_attention",
        "profile",
        "relative_target_port",
        "target_name",
        "target_port",
        "target_port_group",
        "target_port_names",
        "target_ports",
        "task_management",
        "unit_attentions",
    )

    def __init__(
        self,
        *,
        initiator_name: str,
        initiator_port: str,
        target_name: str,
        target_port: str,
        lun_map: LUNMap,
        relative_target_port: int = 1,
        target_port_group: int = 1,
        target_ports: TargetPorts | None = None,
        task_management: TaskManagement = TaskManagement.NONE,
        target_port_names: Callable[[], Mapping[int, str]] | None = None,
        clock: Callable[[], float] | None = None,
        profile: DeviceProfile | None = None,
    ) -> None:
        self.clock = clock
        self.profile = profile
        self.initiator_name = initiator_name
        self.initiator_port = initiator_port
        self.target_name = target_name
        self.target_port = target_port
        self.lun_map = lun_map
        self.relative_target_port = relative_target_port
        self.target_port_group = target_port_group
        if target_ports is None:
            target_ports = TargetPorts(lambda: {target_port_group: (relative_target_port,)})
        self.target_ports = target_ports
        self.task_management = task_management
        self.target_port_names = target_port_names or (lambda: {relative_target_port: target_port})
        self.unit_attentions: dict[LogicalUnit, list[UnitAttention]] = {}
        self.on_attention: Callable[[LogicalUnit, UnitAttention], None] | None = None
        """Called with every new unit attention, which stays to be told all the same."""

    @property
    def port_in_group(self) -> int:
        """The number of its port among those of the target port group, from 0."""
        ports = self.target_ports.get(self.target_port_group, ())
        return ports.index(self.relative_target_port) if self.relative_target_port in ports else 0

    @property
    def sees_placeholder(self) -> bool:
        """Whether LUN 0 is there although no unit is mapped under it (EMC's LUNZ)."""
        return bool(self.profile and self.profile.placeholder) and 0 not in self.lun_map

    def luns(self) -> list[bytes]:
        """What REPORT LUNS lists, ascending."""
        placeholder = [self.lun_map.encode(0)] if self.sees_placeholder else []
        return placeholder + self.lun_map.luns()

    def establish(self, logical_unit: LogicalUnit, attention: UnitAttention) -> None:
        """Have ``attention`` reported to this nexus once; one that waits already is not queued again."""
        pending = self.unit_attentions.setdefault(logical_unit, [])
        if attention not in pending:
            pending.append(attention)
            pending.sort(key=lambda waiting: waiting.rank)
            if self.on_attention is not None:
                self.on_attention(logical_unit, attention)

    def take(self, logical_unit: LogicalUnit) -> UnitAttention | None:
        """The condition to report now, which is thereby cleared; None when there is none."""
        pending = self.unit_attentions.get(logical_unit)
        if not pending:
            return None
        attention = pending.pop(0)
        if not pending:
            del self.unit_attentions[logical_unit]
        return attention

    def clear(self, attention: UnitAttention) -> None:
        """Forget ``attention`` on every logical unit."""
        for logical_unit, pending in list(self.unit_attentions.items()):
            if attention in pending:
                pending.remove(attention)
            if not pending:
                del self.unit_attentions[logical_unit]

    def __repr__(self) -> str:
        return f"ITNexus({self.initiator_port} -> {self.target_port})"


class MappedLUN:
    """A logical unit under its number; ``read_only`` protects it through this map only."""

    __slots__ = ("logical_unit", "number", "read_only")

    def __init__(self, number: int, logical_unit: LogicalUnit, read_only: bool = False) -> None:
        self.number = number
        self.logical_unit = logical_unit
        self.read_only = read_only


class LUNMap:
    """LUN -> logical unit, for the nexuses attached to the map.

    ``by_lun`` is keyed by the raw 8 bytes, with an entry for every usual way to write a number (SAM-5; a LUN
    must not slip past its map by another spelling). ``method`` is the addressing REPORT LUNS shows, by
    default the shortest.
    """

    __slots__ = ("_by_number", "by_lun", "method", "nexuses")

    def __init__(self, method: AddressingMethod | None = None) -> None:
        self.method = method
        self.by_lun: dict[bytes, MappedLUN] = {}
        self._by_number: dict[int, MappedLUN] = {}
        self.nexuses: dict[ITNexus, None] = {}  # a set that keeps its order

    def __iter__(self) -> Iterator[MappedLUN]:
        """Ascending by number."""
        return iter(sorted(self._by_number.values(), key=lambda mapped: mapped.number))

    def __len__(self) -> int:
        return len(self._by_number)

    def __contains__(self, number: object) -> bool:
        return number in self._by_number

    def luns(self) -> list[bytes]:
        """What REPORT LUNS lists, ascending."""
        return [self.encode(mapped.number) for mapped in self]

    def encode(self, number: int) -> bytes:
        """``number`` by this map's addressing method; a number too large for it takes the next that fits."""
        try:
            return encode_lun(number, self.method)
        except InvalidLUN:
            return encode_lun(number)

    def lookup(self, lun: bytes) -> MappedLUN | None:
        """The unit behind 8 bytes, however they are written; None when none is mapped there."""
        found = self.by_lun.get(lun)
        if found is not None:
            return found
        try:
            return self._by_number.get(decode_lun(lun))
        except InvalidLUN:
            return None

    def add(self, number: int, logical_unit: LogicalUnit, read_only: bool = False) -> MappedLUN:
        """Map a unit while nexuses look on: they hear 3F/0E on what they had, and 29/00 on the new one.

        Raises `ConfigError` when the number is taken or is not 0 to 2**24 - 1.
        """
        if not hasattr(logical_unit, "nexuses"):
            raise ConfigError(f"LUN {number}: expected a LogicalUnit, not {logical_unit!r:.40}")
        if not 0 <= number <= MAXIMUM_LUN:
            raise ConfigError(f"LUN {number}: expected 0 to {MAXIMUM_LUN}")
        if number in self._by_number:
            raise ConfigError(f"LUN {number} is mapped already")
        self._announce_change()
        mapped = self._by_number[number] = MappedLUN(number, logical_unit, read_only)
        self.by_lun |= dict.fromkeys(lun_encodings(number), mapped)
        for nexus in self.nexuses:
            if nexus not in logical_unit.nexuses:
                logical_unit.nexuses[nexus] = None
                nexus.establish(logical_unit, UnitAttention.POWER_ON_RESET)
        return mapped

    def remove(self, number: int) -> LogicalUnit:
        """Take a unit away: the nexuses hear 3F/0E on what they keep.

        Raises `ConfigError` for a free number.
        """
        mapped = self._by_number.pop(number, None)
        if mapped is None:
            raise ConfigError(f"LUN {number} is not mapped")
        for lun in lun_encodings(number):
            del self.by_lun[lun]
        logical_unit = mapped.logical_unit
        if not self._sees(logical_unit):
            for nexus in self.nexuses:
                logical_unit.forget(nexus)
        self._announce_change()
        return logical_unit

    def replace(self, number: int, logical_unit: LogicalUnit) -> LogicalUnit:
        """Have another unit answer under a number, and tell nobody; returns the one before.

        Raises `ConfigError` for a free number.
        """
        mapped = self._by_number.get(number)
        if mapped is None:
            raise ConfigError(f"LUN {number} is not mapped")
        before, mapped.logical_unit = mapped.logical_unit, logical_unit
        for nexus in self.nexuses:
            if not self._sees(before):
                before.forget(nexus)
            logical_unit.nexuses[nexus] = None
        return before

    def swap(self, number: int, logical_unit: LogicalUnit, read_only: bool = False) -> LogicalUnit:
        """The same, and tell: the nexuses hear 3F/03 on the new unit, as INQUIRY data there are others now,
        and 3F/0E on all (SPC-4, "INQUIRY command" and "REPORT LUNS command").

        Raises `ConfigError` for a free number.
        """
        before = self.replace(number, logical_unit)
        self._by_number[number].read_only = read_only
        for nexus in self.nexuses:
            nexus.establish(logical_unit, UnitAttention.INQUIRY_DATA_CHANGED)
        self._announce_change()
        return before

    def _sees(self, logical_unit: LogicalUnit) -> bool:
        return any(mapped.logical_unit is logical_unit for mapped in self._by_number.values())

    def _announce_change(self) -> None:
        for mapped in self:
            for nexus in self.nexuses:
                nexus.establish(mapped.logical_unit, UnitAttention.REPORTED_LUNS_CHANGED)

    def attach(self, nexus: ITNexus, attention: UnitAttention) -> None:
        """A nexus begins to look through the map, and hears ``attention`` once on every unit."""
        self.nexuses[nexus] = None
        for mapped in self:
            mapped.logical_unit.nexuses[nexus] = None
            nexus.establish(mapped.logical_unit, attention)

    def detach(self, nexus: ITNexus) -> None:
        """A nexus is gone, with all that was still to be told to it."""
        self.nexuses.pop(nexus, None)
        for mapped in self:
            mapped.logical_unit.forget(nexus)
        nexus.unit_attentions.clear()
