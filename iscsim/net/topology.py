"""The hosts of a memory network, their network cards and addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from iscsim.errors import ConfigError

__all__ = ["NIC", "Topology", "checked_address"]


@dataclass(slots=True, eq=False)
class NIC:
    """A network card of a host, with its addresses; nothing passes one that is not ``up``."""

    host: str
    name: str
    addresses: list[str] = field(default_factory=list)
    up: bool = True

    def __str__(self) -> str:
        return f"{self.host}/{self.name}"


class Topology:
    """Which host has which address on which card."""

    def __init__(self) -> None:
        self.hosts: dict[str, dict[str, NIC]] = {}
        self._owners: dict[str, NIC] = {}

    def add_host(self, host: str, cards: dict[str, tuple[str, ...]]) -> None:
        """A new host with its cards; all of it or, when `ConfigError` is raised, nothing."""
        self._check_free([each for addresses in cards.values() for each in addresses])
        self.hosts.setdefault(host, {})
        for card, addresses in cards.items():
            self.add(host, card, addresses)

    def add(self, host: str, nic: str, addresses: tuple[str, ...]) -> NIC:
        """Give ``host`` a card, or a card more addresses.

        Raises `ConfigError` for what is no address, or is somebody's already.
        """
        checked = self._check_free(addresses)
        card = self.hosts.setdefault(host, {}).setdefault(nic, NIC(host, nic))
        for address in checked:
            self._owners[address] = card
            card.addresses.append(address)
        return card

    def _check_free(self, addresses: Iterable[str]) -> list[str]:
        checked = [checked_address(address) for address in addresses]
        for number, address in enumerate(checked):
            if address in self._owners:
                raise ConfigError(f"{address} is the address of {self._owners[address]} already")
            if address in checked[:number]:
                raise ConfigError(f"{address} is given twice")
        return checked

    def owner(self, address: str) -> NIC | None:
        """The card that has ``address`` now."""
        return self._owners.get(address)

    def move(self, address: str, host: str, nic: str) -> None:
        """Take ``address`` away from its card and give it to another.

        Raises `ConfigError` when nobody has it, or there is no such host or card.
        """
        address = checked_address(address)
        card = self._owners.get(address)
        if card is None:
            raise ConfigError(f"nobody has the address {address}")
        cards = self.cards(host)
        if nic not in cards:
            raise ConfigError(f"{host} has no network card {nic!r} (there are: {', '.join(cards) or 'none'})")
        del self._owners[address]
        card.addresses.remove(address)
        self.add(host, nic, (address,))

    def addresses_of(self, host: str) -> list[str]:
        """Every address of ``host`` on a card that is up."""
        return [each for card in self.hosts.get(host, {}).values() if card.up for each in card.addresses]

    def cards(self, host: str) -> dict[str, NIC]:
        """The cards of ``host`` by name. Raises `ConfigError` for a host there is not."""
        try:
            return self.hosts[host]
        except KeyError:
            raise ConfigError(f"no host {host!r} (there are: {', '.join(self.hosts) or 'none'})") from None


def checked_address(address: str) -> str:
    """``address`` in its usual spelling. Raises `ConfigError`."""
    try:
        return str(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        raise ConfigError(f"not an IP address: {address!r}") from None
