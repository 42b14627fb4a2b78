"""Parameters of the control socket's methods: what they are called, what they may be, and the check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from iscsim.errors import ConfigError
from iscsim.hints import hint

__all__ = ["REQUIRED", "Flag", "Number", "Object", "Parameter", "Text", "check", "problem_of_json"]

REQUIRED: Any = object()
"""The default of a parameter that must be given."""
_MAX_KEYS = 256
_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``default`` is what the method gets when it is left out."""

    name: str
    summary: str
    default: Any = REQUIRED

    kind = "any value"

    @property
    def limits(self) -> str:
        """What it may be, for people."""
        return self.kind

    def problem(self, value: Any) -> str | None:
        """What it should have been, when it is not."""
        return None


@dataclass(frozen=True, slots=True)
class Text(Parameter):
    """A string of at most ``longest`` characters, one of ``choices`` if there are any."""

    longest: int = 255
    choices: tuple[str, ...] = ()
    may_be_empty: bool = False
    secret: bool = False
    """Never shown, not in an error either."""

    @property
    def limits(self) -> str:
        """See `Parameter`."""
        if self.choices:
            return ", ".join(f"`{choice}`" for choice in self.choices)
        least = 0 if self.may_be_empty else 1
        return f"text of {least} to {self.longest} characters"

    def problem(self, value: Any) -> str | None:
        """See `Parameter`."""
        if not isinstance(value, str):
            return "expected text"
        if self.choices and value not in self.choices:
            return f"{value[:60]!r} is not one of {', '.join(self.choices)}"
        if len(value) > self.longest or not (value or self.may_be_empty):
            least = 0 if self.may_be_empty else 1
            return f"{len(value)} characters, not {least} to {self.longest}"
        if "\0" in value or (not self.secret and not value.isprintable()) or not _encodes(value):
            return "characters that cannot be shown"
        return None


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


@dataclass(frozen=True, slots=True)
class Number(Parameter):
    """An integer from ``least`` to ``most``."""

    least: int = 0
    most: int = (1 << 63) - 1

    @property
    def limits(self) -> str:
        """See `Parameter`."""
        return f"{self.least} to {self.most}" if self.most < 1 << 62 else f"a number from {self.least}"

    def problem(self, value: Any) -> str | None:
        """See `Parameter`."""
        if type(value) is not int:
            return "expected a number"
        if not self.least <= value <= self.most:
            return f"expected {self.least} to {self.most}"
        return None


@dataclass(frozen=True, slots=True)
class Flag(Parameter):
    """True or false."""

    kind = "true or false"

    def problem(self, value: Any) -> str | None:
        """See `Parameter`."""
        return None if type(value) is bool else "expected true or false"


@dataclass(frozen=True, slots=True)
class Object(Parameter):
    """A JSON object."""

    kind = "an object"

    def problem(self, value: Any) -> str | None:
        """See `Parameter`."""
        if not isinstance(value, dict):
            return "expected an object"
        return f"more than {_MAX_KEYS} keys" if len(value) > _MAX_KEYS else problem_of_json(value)


def problem_of_json(value: Any) -> str | None:
    """Why a JSON value cannot be kept: too deep to be written again, or text that no encoding has."""
    left: list[tuple[Any, int]] = [(value, 0)]
    while left:
        each, depth = left.pop()
        if isinstance(each, str) and not _encodes(each):
            return "characters that cannot be shown"
        if not isinstance(each, list | dict):
            continue
        if depth == _MAX_DEPTH:
            return f"nested more than {_MAX_DEPTH} deep"
        inner = each if isinstance(each, list) else (*each, *each.values())
        left.extend((one, depth + 1) for one in inner)
    return None


def check(method: str, parameters: Iterable[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """What the method is called with: ``given`` and the defaults.

    Raises:
        ConfigError: a parameter is unknown, missing, or not what it may be.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for name in given:
        if name not in known:
            raise ConfigError(f"{method}: unknown parameter {name[:60]!r} ({hint(name, known)})")
    return {name: _value(method, parameter, given) for name, parameter in known.items()}


def _value(method: str, parameter: Parameter, given: Mapping[str, Any]) -> Any:
    value = given.get(parameter.name, parameter.default)
    if value is REQUIRED:
        raise ConfigError(f"{method}: {parameter.name} is missing ({parameter.summary})")
    if parameter.name not in given or (value is None and parameter.default is None):
        return value
    problem = parameter.problem(value)
    if problem is not None:
        raise ConfigError(f"{method}: {parameter.name}: {problem}")
    return value
