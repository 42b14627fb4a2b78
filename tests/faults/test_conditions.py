"""What a network is told of the rules."""

from __future__ import annotations

from iscsim.faults.conditions import FaultyConditions, direction_of, known_of
from iscsim.faults.engine import FaultEngine
from iscsim.net.conditions import Flow, Passage, Reply, Resolution, Verdict
from iscsim.net.memory import MemoryNetwork

OUT = Flow("compute", ("10.0.0.2", 49152), "array", ("10.0.0.1", 3260), 4)
BACK = Flow("array", ("10.0.0.1", 3260), "compute", ("10.0.0.2", 49152), 4, from_client=False)


def test_without_rules_everything_passes() -> None:
    conditions = FaultyConditions(FaultEngine())
    assert conditions.connecting(OUT, 1, 0.0) == Reply(Verdict.PASS)
    assert conditions.accepting(OUT, 0.0) == 0
    assert (
        conditions.segment(OUT, b"data", 0.0) == conditions.datagram(OUT, b"data", 0.0) == [Passage(b"data")]
    )
    assert conditions.resolving("compute", "array", 0.0) == Resolution()


def test_both_directions_are_one_connection_from_client_to_portal() -> None:
    engine = FaultEngine()
    engine.add(
        "tcp.stall", src="10.0.0.2", dst="10.0.0.1:3260", portal="10.0.0.1:3260", host="compute", port=3260
    )
    conditions = FaultyConditions(engine)
    for flow in (OUT, BACK):
        (passage,) = conditions.segment(flow, b"data", 0.0) or []
        assert passage.lost
    assert (direction_of(OUT), direction_of(BACK)) == ("to_target", "to_initiator")


def test_each_rule_works_on_what_is_left_and_comments_are_joined() -> None:
    engine = FaultEngine()
    engine.add("tcp.garbage", bytes=b"!", then="continue")
    engine.add("net.latency", delay=2)
    engine.add("tcp.corrupt", offset=-1, xor=1)
    pieces = FaultyConditions(engine).segment(OUT, b"ab", 0.0) or []
    assert [(piece.data, piece.delay_s) for piece in pieces] == [(b"!", 2.0), (b"ac", 2.0)]
    assert [(piece.comment or "").count("fault ") for piece in pieces] == [3, 0]


def test_nothing_is_left_to_do_for_rules_behind_a_loss() -> None:
    engine = FaultEngine()
    engine.add("tcp.stall")
    engine.add("tcp.garbage")
    (passage,) = FaultyConditions(engine).segment(OUT, b"ab", 0.0) or []
    assert (passage.data, passage.lost) == (b"ab", True)
    assert "[tcp.stall-1 #1]; fault tcp.garbage" in (passage.comment or "")


def test_first_verdict_counts_and_delays_add_up() -> None:
    engine = FaultEngine()
    engine.add("net.latency", delay=1)
    engine.add("net.unreachable", code="net")
    engine.add("net.refuse")
    engine.add("net.latency", delay=1, dir="to_target")
    reply = FaultyConditions(engine).connecting(OUT, 1, 0.0)
    assert (reply.verdict, reply.delay_s) == (Verdict.NETWORK_UNREACHABLE, 3.0)
    assert (reply.comment or "").count("fault ") == 4


def test_ipv6_is_shown_in_brackets() -> None:
    engine = FaultEngine()
    engine.add("net.refuse", portal="[fe80::1]:3260")
    flow = Flow("a", ("fe80::2", 1), "b", ("fe80::1", 3260), 1)
    assert FaultyConditions(engine).connecting(flow, 1, 0.0).verdict is Verdict.REFUSED


def test_lab_knows_its_hosts_cards_and_addresses() -> None:
    network = MemoryNetwork()
    known = known_of(network)
    network.add_host("array", "10.0.0.1", "10.0.0.2")
    assert {name: list(ask()) for name, ask in known.items()} == {
        "host": ["array"],
        "nic": ["array/eth0", "array/eth1"],
        "address": ["10.0.0.1", "10.0.0.2"],
        "place": ["array", "array/eth0", "array/eth1"],
    }
