"""Arguments and options that several commands have in common."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iscsim.errors import ConfigError

if TYPE_CHECKING:
    from iscsim.session.chap import ChapConfig

STDIO = Path("-")
"""Where a file is named: stdin, or stdout."""
_PASSWORD_VARIABLE = "ISCSIM_CHAP_PASSWORD"

PortalArgument = Annotated[
    str, typer.Argument(metavar="HOST:PORT", help="Portal of the target; port 3260 if left out.")
]
TargetArgument = Annotated[str, typer.Argument(metavar="TARGET", help="Name of the target, as in iqn....")]
LUNArgument = Annotated[
    int, typer.Argument(metavar="LUN", min=0, max=(1 << 24) - 1, help="Number of the logical unit.")
]
LBAOption = Annotated[
    int, typer.Option("--lba", metavar="N", min=0, max=(1 << 64) - 1, help="First block.", show_default=True)
]
InitiatorNameOption = Annotated[
    str,
    typer.Option(
        "--initiator-name", metavar="IQN", help="Our name; $ISCSIM_INITIATOR_NAME, or made of the host name."
    ),
]
UserOption = Annotated[
    str, typer.Option("--user", metavar="NAME", help="CHAP user.", envvar="ISCSIM_CHAP_USER")
]
PasswordOption = Annotated[
    str,
    typer.Option(
        "--password",
        metavar="SECRET",
        help="CHAP secret; better in $ISCSIM_CHAP_PASSWORD, where ps does not show it.",
        envvar=_PASSWORD_VARIABLE,
        show_envvar=False,
    ),
]
DigestOption = Annotated[bool, typer.Option("--digests", help="Ask for header and data digests.")]
JSONOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def chap_of(user: str, password: str) -> ChapConfig | None:
    """The CHAP of ``--user`` and ``--password``, or None. Raises ConfigError for one without the other.

    A password that just lies in the environment, for when there is a user, is no CHAP.
    """
    if not user and password == os.environ.get(_PASSWORD_VARIABLE):
        return None
    if bool(user) != bool(password):
        raise ConfigError("--user and --password go together")
    from iscsim.session.chap import ChapConfig, ChapCredential

    return ChapConfig(outgoing=ChapCredential(user, password.encode())) if user else None
