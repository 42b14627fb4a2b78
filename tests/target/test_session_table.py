"""Sessions of a node, and how they are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from iscsim.target.session_table import SessionTable


@dataclass(eq=False)
class Session:
    """As much of a `TargetSession` as the table looks at."""

    identity: tuple[str, bytes, int]
    tsih: int
    portal_group_tag: int


def session(name: str, tsih: int, tag: int = 1) -> Any:
    return cast(Any, Session((name, b"123456", tag), tsih, tag))


def test_session_is_found_by_its_nexus_until_it_is_removed() -> None:
    table, one = SessionTable(), session("one", 1)
    table.append(one)
    assert (table.find(one.identity), table.find(("two", b"123456", 1))) == (one, None)
    table.remove(one)
    assert (table.find(one.identity), table.has_handle(1), list(table)) == (None, False, [])


def test_handle_is_taken_until_the_last_session_with_it_is_gone() -> None:
    table, first, second = SessionTable(), session("one", 7), session("two", 7)
    table += [first, second]
    table.remove(first)
    assert table.has_handle(7)
    assert not table.has_handle(8)
    table.remove(second)
    assert not table.has_handle(7)


def test_sessions_stay_in_the_order_in_which_they_came() -> None:
    table, sessions = SessionTable(), [session(name, 1) for name in "bca"]
    table.extend(sessions)
    assert table == sessions


def test_session_that_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(ValueError):
        SessionTable().remove(session("one", 1))


def test_portal_groups_are_those_of_the_sessions_there_are() -> None:
    table, sessions = SessionTable(), [session("one", 1, 1), session("two", 2, 1), session("three", 3, 7)]
    table += sessions
    table.remove(sessions[0])
    assert table.portal_group_tags == {1, 7}
    table.remove(sessions[2])
    assert table.portal_group_tags == {1}
