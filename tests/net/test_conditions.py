"""Nothing is in the way."""

from __future__ import annotations

from iscsim.net.conditions import CLEAR, Flow, Passage, Reply, Verdict

FLOW = Flow("compute", ("10.0.0.2", 49152), "array", ("10.0.0.1", 3260), 1)


def test_clear_conditions_let_everything_pass_as_it_is() -> None:
    assert CLEAR.connecting(FLOW, 1, 0.0) == Reply(Verdict.PASS)
    assert CLEAR.accepting(FLOW, 0.0) == 0
    assert CLEAR.segment(FLOW, b"data", 0.0) == CLEAR.datagram(FLOW, b"data", 0.0) == [Passage(b"data")]
