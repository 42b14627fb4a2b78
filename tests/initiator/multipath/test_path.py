"""One path: what it is called and how it shows itself."""

from __future__ import annotations

import pytest
from initiator.multipath.straw import Array

from iscsim.initiator import multipath
from iscsim.initiator.multipath.path import device_number
from iscsim.initiator.multipath.states import CheckerState, PathState


def test_path_shows_its_name_or_its_portal() -> None:
    named, nameless = Array().paths("2:0:0:197 sdd", "")
    assert str(named) == "2:0:0:197 sdd 8:48 active ready running"
    assert str(nameless) == "10.0.0.2:3260 lun 197 active ready running"
    assert (named.where, nameless.where) == ("sdd", "10.0.0.2:3260")


def test_path_of_a_device_that_has_no_portal_of_its_own_shows_its_place() -> None:
    (path,) = Array().paths("2:0:0:197 sdd")
    del path.session.portal
    assert str(path) == "2:0:0:197 sdd 8:48 active ready running"
    path.name = ""
    assert str(path) == "2:0:0:197 lun 197 active ready running"


def test_path_shows_its_states() -> None:
    (path,) = Array().paths("2:0:0:197 sdd")
    path.state, path.checker_state, path.session.state = PathState.FAILED, CheckerState.WILD, "offline"
    assert str(path) == "2:0:0:197 sdd 8:48 failed undef offline"


@pytest.mark.parametrize(
    "name,number", [("sda", "8:0"), ("sdd", "8:48"), ("sdp", "8:240"), ("sdq", "65:0"), ("sdaa", "65:160")]
)
def test_device_numbers(name: str, number: str) -> None:
    assert device_number(name) == number


def test_every_public_name_is_there() -> None:
    assert [name for name in multipath.__all__ if not hasattr(multipath, name)] == []
    assert dir(multipath) == multipath.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = multipath.nothing
