"""``iscsim target``: what a running target serves, looked at and changed; made of the table of methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from iscsim.cli.arguments import JSONOption
from iscsim.cli.control import ControlOption, ask
from iscsim.cli.output import cell, print_json, print_rows, printable
from iscsim.errors import ConfigError
from iscsim.target.administration.methods import METHODS, Method
from iscsim.target.administration.parameters import REQUIRED, Flag, Number, Object, Parameter, Text

target = typer.Typer(
    name="target",
    help="Look at what a running target serves, and change it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class _Group(NamedTuple):
    """The commands of the methods ``PREFIX.*``."""

    prefix: str
    name: str
    help: str


_GROUPS = (
    _Group("tpg", "tpg", "Portal groups."),
    _Group("portal", "portal", "Where it listens."),
    _Group("backstore", "backstore", "Where blocks are: memory, files, devices."),
    _Group("lun", "lun", "LUNs of a portal group."),
    _Group("acl", "acl", "Initiators that may log in."),
    _Group("mapped_lun", "mapped-lun", "LUNs as one initiator sees them."),
    _Group("session", "session", "Who is logged in."),
    _Group("alua", "alua", "Asymmetric access states."),
    _Group("personality", "personality", "Whose habits it has."),
)
_COLUMNS = {
    "session.list": ("tsih", "initiator", "target", "portal_group_tag", "addresses", "requests"),
    "acl.list": ("initiator", "user", "mutual_user", "mapped_luns"),
    "backstore.list": ("name", "plugin", "size", "wwn", "path"),
    "alua.set": ("lun", "backstore", "access_states"),
}
"""What a table for people shows of the rows."""
_VARIABLES = {"password": "ISCSIM_CHAP_PASSWORD", "mutual_password": "ISCSIM_CHAP_MUTUAL_PASSWORD"}
_EXAMPLES = {
    "target.create": "iscsim target create iqn.2010-10.org.openstack:volume-1",
    "tpg.create": "iscsim target tpg create iqn.2010-10.org.openstack:volume-1",
    "portal.create": "iscsim target portal create iqn.2010-10.org.openstack:volume-1 1 10.0.0.1",
    "backstore.create": "iscsim target backstore create volume-1 --size 1G",
    "lun.create": "iscsim target lun create iqn.2010-10.org.openstack:volume-1 1 volume-1",
    "lun.resize": "iscsim target lun resize iqn.2010-10.org.openstack:volume-1 1 0 2G",
    "acl.create": "iscsim target acl create iqn.2010-10.org.openstack:volume-1 1 "
    "iqn.1993-08.org.debian:01:host --user chapuser --map-luns",
    "session.kick": "iscsim target session kick 4711",
    "save": "iscsim target save saveconfig.json",
}


def _size(text: str) -> int:
    from iscsim.target.options import parse_size

    return parse_size(text)


def _annotation(parameter: Parameter) -> Any:
    """As typer takes it; numbers stay text where a unit may follow, files become absolute paths."""
    help_text = f"{parameter.summary[0].upper()}{parameter.summary[1:]}."
    kind: Any
    match parameter:
        case Number() if parameter.name == "size":
            kind = str
        case Number():
            kind = int
        case Flag():
            kind = bool
        case Object():
            kind, help_text = list[str], f"{help_text[:-1]}: NAME=VALUE. May be repeated."
        case _:
            kind = Path if parameter.name == "path" else str
    if parameter.default is REQUIRED:
        return Annotated[kind, typer.Argument(metavar=parameter.name.upper(), help=help_text)]
    name = f"--{_option(parameter)}"
    if isinstance(parameter, Flag) and parameter.default:
        name += f"/--no-{_option(parameter)}"
    more: dict[str, Any] = {"help": help_text, "show_default": parameter.default not in (None, "", False)}
    if not isinstance(parameter, Flag):
        more["metavar"] = {"size": "SIZE", "path": "FILE"}.get(parameter.name, _METAVARS[type(parameter)])
    if isinstance(parameter, Text) and parameter.secret:
        more["envvar"] = _VARIABLES[parameter.name]
    return Annotated[kind if parameter.default is not None else kind | None, typer.Option(name, **more)]


_METAVARS: dict[type, str] = {Number: "N", Text: "TEXT", Object: "NAME=VALUE"}


def _option(parameter: Parameter) -> str:
    """``--attribute`` may be repeated: its name is that of one."""
    name = parameter.name.removesuffix("s") if isinstance(parameter, Object) else parameter.name
    return name.replace("_", "-")


def _value(parameter: Parameter, given: Any) -> Any:
    """As the method takes it. Raises ConfigError."""
    if given is None or given == []:
        return None
    if isinstance(parameter, Object):
        return dict(_pairs(parameter, given))
    if parameter.name == "size":
        return _size(given)
    return str(given.absolute()) if isinstance(given, Path) else given


def _pairs(parameter: Parameter, texts: list[str]) -> Iterator[tuple[str, Any]]:
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ConfigError(f"--{_option(parameter)} {text!r}: expected NAME=VALUE")
        yield name, int(value) if value.lstrip("-").isdecimal() and len(value) < 20 else value


def _without_stray_secrets(method: Method, given: dict[str, Any]) -> dict[str, Any]:
    """A secret that just lies in the environment is for when there is a user. Raises ConfigError for a user
    without a secret."""
    if "user" in given:
        for user, password in (("user", "password"), ("mutual_user", "mutual_password")):
            if not given[user]:
                given[password] = None if given[user] is None else ""
            elif not given[password]:
                variable = f"ISCSIM_CHAP_{password.upper()}"
                raise ConfigError(f"--{user.replace('_', '-')} needs its CHAP secret, in ${variable}")
    return given


def _command(method: Method) -> Callable[..., None]:
    """The function typer makes a command of."""

    def command(**options: Any) -> None:
        control, as_json = options.pop("control"), options.pop("json", False)
        given = {each.name: _value(each, options[each.name]) for each in method.parameters}
        answer = ask(control, method.name, **_without_stray_secrets(method, given))
        _show(method, answer, as_json=as_json)

    parameters = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=_annotation(each),
            default=inspect.Parameter.empty if each.default is REQUIRED else _default(each),
        )
        for each in sorted(method.parameters, key=lambda each: each.default is not REQUIRED)
    ]
    for name, annotation, default in (("control", ControlOption, None), ("json", JSONOption, False)):
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        )
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    example = _EXAMPLES.get(method.name)
    command.__doc__ = method.summary + (f"\n\n\b\nExamples:\n  {example}" if example else "")
    return command


def _default(parameter: Parameter) -> Any:
    return str(parameter.default) if parameter.name == "size" and parameter.default else parameter.default


def _show(method: Method, answer: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    elif method.name in _COLUMNS:
        columns = _COLUMNS[method.name]
        shown = [{name: _cell(row[name]) for name in columns} for row in answer]
        print_rows(shown, columns, as_json=False, empty="none")
    elif isinstance(answer, list):
        print("".join(f"{printable(str(each))}\n" for each in answer), end="")
    elif isinstance(answer, dict) and not method.changes:
        print("\n".join(_tree(answer)))


def _cell(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [" ".join(str(part) for part in each.values() if part not in ("", None)) for each in value]
    return value


def _tree(value: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A description for people: a line a value, rows below their names."""
    for name, each in value.items():
        if isinstance(each, dict):
            if each:
                yield f"{indent}{printable(name)}"
                yield from _tree(each, f"{indent}  ")
        elif isinstance(each, list) and each and isinstance(each[0], dict):
            for row in each:
                yield f"{indent}{name.removesuffix('s')}"
                yield from _tree(row, f"{indent}  ")
        elif each not in (None, "", []):
            yield f"{indent}{name.replace('_', ' '):<23} {cell(each)}"


def _add_commands() -> None:
    groups = {"": target, "target": target}
    for group in _GROUPS:
        groups[group.prefix] = typer.Typer(
            name=group.name, help=group.help, no_args_is_help=True, rich_markup_mode=None
        )
        target.add_typer(groups[group.prefix])
    for method in METHODS.values():
        prefix, _, verb = method.name.rpartition(".")
        groups[prefix].command(verb.replace("_", "-"))(_command(method))


_add_commands()
