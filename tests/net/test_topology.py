"""Which host has which address on which card."""

from __future__ import annotations

import pytest

from iscsim.errors import ConfigError
from iscsim.net.topology import Topology, checked_address


@pytest.fixture
def topology() -> Topology:
    found = Topology()
    found.add_host("array", {"eth0": ("10.0.0.1",), "eth1": ("10.0.1.1", "fd00::1")})
    found.add_host("compute", {"eth0": ("10.0.0.2",)})
    return found


def test_owner_is_the_card(topology: Topology) -> None:
    assert [str(topology.owner(address)) for address in ("10.0.0.1", "fd00::1", "10.9.9.9")] == [
        "array/eth0",
        "array/eth1",
        "None",
    ]


def test_addresses_of_cards_that_are_down_are_left_out(topology: Topology) -> None:
    topology.cards("array")["eth0"].up = False
    assert topology.addresses_of("array") == ["10.0.1.1", "fd00::1"]
    assert topology.addresses_of("nobody") == []


def test_address_moves_to_another_card(topology: Topology) -> None:
    topology.move("10.0.1.1", "compute", "eth0")
    assert str(topology.owner("10.0.1.1")) == "compute/eth0"
    assert topology.addresses_of("array") == ["10.0.0.1", "fd00::1"]
    assert topology.addresses_of("compute") == ["10.0.0.2", "10.0.1.1"]


@pytest.mark.parametrize(
    "address, host, card, message",
    [
        ("10.9.9.9", "compute", "eth0", "nobody has the address"),
        ("10.0.0.1", "nobody", "eth0", "no host 'nobody'"),
        ("10.0.0.1", "compute", "eth7", "no network card 'eth7'"),
        ("here", "compute", "eth0", "not an IP address"),
    ],
)
def test_move_that_cannot_be_changes_nothing(
    topology: Topology, address: str, host: str, card: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        topology.move(address, host, card)
    assert str(topology.owner("10.0.0.1")) == "array/eth0"
    assert list(topology.hosts) == ["array", "compute"]


@pytest.mark.parametrize("addresses", [("10.0.0.3", "10.0.0.1"), ("10.0.0.3", "10.0.0.3"), ("10.0.0.3", "x")])
def test_host_with_an_address_that_cannot_be_is_not_there_at_all(
    topology: Topology, addresses: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError):
        topology.add_host("new", {"eth0": addresses})
    assert (topology.owner("10.0.0.3"), "new" in topology.hosts) == (None, False)


def test_card_may_get_one_more_address(topology: Topology) -> None:
    topology.add("compute", "eth0", ("10.0.0.3",))
    assert topology.addresses_of("compute") == ["10.0.0.2", "10.0.0.3"]


@pytest.mark.parametrize("given, usual", [("[FD00:0::1]", "fd00::1"), ("10.0.0.1", "10.0.0.1")])
def test_address_has_one_spelling(given: str, usual: str) -> None:
    assert checked_address(given) == usual
