"""Blocking code waits for coroutines without stopping the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

pytest.importorskip("greenlet", reason="greenlet is missing (iscsim[osbrick])")

from iscsim.host.sandbox.bridge import Bridge
from iscsim.net.virtual_loop import VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


async def double(value: int) -> int:
    await asyncio.sleep(60)
    return 2 * value


def test_blocking_code_gets_what_a_coroutine_returns(loop: VirtualLoop) -> None:
    bridge = Bridge(loop)
    assert loop.run_until_complete(bridge.run(lambda: bridge.wait(double(4)) + 1)) == 9
    assert loop.time() == 60


def test_blocking_code_waits_without_a_coroutine_around_it(loop: VirtualLoop) -> None:
    assert Bridge(loop).wait(double(4)) == 8


def test_errors_are_raised_where_the_code_waits_and_at_its_caller(loop: VirtualLoop) -> None:
    bridge, seen = Bridge(loop), []

    async def fail() -> None:
        await asyncio.sleep(1)
        raise OSError("no")

    def work() -> None:
        try:
            bridge.wait(fail())
        except OSError as error:
            seen.append(str(error))
            raise KeyError("yes") from None

    with pytest.raises(KeyError, match="yes"):
        loop.run_until_complete(bridge.run(work))
    assert seen == ["no"]


def test_two_pieces_of_blocking_code_take_turns(loop: VirtualLoop) -> None:
    bridge, order = Bridge(loop), []

    def work(name: str, pause: float) -> None:
        for step in range(3):
            bridge.sleep(pause)
            order.append(f"{name}{step}")

    async def main() -> None:
        await asyncio.gather(bridge.run(work, "a", 2), bridge.run(work, "b", 3))

    loop.run_until_complete(main())
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert loop.time() == 9


def test_cancelling_the_caller_ends_the_blocking_code_where_it_waits(loop: VirtualLoop) -> None:
    bridge, ended = Bridge(loop), []

    def work() -> None:
        try:
            bridge.sleep(1000)
        finally:
            ended.append(loop.time())

    async def main() -> None:
        async with asyncio.timeout(5):
            await bridge.run(work)

    with pytest.raises(TimeoutError):
        loop.run_until_complete(main())
    assert ended == [5]
