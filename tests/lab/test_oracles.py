"""What excuses what."""

from __future__ import annotations

from typing import Any, ClassVar

from iscsim.lab.oracles import Excuses, Oracles


def fired(**known: object) -> Excuses:
    excuses = Excuses()
    excuses.learn({"event": "fault", "fired": True, "rule": "x", **known})
    return excuses


def test_fault_of_a_connection_excuses_that_one() -> None:
    excuses = fired(portal="a:1", initiator_address="b:2")
    assert excuses.connection("a:1", "b:2")
    assert not excuses.connection("a:1", "b:3")
    assert not excuses.unit("6")


def test_fault_before_there_is_a_connection_excuses_its_portal() -> None:
    excuses = fired(portal="a:1", initiator_address="0.0.0.0:0")
    assert excuses.connection("a:1", "b:2")
    assert not excuses.connection("a:2", "b:2")


def test_fault_of_a_store_excuses_its_unit() -> None:
    excuses = fired(operation="write", unit="6")
    assert excuses.unit("6")
    assert not excuses.unit("7")


def test_fault_nobody_can_place_excuses_everybody() -> None:
    excuses = fired()
    assert excuses.connection("a:1", "b:2")
    assert excuses.unit("6")


def test_fault_that_did_not_fire_excuses_nobody() -> None:
    excuses = Excuses()
    excuses.learn({"event": "fault", "fired": False, "rule": "x", "portal": "a:1"})
    assert not excuses.connection("a:1", "b:2")


class Kept:
    """A session of a target without connections."""

    initiator_name = "iqn.2026-11.test:compute"
    connections: ClassVar[dict[int, Any]] = {}


def test_session_without_connections_is_at_its_end() -> None:
    sessions: Any = [Kept()]
    assert Oracles().problems(sessions) == []
