"""The catalogue of faults: each kind has a name, a hook, parameters, and something to show for it.

A room of faults adds its own with `add_kind`; what a kind does is its ``action``, which gets the rule that
fired and whatever its hook hands over, and says by what to replace it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from iscsim.errors import ConfigError
from iscsim.faults.names import checked_name
from iscsim.faults.occasion import FIELDS, Hook

__all__ = ["KINDS", "FaultKind", "Parameter", "add_kind", "find_kind"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a fault.

    ``kind`` is ``str``, ``int``, ``float``, ``bool`` or ``bytes`` (hexadecimal in TOML and JSON). A
    ``required`` one must be given. ``choices`` and ``minimum`` limit it.
    """

    name: str
    kind: type
    summary: str
    default: Any = None
    required: bool = False
    choices: tuple[Any, ...] = ()
    minimum: float | None = None

    def checked(self, value: Any) -> Any:
        """``value`` as this parameter has it. Raises `ConfigError`."""
        found = self._converted(value)
        if self.choices and found not in self.choices:
            names = ", ".join(map(str, self.choices))
            raise ConfigError(f"{self.name} is {value!r}, expected one of {names}")
        if self.minimum is not None and found < self.minimum:
            raise ConfigError(f"{self.name} is {value!r}, expected {self.minimum:g} or more")
        return found

    def _converted(self, value: Any) -> Any:
        try:
            if self.kind is bytes:
                return bytes.fromhex(value) if isinstance(value, str) else bytes(value)
            if self.kind is bool and not isinstance(value, bool):
                raise ValueError
            if self.kind is int and isinstance(value, str):
                return int(value, 0)
            if self.kind is int and isinstance(value, float) and not value.is_integer():
                raise ValueError
            return self.kind(value)
        except (ValueError, TypeError):
            raise ConfigError(f"{self.name} is {value!r}, expected {_NAMES[self.kind]}") from None


_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    bytes: "hexadecimal digits",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """One fault that can be armed.

    ``opcodes``: at PDU hooks, the only PDUs it can befall (all, when empty). ``observable`` says what an
    initiator sees. ``action``'s arguments are those of its hooks. ``networks`` are those it can befall.
    """

    name: str
    hooks: tuple[Hook, ...]
    summary: str
    observable: str
    action: Callable[..., Any]
    parameters: tuple[Parameter, ...] = ()
    opcodes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ("memory", "tcp")
    presets: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that are fixed for this name: ``medium.read`` is ``scsi.sense`` with its codes."""

    @property
    def fields(self) -> tuple[str, ...]:
        """What a rule can match at all of its hooks."""
        first, *rest = (FIELDS[hook] for hook in self.hooks)
        return tuple(name for name in first if all(name in fields for fields in rest))

    def parameters_of(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters with their values.

        Raises `ConfigError`: an unknown one (with the nearest name), a wrong value, one that is missing.
        """
        by_name = {parameter.name: parameter for parameter in self.parameters}
        found = {name: parameter.default for name, parameter in by_name.items()}
        try:
            for name, value in given.items():
                checked_name(f"parameter of {self.name}", name, by_name)
                found[name] = by_name[name].checked(value)
        except ConfigError as error:
            raise ConfigError(str(error) if self.name in str(error) else f"{self.name}: {error}") from None
        missing = [name for name, each in by_name.items() if each.required and name not in given]
        if missing:
            raise ConfigError(f"{self.name} needs {', '.join(missing)}")
        return {**found, **self.presets}


KINDS: dict[str, FaultKind] = {}
"""Every fault by its name."""


def add_kind(kind: FaultKind) -> FaultKind:
    """Put a fault into the catalogue."""
    if kind.name in KINDS:
        raise ValueError(f"two faults are called {kind.name}")
    KINDS[kind.name] = kind
    return kind


def find_kind(name: str) -> FaultKind:
    """The fault of that name. Raises `ConfigError` that names the nearest one."""
    return KINDS[checked_name("fault", name, KINDS)]
