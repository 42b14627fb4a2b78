"""``--set NAME=VALUE``: settings of open-iscsi and multipath-tools under their own names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iscsim.errors import ConfigError

if TYPE_CHECKING:
    from iscsim.initiator.settings import NodeSettings

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting of open-iscsi, as node.session.timeo.replacement_timeout=5. May be repeated.",
    ),
]


def parse_pairs(texts: Iterable[str]) -> dict[str, str]:
    """Names and values. Raises ConfigError for what is no ``NAME=VALUE``."""
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name.strip():
            raise ConfigError(f"--set {text!r}: expected NAME=VALUE")
        found[name.strip()] = value.strip()
    return found


def node_settings(record: Mapping[str, str], *, user: str = "", password: str = "") -> NodeSettings:
    """The settings of ``record``, with the CHAP of ``--user`` and ``--password``.

    Raises:
        ConfigError: no such setting (the nearest name is told), or not one of its values.
    """
    from iscsim.initiator.settings import NodeSettings

    names = [row.metadata["name"] for row in NodeSettings.rows()]
    for name in record:
        if name not in names:
            raise ConfigError(f"--set {name}: no such setting{nearest(name, names)}")
    chap = {
        "node.session.auth.authmethod": "CHAP",
        "node.session.auth.username": user,
        "node.session.auth.password": password,
    }
    settings = NodeSettings.from_mapping(dict(record) | (chap if user else {}))
    settings.chap  # noqa: B018 - a secret that is none is told before anything is tried
    return settings


def map_settings(record: Mapping[str, str]) -> dict[str, Any]:
    """Settings of multipath-tools, checked. Raises ConfigError as :func:`node_settings` does."""
    from iscsim.initiator.multipath.hardware import SETTING_NAMES, MapSettings

    changes: dict[str, Any] = {}
    for name, text in record.items():
        if name not in SETTING_NAMES:
            raise ConfigError(f"--set {name}: no such setting{nearest(name, SETTING_NAMES)}")
        default = getattr(MapSettings(), name)
        if isinstance(default, bool):
            if text not in _SWITCH:
                raise ConfigError(f"--set {name}={text}: expected yes or no")
            changes[name] = _SWITCH[text]
        elif isinstance(default, int) and not text.isdecimal():
            raise ConfigError(f"--set {name}={text}: expected a number")
        else:
            changes[name] = int(text) if text.isdecimal() else text
    MapSettings().changed(changes)
    return changes


_SWITCH = {"yes": True, "no": False}


def nearest(name: str, names: Iterable[str]) -> str:
    """``"; did you mean ...?"`` for a name that is like one of ``names``, by its last word if need be."""
    names = list(names)
    if found := difflib.get_close_matches(name, names, 1, 0.7):
        return f"; did you mean {found[0]}?"
    by_last = {each.rpartition(".")[2]: each for each in names}
    if found := difflib.get_close_matches(name.rpartition(".")[2], by_last, 1, 0.7):
        return f"; did you mean {by_last[found[0]]}?"
    return ""
