"""The typer application: the list of commands, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import typer
import typer.core

from iscsim import __version__
from iscsim.cli.config import config
from iscsim.cli.demo import demo
from iscsim.cli.errors import ExitCode, report
from iscsim.cli.faults import fault
from iscsim.cli.host import host
from iscsim.cli.initiator import discover, inquiry, luns, read, write
from iscsim.cli.load import io
from iscsim.cli.rtstool import PASSED_ON, rtstool
from iscsim.cli.run import run
from iscsim.cli.serve import serve
from iscsim.cli.sessions import attach, detach, login, logout, paths, rescan, sessions
from iscsim.cli.target import target
from iscsim.cli.top import top

Command = Callable[..., Any] | typer.Typer
COMMANDS: dict[str, tuple[Command, ...]] = {
    "Serve a target, change it, break it, watch a whole world": (
        demo,
        serve,
        target,
        top,
        rtstool,
        fault,
        config,
        run,
        host,
    ),
    "Run a program on an emulated host": (host,),
    "Log in, do one thing, log out": (discover, luns, inquiry, read, write, io),
    "Sessions that stay": (login, sessions, rescan, paths, logout, attach, detach),
}
"""Every command, or group of commands, under the heading that the help shows it with."""


_WHOLE = 400
"""Characters: no first sentence of a help is cut."""


class GroupedHelp(typer.core.TyperGroup):
    """The root: its help shows the commands under their headings."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """In place of one long list."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        for heading, members in COMMANDS.items():
            names = [_name(member) for member in members]
            rows = [(name, each.get_short_help_str(_WHOLE)) for name in names if (each := commands[name])]
            with formatter.section(heading):
                formatter.write_dl(rows)


def _name(command: Command) -> str:
    return str(command.info.name) if isinstance(command, typer.Typer) else command.__name__


app = typer.Typer(
    name="iscsim",
    cls=GroupedHelp,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (each for members in COMMANDS.values() for each in members):
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name(_command))
    else:
        app.command(context_settings=PASSED_ON if _command is rtstool else None)(_command)


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
