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
from iscsim.cli.runtime import default_initiator_name
from iscsim.cli.units import UNIT_COLUMNS
from iscsim.errors import ConnectionFailed
from iscsim.openstack.connection_info import read_connection_info

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
    """Log in to a target and stay logged in, until iscsim logout."""
    chap_of(user, password)
    name = initiator_name or default_initiator_name()
    row = ask("login", portal=portal, target=target, initiator_name=name, user=user, password=password)
    if json:
        print_json(row)
    else:
        print(f"session {row['sid']}: logged in to {row['target']} through {row['portal']}")


def logout(
    sid: Annotated[int | None, typer.Argument(help="The session; all of them without.")] = None,
    json: JSONOption = False,
) -> None:
    """Log out of one session, or of all."""
    rows = ask_if_running("logout", [], sid=sid)
    if sid is not None and not rows:
        raise ConnectionFailed(f"no session {sid}")
    if json:
        print_json(rows)
        return
    for row in rows:
        print(f"session {row['sid']}: logged out of {row['target']} through {row['portal']}")


def sessions(json: JSONOption = False) -> None:
    """List the sessions that login and attach have left."""
    print_rows(ask_if_running("sessions", []), _SESSION_COLUMNS, as_json=json, empty="no sessions")


def rescan(json: JSONOption = False) -> None:
    """Scan every session again; shows the LUNs that were added or removed since the last scan."""
    if not ask_if_running("sessions", []):
        raise ConnectionFailed("no sessions to rescan (iscsim login makes one)")
    rows = ask("rescan")
    print_rows(rows, ("sid", "change", *UNIT_COLUMNS), as_json=json, empty="nothing has changed")


def _document(path: Path) -> Any:
    """The file's JSON, once it is known to be a connection_info."""
    read_connection_info(path)
    return json_module.loads(path.read_text(encoding="utf-8"))


def attach(connection_info: ConnectionInfoArgument, initiator_name: InitiatorNameOption = "") -> None:
    """Attach a volume on every path cinder names; prints the multipath device as JSON.

    The sessions stay until iscsim detach. A path that fails is reported in failed_paths and on stderr; the
    command fails when none works.
    """
    document = _document(connection_info)
    described = ask(
        "attach", connection_info=document, initiator_name=initiator_name or default_initiator_name()
    )
    for failed in described["failed_paths"]:
        print(f"iscsim: warning: {failed['portal']}: {failed['error']}", file=sys.stderr)
    print_json(described)


def detach(connection_info: ConnectionInfoArgument) -> None:
    """Detach a volume: flush it, log out of its sessions; prints what was detached as JSON."""
    document = _document(connection_info)
    described = ask_if_running("detach", None, connection_info=document)
    if described is None:
        raise ConnectionFailed("that volume is not attached")
    print_json(described)
