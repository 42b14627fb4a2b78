"""Addresses a lab gives out, and what they stand for."""

from __future__ import annotations

import pytest

from iscsim import ConfigError
from iscsim.lab.addresses import Addresses
from iscsim.net.memory import MemoryNetwork


def test_free_portals_are_those_nobody_has() -> None:
    network = MemoryNetwork()
    network.add_host("compute", "10.245.47.96")
    assert Addresses(network).portals(2, "array") == ["10.245.47.95:3260", "10.245.47.97:3260"]
    assert network.topology.addresses_of("array") == ["10.245.47.95", "10.245.47.97"]


def test_address_of_another_host_is_refused() -> None:
    network = MemoryNetwork()
    network.add_host("compute", "10.245.47.96")
    addresses = Addresses(network)
    addresses.portals(1, "array")
    with pytest.raises(ConfigError, match=r"10\.245\.47\.96 is the address of compute/eth0 already"):
        addresses.portals(["10.245.47.96:3260"], "array")


def test_names_of_real_portals_are_translated_wherever_they_are() -> None:
    addresses = Addresses(None)
    addresses.are(["10.245.47.95:3260"], ["127.0.0.1:4711"])
    given = {"match": {"portal": ["10.245.47.95:3260", "x"]}, "name": "net.refuse"}
    expected = {"match": {"portal": ["127.0.0.1:4711", "x"]}, "name": "net.refuse"}
    assert addresses.translated(given) == expected
    assert addresses.shown(("127.0.0.1", 4711)) == ("10.245.47.95", 3260)
    assert addresses.shown(("127.0.0.1", 4712)) == ("127.0.0.1", 4712)
