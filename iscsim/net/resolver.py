"""Names of hosts in a memory network, and what a resolver says when it has no answer."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from iscsim.errors import ConfigError
from iscsim.net.conditions import Resolution
from iscsim.net.topology import checked_address

if TYPE_CHECKING:
    from iscsim.net.memory import MemoryNetwork

__all__ = ["check_resolution", "is_address", "resolve"]

_ERRORS = {
    "NXDOMAIN": (socket.EAI_NONAME, "Name or service not known"),
    "NODATA": (getattr(socket, "EAI_NODATA", -5), "No address associated with hostname"),
    "SERVFAIL": (socket.EAI_AGAIN, "Temporary failure in name resolution"),
    "TIMEOUT": (socket.EAI_AGAIN, "Temporary failure in name resolution"),
    "REFUSED": (socket.EAI_FAIL, "Non-recoverable failure in name resolution"),
    "FORMERR": (socket.EAI_FAIL, "Non-recoverable failure in name resolution"),
}
"""What glibc's getaddrinfo makes of each answer of a server."""
TIMEOUT_S = 10.0
"""resolv.conf's defaults: 5 s for an answer, asked twice."""


async def resolve(network: MemoryNetwork, host: str, name: str) -> list[str]:
    """The addresses of ``name`` for ``host``; an address is its own. Raises OSError (socket.gaierror)."""
    if is_address(name):
        return [checked_address(name)]
    asked = name.lower().rstrip(".")
    await check_resolution(network.conditions.resolving(host, asked, asyncio.get_running_loop().time()))
    found = network.names.get(asked)
    if not found:
        raise socket.gaierror(*_ERRORS["NXDOMAIN"])
    return list(found)


def is_address(name: str) -> bool:
    """Whether ``name`` needs no resolver."""
    try:
        checked_address(name)
    except ConfigError:
        return False
    return True


async def check_resolution(resolution: Resolution) -> None:
    """Wait as long as it takes to hear it. Raises socket.gaierror for an answer that is an error."""
    seconds = resolution.delay_s + (TIMEOUT_S if resolution.rcode == "TIMEOUT" else 0.0)
    if seconds:
        await asyncio.sleep(seconds)
    if resolution.rcode in _ERRORS:
        raise socket.gaierror(*_ERRORS[resolution.rcode])
