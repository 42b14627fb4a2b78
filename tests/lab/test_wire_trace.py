"""What of the wire is in the trace."""

from __future__ import annotations

import json
import zlib

from iscsim.faults.trace import Trace
from iscsim.lab.wire_trace import TracedWire


def test_every_event_of_a_connection_is_a_line() -> None:
    trace = Trace(lambda: 0.5)
    record = TracedWire(trace).connection(("10.0.0.1", 5), ("10.0.0.2", 3260), interface="eth0")
    record.attempted(0.5)
    record.accepted(0.5)
    record.sent(True, b"abc", 0.5)
    record.sent(False, b"d", 0.5, delivered=False)
    record.finished(True, 0.5)
    record.reset(False, 0.5)
    lines = [json.loads(line) for line in trace.lines]
    assert [line["event"] for line in lines] == ["connect", "accept", "data", "data", "close", "reset"]
    assert {(line["client"], line["server"]) for line in lines} == {("10.0.0.1:5", "10.0.0.2:3260")}
    assert (lines[2]["length"], lines[2]["crc32"], "lost" in lines[2]) == (3, zlib.crc32(b"abc"), False)
    assert lines[3]["lost"] is True
