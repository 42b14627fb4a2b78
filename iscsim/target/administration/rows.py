"""What there is, as JSON: the shapes of `iscsim.net.control_types`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from iscsim.scsi.nexus import MappedLUN
from iscsim.session.chap import ChapConfig
from iscsim.session.names import format_portal
from iscsim.target.access_control import ACL, AccessControl
from iscsim.target.administration.backstores import Backstore
from iscsim.target.administration.configuration import Configuration
from iscsim.target.administration.luns import tpg_lun_of
from iscsim.target.node import PortalGroup, TargetNode

if TYPE_CHECKING:
    from iscsim.target.connection import TargetConnection
    from iscsim.target.session import TargetSession

__all__ = ["Rows", "session_row"]


class Rows:
    """Tells of a `Configuration`; only with ``secrets`` passwords are among it."""

    def __init__(self, configuration: Configuration, *, secrets: bool = False) -> None:
        self._configuration = configuration
        self._secrets = secrets

    def fill(self, model: dict[str, Any]) -> Iterator[None]:
        """Put all of it into ``model``, in small steps, between which nothing must change."""
        entity = self._configuration.entity
        model |= {"personality": entity.policy.name, "backstores": [], "targets": []}
        for backstore in self._configuration.backstores.values():
            yield model["backstores"].append(self.backstore(backstore))
        for node in entity.nodes.values():
            yield model["targets"].append(self.target(node))

    def backstore(self, backstore: Backstore) -> dict[str, Any]:
        """A backstore."""
        unit = backstore.unit
        return {
            "name": backstore.name,
            "plugin": backstore.plugin,
            "path": backstore.path,
            "size": unit.blocks * unit.block_size,
            "block_size": unit.block_size,
            "serial": unit.serial,
            "wwn": unit.wwn,
            "read_only": unit.read_only,
            "write_back": unit.write_cache,
            "thin": unit.thin,
            "attributes": dict(backstore.attributes),
        }

    def target(self, node: TargetNode) -> dict[str, Any]:
        """A target with all it has."""
        return {
            "name": node.name,
            "alias": node.alias,
            "personality": node.policy.name,
            "parameters": dict(node.parameters),
            "sessions": len(node.sessions),
            "tpgs": [self.group(node, group) for _, group in sorted(node.portal_groups.items())],
        }

    def group(self, node: TargetNode, group: PortalGroup) -> dict[str, Any]:
        """A portal group."""
        access = node.access_of(group.tag)
        return {
            "tag": group.tag,
            "enabled": group.enabled,
            **self._chap(access.chap),
            "attributes": _attributes(access),
            "parameters": dict(access.parameters),
            "portals": [{"address": each.address, "port": each.port} for each in group.portals],
            "luns": [self.lun(node, access, mapped) for mapped in access.lun_map],
            "acls": [self.acl(access, acl) for acl in access.acls.values()],
        }

    def lun(self, node: TargetNode, access: AccessControl, mapped: MappedLUN) -> dict[str, Any]:
        """A LUN of a portal group; one that a fault shows has no backstore."""
        backstore = self._configuration.backstores.of(mapped.logical_unit)
        return {
            "lun": mapped.number,
            "backstore": backstore.name if backstore is not None else "",
            "alias": access.aliases.get(mapped.number, ""),
            "read_only": mapped.read_only,
            "access_states": _access_rows(node, mapped),
        }

    def acl(self, access: AccessControl, acl: ACL) -> dict[str, Any]:
        """An ACL."""
        return {
            "initiator": acl.initiator_name,
            **self._chap(acl.chap),
            "attributes": dict(acl.attributes),
            "mapped_luns": [self.mapped_lun(acl, mapped) for mapped in acl.lun_map],
        }

    def mapped_lun(self, acl: ACL, mapped: MappedLUN) -> dict[str, Any]:
        """A LUN as an ACL shows it."""
        shown = acl.shown.get(mapped.number)
        return {
            "lun": mapped.number,
            "tpg_lun": tpg_lun_of(acl, mapped.number),
            "write_protect": shown.write_protect if shown is not None else mapped.read_only,
            "alias": shown.alias if shown is not None else "",
        }

    def _chap(self, chap: ChapConfig | None) -> dict[str, Any]:
        incoming = chap.incoming[0] if chap is not None and chap.incoming else None
        outgoing = chap.outgoing if chap is not None else None
        found: dict[str, Any] = {}
        for prefix, credential in (("", incoming), ("mutual_", outgoing)):
            secret = credential.secret.decode() if credential is not None and self._secrets else None
            found[f"{prefix}user"] = credential.name if credential is not None else ""
            found[f"{prefix}password"] = secret
        return found


def _attributes(access: AccessControl) -> dict[str, Any]:
    """As LIO would have them: what was described by options has none of its own."""
    everybody = not access.acls if access.everybody is None else access.everybody
    chap = [access.chap, *(acl.chap for acl in access.acls.values())]
    authentication = any(chap) if access.authentication is None else access.authentication
    return {
        **access.attributes,
        "authentication": int(authentication),
        "generate_node_acls": int(everybody),
        "demo_mode_write_protect": int(access.everybody_read_only),
    }


def _access_rows(node: TargetNode, mapped: MappedLUN) -> list[dict[str, Any]]:
    rows = []
    for tag in sorted(node.portal_groups):
        found = mapped.logical_unit.access.group(node.target_port_group_of(tag), node.ports)
        rows.append({"tag": tag, "state": found.state.text, "preferred": found.preferred})
    return rows


def session_row(session: TargetSession, peers: Mapping[TargetConnection, tuple[str, int]]) -> dict[str, Any]:
    """A session; ``peers`` has the addresses at the other ends."""
    connections = session.connections.values()
    return {
        "tsih": session.tsih,
        "type": session.parameters.session_type.value,
        "initiator": session.initiator_name,
        "isid": session.isid.hex(),
        "target": session.node.name if session.node else None,
        "portal_group_tag": session.portal_group_tag,
        "connections": len(session.connections),
        "addresses": [format_portal(*peers[each]) for each in connections if each in peers],
        "requests": session.requests,
    }
