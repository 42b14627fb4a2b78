"""Personalities are data."""

import dataclasses

import pytest
from exchanges.ladder import log_in, make_entity

from iscsim.target.policy import LIO, PERSONALITIES, RFC, TargetPolicy


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


@pytest.mark.parametrize(
    "policy, offer, agreed",
    [
        (RFC, "FastAbort,ResponseFence,RFC3720", "FastAbort"),
        (RFC, "RFC3720,ResponseFence", "RFC3720"),
        (LIO, "FastAbort,ResponseFence,RFC3720", "RFC3720"),
    ],
)
def test_task_reporting_is_the_first_offer_a_personality_has(policy, offer, agreed):
    """RFC 7143 section 13.23."""
    exchange = log_in(make_entity(policy), {"TaskReporting": offer})
    assert exchange.session.parameters.task_reporting == agreed
