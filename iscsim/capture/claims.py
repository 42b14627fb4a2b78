"""Who records a connection when both of its ends live in this process.

The rule is deterministic: for an unordered pair of addresses, the end that opens first records, the next
one to open is taken for the other end of the same connection. A pair is free again when both ends are
closed or, if only one was ever seen (the usual case: the peer is another process), one second after it was.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from iscsim.capture.frames import Address

# The other end in this process may get to hear of the connection only after the first has closed it; and no
# kernel uses a pair again quicker than this (Linux: tcp_tw_reuse, 1 s).
LINGER_S: Final = 1.0

Pair = frozenset[Address]


@dataclass(slots=True, eq=False)
class Claim:
    """A pair of addresses that is being recorded, and how the capture shows it."""

    pair: Pair
    shown_client: Address
    shown_server: Address
    open_ends: int = 1
    both_seen: bool = False

    @property
    def shown(self) -> Pair:
        """The pair as the capture shows it."""
        return frozenset((self.shown_client, self.shown_server))


class Claims:
    """All pairs of addresses that are being recorded."""

    def __init__(self) -> None:
        self._by_pair: dict[Pair, Claim] = {}
        self._shown: set[Pair] = set()
        self._lingering: deque[tuple[float, Claim]] = deque()

    def join(self, pair: Pair, now: float) -> Claim | None:
        """The claim whose other end is asking; None when the caller is the first and shall record."""
        self._expire(now)
        claim = self._by_pair.get(pair)
        if claim is None or claim.both_seen:
            return None
        claim.both_seen = True
        claim.open_ends += 1
        return claim

    def begin(self, pair: Pair, shown_client: Address, shown_server: Address) -> Claim:
        """Claim ``pair``. The shown client port moves on if the capture shows another connection there."""
        if pair in self._by_pair:
            self._drop(self._by_pair[pair])
        claim = Claim(pair, self._free_client(shown_client, shown_server), shown_server)
        self._by_pair[pair] = claim
        self._shown.add(claim.shown)
        return claim

    def release(self, claim: Claim, now: float) -> None:
        """One end of ``claim`` has closed."""
        claim.open_ends -= 1
        if claim.open_ends == 0:
            if claim.both_seen:
                self._drop(claim)
            else:
                self._lingering.append((now, claim))

    def _free_client(self, client: Address, server: Address) -> Address:
        """One client port may lead to two portals, on two ephemeral ports, that are shown as one."""
        for offset in range(0xFFFF):
            candidate = client[0], (client[1] - 1 + offset) % 0xFFFF + 1
            if frozenset((candidate, server)) not in self._shown:
                return candidate
        return client

    def _expire(self, now: float) -> None:
        while self._lingering and now - self._lingering[0][0] >= LINGER_S:
            _, claim = self._lingering.popleft()
            if claim.open_ends == 0:
                self._drop(claim)

    def _drop(self, claim: Claim) -> None:
        self._shown.discard(claim.shown)
        if self._by_pair.get(claim.pair) is claim:
            del self._by_pair[claim.pair]
