"""Commands that log in, do one thing, and log out: discover, luns, inquiry, read, write."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from iscsim.cli.arguments import (
    STDIO,
    DigestOption,
    InitiatorNameOption,
    JSONOption,
    LBAOption,
    LUNArgument,
    PasswordOption,
    PortalArgument,
    TargetArgument,
    UserOption,
    chap_of,
)
from iscsim.cli.blocks import Put, open_source, read_blocks, write_blocks
from iscsim.cli.output import Hexdump, cell, print_json, print_rows
from iscsim.cli.running import run
from iscsim.cli.runtime import NO_SESSIONS, default_initiator_name
from iscsim.cli.units import UNIT_COLUMNS, asking_unit, unit_row
from iscsim.errors import ConfigError

if TYPE_CHECKING:
    from iscsim.initiator.session import Session

Result = TypeVar("Result")


def discover(
    portal: PortalArgument,
    initiator_name: InitiatorNameOption = "",
    user: UserOption = "",
    password: PasswordOption = "",
    json: JSONOption = False,
) -> None:
    """List the targets a portal offers us (SendTargets).

    \b
    Examples:
      iscsim discover 127.0.0.1:3260
      iscsim discover storage.example --initiator-name iqn.1993-08.org.debian:01:host --json
    """
    from iscsim.initiator import discover as discover_targets

    found = run(
        discover_targets(
            portal,
            initiator_name=initiator_name or default_initiator_name(),
            chap=chap_of(user, password),
        )
    )
    rows = [
        {"portal": str(each), "portal_group_tag": each.tag, "target": target.name}
        for target in found
        for each in target.portals
    ]
    if json or not rows:
        print_rows(rows, (), as_json=json, empty=f"{portal} offers no target to {initiator_name or 'us'}")
        return
    for row in rows:  # as iscsiadm prints them
        print(f"{row['portal']},{row['portal_group_tag']} {cell(row['target'])}")


class _Login:
    """Where to log in, as the options say, for one piece of work."""

    def __init__(
        self, portal: str, target: str, initiator_name: str, user: str, password: str, digests: bool
    ) -> None:
        self._portal, self._target = portal, target
        self._options: dict[str, Any] = {
            "initiator_name": initiator_name or default_initiator_name(),
            "chap": chap_of(user, password),
        }
        if digests:
            self._options |= {"header_digest": True, "data_digest": True}

    def do(self, work: Callable[[Session], Awaitable[Result]]) -> Result:
        """Log in, do ``work`` with the session, log out."""

        async def main() -> Result:
            from iscsim.initiator import connect

            async with connect(self._portal, self._target, **self._options) as session:
                return await work(session)

        return run(main())


def luns(
    portal: Annotated[str | None, typer.Argument(metavar="HOST:PORT", help="Portal of the target.")] = None,
    target: Annotated[str | None, typer.Argument(metavar="TARGET", help="Name of the target.")] = None,
    initiator_name: InitiatorNameOption = "",
    user: UserOption = "",
    password: PasswordOption = "",
    digests: DigestOption = False,
    json: JSONOption = False,
) -> None:
    """List LUNs with their sizes and WWNs.

    Those of a target; without arguments, those of every session that login and attach have left.

    \b
    Examples:
      iscsim luns 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk
      iscsim luns --json
    """
    if portal is None:
        from iscsim.cli.keeper_client import ask_if_running

        rows = ask_if_running("luns", [])
        print_rows(rows, ("sid", "portal", "volume", *UNIT_COLUMNS), as_json=json, empty=NO_SESSIONS)
        return
    if target is None:
        raise ConfigError("which target? (iscsim discover lists them)")
    login = _Login(portal, target, initiator_name, user, password, digests)
    rows = [unit_row(unit) for unit in login.do(lambda session: session.scan())]
    print_rows(rows, UNIT_COLUMNS, as_json=json, empty=f"{target} shows us no LUN")


def inquiry(
    portal: PortalArgument,
    target: TargetArgument,
    lun: LUNArgument,
    page: Annotated[
        str | None,
        typer.Option(metavar="0x83", help="A vital product data page instead of the standard data."),
    ] = None,
    initiator_name: InitiatorNameOption = "",
    user: UserOption = "",
    password: PasswordOption = "",
    digests: DigestOption = False,
    json: JSONOption = False,
) -> None:
    """Show what a LUN says of itself (INQUIRY).

    \b
    Examples:
      iscsim inquiry 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk 1
      iscsim inquiry 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk 1 --page 0x83
    """
    number = None if page is None else _page_number(page)
    login = _Login(portal, target, initiator_name, user, password, digests)
    from iscsim.cli.inquiry import describe_inquiry

    async def describe(session: Session) -> dict[str, Any]:
        async with asking_unit(session, lun):
            return await describe_inquiry(session, lun, number)

    description = login.do(describe)
    if json:
        print_json(description)
        return
    width = max(map(len, description), default=0) + 1
    for key, value in description.items():
        for line in value if isinstance(value, list) else [value]:
            print(f"{key.replace('_', ' ') + ':':<{width}} {cell(line)}".rstrip())


def _page_number(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= 255:
        raise ConfigError(f"not a page: {text!r} (expected 0x00 to 0xff)")
    return number


def read(
    portal: PortalArgument,
    target: TargetArgument,
    lun: LUNArgument,
    lba: LBAOption = 0,
    blocks: Annotated[int, typer.Option(min=1, metavar="N", help="How many blocks.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write to; stdout without, or -."),
    ] = None,
    initiator_name: InitiatorNameOption = "",
    user: UserOption = "",
    password: PasswordOption = "",
    digests: DigestOption = False,
) -> None:
    """Read blocks to a file or to stdout.

    A terminal gets a hex dump.

    \b
    Examples:
      iscsim read 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk 1
      iscsim read 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk 1 --lba 8 --blocks 2048 -o piece
    """
    login = _Login(portal, target, initiator_name, user, password, digests)
    put: Put | Path
    if output is not None and output != STDIO:
        put = output
    elif output is None and sys.stdout.isatty():
        put = Hexdump().put
    else:
        stdout = sys.stdout.buffer
        put = lambda at, data: stdout.write(data)  # noqa: E731
    login.do(lambda session: read_blocks(session, lun, lba, blocks, put))


def write(
    portal: PortalArgument,
    target: TargetArgument,
    lun: LUNArgument,
    lba: LBAOption = 0,
    source: Annotated[
        Path | None,
        typer.Option("--input", "-i", metavar="FILE", help="File to read from; stdin without, or -."),
    ] = None,
    initiator_name: InitiatorNameOption = "",
    user: UserOption = "",
    password: PasswordOption = "",
    digests: DigestOption = False,
) -> None:
    """Write whole blocks from a file or from stdin.

    They are flushed to the medium.

    \b
    Examples:
      truncate -s 64M disk.img
      iscsim write 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk 1 --input disk.img
      head -c 4096 /dev/urandom | iscsim write 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk 1 --lba 8
    """
    login = _Login(portal, target, initiator_name, user, password, digests)
    with open_source(source) as content:
        blocks, length = login.do(lambda session: write_blocks(session, lun, lba, content))
    print(f"wrote {blocks} blocks ({length} bytes) at block {lba} of LUN {lun}", file=sys.stderr)
