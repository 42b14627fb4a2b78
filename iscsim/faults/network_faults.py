"""Faults of the network: what hosts, links and routers do wrong. Those of connections are in `tcp_faults`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from iscsim.errors import ConfigError
from iscsim.faults.conditions import Pieces, direction_of
from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.match import same_text
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import Seconds
from iscsim.faults.world import Undo, World
from iscsim.net.conditions import Flow, Resolution, Verdict

__all__ = ["DIRECTION", "delayed", "in_direction", "lose"]

_WIRE = (Hook.CONNECT, Hook.SEGMENT, Hook.DATAGRAM)
_HEADERS = 40
"""Bytes of IPv4 and TCP before the data."""
_MEMORY = ("memory",)

DIRECTION = Parameter(
    "dir",
    str,
    "the way on which it happens: to_target, to_initiator or both",
    default="both",
    choices=("both", "to_target", "to_initiator"),
)
_PROBABILITY = Parameter("p", float, "how probable it is, each time", default=0.1, minimum=0, maximum=1)


def in_direction(rule: FaultRule, occasion: Occasion) -> bool:
    """Whether ``dir`` is the way of this segment. A handshake goes both ways."""
    return occasion.hook is not Hook.SEGMENT or rule.parameters["dir"] in ("both", occasion.direction)


def lose(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Any:
    """Nothing gets through."""
    return Verdict.LOST if hook is Hook.CONNECT else None


def delayed(pieces: Pieces, seconds: float) -> Pieces:
    """``pieces``, each so much later."""
    return [replace(piece, delay_s=piece.delay_s + seconds) for piece in pieces or []]


add_kind(
    FaultKind(
        name="net.blackhole",
        hooks=_WIRE,
        summary="packets vanish without a word, as with a firewall that drops them",
        observable="a connect gets no answer: ConnectionFailed at the login timeout; an established session "
        "loses its pings: SessionFailed after ping interval and timeout",
        action=lose,
        parameters=(DIRECTION,),
        applies=in_direction,
    )
)


def _refuse(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Verdict:
    return Verdict.REFUSED


add_kind(
    FaultKind(
        name="net.refuse",
        hooks=(Hook.CONNECT,),
        summary="a RST answers the SYN, as where nobody listens",
        observable="ConnectionFailed at once: Connection refused",
        action=_refuse,
    )
)

_CODES = {
    "host": Verdict.HOST_UNREACHABLE,
    "net": Verdict.NETWORK_UNREACHABLE,
    "prohibited": Verdict.PROHIBITED,
}


def _unreachable(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Verdict:
    return _CODES[rule.parameters["code"]]


add_kind(
    FaultKind(
        name="net.unreachable",
        hooks=(Hook.CONNECT,),
        summary="a router answers the SYN with ICMP destination unreachable",
        observable="ConnectionFailed at once: No route to host, or Network is unreachable",
        action=_unreachable,
        parameters=(Parameter("code", str, "what ICMP says", default="host", choices=tuple(_CODES)),),
    )
)


# -- partitions --------------------------------------------------------------------------------------


def _check_groups(parameters: Mapping[str, Any]) -> None:
    groups = parameters["groups"]
    hosts = [host for group in groups if isinstance(group, list | tuple) for host in group]
    if len(groups) < 2 or not all(isinstance(group, list | tuple) and group for group in groups):
        raise ConfigError("net.partition: groups are two or more lists of hosts")
    if not all(isinstance(host, str) for host in hosts) or len(set(hosts)) < len(hosts):
        raise ConfigError("net.partition: each host is named once, in one group")


def _apart(rule: FaultRule, occasion: Occasion) -> bool:
    heals = rule.parameters["heal_after"]
    if heals is not None and occasion.now >= rule.since + heals:
        return False
    found = [
        number
        for host in (occasion.host, occasion.peer_host)
        for number, group in enumerate(rule.parameters["groups"])
        if host in group
    ]
    return len(found) == 2 and found[0] != found[1]


add_kind(
    FaultKind(
        name="net.partition",
        hooks=_WIRE,
        summary="hosts of different groups do not reach each other; who is in no group reaches all",
        observable="pings go unanswered: SessionFailed after ping interval and timeout; with heal_after the "
        "next login gets through",
        action=lose,
        parameters=(
            Parameter("groups", list, "lists of names of hosts", required=True, known="host"),
            Parameter("heal_after", Seconds, "seconds until all is well again; never, without it"),
        ),
        applies=_apart,
        check=_check_groups,
        networks=_MEMORY,
    )
)


# -- slow links --------------------------------------------------------------------------------------


def _draw(rule: FaultRule, flow: Flow) -> float:
    """Seconds of one way."""
    delay, jitter = rule.parameters["delay"], rule.parameters["jitter"]
    chance = rule.stream(f"{flow.number} {direction_of(flow)} delay")
    match rule.parameters["dist"]:
        case "uniform":
            return float(max(0.0, delay + chance.uniform(-jitter, jitter)))
        case "lognormal":
            return float(delay * math.exp(chance.gauss(0.0, jitter / delay))) if delay else 0.0
    return float(delay)


def _latency(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Any:
    if hook is Hook.CONNECT:  # there and back
        ways = 2 if rule.parameters["dir"] == "both" else 1
        return sum(_draw(rule, flow) for _ in range(ways))
    return delayed(pieces, _draw(rule, flow))


def _check_latency(parameters: Mapping[str, Any]) -> None:
    if parameters["jitter"] and parameters["dist"] == "const":
        raise ConfigError("net.latency: jitter needs dist = uniform or lognormal")


add_kind(
    FaultKind(
        name="net.latency",
        hooks=_WIRE,
        summary="everything takes longer on its way; the order is kept",
        observable="logins, scans and commands take longer; no error before a timeout",
        action=_latency,
        parameters=(
            Parameter("delay", Seconds, "seconds of one way", required=True),
            Parameter("jitter", Seconds, "the spread: half its width, or sigma times delay", default=0.0),
            Parameter(
                "dist",
                str,
                "how delays are spread: not, evenly around delay, or with a long tail and delay as median",
                default="const",
                choices=("const", "uniform", "lognormal"),
            ),
            DIRECTION,
        ),
        applies=in_direction,
        check=_check_latency,
    )
)


def _bandwidth(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Pieces:
    """Every connection and direction is a pipe of its own, as with toxiproxy."""
    pipe = (flow.number, direction_of(flow))
    free = max(now, rule.state.get(pipe, 0.0))
    found = []
    for piece in pieces or []:
        free += len(piece.data) / rule.parameters["rate"]
        found.append(replace(piece, delay_s=piece.delay_s + free - now))
    rule.state[pipe] = free
    return found


add_kind(
    FaultKind(
        name="net.bandwidth",
        hooks=(Hook.SEGMENT,),
        summary="each direction of a connection carries so many bytes a second",
        observable="long transfers take longer; a command times out when it takes more than 30 s",
        action=_bandwidth,
        parameters=(Parameter("rate", float, "bytes a second", required=True, minimum=1), DIRECTION),
        applies=lambda rule, occasion: occasion.length > 0 and in_direction(rule, occasion),
    )
)


# -- packets -----------------------------------------------------------------------------------------

add_kind(
    FaultKind(
        name="net.loss",
        hooks=_WIRE,
        summary="packets are lost by chance",
        observable="TCP sends them again, so they are 0.2 s late or more; a datagram never comes",
        action=lose,
        parameters=(_PROBABILITY, DIRECTION),
        applies=in_direction,
    )
)


def _reorder(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Pieces:
    return delayed(pieces, rule.parameters["delay"])


add_kind(
    FaultKind(
        name="net.reorder",
        hooks=(Hook.SEGMENT, Hook.DATAGRAM),
        summary="packets are overtaken, by chance, by those sent up to delay later",
        observable="TCP puts them in order: they and what follows are late; datagrams come in another order",
        action=_reorder,
        parameters=(
            _PROBABILITY,
            Parameter("delay", Seconds, "seconds by which a packet is late", default=0.01),
        ),
    )
)


def _duplicate(rule: FaultRule, flow: Flow, hook: Hook, now: float, pieces: Pieces) -> Pieces:
    found = pieces or []
    return [*found, *(replace(piece, copy=hook is Hook.SEGMENT, comment=None) for piece in found)]


add_kind(
    FaultKind(
        name="net.dup",
        hooks=(Hook.SEGMENT, Hook.DATAGRAM),
        summary="packets come twice, by chance",
        observable="TCP drops the second, which the capture shows; a datagram is received twice",
        action=_duplicate,
        parameters=(_PROBABILITY,),
        applies=lambda rule, occasion: occasion.length > 0,
        networks=_MEMORY,
    )
)


def _is_too_long(rule: FaultRule, occasion: Occasion) -> bool:
    return occasion.length + _HEADERS > rule.parameters["mtu"] and in_direction(rule, occasion)


add_kind(
    FaultKind(
        name="net.mtu_blackhole",
        hooks=(Hook.SEGMENT,),
        summary="packets longer than a link's MTU vanish, and no ICMP says so: the jumbo frames' classic",
        observable="the login works; the first large transfer stalls, and the pings behind it: SessionFailed",
        action=lose,
        parameters=(
            Parameter("mtu", int, "bytes of the longest packet that gets through", default=1500, minimum=68),
            DIRECTION,
        ),
        applies=_is_too_long,
        networks=_MEMORY,
    )
)


# -- by itself ---------------------------------------------------------------------------------------


def _move_address(rule: FaultRule, world: World) -> Undo:
    network = world.network
    assert network is not None  # it is a fault of memory networks only
    topology, address = network.topology, rule.parameters["ip"]
    host, _, nic = rule.parameters["to"].partition("/")
    before = topology.owner(address)
    if before is None:
        raise ConfigError(f"net.ip_move: nobody has the address {address}")
    topology.move(address, host, nic or _first_card(world, host))
    return lambda: topology.move(address, before.host, before.name)


def _first_card(world: World, host: str) -> str:
    assert world.network is not None
    cards = world.network.topology.cards(host)
    if not cards:
        raise ConfigError(f"net.ip_move: {host} has no network card")
    return next(iter(cards))


add_kind(
    FaultKind(
        name="net.ip_move",
        hooks=(Hook.TIMER,),
        summary="an address moves to another card or host, as with a cluster's floating address",
        observable="the session there was is reset: SessionFailed; who connects again reaches the new host",
        action=_move_address,
        parameters=(
            Parameter("ip", str, "the address", required=True, known="address"),
            Parameter("to", str, "a host, or HOST/NIC", required=True, known="place"),
        ),
        networks=_MEMORY,
    )
)


def _take_down(rule: FaultRule, world: World) -> Undo:
    assert world.network is not None
    host, _, name = rule.parameters["nic"].partition("/")
    cards = world.network.topology.cards(host)
    if name not in cards:
        raise ConfigError(f"net.nic_down: {host} has no network card {name!r}")
    card = cards[name]
    card.up = False

    def up() -> None:
        card.up = True

    return up


add_kind(
    FaultKind(
        name="net.nic_down",
        hooks=(Hook.TIMER,),
        summary="a network card goes down, and up again at the end of its time",
        observable="the sessions through this card lose their pings: SessionFailed; the others go on",
        action=_take_down,
        parameters=(Parameter("nic", str, "HOST/NIC, as array/eth0", required=True, known="nic"),),
        networks=_MEMORY,
    )
)


def _resolution(rule: FaultRule, name: str) -> Resolution:
    return Resolution(rule.parameters["rcode"], rule.parameters["delay"])


def _check_resolution(parameters: Mapping[str, Any]) -> None:
    if not parameters["rcode"] and not parameters["delay"]:
        raise ConfigError("net.dns needs an rcode or a delay")


add_kind(
    FaultKind(
        name="net.dns",
        hooks=(Hook.RESOLVE,),
        summary="a name is not resolved, or late",
        observable="a portal given by name fails: ConnectionFailed with the resolver's words",
        action=_resolution,
        parameters=(
            Parameter("name", str, "the name, with * and ?; every name, without it", default="*"),
            Parameter(
                "rcode",
                str,
                "what the server answers",
                default="",
                choices=("", "NXDOMAIN", "NODATA", "SERVFAIL", "REFUSED", "FORMERR", "TIMEOUT"),
            ),
            Parameter("delay", Seconds, "seconds by which the answer is late", default=0.0),
        ),
        applies=lambda rule, occasion: same_text(rule.parameters["name"], occasion.name),
        check=_check_resolution,
    )
)
