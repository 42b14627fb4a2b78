"""``iscsim fault``: break what a running ``iscsim serve --control`` serves, and mend it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from iscsim.cli.arguments import JSONOption
from iscsim.cli.control import ControlOption, ask
from iscsim.cli.output import print_json, print_rows
from iscsim.errors import ConfigError

fault = typer.Typer(
    name="fault",
    help="Break what a running target serves: add, list, remove and reset faults.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_COLUMNS = ("id", "name", "parameters", "match", "when", "fired", "armed")


def _pairs(what: str, texts: list[str] | None) -> dict[str, list[str]]:
    """All values of each key, in the order given."""
    found: dict[str, list[str]] = {}
    for text in texts or []:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ConfigError(f"{what} {text!r}: expected KEY=VALUE")
        found.setdefault(key, []).append(value)
    return found


def _parameters(texts: list[str] | None) -> dict[str, str]:
    found = _pairs("attribute", texts)
    if twice := next((key for key, values in found.items() if len(values) > 1), None):
        raise ConfigError(f"attribute {twice} is given twice")
    return {key: value for key, (value,) in found.items()}


def _matches(texts: list[str] | None) -> dict[str, str | list[str]]:
    """A key given several times matches each of its values."""
    found = _pairs("match", texts)
    return {key: values[0] if len(values) == 1 else values for key, values in found.items()}


@fault.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As login.delay; docs/reference/faults/.")],
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", "-a", metavar="KEY=VALUE", help="A parameter. May be repeated."),
    ] = None,
    match: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="What it befalls: portal=..., lun=... May be repeated: a key matches any of its values.",
        ),
    ] = None,
    nth: Annotated[
        list[int] | None, typer.Option(metavar="N", min=1, help="Which occasion. May be repeated.")
    ] = None,
    every: Annotated[int | None, typer.Option(metavar="N", min=1, help="Every so many occasions.")] = None,
    first: Annotated[int | None, typer.Option(metavar="N", min=1, help="The first so many.")] = None,
    after_bytes: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Once so many bytes have come by.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not before so much time from now: 10s, 2m.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="No longer than that from now.")] = None,
    gate: Annotated[
        str | None, typer.Option(metavar="file:PATH", help="Only while there is such a file.")
    ] = None,
    probability: Annotated[
        float | None, typer.Option("--probability", "-p", metavar="P", help="With this probability.")
    ] = None,
    times: Annotated[int | None, typer.Option(metavar="N", min=1, help="No more than so often.")] = None,
    per: Annotated[
        str | None,
        typer.Option(metavar="SCOPE", help="Count for each connection, session, target or host apart."),
    ] = None,
    expr: Annotated[str | None, typer.Option(metavar="EXPRESSION", help="Only where this holds.")] = None,
    id: Annotated[str | None, typer.Option("--id", metavar="ID", help="What it is called.")] = None,
    control: ControlOption = None,
    json: JSONOption = False,
) -> None:
    """Arm a fault.

    \b
    Examples:
      iscsim fault add login.delay -a seconds=20 --control /tmp/control.sock
      iscsim fault add medium.read --match lun=1 --nth 3 --control /tmp/control.sock
      iscsim fault add net.blackhole --after 10s --until 70s --control /tmp/control.sock
    """
    given = {"nth": nth or None, "every": every, "first": first, "p": probability, "expr": expr}
    given |= {"after_bytes": after_bytes, "after": after, "until": until, "gate": gate}
    when = {key: value for key, value in given.items() if value is not None}
    described: dict[str, Any] = {"name": name, "when": when}
    more = {"times": times, "id": id, "scope": per}
    described |= {"parameters": _parameters(attribute), "match": _matches(match)}
    described |= {key: value for key, value in more.items() if value is not None}
    row = ask(control, "fault.add", fault=described)
    if json:
        print_json(row)
    else:
        print(row["id"])


@fault.command(name="list")
def list_faults(control: ControlOption = None, json: JSONOption = False) -> None:
    """List the faults that are armed, and how often each has fired."""
    rows = ask(control, "fault.list")
    shown = rows if json else [{name: _shown(row.get(name)) for name in _COLUMNS} for row in rows]
    print_rows(shown, _COLUMNS, as_json=json, empty="no faults")


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return " ".join(f"{key}={each}" for key, each in value.items() if each is not None)
    return value


@fault.command()
def remove(
    id: Annotated[str, typer.Argument(metavar="ID", help="As fault list shows it.")],
    control: ControlOption = None,
) -> None:
    """Disarm a fault; what it did is made good where that is possible."""
    ask(control, "fault.remove", id=id)


@fault.command()
def reset(control: ControlOption = None) -> None:
    """Disarm all faults."""
    ask(control, "fault.reset")
