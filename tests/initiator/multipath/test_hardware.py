"""Settings: defaults, the hardware table, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.errors import ConfigError
from iscsim.initiator.multipath.hardware import MapSettings, is_blacklisted, settings_for


def test_vnx_has_what_the_hardware_table_says() -> None:
    found = settings_for("DGC", "VRAID")
    assert (found.hardware_handler, found.path_grouping_policy, found.prio, found.path_checker) == (
        "1 emc",
        "group_by_prio",
        "emc",
        "emc_clariion",
    )
    assert (found.failback, found.no_path_retry, found.queues, found.retries) == ("immediate", 60, True, 60)


def test_lio_has_alua_and_tgt_the_defaults() -> None:
    assert settings_for("LIO-ORG", "disk0").prio == "alua"
    assert settings_for("IET", "VIRTUAL-DISK") == MapSettings()


def test_release_has_its_own_defaults() -> None:
    assert settings_for("DGC", "VRAID", release="0.4.9").path_selector == "round-robin 0"
    with pytest.raises(ConfigError, match=r"known are 0\.9\.4, 0\.4\.9"):
        settings_for("DGC", "VRAID", release="1")


def test_overrides_win() -> None:
    assert settings_for("DGC", "VRAID", overrides={"no_path_retry": "queue"}).no_path_retry == "queue"


def test_lunz_is_no_disk() -> None:
    assert is_blacklisted("DGC", "LUNZ")
    assert not is_blacklisted("DGC", "VRAID")
    assert not is_blacklisted("IET", "LUNZ")


@pytest.mark.parametrize(
    "settings,queues",
    [
        ({}, False),
        ({"features": "1 queue_if_no_path"}, True),
        ({"features": "1 queue_if_no_path", "no_path_retry": "fail"}, False),
        ({"no_path_retry": 0}, False),
        ({"no_path_retry": 3}, True),
    ],
)
def test_no_path_retry_beats_the_feature(settings: dict[str, Any], queues: bool) -> None:
    assert MapSettings(**settings).queues is queues


@pytest.mark.parametrize(
    "changes",
    [
        {"path_grouping_policy": "by_moon"},
        {"path_selector": "random 0"},
        {"path_checker": "hp_sw"},
        {"prio": "weighted"},
        {"hardware_handler": "1 rdac"},
        {"failback": "later"},
        {"failback": -1},
        {"no_path_retry": "always"},
        {"rr_min_io_rq": 0},
        {"polling_interval": 0},
        {"colour": "red"},
    ],
    ids=str,
)
def test_wrong_setting_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        MapSettings().changed(changes)
