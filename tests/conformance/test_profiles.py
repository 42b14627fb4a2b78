from __future__ import annotations

import pytest

from conformance.profiles import LUN_EXTRAS, PROFILES, SERVE_EXTRAS, named
from iscsim.target.options import parse_lun


def test_one_profile_takes_no_writes_and_one_has_two_urls() -> None:
    assert [profile.name for profile in PROFILES if profile.protected] == ["read-only"]
    assert [profile.name for profile in PROFILES if profile.urls == 2] == ["two portals"]


def test_profiles_are_chosen_by_name() -> None:
    assert named([]) == PROFILES
    assert [profile.name for profile in named(["thick"])] == ["thick"]
    with pytest.raises(KeyError):
        named(["thicker"])


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("extra", ["", *LUN_EXTRAS.values()])
def test_every_specification_is_one_the_target_takes(profile, extra) -> None:
    spec = parse_lun(f"1={profile.spec}{extra}")
    assert spec.readonly == profile.protected


def test_extras_are_of_suites_by_name() -> None:
    assert all(name.isalnum() for name in (*LUN_EXTRAS, *SERVE_EXTRAS))
