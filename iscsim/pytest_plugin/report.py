"""What a failing test says of its world: how to run it again, what went wrong on purpose, what was said."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from iscsim.errors import ConfigError

if TYPE_CHECKING:
    from iscsim.lab import Lab
    from iscsim.pytest_plugin.world import TestWorld

__all__ = ["describe", "replay_line"]

_LAST_PDUS = 20
_MOST_FIRINGS = 20


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
    node = re.sub(rf"(-|\[)seed{world.settings.seed}\]$", _rest_of_id, world.item.nodeid)
    words = ["pytest", node, f"--iscsim-seed={world.settings.seed}"]
    network = world.item.config.getoption("--iscsim-network")
    return shlex.join([*words, f"--iscsim-network={network}"] if network else words)


def _rest_of_id(found: re.Match[str]) -> str:
    return "]" if found[1] == "-" else ""


def _faults(lab: Lab) -> Iterator[str]:
    firings = lab.faults.firings
    yield f"faults that fired: {len(firings) or 'none'}; stopped at {lab.now:g} s of the loop's clock"
    shown = firings[-_MOST_FIRINGS:]
    if len(firings) > len(shown):
        yield f"  ... the last {len(shown)}:"
    yield from (f"  {firing.at:.6f} s {firing.comment}" for firing in shown)
    yield from (f"  {line}" for line in lab.unfired())


def _last_pdus(world: TestWorld) -> list[str]:
    if world.pcap is None:
        return ["no ladder without a capture (--iscsim-pcap=never)"]
    from iscsim.capture import ladder, pcap_events

    try:
        events = pcap_events(world.pcap)
    except ConfigError as error:  # a full disk, say: the test has failed for a reason of its own
        return [f"no ladder: {error}"]
    heading = f"the last {_LAST_PDUS} of {len(events)} PDUs:" if len(events) > _LAST_PDUS else "PDUs:"
    return [heading, ladder(events[-_LAST_PDUS:]).rstrip()]
