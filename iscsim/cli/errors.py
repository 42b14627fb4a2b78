"""Exit codes, and the one place where an error becomes a line on stderr."""

from __future__ import annotations

import sys
from enum import IntEnum

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
    INTERRUPTED = 130


class EnvironmentFailure(Exception):
    """The machine does not allow it; the message is one line."""


def report(error: BaseException) -> ExitCode | None:
    """Say what ``error`` is on stderr; returns the exit code, or None for what should not have happened."""
    match error:
        case ConfigError():
            code = ExitCode.USAGE
        case EnvironmentFailure():
            code = ExitCode.ENVIRONMENT
        case ISCSIError():
            code = ExitCode.FAILED
        case OSError():
            code = ExitCode.FAILED
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case _:
            return None
    print(f"iscsim: error: {' '.join(str(error).split())}", file=sys.stderr)
    return code
