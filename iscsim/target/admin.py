"""What may be asked of a running target from outside: the methods of its control socket.

Each takes keyword arguments and returns what JSON can say; ``iscsim serve --control`` answers them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

from iscsim.errors import ConfigError
from iscsim.scsi.asymmetric_access import AccessState

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.target.node import NetworkEntity, TargetNode
    from iscsim.target.session import TargetSession


class TargetAdmin:
    """Looks at, changes and ends what one network entity serves. ``stop`` ends the serving itself."""

    def __init__(self, entity: NetworkEntity, stop: Callable[[], None]) -> None:
        self._entity = entity
        self._stop = stop

    @property
    def methods(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Method name -> method."""
        return {
            "targets": self.targets,
            "sessions": self.sessions,
            "end_session": self.end_session,
            "set_access_state": self.set_access_state,
            "request_logout": self.request_logout,
            "send_async": self.send_async,
            "stop": self.stop,
        }

    async def targets(self) -> list[dict[str, Any]]:
        """Every target with its portals, LUNs and ACLs; secrets stay here."""
        return [_node_row(node) for node in self._entity.nodes.values()]

    async def sessions(self) -> list[dict[str, Any]]:
        """Every session there is."""
        return [_session_row(session) for session in self._entity.sessions]

    async def end_session(self, tsih: int, time_s: int = 5) -> dict[str, Any]:
        """End one session: its initiator may log out within ``time_s`` seconds, then it is dropped.

        Returns what it was, once it is gone. Raises ConfigError when there is none of that handle.
        """
        session = self._session(tsih)
        row, ended = _session_row(session), asyncio.Event()
        session.when_ended.append(ended.set)
        self._request_logout(session, time_s)
        await ended.wait()
        return row

    async def request_logout(self, tsih: int, time_s: int = 5) -> dict[str, Any]:
        """The same, without waiting for the end."""
        session = self._session(tsih)
        row = _session_row(session)
        self._request_logout(session, time_s)
        return row

    def _request_logout(self, session: TargetSession, time_s: int) -> None:
        session.request_logout(time_s, asyncio.get_running_loop().time())

    async def send_async(
        self,
        tsih: int,
        event: int,
        *,
        lun: str = "00" * 8,
        sense: str = "",
        data: str = "",
        vendor_code: int = 0,
        parameter_1: int = 0,
        parameter_2: int = 0,
        parameter_3: int = 0,
    ) -> bool:
        """Send an Asynchronous Message on every connection of a session, and do nothing else.

        ``lun``, ``sense`` and ``data`` are hexadecimal. Raises ConfigError for what is not, and
        LocalProtocolError for a message that RFC 7143 section 11.9 does not allow.
        """
        try:
            lun_bytes, sense_data, vendor_data = (bytes.fromhex(text) for text in (lun, sense, data))
        except ValueError as error:
            raise ConfigError(f"send_async: {error}") from error
        for connection in list(self._session(tsih).connections.values()):
            connection.notices.send(
                event,
                lun=lun_bytes,
                vendor_code=vendor_code,
                parameter_1=parameter_1,
                parameter_2=parameter_2,
                parameter_3=parameter_3,
                sense=sense_data,
                data=vendor_data,
            )
        return True

    def _session(self, tsih: int) -> TargetSession:
        for session in self._entity.sessions:
            if session.tsih == tsih:
                return session
        raise ConfigError(f"no session with handle {tsih}")

    async def set_access_state(
        self, target: str, portal_group: int, state: str, lun: int | Literal["all"] = "all"
    ) -> dict[str, Any]:
        """Change how LUNs may be used through a portal group; returns the target's row.

        ``state`` is one of active/optimized, active/non-optimized, standby, unavailable, offline and
        transitioning, which is the first half of a change: the next call is the second. Raises ConfigError
        for a target, portal group, LUN or state that is not there.
        """
        node = self._entity.nodes.get(target) if isinstance(target, str) else None
        if node is None:
            raise ConfigError(f"no target {target!r:.300}")
        if type(portal_group) is not int or (lun != "all" and type(lun) is not int):
            raise ConfigError("portal_group is a tag, lun is a number or all")
        node.set_access_state(portal_group, AccessState.of(state), None if lun == "all" else lun)
        return _node_row(node)

    async def stop(self) -> bool:
        """Stop serving."""
        self._stop()
        return True


def _node_row(node: TargetNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "alias": node.alias,
        "portals": [
            {"portal": str(portal), "portal_group_tag": tag}
            for tag, group in sorted(node.portal_groups.items())
            for portal in group.portals
        ],
        "luns": [
            {
                "lun": mapped.number,
                "wwn": f"3{mapped.logical_unit.wwn}",
                "blocks": mapped.logical_unit.blocks,
                "block_size": mapped.logical_unit.block_size,
                "read_only": mapped.read_only,
                "access_states": _access_rows(node, mapped.logical_unit),
            }
            for mapped in node.lun_map
        ],
        "acls": [
            {"initiator": acl.initiator_name, "chap": acl.chap is not None} for acl in node.acls.values()
        ],
    }


def _access_rows(node: TargetNode, unit: LogicalUnit) -> list[dict[str, Any]]:
    rows = []
    for tag in sorted(node.portal_groups):
        found = unit.access.group(node.target_port_group_of(tag), node.ports)
        rows.append({"portal_group_tag": tag, "state": found.state.text, "preferred": found.preferred})
    return rows


def _session_row(session: TargetSession) -> dict[str, Any]:
    return {
        "tsih": session.tsih,
        "type": session.parameters.session_type.value,
        "initiator": session.initiator_name,
        "isid": session.isid.hex(),
        "target": session.node.name if session.node else None,
        "portal_group_tag": session.portal_group_tag,
        "connections": len(session.connections),
    }
