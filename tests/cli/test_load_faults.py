"""Watching the faults of a target while a load runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from iscsim.cli.errors import EnvironmentFailure
from iscsim.cli.load_faults import FaultWatch
from iscsim.net.rpc import RPCServer


class Noted:
    """Takes notes, as a load does."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, kind: str, text: str) -> None:
        self.notes.append(text)


async def test_faults_are_noted_when_armed_firing_and_removed(cli: Any, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": "old-1", "name": "task.busy", "fired": 3}]

    async def listed() -> list[dict[str, Any]]:
        return [dict(row) for row in rows]

    server = RPCServer(tmp_path / "s", {"fault.list": listed})
    await server.start()
    watch = await asyncio.to_thread(FaultWatch, tmp_path / "s")
    load: Any = Noted()
    watching = asyncio.ensure_future(watch.watch(load))
    rows.append({"id": "new-1", "name": "net.latency", "fired": 0})
    await cli.until(lambda: load.notes == ["net.latency armed"])
    rows[0]["fired"] = 4
    await cli.until(lambda: load.notes[1:] == ["task.busy"])
    del rows[1]
    await cli.until(lambda: load.notes[2:] == ["net.latency removed"])
    await server.close()
    await watching
    assert load.notes[3].startswith("no more is known of faults")


def test_fault_that_fires_all_the_time_is_told_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("iscsim.cli.load_faults.call", lambda *_, **__: [])
    watch, load = FaultWatch(tmp_path), Noted()
    for fired in (1, 2, 3, 3, 4):
        watch._compare({"a": {"name": "task.busy", "fired": fired}}, load)  # type: ignore[arg-type]
    assert load.notes == ["task.busy armed", "task.busy", "task.busy"]


def test_socket_nobody_answers_on_is_told(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailure, match="No such file"):
        FaultWatch(tmp_path / "none")
