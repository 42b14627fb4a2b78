"""The seam: what stands on each side of it fits."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from iscsim.capture import Recorder as PcapRecorder
from iscsim.capture import WireRecorder as PcapWireRecorder
from iscsim.capture.wire import RecordedWire
from iscsim.net.conditions import CLEAR, Conditions
from iscsim.net.memory import HostNetwork
from iscsim.net.memory_host import MemoryListener
from iscsim.net.network import ConnectionRecord, Listener, Network, Recorder, WireRecord, WireRecorder
from iscsim.net.tcp import TCPListener, TCPNetwork


@pytest.mark.parametrize(
    "protocol, implementation",
    [
        (Network, TCPNetwork),
        (Network, HostNetwork),
        (Listener, TCPListener),
        (Recorder, PcapRecorder),
        (WireRecorder, PcapWireRecorder),
        (WireRecord, RecordedWire),
        (Conditions, type(CLEAR)),
    ],
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


def test_listener_in_memory_has_the_verbs_of_one_and_those_of_a_server_of_asyncio() -> None:
    servers = ("sockets", "close", "wait_closed", "is_serving", "get_loop", "start_serving", "serve_forever")
    wanted = [name for name in vars(Listener) if not name.startswith("_") and name != "address"]
    assert [name for name in (*wanted, *servers) if not hasattr(MemoryListener, name)] == []
