"""``iscsim demo``: the whole datapath on this machine; :mod:`iscsim.cli.datapath` walks it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer


def demo(
    pcap: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Capture it all to a pcapng file.")
    ] = None,
) -> None:
    """Attach, use and detach a volume over two portals.

    All of it happens on this machine, on free ports; each step is shown as it happens.

    \b
    Example:
      iscsim demo --pcap demo.pcapng
    """
    from iscsim.cli.datapath import walk
    from iscsim.cli.running import run

    logging.basicConfig(level=logging.ERROR)  # the refusal of the stranger is a step, not a warning
    run(walk(pcap))
