"""Names of hosts in a memory network."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import pytest

from iscsim.net.memory import MemoryNetwork
from iscsim.net.resolver import is_address, resolve
from iscsim.net.virtual_loop import VirtualLoop


def play(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def network() -> MemoryNetwork:
    found = MemoryNetwork()
    found.add_host("array", "10.0.0.1")
    found.names["array.test"] = ["10.0.0.9", "10.0.0.1"]
    return found


@pytest.mark.parametrize("name", ["array.test", "ARRAY.Test", "array.test."])
def test_name_is_resolved_in_any_spelling(name: str) -> None:
    assert play(resolve(network(), "compute", name)) == ["10.0.0.9", "10.0.0.1"]


@pytest.mark.parametrize("address, shown", [("10.0.0.7", "10.0.0.7"), ("[FE80::1]", "fe80::1")])
def test_address_is_its_own(address: str, shown: str) -> None:
    assert play(resolve(network(), "compute", address)) == [shown]
    assert is_address(address)


@pytest.mark.parametrize("name", ["array", "", "10.0.0.256"])
def test_name_nobody_has_is_what_getaddrinfo_says(name: str) -> None:
    with pytest.raises(socket.gaierror, match="Name or service not known") as caught:
        play(resolve(network(), "compute", name))
    assert caught.value.errno == socket.EAI_NONAME


def test_addresses_of_a_name_are_tried_in_turn() -> None:
    async def main() -> Any:
        world = network()
        compute = world.add_host("compute", "10.0.0.2")
        async with await world.host("array").listen("10.0.0.1", 7, asyncio.Protocol):
            transport = await compute.open("array.test", 7, asyncio.Protocol)
            return transport.get_extra_info("peername")

    assert play(main()) == ("10.0.0.1", 7)
