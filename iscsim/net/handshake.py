"""How a connection over a memory network comes about, or does not: SYNs and what answers them."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

from iscsim.net.conditions import Flow, Reply, Verdict
from iscsim.net.network import WireRecord
from iscsim.session.names import format_portal

if TYPE_CHECKING:
    from iscsim.net.memory import MemoryNetwork
    from iscsim.net.memory_host import MemoryListener

__all__ = ["FIRST_SYN_S", "MOST_SYNS", "failure", "shake_hands"]

ARP_TIMEOUT_S = 3.0
"""How long Linux asks for an address nobody has, before it says EHOSTUNREACH."""
FIRST_SYN_S = 1.0
MOST_SYNS = 7
"""Linux, net.ipv4.tcp_syn_retries=6: a connect nobody answers fails after 127 s."""
_FAILURES: dict[Verdict, tuple[type[OSError], int, int | None]] = {
    Verdict.REFUSED: (ConnectionRefusedError, errno.ECONNREFUSED, None),
    Verdict.HOST_UNREACHABLE: (OSError, errno.EHOSTUNREACH, 1),
    Verdict.NETWORK_UNREACHABLE: (OSError, errno.ENETUNREACH, 0),
    Verdict.PROHIBITED: (OSError, errno.EHOSTUNREACH, 13),
}
"""Error class, errno, code of ICMP's destination unreachable (RFC 792; RFC 1812 section 5.2.7.1)."""


async def shake_hands(network: MemoryNetwork, flow: Flow, record: WireRecord | None) -> MemoryListener:
    """Send SYNs until one is answered; who has accepted. Raises OSError."""
    loop, wait = asyncio.get_running_loop(), FIRST_SYN_S
    for attempt in range(1, MOST_SYNS + 1):
        verdict, comment, delay_s = _reply(network, flow, attempt, loop.time())
        if record is not None:
            record.attempted(loop.time(), comment)
        if verdict is Verdict.LOST:
            await asyncio.sleep(wait)
            wait *= 2
            continue
        await asyncio.sleep(_answer_after(network, flow, verdict) + delay_s)
        listener = network.listener_at(flow.destination)
        if verdict is Verdict.PASS and listener is not None:
            return listener
        raise failure(Verdict.REFUSED if verdict is Verdict.PASS else verdict, flow, record, loop.time())
    raise TimeoutError(errno.ETIMEDOUT, f"{os.strerror(errno.ETIMEDOUT)}: {format_portal(*flow.destination)}")


def _reply(network: MemoryNetwork, flow: Flow, attempt: int, now: float) -> Reply:
    reply = Reply(*network.conditions.connecting(flow, attempt, now))
    if reply.verdict is not Verdict.PASS:
        return reply
    owner = network.topology.owner(flow.destination[0])
    if not network.can_send(flow) or (owner is not None and not owner.up):
        return reply._replace(verdict=Verdict.LOST)
    if owner is None:
        return reply._replace(verdict=Verdict.HOST_UNREACHABLE)
    listening = network.listener_at(flow.destination)
    return reply if listening else reply._replace(verdict=Verdict.REFUSED)


def _answer_after(network: MemoryNetwork, flow: Flow, verdict: Verdict) -> float:
    nobody = network.topology.owner(flow.destination[0]) is None
    return ARP_TIMEOUT_S if verdict is Verdict.HOST_UNREACHABLE and nobody else 2 * network.latency_s


def failure(verdict: Verdict, flow: Flow, record: WireRecord | None, now: float) -> OSError:
    """What a connect to which a SYN got this answer raises; the capture is told."""
    kind, number, code = _FAILURES[verdict]
    if record is not None and code is None:
        record.refused(now)
    elif record is not None and code is not None:
        record.unreachable(now, code)
    return kind(number, f"{os.strerror(number)}: {format_portal(*flow.destination)}")
