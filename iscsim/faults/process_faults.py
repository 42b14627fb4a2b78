"""Faults of the process that is the target: gone, stopped, started again, replaced by another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from iscsim.errors import ConfigError
from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.occasion import Hook
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import Seconds
from iscsim.faults.units import TARGET, nodes_of
from iscsim.faults.world import Undo, World
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.session.parameters import BOOLEAN_ATTRIBUTES, NUMBER_ATTRIBUTES, Wishes
from iscsim.target.node import NetworkEntity
from iscsim.target.policy import PERSONALITIES

__all__ = ["parse_wishes"]


def _servers(rule: FaultRule, world: World) -> list[Any]:
    """The servers of the targets that are meant, each once."""
    return list(dict.fromkeys(world.server_of(node.name) for node in nodes_of(rule, world)))


def _kill(rule: FaultRule, world: World) -> Undo:
    servers = _servers(rule, world)
    for server in servers:
        server.stop()
    return lambda: _start(servers, world)


def _start(servers: list[Any], world: World) -> None:
    while servers:  # once, whoever comes first
        world.spawn(servers.pop(0).start())


def _back_after(rule: FaultRule, world: World, seconds: float, change: Callable[[Any], None]) -> Undo:
    """Stop the servers, and start them after ``seconds`` as ``change`` has made them."""
    servers = _servers(rule, world)
    for server in servers:
        server.stop()
        change(server)
    handle = world.call_at(world.time() + seconds, lambda: _start(servers, world))

    def undo() -> None:
        handle.cancel()
        _start(servers, world)

    return undo


def _restart(rule: FaultRule, world: World) -> Undo:
    keeps = rule.parameters["keep_state"]
    return _back_after(
        rule, world, rule.parameters["after"], lambda server: None if keeps else _lose_power(server.entity)
    )


def _lose_power(entity: NetworkEntity) -> None:
    """SPC-4: reservations that no APTPL keeps are gone, mode parameters are what they were at first."""
    units = (unit for node in entity.nodes.values() for unit in node.units())
    for unit in dict.fromkeys(units):
        unit.reservations.lose_power()
        unit.reset(UnitAttention.POWER_ON_RESET)


def _fail_over(rule: FaultRule, world: World) -> Undo:
    return _back_after(rule, world, rule.parameters["gap"], lambda server: None)


def _pause(rule: FaultRule, world: World) -> Undo:
    servers = _servers(rule, world)
    for server in servers:
        server.pause()

    def resume() -> None:
        while servers:
            servers.pop(0).resume()

    world.call_at(world.time() + rule.parameters["s"], resume)
    return resume


def parse_wishes(text: str, wishes: Wishes | None = None) -> Wishes:
    """``wishes`` with the keys of ``"MaxBurstLength=65536 ImmediateData=No"``. Raises `ConfigError`."""
    found: dict[str, Any] = {}
    for pair in text.split():
        key, _, value = pair.partition("=")
        if key in NUMBER_ATTRIBUTES and value.isascii() and value.isdigit():
            found[NUMBER_ATTRIBUTES[key]] = int(value[:20])
        elif key in BOOLEAN_ATTRIBUTES and value in ("Yes", "No"):
            found[BOOLEAN_ATTRIBUTES[key]] = value == "Yes"
        else:
            names = ", ".join([*NUMBER_ATTRIBUTES, *BOOLEAN_ATTRIBUTES])
            raise ConfigError(f"{pair!r:.60} is not a number or Yes and No for one of {names}")
    return replace(wishes or Wishes(), **found)


def _upgrade(rule: FaultRule, world: World) -> Undo:
    given = rule.parameters

    def change(server: Any) -> None:
        entity: NetworkEntity = server.entity
        policy = PERSONALITIES[given["personality"]] if given["personality"] else entity.policy
        policy = replace(policy, wishes=parse_wishes(given["params"], policy.wishes))
        entity.policy = policy
        for node in entity.nodes.values():
            node.policy = policy
            for unit in node.units():
                unit.revision = given["revision"] or unit.revision

    return _back_after(rule, world, given["after"], change)


def _check_upgrade(given: Mapping[str, Any]) -> None:
    parse_wishes(given["params"])
    if given["revision"] is not None and not (
        1 <= len(given["revision"]) <= 4 and given["revision"].isascii() and given["revision"].isprintable()
    ):
        raise ConfigError("target.upgrade: a revision has 1 to 4 printable characters")


_AFTER = Parameter("after", Seconds, "how long it is gone", default=1.0)


def _add(name: str, summary: str, observable: str, action: Callable[..., Any], **more: Any) -> None:
    parameters = (TARGET, *more.pop("parameters", ()))
    add_kind(
        FaultKind(
            name=f"target.{name}",
            hooks=(Hook.TIMER,),
            summary=summary,
            observable=observable,
            action=action,
            parameters=parameters,
            **more,
        )
    )


_add(
    "kill",
    "The target's process is gone.",
    "connections are reset, and refused until somebody starts it again",
    _kill,
)
_add(
    "restart",
    "The target's process ends and starts again, with its state or without.",
    "connections are reset and refused for a while; without state reservations are lost",
    _restart,
    parameters=(
        Parameter("keep_state", bool, "reservations and mode parameters survive", default=True),
        _AFTER,
    ),
)
_add(
    "pause",
    "The target's process stands still for some seconds, as under a debugger or in a long collection.",
    "TCP connects and nothing is answered: pings and commands time out",
    _pause,
    parameters=(Parameter("s", Seconds, "how long", required=True),),
)
_add(
    "failover",
    "The active controller goes, and the standby one takes over its addresses after a gap.",
    "connections are reset, portals refuse during the gap; data and registrations are there again",
    _fail_over,
    parameters=(Parameter("gap", Seconds, "how long nobody answers", required=True),),
)
_add(
    "upgrade",
    "The target comes back as another version: other login keys, another personality, another revision.",
    "after the relogin other limits hold, INQUIRY shows another revision",
    _upgrade,
    parameters=(
        Parameter("params", str, "login keys: `MaxBurstLength=65536 ImmediateData=No`", default=""),
        Parameter("personality", str, "what it is now", choices=tuple(PERSONALITIES)),
        Parameter("revision", str, "PRODUCT REVISION LEVEL"),
        _AFTER,
    ),
    check=_check_upgrade,
)
