"""Which addresses a lab gives out, and what they stand for on real TCP."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from iscsim.errors import ConfigError
from iscsim.net.memory import MemoryNetwork
from iscsim.net.memory_host import HostNetwork
from iscsim.net.network import Address
from iscsim.net.virtual_loop import VirtualLoop
from iscsim.session.names import format_portal, parse_portal

__all__ = ["Addresses", "run_virtual"]

Result = TypeVar("Result")
_FIRST_PORTAL = ipaddress.ip_address("10.245.47.95")
_FIRST_HOST = ipaddress.ip_address("10.245.46.10")


def run_virtual(main: Coroutine[Any, Any, Result]) -> Result:
    """Run ``main`` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class Addresses:
    """Gives out addresses of ``network``; without one, names for real ports."""

    def __init__(self, network: MemoryNetwork | None) -> None:
        self._network = network
        self._taken: set[str] = set()
        self._real: dict[str, str] = {}
        self._shown: dict[str, str] = {}

    # -- in memory ---------------------------------------------------------------------------------

    def add_host(self, name: str, addresses: Sequence[str]) -> HostNetwork:
        """A host of the network; one that has no address gets a free one. Raises `ConfigError`."""
        assert self._network is not None
        return self._network.add_host(name, *(addresses or [self._free(_FIRST_HOST)]))

    def portals(self, wanted: int | Sequence[str], host: str) -> list[str]:
        """The portals a target is to have, as addresses of ``host``. Raises `ConfigError`."""
        if isinstance(wanted, int):
            found = [f"{self._free(_FIRST_PORTAL)}:3260" for _ in range(wanted)]
        else:
            found = [format_portal(*parse_portal(portal)) for portal in wanted]
        if self._network is not None:
            for portal in found:
                self._give(self._network, host, parse_portal(portal)[0])
        return found

    def _give(self, network: MemoryNetwork, host: str, address: str) -> None:
        topology = network.topology
        if host not in topology.hosts:
            network.add_host(host, address)
            return
        owner = topology.owner(address)
        if owner is None:
            topology.add(host, f"eth{len(topology.cards(host))}", (address,))
        elif owner.host != host:
            raise ConfigError(f"{address} is the address of {owner} already")

    def _free(self, first: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
        candidate = first
        while str(candidate) in self._taken or self._owned(str(candidate)):
            candidate += 1
        self._taken.add(str(candidate))
        return str(candidate)

    def _owned(self, address: str) -> bool:
        return self._network is not None and self._network.topology.owner(address) is not None

    def host_of(self, address: str) -> str:
        """The host with this address, or an empty text."""
        card = self._network.topology.owner(address) if self._network is not None else None
        return card.host if card is not None else ""

    # -- on real TCP -------------------------------------------------------------------------------

    def are(self, wanted: Sequence[str], real: Sequence[str]) -> None:
        """What was ``wanted`` is really at ``real``."""
        for name, portal in zip(wanted, real, strict=True):
            if name != portal:
                self._real[name], self._shown[portal] = portal, name

    def real(self, portal: str) -> str:
        """Where ``portal`` is."""
        return self._real.get(portal, portal)

    def shown(self, address: Address) -> Address:
        """What a capture shows for a real address."""
        name = self._shown.get(format_portal(*address))
        return parse_portal(name) if name is not None else address

    def translated(self, value: Any) -> Any:
        """``value`` with every name of a portal in it replaced by where it is."""
        if isinstance(value, str):
            return self._real.get(value, value)
        if isinstance(value, Mapping):
            return {key: self.translated(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.translated(each) for each in value]
        return value
