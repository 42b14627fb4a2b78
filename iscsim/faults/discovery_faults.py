"""Faults of discovery: ``discovery.*`` change what SendTargets tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from iscsim.faults.key_text import Pair, split_pairs
from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.match import same_text
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.pdu_tap import FaultTap
from iscsim.faults.rule import FaultRule
from iscsim.pdu import PDU, TextRequest, TextResponse

__all__: list[str] = []

Given = Mapping[str, Any]
Change = Callable[[Given, list[Pair]], Iterable[Pair]]


def _rewritten(change: Change) -> Callable[[FaultRule, FaultTap, TextRequest], list[PDU]]:
    """An action that has the target tell what ``change`` makes of its records."""

    def action(rule: FaultRule, tap: FaultTap, request: TextRequest) -> list[PDU]:
        text = tap.connection.text
        earlier = text.rewrite
        text.rewrite = lambda pairs: change(rule.parameters, list(earlier(pairs) if earlier else pairs))
        return [request]

    return action


def _hidden(given: Given, pairs: list[Pair]) -> Iterable[Pair]:
    shown = True
    for key, value in pairs:
        if key == "TargetName":
            shown = not same_text(given["targets"], value)
        if shown:
            yield key, value


def _at(address: Callable[[Given, str], str]) -> Change:
    """Each TargetAddress becomes what ``address`` makes of it."""
    return lambda given, pairs: [
        (key, address(given, value) if key == "TargetAddress" else value) for key, value in pairs
    ]


def _elsewhere(given: Given, address: str) -> str:
    return f"{given['address']},{address.rpartition(',')[2]}"


def _other_tag(given: Given, address: str) -> str:
    return f"{address.rpartition(',')[0]},{given['value']}"


def _many(given: Given, pairs: list[Pair]) -> Iterable[Pair]:
    """The real ones first, then as many others at the same addresses as make up the number."""
    yield from pairs
    addresses = [pair for pair in pairs if pair[0] == "TargetAddress"][:1]
    real = sum(key == "TargetName" for key, _ in pairs)
    for number in range(real + 1, given["n"] + 1):
        yield "TargetName", f"iqn.2026-11.org.iscsim:many-{number}"
        yield from addresses


def _truncate(rule: FaultRule, tap: FaultTap, response: TextResponse) -> list[PDU]:
    """Cut within the last pair, so that no reader can take it for a whole one."""
    return [replace(response, data=bytes(response.data[:-3]))]


def _asks(rule: FaultRule, occasion: Occasion) -> bool:
    return any(key == "SendTargets" for key, _ in split_pairs(occasion.subject.data))


def _tells(rule: FaultRule, occasion: Occasion) -> bool:
    return bool(occasion.subject.final) and b"TargetName=" in bytes(occasion.subject.data)


def _kind(name: str, summary: str, observable: str, change: Change, *parameters: Parameter) -> None:
    add_kind(
        FaultKind(
            name=f"discovery.{name}",
            hooks=(Hook.RECEIVE,),
            summary=summary,
            observable=observable,
            action=_rewritten(change),
            parameters=parameters,
            opcodes=("TextRequest",),
            applies=_asks,
        )
    )


def _address(default: str) -> Parameter:
    return Parameter("address", str, "the address that is told: host:port, without a tag", default)


_kind(
    "empty",
    "SendTargets is answered with no target at all",
    "discover() gives an empty list",
    lambda given, pairs: (),
)
_kind(
    "hidden",
    "a target is not told",
    "discover() does not have it; logging in to it works all the same",
    _hidden,
    Parameter("targets", str, "which targets: a pattern of iSCSI names", "*"),
)
_kind(
    "wrong_address",
    "the targets are told with an address where nobody listens",
    "ConnectionFailed when logging in to what was found: connection refused",
    lambda given, pairs: _at(_elsewhere)({"address": given["address"] or _dead_port(pairs)}, pairs),
    _address(""),
)
_kind(
    "unroutable",
    "the targets are told with an address to which there is no way",
    "ConnectionFailed when logging in to what was found",
    _at(_elsewhere),
    _address("198.51.100.1:3260"),
)
_kind(
    "ipv6_only",
    "the targets are told with IPv6 addresses only",
    "discover() has only IPv6 portals; a host without IPv6 cannot reach them",
    _at(_elsewhere),
    _address("[2001:db8::3260]:3260"),
)
_kind(
    "wrong_tpgt",
    "the targets are told with another portal group tag than their login shows",
    "discover() shows the tag; ConnectionFailed when the login is held to it",
    _at(_other_tag),
    Parameter("value", int, "the tag", 999, minimum=0, maximum=65535),
)
_kind(
    "duplicate",
    "every target is told twice",
    "nothing: discover() has each once",
    lambda given, pairs: [*pairs, *pairs],
)
_kind(
    "many",
    "there are very many targets",
    "discover() has them all, out of several Text Responses",
    _many,
    Parameter("n", int, "how many targets in all", 10000, minimum=1),
)
add_kind(
    FaultKind(
        name="discovery.truncated",
        hooks=(Hook.SEND,),
        summary="the answer to SendTargets ends in the middle of a pair",
        observable="ConnectionFailed: the last key=value pair is not followed by a NUL",
        action=_truncate,
        opcodes=("TextResponse",),
        applies=_tells,
    )
)


def _dead_port(pairs: list[Pair]) -> str:
    """Port 1 of the first address: a host that is there, and a port where nobody listens."""
    address = next((value for key, value in pairs if key == "TargetAddress"), "127.0.0.1:3260,1")
    return f"{address.rpartition(',')[0].rpartition(':')[0]}:1"
