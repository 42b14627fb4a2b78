"""Personalities are data."""

import dataclasses

import pytest

from iscsim.target.policy import PERSONALITIES, RFC, TargetPolicy


def test_personalities_are_known_by_their_names():
    assert {name: policy.name for name, policy in PERSONALITIES.items()} == {
        "rfc": "rfc",
        "lio": "lio",
        "tgt": "tgt",
    }
    assert PERSONALITIES["rfc"] == TargetPolicy() == RFC


def test_a_personality_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RFC.login_timeout_s = 1.0
