"""What open-iscsi knows of nodes and of where it learnt of them: /etc/iscsi/nodes and send_targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from iscsim.host.records import EMPTY, NodeRecord

__all__ = ["DiscoveryRecord", "NodeDatabase"]

_DISCOVERY: Mapping[str, str] = {
    "discovery.startup": "manual",
    "discovery.type": "sendtargets",
    "discovery.sendtargets.address": EMPTY,
    "discovery.sendtargets.port": "3260",
    "discovery.sendtargets.auth.authmethod": "None",
    "discovery.sendtargets.auth.username": EMPTY,
    "discovery.sendtargets.auth.password": EMPTY,
    "discovery.sendtargets.auth.username_in": EMPTY,
    "discovery.sendtargets.auth.password_in": EMPTY,
    "discovery.sendtargets.auth.chap_algs": "MD5",
    "discovery.sendtargets.timeo.login_timeout": "15",
    "discovery.sendtargets.use_discoveryd": "No",
    "discovery.sendtargets.discoveryd_poll_inval": "30",
    "discovery.sendtargets.reopen_max": "5",
    "discovery.sendtargets.timeo.auth_timeout": "45",
    "discovery.sendtargets.timeo.active_timeout": "30",
    "discovery.sendtargets.iscsi.MaxRecvDataSegmentLength": "32768",
}


@dataclass(slots=True)
class DiscoveryRecord:
    """A portal that is asked for its targets, and ``found``: the keys of the records it brought."""

    address: str
    port: int
    values: dict[str, str] = field(default_factory=dict)
    found: dict[tuple[str, str, int, str], None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = {"discovery.sendtargets.address": self.address, "discovery.sendtargets.port": str(self.port)}
        self.values = dict(_DISCOVERY) | where | self.values


class NodeDatabase:
    """The records, in the order iscsiadm lists them: by target name, then portal.

    ``changed`` is called after each change; ``conf`` is what iscsid.conf gives new records.
    """

    def __init__(self, changed: Callable[[], None], conf: Mapping[str, str] | None = None) -> None:
        self._changed, self.conf = changed, dict(conf or {})
        self._nodes: dict[tuple[str, str, int, str], NodeRecord] = {}
        self.discoveries: dict[tuple[str, int], DiscoveryRecord] = {}

    def __iter__(self) -> Iterator[NodeRecord]:
        return iter([self._nodes[key] for key in sorted(self._nodes)])

    def __len__(self) -> int:
        return len(self._nodes)

    def find(
        self,
        target_name: str = "",
        address: str = "",
        port: int | None = None,
        interface: str = "",
    ) -> list[NodeRecord]:
        """The records that match what is given."""
        return [
            record
            for record in self
            if target_name in ("", record.target_name)
            and address in ("", record.address)
            and port in (None, record.port)
            and interface in ("", record.interface)
        ]

    def add(self, record: NodeRecord) -> NodeRecord:
        """Keep a record; one with the same key is replaced."""
        self._nodes[record.key] = record
        self._changed()
        return record

    def new(
        self,
        target_name: str,
        address: str,
        port: int,
        *,
        portal_group_tag: int = -1,
        discovered_at: tuple[str, int] | None = None,
    ) -> NodeRecord:
        """A new record with the defaults of the host's iscsid.conf."""
        record = NodeRecord(
            target_name,
            address,
            port,
            portal_group_tag=portal_group_tag,
            conf=self.conf,
            discovered_at=discovered_at,
        )
        return self.add(record)

    def update(self, record: NodeRecord, name: str, value: str) -> None:
        """Change a setting of a record. Raises as `NodeRecord.update` does."""
        record.update(name, value)
        self._changed()

    def delete(self, record: NodeRecord) -> None:
        """Forget a record, and that a discovery found it."""
        del self._nodes[record.key]
        for discovery in self.discoveries.values():
            discovery.found.pop(record.key, None)
        self._changed()

    def discovery(self, address: str, port: int) -> DiscoveryRecord:
        """The record of a portal to discover at; a new one if there is none."""
        if (address, port) not in self.discoveries:
            self.discoveries[address, port] = DiscoveryRecord(address, port)
            self._changed()
        return self.discoveries[address, port]
