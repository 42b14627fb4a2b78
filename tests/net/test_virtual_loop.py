"""Virtual time: nothing takes any, everything happens in its order, and what would never end says so."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import threading
import time
from typing import Any

import pytest
from net.worlds import Log, play

from iscsim.errors import Deadlock
from iscsim.net.memory import MemoryNetwork
from iscsim.net.virtual_loop import VirtualLoop


def network_of_the_loop() -> MemoryNetwork:
    """Two hosts, the first of which asyncio's own ways to connect start from."""
    loop: Any = asyncio.get_running_loop()
    loop.network = MemoryNetwork()
    loop.network.add_host("compute", "10.0.0.2")
    loop.network.add_host("array", "10.0.0.1")
    found: MemoryNetwork = loop.network
    return found


def test_a_year_of_sleep_takes_no_time() -> None:
    async def main() -> float:
        await asyncio.sleep(365 * 86400)
        return asyncio.get_running_loop().time()

    begin = time.monotonic()
    assert play(main) == 365 * 86400
    assert time.monotonic() - begin < 60


def test_timers_run_in_their_order_at_their_time() -> None:
    async def main() -> list[tuple[str, float]]:
        loop, seen = asyncio.get_running_loop(), []
        for name, at in (("c", 0.3), ("a", 0.1), ("b", 0.1 + 1e-15)):
            loop.call_at(at, lambda name=name: seen.append((name, loop.time())))
        await asyncio.sleep(1)
        return seen

    assert play(main) == [("a", 0.1), ("b", 0.1 + 1e-15), ("c", 0.3)]


def test_no_timer_runs_early() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in range(1, 2000):
            due = loop.time() + 1 / number
            await asyncio.sleep(1 / number)
            assert loop.time() >= due

    play(main)


def test_timeouts_strike_at_their_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 3)
        return asyncio.get_running_loop().time()

    assert play(main) == 10


@pytest.mark.parametrize("forever", [lambda: asyncio.Event().wait(), lambda: asyncio.sleep(math.inf)])
def test_waiting_for_what_never_comes_is_a_deadlock_that_says_who_waits(forever: Any) -> None:
    async def main() -> None:
        await asyncio.sleep(5)
        await forever()

    with pytest.raises(
        Deadlock, match=r"at 5 s of virtual time:\n  task .* waits in .*main .*test_virtual_loop.py"
    ):
        play(main)


def test_threads_are_waited_for_and_take_no_virtual_time() -> None:
    async def main() -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(0.001, lambda: None)
        done = threading.Event()
        thread = threading.Timer(0.05, done.set)
        thread.start()
        await asyncio.to_thread(done.wait)
        assert not timer.cancelled()
        found = await loop.run_in_executor(None, sum, [1, 2, 3])
        thread.join()
        return found, loop.time()

    assert play(main) == (6, 0.0)


def test_error_of_a_thread_comes_back() -> None:
    async def main() -> None:
        def fail() -> None:
            raise ValueError("in a thread")

        with pytest.raises(ValueError, match="in a thread"):
            await asyncio.to_thread(fail)
        with pytest.raises(Deadlock):  # nothing is counted as a thread at work any more
            await asyncio.gather(asyncio.Event().wait())

    with pytest.raises(Deadlock):
        play(main)


def test_runner_waits_for_its_threads_when_it_closes() -> None:
    seen = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, lambda: (time.sleep(0.05), seen.append(1)))
        await asyncio.sleep(0)

    play(main)
    assert seen == [1]


def test_signal_is_handled() -> None:
    async def main() -> None:
        loop, came = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, came.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        async with asyncio.timeout(10):
            await came.wait()
        loop.remove_signal_handler(signal.SIGUSR1)

    play(main)


async def _run_a_process() -> None:
    await asyncio.create_subprocess_exec("true")


async def _run_a_shell() -> None:
    await asyncio.create_subprocess_shell("true")


async def _use_a_socket() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        await asyncio.get_running_loop().sock_recv(one, 1)


async def _use_a_full_socket() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(one, bytes(64 << 20))


@pytest.mark.parametrize("real", [_run_a_process, _run_a_shell, _use_a_socket, _use_a_full_socket])
def test_what_is_real_is_refused_at_once(real: Any) -> None:
    with pytest.raises(RuntimeError, match=r"a real (process|socket or pipe) on a loop with virtual time"):
        play(real)


def test_connection_without_a_network_is_refused() -> None:
    async def main() -> None:
        await asyncio.open_connection("10.0.0.1", 3260)

    with pytest.raises(RuntimeError, match="virtual time has no real network"):
        play(main)


def test_streams_of_asyncio_work_unchanged() -> None:
    async def main() -> bytes:
        network_of_the_loop()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"<" + await reader.readuntil(b"\n"))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(serve, "10.0.0.1", 0) as server:
            assert server.is_serving()
            host, port = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(host, port, local_addr=("10.0.0.2", 4711))
            assert writer.get_extra_info("sockname") == ("10.0.0.2", 4711)
            writer.write(b"hello\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        await server.wait_closed()
        assert (server.is_serving(), tuple(server.sockets)) == (False, ())
        return answer

    assert play(main) == b"<hello\n"


def test_server_serves_until_it_is_cancelled() -> None:
    async def main() -> None:
        network_of_the_loop()
        server = await asyncio.start_server(lambda reader, writer: None, "10.0.0.1", 3260)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.serve_forever(), 9)
        assert not server.is_serving()
        with pytest.raises(RuntimeError, match="is closed"):
            await server.start_serving()

    play(main)


@pytest.mark.parametrize(
    "options", [{"ssl": True}, {"sock": object()}, {"server_hostname": "a", "ssl": True}]
)
def test_what_the_network_cannot_do_is_refused(options: dict[str, Any]) -> None:
    async def main() -> None:
        network_of_the_loop()
        await asyncio.get_running_loop().create_connection(Log, "10.0.0.1", 3260, **options)

    with pytest.raises(ValueError, match="the lab's network does not know"):
        play(main)


def test_asyncio_dgram_works_unchanged() -> None:
    asyncio_dgram = pytest.importorskip("asyncio_dgram")

    async def main() -> tuple[Any, Any]:
        network_of_the_loop()
        server = await asyncio_dgram.bind(("10.0.0.1", 3205))
        client = await asyncio_dgram.connect(("10.0.0.1", 3205))
        await client.send(b"question")
        question, peer = await server.recv()
        await server.send(question.upper(), peer)
        answer, _ = await client.recv()
        client.close()
        server.close()
        await asyncio.sleep(0)
        with pytest.raises(asyncio_dgram.TransportClosed):
            await client.recv()
        return answer, peer[0]

    assert play(main) == (b"QUESTION", "10.0.0.2")


def test_two_runs_are_the_same() -> None:
    async def main() -> list[Any]:
        seen: list[Any] = []

        async def worker(number: int) -> None:
            for step in range(5):
                await asyncio.sleep(number % 3 * 0.1)
                seen.append((asyncio.get_running_loop().time(), number, step))

        await asyncio.gather(*(worker(number) for number in range(20)))
        return seen

    assert play(main) == play(main)


def test_loop_begins_at_zero() -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.get_loop().time() == 0
