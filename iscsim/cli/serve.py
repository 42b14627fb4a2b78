"""``iscsim serve``: a target on this machine's network, on its own or around one command."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from iscsim.cli.errors import EnvironmentFailure
from iscsim.net.runner import run
from iscsim.session.names import format_portal
from iscsim.target.config import ServeConfig, ServedTarget, TargetConfig, build, read_config
from iscsim.target.node import NetworkEntity, Portal
from iscsim.target.options import InitiatorSpec
from iscsim.target.server import TargetServer

_GRACE_S = 5.0
"""How long ``--run``'s command may take to end once it was told to."""


def serve(
    config: Annotated[Path | None, typer.Option(help="TOML file that describes the targets.")] = None,
    portal: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 picks a free one. May be repeated."),
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="IQN", help="Name of the target.")] = None,
    lun: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N=SPEC",
            help="A size (1=64M) or a path, then ,key=value: readonly removable thin block_size"
            " size wwn serial. May be repeated.",
        ),
    ] = None,
    initiator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IQN[:USER:PASSWORD]",
            help="Who may log in, and its CHAP; * is anybody. Without: everybody.",
        ),
    ] = None,
    personality: Annotated[str | None, typer.Option(metavar="NAME", help="rfc, lio or tgt.")] = None,
    pcap: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Capture every session to a pcapng file.")
    ] = None,
    control: Annotated[
        Path | None, typer.Option(metavar="SOCKET", help="Answer JSON-RPC there: targets, sessions, stop.")
    ] = None,
    run_command: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="COMMAND",
            help="Serve while COMMAND runs in a shell with $uri, $uri2, $portal and $target set,"
            " then exit with its status.",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every login.")] = False,
) -> None:
    """Serve a target until interrupted, or while a command runs.

    Without options: one LUN of 64 MiB in memory on 127.0.0.1:3260, open to everybody.

    Examples:

      iscsim serve --lun 1=64M

      iscsim serve --portal 127.0.0.1:0 --portal 127.0.0.1:0 --lun 1=disk.img --run 'iscsi-inq $uri'
    """
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="iscsim: %(message)s")
    plan = _plan(config, portal, target, lun, initiator, personality)
    # a captive target must not collide with another one: its port is a free one unless it was given
    entity, targets = build(plan, default_port=0 if run_command is not None else 3260)
    for spec in (each for served in targets for each in served.initiators if each.ambiguous):
        _warn_ambiguous(spec)
    raise typer.Exit(run(_serve(entity, targets, pcap, control, run_command)))


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
    personality: str | None,
) -> ServeConfig:
    plan = read_config(config) if config else ServeConfig()
    plan.targets = plan.targets or [TargetConfig()]
    first = plan.targets[0]
    first.name = target or first.name
    first.portals = portals or first.portals
    first.luns = luns or first.luns
    first.initiators = initiators or first.initiators
    plan.personality = personality or plan.personality
    return plan


async def _serve(
    entity: NetworkEntity,
    targets: list[ServedTarget],
    pcap: Path | None,
    control: Path | None,
    command: str | None,
) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    async with AsyncExitStack() as stack:
        recorder = None
        if pcap is not None:
            from iscsim.capture import Recorder, epoch_offset_s

            recorder = stack.enter_context(Recorder(pcap, epoch_offset_s=epoch_offset_s(loop.time())))
        server = TargetServer(entity, recorder=recorder)
        await _start(server)
        stack.push_async_callback(server.close)
        if control is not None:
            await _listen_for_control(stack, control, entity, stop)
        stack.enter_context(_interrupts(stop))
        if command is not None:
            variables = environment(targets[0]) | ({"control": str(control)} if control else {})
            return await _run(command, variables, stop)
        _first_screen(entity, targets, control)
        await stop.wait()
        return 0


async def _start(server: TargetServer) -> None:
    try:
        await server.start()
    except OSError as error:
        portals = ", ".join(str(portal) for portal in server.entity.portals)
        raise EnvironmentFailure(f"cannot listen on {portals}: {os.strerror(error.errno or 0)}") from error


async def _listen_for_control(
    stack: AsyncExitStack, path: Path, entity: NetworkEntity, stop: asyncio.Event
) -> None:
    from iscsim.net.rpc import RPCServer
    from iscsim.target.admin import TargetAdmin

    server = RPCServer(path, TargetAdmin(entity, stop.set).methods)
    try:
        await server.start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise EnvironmentFailure(f"cannot listen on {path}: {reason}") from error
    stack.push_async_callback(server.close)


@contextmanager
def _interrupts(handler: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handler.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _run(command: str, variables: dict[str, str], stop: asyncio.Event) -> int:
    """Run ``command`` in a shell with ``variables`` in its environment; returns its status."""
    process = await asyncio.create_subprocess_shell(command, env={**os.environ, **variables})
    ended, stopped = asyncio.ensure_future(process.wait()), asyncio.ensure_future(stop.wait())
    await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not ended.done():
        await _terminate(process, ended)
    status = await ended
    return status if status >= 0 else 128 - status  # as a shell reports a signal


async def _terminate(process: asyncio.subprocess.Process, ended: asyncio.Future[int]) -> None:
    process.terminate()
    _, waiting = await asyncio.wait([ended], timeout=_GRACE_S)
    if waiting:
        process.kill()


def environment(served: ServedTarget) -> dict[str, str]:
    """``uri``, ``uri2``, ``portal``, ``portal2`` and ``target``, for ``--run`` and for the first screen."""
    node = served.node
    portals = [portal for group in node.portal_groups.values() for portal in group.portals]
    number = served.luns[0].number
    credentials = next((f"{spec.user}%{spec.password}@" for spec in served.initiators if spec.user), "")
    values = {"target": node.name}
    for suffix, portal in zip(("", "2"), portals, strict=False):
        where = shown(portal)
        values[f"portal{suffix}"] = where
        values[f"uri{suffix}"] = f"iscsi://{credentials}{where}/{node.name}/{number}"
    return values


def shown(portal: Portal) -> str:
    """``host:port`` to reach a portal from this machine."""
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return format_portal(wildcard.get(portal.address, portal.address), portal.port)


def _first_screen(entity: NetworkEntity, targets: list[ServedTarget], control: Path | None) -> None:
    for served in targets:
        node = served.node
        print(f"target   {node.name}  (personality {entity.policy.name})")
        for tag, group in node.portal_groups.items():
            for portal in group.portals:
                print(f"portal   {portal},{tag}")
        for mapped in node.lun_map:
            unit = mapped.logical_unit
            size = f"{unit.blocks * unit.block_size / (1 << 20):g} MiB, blocks of {unit.block_size}"
            print(
                f"LUN {mapped.number:<4} {size}, WWN 3{unit.wwn}{', read-only' if mapped.read_only else ''}"
            )
        for spec in served.initiators:
            print(f"allowed  {spec}")
        if not served.initiators:
            print("allowed  every initiator, no CHAP")
        where, first = environment(served)["portal"], served.luns[0].number
        print("try      iscsim luns", where, node.name)
        print(f"         iscsi-inq iscsi://{where}/{node.name}/{first}")
        print(f"         qemu-img info iscsi://{where}/{node.name}/{first}")
        print(f"         iscsiadm -m discovery -t sendtargets -p {where}")
    if control is not None:
        print(f"control  {control}")
    print("stop     Ctrl-C", flush=True)
