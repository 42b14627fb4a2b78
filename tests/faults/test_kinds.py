"""The catalogue and the values of parameters."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.errors import ConfigError
from iscsim.faults.kinds import KINDS, FaultKind, Parameter, add_kind, catalogue, find_kind
from iscsim.faults.occasion import Hook
from iscsim.faults.seconds import Seconds

GOOD = [
    (int, 5, 5),
    (int, "0x10", 16),
    (int, 5.0, 5),
    (float, 1, 1.0),
    (float, "2.5", 2.5),
    (str, "a", "a"),
    (bool, True, True),
    (bool, "false", False),
    (bytes, "00ff", b"\0\xff"),
    (bytes, [1, 2], b"\1\2"),
    (list, ("a",), ["a"]),
    (Seconds, "250ms", 0.25),
    (Seconds, 2, 2.0),
]
BAD: list[tuple[type, Any]] = [
    (int, 1.5), (int, True), (int, "x"), (int, float("inf")), (int, None), (int, "9" * 5000),
    (float, "x"), (float, True), (float, float("nan")), (float, float("inf")),
    (str, 5), (bool, 1), (bool, "yes"), (bytes, 5), (bytes, 10**12), (bytes, "xyz"), (bytes, [256]),
    (list, "ab"), (Seconds, -1), (Seconds, "soon"), (Seconds, float("nan")), (Seconds, True),
]  # fmt: skip


@pytest.mark.parametrize("kind, given, value", GOOD)
def test_value_is_converted(kind: type, given: Any, value: Any) -> None:
    found = Parameter("p", kind, "").checked(given)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("kind, given", BAD)
def test_value_of_another_kind_is_refused_in_one_short_line(kind: type, given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^p is ") as caught:
        Parameter("p", kind, "").checked(given)
    assert len(str(caught.value)) < 200


def test_limits_and_choices() -> None:
    with pytest.raises(ConfigError, match="p is 0, expected 1 or more"):
        Parameter("p", int, "", minimum=1).checked(0)
    with pytest.raises(ConfigError, match="p is 9, expected 8 or less"):
        Parameter("p", int, "", maximum=8).checked(9)
    with pytest.raises(ConfigError, match="p is 'c', expected one of a, b"):
        Parameter("p", str, "", choices=("a", "b")).checked("c")


def preset(**given: Any) -> FaultKind:
    parameters = (Parameter("key", int, "", required=True), Parameter("code", int, "", default=1))
    return FaultKind(
        name="t", hooks=(Hook.START,), summary="", observable="", action=print, parameters=parameters, **given
    )


def test_presets_are_fixed() -> None:
    assert preset(presets={"key": 3}).parameters_of({"code": 2}) == {"key": 3, "code": 2}
    with pytest.raises(ConfigError, match="unknown parameter of t 'key'"):
        preset(presets={"key": 3}).parameters_of({"key": 4})


def test_required_parameters_must_be_given() -> None:
    with pytest.raises(ConfigError, match="t needs key"):
        preset().parameters_of({})
    with pytest.raises(ConfigError, match="t: key is 'x', expected a whole number"):
        preset().parameters_of({"key": "x"})


def test_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match=r"two faults are called net.refuse"):
        add_kind(find_kind("net.refuse"))


def test_every_fault_says_what_it_is_and_what_is_seen() -> None:
    assert catalogue() is KINDS
    for name, kind in catalogue().items():
        assert kind.name == name
        assert kind.summary
        assert kind.observable
        assert set(kind.networks) <= {"memory", "tcp"}
        assert all(parameter.summary for parameter in kind.parameters), name
