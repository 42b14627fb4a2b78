"""Everything that is wrong with a configuration file of ``iscsim serve``, and its JSON Schema."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from iscsim.errors import ConfigError
from iscsim.hints import hint
from iscsim.session.names import normalize_name, parse_portal
from iscsim.target.config import DEFAULT_TARGET
from iscsim.target.options import ANYBODY, parse_initiator, parse_lun, parse_redirect
from iscsim.target.policy import PERSONALITIES

__all__ = ["config_problems", "config_schema", "read_document"]

_TEXT, _TEXTS, _TABLES = "string", "array of strings", "array of tables"
# Key: its type, and what it is for; in a target also who reads one of its texts, and raises for a bad one.
FILE: dict[str, tuple[str, str]] = {
    "personality": (_TEXT, "whose habits the targets have"),
    "state": (_TEXT, "a directory in which persistent reservations survive"),
    "target": (_TABLES, "the targets"),
}
TARGET: dict[str, tuple[str, str, Callable[[str], Any] | None]] = {
    "name": (_TEXT, "its iSCSI name", normalize_name),
    "alias": (_TEXT, "its TargetAlias", None),
    "portals": (_TEXTS, "where it listens: HOST:PORT", parse_portal),
    "luns": (_TEXTS, "as iscsim serve --lun: N=SIZE or N=PATH, then options", parse_lun),
    "initiators": (_TEXTS, "who may log in: IQN[:USER:PASSWORD]", parse_initiator),
    "redirects": (_TEXTS, "as iscsim serve --redirect: PORTAL=ADDRESS", parse_redirect),
}


def read_document(path: Path) -> dict[str, Any]:
    """What TOML makes of a file. Raises ConfigError in one line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def config_problems(document: Mapping[str, Any]) -> list[str]:
    """A line for each mistake, with its place and, for a wrong name, the nearest right one."""
    return list(_file_problems(document))


def _file_problems(document: Mapping[str, Any]) -> Iterator[str]:
    kinds = {name: kind for name, (kind, _) in FILE.items()}
    yield from _key_problems("", document, kinds)
    personality = document.get("personality", "rfc")
    if isinstance(personality, str) and personality not in PERSONALITIES:
        yield f"personality: {personality!r} is none ({hint(personality, PERSONALITIES)})"
    tables = document.get("target", [])
    if not _is(tables, _TABLES):
        return
    for number, table in enumerate(tables, 1):
        yield from _target_problems(f"[[target]] {number}: ", table)
    names = [str(table.get("name", DEFAULT_TARGET)).lower() for table in tables]
    yield from (f"[[target]]: {name} is there twice" for name in _twice(names))


def _target_problems(where: str, table: Mapping[str, Any]) -> Iterator[str]:
    kinds = {name: kind for name, (kind, _, _) in TARGET.items()}
    yield from _key_problems(where, table, kinds)
    read: dict[str, list[Any]] = {}
    for name, (kind, _, parse) in TARGET.items():
        if parse is None or name not in table or not _is(table[name], kind):
            continue
        texts = [table[name]] if kind == _TEXT else table[name]
        read[name] = []
        for number, text in enumerate(texts, 1):
            place = name if kind == _TEXT else f"{name}[{number}]"
            try:
                read[name].append(parse(text))
            except ConfigError as error:
                yield f"{where}{place}: {error}"
    yield from _contradictions(where, read)


def _contradictions(where: str, read: Mapping[str, list[Any]]) -> Iterator[str]:
    """What is well-formed and cannot be together."""
    for number in _twice([spec.number for spec in read.get("luns", [])]):
        yield f"{where}luns: LUN {number} is there twice"
    for host, port in _twice([address for address in read.get("portals", []) if address[1]]):
        yield f"{where}portals: {host}:{port} is there twice"
    names = [spec.name for spec in read.get("initiators", [])]
    for name in _twice(names):
        yield f"{where}initiators: {name} is there twice"
    if len(names) > 1 and ANYBODY in names:
        yield f"{where}initiators: {ANYBODY} is everybody: no other may stand beside it"
    for spec in read.get("luns", []):
        if spec.size is None and not spec.in_memory and not Path(spec.source).exists():
            yield f"{where}luns: LUN {spec.number}: {spec.source!r} is neither a size nor a file"


def _twice(values: list[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


def _key_problems(where: str, table: Mapping[str, Any], kinds: Mapping[str, str]) -> Iterator[str]:
    for name, value in table.items():
        if name not in kinds:
            yield f"{where}unknown key {name!r} ({hint(name, kinds)})"
        elif not _is(value, kinds[name]):
            yield f"{where}{name}: expected {'an' if kinds[name][0] == 'a' else 'a'} {kinds[name]}"


def _is(value: Any, kind: str) -> bool:
    if kind == _TEXT:
        return isinstance(value, str)
    each = str if kind == _TEXTS else dict
    return isinstance(value, list) and all(isinstance(item, each) for item in value)


def config_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the file, for editors; what `config_problems` knows beyond it is more."""
    target = {name: _schema(kind) | {"description": about} for name, (kind, about, _) in TARGET.items()}
    file = {name: _schema(kind) | {"description": about} for name, (kind, about) in FILE.items()}
    file["personality"]["enum"] = list(PERSONALITIES)
    file["target"]["items"] = {"type": "object", "additionalProperties": False, "properties": target}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A configuration of iscsim serve",
        "type": "object",
        "additionalProperties": False,
        "properties": file,
    }


def _schema(kind: str) -> dict[str, Any]:
    if kind == _TEXT:
        return {"type": "string"}
    return {"type": "array", "items": {"type": "string"}} if kind == _TEXTS else {"type": "array"}
