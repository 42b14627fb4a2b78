"""What a rule has to match, and whether that can ever be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from iscsim import pdu
from iscsim.errors import ConfigError
from iscsim.faults.kinds import FaultKind, fields_of
from iscsim.faults.names import checked_name, hint
from iscsim.faults.occasion import Hook, Occasion
from iscsim.pdu import Stage
from iscsim.scsi.opcode import Opcode, ServiceAction, cdb_name

__all__ = ["Test", "Tests", "check_known", "checked_match", "compile_match", "same_text"]

Test = Callable[[Occasion], bool]
Tests = dict[str, Test]
Known = Mapping[str, Callable[[], Iterable[Any]]]

_ADDRESSES = ("portal", "initiator_address", "src", "dst")
_NUMBERS = ("port",)
_LARGEST_LUN_NUMBER = 0x3FFF
"""Above it a LUN in a match is the first two bytes of the field: 0x4005 is LUN 5 in flat addressing."""


def _cdb_of(action: ServiceAction) -> bytes:
    """As much of a CDB as has this service action: byte 1, or bytes 8 and 9 of a variable length CDB."""
    if action <= 0xFFFF:
        return bytes([action >> 8, action & 0x1F])
    return bytes([action >> 16, *bytes(7), action >> 8 & 0xFF, action & 0xFF])


_COMMANDS = sorted(
    {cdb_name(bytes([code])) for code in Opcode} | {cdb_name(_cdb_of(action)) for action in ServiceAction}
)
_SENT_BY_INITIATORS = sorted(
    name for name in pdu.__all__ if name.endswith(("Request", "Out", "Command")) and name != "ExtendedCDB"
)
_SENT_BY_TARGETS = sorted(
    name
    for name in pdu.__all__
    if name in ("NOPIn", "SCSIDataIn", "ReadyToTransfer", "Reject", "AsyncMessage")
    or (name.endswith("Response") and isinstance(getattr(pdu, name), type))
)
_OPCODES = {Hook.RECEIVE: _SENT_BY_INITIATORS, Hook.SEND: _SENT_BY_TARGETS}


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    """``*`` and ``?`` stand for anything and any one; brackets are no more than IPv6 has them."""
    parts = (
        ".*" if part == "*" else "." if part == "?" else re.escape(part)
        for part in re.split(r"(\*+|\?)", text.lower())
    )
    return re.compile("".join(".*" if part.startswith("*") else part for part in parts) + r"\Z", re.DOTALL)


def same_text(wanted: str, found: Any) -> bool:
    """Whether ``found`` is ``wanted``, which may have ``*`` and ``?`` in it; case does not matter."""
    return _pattern(wanted).match(str(found).lower()) is not None


def _same_address(wanted: str, found: str) -> bool:
    """With the port, or any port when there is none in ``wanted``."""
    return same_text(wanted, found) or same_text(wanted.strip("[]"), found.rpartition(":")[0].strip("[]"))


def _bare(command: str) -> str:
    """``READ (10)``, ``read_10`` and ``READ10`` are one command."""
    return re.sub(r"[^a-z0-9*?]", "", command.lower())


def _same(name: str, wanted: Any, found: Any) -> bool:
    if name in _ADDRESSES:
        return _same_address(wanted, found)
    if name == "command":
        return same_text(_bare(wanted), _bare(found))
    if isinstance(wanted, str):
        return same_text(wanted, found)
    return bool(wanted == found)


def compile_match(match: Mapping[str, Any]) -> Tests:
    """For each name what says whether an occasion has what is wanted."""
    return {name: _compile(name, wanted) for name, wanted in match.items()}


def _compile(name: str, wanted: Any) -> Test:
    if isinstance(wanted, list):
        tests = [_compile(name, each) for each in wanted]
        return lambda occasion: any(test(occasion) for test in tests)
    if name == "lun" and wanted > _LARGEST_LUN_NUMBER:
        field = wanted.to_bytes(2, "big")
        return lambda occasion: occasion.lun_field[:2] == field
    return lambda occasion: _same(name, wanted, getattr(occasion, name))


# -- whether it can be -------------------------------------------------------------------------------


def checked_match(
    kind: FaultKind, match: Mapping[str, Any], hooks: tuple[Hook, ...] | None = None
) -> dict[str, Any]:
    """``match`` as rules keep it, when it can be true at ``hooks``, or at all of the kind's.

    Raises `ConfigError`, with the nearest name.
    """
    if not isinstance(match, Mapping):
        raise ConfigError(f"{kind.name}: match is {str(match)[:60]!r}, expected a table")
    at = hooks or kind.hooks
    for name in match:
        checked_name(f"match of {kind.name}", name, fields_of(at))
    found = {name: _checked(kind, name, wanted) for name, wanted in match.items()}
    missing = [name for name in kind.needs if name not in found]
    if missing:
        raise ConfigError(f"{kind.name} needs a match on {', '.join(missing)}")
    for name, wanted in found.items():
        _require_possible(kind, name, wanted, at)
    return found


def _checked(kind: FaultKind, name: str, wanted: Any) -> Any:
    if isinstance(wanted, list | tuple | set | frozenset):
        if not wanted:
            raise ConfigError(f"{kind.name}: {name} is an empty list, which can never be true")
        each = [_checked(kind, name, one) for one in wanted]
        return sorted(each, key=str) if isinstance(wanted, set | frozenset) else each
    if name in ("lun", *_NUMBERS):
        return _checked_number(kind, name, wanted)
    if not isinstance(wanted, str) or not wanted:
        raise ConfigError(f"{kind.name}: {name} is {str(wanted)[:60]!r}, expected a text")
    return wanted


def _checked_number(kind: FaultKind, name: str, wanted: Any) -> int:
    try:
        number = int(wanted, 0) if isinstance(wanted, str) else wanted
    except ValueError:
        number = None
    if type(number) is not int or not 0 <= number <= 0xFFFF:
        raise ConfigError(f"{kind.name}: {name} is {str(wanted)[:60]!r}, expected a number of 0 to 65535")
    return number


def _require_possible(kind: FaultKind, name: str, wanted: Any, hooks: tuple[Hook, ...]) -> None:
    possible = _possible(kind, name, hooks)
    for each in wanted if isinstance(wanted, list) else [wanted]:
        if possible is not None and not any(_same(name, each, one) for one in possible):
            if name == "opcode" and kind.opcodes:
                befalls = " and ".join(kind.opcodes)
                raise ConfigError(f"{kind.name} befalls {befalls}: opcode={each!r} can never be true")
            raise ConfigError(f"{kind.name}: {name}={each!r} can never be true ({hint(each, possible)})")


def _possible(kind: FaultKind, name: str, hooks: tuple[Hook, ...]) -> list[str] | None:
    """Everything ``name`` can be at one of ``hooks``; None when there is no list of it."""
    if name == "opcode":
        return list(kind.opcodes) or [each for hook in hooks for each in _OPCODES.get(hook, [])]
    if name == "command":
        return _COMMANDS
    if name == "stage":
        return [stage.name for stage in Stage]
    return ["to_target", "to_initiator"] if name == "direction" else None


def check_known(kind: FaultKind, match: Mapping[str, Any], values: Mapping[str, Any], known: Known) -> None:
    """Raises `ConfigError` when a match, or a parameter, names what the lab does not have.

    ``known`` has for some names, as ``"portal"`` or ``"nic"``, what there is of them.
    """
    for name, wanted in match.items():
        if name in known:
            _require_known(kind, name, name, wanted, known)
    for parameter in kind.parameters:
        value = values.get(parameter.name)
        if parameter.known in known and value is not None:
            for each in _flat(value):
                _require_known(kind, parameter.name, parameter.known, each, known)


def _flat(value: Any) -> list[Any]:
    return [one for each in value for one in _flat(each)] if isinstance(value, list | tuple) else [value]


def _require_known(kind: FaultKind, shown: str, name: str, wanted: Any, known: Known) -> None:
    there = list(known[name]())
    each = wanted if isinstance(wanted, list) else [wanted]
    if any(_is_there(name, one, there) for one in each):
        return
    near = hint(str(each[0]), [str(one) for one in there])
    raise ConfigError(f"{kind.name}: nobody has {shown}={each[0]!r} ({near})")


def _is_there(name: str, wanted: Any, there: list[Any]) -> bool:
    if name == "lun" and wanted > _LARGEST_LUN_NUMBER:
        return wanted & _LARGEST_LUN_NUMBER in there
    return any(_same(name, wanted, one) for one in there)
