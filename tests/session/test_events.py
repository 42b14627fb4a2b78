"""Events are values."""

import dataclasses

import pytest

from iscsim.session.events import ConnectionEnded, Event, LoginCompleted, LoginRefused, PDURejected

EVENTS = [
    ConnectionEnded("why"),
    LoginCompleted("iqn.2026-11.org.example:host", "Normal"),
    LoginRefused(0x0201, "why"),
    PDURejected(4, "why"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_is_an_immutable_value(event):
    assert isinstance(event, Event)
    assert event == dataclasses.replace(event)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, dataclasses.fields(event)[0].name, "other")
