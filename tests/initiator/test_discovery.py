"""Discovery: SendTargets against our target, and answers that are not in order."""

import logging
from typing import Any

import pytest

from iscsim.errors import ConfigError, ConnectionFailed, LoginFailed
from iscsim.initiator.discovery import DiscoveredTarget, discover, parse_targets
from iscsim.initiator.portal import Portal
from iscsim.session.chap import ChapConfig, ChapCredential

ASKED = Portal("10.0.0.9", 3260)


async def test_every_target_with_all_its_portals(target: Any) -> None:
    other = target.entity.add_target("iqn.2026-11.test:other")
    other.add_portal(target.portals[1])
    first, second = (Portal("127.0.0.1", portal.port) for portal in target.portals)
    assert await discover(target.portal) == [
        DiscoveredTarget(
            target.name, [Portal("127.0.0.1", first.port, 1), Portal("127.0.0.1", second.port, 2)]
        ),
        DiscoveredTarget("iqn.2026-11.test:other", [Portal("127.0.0.1", second.port, 1)]),
    ]
    assert target.entity.sessions == []


async def test_more_targets_than_one_pdu_holds(target: Any) -> None:
    for number in range(500):
        node = target.entity.add_target(f"iqn.2026-11.test:disk-with-a-rather-long-name-{number:05}")
        node.add_portal(target.portals[0])
    assert len(await discover(target.portal)) == 501


async def test_discovery_with_chap(target: Any) -> None:
    target.entity.discovery_chap = ChapConfig(incoming=(ChapCredential("user", b"a secret of 16 b"),))
    assert len(await discover(target.portal, chap=("user", "a secret of 16 b"))) == 1
    with pytest.raises(LoginFailed):
        await discover(target.portal)


async def test_discovery_with_digests(target: Any) -> None:
    assert len(await discover(target.portal, header_digest=True, data_digest=True)) == 1


async def test_nobody_there() -> None:
    with pytest.raises(ConnectionFailed, match="Connection refused"):
        await discover("127.0.0.1:1")
    with pytest.raises(ConfigError):
        await discover("nobody:there:1")


async def test_connection_lost_before_the_answer(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from iscsim.target.connection import TargetConnection

    monkeypatch.setattr(TargetConnection, "_receive_illegal", lambda self, pdu: self.end("no"))
    monkeypatch.setattr(TargetConnection, "_legal_in", {phase: {} for phase in TargetConnection._legal_in})
    with pytest.raises(ConnectionFailed):
        await discover(target.portal)


def test_target_without_an_address_is_where_it_was_asked_for() -> None:
    assert parse_targets([("TargetName", "a")], ASKED) == [DiscoveredTarget("a", [ASKED])]


def test_target_told_twice_has_the_portals_of_both() -> None:
    pairs = [
        ("TargetName", "a"),
        ("TargetAddress", "10.0.0.1:3260,1"),
        ("TargetName", "b"),
        ("TargetAddress", "[fe80::1]:3260,1"),
        ("TargetName", "a"),
        ("TargetAddress", "10.0.0.2:3260,2"),
        ("TargetAddress", "10.0.0.1:3260,1"),
        ("X-com.example", "ignored"),
    ]
    assert parse_targets(pairs, ASKED) == [
        DiscoveredTarget("a", [Portal("10.0.0.1", 3260, 1), Portal("10.0.0.2", 3260, 2)]),
        DiscoveredTarget("b", [Portal("fe80::1", 3260, 1)]),
    ]


def test_address_that_is_none_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    pairs = [("TargetName", "a"), ("TargetAddress", "::::"), ("TargetAddress", "10.0.0.1,1")]
    with caplog.at_level(logging.WARNING):
        (found,) = parse_targets(pairs, ASKED)
    assert found.portals == [Portal("10.0.0.1", 3260, 1)]
    assert "'::::'" in caplog.text


def test_name_that_steers_a_terminal_is_quoted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    parse_targets([("TargetName", "a\x1b[2J\n"), ("TargetAddress", "::::")], ASKED)
    assert "'a\\x1b[2J\\n'" in caplog.text


def test_as_many_addresses_as_an_answer_holds() -> None:
    """Looking each up among those before would take minutes."""
    pairs = [("TargetAddress", f"10.{number >> 8}.{number & 255}.1:3260,1") for number in range(60000)]
    (found,) = parse_targets([("TargetName", "a"), *pairs, *pairs[:2]], ASKED)
    assert len(found.portals) == 60000


def test_address_of_no_target_is_an_error() -> None:
    with pytest.raises(ConnectionFailed, match="an address of no target"):
        parse_targets([("TargetAddress", "10.0.0.1:3260,1")], ASKED)


@pytest.mark.parametrize(
    "name",
    ["", "iqn.2026-11.a:../../etc/x", "iqn.2026-11.a:\x1b[2J", "iqn.2026-11.a:\nnode.x = y", "x" * 65536],
)
def test_what_is_no_name_of_a_target_is_passed_over(name: str) -> None:
    told = [("TargetName", name), ("TargetAddress", "10.0.0.1:3260,1"), ("TargetName", "iqn.2026-11.a:good")]
    assert [each.name for each in parse_targets(told, Portal("10.0.0.9"))] == ["iqn.2026-11.a:good"]
