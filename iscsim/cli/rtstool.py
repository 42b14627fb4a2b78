"""``iscsim rtstool``, which `iscsim.cli.main` starts without loading the rest; here it is for the help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PASSED_ON = {"ignore_unknown_options": True}
"""Context settings: ``-a`` and ``-p`` are the verb's."""


def rtstool(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="VERB [ARGUMENT]...", help="As cinder-rtstool takes them.")
    ] = None,
    control: Annotated[
        Path | None,
        typer.Option(metavar="SOCKET", help="The target's; else $ISCSIM_CONTROL. Before the verb."),
    ] = None,
) -> None:
    """Do what cinder-rtstool does, on a running "iscsim serve --control".

    The verbs are verify, create, add-initiator, delete-initiator, get-targets, delete, save and restore;
    shims DIR writes executables that take the place of cinder-rtstool and sudo.

    \b
    Examples:
      iscsim rtstool get-targets
      iscsim rtstool shims /opt/iscsim/bin
    """
    from iscsim.openstack.rtstool.command import main

    given = ["iscsim rtstool", *(arguments or [])]
    raise typer.Exit(main(given, control=None if control is None else str(control)))
