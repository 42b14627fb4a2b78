"""Commands whose sessions stay: login, logout, sessions, rescan, attach, detach."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from iscsim.cli.arguments import (
    STDIO,
    InitiatorNameOption,
    JSONOption,
    PasswordOption,
    PortalArgument,
    TargetArgument,
    UserOption,
    chap_of,
)
from iscsim.cli.keeper_client import ask, ask_if_running
from iscsim.cli.node_settings import SetOption, node_settings, parse_pairs
from iscsim.cli.output import print_json, print_rows
from iscsim.cli.runtime import NO_SESSIONS, NOT_ATTACHED, default_initiator_name
from iscsim.cli.units import UNIT_COLUMNS
from iscsim.errors import ConfigError, ConnectionFailed, SessionFailed

_ASK_S = 60.0
"""How long the keeper may take, besides what the portal does."""
_SESSION_COLUMNS = ("sid", "portal", "target", "state", "volume")
ConnectionInfoArgument = Annotated[
    Path,
    typer.Argument(
        metavar="CONNECTION_INFO.json", help="What cinder's initialize_connection returned; - is stdin."
    ),
]


def login(
    portal: PortalArgument,
    target: TargetArgument,
    initiator_name: InitiatorNameOption = "",
    user: UserOption = "",
    password: PasswordOption = "",
    login_timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="How long one attempt may take, connecting and logging in."),
    ] = 15,
    retries: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Go on for N login timeouts, as open-iscsi does for 8."),
    ] = 0,
    settings: SetOption = None,
    json: JSONOption = False,
) -> None:
    """Log in to a target and stay logged in.

    A process of its own keeps the session until iscsim logout, and logs in again when its connection is lost.

    With --retries 8 it takes as long as iscsiadm would to give up, and the error names iscsiadm's exit code.

    \b
    Examples:
      iscsim login 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk
      iscsim login 10.245.47.95 iqn.2026-11.org.iscsim:disk --login-timeout 5 --retries 4
      iscsim login 10.245.47.95 iqn.2026-11.org.iscsim:disk --set node.session.timeo.replacement_timeout=5
      ISCSIM_CHAP_PASSWORD=secret iscsim login 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk --user me
    """
    chap_of(user, password)
    if not 0 < login_timeout < float("inf"):
        raise ConfigError(f"--login-timeout must be more than 0 seconds, not {login_timeout:g}")
    name = initiator_name or default_initiator_name()
    given = parse_pairs(settings or [])
    node_settings(given)  # what is wrong is told before a keeper is started
    row = ask(
        "login",
        timeout_s=_ASK_S + login_timeout * (retries + 1),
        portal=portal,
        target=target,
        initiator_name=name,
        user=user,
        password=password,
        login_timeout=login_timeout,
        retries=retries,
        settings=given,
    )
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
        print(f"iscsim: {_why_none_ended()}", file=sys.stderr)
    for row in rows:
        print(f"session {row['sid']}: logged out of {row['target']} through {row['portal']}")


def _why_none_ended() -> str:
    match len(ask_if_running("sessions", [])):
        case 0:
            return "no sessions to log out of"
        case 1:
            return "1 session belongs to an attached volume: iscsim detach"
        case count:
            return f"{count} sessions belong to attached volumes: iscsim detach"


def sessions(
    detail: Annotated[
        bool,
        typer.Option("--detail", "-P", help="All of each session, as iscsiadm -m session -P 3 has it."),
    ] = False,
    json: JSONOption = False,
) -> None:
    """List the sessions that login and attach have left.

    One that lost its connection is FAILED until it has logged in again; after replacement_timeout it is FREE,
    and its commands fail. Those of attached volumes have no number, and no detail.
    """
    rows = ask_if_running("sessions", [], detail=detail)
    if detail and not json and rows:
        from iscsim.cli.kept_session import detail_text

        print("\n".join(detail_text(row) for row in rows if row["sid"] is not None))
        return
    columns = _SESSION_COLUMNS + (("reason",) if any(row["reason"] for row in rows) else ())
    print_rows(rows, columns, as_json=json, empty=NO_SESSIONS)


def paths(json: JSONOption = False) -> None:
    """Show the multipath devices and their paths, as multipath -ll does.

    Those of the disks of every session, and those of attached volumes.
    """
    rows = ask_if_running("maps", [])
    if json or not rows:
        print_rows(
            rows, (), as_json=json, empty="no multipath devices (iscsim login and iscsim attach make some)"
        )
        return
    print("\n".join(row["text"] for row in rows))


def rescan(json: JSONOption = False) -> None:
    """Show LUNs that were added or removed since the last scan.

    Every session that login and attach have left is scanned again; the command fails when one cannot be.
    """
    answer = ask_if_running("rescan", {"sessions": 0, "changes": [], "failed": []})
    changes, failed = answer["changes"], answer["failed"]
    empty = "nothing has changed" if answer["sessions"] else NO_SESSIONS
    if changes or json or not failed:
        print_rows(changes, ("sid", "portal", "change", *UNIT_COLUMNS), as_json=json, empty=empty)
    for row in failed:
        name = f"session {row['sid']}" if row["sid"] is not None else f"session of volume {row['volume']}"
        print(f"iscsim: {name} at {row['portal']}: {row['error']}", file=sys.stderr)
    if failed:
        raise SessionFailed(f"{len(failed)} of {answer['sessions']} sessions could not be scanned")


def _document(path: Path) -> Any:
    """The JSON of a file, or of stdin for ``-``, once it is known to be a connection_info.

    Read once, as a pipe can be.
    """
    from iscsim.openstack.connection_info import parse_connection_info

    name = "stdin" if path == STDIO else path
    try:
        content = sys.stdin.buffer.read() if path == STDIO else path.read_bytes()
        document = json_module.loads(content.decode("utf-8"))
        parse_connection_info(document)
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: not JSON: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    return document


def attach(connection_info: ConnectionInfoArgument, initiator_name: InitiatorNameOption = "") -> None:
    """Attach a volume from cinder's connection_info.

    Logs in on every path and prints the multipath device as JSON. The sessions stay until iscsim detach.
    A path that fails is reported in failed_paths and on stderr; the command fails when none works.

    Of a volume that is attached already the paths that do not work are tried again.

    \b
    Examples:
      iscsim attach connection_info.json
      iscsim attach - < connection_info.json
    """
    document = _document(connection_info)
    described = ask(
        "attach", connection_info=document, initiator_name=initiator_name or default_initiator_name()
    )
    already = described.pop("already_attached")
    working, failed = described["paths"], described["failed_paths"]
    for each in failed:
        print(f"iscsim: warning: {each['error']}", file=sys.stderr)
    if not working:
        raise ConnectionFailed("no path to the volume works")
    if already and failed:
        count = len(working) + len(failed)
        print(f"iscsim: note: already attached, {len(working)} of {count} paths work", file=sys.stderr)
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
