"""``iscsim io``: put a load on a LUN, watch it, verify it, draw it."""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iscsim.cli.arguments import (
    DigestOption,
    InitiatorNameOption,
    JSONOption,
    PasswordOption,
    UserOption,
    chap_of,
)
from iscsim.cli.node_settings import SetOption, map_settings, node_settings, parse_pairs
from iscsim.cli.output import human_size, print_json
from iscsim.cli.running import run
from iscsim.cli.runtime import NOT_ATTACHED, default_initiator_name
from iscsim.errors import ConfigError, ConnectionFailed, ISCSIError, SCSIError

if TYPE_CHECKING:
    from iscsim.cli.load_faults import FaultWatch
    from iscsim.cli.load_paths import LoadPath, LoadUnit
    from iscsim.initiator.load.engine import Load
    from iscsim.initiator.load.outcome import LoadOutcome
    from iscsim.initiator.load.workload import Extent, Workload
    from iscsim.initiator.settings import NodeSettings

_DURATION_S = 10.0
_TERMINAL_EVERY_S, _PLAIN_EVERY_S = 1.0, 5.0
_INTERVALS, _SHORTEST_S, _LONGEST_S = 200, 0.1, 1.0


class LoadFailed(ISCSIError):
    """The load met an I/O error or a data error."""


def io(
    portal: Annotated[str | None, typer.Argument(metavar="HOST:PORT", help="Portal of the target.")] = None,
    target: Annotated[str | None, typer.Argument(metavar="TARGET", help="Name of the target.")] = None,
    lun: Annotated[
        int | None,
        typer.Argument(metavar="LUN", min=0, max=(1 << 24) - 1, help="Number of the logical unit."),
    ] = None,
    more_portals: Annotated[
        list[str] | None,
        typer.Option("--portal", metavar="HOST:PORT[/TARGET]", help="One more path to it. May be repeated."),
    ] = None,
    volume: Annotated[
        str, typer.Option(metavar="WWN", help="The paths of a volume that iscsim attach has attached.")
    ] = "",
    policy: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="path_grouping_policy: failover, multibus...; without, as the array needs."
        ),
    ] = "",
    block_size: Annotated[
        str, typer.Option("--block-size", "-b", metavar="SIZE", help="Bytes of a request, as 4K or 1M.")
    ] = "4K",
    depth: Annotated[int, typer.Option("--depth", "-d", metavar="N", help="Requests at once.")] = 32,
    write: Annotated[bool, typer.Option("--write", help="Write too: OVERWRITES the blocks.")] = False,
    reads: Annotated[
        int | None,
        typer.Option(metavar="PERCENT", help="Share of reads; 100, and with --write 50 unless given."),
    ] = None,
    sequential: Annotated[bool, typer.Option("--sequential", help="One block after the other.")] = False,
    lba: Annotated[int, typer.Option("--lba", metavar="N", min=0, help="First block.")] = 0,
    range_size: Annotated[
        str, typer.Option("--range", metavar="SIZE", help="How much of the LUN, as 64M; to its end without.")
    ] = "",
    duration: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="For how long; 10, unless --count ends it.")
    ] = None,
    count: Annotated[int | None, typer.Option(metavar="N", help="How many requests.")] = None,
    rate: Annotated[float | None, typer.Option(metavar="N", help="Requests per second at most.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Write a pattern, and check every block that is read.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of the order and of the pattern; by chance without.")
    ] = None,
    max_errors: Annotated[int | None, typer.Option(metavar="N", help="End after so many I/O errors.")] = None,
    control: Annotated[
        Path | None,
        typer.Option(metavar="SOCKET", help="That of iscsim serve --control: marks its faults."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.svg", help="Draw throughput and latency over time (or .png, .pdf)."),
    ] = None,
    settings: SetOption = None,
    initiator_name: InitiatorNameOption = "",
    user: UserOption = "",
    password: PasswordOption = "",
    digests: DigestOption = False,
    json: JSONOption = False,
) -> None:
    """Put a load on a LUN: IOPS, MB/s and latencies per path; with --verify, whether the data are right.

    Reads only, unless --write allows to overwrite. Several portals are paths to one device. Ctrl-C ends the
    load and shows the summary. The exit code is 1 when a request failed or a block was wrong.

    \b
    Examples:
      iscsim io 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk 1 --duration 5
      iscsim io 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk 1 -b 128K -d 8 --sequential
      iscsim io 127.0.0.1:3260 iqn.2026-11.org.iscsim:disk 1 --portal 127.0.0.1:3261 --write --verify
    """
    if chap_of(user, password) is None:  # a password may just lie in the environment
        user = password = ""
    paths, credentials = _where(portal, target, lun, more_portals or [], volume)
    user, password = (user, password) if user else credentials
    node, changes = _settings(settings or [], user, password, digests=digests, paths=len(paths))
    if policy:
        changes |= map_settings({"path_grouping_policy": policy})
    if verify and not write and seed is None:
        raise ConfigError("--verify of reads alone needs the --seed of the run that wrote")
    if not write and reads not in (None, 100):
        raise ConfigError(f"--reads {reads} needs --write, which allows to overwrite blocks")
    wanted: dict[str, Any] = {
        "request_length": _size("--block-size", block_size),
        "depth": depth,
        "read_share": (50 if write else 100) if reads is None else reads,
        "sequential": sequential,
        "first_lba": lba,
        "duration_s": _DURATION_S if duration is None and count is None else duration,
        "count": count,
        "rate": rate,
        "verify": verify,
        "seed": secrets.randbits(32) if seed is None else seed,
        "max_errors": max_errors,
    }
    wanted["interval_s"] = _interval(wanted["duration_s"])
    if plot is not None:
        from iscsim.cli.load_plot import prepare

        prepare(plot)
    login = {"initiator_name": initiator_name or default_initiator_name(), "map_changes": changes}
    work = _Work(paths, node, login, wanted, range_size, control, as_json=json)
    outcome = run(work.run())
    _finish(outcome, work.title, plot, as_json=json)


def _settings(
    texts: list[str], user: str, password: str, *, digests: bool, paths: int
) -> tuple[NodeSettings, dict[str, Any]]:
    """What ``--set`` says of sessions, and of the map. With several paths a lost one waits for 5 s only."""
    from iscsim.initiator.multipath.hardware import FAST_IO_FAIL_S

    given = parse_pairs(texts)
    node = {name: value for name, value in given.items() if name.startswith("node.")}
    if digests:
        node = {"node.conn[0].iscsi.HeaderDigest": "CRC32C", "node.conn[0].iscsi.DataDigest": "CRC32C"} | node
    node = {"node.session.initial_login_retry_max": "0"} | node
    if paths > 1:
        node = {"node.session.timeo.replacement_timeout": str(FAST_IO_FAIL_S)} | node
    others = {name: value for name, value in given.items() if not name.startswith("node.")}
    return node_settings(node, user=user, password=password), map_settings(others)


def _size(option: str, text: str) -> int:
    from iscsim.target.options import parse_size

    try:
        return parse_size(text)
    except ConfigError as error:
        raise ConfigError(f"{option}: {error}") from None


def _interval(duration_s: float | None) -> float:
    """How long the pieces of time are that a picture is made of."""
    return min(max((duration_s or _LONGEST_S * _INTERVALS) / _INTERVALS, _SHORTEST_S), _LONGEST_S)


def _where(
    portal: str | None, target: str | None, lun: int | None, more: list[str], volume: str
) -> tuple[list[LoadPath], tuple[str, str]]:
    """The paths, and the CHAP user and password of those that are an attached volume's."""
    from iscsim.cli.load_paths import LoadPath

    if volume:
        if portal is not None or more:
            raise ConfigError("--volume has its portals already: name no other")
        return _attached(volume)
    if portal is None or target is None or lun is None:
        raise ConfigError("which LUN? HOST:PORT TARGET LUN, or --volume WWN (iscsim attach)")
    paths = [LoadPath(portal, target, lun)]
    for each in more:
        address, _, name = each.partition("/")
        paths.append(LoadPath(address, name or target, lun))
    return list(dict.fromkeys(paths)), ("", "")


def _attached(wwn: str) -> tuple[list[LoadPath], tuple[str, str]]:
    from iscsim.cli.keeper_client import ask_if_running
    from iscsim.cli.load_paths import LoadPath

    found = ask_if_running("volume_paths", None, wwn=wwn)
    if found is None:
        raise ConnectionFailed(NOT_ATTACHED)
    paths = [LoadPath(row["portal"], row["target"], row["lun"]) for row in found["paths"]]
    return paths, (found["user"], found["password"])


class _Work:
    """One load from the login to the logout."""

    def __init__(
        self,
        paths: list[LoadPath],
        node: NodeSettings,
        login: dict[str, Any],
        wanted: dict[str, Any],
        range_size: str,
        control: Path | None,
        *,
        as_json: bool,
    ) -> None:
        self._paths, self._node, self._login = paths, node, login
        self._wanted, self._range = wanted, range_size
        self._watch = self._fault_watch(control)
        self._as_json = as_json
        self.title = ""

    @staticmethod
    def _fault_watch(control: Path | None) -> FaultWatch | None:
        if control is None:
            return None
        from iscsim.cli.load_faults import FaultWatch

        return FaultWatch(control)

    async def run(self) -> LoadOutcome:
        """Log in, put it on, log out."""
        from iscsim.cli.load_paths import open_unit

        async with AsyncExitStack() as stack:
            unit = await open_unit(
                stack, self._paths, self._node, interval_s=self._wanted["interval_s"], **self._login
            )
            workload = self._workload(unit)
            load = self._load(unit, workload)
            self._say(unit, load.workload, load.extent)
            return await self._put_on(load, unit)

    def _workload(self, unit: LoadUnit) -> Workload:
        from iscsim.initiator.load.workload import Workload

        blocks = None
        if self._range:
            length = _size("--range", self._range)
            blocks, rest = divmod(length, unit.unit.block_size or 1)
            if rest:
                raise ConfigError(f"--range {self._range}: blocks have {unit.unit.block_size} bytes")
        if self._wanted["read_share"] < 100 and unit.unit.read_only:
            raise SCSIError(f"LUN {unit.unit.number} is read-only")
        return Workload(blocks=blocks, **self._wanted)

    def _load(self, unit: LoadUnit, workload: Workload) -> Load:
        from iscsim.initiator.load.engine import Load

        if not unit.unit.block_size:
            raise SCSIError(f"LUN {unit.unit.number} has no blocks to read")
        load = Load(
            unit.device,
            workload,
            blocks=unit.unit.blocks,
            block_size=unit.unit.block_size,
            dice=random.Random(workload.seed),
            paths=unit.statistics,
            name=unit.name,
            clock=time.perf_counter,
        )
        unit.measure(load)
        return load

    def _say(self, unit: LoadUnit, workload: Workload, extent: Extent) -> None:
        from iscsim.cli.load_report import workload_line

        where = f"LUN {unit.unit.number} of {self._paths[0].target}"
        self.title = f"{where}: {workload_line(workload, extent)}"
        if workload.read_share < 100:
            size = human_size(extent.blocks * extent.block_size)
            wwn = f" ({unit.unit.wwn})" if unit.unit.wwn else ""
            sys.stderr.write(
                f"iscsim: note: blocks {extent.first_lba} to {extent.last_lba} ({size}) of {where}{wwn}"
                " are overwritten\n"
            )
        if not self._as_json:
            print(self.title, flush=True)

    async def _put_on(self, load: Load, unit: LoadUnit) -> LoadOutcome:
        from iscsim.cli.load_report import Progress

        stream = sys.stderr if self._as_json else sys.stdout
        every_s = _TERMINAL_EVERY_S if stream.isatty() else _PLAIN_EVERY_S
        with Progress(every_s, unit.states, stream) as progress, _stopping(load):
            load.on_interval = progress
            watches = [unit.watch(load), *([self._watch.watch(load)] if self._watch else [])]
            watchers = [asyncio.ensure_future(each) for each in watches]
            try:
                return await load.run()
            finally:
                for watcher in watchers:
                    watcher.cancel()
                await asyncio.gather(*watchers, return_exceptions=True)


@contextmanager
def _stopping(load: Load) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the load; a second one ends everything."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if stopped and task is not None:
            task.cancel()
        stopped = True
        load.stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _finish(outcome: LoadOutcome, title: str, plot: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json(outcome.as_json())
    else:
        from iscsim.cli.load_report import print_summary

        print_summary(outcome)
    sys.stdout.flush()
    if plot is not None:
        from iscsim.cli.load_plot import draw

        draw(outcome, title, plot)
        sys.stderr.write(f"iscsim: note: picture in {plot}\n")
    troubles = outcome.troubles
    if troubles:
        counts = []
        if troubles.bad_blocks:
            counts.append(f"{troubles.bad_blocks} blocks with wrong data")
        if troubles.failed_requests:
            counts.append(f"{troubles.failed_requests} requests failed")
        raise LoadFailed(", ".join(counts))
