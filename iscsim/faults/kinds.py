"""The catalogue of faults: each kind has a name, a hook, parameters, and something to show for it.

A room of faults adds its own with `add_kind`; what a kind does is its ``action``, which gets the rule that
fired and whatever its hook hands over, and says by what to replace it.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from iscsim.errors import ConfigError
from iscsim.faults.names import checked_name
from iscsim.faults.occasion import FIELDS, Hook, Occasion
from iscsim.faults.seconds import Seconds, parse_seconds

if TYPE_CHECKING:
    from iscsim.faults.rule import FaultRule

__all__ = ["KINDS", "FaultKind", "Parameter", "add_kind", "catalogue", "find_kind"]

_ROOMS = "_faults"
"""How the names of the modules end that add kinds."""
_LONGEST_NUMBER = 40


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a fault.

    ``kind`` is ``str``, ``int``, ``float``, ``bool``, ``bytes`` (hexadecimal in TOML and JSON), ``list`` or
    `Seconds` (``"250ms"``). A ``required`` one must be given. ``choices``, ``minimum`` and ``maximum`` limit
    it; ``known`` names what in a lab its value must be (``"host"``, ``"nic"``: see `FaultEngine.known`).
    """

    name: str
    kind: type
    summary: str
    default: Any = None
    required: bool = False
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    known: str = ""

    def checked(self, value: Any) -> Any:
        """``value`` as this parameter has it. Raises `ConfigError`."""
        found = self._converted(value)
        if self.choices and found not in self.choices:
            names = ", ".join(map(str, self.choices))
            raise ConfigError(f"{self.name} is {_short(value)}, expected one of {names}")
        if self.minimum is not None and found < self.minimum:
            raise ConfigError(f"{self.name} is {_short(value)}, expected {self.minimum:g} or more")
        if self.maximum is not None and found > self.maximum:
            raise ConfigError(f"{self.name} is {_short(value)}, expected {self.maximum:g} or less")
        return found

    def _converted(self, value: Any) -> Any:
        if self.kind is Seconds:
            try:
                return parse_seconds(value)
            except ConfigError as error:
                raise ConfigError(f"{self.name} is {error}") from None
        try:
            return _CONVERTERS[self.kind](value)
        except (ValueError, TypeError, OverflowError):
            raise ConfigError(f"{self.name} is {_short(value)}, expected {_NAMES[self.kind]}") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: Any) -> int:
    if isinstance(value, str):
        if len(value) > _LONGEST_NUMBER:
            raise ValueError
        return int(value, 0)
    if isinstance(value, bool) or value != int(value):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(float(value)):
        raise ValueError
    return float(value)


def _truth(value: Any) -> bool:
    if value in ("true", "false"):  # as the command line has them
        return bool(value == "true")
    if not isinstance(value, bool):
        raise TypeError
    return value


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return bytes.fromhex(value.removeprefix("0x"))
    if not isinstance(value, bytes | bytearray | list | tuple):
        raise TypeError
    return bytes(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError
    return list(value)


_CONVERTERS: dict[type, Callable[[Any], Any]] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _truth,
    bytes: _bytes,
    list: _list,
}
_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    bytes: "hexadecimal digits",
    list: "a list",
}


def _always(rule: FaultRule, occasion: Occasion) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """One fault that can be armed.

    ``opcodes``: at PDU hooks, the only PDUs it can befall (all, when empty). ``observable`` says what an
    initiator sees. ``action``'s arguments are those of its hooks. ``networks`` are those it can befall.
    ``applies`` says whether an occasion that matched is one it can do anything to: others are not counted.
    ``needs`` are matches without which it makes no sense. ``check`` looks at all parameters together and
    raises `ConfigError`.
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
    applies: Callable[[FaultRule, Occasion], bool] = _always
    needs: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Any]], None] | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """What a rule can match at all of its hooks."""
        return fields_of(self.hooks)

    @property
    def open_parameters(self) -> dict[str, Parameter]:
        """The parameters that can be given, by name."""
        return {each.name: each for each in self.parameters if each.name not in self.presets}

    def parameters_of(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters with their values.

        Raises `ConfigError`: an unknown one (with the nearest name), a wrong value, one that is missing.
        """
        by_name = self.open_parameters
        found = {each.name: each.default for each in self.parameters}
        for name, value in given.items():
            checked_name(f"parameter of {self.name}", name, by_name)
            try:
                found[name] = by_name[name].checked(value)
            except ConfigError as error:
                raise ConfigError(f"{self.name}: {error}") from None
        missing = [name for name, each in by_name.items() if each.required and name not in given]
        if missing:
            raise ConfigError(f"{self.name} needs {', '.join(missing)}")
        found |= self.presets
        if self.check is not None:
            self.check(found)
        return found


def fields_of(hooks: tuple[Hook, ...]) -> tuple[str, ...]:
    """What can be matched at every one of ``hooks``."""
    first, *rest = (FIELDS[hook] for hook in hooks)
    return tuple(name for name in first if all(name in fields for fields in rest))


KINDS: dict[str, FaultKind] = {}
"""Every fault by its name, as far as its module was imported: `catalogue` has all of them."""


def add_kind(kind: FaultKind) -> FaultKind:
    """Put a fault into the catalogue."""
    if kind.name in KINDS:
        raise ValueError(f"two faults are called {kind.name}")
    KINDS[kind.name] = kind
    return kind


def catalogue() -> dict[str, FaultKind]:
    """Every fault there is, by its name: those of every module of ``iscsim.faults`` called ``..._faults``."""
    package = importlib.import_module("iscsim.faults")
    for module in sorted(found.name for found in pkgutil.iter_modules(package.__path__)):
        if module.endswith(_ROOMS):
            importlib.import_module(f"iscsim.faults.{module}")
    return KINDS


def find_kind(name: str) -> FaultKind:
    """The fault of that name. Raises `ConfigError` that names the nearest one."""
    if isinstance(name, str) and name in KINDS:
        return KINDS[name]
    return KINDS[checked_name("fault", name, sorted(catalogue()))]
