"""Commands whose sessions stay: login, logout, sessions, rescan, attach, detach."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from iscsim.cli.arguments import (
    InitiatorNameOption,
    JSONOption,
    PasswordOption,
    PortalArgument,
    TargetArgument,
    UserOption,
    chap_of,
)
from iscsim.cli.keeper_client import ask, ask_if_running
from iscsim.cli.output import print_json, print_rows
from iscsim.cli.runtime import NO_SESSIONS, NOT_ATTACHED, default_initiator_name
from iscsim.cli.units import UNIT_COLUMNS
from iscsim.errors import ConnectionFailed

_SESSION_COLUMNS = ("sid", "portal", "target", "state", "volume")
ConnectionInfoArgument = Annotated[
    Path, typer.Argument(metavar="CONNECTION_INFO.json", help="What cinder's initialize_connection returned.")
]


def login(
    portal: PortalArgument,
    target: TargetArgument,
    initiator_name: InitiatorNameOption = "",
    user: UserOption = "",
    password: PasswordOption = "",
    json: JSONOption = False,
) -> None:
    """Log in to a target and stay logged in.

    A process of its own keeps the session until iscsim logout.

    \b
    Examples:
      iscsim login 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk
      ISCSIM_CHAP_PASSWORD=secret iscsim login 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk --user me
    """
    chap_of(user, password)
    name = initiator_name or default_initiator_name()
    row = ask("login", portal=portal, target=target, initiator_name=name, user=user, password=password)
    if json:
        print_json(row)
    else:
        print(f"session {row['sid']}: logged in to {row['target']} through {row['portal']}")


def logout(
    sid: Annotated[
        int | None, typer.Argument(metavar="SID", help="Number of the session; all of them without.")
    ] = None,
    json: JSONOption = False,
) -> None:
    """Log out of one session, or of all.

    Sessions of attached volumes end with iscsim detach.
    """
    rows = ask_if_running("logout", [], sid=sid)
    if sid is not None and not rows:
        raise ConnectionFailed(f"no session {sid}")
    if json:
        print_json(rows)
        return
    if not rows:
        print("iscsim: no sessions to log out of", file=sys.stderr)
    for row in rows:
        print(f"session {row['sid']}: logged out of {row['target']} through {row['portal']}")


def sessions(json: JSONOption = False) -> None:
    """List the sessions that login and attach have left."""
    print_rows(ask_if_running("sessions", []), _SESSION_COLUMNS, as_json=json, empty=NO_SESSIONS)


def rescan(json: JSONOption = False) -> None:
    """Show LUNs that were added or removed since the last scan.

    Every session that login and attach have left is scanned again.
    """
    rows = ask_if_running("rescan", None)
    if rows is None:
        raise ConnectionFailed(NO_SESSIONS)
    print_rows(rows, ("sid", "change", *UNIT_COLUMNS), as_json=json, empty="nothing has changed")


def _document(path: Path) -> Any:
    """The file's JSON, once it is known to be a connection_info."""
    from iscsim.openstack.connection_info import read_connection_info

    read_connection_info(path)
    return json_module.loads(path.read_text(encoding="utf-8"))


def attach(connection_info: ConnectionInfoArgument, initiator_name: InitiatorNameOption = "") -> None:
    """Attach a volume from cinder's connection_info.

    Logs in on every path and prints the multipath device as JSON. The sessions stay until iscsim detach.
    A path that fails is reported in failed_paths and on stderr; the command fails when none works.

    \b
    Example:
      iscsim attach connection_info.json
    """
    document = _document(connection_info)
    described = ask(
        "attach", connection_info=document, initiator_name=initiator_name or default_initiator_name()
    )
    for failed in described["failed_paths"]:
        print(f"iscsim: warning: {failed['error']}", file=sys.stderr)
    print_json(described)


def detach(connection_info: ConnectionInfoArgument) -> None:
    """Detach a volume and log out of its sessions.

    What was written is flushed first. Prints what was detached as JSON.
    """
    document = _document(connection_info)
    described = ask_if_running("detach", None, connection_info=document)
    if described is None:
        raise ConnectionFailed(NOT_ATTACHED)
    print_json(described)
