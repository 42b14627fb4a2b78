"""Where the blocks of LUNs are: memory, files and devices, each with a name and an identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iscsim.errors import ConfigError
from iscsim.hints import hint
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.store import BlockStore, FileStore, MemoryStore
from iscsim.target.administration.errors import AlreadyExists, NotFound
from iscsim.target.options import normalize_wwn

if TYPE_CHECKING:
    from iscsim.target.node import TargetNode
    from iscsim.target.policy import TargetPolicy

__all__ = ["Backstore", "BackstoreSpec", "Backstores"]


@dataclass(slots=True, kw_only=True)
class BackstoreSpec:
    """What a backstore is to be, as ``backstore.create`` says it. Raises ConfigError for what cannot be."""

    name: str
    plugin: str = "ramdisk"
    path: str | None = None
    size: int | None = None
    block_size: int = 512
    serial: str
    wwn: str | None = None
    read_only: bool = False
    write_back: bool = True
    thin: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"backstore {self.name}"
        if self.block_size not in (512, 4096):
            raise ConfigError(f"{where}: block_size {self.block_size}: expected 512 or 4096")
        if self.size is not None and self.size % self.block_size:
            raise ConfigError(f"{where}: {self.size} bytes are no multiple of {self.block_size}")
        if (self.plugin == "ramdisk") is (self.path is not None):
            has = "needs a path" if self.path is None else "has no path (plugin fileio has one)"
            raise ConfigError(f"{where}: {self.plugin} {has}")
        if self.plugin == "ramdisk" and self.size is None:
            raise ConfigError(f"{where}: a ramdisk needs a size")
        if not _are_groups(self.attributes.get("alua_tpgs", [{"name": ""}])):
            raise ConfigError(f"{where}: attribute alua_tpgs: expected objects with a name")
        self.wwn = None if self.wwn is None else normalize_wwn(self.wwn)

    def open(self) -> BlockStore:
        """The blocks. Raises ConfigError when they cannot be had."""
        if self.path is None:
            assert self.size is not None
            return MemoryStore(self.size // self.block_size, self.block_size, read_only=self.read_only)
        size = self.size if self.plugin == "fileio" else None
        return FileStore(self.path, self.block_size, read_only=self.read_only, size=size)

    def logical_unit(self, policy: TargetPolicy) -> LogicalUnit:
        """The unit, in the make of a personality. Raises ConfigError."""
        make = policy.device
        shown = self.name.encode("ascii", "replace").decode()[:16]
        shows_name = make.product_is_name and self.attributes.get("emulate_model_alias")
        return LogicalUnit(
            self.open(),
            serial=self.serial,
            wwn=self.wwn,
            profile=make,
            product=shown if shows_name else make.products.get(self.plugin),
            read_only=self.read_only,
            thin=self.thin,
            write_cache=self.write_back,
        )


def _are_groups(value: Any) -> bool:
    """Target port groups as LIO's file has them: they are written there again."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in value)
    )


@dataclass(slots=True, eq=False, kw_only=True)
class Backstore:
    """One of them. ``plugin`` is that of LIO; ``path`` is None for what is in memory."""

    name: str
    plugin: str
    path: str | None
    unit: LogicalUnit
    attributes: dict[str, Any] = field(default_factory=dict)
    made: bool = False
    """Whether its file was not there before."""

    def undo(self) -> None:
        """It was made for nothing: close it, and leave no file behind."""
        self.unit.store.close()
        if self.made and self.path is not None:
            Path(self.path).unlink(missing_ok=True)


class Backstores(dict[str, Backstore]):
    """All of them, by name. ``keep`` has the registrations of a unit survive, where there is a state."""

    def __init__(self, keep: Callable[[LogicalUnit], None] | None = None) -> None:
        super().__init__()
        self._by_unit: dict[LogicalUnit, Backstore] = {}
        self._by_wwn: dict[str, Backstore] = {}
        self._keep = keep

    def find(self, name: str) -> Backstore:
        """The one of that name. Raises NotFound."""
        found = self.get(name)
        if found is None:
            raise NotFound(f"no backstore {name!r} ({hint(name, self)})")
        return found

    def of(self, unit: LogicalUnit) -> Backstore | None:
        """The one a unit belongs to; a fault may show a unit that belongs to none."""
        return self._by_unit.get(unit)

    def create(self, spec: BackstoreSpec, policy: TargetPolicy) -> Backstore:
        """A new one.

        Raises:
            AlreadyExists: the name or the WWN is taken.
            ConfigError: its blocks cannot be had.
        """
        if spec.name in self:
            raise AlreadyExists(f"backstore {spec.name!r} exists already")
        made = spec.path is not None and not Path(spec.path).exists()
        unit = spec.logical_unit(policy)
        backstore = Backstore(
            name=spec.name,
            plugin=spec.plugin,
            path=spec.path,
            unit=unit,
            attributes=spec.attributes,
            made=made,
        )
        try:
            if (other := self._by_wwn.get(unit.wwn)) is not None:
                raise AlreadyExists(f"backstore {other.name!r} has the WWN {unit.wwn} already")
            if self._keep is not None:
                self._keep(unit)
        except ConfigError:
            backstore.undo()
            raise
        return self.add(backstore)

    def add(self, backstore: Backstore) -> Backstore:
        """Take in one there is already."""
        self[backstore.name] = self._by_unit[backstore.unit] = backstore
        self._by_wwn[backstore.unit.wwn] = backstore
        return backstore

    def remove(self, backstore: Backstore) -> None:
        """Forget one, and close what it had open."""
        del self[backstore.name], self._by_unit[backstore.unit]
        self._by_wwn = {wwn: each for wwn, each in self._by_wwn.items() if each is not backstore}
        backstore.unit.store.close()

    def adopt(self, node: TargetNode) -> None:
        """Take in the units of a target that was described by options or a file."""
        for mapped in node.lun_map:
            unit = mapped.logical_unit
            if unit not in self._by_unit:
                path = str(unit.store.path) if isinstance(unit.store, FileStore) else None
                name = f"{node.name}-lun{mapped.number}"
                self.add(Backstore(name=name, plugin="fileio" if path else "ramdisk", path=path, unit=unit))
