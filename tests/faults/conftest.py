"""Every coroutine test of this directory runs in virtual time; ``world`` is a small lab to break.

A module with ``REAL_TIME = True`` runs on asyncio's own loop instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from faults.world import SmallWorld

from iscsim.net.virtual_loop import VirtualLoop


def pytest_asyncio_loop_factories(item: Any) -> dict[str, Any]:
    """Virtual time, or real."""
    real = getattr(item.module, "REAL_TIME", False)
    return {"loop": asyncio.new_event_loop if real else VirtualLoop}


@pytest.fixture
async def world() -> AsyncIterator[SmallWorld]:
    """See `faults.world`; fails the test when a fault that was armed has not fired."""
    async with SmallWorld() as small:
        yield small
