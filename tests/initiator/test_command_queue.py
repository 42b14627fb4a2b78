"""Who may go, and in which order."""

import asyncio

from initiator.transports import now, virtual

from iscsim.initiator.command_queue import CommandQueue, HostRoom
from iscsim.initiator.queue_depth import QueueDepth


def make(depth: int = 2) -> tuple[CommandQueue, list[bool]]:
    is_open = [True]
    return CommandQueue(QueueDepth(depth), lambda: is_open[0]), is_open


class Crowd:
    """Commands that want to enter ``queue``; ``entered`` has the names of those that did."""

    def __init__(self, queue: CommandQueue) -> None:
        self.queue = queue
        self.entered: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def join(self, *names: str, first: bool = False) -> None:
        for name in names:
            self.tasks[name] = asyncio.get_running_loop().create_task(self._enter(name, first))
        await asyncio.sleep(0.001)

    async def _enter(self, name: str, first: bool) -> None:
        await self.queue.enter(first=first)
        self.entered.append(name)


def test_as_many_as_the_depth_go_and_the_rest_in_order() -> None:
    async def main() -> None:
        queue, _ = make(depth=2)
        crowd = Crowd(queue)
        await crowd.join("a", "b", "c", "d")
        assert crowd.entered == ["a", "b"]
        queue.leave()
        queue.leave()
        await asyncio.sleep(0)
        assert crowd.entered == ["a", "b", "c", "d"]

    virtual(main())


def test_who_came_back_goes_before_those_who_wait() -> None:
    async def main() -> None:
        queue, _ = make(depth=1)
        crowd = Crowd(queue)
        await crowd.join("a", "b")
        await crowd.join("a again", first=True)
        queue.leave()
        await asyncio.sleep(0)
        assert crowd.entered == ["a", "a again"]
        queue.leave()
        await asyncio.sleep(0)
        assert crowd.entered == ["a", "a again", "b"]

    virtual(main())


def test_nobody_goes_while_it_is_closed() -> None:
    async def main() -> None:
        queue, is_open = make()
        is_open[0] = False
        crowd = Crowd(queue)
        await crowd.join("a")
        assert crowd.entered == []
        is_open[0] = True
        queue.look()
        await asyncio.sleep(0)
        assert crowd.entered == ["a"]

    virtual(main())


def test_an_idle_device_that_was_busy_is_asked_again_after_six_milliseconds() -> None:
    async def main() -> None:
        queue, _ = make()
        queue.stall()
        begun = now()
        await queue.enter(first=True)
        assert round(now() - begun, 6) == 0.006

    virtual(main())


def test_a_busy_device_waits_for_a_command_that_ends() -> None:
    async def main() -> None:
        queue, _ = make()
        crowd = Crowd(queue)
        await crowd.join("a")
        queue.stall()
        await crowd.join("b")
        await asyncio.sleep(5)
        assert crowd.entered == ["a"]
        queue.flow()
        queue.leave()
        await asyncio.sleep(0)
        assert crowd.entered == ["a", "b"]

    virtual(main())


def test_who_is_cancelled_while_waiting_leaves_no_gap() -> None:
    async def main() -> None:
        queue, _ = make(depth=1)
        crowd = Crowd(queue)
        await crowd.join("a", "b", "c")
        crowd.tasks["b"].cancel()
        await asyncio.sleep(0)
        queue.leave()
        await asyncio.sleep(0)
        assert (crowd.entered, queue.in_flight) == (["a", "c"], 1)

    virtual(main())


def test_who_is_cancelled_as_the_turn_comes_gives_the_place_back() -> None:
    async def main() -> None:
        queue, _ = make(depth=1)
        crowd = Crowd(queue)
        await crowd.join("a", "b")
        queue.leave()
        crowd.tasks["b"].cancel()
        await asyncio.sleep(0.001)
        assert queue.in_flight == 0

    virtual(main())


def test_all_queues_of_a_host_share_its_room_and_take_turns() -> None:
    async def main() -> None:
        room = HostRoom(2)
        first, second = (CommandQueue(QueueDepth(8), lambda: True, room) for _ in range(2))
        many, few = Crowd(first), Crowd(second)
        await many.join("a", "b", "c", "d")
        await few.join("x")
        assert (many.entered, few.entered, room.taken) == (["a", "b"], [], 2)
        first.leave()
        await asyncio.sleep(0)
        assert (many.entered, few.entered) == (["a", "b", "c"], [])  # it has waited longer
        first.leave()
        await asyncio.sleep(0)
        assert (many.entered, few.entered) == (["a", "b", "c"], ["x"])
        first.leave()
        second.leave()
        await asyncio.sleep(0)
        assert (many.entered, room.taken) == (["a", "b", "c", "d"], 1)

    virtual(main())


def test_a_turn_that_one_queue_cannot_take_goes_to_the_next() -> None:
    async def main() -> None:
        room = HostRoom(1)
        is_open = [True]
        first, second, third = (
            CommandQueue(QueueDepth(8), check, room)
            for check in (lambda: True, lambda: is_open[0], lambda: True)
        )
        busy, closed, free = Crowd(first), Crowd(second), Crowd(third)
        await busy.join("a")
        await closed.join("b")
        await free.join("c")
        is_open[0] = False
        first.leave()
        await asyncio.sleep(0)
        assert (closed.entered, free.entered) == ([], ["c"])
        is_open[0] = True
        second.look()
        third.leave()
        await asyncio.sleep(0)
        assert closed.entered == ["b"]

    virtual(main())
