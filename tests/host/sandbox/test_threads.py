"""Threads of blocking code behave as those of ``threading``, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("greenlet", reason="greenlet is missing (iscsim[osbrick])")

from iscsim.host.sandbox.bridge import Bridge
from iscsim.host.sandbox.threads import threading_for
from iscsim.net.virtual_loop import VirtualLoop


class World:
    """A bridge on a virtual loop, and threads on it."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.bridge = Bridge(self.loop)
        self.threading: Any = threading_for(self.bridge, threading)

    def run(self, work: Callable[[], Any]) -> Any:
        return self.loop.run_until_complete(self.bridge.run(work))


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.loop.close()


def test_threads_run_while_the_one_that_joins_them_waits(world: World) -> None:
    done: list[str] = []

    def work(name: str, pause: float) -> None:
        world.bridge.sleep(pause)
        done.append(name)

    def main() -> None:
        threads = [world.threading.Thread(target=work, args=(f"{each}", 10 - each)) for each in (1, 2, 3)]
        for thread in threads:
            thread.start()
        assert all(thread.is_alive() for thread in threads)
        for thread in threads:
            thread.join()
        assert not any(thread.is_alive() for thread in threads)

    world.run(main)
    assert done == ["3", "2", "1"]
    assert world.loop.time() == 9


def test_join_gives_up_after_its_timeout(world: World) -> None:
    def main() -> float:
        thread = world.threading.Thread(target=world.bridge.sleep, args=(100,))
        thread.start()
        thread.join(5)
        assert thread.is_alive()
        return world.loop.time()

    assert world.run(main) == 5


def test_error_in_a_thread_ends_that_thread_only(world: World) -> None:
    seen: list[Any] = []
    world.loop.set_exception_handler(lambda loop, context: seen.append(context["exception"]))

    def main() -> str:
        thread = world.threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        return "alive"

    assert world.run(main) == "alive"
    assert [type(error) for error in seen] == [ZeroDivisionError]


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"])
def test_only_one_is_inside_a_lock(world: World, kind: str) -> None:
    inside = most = 0

    def main() -> None:
        lock = getattr(world.threading, kind)()

        def work() -> None:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
                world.bridge.sleep(1)
                inside -= 1

        threads = [world.threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    world.run(main)
    assert most == 1
    assert world.loop.time() == 5


def test_timer_fires_in_its_time_unless_it_is_cancelled(world: World) -> None:
    fired: list[float] = []

    def main() -> None:
        kept = world.threading.Timer(3, lambda: fired.append(world.loop.time()))
        dropped = world.threading.Timer(2, lambda: fired.append(-1))
        kept.start()
        dropped.start()
        dropped.cancel()
        world.bridge.sleep(10)

    world.run(main)
    assert fired == [3]


def test_event_wakes_all_and_says_whether_it_came(world: World) -> None:
    def main() -> list[bool]:
        event = world.threading.Event()
        early = event.wait(1)
        world.threading.Timer(1, event.set).start()
        return [early, event.wait(5), event.wait(0)]

    assert world.run(main) == [False, True, True]


# what each of the two modules says to the same questions
QUESTIONS: dict[str, Callable[[Any], Any]] = {
    "lock not blocking": lambda t: _second(t.Lock(), lambda lock: lock.acquire(blocking=False)),
    "lock with timeout": lambda t: _second(t.Lock(), lambda lock: lock.acquire(timeout=0.01)),
    "rlock again": lambda t: _second(t.RLock(), lambda lock: lock.acquire(blocking=False)),
    "unlock what is not locked": lambda t: t.Lock().release(),
    "unlock another's": lambda t: t.RLock().release(),
    "released too often": lambda t: t.BoundedSemaphore(1).release(),
    "negative semaphore": lambda t: t.Semaphore(-1),
    "two of a semaphore": lambda t: [_second(t.Semaphore(2), lambda s: s.acquire(blocking=False))],
    "join before start": lambda t: t.Thread().join(),
    "started twice": lambda t: _twice(t.Thread(target=lambda: None)),
    "wait for what never comes": lambda t: _held(
        t.Condition(), lambda c: c.wait_for(lambda: 0, timeout=0.01)
    ),
    "wait for what is so": lambda t: _held(t.Condition(), lambda c: c.wait_for(lambda: 7)),
}


def _second(lock: Any, then: Callable[[Any], Any]) -> Any:
    assert lock.acquire()
    return then(lock)


def _held(lock: Any, then: Callable[[Any], Any]) -> Any:
    with lock:
        return then(lock)


def _twice(thread: Any) -> None:
    thread.start()
    thread.start()


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_are_those_of_the_standard_library(world: World, question: str) -> None:
    ask = QUESTIONS[question]
    assert _outcome(lambda: world.run(lambda: ask(world.threading))) == _outcome(lambda: ask(threading))


def _outcome(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except (RuntimeError, ValueError) as error:
        return type(error), str(error)


def test_what_the_module_lacks_is_that_of_the_standard_library(world: World) -> None:
    assert isinstance(world.threading, ModuleType)
    assert world.threading.local is threading.local
