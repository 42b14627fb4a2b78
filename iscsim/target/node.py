"""What a target is made of: nodes, portal groups, portals, ACLs, sessions (RFC 7143 section 4.4.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from iscsim.errors import ConfigError
from iscsim.pdu import LoginStatus
from iscsim.pdu.text import MAX_VALUE_LENGTH
from iscsim.scsi.asymmetric_access import AccessState
from iscsim.scsi.device_server import DeviceServer
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import LUNMap
from iscsim.scsi.target_ports import TargetPorts
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.session.chap import ChapConfig
from iscsim.session.names import (
    DEFAULT_PORT,
    format_portal,
    normalize_name,
    parse_portal,
    target_port_name,
)
from iscsim.target.access_control import ACL, AccessControl
from iscsim.target.policy import RFC, TargetPolicy
from iscsim.target.room import SharedRoom
from iscsim.target.session_table import SessionTable
from iscsim.target.task_set import TaskSets

if TYPE_CHECKING:
    from iscsim.target.session import TargetSession

_WILDCARDS = ("0.0.0.0", "::", "")
_MAX_REMOVED = 1024
"""Removed targets that are remembered."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where logins are sent on to (RFC 7143 section 11.13.5).

    ``to`` is ``host[:port]`` or ``[ipv6][:port]``, without a portal group tag (RFC 7143 section 13.8), or a
    portal of this very server. Raises ConfigError for anything else.
    """

    to: str | Portal
    permanent: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.to, str) and ("," in self.to or parse_portal(self.to)[1] == 0):
            raise ConfigError(f"redirection to {self.to!r}: expected HOST:PORT without a portal group tag")

    def shown_at(self, local_address: str) -> str:
        """The address as the initiator is told it, who came to ``local_address``."""
        if isinstance(self.to, str):
            return format_portal(*parse_portal(self.to))
        return self.to.shown_at(local_address)


@dataclass(slots=True, eq=False)
class Portal:
    """An address and TCP port a target listens on. Port 0 becomes the real one when it listens.

    ``redirect_to`` sends every login there elsewhere; discovery without a target name is not concerned.
    """

    address: str
    port: int = DEFAULT_PORT
    redirect_to: Redirect | None = None

    def shown_at(self, local_address: str) -> str:
        """As discovery shows it; a wildcard as the address the asker came to (RFC 7143 section 13.8)."""
        return format_portal(local_address if self.address in _WILDCARDS else self.address, self.port)

    def __str__(self) -> str:
        return format_portal(self.address, self.port)


@dataclass(slots=True, eq=False)
class PortalGroup:
    """Portals through which one session may spread, and their tag (RFC 7143 section 13.9).

    To SCSI it is one port, whose relative identifier is the tag. It is in the target port group of the
    personality, or of the same number, unless ``target_port_group`` names another before anybody logs in.
    """

    tag: int
    portals: list[Portal] = field(default_factory=list)
    enabled: bool = True
    target_port_group: int | None = None
    access: AccessControl | None = None
    """Who may log in here; None for those of the target."""


class TargetNode:
    """An iSCSI target node.

    ``access`` says who may log in and sees what, where a portal group has no ``access`` of its own. Without
    any ACL every initiator may log in and sees ``lun_map``; the first ACL closes the door for all others.
    ``chap`` is for those who need no ACL. ``ports`` are the SCSI ports, as they are at any moment: nodes that
    are one SCSI device between them share one object. ``redirect_to`` sends logins elsewhere, except those
    that come in just there; ``login_refusal`` answers them all with that status, as a target does that is out
    of order. Raises ConfigError for a name or alias that cannot be.
    """

    def __init__(self, name: str, *, alias: str = "", policy: TargetPolicy = RFC) -> None:
        self.name = normalize_name(name)
        self.alias = _checked_alias(alias or policy.alias)
        self.policy = policy
        self.access = AccessControl()
        self.parameters: dict[str, Any] = {}
        self.portal_groups: dict[int, PortalGroup] = {}
        self.sessions = SessionTable()
        self.ports = TargetPorts(self.port_groups)
        self.redirect_to: Redirect | None = None
        self.login_refusal: LoginStatus | None = None

    @property
    def lun_map(self) -> LUNMap:
        """The LUNs of those without a map of their own."""
        return self.access.lun_map

    @lun_map.setter
    def lun_map(self, lun_map: LUNMap) -> None:
        self.access.lun_map = lun_map

    @property
    def acls(self) -> dict[str, ACL]:
        """The initiators that may log in, by name."""
        return self.access.acls

    @property
    def chap(self) -> ChapConfig | None:
        """The CHAP of those who need no ACL."""
        return self.access.chap

    @chap.setter
    def chap(self, chap: ChapConfig | None) -> None:
        self.access.chap = chap

    def access_of(self, portal_group_tag: int) -> AccessControl:
        """Who may log in through a portal group, and sees what."""
        group = self.portal_groups.get(portal_group_tag)
        return self.access if group is None or group.access is None else group.access

    @property
    def accesses(self) -> list[AccessControl]:
        """That of the target and those of its portal groups, each once."""
        own = (group.access for group in self.portal_groups.values() if group.access is not None)
        return list(dict.fromkeys([self.access, *own]))

    def port_groups(self) -> dict[int, list[int]]:
        """Target port group -> relative target ports of this node.

        A portal group that was turned off is no port any more, once the last session through it has ended.
        """
        tags = {tag for tag, group in self.portal_groups.items() if group.enabled}
        found: dict[int, list[int]] = {}
        for tag in tags | self.sessions.portal_group_tags:
            found.setdefault(self.target_port_group_of(tag), []).append(tag)
        return found

    def target_port_group_of(self, portal_group_tag: int) -> int:
        """The target port group of the port that a portal group is."""
        group = self.portal_groups.get(portal_group_tag)
        named = group.target_port_group if group is not None else None
        port = self.policy.array_port(self.name)
        of_array = None if port is None else port.target_port_group
        choices = (named, of_array, self.policy.target_port_group, portal_group_tag)
        return next(number for number in choices if number is not None)

    def units(self, number: int | None = None) -> list[LogicalUnit]:
        """The units somebody may see, each once; with ``number`` those under it, in whichever LUN map."""
        maps = (lun_map for access in self.accesses for lun_map in access.maps)
        found = (mapped for lun_map in maps for mapped in lun_map if number in (None, mapped.number))
        return list(dict.fromkeys(mapped.logical_unit for mapped in found))

    def set_access_state(self, portal_group_tag: int, state: AccessState, lun: int | None = None) -> None:
        """An implicit asymmetric access state change of one unit or all: see `AsymmetricAccess.set_state`.

        It holds for the whole target port group of that portal group.

        Raises:
            ConfigError: no such portal group or LUN, or no such state on a unit; then nothing changes.
        """
        if portal_group_tag not in self.portal_groups:
            raise ConfigError(f"{self.name} has no portal group {portal_group_tag}")
        units = self.units(lun)
        if not units:
            raise ConfigError(f"{self.name} has no LUN{'' if lun is None else f' {lun}'}")
        self.change_access(portal_group_tag, state, units)

    def change_access(self, portal_group_tag: int, state: AccessState, units: Iterable[LogicalUnit]) -> None:
        """The same for some units. Raises ConfigError when one does not know the state."""
        units, group = list(units), self.target_port_group_of(portal_group_tag)
        for unit in units:
            unit.access.check_change(group, state)
        for unit in units:
            unit.access.set_state(group, state, ports=self.ports)

    def add_portal(self, portal: Portal, tag: int | None = None) -> PortalGroup:
        """Put ``portal`` into the group of ``tag``; without a tag into the one of the personality, which may
        be a new group of its own.

        Sessions see the new port at once; a second one changes INQUIRY data, and they hear 3F/03.

        Raises:
            ConfigError: the tag is not one of 1 to 65535.
        """
        if tag is None:
            tag = self.policy.portal_group_tag or max(self.portal_groups, default=0) + 1
        group = self.portal_groups.get(tag) or self.add_portal_group(tag)
        group.portals.append(portal)
        return group

    def add_portal_group(self, tag: int, *, enabled: bool = True) -> PortalGroup:
        """A new portal group; see `add_portal`. Raises ConfigError for a tag that cannot be."""
        if not 1 <= tag <= 65535:
            raise ConfigError(f"target portal group tag {tag} is not one of 1 to 65535")
        with self._changing_ports():
            group = self.portal_groups[tag] = PortalGroup(tag, enabled=enabled)
        return group

    def remove_portal_group(self, tag: int, why: str) -> None:
        """Take a portal group away, as `disable_portal_group` does before."""
        self.disable_portal_group(tag, why)
        with self._changing_ports():
            del self.portal_groups[tag]

    def enable_portal_group(self, tag: int) -> None:
        """Let logins come."""
        with self._changing_ports():
            self.portal_groups[tag].enabled = True

    def disable_portal_group(self, tag: int, why: str) -> None:
        """No more logins; its sessions are dropped, and ``why`` is for the log."""
        with self._changing_ports():
            self.portal_groups[tag].enabled = False
            for session in [each for each in self.sessions if each.portal_group_tag == tag]:
                session.drop(why)

    @contextmanager
    def _changing_ports(self) -> Iterator[None]:
        """Who sees INQUIRY data with another MULTIP bit afterwards hears 3F/03."""
        had_several = self.ports.count > 1
        yield
        if (self.ports.count > 1) is not had_several:
            self._tell_inquiry_changed()

    def _tell_inquiry_changed(self) -> None:
        for nexus in (session.nexus for session in self.sessions if session.nexus is not None):
            for mapped in nexus.lun_map:
                nexus.establish(mapped.logical_unit, UnitAttention.INQUIRY_DATA_CHANGED)

    def target_port_names(self) -> dict[int, str]:
        """The names of its SCSI target ports, by relative target port identifier: one a portal group."""
        tags = (tag for group in self.port_groups().values() for tag in group)
        return {tag: target_port_name(self.name, tag) for tag in sorted(tags)}

    def add_lun(self, number: int, logical_unit: LogicalUnit, *, read_only: bool = False) -> None:
        """Map a logical unit for everybody without a map of his own."""
        self.lun_map.add(number, logical_unit, read_only=read_only)

    def add_acl(
        self, initiator_name: str, *, lun_map: LUNMap | None = None, chap: ChapConfig | None = None
    ) -> ACL:
        """Let an initiator in; without a map it sees the LUNs of the node."""
        return self.access.add_acl(initiator_name, lun_map=lun_map, chap=chap)

    def admits(self, initiator_name: str, portal_group_tag: int | None = None) -> bool:
        """Whether this initiator may log in through that portal group, or any."""
        if portal_group_tag is not None:
            return self.access_of(portal_group_tag).admits(initiator_name)
        return any(access.admits(initiator_name) for access in self.accesses)

    def lun_map_of(self, initiator_name: str, portal_group_tag: int = 0) -> LUNMap:
        """The LUNs this initiator sees."""
        return self.access_of(portal_group_tag).lun_map_of(initiator_name)

    def chap_of(self, initiator_name: str, portal_group_tag: int = 0) -> ChapConfig | None:
        """The CHAP this initiator has to do, or None."""
        return self.access_of(portal_group_tag).chap_of(initiator_name)

    def group_of(self, portal: Portal) -> PortalGroup | None:
        """The portal group ``portal`` belongs to, enabled or not."""
        return next((group for group in self.portal_groups.values() if portal in group.portals), None)

    def redirect_of(self, portal: Portal, local_address: str) -> Redirect | None:
        """Where a login that came to ``portal`` at ``local_address`` is sent, if it is sent elsewhere."""
        if portal.redirect_to is not None:
            return portal.redirect_to
        here = format_portal(local_address, portal.port)
        away = self.redirect_to is not None and self.redirect_to.shown_at(local_address) != here
        return self.redirect_to if away else None

    def find_session(self, initiator_name: str, isid: bytes, portal_group_tag: int) -> TargetSession | None:
        """The session of that I_T nexus (RFC 7143 section 6.3.1)."""
        return self.sessions.find((initiator_name, isid, portal_group_tag))

    def __repr__(self) -> str:
        return f"TargetNode({self.name!r}, {len(self.sessions)} sessions)"


def _checked_alias(alias: str) -> str:
    """The alias, which every login answers (RFC 7143 section 13.6)."""
    if len(alias.encode()) > MAX_VALUE_LENGTH or not alias.isprintable():
        raise ConfigError(f"target alias {alias[:40]!r}: expected at most {MAX_VALUE_LENGTH} printable bytes")
    return alias


class NetworkEntity:
    """All target nodes of one server, and what discovery says of them (RFC 7143 section 4.4.1)."""

    def __init__(self, policy: TargetPolicy = RFC) -> None:
        self.policy = policy
        self.nodes: dict[str, TargetNode] = {}
        self.device_server = DeviceServer()
        self.room = SharedRoom(policy)
        self.task_sets = TaskSets(policy, self.room)
        self.discovery_chap: ChapConfig | None = None
        self.discovery_sessions = SessionTable()
        self.removed: dict[str, frozenset[str] | None] = {}
        """Targets that were here lately, by name, with the initiators of their ACLs; None is everybody."""
        self.closing = False
        """Whether the server is about to end: no more logins."""

    def add_target(self, name: str, *, alias: str = "") -> TargetNode:
        """A new target node.

        Raises:
            ConfigError: not an iSCSI name, or it is taken.
        """
        node = TargetNode(name, alias=alias, policy=self.policy)
        if node.name in self.nodes:
            raise ConfigError(f"target {node.name} exists already")
        if self.policy.array_ports:
            self._join_array(node)
        self.nodes[node.name] = node
        self.removed.pop(node.name, None)
        return node

    def _join_array(self, node: TargetNode) -> None:
        """The targets of an array are one SCSI device, with the ports of all."""
        base = self.policy.base_name(node.name)

        def siblings() -> list[TargetNode]:
            return [each for each in self.nodes.values() if self.policy.base_name(each.name) == base]

        def ports() -> dict[int, list[int]]:
            found: dict[int, list[int]] = {}
            for each in siblings():
                for group, numbers in each.port_groups().items():
                    found.setdefault(group, []).extend(numbers)
            return found

        node.ports = next((each.ports for each in siblings()), TargetPorts(ports))

    def remove_target(self, name: str) -> TargetNode:
        """Take a target away: its sessions are dropped, and who comes for it is told that it was removed.

        Raises:
            ConfigError: there is no such target.
        """
        node = self.nodes.pop(name.lower(), None)
        if node is None:
            raise ConfigError(f"no target {name}")
        self._remember(node)
        for session in list(node.sessions):
            session.drop("target removed")
        return node

    def _remember(self, node: TargetNode) -> None:
        acls = frozenset(name for access in node.accesses for name in access.acls)
        self.removed[node.name] = None if node.admits("") else acls
        if len(self.removed) > _MAX_REMOVED:
            del self.removed[next(iter(self.removed))]

    def was_removed(self, name: str, initiator_name: str) -> bool:
        """Whether that target was here, and this initiator may know."""
        if name.lower() not in self.removed:
            return False
        admitted = self.removed[name.lower()]
        return admitted is None or initiator_name.lower() in admitted

    def discovery_chap_of(self, initiator_name: str) -> ChapConfig | None:
        """The CHAP of a discovery session: what was set for all, else what the initiator's targets ask.

        The latter is not required: an initiator that offers CHAP before None, as libiscsi does, proves
        itself with what it will log in with, and one that does not may still discover.
        """
        if self.discovery_chap is not None:
            return self.discovery_chap
        accesses = (access for node in self.nodes.values() for access in node.accesses)
        asked = [access.chap_of(initiator_name) for access in accesses if access.admits(initiator_name)]
        credentials = dict.fromkeys(each for chap in asked if chap is not None for each in chap.incoming)
        return ChapConfig(incoming=tuple(credentials), required=False) if credentials else None

    @property
    def portals(self) -> list[Portal]:
        """Every portal of every node, once."""
        seen: dict[int, Portal] = {}
        for node in self.nodes.values():
            for group in node.portal_groups.values():
                seen.update((id(portal), portal) for portal in group.portals)
        return list(seen.values())

    @property
    def sessions(self) -> list[TargetSession]:
        """Every session there is."""
        return [
            *self.discovery_sessions,
            *(session for node in self.nodes.values() for session in node.sessions),
        ]

    def new_tsih(self, draw: int) -> int:
        """A Target Session Identifying Handle that is free, from a random ``draw`` on.

        RFC 7143 section 11.12.6.

        Raises:
            ConfigError: all 65535 are taken.
        """
        tables = [self.discovery_sessions, *(node.sessions for node in self.nodes.values())]
        for step in range(65535):
            tsih = (draw + step) % 65535 + 1
            if not any(table.has_handle(tsih) for table in tables):
                return tsih
        raise ConfigError("all 65535 session handles are in use")

    def records(
        self, initiator_name: str, local_address: str, wanted: str | None = None
    ) -> Iterator[tuple[str, str]]:
        """TargetName and TargetAddress pairs for SendTargets (RFC 7143 Appendix C).

        An initiator is told only of what it may use. ``wanted`` limits the answer to one target.
        """
        for node in [*self.nodes.values()] if wanted is None else filter(None, [self.nodes.get(wanted)]):
            groups = [
                group
                for tag, group in sorted(node.portal_groups.items())
                if group.enabled and group.portals and node.admits(initiator_name, tag)
            ]
            if groups:
                yield "TargetName", node.name
            for group in groups:
                for portal in group.portals:
                    yield "TargetAddress", f"{portal.shown_at(local_address)},{group.tag}"
