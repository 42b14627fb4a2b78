"""Each fault of a login, and what our initiator makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from faults.world import INITIATOR, SmallWorld

from iscsim.errors import ConfigError, ConnectionFailed, LoginFailed
from iscsim.faults.login_faults import CODES
from iscsim.pdu import LoginStatus
from iscsim.session.chap import ChapConfig, ChapCredential

OUR = ChapCredential("compute", b"a secret of ours")
THEIRS = ChapCredential("array", b"a secret of theirs")
MUTUAL = ChapConfig(outgoing=OUR, incoming=(THEIRS,))

FAILING: list[tuple[str, dict[str, Any], str, float]] = [
    ("login.no_response", {}, "no end of the login within 15 s", 15.0),
    ("login.delay", {"seconds": 16}, "no end of the login within 15 s", 15.0),
    ("login.drop_at", {"stage": "OPERATIONAL_NEGOTIATION"}, "the target closed the connection", 0.0),
    ("login.redirect", {"loop": 10}, "more than 4 redirections", 0.0),
    ("login.redirect", {"address": "nowhere:0"}, "redirects to nowhere", 0.0),
    ("login.param", {"key": "MaxBurstLength", "value": "0"}, "MaxBurstLength", 0.0),
    ("login.param", {"key": "MaxBurstLength", "value": "16777215"}, "MaxBurstLength", 0.0),
    ("login.param", {"key": "HeaderDigest", "value": "MD4"}, "HeaderDigest", 0.0),
    ("login.param", {"key": "HeaderDigest", "duplicate": True}, "HeaderDigest", 0.0),
    ("login.param", {"key": "TargetPortalGroupTag", "value": "x"}, "'x' is not a number", 0.0),
    ("login.param", {"key": "CHAP_A", "value": "5"}, "CHAP_A", 0.0),
    ("login.tsih_zero", {}, "TSIH 0 in the final response", 0.0),
    ("login.version", {"value": 1}, "version 1 was not offered", 0.0),
    ("login.partial_pdu", {}, "no end of the login within 15 s", 15.0),
    ("login.partial_pdu", {"length": 60}, "no end of the login within 15 s", 15.0),
    ("login.c_bit_forever", {}, "no end of the login within 15 s", 15.0),
    ("login.c_bit_forever", {"seconds": 0.05}, "no end after 64 exchanges", 3.25),
    ("login.unknown_keys", {"n": 400}, "data segment", 0.0),
    ("login.never_transit", {}, "no end of the login within 15 s", 15.0),
    ("login.never_transit", {"seconds": 0.05}, "no end after 64 exchanges", 3.25),
]


@pytest.mark.parametrize(("name", "given", "message", "seconds"), FAILING)
async def test_login_fails_at_the_faulty_portal_and_goes_through_at_the_other(
    world: SmallWorld, name: str, given: dict[str, Any], message: str, seconds: float
) -> None:
    rule = world.fault(name, portal=world.portals[0], **given)
    with world.taking(seconds), pytest.raises(ConnectionFailed, match=message):
        await world.connect(0)
    assert world.commented(rule)
    async with world.connect(1) as session:
        assert await session.ping(b"well") == b"well"
    assert world.target.sessions == []


@pytest.mark.parametrize(("status_class", "detail"), [*CODES, (1, 3), (2, 12), (3, 3), (4, 0), (255, 255)])
async def test_a_login_is_refused_at_once_with_any_status(
    world: SmallWorld, status_class: int, detail: int
) -> None:
    rule = world.fault("login.status", class_=status_class, detail=detail).times(1)
    with world.taking(0.0), pytest.raises(LoginFailed) as caught:
        await world.connect()
    assert caught.value.status == status_class << 8 | detail
    assert [frame.by_client for frame in world.commented(rule)] == [False]
    assert world.target.sessions == []
    async with world.connect() as session:
        assert session.is_open


async def test_a_delayed_login_takes_its_time_and_goes_through(world: SmallWorld) -> None:
    world.fault("login.delay", seconds=7).nth(1)
    with world.taking(7.0):
        session = await world.connect()
    await session.close()


@pytest.mark.parametrize("permanent", [False, True])
async def test_a_redirected_login_ends_at_the_other_portal(world: SmallWorld, permanent: bool) -> None:
    world.fault("login.redirect", portal=world.portals[0], address=world.portals[1], permanent=permanent)
    async with world.connect(0) as session:
        assert str(session.portal) == world.portals[1]


async def test_a_loop_of_redirections_that_ends_is_followed(world: SmallWorld) -> None:
    rule = world.fault("login.redirect", loop=3)
    async with world.connect(0) as session:
        assert str(session.portal) == world.portals[0]
    assert rule.fired == 3


async def test_another_limit_that_is_legal_holds(world: SmallWorld) -> None:
    world.fault("login.param", key="MaxRecvDataSegmentLength", value="512")
    async with world.connect() as session:
        assert session.parameters.max_send_data_segment_length == 512


async def test_a_key_that_is_not_answered_fails_the_login_or_keeps_its_default(world: SmallWorld) -> None:
    world.fault("login.param", key="HeaderDigest", missing=True)
    with pytest.raises(ConnectionFailed, match="HeaderDigest"):
        await world.connect()


async def test_an_unexpected_portal_group_is_seen_by_who_knows_the_right_one(world: SmallWorld) -> None:
    world.fault("login.tpgt", value=7)
    with pytest.raises(ConnectionFailed, match="portal group 7 instead of 1"):
        await world.connect(portal_group_tag=1)
    async with world.connect() as session:
        assert session.parameters.target_portal_group_tag == 7


async def test_keys_nobody_knows_are_passed_over(world: SmallWorld) -> None:
    world.fault("login.unknown_keys", n=20)
    async with world.connect() as session:
        assert len(await session.read(1, lba=0, blocks=1)) == 512


CHAP = [
    ("wrong_response", ConnectionFailed, "the target's CHAP name and response do not match"),
    ("reflect", ConnectionFailed, "the target's CHAP name and response do not match"),
    ("wrong_name", ConnectionFailed, "the target's CHAP name and response do not match"),
    ("no_mutual", ConnectionFailed, "CHAP_N, CHAP_R missing"),
    ("bad_alg", ConnectionFailed, "CHAP_A=99 was not proposed"),
    ("long_challenge", ConnectionFailed, "the value of CHAP_C has 2052 bytes"),
    ("short_challenge", LoginFailed, "authentication failed"),
]


@pytest.mark.parametrize(("mode", "error", "message"), CHAP)
async def test_chap_that_goes_wrong_opens_no_session(
    world: SmallWorld, mode: str, error: type[Exception], message: str
) -> None:
    world.target.node.chap = ChapConfig(incoming=(OUR,), outgoing=THEIRS)
    world.fault("login.chap", mode=mode).times(1)
    with world.taking(0.0), pytest.raises(error, match=message):
        await world.connect(chap=MUTUAL)
    async with world.connect(chap=MUTUAL) as session:
        assert session.is_open


Match = Callable[[SmallWorld], dict[str, Any]]
MATCHES: list[Match] = [
    lambda world: {"initiator": INITIATOR},
    lambda world: {"target": world.target.name},
    lambda world: {"host": "compute"},
    lambda world: {"portal": world.portals[1]},
    lambda world: {"stage": "operational_negotiation"},
    lambda world: {"initiator_address": "10.245.47.98:*"},
]


@pytest.mark.parametrize("match", MATCHES)
async def test_a_login_is_matched_by(
    world: SmallWorld, match: Callable[[SmallWorld], dict[str, Any]]
) -> None:
    world.fault("login.status", class_=3, detail=1, **match(world))
    with pytest.raises(LoginFailed) as caught:
        await world.connect(1)
    assert caught.value.status == LoginStatus.SERVICE_UNAVAILABLE


async def test_another_initiator_is_not_matched(world: SmallWorld) -> None:
    world.fault("login.status", class_=3, initiator="iqn.2001-04.com.example:*").may_not_fire()
    async with world.connect() as session:
        assert session.is_open


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"class_": 0}, "class is 0, expected 1 or more"),
        ({"class_": 2, "detail": 256}, "expected 255 or less"),
        ({"detail": 1}, "login.status needs class"),
        ({"klass": 2}, "did you mean 'class'"),
    ],
)
async def test_a_status_that_cannot_be_is_refused(
    world: SmallWorld, given: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        world.fault("login.status", **given)
