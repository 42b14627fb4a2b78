"""The words of a deadlock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from net.worlds import Log, play

from iscsim.errors import Deadlock
from iscsim.net.conditions import Flow, Reply, Verdict
from iscsim.net.memory import MemoryNetwork
from iscsim.net.waiting import describe_waiting


def told(main: Any) -> list[str]:
    with pytest.raises(Deadlock) as caught:
        play(main)
    return str(caught.value).splitlines()


def test_tasks_are_named_in_their_order_with_the_line_they_have_come_to() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in (10, 9):
                group.create_task(wait(), name=f"path-{number}")

    head, *lines = told(main)
    assert head == "nothing can happen any more at 0 s of virtual time:"
    named = [line for line in lines if "path-" in line]
    assert [line.split()[1] for line in named] == ["path-9", "path-10"]
    assert all("wait (test_waiting.py:" in line for line in named)


def test_long_list_is_cut() -> None:
    async def main() -> None:
        await asyncio.gather(*(asyncio.Event().wait() for _ in range(30)))

    lines = told(main)
    assert len(lines) == 14
    assert lines[-1] == "  and 19 more"


def test_what_others_wait_for_is_asked_and_told_once() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.waiting += [lambda: ["session 1 waits for Ready to Transfer"]] * 2
        await asyncio.Event().wait()

    assert told(main)[1] == "  session 1 waits for Ready to Transfer"
    assert "session 1" not in told(main)[2]


def test_connection_attempts_of_the_network_are_told() -> None:
    class Lost:
        def connecting(self, flow: Flow, attempt: int, now: float) -> Reply:
            return Reply(Verdict.LOST)

    async def main() -> str:
        loop: Any = asyncio.get_running_loop()
        loop.network = network = MemoryNetwork()
        network.conditions = Lost()  # type: ignore[assignment]
        host = network.add_host("compute", "10.0.0.2")
        task = asyncio.ensure_future(host.connect("10.0.0.1", 3260, Log))
        await asyncio.sleep(1.5)
        found = describe_waiting(loop)
        task.cancel()
        return found

    assert "\n  10.0.0.2:49152 connects to 10.0.0.1:3260\n" in play(main)
