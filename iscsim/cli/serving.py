"""What ``iscsim serve`` does once it knows what: listen, show how to get there, run the command, end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from errno import EADDRINUSE
from pathlib import Path

from iscsim.cli.errors import EnvironmentFailure
from iscsim.cli.output import human_size
from iscsim.cli.recording import open_recorder
from iscsim.lab.serve_faults import ServedFaults
from iscsim.net.metrics import MetricsServer
from iscsim.net.network import Recorder
from iscsim.net.reasons import reason_of
from iscsim.net.rpc import Method, RPCServer
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.nexus import MappedLUN
from iscsim.session.names import format_portal
from iscsim.target.administration.control import TargetControl
from iscsim.target.config import ServedTarget
from iscsim.target.node import NetworkEntity, Portal, TargetNode
from iscsim.target.options import ANYBODY
from iscsim.target.server import TargetServer

_GRACE_S = 5.0
"""How long ``--run``'s command may take to end once it was told to."""


async def serve_until_done(
    entity: NetworkEntity,
    targets: list[ServedTarget],
    pcap: Path | None,
    control: Path | None,
    command: str | None,
    *,
    metrics: tuple[str, int] | None = None,
    keep: Callable[[LogicalUnit], None] | None = None,
) -> int:
    """Serve until a signal or the control socket says stop, or ``command`` has ended; the exit status.

    ``metrics`` is where Prometheus may ask; ``keep`` has the registrations of units to come survive.

    Raises:
        ConfigError: the capture cannot be written.
        EnvironmentFailure: a portal, the control socket or ``metrics`` cannot be listened on.
    """
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        recorder = None if pcap is None else stack.enter_context(open_recorder(pcap))
        faults = ServedFaults(entity) if control is not None else None
        server = _server(entity, recorder, faults)
        await _start(server)
        stack.push_async_callback(server.shut_down)
        administration = TargetControl(server, stop.set, keep=keep)
        if control is not None:
            methods = administration.methods | (faults.methods if faults else {})
            await _listen_for_control(stack, control, methods)
        if metrics is not None:
            await _offer_metrics(stack, administration, *metrics)
        stack.enter_context(_interrupts(stop))
        if command is not None:
            variables = environment(targets[0]) if targets else {}
            if control is not None:
                variables |= {"control": str(control), "ISCSIM_CONTROL": str(control)}
            return await _run(command, variables, stop)
        _first_screen(entity, targets, control)
        await stop.wait()
        return 0


async def _start(server: TargetServer) -> None:
    try:
        await server.start()
    except OSError as error:
        hint = " (--portal chooses another)" if error.errno == EADDRINUSE else ""
        raise EnvironmentFailure(f"cannot listen on {error.filename}: {reason_of(error)}{hint}") from error


def _server(entity: NetworkEntity, recorder: Recorder | None, faults: ServedFaults | None) -> TargetServer:
    """Faults can only come through the control socket, and cost next to nothing before they come."""
    if faults is None:
        return TargetServer(entity, recorder=recorder)
    server = TargetServer(
        entity, recorder=recorder, network=faults.served_network, taps=faults.taps, may_be_empty=True
    )
    faults.use(server)
    return server


async def _listen_for_control(stack: AsyncExitStack, path: Path, methods: Mapping[str, Method]) -> None:
    server = RPCServer(path, methods)
    try:
        await server.start()
    except OSError as error:
        raise EnvironmentFailure(f"cannot listen on {path}: {reason_of(error)}") from error
    stack.push_async_callback(server.close)


async def _offer_metrics(stack: AsyncExitStack, control: TargetControl, host: str, port: int) -> None:
    server = MetricsServer(control.counters)
    try:
        host, port = await server.start(host, port)
    except OSError as error:
        where = format_portal(host, port)
        raise EnvironmentFailure(f"cannot listen on {where}: {reason_of(error)}") from error
    stack.push_async_callback(server.close)
    print(f"metrics  http://{format_portal(host, port)}/metrics", flush=True)


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
    # Of a shell's children a signal to the shell says nothing: it goes to a group of their own. A command
    # that reads the terminal must stay in the terminal's group, where Ctrl-C reaches it anyway.
    own_group = not os.isatty(0)
    process = await asyncio.create_subprocess_shell(
        command, env={**os.environ, **variables}, start_new_session=own_group
    )
    ended, stopped = asyncio.ensure_future(process.wait()), asyncio.ensure_future(stop.wait())
    await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not ended.done():
        await _terminate(process.pid, ended, own_group=own_group)
    status = await ended
    return status if status >= 0 else 128 - status  # as a shell reports a signal


async def _terminate(pid: int, ended: asyncio.Future[int], *, own_group: bool) -> None:
    send = os.killpg if own_group else os.kill
    with suppress(ProcessLookupError):
        send(pid, signal.SIGTERM)
        _, waiting = await asyncio.wait([ended], timeout=_GRACE_S)
        if waiting:
            send(pid, signal.SIGKILL)


def environment(served: ServedTarget) -> dict[str, str]:
    """``uri``, ``uri2``, ``portal``, ``portal2`` and ``target``, for ``--run`` and for the first screen."""
    places = [
        (portal, node.name)
        for node in served.nodes
        for group in node.portal_groups.values()
        for portal in group.portals
    ]
    number = served.luns[0].number
    credentials = next((f"{spec.user}%{spec.password}@" for spec in served.initiators if spec.user), "")
    values = {"target": served.node.name}
    for suffix, (portal, name) in zip(("", "2"), places, strict=False):
        where = shown(portal)
        values[f"portal{suffix}"] = where
        values[f"uri{suffix}"] = f"iscsi://{credentials}{where}/{name}/{number}"
    return values


def shown(portal: Portal) -> str:
    """``host:port`` to reach a portal from this machine."""
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return format_portal(wildcard.get(portal.address, portal.address), portal.port)


def _show_node(node: TargetNode, personality: str) -> None:
    print(f"target   {node.name}  (personality {personality})")
    for tag, group in node.portal_groups.items():
        for portal in group.portals:
            redirect = node.redirect_of(portal, portal.address)
            sent_on = f"  (redirects to {redirect.shown_at(portal.address)})" if redirect else ""
            print(f"portal   {portal},{tag}{sent_on}")


def _first_screen(entity: NetworkEntity, targets: list[ServedTarget], control: Path | None) -> None:
    for served in targets:
        for node in served.nodes:
            _show_node(node, entity.policy.name)
        for mapped in served.node.lun_map:
            print(f"LUN {mapped.number:<4} {_described(mapped)}")
        for spec in served.initiators:
            print(f"allowed  {spec}")
        if not served.initiators:
            print("allowed  every initiator, no CHAP")
        for number, line in enumerate(_to_try(served)):
            print(f"{'' if number else 'try':<8} {line}")
    if control is not None:
        print(f"control  {control}")
    print("stop     Ctrl-C", flush=True)


def _described(mapped: MappedLUN) -> str:
    unit = mapped.logical_unit
    what = {"read-only": mapped.read_only, "thin": unit.thin, "removable": unit.removable}
    size = f"{human_size(unit.blocks * unit.block_size)}, blocks of {unit.block_size}"
    return ", ".join([size, f"WWN 3{unit.wwn}", *(name for name, holds in what.items() if holds)])


def _to_try(served: ServedTarget) -> list[str]:
    """Commands that work as they are shown, but for the secret."""
    where, name, lun = environment(served)["portal"], served.node.name, served.luns[0].number
    luns, uri = f"iscsim luns {where} {name}", f"{where}/{name}/{lun}"
    if not served.initiators:
        iscsiadm = f"iscsiadm -m discovery -t sendtargets -p {where}"
        return [luns, f"iscsi-inq iscsi://{uri}", f"qemu-img info iscsi://{uri}", iscsiadm]
    spec, inq = served.initiators[0], "iscsi-inq"
    if spec.name != ANYBODY:
        luns, inq = f"{luns} --initiator-name {spec.name}", f"{inq} -i {spec.name}"
    if spec.user:
        luns, uri = f"ISCSIM_CHAP_PASSWORD=... {luns} --user {spec.user}", f"{spec.user}%...@{uri}"
    return [luns, f"{inq} iscsi://{uri}"]
