"""The port numbers of the hosts of a memory network."""

from __future__ import annotations

import errno

__all__ = ["Ports"]

_FIRST_EPHEMERAL, _EPHEMERAL = 49152, 16384
"""RFC 6335 section 6."""


class Ports:
    """Which ports are in use on which host, for TCP or for UDP. One may be in use several times."""

    def __init__(self) -> None:
        self._uses: dict[tuple[str, int], int] = {}
        self._next: dict[str, int] = {}

    def take(self, host: str, port: int = 0) -> int:
        """Use ``port``, or for 0 a free one: they go round, as the same one twice would look like one socket.

        Raises OSError when there is none left.
        """
        port = port or self._free(host)
        self._uses[host, port] = self._uses.get((host, port), 0) + 1
        return port

    def give_back(self, host: str, port: int) -> None:
        """One user less."""
        left = self._uses.pop((host, port), 1) - 1
        if left:
            self._uses[host, port] = left

    def _free(self, host: str) -> int:
        step = self._next.get(host, 0)
        for offset in range(_EPHEMERAL):
            port = _FIRST_EPHEMERAL + (step + offset) % _EPHEMERAL
            if (host, port) not in self._uses:
                self._next[host] = (port - _FIRST_EPHEMERAL + 1) % _EPHEMERAL
                return port
        raise OSError(errno.EADDRNOTAVAIL, f"every ephemeral port of {host} is in use")
