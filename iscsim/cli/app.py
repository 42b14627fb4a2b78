"""The typer application: the list of commands, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
import typer.core
import typer.main

from iscsim import __version__
from iscsim.cli.errors import ExitCode, report
from iscsim.cli.rtstool import PASSED_ON

COMMANDS: dict[str, dict[str, str]] = {
    "Serve a target, change it, break it, watch a whole world": {
        "demo": "demo",
        "serve": "serve",
        "target": "target",
        "top": "top",
        "rtstool": "rtstool",
        "fault": "faults",
        "config": "config",
        "run": "run",
    },
    "Run a program on an emulated host": {"host": "host"},
    "Log in, do one thing, log out": {
        "discover": "initiator",
        "luns": "initiator",
        "inquiry": "initiator",
        "read": "initiator",
        "write": "initiator",
        "io": "load",
    },
    "Sessions that stay": {
        "login": "sessions",
        "sessions": "sessions",
        "rescan": "sessions",
        "paths": "sessions",
        "logout": "sessions",
        "attach": "sessions",
        "detach": "sessions",
    },
}
"""Every command, or group of commands, under the heading that the help shows it with: the module of
`iscsim.cli` that has it under this name. It is imported when the command is called, or the help."""
_MODULES = {name: module for members in COMMANDS.values() for name, module in members.items()}
_WHOLE = 400
"""Characters: no first sentence of a help is cut."""


class Commands(typer.core.TyperGroup):
    """The root: it makes a command when it is asked for, and its help shows all under their headings."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: dict[str, Any] = dict.fromkeys(_MODULES)  # whose names are suggested, too

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """None when there is no such command."""
        if cmd_name in self.commands and self.commands[cmd_name] is None:
            self.commands[cmd_name] = _made(cmd_name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """In place of one long list."""
        for heading, names in COMMANDS.items():
            rows = [(name, self.get_command(ctx, name).get_short_help_str(_WHOLE)) for name in names]
            with formatter.section(heading):
                formatter.write_dl(rows)


def _made(name: str) -> Any:
    """What typer makes of a command, or of a group of them."""
    command = getattr(import_module(f"iscsim.cli.{_MODULES[name]}"), name)
    alone = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    if isinstance(command, typer.Typer):
        alone.add_typer(command, name=name)
    else:
        alone.command(name, context_settings=PASSED_ON if name == "rtstool" else None)(command)
    return typer.main.get_group(alone).commands[name]


app = typer.Typer(
    name="iscsim",
    cls=Commands,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"iscsim {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A whole iSCSI world in user space: target, initiator, captures.

    "iscsim COMMAND --help" shows the options of a command, and examples.
    """
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(ExitCode.USAGE)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code; an error is one line on stderr."""
    try:
        status = app(args=arguments, prog_name="iscsim", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:
        code = report(error)
        if code is None:
            raise
        sys.exit(code)
    sys.exit(status or ExitCode.OK)
