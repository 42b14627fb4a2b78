"""The command line: ``iscsim COMMAND``."""

import sys
from collections.abc import Sequence
from typing import NoReturn

_INTERRUPTED = 130
"""``ExitCode.INTERRUPTED``, which is not known yet while it matters."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code; Ctrl-C while it is being loaded ends it silently.

    ``rtstool`` is Cinder's to call, for every step: it loads none of the rest.
    """
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        if given[:1] == ["rtstool"] and not {"-h", "--help"} & set(given):
            from iscsim.openstack.rtstool.command import main as rtstool

            sys.exit(rtstool(["iscsim rtstool", *given[1:]]))
        from iscsim.cli.app import main as run

        run(arguments)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


__all__ = ["main"]
