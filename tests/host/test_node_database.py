"""Records in iscsiadm's order, and what a discovery brought."""

from __future__ import annotations

from iscsim.host.node_database import NodeDatabase

A, B = "iqn.2026-11.org.iscsim:a", "iqn.2026-11.org.iscsim:b"


def make() -> tuple[NodeDatabase, list[int]]:
    changes: list[int] = []
    return NodeDatabase(lambda: changes.append(1), {"node.startup": "automatic"}), changes


def test_records_are_sorted_and_found_by_what_is_given() -> None:
    nodes, _ = make()
    for name, address in ((B, "10.0.0.1"), (A, "10.0.0.2"), (A, "10.0.0.1")):
        nodes.new(name, address, 3260)
    assert [(record.target_name, record.address) for record in nodes] == [
        (A, "10.0.0.1"),
        (A, "10.0.0.2"),
        (B, "10.0.0.1"),
    ]
    assert len(nodes.find(A)) == len(nodes.find(address="10.0.0.1")) == 2
    assert nodes.find(A, "10.0.0.1", 3261) == nodes.find(interface="iser") == []


def test_same_key_replaces_and_the_configuration_gives_defaults() -> None:
    nodes, changes = make()
    first = nodes.new(A, "10.0.0.1", 3260)
    second = nodes.new(A, "10.0.0.1", 3260)
    assert list(nodes) == [second]
    assert first.values["node.startup"] == "automatic"
    assert len(changes) == 2


def test_deleted_node_is_no_longer_what_a_discovery_found() -> None:
    nodes, _ = make()
    node = nodes.new(A, "10.0.0.1", 3260)
    discovery = nodes.discovery("10.0.0.1", 3260)
    discovery.found[node.key] = None
    assert nodes.discovery("10.0.0.1", 3260) is discovery
    nodes.delete(node)
    assert (len(nodes), discovery.found) == (0, {})
