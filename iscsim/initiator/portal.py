"""Addresses of targets, as people and as targets write them (RFC 7143 section 13.8)."""

from __future__ import annotations

from dataclasses import dataclass

from iscsim.errors import ConfigError, ConnectionFailed
from iscsim.session import names
from iscsim.session.names import DEFAULT_PORT, format_portal


@dataclass(frozen=True, slots=True)
class Portal:
    """An address and TCP port of a target, and the portal group tag discovery told, if it did."""

    address: str
    port: int = DEFAULT_PORT
    tag: int | None = None

    def __str__(self) -> str:
        return format_portal(self.address, self.port)


def parse_portal(portal: str | tuple[str, int] | Portal) -> Portal:
    """``"host:port"``, ``"[::1]:3260"``, ``"host"``, each with ``,tag`` behind it, or ``(host, port)``.

    Raises:
        ConfigError: it is none of these, or the port is not one of 1 to 65535.
    """
    if isinstance(portal, Portal):
        return portal
    if isinstance(portal, tuple):
        return _checked(*portal, None, str(portal))
    text, comma, tag = portal.partition(",")
    if comma and not (tag.isdecimal() and int(tag) <= 65535):
        raise ConfigError(f"not a portal: {portal[:60]!r} ends in no portal group tag")
    return _checked(*names.parse_portal(text), int(tag) if comma else None, portal)


def _checked(address: str, port: int, tag: int | None, given: str) -> Portal:
    if not 0 < port < 65536:
        raise ConfigError(f"not a portal: {given[:60]!r} has no port of 1 to 65535")
    return Portal(address, port, tag)


def parse_redirect(address: str, origin: Portal) -> Portal:
    """Where a Login Response sends us. Raises ConnectionFailed when that is no address."""
    try:
        return parse_portal(address)
    except ConfigError as error:
        raise ConnectionFailed(f"{origin} redirects to nowhere: {error}") from None
