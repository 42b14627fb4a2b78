"""Who may log in to a target, has to do which CHAP, and sees which LUNs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from iscsim.scsi.nexus import LUNMap
from iscsim.session.chap import ChapConfig
from iscsim.session.names import normalize_name

__all__ = ["ACL", "AccessControl", "ShownLUN"]


@dataclass(frozen=True, slots=True)
class ShownLUN:
    """A LUN of a portal group as an ACL shows it: its number in the portal group, and a name for it."""

    tpg_lun: int
    alias: str = ""
    write_protect: bool = False


@dataclass(slots=True, eq=False)
class ACL:
    """One initiator that may log in: what it sees, and the CHAP it has to do if any.

    ``shown`` says, by LUN, which of the portal group's LUNs it is; one that is missing there is the one of
    the same number. ``attributes`` are LIO's.
    """

    initiator_name: str
    lun_map: LUNMap
    chap: ChapConfig | None = None
    shown: dict[int, ShownLUN] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


class AccessControl:
    """The ACLs and LUNs of a target, or of one of its portal groups.

    ``lun_map`` has the LUNs there are: who has no ACL sees them all, an ACL may have a map of its own.
    ``everybody`` says whether an initiator needs no ACL; None lets everybody in as long as there is none at
    all. ``chap`` is for those without one. ``authentication`` is LIO's attribute: False asks nobody for CHAP,
    though who offers it may prove himself, and True asks those too for whom there are no credentials, which
    so cannot log in; None asks just those that have some.
    """

    def __init__(self, *, everybody: bool | None = None, authentication: bool | None = None) -> None:
        self.lun_map = LUNMap()
        self.acls: dict[str, ACL] = {}
        self.chap: ChapConfig | None = None
        self.everybody = everybody
        self.everybody_read_only = False
        """Whether those without an ACL may only read (LIO's demo_mode_write_protect)."""
        self.authentication = authentication
        self.aliases: dict[int, str] = {}
        self.attributes: dict[str, Any] = {}
        self.parameters: dict[str, Any] = {}

    def add_acl(
        self, initiator_name: str, *, lun_map: LUNMap | None = None, chap: ChapConfig | None = None
    ) -> ACL:
        """Let an initiator in; without a map it sees all LUNs. Raises ConfigError for what is no name."""
        name = normalize_name(initiator_name)
        acl = self.acls[name] = ACL(name, self.lun_map if lun_map is None else lun_map, chap)
        return acl

    def admits(self, initiator_name: str) -> bool:
        """Whether this initiator may log in at all; names differ in more than case (RFC 7143 4.2.7.2)."""
        everybody = not self.acls if self.everybody is None else self.everybody
        return everybody or initiator_name.lower() in self.acls

    def lun_map_of(self, initiator_name: str) -> LUNMap:
        """The LUNs this initiator sees."""
        acl = self.acls.get(initiator_name.lower())
        return acl.lun_map if acl else self.lun_map

    def chap_of(self, initiator_name: str) -> ChapConfig | None:
        """The CHAP this initiator has to do, or None."""
        acl = self.acls.get(initiator_name.lower())
        chap, required = (acl.chap, _own_authentication(acl)) if acl else (self.chap, None)
        required = self.authentication if required is None else required
        if required is None:
            return chap
        if required:
            return ChapConfig() if chap is None else chap
        return None if chap is None else replace(chap, required=False)

    @property
    def maps(self) -> Iterator[LUNMap]:
        """Every LUN map, once."""
        return iter(dict.fromkeys([self.lun_map, *(acl.lun_map for acl in self.acls.values())]))

    def give_own_map(self, acl: ACL) -> LUNMap:
        """The map of an initiator that so far saw what everybody sees, to be changed for it alone."""
        if acl.lun_map is self.lun_map:
            own = LUNMap(self.lun_map.method)
            for mapped in self.lun_map:
                own.add(mapped.number, mapped.logical_unit, mapped.read_only)
            for nexus in [each for each in self.lun_map.nexuses if each.initiator_name == acl.initiator_name]:
                del self.lun_map.nexuses[nexus]
                own.nexuses[nexus] = None
                nexus.lun_map = own
            acl.lun_map = own
        return acl.lun_map


def _own_authentication(acl: ACL) -> bool | None:
    value = acl.attributes.get("authentication", -1)
    return None if value == -1 else bool(value)
