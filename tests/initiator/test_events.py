"""Events an initiator's connection adds are values like the others."""

import dataclasses

import pytest

from iscsim.initiator.events import AsyncMessageReceived
from iscsim.session.events import Event


def test_asynchronous_message_is_a_frozen_event() -> None:
    event = AsyncMessageReceived(1, bytes(8), 0, 0, 0, 3)
    assert isinstance(event, Event)
    assert event.sense_data == b""
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.code = 2  # type: ignore[misc]
