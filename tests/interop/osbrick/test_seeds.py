"""The seeds come out of unmodified Newton os-brick on the emulated host, line for line."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("greenlet", reason="greenlet is missing (iscsim[newton])")
os_brick = pytest.importorskip("os_brick", reason="os-brick 1.6.2 is missing (iscsim[newton])")
if hasattr(os_brick, "setup"):
    pytest.skip("this os-brick is not Newton's: 1.6.2 is (iscsim[newton])", allow_module_level=True)

from os_brick.initiator import connector  # noqa: E402

from iscsim.host.model import Execution, Host  # noqa: E402
from iscsim.host.sandbox.sandbox import HostSandbox  # noqa: E402
from iscsim.lab import Lab  # noqa: E402

from . import seeds  # noqa: E402

ROOT = "sudo nova-rootwrap /etc/nova/rootwrap.conf"


class Day:
    """The host of that day in a sandbox, and how to attach and detach."""

    def __init__(self, lab: Lab, host: Host, box: HostSandbox) -> None:
        self.lab, self.host, self.box = lab, host, box
        self.connector = connector.InitiatorConnector.factory("ISCSI", ROOT, use_multipath=True)

    async def timed(self, call: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
        """What a blocking call returned, and its seconds."""
        begun = self.lab.now
        answer = await self.box.call(call, *arguments)
        return answer, self.lab.now - begun

    async def single(self) -> tuple[Any, float]:
        """The attach with a portal that does not answer."""
        return await self.timed(self.connector.connect_volume, dict(seeds.SINGLE))

    async def multipath(self) -> tuple[Any, float]:
        """The attach over two paths."""
        return await self.timed(self.connector.connect_volume, dict(seeds.MULTIPATH))


def play(story: Callable[[Day], Awaitable[Any]], *, seed: int = 1, **settings: Any) -> Any:
    """Live through that day in virtual time; what comes back is what ``story`` returned."""

    async def main(lab: Lab) -> Any:
        host = await seeds.seeds_host(lab, replace(seeds.NEWTON, **settings))
        async with HostSandbox(host, seed=seed) as box:
            result = await story(Day(lab, host, box))
        await host.close()
        return result

    return Lab.run(main, seed=seed)


def check(document: str, shown: list[seeds.Shown], runs: list[Execution]) -> list[str]:
    """What is not as shown: the commands must have been run in that order, but for the document's slips."""
    problems, left, previous = [], list(runs), None
    for each in shown:
        wanted, _ = seeds.SLIPS.get((document, each.line), (each.command, ""))
        index = next((n for n, run in enumerate(left) if " ".join(run.argv) == wanted), None)
        if index is None:
            problems.append(f"line {each.line}: {wanted} was not run")
            continue
        run = left[index]
        problems += [f"line {each.line}: {text}" for text in seeds.differences(each, run, previous)]
        del left[: index + 1]
        previous = run
    return problems


def test_multipath_attach_takes_the_seconds_of_the_seeds() -> None:
    async def story(day: Day) -> Any:
        return await day.multipath()

    result, seconds = play(story)
    assert result == {
        "path": f"/dev/disk/by-id/dm-uuid-mpath-{seeds.FNM_WWN}",
        "scsi_wwn": seeds.FNM_WWN,
        "type": "block",
        "multipath_id": seeds.FNM_WWN,
    }
    assert seconds == pytest.approx(3.162, abs=0.5)


def test_attach_with_a_silent_portal_takes_the_seconds_of_the_seeds_and_none_of_ours() -> None:
    async def story(day: Day) -> Any:
        begun = time.perf_counter()
        return (*(await day.single()), time.perf_counter() - begun)

    result, seconds, wall = play(story)
    name = f"{seeds.APM}.b0-lun-192"
    path = f"/dev/disk/by-path/ip-192.168.1.60:3260-iscsi-{name}"
    assert result == {"path": path, "scsi_wwn": seeds.APM_WWN, "type": "block"}
    assert seconds == pytest.approx(254.525, abs=2)
    print(f"wall {wall:.2f} s")


def test_detach_takes_the_seconds_of_the_seeds() -> None:
    async def story(day: Day) -> Any:
        device, _ = await day.multipath()
        _, seconds = await day.timed(day.connector.disconnect_volume, dict(seeds.MULTIPATH), device)
        return seconds

    assert play(story) == pytest.approx(0.790, abs=0.3)


def test_every_line_of_the_attach_comes_out() -> None:
    async def story(day: Day) -> Any:
        await seeds.log_in_to_first_array(day.lab, day.host)
        await day.single()
        attach = list(day.host.history)
        day.host.history.clear()
        await day.box.call(connector.get_connector_properties, ROOT, "172.16.1.11", True, True)
        return attach, list(day.host.history)

    attach, properties = play(story)
    shown = seeds.commands_of(seeds.ATTACH)
    head = [each for each in shown if each.command.startswith(("multipathd", "cat", "systool"))]
    body = [each for each in shown if each not in head]
    assert [each.command for each in head] == [
        "multipathd show status",
        "cat /etc/iscsi/initiatorname.iscsi",
        "systool -c fc_host -v",
    ]
    assert check(seeds.ATTACH, head, properties) == []
    assert check(seeds.ATTACH, body, attach) == []


def test_every_line_of_the_detach_comes_out() -> None:
    async def story(day: Day) -> Any:
        await seeds.log_in_to_first_array(day.lab, day.host)
        device, _ = await day.multipath()
        await day.single()
        day.host.history.clear()
        await day.box.call(connector.get_connector_properties, ROOT, "172.16.1.11", True, True)
        await day.timed(day.connector.disconnect_volume, dict(seeds.MULTIPATH), device)
        return list(day.host.history)

    assert check(seeds.DETACH, seeds.commands_of(seeds.DETACH), play(story)) == []


def test_same_seed_has_the_same_trace_twenty_times() -> None:
    def once() -> tuple[str, list[tuple[Any, ...]]]:
        async def story(day: Day) -> Any:
            device, _ = await day.multipath()
            await day.timed(day.connector.disconnect_volume, dict(seeds.MULTIPATH), device)
            runs = [(run.begun, run.ended, run.argv, run.result) for run in day.host.history]
            return day.lab.trace.sha256, runs

        return play(story, seed=7)

    first = once()
    assert all(once() == first for _ in range(19))
