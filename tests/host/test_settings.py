"""The knobs of a host are checked."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.errors import ConfigError
from iscsim.host.settings import HostSettings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"open_iscsi_version": "3"}, "open_iscsi_version '3' is not one of 2.0-873, 2.1.8"),
        (
            {"find_multipaths": "maybe"},
            "find_multipaths 'maybe' is not one of strict, no, yes, greedy, smart",
        ),
        ({"udev_delay_s": -1}, "udev_delay_s must not be negative: -1"),
        ({"multipathd_delay_s": float("inf")}, "multipathd_delay_s must not be negative: inf"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HostSettings(**given)


def test_costs_of_commands_have_a_default() -> None:
    settings = HostSettings(command_costs={"lsblk": 2, "*": 0.5})
    assert [settings.cost_of(name) for name in ("lsblk", "cat")] == [2, 0.5]
    assert HostSettings().cost_of("lsblk") == 0
