"""The engine: armed, asked, fired, counted, written down, judged."""

from __future__ import annotations

import logging

import pytest

from iscsim.errors import ConfigError, FaultError
from iscsim.faults.engine import FaultEngine
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.trace import Trace


def connect(portal: str = "10.0.0.1:3260", now: float = 0.0) -> Occasion:
    return Occasion(hook=Hook.CONNECT, now=now, portal=portal, connection=1)


def test_rules_fire_in_the_order_in_which_they_were_armed() -> None:
    engine = FaultEngine()
    for name in ("net.refuse", "net.blackhole", "net.refuse"):
        engine.add(name)
    assert [rule.id for rule in engine.firing(connect())] == [
        "net.refuse-1",
        "net.blackhole-1",
        "net.refuse-2",
    ]


def test_ids_are_free_ones_and_of_their_name_only() -> None:
    engine = FaultEngine()
    engine.add("net.refuse", id="net.refuse-1")
    assert engine.add("net.refuse").id == "net.refuse-2"
    assert engine.add("net.blackhole").id == "net.blackhole-1"
    with pytest.raises(ConfigError, match=r"there is a fault 'net.refuse-2' already"):
        engine.add("net.refuse", id="net.refuse-2")


def test_hook_without_rules_expects_nothing() -> None:
    engine = FaultEngine()
    rule = engine.add("net.refuse")
    assert [hook for hook in Hook if engine.expects(hook)] == [Hook.CONNECT]
    engine.remove(rule.id)
    assert not engine.expects(Hook.CONNECT)
    with pytest.raises(ConfigError, match=r"unknown fault rule 'net.refuse-1'"):
        engine.remove(rule.id)


def test_listeners_hear_of_rules_that_come_and_go() -> None:
    engine, heard = FaultEngine(), []
    engine.listeners.append(lambda rule: heard.append(f"+{rule.id}"))
    engine.removal_listeners.append(lambda rule: heard.append(f"-{rule.id}"))
    engine.add("net.refuse")
    engine.add("net.refuse")
    engine.flags.add("up")
    engine.reset()
    assert heard == ["+net.refuse-1", "+net.refuse-2", "-net.refuse-1", "-net.refuse-2"]
    assert (engine.rules, engine.flags) == ({}, set())


def test_unknown_names_are_one_line_with_the_nearest() -> None:
    engine = FaultEngine()
    with pytest.raises(ConfigError, match=r"unknown fault 'net.blakhole' \(did you mean 'net.blackhole'\?\)"):
        engine.add("net.blakhole")
    with pytest.raises(ConfigError, match=r"of net.latency 'delya' .did you mean 'delay'"):
        engine.add("net.latency", delya=1)


def test_fault_of_another_network_is_refused() -> None:
    engine = FaultEngine()
    engine.network = "tcp"
    with pytest.raises(ConfigError, match=r"net.partition needs the memory network"):
        engine.add("net.partition", groups=[["a"], ["b"]])
    engine.add("net.refuse")


def test_firings_are_in_log_trace_and_list(caplog: pytest.LogCaptureFixture) -> None:
    trace = Trace(lambda: 2.0)
    engine = FaultEngine(trace=trace)
    engine.add("net.unreachable", code="net").nth(2)
    with caplog.at_level(logging.WARNING, "iscsim.faults"):
        engine.firing(connect())
        engine.firing(connect(now=2.0))
    comment = "fault net.unreachable(code=net) [net.unreachable-1 #1]"
    assert [(each.at, each.rule, each.comment) for each in engine.firings] == [
        (2.0, "net.unreachable-1", comment)
    ]
    assert [record.getMessage() for record in caplog.records] == [f"{comment} (10.0.0.1:3260)"]
    assert [("fired" in line, '"fired":true' in line) for line in trace.lines] == [
        (False, False),
        (True, False),
        (True, True),
    ]
    assert '"event":"armed"' in trace.lines[0]
    assert '"nth":[2]' in trace.lines[0]


def test_log_names_no_more_than_sixteen_firings_of_a_rule(caplog: pytest.LogCaptureFixture) -> None:
    engine = FaultEngine()
    engine.add("net.refuse")
    with caplog.at_level(logging.WARNING, "iscsim.faults"):
        for _ in range(40):
            engine.firing(connect())
    assert len(caplog.records) == 16
    assert caplog.records[-1].getMessage().endswith("; further ones are not logged")
    assert len(engine.firings) == 40


def test_long_bytes_are_cut_in_comments() -> None:
    engine = FaultEngine()
    rule = engine.add("tcp.garbage", bytes=b"\xaa" * 500)
    assert rule.comment == f"fault tcp.garbage(bytes={'aa' * 32}..., then=close) [tcp.garbage-1 #0]"


def test_check_says_why_a_fault_has_not_fired() -> None:
    engine = FaultEngine()
    engine.add("net.refuse", portal="10.0.0.2:3260")
    engine.add("net.unreachable").nth(3)
    engine.add("tcp.stall")
    engine.add("net.refuse", portal="10.0.0.3:3260").may_not_fire()
    engine.firing(connect())
    engine.firing(connect())
    with pytest.raises(FaultError) as caught:
        engine.check()
    assert str(caught.value).split("; fault ") == [
        "fault net.refuse-1 (net.refuse) never fired: nothing matched; "
        "2 occasions had portal='10.0.0.1:3260', not '10.0.0.2:3260'",
        "net.unreachable-1 (net.unreachable) never fired: 2 occasions came by, none was what it waits for",
        "tcp.stall-1 (tcp.stall) never fired: nothing came by at tcp.segment",
    ]


def test_describe_tells_how_often() -> None:
    engine = FaultEngine()
    engine.add("net.refuse").times(1)
    engine.firing(connect())
    engine.firing(connect())
    (found,) = engine.describe()
    assert (found["id"], found["fired"], found["armed"]) == ("net.refuse-1", 1, False)


def test_names_are_those_of_every_room() -> None:
    names = FaultEngine.names()
    assert {"net.dns", "tcp.stall", "path.flap"} <= set(names)
    assert names == sorted(names)
