"""Exit codes, and the one place where an error becomes a line on stderr."""

from __future__ import annotations

import os
import sys
from enum import IntEnum

import typer

from iscsim.errors import ConfigError, ISCSIError


class ExitCode(IntEnum):
    """What ``iscsim`` exits with (but ``serve --run``, which exits as its command does)."""

    OK = 0
    FAILED = 1
    """What was asked for did not work: no connection, a refused login, a failed command."""
    USAGE = 2
    """An option, a file or a name is wrong."""
    ENVIRONMENT = 3
    """This machine does not let us: a port in use, a missing right."""
    FAULT_NOT_FIRED = 4
    """A fault was armed and never fired: such a run proves nothing."""
    TRACE_DIFFERS = 5
    """A replay is not what was recorded."""
    INTERRUPTED = 130


class EnvironmentFailure(Exception):
    """The machine does not allow it; the message is one line."""


def report(error: BaseException) -> ExitCode | None:
    """Say what ``error`` is on stderr; returns the exit code, or None for what should not have happened."""
    match error:
        case KeyboardInterrupt() | typer.Abort():
            return ExitCode.INTERRUPTED
        case BrokenPipeError():  # whoever reads our output has had enough, as in "iscsim read ... | head"
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitCode.FAILED
        case ConfigError():
            code, text = ExitCode.USAGE, str(error)
        case EnvironmentFailure():
            code, text = ExitCode.ENVIRONMENT, str(error)
        case ISCSIError():
            code, text = ExitCode.FAILED, str(error)
        case OSError():
            code, text = ExitCode.FAILED, error.strerror or str(error)
        case _ if hasattr(error, "format_message"):  # typer's; of which class depends on its release
            code, text = ExitCode.USAGE, f"{error.format_message()}{_where_help_is(error)}"
        case _:
            return None
    # in one write, which a target's log on the same stderr cannot come between
    sys.stderr.write(f"iscsim: error: {' '.join(text.split())}\n")
    return code


def _where_help_is(error: BaseException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see {context.command_path} --help)" if context else ""
