"""When a rule fires: counters, windows, chance, gates, scopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import ConfigError
from iscsim.faults.engine import FaultEngine
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule

Say = Callable[[FaultRule], FaultRule]


def segment(number: int = 1, *, now: float = 0.0, length: int = 100, **known: Any) -> Occasion:
    return Occasion(hook=Hook.SEGMENT, now=now, connection=number, length=length, **known)


def fires(engine: FaultEngine, occasions: list[Occasion]) -> list[int]:
    """The numbers, from 1, of the occasions on which anything fired."""
    return [number for number, occasion in enumerate(occasions, 1) if engine.firing(occasion)]


WHEN: list[tuple[Say, list[int]]] = [
    (lambda rule: rule, [1, 2, 3, 4, 5, 6]),
    (lambda rule: rule.nth(2), [2]),
    (lambda rule: rule.nth(2, 5), [2, 5]),
    (lambda rule: rule.nth(2).nth(3), [2, 3]),
    (lambda rule: rule.every(3), [3, 6]),
    (lambda rule: rule.first(2), [1, 2]),
    (lambda rule: rule.first(1).every(2), [1, 2, 4, 6]),
    (lambda rule: rule.times(2), [1, 2]),
    (lambda rule: rule.every(2).times(1), [2]),
    (lambda rule: rule.after_bytes(250), [3, 4, 5, 6]),
    (lambda rule: rule.after(3), [4, 5, 6]),
    (lambda rule: rule.until("2s"), [1, 2]),
    (lambda rule: rule.after("1000ms").until(4), [2, 3, 4]),
    (lambda rule: rule.when(lambda occasion: occasion.now == 4), [5]),
    (lambda rule: rule.when("now > 1").when("now < 4"), [3, 4]),
    (lambda rule: rule.when("now > 1").nth(1), [3]),
    (lambda rule: rule.with_probability(1), [1, 2, 3, 4, 5, 6]),
]


@pytest.mark.parametrize("say, expected", WHEN)
def test_rule_fires_when_it_was_told(say: Say, expected: list[int]) -> None:
    engine = FaultEngine()
    say(engine.add("tcp.stall"))
    assert fires(engine, [segment(now=float(now)) for now in range(6)]) == expected


@pytest.mark.parametrize(
    "scope, expected",
    [("global", [2]), ("connection", [3, 4, 6]), ("target", [3, 6]), ("host", [2, 6])],
)
def test_counters_are_kept_for_each_scope(scope: str, expected: list[int]) -> None:
    engine = FaultEngine()
    engine.add("tcp.stall").nth(2).per(scope)
    places = [(1, "a", "x"), (2, "b", "x"), (1, "a", "x"), (2, "c", "x"), (3, "d", "y"), (3, "b", "y")]
    occasions = [segment(number, portal=portal, host=host) for number, portal, host in places]
    assert fires(engine, occasions) == expected


def test_gates_are_flags_and_files() -> None:
    engine, there = FaultEngine(), {"/tmp/a:b"}
    engine.file_exists = lambda path: path in there
    engine.add("tcp.stall", id="flag").gate("flag:maintenance")
    engine.add("tcp.stall", id="bare").gate("maintenance")
    engine.add("tcp.stall", id="file").gate("file:/tmp/a:b")
    assert [rule.id for rule in engine.firing(segment())] == ["file"]
    engine.flags.add("maintenance")
    there.clear()
    assert [rule.id for rule in engine.firing(segment())] == ["flag", "bare"]


WRONG: list[tuple[Callable[[FaultRule], Any], str]] = [
    (lambda rule: rule.nth(), "nth needs a number"),
    (lambda rule: rule.nth(0), "nth is '0', expected a whole number from 1"),
    (lambda rule: rule.nth("2"), "nth is '2'"),  # type: ignore[arg-type]
    (lambda rule: rule.nth(True), "nth is 'True'"),
    (lambda rule: rule.every(1.5), "every is '1.5'"),  # type: ignore[arg-type]
    (lambda rule: rule.first(-1), "first is '-1'"),
    (lambda rule: rule.times(0), "times is '0'"),
    (lambda rule: rule.after_bytes(0), "after_bytes is '0'"),
    (lambda rule: rule.after("soon"), "not a time: 'soon'"),
    (lambda rule: rule.until(float("nan")), "not a time"),
    (lambda rule: rule.after(5).until(5), "can never be"),
    (lambda rule: rule.with_probability(0), "expected more than 0"),
    (lambda rule: rule.with_probability("x"), "expected a number"),  # type: ignore[arg-type]
    (lambda rule: rule.gate(""), "expected flag:NAME or file:PATH"),
    (lambda rule: rule.gate("file:"), "expected flag:NAME or file:PATH"),
    (lambda rule: rule.per("conection"), "did you mean 'connection'"),
    (lambda rule: rule.when("lda == 1"), "did you mean 'lba'"),
]


@pytest.mark.parametrize("say, message", WRONG)
def test_what_makes_no_sense_is_refused(say: Callable[[FaultRule], Any], message: str) -> None:
    rule = FaultEngine().add("tcp.stall")
    with pytest.raises(ConfigError) as caught:
        say(rule)
    assert message in str(caught.value)


NAMES = st.sampled_from(["tcp.stall", "net.loss", "tcp.slicer", "net.latency"])
OTHERS = st.lists(st.tuples(NAMES, st.floats(0.01, 1), st.booleans()), max_size=4)
GIVEN: dict[str, dict[str, Any]] = {"net.latency": {"delay": 1}}


@given(seed=st.integers(0, 1 << 64), before=OTHERS, after=OTHERS, numbers=st.lists(st.integers(1, 3)))
def test_no_rule_changes_what_another_draws(
    seed: int, before: list[Any], after: list[Any], numbers: list[int]
) -> None:
    alone, among = FaultEngine(seed), FaultEngine(seed)
    alone.add("tcp.rcvbuf_zero").with_probability(0.5).per("connection")
    for name, probability, per in before:
        arm(among, name, probability, per)
    among.add("tcp.rcvbuf_zero").with_probability(0.5).per("connection")
    for name, probability, per in after:
        arm(among, name, probability, per)
    for number in numbers:
        fired = [rule.id for rule in among.firing(segment(number)) if rule.id == "tcp.rcvbuf_zero-1"]
        assert fired == [rule.id for rule in alone.firing(segment(number))]


def arm(engine: FaultEngine, name: str, probability: float, per: bool) -> None:
    rule = engine.add(name, **GIVEN.get(name, {})).with_probability(probability)
    rule.per("connection" if per else "global")


def test_chance_differs_with_seed_and_scope_and_is_the_same_again() -> None:
    def run(seed: int) -> list[int]:
        engine = FaultEngine(seed)
        engine.add("tcp.stall").with_probability(0.5).per("connection")
        return fires(engine, [segment(number % 2) for number in range(200)])

    assert run(1) == run(1) != run(2)
    assert 60 < len(run(1)) < 140
    odd, even = ([number // 2 for number in run(1) if number % 2 == rest] for rest in (1, 0))
    assert odd != even
