"""The command line: ``iscsim COMMAND``."""

import sys
from collections.abc import Sequence
from typing import NoReturn

_INTERRUPTED = 130
"""``ExitCode.INTERRUPTED``, which is not known yet while it matters."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code; Ctrl-C while it is being loaded ends it silently."""
    try:
        from iscsim.cli.app import main as run

        run(arguments)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


__all__ = ["main"]
