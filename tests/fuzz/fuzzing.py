"""What the fuzz tests share: the seed, the rounds, and how bytes are spoilt.

ISCSIM_FUZZ_SECONDS says how long all of it takes, ISCSIM_FUZZ_SEED repeats a run: how many rounds there are
depends on the machine, but each of them only on the seed and its name. A failure names its round, which
ISCSIM_FUZZ_ROUND runs alone: ``ISCSIM_FUZZ_SEED=7 ISCSIM_FUZZ_ROUND='after 123' make fuzz``.
"""

import gc
import os
import random
import resource
import time
from collections.abc import Callable, Iterator

import pytest

SEED = int(os.environ.get("ISCSIM_FUZZ_SEED") or random.SystemRandom().getrandbits(32))
SECONDS = float(os.environ.get("ISCSIM_FUZZ_SECONDS", "60"))
ROUND = os.environ.get("ISCSIM_FUZZ_ROUND", "")
TESTS = 12  # among which the time is shared
FEWEST = 6
MOST_GROWTH_KIB = 32 << 10
WARM_UP = 0.4  # of the time: caches, tables and the interpreter's own memory are there by then


def rounds(name: str) -> Iterator[random.Random]:
    """A source of randomness for each round, for this test's share of the time; memory must not grow."""
    if ROUND:
        wanted, _, number = ROUND.rpartition(" ")
        if wanted != name:
            pytest.skip(f"only the round {ROUND!r} is wanted")
        yield random.Random(f"{SEED} {name} {number}")
        return
    begin, number, warm = time.monotonic(), 0, 0
    while (passed := (time.monotonic() - begin) / (SECONDS / TESTS)) < 1 or number < FEWEST:
        if not warm and passed > WARM_UP:
            warm = peak_kib()
        try:
            yield random.Random(f"{SEED} {name} {number}")
        except GeneratorExit:
            print(f"ISCSIM_FUZZ_SEED={SEED} ISCSIM_FUZZ_ROUND='{name} {number}'")
            raise
        number += 1
    grown = peak_kib() - warm if warm else 0
    assert grown < MOST_GROWTH_KIB, f"{grown} KiB more than after the first {WARM_UP:.0%} of {number} rounds"


def peak_kib() -> int:
    """The most memory this process ever had, without what only waits to be collected."""
    gc.collect()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# -- spoiling bytes --------------------------------------------------------------------------------


def flip(rng: random.Random, wire: bytearray) -> None:
    wire[rng.randrange(len(wire))] ^= 1 << rng.randrange(8)


def overwrite(rng: random.Random, wire: bytearray) -> None:
    start = rng.randrange(len(wire))
    wire[start : start + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", rng.randbytes(4)))


def remove(rng: random.Random, wire: bytearray) -> None:
    start = rng.randrange(len(wire))
    del wire[start : start + rng.choice((1, 4, 48))]


def insert(rng: random.Random, wire: bytearray) -> None:
    start = rng.randrange(len(wire) + 1)
    wire[start:start] = rng.randbytes(rng.choice((1, 4, 48)))


def lengthen(rng: random.Random, wire: bytearray) -> None:
    wire[4:8] = rng.choice((b"\xff\0\0\0", b"\0\xff\xff\xff", b"\1\0\0\1", rng.randbytes(4)))


def rename(rng: random.Random, wire: bytearray) -> None:
    wire[0] = rng.getrandbits(8)


MUTATIONS: list[Callable[[random.Random, bytearray], None]] = [
    flip,
    flip,
    overwrite,
    remove,
    insert,
    lengthen,
    rename,
]


def mutated(rng: random.Random, wire: bytes) -> bytes:
    """``wire`` with a few mistakes, or none."""
    changed = bytearray(wire)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        if changed:
            rng.choice(MUTATIONS)(rng, changed)
    return bytes(changed)


def pieces(rng: random.Random, wire: bytes) -> Iterator[bytes]:
    """``wire`` as TCP may bring it."""
    size = rng.choice((1, 7, 48, 100, 1500, 1 << 20))
    start = 0
    while start < len(wire):
        end = start + rng.randint(1, size)
        yield wire[start:end]
        start = end
