"""The hosts of a memory network: their names, addresses and listeners."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from net.storage import ARRAY, COMPUTE, World
from net.worlds import Log, play

from iscsim.errors import ConfigError
from iscsim.net.conditions import CLEAR
from iscsim.net.memory import MemoryNetwork


def test_host_has_one_name_and_nobody_elses_addresses() -> None:
    network = MemoryNetwork()
    network.add_host("array", ARRAY)
    for name, addresses in (
        ("array", ()),
        ("other", (ARRAY,)),
        ("other", ("10.0.0.1", "10.0.0.1")),
        ("other", ("a",)),
    ):
        with pytest.raises(ConfigError):
            network.add_host(name, *addresses)
    with pytest.raises(ConfigError, match="not both"):
        network.add_host("other", "10.0.0.1", nics={"eth0": ["10.0.0.2"]})
    assert network.add_host("other", "10.0.0.1").addresses == ["10.0.0.1"]  # nothing was left of the mistakes
    assert network.host("other").name == "other"
    with pytest.raises(ConfigError, match="no host 'nobody'"):
        network.host("nobody")


def test_host_is_found_by_its_address() -> None:
    network = MemoryNetwork()
    with pytest.raises(OSError, match="no hosts"):
        network.host_of(None)
    first = network.add_host("array", ARRAY, "fd00::1")
    assert network.host_of("0.0.0.0") is network.host_of("fd00:0::1") is first
    with pytest.raises(OSError, match="no host has the address"):
        network.host_of("10.0.0.1")


def test_wildcard_listens_on_every_address_and_shares_its_port_with_nobody() -> None:
    async def main() -> None:
        world = World()
        listener = await world.array.listen("0.0.0.0", 3260, Log)
        assert listener.address == ("0.0.0.0", 3260)
        for address in (ARRAY, "10.245.47.96"):
            await world.compute.connect(address, 3260, Log)
            with pytest.raises(OSError, match="listens on"):
                await world.array.listen(address, 3260, Log)
        listener.close()
        one = await world.array.listen(ARRAY, 3260, Log)
        await world.array.listen("10.245.47.96", 3260, Log)
        with pytest.raises(OSError, match="listens on"):
            await world.array.listen("", 3260, Log)
        one.close()
        with pytest.raises(ConnectionRefusedError):
            await world.compute.connect(ARRAY, 3260, Log)

    play(main)


def test_listening_on_somebody_elses_address_is_an_error() -> None:
    async def main() -> None:
        world = World()
        for address in (COMPUTE, "10.9.9.9", "example.org"):
            with pytest.raises(OSError) as caught:
                await world.array.listen(address, 3260, Log)
            assert caught.value.errno == errno.EADDRNOTAVAIL
        with pytest.raises(OSError, match="has no address"):
            await world.compute.open(ARRAY, 3260, Log, local_addr=(ARRAY, 0))

    play(main)


@pytest.mark.parametrize("wrong", [{"latency_s": -1}, {"bandwidth": -1.0}, {"segment_size": 0}])
def test_link_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        MemoryNetwork(**wrong)


def test_nothing_is_in_the_way_by_default() -> None:
    assert MemoryNetwork().conditions is CLEAR
