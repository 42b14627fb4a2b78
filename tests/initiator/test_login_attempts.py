"""The recording of open-iscsi 2.1.8, row by row in virtual time, and what it does not show."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from initiator.incident import BLACKHOLE, CLOSING, GOOD, SILENT, TARGET, Row, StoragePortals, play, recorded

import iscsim
from iscsim.initiator import InitialLoginFailed, InitialLoginSettings, LoginAttempt, exit_code_of
from iscsim.initiator.recovering_session import log_in
from iscsim.initiator.settings import NodeSettings
from iscsim.net.conditions import CLEAR
from iscsim.net.memory import MemoryNetwork
from iscsim.net.virtual_loop import VirtualLoop

Body = Callable[[StoragePortals], Awaitable[Any]]


def in_virtual_time(main: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main(*arguments))  # type: ignore[arg-type]


def now() -> float:
    return asyncio.get_running_loop().time()


def test_recording_has_every_row() -> None:
    rows = recorded()
    assert len(rows) == 14
    assert {row.portal for row in rows if row.settings.login_timeout == 15} == {
        f"{BLACKHOLE}:3260",
        f"{SILENT}:3260",
        f"{CLOSING}:3260",
        "10.245.47.95:3299",
        "10.245.47.77:3260",
    }


@pytest.mark.parametrize("row", recorded(), ids=str)
def test_row_of_the_recording(row: Row) -> None:
    code, seconds = in_virtual_time(play, row)
    assert (code, seconds) == (row.code, pytest.approx(row.seconds, abs=2))


def with_target(body: Callable[[StoragePortals, iscsim.LiveTarget], Awaitable[Any]], *portals: str) -> Any:
    """Run ``body`` where a real target is behind the good portal."""

    async def main() -> Any:
        world = StoragePortals()
        listening = portals or (f"{GOOD}:3260",)
        async with iscsim.serve(
            target=TARGET, luns={1: "1M"}, portals=listening, network=world.array
        ) as target:
            return await body(world, target)

    return in_virtual_time(main)


def test_portal_that_works_takes_no_time_and_one_attempt() -> None:
    async def body(world: StoragePortals, target: iscsim.LiveTarget) -> None:
        seen: list[LoginAttempt] = []
        async with world.connect(
            f"{GOOD}:3260", retry=InitialLoginSettings(), on_attempt=seen.append
        ) as session:
            assert session.is_open
            assert now() < 0.1
        (attempt,) = seen
        assert (str(attempt.portal), attempt.failure, attempt.came_up) == (f"{GOOD}:3260", "", True)

    with_target(body)


def test_portal_that_comes_back_is_used() -> None:
    async def body(world: StoragePortals, target: iscsim.LiveTarget) -> None:
        seen: list[LoginAttempt] = []
        asyncio.get_running_loop().call_later(20, lambda: setattr(world.network, "conditions", CLEAR))
        retry = InitialLoginSettings()
        async with world.connect(f"{BLACKHOLE}:3260", retry=retry, on_attempt=seen.append):
            # attempts begin at 0 and 17 s, the second is answered when its SYN comes again at 24 s
            assert now() == pytest.approx(20, abs=0.1)
        assert [(each.began, each.came_up) for each in seen] == [(0, False), (17, True)]

    with_target(body, f"{BLACKHOLE}:3260")


@pytest.mark.parametrize(
    ("initiators", "name", "code", "match"),
    [
        (["iqn.2026-11.test:other"], TARGET, 24, "0x0202"),
        ([], "iqn.2026-11.test:nobody", 19, "0x0203"),
    ],
)
def test_refusal_for_good_is_not_tried_again(initiators: list[str], name: str, code: int, match: str) -> None:
    async def main() -> None:
        world = StoragePortals()
        portals = [f"{GOOD}:3260"]
        seen: list[LoginAttempt] = []
        async with iscsim.serve(target=TARGET, initiators=initiators, portals=portals, network=world.array):
            with pytest.raises(iscsim.LoginFailed, match=match) as caught:
                await iscsim.connect(
                    GOOD, name, network=world.compute, retry=InitialLoginSettings(), on_attempt=seen.append
                )
        assert exit_code_of(caught.value) == code
        assert (now() < 0.1, len(seen)) == (True, 1)

    in_virtual_time(main)


def test_target_error_is_tried_again_after_time2wait_until_it_is_over() -> None:
    async def body(world: StoragePortals, target: iscsim.LiveTarget) -> None:
        group = target.node.portal_groups[1]
        group.enabled = False
        seen: list[LoginAttempt] = []
        asyncio.get_running_loop().call_later(9, lambda: setattr(group, "enabled", True))
        async with world.connect(GOOD, retry=InitialLoginSettings(), on_attempt=seen.append):
            assert [round(each.began) for each in seen] == [0, 2, 4, 6, 8, 10]

    with_target(body)


def test_redirection_is_followed_at_once() -> None:
    async def body(world: StoragePortals, target: iscsim.LiveTarget) -> None:
        target.redirect(f"{SILENT}:3260", 0)
        async with world.connect(f"{GOOD}:3260", retry=InitialLoginSettings()) as session:
            assert (str(session.portal), now() < 0.1) == (f"{SILENT}:3260", True)

    with_target(body, f"{GOOD}:3260", f"{SILENT}:3260")


@pytest.mark.parametrize(("permanent", "second"), [(False, GOOD), (True, SILENT)])
def test_attempt_after_a_redirection_in_vain_begins_where_the_target_is_at_home(
    permanent: bool, second: str
) -> None:
    async def body(world: StoragePortals, target: iscsim.LiveTarget) -> None:
        await world.listen()
        target.redirect(f"{SILENT}:3260", permanent=permanent)
        seen: list[LoginAttempt] = []
        retry = InitialLoginSettings(initial_login_retry_max=2)
        with pytest.raises(InitialLoginFailed, match="11 - iSCSI PDU timed out"):
            await world.connect(f"{GOOD}:3260", retry=retry, on_attempt=seen.append)
        assert [each.portal.address for each in seen[:3]] == [GOOD, SILENT, second]

    with_target(body)


def test_every_attempt_may_be_redirected_anew() -> None:
    async def body(world: StoragePortals, target: iscsim.LiveTarget) -> None:
        await world.listen()
        target.redirect(f"{SILENT}:3260")
        with pytest.raises(InitialLoginFailed) as caught:
            await world.connect(f"{GOOD}:3260", retry=InitialLoginSettings())
        assert (caught.value.exit_code, now()) == (11, pytest.approx(134, abs=0.1))
        assert [each.portal.address for each in caught.value.attempts] == [GOOD, SILENT] * 8

    with_target(body)


def test_redirections_in_a_ring_end() -> None:
    async def body(world: StoragePortals, target: iscsim.LiveTarget) -> None:
        target.redirect(f"{GOOD}:3260", 0)
        retry = InitialLoginSettings(login_timeout=3, initial_login_retry_max=1)
        with pytest.raises(InitialLoginFailed, match="more than 4 redirections"):
            await world.connect(f"{GOOD}:3260", retry=retry)

    with_target(body)


def test_connection_that_comes_late_leaves_the_login_the_rest_of_the_time() -> None:
    async def main() -> None:
        world = StoragePortals()
        world.network.latency_s = 2.0
        await world.listen()
        with pytest.raises(InitialLoginFailed) as caught:
            await world.connect(f"{SILENT}:3260", retry=InitialLoginSettings(initial_login_retry_max=1))
        assert (caught.value.exit_code, now()) == (11, pytest.approx(15, abs=0.1))

    in_virtual_time(main)


def test_message_says_how_long_how_often_and_why() -> None:
    async def main() -> None:
        world = StoragePortals()
        retry = InitialLoginSettings(login_timeout=5, initial_login_retry_max=4)
        with pytest.raises(InitialLoginFailed) as caught:
            await world.connect(f"{BLACKHOLE}:3260", retry=retry)
        assert str(caught.value) == (
            f"{TARGET} at {BLACKHOLE}:3260: (8 - connection timed out) after 22 s and 4 attempts,"
            f" the last one: no answer from {BLACKHOLE}:3260 in 5 s"
        )
        assert [(each.began, each.ended) for each in caught.value.attempts] == [
            (0, 5),
            (7, 12),
            (12, 17),
            (17, 22),
        ]

    in_virtual_time(main)


def test_target_error_to_the_end_is_time_that_is_over_in_a_wait() -> None:
    async def body(world: StoragePortals, target: iscsim.LiveTarget) -> None:
        target.node.portal_groups[1].enabled = False
        with pytest.raises(InitialLoginFailed, match="0x0301") as caught:
            await world.connect(GOOD, retry=InitialLoginSettings())
        assert (caught.value.exit_code, now()) == (8, pytest.approx(120, abs=0.5))

    with_target(body)


def test_target_error_without_time2wait_is_a_login_failure() -> None:
    async def body(world: StoragePortals, target: iscsim.LiveTarget) -> None:
        target.node.portal_groups[1].enabled = False
        with pytest.raises(InitialLoginFailed) as caught:
            await world.connect(GOOD, retry=InitialLoginSettings(initial_login_retry_max=0))
        assert caught.value.exit_code == 5

    with_target(body)


class Babbling(asyncio.Protocol):
    """Speaks another protocol."""

    def connection_made(self, transport: Any) -> None:
        transport.write(b"220 smtp.example ESMTP, welcome to the wrong port, says the server\r\n")


def test_nonsense_for_an_answer_lets_the_timer_run() -> None:
    async def main() -> None:
        world = StoragePortals()
        await world.array.listen(GOOD, 3260, Babbling)
        with pytest.raises(InitialLoginFailed) as caught:
            await world.connect(f"{GOOD}:3260", retry=InitialLoginSettings(initial_login_retry_max=1))
        assert (caught.value.exit_code, now()) == (11, pytest.approx(15, abs=0.1))

    in_virtual_time(main)


def test_target_that_cannot_prove_itself_ends_it_for_good() -> None:
    async def main() -> None:
        world = StoragePortals()
        name = "iqn.2026-11.org.iscsim:initiator"
        me = iscsim.ChapCredential("me", b"a secret of 17 by")
        theirs, expected = (iscsim.ChapCredential("array", bytes([letter] * 17)) for letter in b"xy")
        chap = iscsim.ChapConfig(outgoing=me, incoming=(expected,))
        async with iscsim.serve(target=TARGET, portals=[GOOD], network=world.array) as target:
            target.node.add_acl(name, chap=iscsim.ChapConfig(incoming=(me,), outgoing=theirs))
            with pytest.raises(InitialLoginFailed) as caught:
                await world.connect(GOOD, retry=InitialLoginSettings(), chap=chap)
        assert (caught.value.exit_code, now() < 10) == (19, True)

    in_virtual_time(main)


def test_who_stops_waiting_leaves_no_connection() -> None:
    async def main() -> None:
        world = StoragePortals()
        await world.listen()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await world.connect(f"{SILENT}:3260", retry=InitialLoginSettings())
        await asyncio.sleep(10)
        assert (world.network.connecting, list(world.network.transports)) == ({}, [])

    in_virtual_time(main)


def test_login_without_patience_gives_up_at_once_and_says_why() -> None:
    async def main() -> str:
        network = MemoryNetwork()
        network.add_host("array", "10.245.47.95")
        compute = network.add_host("compute", "10.245.47.10")
        settings = NodeSettings(initial_login_retry_max=0)
        with pytest.raises(InitialLoginFailed) as caught:
            await log_in("10.245.47.95:3299", TARGET, settings=settings, network=compute)
        assert now() < 1
        return str(caught.value)

    assert in_virtual_time(main) == "cannot connect to 10.245.47.95:3299: Connection refused"
