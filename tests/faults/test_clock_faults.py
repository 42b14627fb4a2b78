"""What our initiator does when the time of day of its host is set."""

from __future__ import annotations

from typing import Any

import pytest

import iscsim
from iscsim.errors import ConfigError, FaultError
from iscsim.initiator import InitialLoginFailed, InitialLoginSettings
from iscsim.lab import Lab


def gives_up_after(offset: float, **given: Any) -> float:
    """Seconds open-iscsi's patience lasts at a dead portal when the clock is set after 20 of them."""

    async def main(lab: Lab) -> float:
        target, compute = await lab.target(), lab.host("compute")
        lab.fault("net.blackhole", portal=target.portal)
        rule = lab.fault("clock.skew", host="compute", offset=offset).after(20)
        if "until" in given:
            rule.until(given["until"])
        with pytest.raises(InitialLoginFailed) as caught:
            await compute.connect(target, retry=InitialLoginSettings())
        assert caught.value.exit_code == 8
        return lab.now

    return Lab.run(main)


@pytest.mark.parametrize(
    ("offset", "seconds"),
    [(60, 62), (-60, 182), (1000, 32), (0.5, 122)],
)
def test_patience_ends_by_the_time_of_day(offset: float, seconds: float) -> None:
    assert gives_up_after(offset) == pytest.approx(seconds, abs=0.1)


def test_clock_is_right_again_at_the_end() -> None:
    assert gives_up_after(60, until=40) == pytest.approx(122, abs=0.1)


def test_session_does_not_care() -> None:
    async def main(lab: Lab) -> None:
        target, compute = await lab.target(), lab.host("compute")
        async with compute.connect(target) as session:
            lab.fault("clock.skew", host="compute", offset=86400)
            await lab.settle(60)
            assert compute.clock() == lab.now + 86400
            await session.read(1, lba=0, blocks=1)
        lab.heal()
        assert compute.clock() == lab.now

    Lab.run(main)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"host": "compute", "offset": 0}, "offset is 0"),
        ({"host": "comptue", "offset": 1}, "nobody has host='comptue' .did you mean 'compute'"),
        ({"host": "array", "offset": 1}, "nobody has host='array'"),
        ({"host": "compute"}, "needs offset"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    async def main(lab: Lab) -> None:
        await lab.target()
        lab.host("compute")
        with pytest.raises(ConfigError, match=said):
            lab.fault("clock.skew", **given)

    iscsim.Lab.run(main)


async def test_world_without_hosts_says_so(world: Any) -> None:
    from iscsim.faults.kinds import find_kind

    rule = world.fault("clock.skew", host="compute", offset=1).may_not_fire().after(1e6)
    with pytest.raises(FaultError, match="no host compute"):
        find_kind("clock.skew").action(rule, world)
