"""The tables of a scenario file: which keys there are, of what kind. Checks and schema are made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from iscsim.errors import ConfigError
from iscsim.faults.names import checked_name
from iscsim.faults.seconds import parse_seconds

__all__ = ["FILE", "HOST", "LAB", "STEPS", "TARGET", "Key", "checked_table", "step_keys"]


@dataclass(frozen=True, slots=True)
class Key:
    """One key. ``kind`` is text, number, count (a whole number from 0), truth, time, texts, numbers or
    portals (texts, or how many)."""

    kind: str
    summary: str
    required: bool = False
    choices: tuple[str, ...] = ()


_EXPECTED = {
    "text": "a text",
    "count": "a whole number from 0",
    "truth": "true or false",
    "time": "seconds, or a text like 250ms, 70s, 2m",
    "texts": "a list of texts",
    "numbers": "a list of whole numbers from 0",
    "portals": "a list of ADDRESS:PORT, or how many",
    "portal": "the number of a portal, from 0, or ADDRESS:PORT",
    "table": "a table",
    "tables": "an array of tables",
}


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_time(value: Any) -> bool:
    try:
        parse_seconds(value)
    except ConfigError:
        return False
    return True


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)


_TESTS: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "count": _is_count,
    "truth": lambda value: isinstance(value, bool),
    "time": _is_time,
    "texts": lambda value: _is_list_of(value, str),
    "numbers": lambda value: isinstance(value, list) and all(map(_is_count, value)),
    "portals": lambda value: _is_list_of(value, str) or (_is_count(value) and value > 0),
    "portal": lambda value: _is_count(value) or isinstance(value, str),
    "table": lambda value: isinstance(value, dict),
    "tables": lambda value: _is_list_of(value, dict),
}

FILE = {
    "title": Key("text", "what it is about"),
    "lab": Key("table", "the world"),
    "host": Key("tables", "who uses targets"),
    "target": Key("tables", "what they use"),
    "fault": Key("tables", "what goes wrong"),
    "step": Key("tables", "what is done, one after the other"),
}
LAB = {
    "network": Key("text", "where it runs", choices=("memory", "tcp")),
    "seed": Key("count", "gives all chance there is"),
    "latency": Key("time", "of a link of the network in memory, one way"),
}
HOST = {
    "name": Key("text", "its name", required=True),
    "addresses": Key("texts", "its addresses, each on a network card of its own"),
    "initiator_name": Key("text", "the iSCSI name it logs in with"),
    "settings": Key("table", "what it is like as an emulated Linux host"),
}
TARGET = {
    "name": Key("text", "its iSCSI name"),
    "portals": Key("portals", "where it listens"),
    "luns": Key("texts", "as `iscsim serve --lun`: 1=64M"),
    "initiators": Key("texts", "as `iscsim serve --initiator`: IQN:USER:PASSWORD"),
    "personality": Key("text", "whose habits it has", choices=("rfc", "lio", "tgt", "vnx")),
    "host": Key("text", "which host has its addresses; array, without"),
}
_ANY_STEP = {
    "do": Key("text", "what is done", required=True),
    "at": Key("time", "not before this time"),
    "after": Key("time", "so much later than the step before"),
    "expect": Key("text", "the error it ends with, as ConnectionFailed"),
    "message": Key("text", "what that error says"),
    "takes": Key("time", "how long it takes"),
    "within": Key("time", "how much more or less that may be; 100ms, without"),
}
_WHO = {"host": Key("text", "who does it; the first host, without")}
_WHERE = {"target": Key("text", "a target; the first, without")}
_NAME = {"name": Key("text", "what it is called in other steps; volume or session, without")}
_LOGIN = {
    "user": Key("text", "CHAP user"),
    "password": Key("text", "CHAP secret"),
    "login_timeout": Key("time", "how long connect and login may take"),
}
_PATIENCE = {
    "retries": Key("count", "try for so many login timeouts, as open-iscsi does (by itself 8); once, without")
}
_BLOCKS = {
    "lun": Key("count", "which LUN, in a session; 1, without"),
    "lba": Key("count", "first block; 0, without"),
    "blocks": Key("count", "how many; 8, without"),
}
_PORTAL = {"portal": Key("portal", "the first, without")}
_RAISES = {"raises": Key("text", "the exception it must end with, as VolumeDeviceNotFound")}

STEPS: dict[str, tuple[str, dict[str, Key]]] = {
    "login": ("log in to a target", _WHO | _WHERE | _PORTAL | _NAME | _LOGIN | _PATIENCE),
    "logout": ("log out again", _NAME),
    "attach": (
        "attach a LUN over all portals of its target",
        _WHO | _WHERE | {"lun": Key("count", "which; 1, without")} | _NAME | _LOGIN | _PATIENCE,
    ),
    "detach": ("flush, and log out on every path", _NAME),
    "discover": (
        "ask a portal for its targets",
        _WHO | _WHERE | _PORTAL | _LOGIN | {"targets": Key("texts", "what it must say")},
    ),
    "scan": (
        "look for LUNs in a session of its own",
        _WHO | _WHERE | _PORTAL | _LOGIN | {"luns": Key("numbers", "what must be found")},
    ),
    "read": ("read blocks; those written here must be as they were written", _NAME | _BLOCKS),
    "write": ("write blocks", _NAME | _BLOCKS | {"text": Key("text", "what, over and over")}),
    "verify": ("read everything that was written here", _NAME | {"lun": _BLOCKS["lun"]}),
    "paths": ("count the paths that work", _NAME | {"working": Key("count", "how many", required=True)}),
    "check": ("ask each path whether it still leads to the same unit", _NAME),
    "flag": (
        "raise or lower a flag faults wait for",
        {"flag": Key("text", "its name", required=True), "up": Key("truth", "up or down; up, without")},
    ),
    "execute": (
        "run a command on an emulated Linux host",
        _WHO
        | {
            "command": Key("text", "the command, in words as a shell has them", required=True),
            "stdin": Key("text", "its standard input"),
            "exit_code": Key("count", "which it must have; 0, without"),
            "stdout": Key("text", "a regular expression that must be found in its output"),
            "stderr": Key("text", "the same of its standard error"),
        },
    ),
    "fail_command": (
        "have a command of an emulated host do nothing but fail",
        _WHO
        | {
            "command": Key("text", "words that must be in it, as: multipath -C", required=True),
            "exit_code": Key("count", "how it ends; 1, without"),
            "stdout": Key("text", "its output"),
            "stderr": Key("text", "its standard error"),
            "seconds": Key("time", "how long it takes"),
            "times": Key("count", "how often; once, without"),
        },
    ),
    "settle": ("wait until udev and multipathd of an emulated host have seen every disk", _WHO),
    "leftovers": (
        "look for what is left on an emulated host",
        _WHO | {"left": Key("texts", "all that may be left, each by how it begins: node, disk sda; nothing")},
    ),
    "connect_volume": (
        "attach a LUN with os-brick (iscsim[osbrick])",
        _WHO
        | _WHERE
        | {"lun": Key("count", "which; 1, without")}
        | _NAME
        | {
            "user": _LOGIN["user"],
            "password": _LOGIN["password"],
            "multipath": Key("truth", "whether the connector uses it; true, without"),
            "path": Key("text", "a regular expression for the path it returns"),
            "wwn": Key("text", "the same for the name of the unit"),
        }
        | _RAISES,
    ),
    "disconnect_volume": (
        "detach it with os-brick",
        _NAME
        | {
            "multipath": Key("truth", "whether the connector uses it; true, without"),
            "force": Key("truth", "go on whatever fails"),
        }
        | _RAISES,
    ),
    "sleep": ("let time pass", {"seconds": Key("time", "how long", required=True)}),
    "heal": ("take all faults away", {}),
}
"""What a step can do, and the keys it has for it."""


def step_keys(do: str) -> dict[str, Key]:
    """All keys of a step."""
    return _ANY_STEP | STEPS[do][1]


def checked_table(where: str, table: Any, keys: Mapping[str, Key]) -> dict[str, Any]:
    """``table``, once every key of it is known, of its kind, and none is missing. Raises `ConfigError`."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table")
    for name, value in table.items():
        key = keys[_known(where, name, keys)]
        if not _TESTS[key.kind](value):
            raise ConfigError(f"{where}: {name} is {str(value)[:60]!r}, expected {_EXPECTED[key.kind]}")
        if key.choices and value not in key.choices:
            raise ConfigError(
                f"{where}: {name} is {str(value)[:60]!r}, expected one of {', '.join(key.choices)}"
            )
    missing = [name for name, key in keys.items() if key.required and name not in table]
    if missing:
        raise ConfigError(f"{where} needs {', '.join(missing)}")
    return table


def _known(where: str, name: str, keys: Mapping[str, Key]) -> str:
    try:
        return checked_name("key", name, keys)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
