"""``iscsim serve``: what its options mean; :mod:`iscsim.cli.serving` does the work."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iscsim.errors import ConfigError

if TYPE_CHECKING:
    from iscsim.target.config import ServeConfig
    from iscsim.target.options import InitiatorSpec


def serve(
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="TOML file that describes the targets.")
    ] = None,
    portal: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 picks a free one. May be repeated."),
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="IQN", help="Name of the target.")] = None,
    lun: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N=SPEC",
            help="A size (1=64M) or a path, then ,key=value: readonly removable thin thick block_size"
            " physical_block_exponent wsnz erase_time long_cdbs size wwn serial tpgs name owner"
            " failover_mode. May be repeated.",
        ),
    ] = None,
    initiator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IQN[:USER:PASSWORD]",
            help="Who may log in, and its CHAP; * is anybody. Without: everybody. May be repeated.",
        ),
    ] = None,
    redirect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PORTAL=ADDRESS[,permanent]",
            help="Send logins at PORTAL to ADDRESS; each is HOST:PORT or the number of a --portal, and PORTAL"
            " may be * for all. May be repeated.",
        ),
    ] = None,
    personality: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose habits it has: rfc, lio, tgt or vnx.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where persistent reservations survive a restart (APTPL)."),
    ] = None,
    pcap: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Capture every session to a pcapng file.")
    ] = None,
    control: Annotated[
        Path | None,
        typer.Option(
            metavar="SOCKET",
            help="Answer JSON-RPC there, for iscsim target, fault and top; auto is where they look for it.",
        ),
    ] = None,
    empty: Annotated[
        bool, typer.Option("--empty", help="Begin without a target: they come over the control socket.")
    ] = False,
    metrics: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Answer Prometheus there; port 0 is a free one.")
    ] = None,
    run_command: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="COMMAND",
            help="Serve while COMMAND runs in a shell with $uri, $uri2, $portal, $portal2 and $target set,"
            " then exit with its status.",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every login.")] = False,
) -> None:
    """Serve a target until interrupted, or while a command runs.

    Without options: one LUN of 64 MiB in memory on 127.0.0.1:3260, open to everybody.

    \b
    Examples:
      iscsim serve --lun 1=64M
      iscsim serve --lun 0=disk.img,readonly --lun 1=1T,thin --pcap a.pcapng
      iscsim serve --portal 127.0.0.1:0 --portal 127.0.0.1:0 --run 'iscsi-ls -s iscsi://$portal'
      iscsim serve --empty --control auto --metrics 127.0.0.1:9260
      iscsim serve --initiator 'iqn.1993-08.org.debian:01:host:user:long-secret'
    """
    from iscsim.cli.running import run
    from iscsim.cli.runtime import control_socket
    from iscsim.cli.serving import serve_until_done
    from iscsim.session.names import parse_portal
    from iscsim.target.config import build
    from iscsim.target.state import StateDirectory

    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="iscsim: %(message)s")
    plan = _plan(config, portal, target, lun, initiator, redirect, personality)
    plan.state = str(state) if state is not None else plan.state
    if empty:
        _check_empty(control, config, portal, target, lun, initiator, redirect)
    control = control_socket() if control == Path("auto") else control
    where = None if metrics is None else parse_portal(metrics, default_port=None)
    with ExitStack() as stack:
        directory = stack.enter_context(StateDirectory(plan.state)) if plan.state else None
        # a captive target must not collide with another one: its port is a free one unless it was given
        port = 0 if run_command is not None else 3260
        entity, targets = build(plan, default_port=port, state=directory, empty=empty)
        for spec in (each for served in targets for each in served.initiators if each.ambiguous):
            _warn_ambiguous(spec)
        keep = None if directory is None else directory.keep
        serving = serve_until_done(entity, targets, pcap, control, run_command, metrics=where, keep=keep)
        raise typer.Exit(run(serving))


def _check_empty(control: Path | None, *described: object) -> None:
    if control is None:
        raise ConfigError("--empty needs --control: from where else should targets come")
    if any(described):
        raise ConfigError("--empty is without a target: what describes one does not go with it")


def _warn_ambiguous(spec: InitiatorSpec) -> None:
    print(
        f"iscsim: note: initiator {spec}; if those colons belong to the name, end it with '::'",
        file=sys.stderr,
    )


def _plan(
    config: Path | None,
    portals: list[str] | None,
    target: str | None,
    luns: list[str] | None,
    initiators: list[str] | None,
    redirects: list[str] | None,
    personality: str | None,
) -> ServeConfig:
    """The file with the options over it: they are about its first target."""
    from iscsim.target.config import ServeConfig, TargetConfig, read_config

    plan = read_config(config) if config else ServeConfig()
    plan.targets = plan.targets or [TargetConfig()]
    first = plan.targets[0]
    first.name = target or first.name
    first.portals = portals or first.portals
    first.luns = luns or first.luns
    first.initiators = initiators or first.initiators
    first.redirects = redirects or first.redirects
    plan.personality = personality or plan.personality
    return plan
