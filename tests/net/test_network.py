"""The seam: what stands on each side of it fits."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from iscsim.capture import Recorder as PcapRecorder
from iscsim.net.network import ConnectionRecord, Listener, Network, Recorder
from iscsim.net.tcp import TCPListener, TCPNetwork


@pytest.mark.parametrize(
    "protocol, implementation",
    [(Network, TCPNetwork), (Listener, TCPListener), (Recorder, PcapRecorder)],
)
def test_implementation_has_every_verb_with_the_same_arguments(protocol: Any, implementation: Any) -> None:
    for name, verb in vars(protocol).items():
        if not name.startswith("_"):
            theirs = getattr(implementation, name)
            if isinstance(verb, property):
                assert isinstance(theirs, property)
            else:
                wanted, offered = (list(inspect.signature(each).parameters) for each in (verb, theirs))
                assert offered[: len(wanted)] == wanted


def test_record_of_a_capture_has_every_verb(tmp_path: Any) -> None:
    with PcapRecorder(tmp_path / "a.pcapng", epoch_offset_s=0.0) as recorder:
        record = recorder.connection(("127.0.0.1", 40000), ("127.0.0.1", 3260))
        verbs = [name for name in vars(ConnectionRecord) if not name.startswith("_")]
        assert [verb for verb in verbs if not callable(getattr(record, verb, None))] == []
