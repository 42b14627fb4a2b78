"""Node and interface records as open-iscsi keeps and prints them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from iscsim.errors import ConfigError
from iscsim.initiator.settings import NodeSettings

__all__ = ["EMPTY", "IFACE", "LOOKED_UP_BY", "NodeRecord", "render"]

EMPTY = "<empty>"
UNKNOWN_TPGT = -1
_NUMBERS = "prefix_len vlan_id vlan_priority iface_num mtu port tos ttl tcp_wsf tcp_timer_scale".split()
_NUMBERS += "def_task_mgmt_timeout erl max_receive_data_len first_burst_len max_outstanding_r2t".split()
_NUMBERS += ["max_burst_len"]
_IFACE_NAMES = """
    iscsi_ifacename net_ifacename ipaddress prefix_len hwaddress transport_name initiatorname state
    vlan_id vlan_priority vlan_state iface_num mtu port bootproto subnet_mask gateway
    dhcp_alt_client_id_state dhcp_alt_client_id dhcp_dns dhcp_learn_iqn dhcp_req_vendor_id_state
    dhcp_vendor_id_state dhcp_vendor_id dhcp_slp_da fragmentation gratuitous_arp incoming_forwarding
    tos_state tos ttl delayed_ack tcp_nagle tcp_wsf_state tcp_wsf tcp_timer_scale tcp_timestamp redirect
    def_task_mgmt_timeout header_digest data_digest immediate_data initial_r2t data_seq_inorder
    data_pdu_inorder erl max_receive_data_len first_burst_len max_outstanding_r2t max_burst_len
    chap_auth bidi_chap strict_login_compliance discovery_auth discovery_logout
""".split()
IFACE: Mapping[str, str] = {f"iface.{name}": "0" if name in _NUMBERS else EMPTY for name in _IFACE_NAMES} | {
    "iface.iscsi_ifacename": "default",
    "iface.transport_name": "tcp",
}
"""The record of the default interface."""
_SECRETS = ("node.session.auth.password", "node.session.auth.password_in")
_DISCOVERY_SECRETS = ("discovery.sendtargets.auth.password", "discovery.sendtargets.auth.password_in")
STARS = "********"
LOOKED_UP_BY: tuple[str, ...] = ("node.name", "node.tpgt", "node.conn[0].address", "node.conn[0].port")
LOOKED_UP_BY += (
    "iface.iscsi_ifacename",
    "node.discovery_address",
    "node.discovery_port",
    "node.discovery_type",
)
"""What a record is found by, and how it came here: that stays."""


class NodeRecord:
    """One node: a target through a portal and an interface. ``values`` are all its settings, by name.

    ``portal_group_tag`` is -1 until a discovery tells it.
    """

    def __init__(
        self,
        target_name: str,
        address: str,
        port: int,
        *,
        portal_group_tag: int = UNKNOWN_TPGT,
        conf: Mapping[str, str] | None = None,
        discovered_at: tuple[str, int] | None = None,
    ) -> None:
        node = {
            "node.name": target_name,
            "node.tpgt": str(portal_group_tag),
            "node.startup": "manual",
            "node.leading_login": "No",
        }
        discovery = {
            "node.discovery_address": discovered_at[0] if discovered_at else EMPTY,
            "node.discovery_port": str(discovered_at[1] if discovered_at else 0),
            "node.discovery_type": "send_targets" if discovered_at else "static",
        }
        where = {"node.conn[0].address": address, "node.conn[0].port": str(port)}
        settings = NodeSettings.from_mapping({**node, **IFACE, **discovery, **where, **(conf or {})})
        self.values = settings.to_mapping()

    @property
    def target_name(self) -> str:
        """Whose target."""
        return self.values["node.name"]

    @property
    def address(self) -> str:
        """Of the portal, an IPv6 one without brackets."""
        return self.values["node.conn[0].address"]

    @property
    def port(self) -> int:
        """Of the portal."""
        return int(self.values["node.conn[0].port"])

    @property
    def portal_group_tag(self) -> int:
        """-1 when nobody has told."""
        return int(self.values["node.tpgt"])

    @property
    def interface(self) -> str:
        """Its name."""
        return self.values["iface.iscsi_ifacename"]

    @property
    def settings(self) -> NodeSettings:
        """What a login is made with. Raises ConfigError for a value that cannot be."""
        return NodeSettings.from_mapping(self.values)

    @property
    def key(self) -> tuple[str, str, int, str]:
        """No two records have the same."""
        return self.target_name, self.address, self.port, self.interface

    def update(self, name: str, value: str) -> None:
        """Change one setting.

        Raises:
            KeyError: there is no such setting.
            ConfigError: the value cannot be; or the setting is one a record is found by.
        """
        if name not in self.values:
            raise KeyError(name)
        if name in LOOKED_UP_BY:
            raise ConfigError(f"{name} is what the record is found by")
        changed = self.values | {name: value or EMPTY}
        if name == "node.startup" and value not in ("manual", "automatic", "onboot"):
            raise ConfigError(f"{name} cannot be {value[:60]!r}")
        NodeSettings.from_mapping(changed)
        self.values[name] = value or EMPTY


def render(values: Mapping[str, str], version: str, *, secrets: bool = False) -> Iterator[str]:
    """The lines of a record as iscsiadm prints it; passwords are stars unless ``secrets``."""
    yield f"# BEGIN RECORD {version}"
    for name, value in values.items():
        hidden = not secrets and value != EMPTY and name in (*_SECRETS, *_DISCOVERY_SECRETS)
        yield f"{name} = {STARS if hidden else value}"
    yield "# END RECORD"
