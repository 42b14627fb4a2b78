"""Log in many times, say so, and stay idle until stdin ends.

``python -m benchmarks.idle_sessions 127.0.0.1:3260 IQN 200``
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

import iscsim
from iscsim.net.runner import run


async def stay(portal: str, target: str, count: int) -> None:
    """Hold ``count`` sessions of as many initiators."""
    async with AsyncExitStack() as sessions:
        for number in range(count):
            name = f"iqn.2026-11.org.iscsim.bench:initiator-{number}"
            await sessions.enter_async_context(iscsim.connect(portal, target, initiator_name=name))
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    run(stay(sys.argv[1], sys.argv[2], int(sys.argv[3])))
