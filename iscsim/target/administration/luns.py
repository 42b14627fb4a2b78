"""LUNs of portal groups, and as ACLs show them: made, taken away, resized, swapped."""

from __future__ import annotations

from collections.abc import Iterable

from iscsim.errors import ConfigError
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import LUNMap, MappedLUN
from iscsim.target.abort import end_unmapped
from iscsim.target.access_control import ACL, AccessControl, ShownLUN
from iscsim.target.administration.backstores import Backstore
from iscsim.target.administration.configuration import Configuration
from iscsim.target.administration.errors import AlreadyExists, InUse, NotFound

__all__ = ["LUNs", "shown_by", "tpg_lun_of"]

_MAX_LUN = 16383


def tpg_lun_of(acl: ACL, number: int) -> int:
    """Which LUN of the portal group an initiator sees under ``number``."""
    shown = acl.shown.get(number)
    return number if shown is None else shown.tpg_lun


def shown_by(access: AccessControl, lun: int) -> list[tuple[LUNMap, int]]:
    """Where a LUN of the portal group is shown: every map, once, with its number there."""
    found = [(access.lun_map, lun)]
    for acl in access.acls.values():
        if acl.lun_map is not access.lun_map:
            found += [
                (acl.lun_map, mapped.number)
                for mapped in acl.lun_map
                if tpg_lun_of(acl, mapped.number) == lun
            ]
    return found


class LUNs:
    """Changes LUNs of a `Configuration`; every change is told to those it concerns, and nobody else."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration

    def mapped(self, target: str, tag: int, lun: int) -> MappedLUN:
        """A LUN of a portal group. Raises NotFound."""
        access = self._configuration.access(target, tag)
        for mapped in access.lun_map:
            if mapped.number == lun:
                return mapped
        raise NotFound(f"portal group {tag} of {target} has no LUN {lun}")

    def create(self, target: str, tag: int, backstore: str, lun: int | None, alias: str | None) -> MappedLUN:
        """A LUN that shows a backstore. Raises NotFound, AlreadyExists, InUse."""
        access = self._configuration.access(target, tag)
        unit = self._configuration.backstores.find(backstore).unit
        if lun is None:
            lun = _free(access.lun_map)
        if lun in access.lun_map:
            raise AlreadyExists(f"portal group {tag} of {target} has a LUN {lun} already")
        access.aliases[lun] = self._configuration.new_alias() if alias is None else alias
        return access.lun_map.add(lun, unit, unit.read_only or access.everybody_read_only)

    def delete(self, target: str, tag: int, lun: int) -> None:
        """Take a LUN away, everywhere it is shown. Raises NotFound."""
        unit = self.mapped(target, tag, lun).logical_unit
        self._delete(self._configuration.access(target, tag), lun, unit)

    def _delete(self, access: AccessControl, lun: int, unit: LogicalUnit) -> None:
        for lun_map, number in shown_by(access, lun):
            lun_map.remove(number)
        for acl in access.acls.values():
            acl.shown = {number: shown for number, shown in acl.shown.items() if number in acl.lun_map}
        access.aliases.pop(lun, None)
        self._end_tasks(access, unit)

    def delete_backstore(self, name: str) -> None:
        """Take a backstore away, with every LUN that shows it. Raises NotFound."""
        backstore = self._configuration.backstores.find(name)
        for access in self._accesses():
            for mapped in list(access.lun_map):
                if mapped.logical_unit is backstore.unit:
                    self._delete(access, mapped.number, backstore.unit)
        self._configuration.backstores.remove(backstore)

    def _accesses(self) -> Iterable[AccessControl]:
        nodes = self._configuration.entity.nodes.values()
        return dict.fromkeys(access for node in nodes for access in node.accesses)

    def _end_tasks(self, access: AccessControl, unit: LogicalUnit) -> None:
        """Commands to ``unit`` of those who do not see it any more end."""
        blind = [
            session
            for session in self._configuration.sessions_with(access)
            if session.nexus is not None and session.nexus not in unit.nexuses
        ]
        end_unmapped(blind, unit)

    def resize(self, target: str, tag: int, lun: int, size: int) -> Backstore:
        """Another size in bytes (2A/09). Raises NotFound, ConfigError, OSError: it cannot have that."""
        unit = self.mapped(target, tag, lun).logical_unit
        blocks, rest = divmod(size, unit.block_size)
        if rest:
            raise ConfigError(f"{size} bytes are no multiple of {unit.block_size}")
        unit.resize(blocks)
        found = self._configuration.backstores.of(unit)
        if found is None:
            raise NotFound(f"LUN {lun} shows no backstore")
        return found

    def swap(self, target: str, tag: int, lun: int, backstore: str) -> MappedLUN:
        """Show another backstore under the same number, everywhere the LUN is shown. Raises NotFound."""
        mapped = self.mapped(target, tag, lun)
        old, new = mapped.logical_unit, self._configuration.backstores.find(backstore).unit
        if new is old:
            raise AlreadyExists(f"LUN {lun} shows {backstore!r} already")
        access = self._configuration.access(target, tag)
        for lun_map, number in shown_by(access, lun):
            lun_map.swap(number, new, self._read_only(access, lun_map, number, new))
        self._end_tasks(access, old)
        return mapped

    def _read_only(self, access: AccessControl, lun_map: LUNMap, number: int, unit: LogicalUnit) -> bool:
        if lun_map is access.lun_map:
            return unit.read_only or access.everybody_read_only
        acl = next(acl for acl in access.acls.values() if acl.lun_map is lun_map)
        shown = acl.shown.get(number)
        return unit.read_only or (shown is not None and shown.write_protect)

    # -- as one initiator sees them ----------------------------------------------------------------

    def show(
        self,
        target: str,
        tag: int,
        acl: ACL,
        number: int,
        tpg_lun: int,
        write_protect: bool,
        alias: str | None,
    ) -> MappedLUN:
        """Show an initiator a LUN of the portal group; it hears 3F/0E. Raises NotFound, AlreadyExists."""
        unit = self.mapped(target, tag, tpg_lun).logical_unit
        lun_map = self._configuration.access(target, tag).give_own_map(acl)
        if number in lun_map:
            raise AlreadyExists(f"{acl.initiator_name} has a LUN {number} already")
        alias = self._configuration.new_alias() if alias is None else alias
        acl.shown[number] = ShownLUN(tpg_lun, alias, write_protect)
        return lun_map.add(number, unit, unit.read_only or write_protect)

    def hide(self, target: str, tag: int, acl: ACL, number: int) -> None:
        """Do not show it any more. Raises NotFound."""
        access = self._configuration.access(target, tag)
        if number not in acl.lun_map:
            raise NotFound(f"{acl.initiator_name} has no LUN {number}")
        unit = access.give_own_map(acl).remove(number)
        acl.shown.pop(number, None)
        self._end_tasks(access, unit)


def _free(lun_map: LUNMap) -> int:
    for number in range(_MAX_LUN + 1):
        if number not in lun_map:
            return number
    raise InUse("all LUNs are taken")
