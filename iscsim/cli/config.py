"""``iscsim config``: look at a configuration file before anything is served."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from iscsim.cli.errors import ExitCode
from iscsim.cli.output import print_json

config = typer.Typer(name="config", help="Check configuration files of iscsim serve.", no_args_is_help=True)


@config.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="What iscsim serve --config takes.")],
) -> None:
    """Say everything that is wrong with a file, a line each, with the nearest right name; exit 2.

    \b
    Example:
      iscsim config check array.toml
    """
    from iscsim.target.config_check import config_problems, read_document

    problems = config_problems(read_document(file))
    for problem in problems:
        print(f"iscsim: error: {file}: {problem}", file=sys.stderr)
    if problems:
        raise typer.Exit(ExitCode.USAGE)


@config.command("schema")
def schema() -> None:
    """Print the JSON Schema of the file, for editors."""
    from iscsim.target.config_check import config_schema

    print_json(config_schema())
