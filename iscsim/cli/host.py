"""``iscsim host exec``: an unmodified program on an emulated Linux host."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iscsim.cli.errors import EnvironmentFailure
from iscsim.errors import ConfigError

if TYPE_CHECKING:
    from iscsim.lab.scenario import Scenario

host = typer.Typer(name="host", no_args_is_help=True, rich_markup_mode=None)


@host.callback()
def _group() -> None:
    """Run unmodified programs on an emulated Linux host.

    Its commands (iscsiadm, multipath, lsblk, ...) act on real iSCSI sessions with the targets of a lab, which
    lives as long as the program. No root, no kernel modules: it takes unshare, bwrap or proot.
    """


@host.command(name="exec", context_settings={"allow_interspersed_args": False})
def exec_(
    command: Annotated[list[str], typer.Argument(metavar="CMD", help="The program, after --.")],
    lab: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="A scenario: its targets, hosts and faults, not its steps."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--host", metavar="NAME", help="Which host of it; the first, without.")
    ] = None,
    pcap: Annotated[Path | None, typer.Option(metavar="FILE", help="Capture to a pcapng file.")] = None,
    way: Annotated[
        str | None,
        typer.Option(metavar="WAY", help="unshare, bwrap or proot; the first that works, without."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show each command of the host.")] = False,
) -> None:
    """Run an unmodified program on an emulated host, and exit as it does.

    Without --lab the host is newton, 10.245.47.10, and there is an array with the portals 10.245.47.95 and
    10.245.47.96 and LUN 197. Disks and maps are at $ISCSIM_NBD, a UNIX socket, for nbd clients.

    \b
    Examples:
      iscsim host exec -- sh -c 'iscsiadm -m discovery -t st -p 10.245.47.95; iscsiadm -m node -l; lsblk'
      iscsim host exec --lab docs/examples/silent-portal.toml --host compute -- bash
    """
    from iscsim.cli.running import run
    from iscsim.host.exec import NoNamespace
    from iscsim.host.exec.namespaces import WAYS
    from iscsim.lab.linux_host import SEEDS
    from iscsim.lab.scenario import parse_scenario, read_scenario

    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, format="iscsim: %(message)s")
    if not verbose:
        logging.getLogger("iscsim.host").setLevel(logging.WARNING)
    if way is not None and way not in WAYS:
        raise ConfigError(f"--way is {way!r:.60}, expected one of {', '.join(WAYS)}")
    plan = parse_scenario(SEEDS) if lab is None else read_scenario(lab)
    try:
        status = run(_execute(plan, name, pcap, command, [way] if way else list(WAYS)))
    except NoNamespace as error:
        raise EnvironmentFailure(str(error)) from None
    raise typer.Exit(status)


async def _execute(
    plan: Scenario, name: str | None, pcap: Path | None, command: list[str], ways: list[str]
) -> int:
    from iscsim.host.exec import execute_program
    from iscsim.lab.linux_host import build_host
    from iscsim.lab.world import Lab

    world = Lab("memory", seed=plan.seed, pcap=pcap, latency_s=plan.latency_s or 0.0, judge=False)
    async with world as lab:
        return await execute_program(await build_host(lab, plan, name), command, ways=ways)
