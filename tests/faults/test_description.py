"""Rules in TOML and JSON, there and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import ConfigError
from iscsim.faults.engine import FaultEngine
from iscsim.faults.occasion import Hook
from iscsim.faults.rule import FaultRule

WHEN = st.fixed_dictionaries(
    {},
    optional={
        "nth": st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True).map(sorted),
        "every": st.integers(1, 9),
        "first": st.integers(1, 9),
        "after_bytes": st.integers(1, 1 << 40),
        "after": st.floats(0.5, 10),
        "until": st.floats(11, 1e6),
        "p": st.floats(0.001, 1),
        "gate": st.sampled_from(["flag:a", "file:/x"]),
        "expr": st.just("lba in range(0, 64)"),
    },
)
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("net.refuse", {}),
    ("net.latency", {"delay": 0.25, "jitter": 0.1, "dist": "uniform", "dir": "both"}),
    ("net.loss", {"p": 0.5, "dir": "both"}),
    ("tcp.garbage", {"bytes": "00ff10", "then": "close"}),
    ("net.partition", {"groups": [["a", "b"], ["c"]], "heal_after": 3.0}),
]


@given(
    kind=st.sampled_from(KINDS),
    when=WHEN,
    times=st.none() | st.integers(1, 9),
    scope=st.sampled_from(["global", "connection", "host"]),
    must_fire=st.booleans(),
    portal=st.sampled_from([None, "10.0.0.1:3260", ["10.0.0.1:3260", "10.0.0.2:*"]]),
)
def test_description_of_a_rule_makes_the_same_rule(
    kind: Any, when: Any, times: Any, scope: str, must_fire: bool, portal: Any
) -> None:
    name, parameters = kind
    written = {"id": "one", "name": name, "scope": scope, "parameters": parameters, "when": when}
    written |= {"match": {"portal": portal} if portal else {}, "must_fire": must_fire}
    written |= {"times": times} if times else {}
    found = FaultRule.from_description(written, default_id="x").describe()
    if when.get("p") == parameters.get("p"):
        when.pop("p", None)  # says nothing that the parameter does not
    assert found == written
    again = FaultRule.from_description(json.loads(json.dumps(found)), default_id="x").describe()
    assert again == found


def test_parameters_may_stand_beside_the_name() -> None:
    rule = FaultEngine().add_description({"name": "net.latency", "delay": "250ms", "match": {"port": 3260}})
    assert (rule.id, rule.parameters["delay"], rule.match) == ("net.latency-1", 0.25, {"port": 3260})


@pytest.mark.parametrize(
    "at, hooks",
    [
        ("net", (Hook.CONNECT,)),
        ("tcp.segment", (Hook.SEGMENT,)),
        (["net.connect", "udp"], (Hook.CONNECT, Hook.DATAGRAM)),
    ],
)
def test_at_says_where_of_all_its_hooks(at: Any, hooks: tuple[Hook, ...]) -> None:
    engine = FaultEngine()
    rule = engine.add_description({"name": "net.blackhole", "at": at})
    assert rule.hooks == hooks
    assert [hook for hook in Hook if engine.expects(hook)] == list(hooks)
    assert FaultRule.from_description(rule.describe(), default_id="").hooks == hooks


def test_function_is_shown_and_cannot_be_read_back() -> None:
    rule = FaultEngine().add("tcp.stall").when(lambda occasion: True)
    description = rule.describe()
    assert "lambda" in description["when"]["predicate"]
    with pytest.raises(ConfigError, match="unknown trigger 'predicate'"):
        FaultRule.from_description(description, default_id="x")


WRONG: list[tuple[Any, str]] = [
    ("net.refuse", "a fault needs a name"),
    ({}, "a fault needs a name"),
    ({"name": "net.blakhole"}, "did you mean 'net.blackhole'"),
    ({"name": 7}, "unknown fault '7'"),
    ({"name": "x" * 5000}, "unknown fault"),
    (
        {"name": "net.refuse", "math": {}},
        "unknown key of the fault net.refuse 'math' (did you mean 'match'?)",
    ),
    ({"name": "net.refuse", "match": []}, "match is '[]', expected a table"),
    ({"name": "net.refuse", "when": 3}, "when is '3', expected a table"),
    ({"name": "net.refuse", "when": {"nht": 1}}, "did you mean 'nth'"),
    ({"name": "net.refuse", "when": {"nth": "1"}}, "expected a whole number from 1"),
    ({"name": "net.refuse", "when": {"expr": 1}}, "expr is '1', expected a text"),
    ({"name": "net.refuse", "parameters": {"x": 1}}, "unknown parameter of net.refuse 'x' (known: none)"),
    ({"name": "net.refuse", "times": "2"}, "times is '2'"),
    ({"name": "net.refuse", "scope": "hosts"}, "did you mean 'host'"),
    ({"name": "net.refuse", "must_fire": "no"}, "must_fire is 'no', expected true or false"),
    ({"name": "net.refuse", "id": 3}, "id is '3', expected a text"),
    ({"name": "net.refuse", "id": "a\nb"}, "expected a text"),
    ({"name": "net.refuse", "at": "pdu.rx"}, "net.refuse never fires at 'pdu.rx'"),
    ({"name": "net.refuse", "match": {"opcode": "LoginRequest"}}, "unknown match of net.refuse 'opcode'"),
    ({"name": "net.latency"}, "net.latency needs delay"),
]


@pytest.mark.parametrize("description, message", WRONG)
def test_mistakes_are_one_line_with_the_nearest_name(description: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FaultEngine().add_description(description)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
