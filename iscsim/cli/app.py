"""The typer application: the list of commands, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from iscsim import __version__
from iscsim.cli.demo import demo
from iscsim.cli.errors import ExitCode, report
from iscsim.cli.faults import fault
from iscsim.cli.host import host
from iscsim.cli.initiator import discover, inquiry, luns, read, write
from iscsim.cli.run import run
from iscsim.cli.serve import serve
from iscsim.cli.sessions import attach, detach, login, logout, rescan, sessions

app = typer.Typer(
    name="iscsim",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS = (demo, serve, run, discover, luns, inquiry, read, write)
_SESSION_COMMANDS = (login, sessions, rescan, logout, attach, detach)
for _command in (*_COMMANDS, *_SESSION_COMMANDS):
    app.command()(_command)
app.add_typer(fault, name="fault")
app.add_typer(host, name="host")


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
