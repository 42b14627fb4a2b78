"""Where the logins of one session go when targets send them elsewhere (RFC 7143 section 11.13.5)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from iscsim.errors import ConfigError, ConnectionFailed
from iscsim.initiator.portal import Portal, parse_redirect
from iscsim.session.login import LoginRedirected

__all__ = ["MAX_REDIRECTIONS", "Redirections"]

MAX_REDIRECTIONS = 4
"""So many in a row are followed; a chain that is longer is a target's mistake, or its malice."""


class Redirections:
    """Follows redirections from ``home``.

    With ``allowed`` only those to one of these: addresses (``"10.0.0.5"``), networks (``"10.0.0.0/24"``) or
    host names, as targets write them. A permanent redirection moves ``home``; a temporary one is forgotten
    by :meth:`go_home`, which begins the next login.

    Raises:
        ConfigError: an entry of ``allowed`` is none of these.
    """

    def __init__(self, home: Portal, allowed: Sequence[str] | None = None) -> None:
        self.home = self.here = home
        self._allowed = None if allowed is None else _Allowed(allowed)
        self._count = 0

    def go_home(self) -> Portal:
        """Where the next login begins."""
        self.here, self._count = self.home, 0
        return self.home

    def follow(self, redirection: LoginRedirected) -> Portal:
        """Where the target sends us.

        Raises:
            ConnectionFailed: it is nowhere, or not allowed, or one too many.
        """
        self._count += 1
        if self._count > MAX_REDIRECTIONS:
            raise ConnectionFailed(f"{self.home}: more than {MAX_REDIRECTIONS} redirections")
        there = parse_redirect(redirection.address, self.here)
        if self._allowed is not None and not self._allowed.has(there.address):
            raise ConnectionFailed(f"{self.here} redirects to {there}, which is not allowed")
        self.here = there
        if redirection.permanent:
            self.home = there
        return there


class _Allowed:
    def __init__(self, entries: Sequence[str]) -> None:
        if isinstance(entries, str):
            raise ConfigError(f"allowed redirections are a list, not {entries[:60]!r}")
        self._names: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in entries:
            self._add(entry.strip())

    def _add(self, entry: str) -> None:
        try:
            self._networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
        except ValueError:
            if not entry or not all(each.isalnum() or each in "-._" for each in entry):
                raise ConfigError(f"{entry[:60]!r} is no address, network or host name") from None
            self._names.add(entry.lower())

    def has(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return address.lower() in self._names
        return any(parsed in network for network in self._networks)
