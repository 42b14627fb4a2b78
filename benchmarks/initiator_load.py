"""A load generator on our own initiator: reads of LUN 1 for some seconds, then requests per second on stdout.

``python -m benchmarks.initiator_load 127.0.0.1:3260 IQN --blocks 8 --depth 32 --random --seconds 3``
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
from collections.abc import Iterator

import iscsim
from iscsim.net.runner import run

_LUN = 1
_ADDRESSES = 1 << 16


def addresses(capacity: int, blocks: int, *, at_random: bool) -> Iterator[int]:
    """Where the reads go, for ever; made beforehand, so that they cost the measurement nothing."""
    if at_random:
        dice = random.Random(1)
        return itertools.cycle([dice.randrange(capacity - blocks) for _ in range(_ADDRESSES)])
    return itertools.cycle(range(0, capacity - blocks + 1, blocks))


async def measure(
    portal: str, target: str, *, blocks: int, depth: int, at_random: bool, seconds: float
) -> float:
    """Requests per second of ``depth`` readers that each wait for their answer."""
    async with iscsim.connect(portal, target) as session:
        capacity = (await session.read_capacity(_LUN)).blocks
        lbas = addresses(capacity, blocks, at_random=at_random)
        time = asyncio.get_running_loop().time
        start = time()
        end = start + seconds

        async def reader() -> int:
            count = 0
            while time() < end:
                await session.read(_LUN, next(lbas), blocks)
                count += 1
            return count

        counts = await asyncio.gather(*(reader() for _ in range(depth)))
        return sum(counts) / (time() - start)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("portal")
    parser.add_argument("target")
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    print(
        run(
            measure(
                options.portal,
                options.target,
                blocks=options.blocks,
                depth=options.depth,
                at_random=options.random,
                seconds=options.seconds,
            )
        )
    )


if __name__ == "__main__":
    main()
