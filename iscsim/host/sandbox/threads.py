"""The part of ``threading`` that blocking code uses, over a `Bridge`: threads take turns where they wait."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

from iscsim.host.sandbox.bridge import Bridge

__all__ = ["threading_for"]


class _Waiters:
    """Futures of those who wait, the first to come the first to be woken."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._futures: deque[asyncio.Future[None]] = deque()

    def wait(self, timeout_s: float | None) -> bool:
        """False when ``timeout_s`` was over first."""
        future: asyncio.Future[None] = self._bridge.loop.create_future()
        self._futures.append(future)
        try:
            self._bridge.wait(asyncio.wait_for(future, timeout_s))
        except TimeoutError:
            return False
        finally:
            with suppress(ValueError):
                self._futures.remove(future)
        return True

    def wake(self, count: int) -> None:
        """Wake the first ``count``."""
        while count and self._futures:
            future = self._futures.popleft()
            if not future.done():
                future.set_result(None)
                count -= 1


def threading_for(bridge: Bridge, real: ModuleType) -> ModuleType:
    """A module in the place of ``threading``; what it has not is that of ``real``."""
    module = ModuleType("threading", "Threads of blocking code on an event loop.")
    module.__dict__.update({name: value for name, value in vars(real).items() if not name.startswith("__")})
    counter = itertools.count(1)

    class Semaphore:
        """As that of ``threading``."""

        def __init__(self, value: int = 1) -> None:
            if value < 0:
                raise ValueError("semaphore initial value must be >= 0")
            self._value = value
            self._waiters = _Waiters(bridge)

        def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
            """Take one, or wait until there is one."""
            deadline = None if timeout is None or timeout < 0 else bridge.loop.time() + timeout
            while not self._value:
                left = None if deadline is None else deadline - bridge.loop.time()
                if not blocking or (left is not None and left <= 0) or not self._waiters.wait(left):
                    return False
            self._value -= 1
            return True

        def release(self, n: int = 1) -> None:
            """Give ``n`` back."""
            self._value += n
            self._waiters.wake(n)

        def __enter__(self) -> bool:
            return self.acquire()

        def __exit__(self, *error: object) -> None:
            self.release()

    class BoundedSemaphore(Semaphore):
        """As that of ``threading``."""

        def __init__(self, value: int = 1) -> None:
            super().__init__(value)
            self._initial = value

        def release(self, n: int = 1) -> None:
            """Give ``n`` back. Raises ValueError when that is more than was taken."""
            if self._value + n > self._initial:
                raise ValueError("Semaphore released too many times")
            super().release(n)

    class Lock(Semaphore):
        """As that of ``threading``."""

        def __init__(self) -> None:
            super().__init__(1)

        def release(self, n: int = 1) -> None:
            """Unlock. Raises RuntimeError when it is not locked."""
            if self._value:
                raise RuntimeError("release unlocked lock")
            super().release()

        def locked(self) -> bool:
            """Whether somebody has it."""
            return not self._value

    class RLock:
        """As that of ``threading``: its owner may take it again."""

        def __init__(self) -> None:
            self._lock, self._owner, self._count = Lock(), 0, 0

        def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
            """Take it, once more perhaps."""
            me = bridge.identify()
            if self._owner == me:
                self._count += 1
                return True
            if not self._lock.acquire(blocking, timeout):
                return False
            self._owner, self._count = me, 1
            return True

        def release(self) -> None:
            """Undo one `acquire`. Raises RuntimeError for who is not the owner."""
            if self._owner != bridge.identify():
                raise RuntimeError("cannot release un-acquired lock")
            self._count -= 1
            if not self._count:
                self._owner = 0
                self._lock.release()

        def __enter__(self) -> bool:
            return self.acquire()

        def __exit__(self, *error: object) -> None:
            self.release()

    class Condition:
        """As that of ``threading``."""

        def __init__(self, lock: Any = None) -> None:
            self._lock = lock if lock is not None else RLock()
            self.acquire, self.release = self._lock.acquire, self._lock.release
            self._waiters = _Waiters(bridge)

        def wait(self, timeout: float | None = None) -> bool:
            """Let go of the lock until somebody notifies."""
            self.release()
            try:
                return self._waiters.wait(timeout)
            finally:
                self.acquire()

        def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
            """Wait until ``predicate`` holds; what it says comes back."""
            deadline = None if timeout is None else bridge.loop.time() + timeout
            while not (answer := predicate()):
                left = None if deadline is None else deadline - bridge.loop.time()
                if left is not None and left <= 0:
                    break
                self.wait(left)
            return answer

        def notify(self, n: int = 1) -> None:
            """Wake ``n`` of those who wait."""
            self._waiters.wake(n)

        def notify_all(self) -> None:
            """Wake all of them."""
            self._waiters.wake(1 << 30)

        def __enter__(self) -> Any:
            return self._lock.__enter__()

        def __exit__(self, *error: object) -> None:
            self._lock.__exit__(*error)

    class Event:
        """As that of ``threading``."""

        def __init__(self) -> None:
            self._flag, self._waiters = False, _Waiters(bridge)

        def is_set(self) -> bool:
            """Whether it has happened."""
            return self._flag

        def set(self) -> None:
            """It has happened: wake all who wait."""
            self._flag = True
            self._waiters.wake(1 << 30)

        def clear(self) -> None:
            """It has not."""
            self._flag = False

        def wait(self, timeout: float | None = None) -> bool:
            """Wait for it; whether it has happened."""
            return self._flag or self._waiters.wait(timeout) or self._flag

    class Thread:
        """As that of ``threading``. An error that ends it goes to the loop's exception handler."""

        def __init__(
            self,
            group: None = None,
            target: Callable[..., Any] | None = None,
            name: str | None = None,
            args: Sequence[Any] = (),
            kwargs: Mapping[str, Any] | None = None,
            *,
            daemon: bool | None = None,
        ) -> None:
            self._target, self._args, self._kwargs = target, args, dict(kwargs or {})
            self.name = name or f"Thread-{next(counter)}"
            self.daemon = bool(daemon)
            self.ident: int | None = None
            self._task: asyncio.Task[None] | None = None

        def start(self) -> None:
            """Begin; it runs when the one that starts it waits. Raises RuntimeError the second time."""
            if self._task is not None:
                raise RuntimeError("threads can only be started once")
            self._task = bridge.spawn(self._run)

        def _run(self) -> None:
            self.ident = bridge.identify()
            try:
                self.run()
            except Exception as error:  # as a thread's excepthook: it ends this thread and nothing else
                context = {"message": f"error in thread {self.name}", "exception": error}
                bridge.loop.call_exception_handler(context)

        def run(self) -> None:
            """What it does."""
            if self._target is not None:
                self._target(*self._args, **self._kwargs)

        def join(self, timeout: float | None = None) -> None:
            """Wait for its end. Raises RuntimeError when it was not started."""
            if self._task is None:
                raise RuntimeError("cannot join thread before it is started")
            if not self._task.done():
                bridge.wait(asyncio.wait([self._task], timeout=timeout))

        def is_alive(self) -> bool:
            """Whether it has begun and not ended."""
            return self._task is not None and not self._task.done()

    class Timer(Thread):
        """As that of ``threading``."""

        def __init__(
            self,
            interval: float,
            function: Callable[..., Any],
            args: Sequence[Any] | None = None,
            kwargs: Mapping[str, Any] | None = None,
        ) -> None:
            super().__init__(target=function, args=args or (), kwargs=kwargs)
            self.interval = interval
            self._handle: asyncio.TimerHandle | None = None

        def start(self) -> None:
            """Call the function in ``interval`` seconds."""
            self._handle = bridge.loop.call_later(self.interval, super().start)

        def cancel(self) -> None:
            """Do not, if it has not begun."""
            if self._handle is not None:
                self._handle.cancel()

        def is_alive(self) -> bool:
            """Whether it has not begun yet, or not ended."""
            waits = self._handle is not None and not self._handle.cancelled() and self._task is None
            return waits or super().is_alive()

    for made in (Semaphore, BoundedSemaphore, Lock, RLock, Condition, Event, Thread, Timer):
        setattr(module, made.__name__, made)
    module.__dict__["get_ident"] = bridge.identify
    return module
