"""Places for commands: in turn, and none lost."""

from __future__ import annotations

import asyncio

import pytest

from iscsim.initiator.command_room import CommandRoom


async def waiting(room: CommandRoom, count: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.ensure_future(room.wait()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_who_waits_is_given_a_place_in_turn() -> None:
    room = CommandRoom(0)
    tasks = await waiting(room, 3)
    for served in range(3):
        assert [task.done() for task in tasks] == [number < served for number in range(3)]
        room.leave()
        assert room.free == 0
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    room.leave()
    assert room.free == 1


async def test_a_place_goes_past_who_does_not_wait_any_more() -> None:
    room = CommandRoom(0)
    gone, next_one = await waiting(room, 2)
    gone.cancel()
    room.leave()
    await next_one
    assert (gone.cancelled(), room.free) == (True, 0)


async def test_who_is_cancelled_with_a_place_in_hand_gives_it_on() -> None:
    room = CommandRoom(0)
    first, second = await waiting(room, 2)
    room.leave()
    first.cancel()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert room.free == 0
    (last,) = await waiting(room, 1)
    room.leave()
    last.cancel()
    await asyncio.gather(last, return_exceptions=True)
    assert room.free == 1
