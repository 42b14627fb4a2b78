"""The seeds' host on a real loop, and a stage on which programs see it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from host.exec.stage import Stage

from iscsim.host.exec.execution import Execution
from iscsim.host.exec.layout import Layout
from iscsim.host.model import Host
from iscsim.lab.linux_host import SEEDS, build_host
from iscsim.lab.scenario import parse_scenario
from iscsim.lab.world import Lab


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with Lab("memory", latency_s=0.0, judge=False) as lab:
        yield await build_host(lab, parse_scenario(SEEDS))


@pytest.fixture
async def stage(host: Host) -> AsyncIterator[Stage]:
    layout = Layout(host.name)
    try:
        async with Execution(host, layout).running() as execution:
            yield Stage(host, layout, execution)
    finally:
        layout.remove()
