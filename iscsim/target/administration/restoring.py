"""Another configuration in the place of the one there is: built whole beside it, then put there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from iscsim.scsi import makes
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.session.chap import Randomness
from iscsim.target.administration.acls import ACLs
from iscsim.target.administration.backstores import Backstore, Backstores, BackstoreSpec
from iscsim.target.administration.configuration import Configuration
from iscsim.target.administration.luns import LUNs
from iscsim.target.config import personality
from iscsim.target.node import NetworkEntity, Portal

__all__ = ["Plan"]

_CHAP = ("user", "password", "mutual_user", "mutual_password")


class Plan:
    """The configuration that a model (`iscsim.net.control_types.Model`) describes, not in force yet.

    A unit without a WWN gets LIO's, and without a personality the present one stays. A backstore that is
    described just as it is in ``present`` stays, with its data. ``keep`` has the registrations of new units
    survive.

    `build` makes it, in steps that take little time each; then it is put in force, or given up.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        present: Configuration,
        rng: Randomness,
        keep: Callable[[LogicalUnit], None] | None = None,
    ) -> None:
        self._present = present
        named = model.get("personality")
        self.entity = NetworkEntity(present.entity.policy if named is None else personality(named))
        self.configuration = Configuration(self.entity, rng, Backstores(keep))
        self._luns, self._acls = LUNs(self.configuration), ACLs(self.configuration)
        self._model = model
        self._opened: list[Backstore] = []

    def give_up(self) -> None:
        """Close what was opened, and leave no file behind that was made."""
        for backstore in self._opened:
            backstore.undo()

    @property
    def new_portals(self) -> list[Portal]:
        """Those that are not listened on yet."""
        known = set(self._present.entity.portals)
        return [portal for portal in self.entity.portals if portal not in known]

    @property
    def old_portals(self) -> list[Portal]:
        """Those that are not to be listened on any more."""
        kept = set(self.entity.portals)
        return [portal for portal in self._present.entity.portals if portal not in kept]

    def put_in_force(self) -> None:
        """Every target there was ends, with its sessions; the new ones are there."""
        entity = self._present.entity
        for name in list(entity.nodes):
            entity.remove_target(name)
        kept = [backstore.unit for backstore in self.configuration.backstores.values()]
        for backstore in list(self._present.backstores.values()):
            if backstore.unit not in kept:
                backstore.unit.store.close()
        entity.policy = self.entity.policy
        entity.nodes.update(self.entity.nodes)
        for name in self.entity.nodes:
            entity.removed.pop(name, None)
        self._present.take_over(self.configuration)

    # -- building ----------------------------------------------------------------------------------

    def build(self) -> Iterator[None]:
        """Make it, in small steps.

        Raises:
            ConfigError: something in the model cannot be; nothing has changed yet.
        """
        for row in self._model["backstores"]:
            self._backstore(row)
            yield
        for row in self._model["targets"]:
            self._target(row)
            yield

    def _backstore(self, row: Mapping[str, Any]) -> None:
        backstores, policy = self.configuration.backstores, self.entity.policy
        wanted = {name: value for name, value in row.items() if name in BackstoreSpec.__slots__}
        wanted["serial"] = wanted.get("serial") or self.configuration.new_serial()
        wanted["wwn"] = wanted.get("wwn") or makes.LIO.wwn(wanted["serial"])
        if wanted.get("plugin", "ramdisk") == "block":
            wanted["size"] = None
        found = self._present.backstores.get(row["name"])
        if found is not None and _same(found, wanted):
            kept = Backstore(
                name=found.name,
                plugin=found.plugin,
                path=found.path,
                unit=found.unit,
                attributes=dict(wanted.get("attributes") or {}),
            )
            backstores.add(kept)
            return
        self._opened.append(backstores.create(BackstoreSpec(**wanted), policy))

    def _target(self, row: Mapping[str, Any]) -> None:
        name = row["name"]
        node = self.configuration.create_target(name, row.get("alias") or "")
        node.parameters = dict(row.get("parameters") or {})
        if row.get("personality"):
            self.configuration.set_personality(row["personality"], name)
        for group in row["tpgs"]:
            self._group(name, group)

    def _group(self, target: str, row: Mapping[str, Any]) -> None:
        tag = row["tag"]
        self.configuration.create_group(target, tag)
        attributes, parameters = row.get("attributes"), row.get("parameters")
        self.configuration.set_group(target, tag, attributes, parameters, _chap(row))
        for lun in row["luns"]:
            self._luns.create(target, tag, lun["backstore"], lun["lun"], lun.get("alias") or "")
        for acl in row["acls"]:
            self._acl(target, tag, acl)
        for portal in row["portals"]:
            self._portal(target, tag, portal["address"], portal["port"])
        if row["enabled"]:
            self.configuration.enable_group(target, tag)

    def _acl(self, target: str, tag: int, row: Mapping[str, Any]) -> None:
        acl = self._acls.create(target, tag, row["initiator"], _chap(row), row.get("attributes") or {})
        for lun in row["mapped_luns"]:
            protect, alias = bool(lun.get("write_protect")), lun.get("alias") or ""
            self._luns.show(target, tag, acl, lun["lun"], lun["tpg_lun"], protect, alias)

    def _portal(self, target: str, tag: int, address: str, port: int) -> None:
        """The same object as the present one: it is listened on already."""
        portal = self.configuration.new_portal(target, tag, address, port)
        present = self._present.find_portal(portal.address, portal.port)
        self.configuration.add_portal(target, tag, portal if present is None else present)


def _chap(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: row.get(name) or "" for name in _CHAP}


def _same(found: Backstore, wanted: Mapping[str, Any]) -> bool:
    """Whether a backstore is what is wanted, so that it may stay."""
    unit = found.unit
    is_now = {
        "plugin": found.plugin,
        "path": found.path,
        "block_size": unit.block_size,
        "serial": unit.serial,
        "wwn": unit.wwn,
        "read_only": unit.read_only,
        "write_back": unit.write_cache,
        "thin": unit.thin,
    }
    if found.plugin == "ramdisk":
        is_now["size"] = unit.blocks * unit.block_size
    return all(wanted.get(name) in (None, value) for name, value in is_now.items())
