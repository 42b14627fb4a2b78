"""What one network entity serves, and every change of it: each is made whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from iscsim.errors import ConfigError
from iscsim.hints import hint
from iscsim.scsi.asymmetric_access import AccessState
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.session.chap import ChapConfig, ChapCredential, Randomness
from iscsim.session.names import format_portal, normalize_name, parse_portal
from iscsim.target.access_control import AccessControl
from iscsim.target.administration.backstores import Backstores
from iscsim.target.administration.errors import AlreadyExists, InUse, NotFound
from iscsim.target.config import personality
from iscsim.target.node import NetworkEntity, Portal, PortalGroup, TargetNode
from iscsim.target.policy import TargetPolicy
from iscsim.target.session import TargetSession

__all__ = ["Configuration", "chap_of"]

DEFAULT_ATTRIBUTES = {"authentication": 1, "generate_node_acls": 0, "demo_mode_write_protect": 1}
"""The attributes of a portal group that mean something here, as the kernel's LIO begins: each is 0 or 1."""


def chap_of(user: str, password: str, mutual_user: str, mutual_password: str) -> ChapConfig | None:
    """CHAP as an ACL describes it; without a user there is none.

    Raises:
        ConfigError: one half of a pair is missing, or the secret is the same in both directions.
    """
    for name, secret, what in (
        (user, password, "user"),
        (mutual_user, mutual_password, "mutual_user"),
    ):
        if bool(name) != bool(secret):
            raise ConfigError(f"CHAP: {what} needs a password, and the other way round")
    if not user:
        if mutual_user:
            raise ConfigError("CHAP: mutual_user needs user: the target proves itself to who has done so")
        return None
    outgoing = ChapCredential(mutual_user, mutual_password.encode()) if mutual_user else None
    return ChapConfig(incoming=(ChapCredential(user, password.encode()),), outgoing=outgoing)


class Configuration:
    """Targets and portal groups of ``entity``; `iscsim.target.administration.luns` and ``acls`` do the rest.

    ``rng`` makes names and serial numbers that were not given.
    """

    def __init__(self, entity: NetworkEntity, rng: Randomness, backstores: Backstores | None = None) -> None:
        self.entity = entity
        self._rng = rng
        self.backstores = Backstores() if backstores is None else backstores
        self._portals: dict[tuple[str, int], Portal] = {}
        self._users: dict[Portal, int] = {}
        for node in entity.nodes.values():
            self.backstores.adopt(node)
            for portal in (each for group in node.portal_groups.values() for each in group.portals):
                self._use(portal)

    def new_alias(self) -> str:
        """Ten hexadecimal digits, as rtslib makes them."""
        return self._rng.randbytes(5).hex()

    def new_serial(self) -> str:
        """A random UUID (RFC 4122)."""
        return str(UUID(bytes=self._rng.randbytes(16), version=4))

    # -- looking up --------------------------------------------------------------------------------

    def node(self, target: str) -> TargetNode:
        """The target of that name. Raises NotFound."""
        node = self.entity.nodes.get(target.strip().lower())
        if node is None:
            raise NotFound(f"no target {target!r} ({hint(target, self.entity.nodes)})")
        return node

    def group(self, target: str, tag: int) -> tuple[TargetNode, PortalGroup]:
        """A portal group and its target. Raises NotFound."""
        node = self.node(target)
        group = node.portal_groups.get(tag)
        if group is None:
            raise NotFound(f"{node.name} has no portal group {tag}")
        return node, group

    def access(self, target: str, tag: int) -> AccessControl:
        """Who may log in through a portal group. Raises NotFound."""
        node, _ = self.group(target, tag)
        return node.access_of(tag)

    def sessions_with(self, access: AccessControl) -> Iterator[TargetSession]:
        """The sessions that came in by what ``access`` says."""
        for node in self.entity.nodes.values():
            for session in list(node.sessions):
                if node.access_of(session.portal_group_tag) is access:
                    yield session

    # -- targets -----------------------------------------------------------------------------------

    def create_target(self, target: str, alias: str = "") -> TargetNode:
        """A target without portal groups. Raises AlreadyExists, ConfigError for a name that cannot be."""
        if normalize_name(target) in self.entity.nodes:
            raise AlreadyExists(f"target {target} exists already")
        node = self.entity.add_target(target, alias=alias)
        node.access.everybody = False
        return node

    def delete_target(self, target: str) -> list[Portal]:
        """Take a target away; its sessions end. Returns the portals nobody uses any more. Raises NotFound."""
        node = self.node(target)
        self.entity.remove_target(node.name)
        portals = [portal for group in node.portal_groups.values() for portal in group.portals]
        return [portal for portal in portals if self._release(portal)]

    # -- portal groups -----------------------------------------------------------------------------

    def create_group(self, target: str, tag: int | None = None) -> PortalGroup:
        """A portal group that is disabled, with ACLs and LUNs of its own. Raises AlreadyExists, NotFound."""
        node = self.node(target)
        if tag is None:
            tag = next((each for each in range(1, 65536) if each not in node.portal_groups), None)
            if tag is None:
                raise InUse(f"{node.name} has all portal groups there can be")
        if tag in node.portal_groups:
            raise AlreadyExists(f"{node.name} has a portal group {tag} already")
        group = node.add_portal_group(tag, enabled=False)
        group.access = AccessControl()
        self._use_attributes(group.access, DEFAULT_ATTRIBUTES)
        return group

    def delete_group(self, target: str, tag: int) -> list[Portal]:
        """Take a portal group away, as `delete_target` does a target."""
        node, group = self.group(target, tag)
        node.remove_portal_group(tag, "portal group deleted")
        return [portal for portal in group.portals if self._release(portal)]

    def enable_group(self, target: str, tag: int) -> None:
        """Let logins come. Raises NotFound."""
        node, _ = self.group(target, tag)
        node.enable_portal_group(tag)

    def disable_group(self, target: str, tag: int) -> None:
        """No more logins; sessions end, as LIO's do. Raises NotFound."""
        node, _ = self.group(target, tag)
        node.disable_portal_group(tag, "portal group disabled")

    def set_group(
        self,
        target: str,
        tag: int,
        attributes: dict[str, Any] | None,
        parameters: dict[str, Any] | None,
        chap: Mapping[str, str | None],
    ) -> PortalGroup:
        """Change what is given; ``chap`` has user, password, mutual_user and mutual_password.

        Raises:
            NotFound: there is no such portal group.
            ConfigError: an attribute or the CHAP cannot be.
        """
        _, group = self.group(target, tag)
        access = self.access(target, tag)
        wanted = {**access.attributes, **(attributes or {})}
        _check_attributes(wanted)
        if any(value is not None for value in chap.values()):
            access.chap = chap_of(**{name: value or "" for name, value in chap.items()})
        if attributes:
            self._use_attributes(access, wanted)
        access.parameters |= parameters or {}
        return group

    def _use_attributes(self, access: AccessControl, attributes: dict[str, Any]) -> None:
        access.attributes = dict(attributes)
        access.authentication = bool(attributes.get("authentication", 1))
        access.everybody = bool(attributes.get("generate_node_acls", 0))
        access.everybody_read_only = bool(attributes.get("demo_mode_write_protect", 1))
        for mapped in access.lun_map:
            read_only = mapped.logical_unit.read_only or access.everybody_read_only
            if read_only is not mapped.read_only:
                mapped.read_only = read_only
                for nexus in access.lun_map.nexuses:  # WP of the mode parameter header
                    nexus.establish(mapped.logical_unit, UnitAttention.MODE_PARAMETERS_CHANGED)

    # -- portals -----------------------------------------------------------------------------------

    def find_portal(self, address: str, port: int) -> Portal | None:
        """The portal there, of whichever target."""
        return self._portals.get((_host(address), port))

    def new_portal(self, target: str, tag: int, address: str, port: int) -> Portal:
        """The portal that is to be added: one there is, or a new one to be listened on.

        Raises:
            AlreadyExists: the target has it already, in whichever portal group (as in LIO).
            NotFound, ConfigError: there is no such portal group, or address.
        """
        node, _ = self.group(target, tag)
        host = _host(address)
        portal = self._portals.get((host, port)) if port else None
        if portal is not None and node.group_of(portal) is not None:
            raise AlreadyExists(f"{node.name} has the portal {portal} already")
        return portal or Portal(host, port)

    def add_portal(self, target: str, tag: int, portal: Portal) -> None:
        """Have a portal, which is listened on, lead to a portal group. Raises NotFound, AlreadyExists."""
        node, _ = self.group(target, tag)
        if node.group_of(portal) is not None:
            raise AlreadyExists(f"{node.name} has the portal {portal} already")
        node.add_portal(portal, tag)
        self._use(portal)

    def remove_portal(self, target: str, tag: int, address: str, port: int) -> list[Portal]:
        """Take a portal away; returns it when nobody uses it any more. Raises NotFound."""
        node, group = self.group(target, tag)
        portal = self.find_portal(address, port)
        if portal is None or portal not in group.portals:
            raise NotFound(
                f"portal group {tag} of {node.name} has no portal {format_portal(_host(address), port)}"
            )
        group.portals.remove(portal)
        return [portal] if self._release(portal) else []

    def _use(self, portal: Portal) -> None:
        if portal.port:
            self._portals.setdefault((portal.address, portal.port), portal)
        self._users[portal] = self._users.get(portal, 0) + 1

    def _release(self, portal: Portal) -> bool:
        self._users[portal] -= 1
        if self._users[portal]:
            return False
        del self._users[portal]
        if self._portals.get((portal.address, portal.port)) is portal:
            del self._portals[portal.address, portal.port]
        return True

    def take_over(self, other: Configuration) -> None:
        """Go on with the backstores and portals of another configuration, whose targets are in force now."""
        self.backstores = other.backstores
        self._portals, self._users = other._portals, other._users

    # -- states and personalities ------------------------------------------------------------------

    def set_alua(self, target: str, tag: int, state: str, lun: int | None) -> None:
        """Change access states; see `TargetNode.set_access_state`. Raises NotFound, ConfigError."""
        node, _ = self.group(target, tag)
        found = [each for each in node.access_of(tag).lun_map if lun in (None, each.number)]
        if not found:
            raise NotFound(f"portal group {tag} of {node.name} has no LUN{'' if lun is None else f' {lun}'}")
        units = dict.fromkeys(each.logical_unit for each in found)
        node.change_access(tag, AccessState.of(state), units)

    def set_personality(self, name: str, target: str | None) -> None:
        """The habits logins meet from now on. Units keep their identity. Raises NotFound, ConfigError."""
        policy: TargetPolicy = personality(name)
        nodes = list(self.entity.nodes.values()) if target is None else [self.node(target)]
        for node in nodes:
            node.policy = policy
        if target is None:
            self.entity.policy = policy


def _host(address: str) -> str:
    bare = address.strip().removeprefix("[").removesuffix("]")
    host, _ = parse_portal(f"[{bare}]" if ":" in bare else bare)
    return "::" if host.strip("0:") == "" and ":" in host else host


def _check_attributes(attributes: dict[str, Any]) -> None:
    for name in DEFAULT_ATTRIBUTES:
        if name in attributes and (attributes[name] not in (0, 1) or isinstance(attributes[name], float)):
            raise ConfigError(f"attribute {name}: expected 0 or 1, not {attributes[name]!r:.60}")
