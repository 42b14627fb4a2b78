"""What a failing test says of its world: how to run it again, what went wrong on purpose, what was said."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from iscsim.errors import ConfigError

if TYPE_CHECKING:
    from iscsim.faults.engine import Firing
    from iscsim.lab import Lab
    from iscsim.pytest_plugin.world import TestWorld

__all__ = ["describe", "replay_line"]

_LAST_PDUS = 20
_MOST_RUNS = 20


def describe(world: TestWorld) -> str:
    """Seed, replay line, faults, the last PDUs, and where the capture is."""
    lines = [f"seed {world.settings.seed}; again: {replay_line(world)}"]
    if world.lab is not None and hasattr(world.lab, "faults"):
        lines += _faults(world.lab)
    lines += _last_pdus(world)
    lines += [f"{what}: {path}" for what, path in (("capture", world.pcap), ("trace", world.trace)) if path]
    return "\n".join(lines)


def replay_line(world: TestWorld) -> str:
    """The command that runs this test again, with its seed."""
    item, config = world.item, world.item.config
    _, separator, rest = item.nodeid.partition("::")
    place = os.path.relpath(item.path, config.invocation_params.dir)
    node = re.sub(rf"(-|\[)seed{world.settings.seed}\]$", _rest_of_id, f"{place}{separator}{rest}")
    words = ["pytest", node, f"--iscsim-seed={world.settings.seed}"]
    network = config.getoption("--iscsim-network")
    words += [f"--iscsim-network={network}"] if network else []
    words += ["-c", config.option.inifilename] if config.option.inifilename else []
    words += [word for setting in config.option.override_ini or () for word in ("-o", setting)]
    return shlex.join(words)


def _rest_of_id(found: re.Match[str]) -> str:
    return "]" if found[1] == "-" else ""


def _faults(lab: Lab) -> Iterator[str]:
    firings = lab.faults.firings
    yield f"faults that fired: {len(firings) or 'none'}; stopped at {lab.now - lab.begun:g} s of the lab"
    runs = [list(run) for _, run in itertools.groupby(firings, key=lambda firing: firing.rule)]
    if len(runs) > _MOST_RUNS:
        yield f"  ... the last {_MOST_RUNS} rows:"
    yield from (f"  {_row(run, lab.begun)}" for run in runs[-_MOST_RUNS:])
    yield from (f"  {line}" for line in lab.unfired())


def _row(run: list[Firing], begun: float) -> str:
    """What one fault did without another between."""
    first, last = run[0], run[-1]
    row = f"{first.at - begun:.6f} s {first.comment}"
    return row if len(run) == 1 else f"{row} x{len(run)}, the last at {last.at - begun:.6f} s"


def _last_pdus(world: TestWorld) -> list[str]:
    if world.pcap is None:
        return ["no ladder without a capture (--iscsim-pcap=never)"]
    from iscsim.capture import ladder, pcap_events

    try:
        events = pcap_events(world.pcap)
    except ConfigError as error:  # a full disk, say: the test has failed for a reason of its own
        return [f"no ladder: {error}"]
    heading = f"the last {_LAST_PDUS} of {len(events)} PDUs:" if len(events) > _LAST_PDUS else "PDUs:"
    return [heading, ladder(events[-_LAST_PDUS:], zero_ns=_zero_ns(world)).rstrip()]


def _zero_ns(world: TestWorld) -> int | None:
    """When the lab was opened, as the capture has it: the same zero as that of the faults."""
    lab = world.lab
    if lab is None or not hasattr(lab, "faults"):
        return None
    from iscsim.capture.recorder import epoch_offset_s

    epoch_s = 0.0 if lab.network is not None else epoch_offset_s(lab.now)
    return int((epoch_s + lab.begun) * 1e9)
