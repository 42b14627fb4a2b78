from __future__ import annotations

import pytest

from iscsim.capture.claims import LINGER_S, Claim, Claims

CLIENT, SERVER = ("127.0.0.1", 40000), ("127.0.0.1", 41000)
SHOWN = ("127.0.0.1", 3260)
PAIR = frozenset((CLIENT, SERVER))


@pytest.fixture
def claims() -> Claims:
    return Claims()


def begin(claims: Claims, server_port: int = 41000) -> Claim:
    return claims.begin(frozenset((CLIENT, ("127.0.0.1", server_port))), CLIENT, SHOWN)


def test_first_end_records_and_second_joins(claims: Claims) -> None:
    assert claims.join(PAIR, 0.0) is None
    claim = begin(claims)
    assert claims.join(PAIR, 0.0) is claim


def test_third_end_is_a_new_connection(claims: Claims) -> None:
    begin(claims)
    claims.join(PAIR, 0.0)
    assert claims.join(PAIR, 0.0) is None


def test_pair_is_free_when_both_ends_have_closed(claims: Claims) -> None:
    claim = begin(claims)
    claims.join(PAIR, 0.0)
    claims.release(claim, 1.0)
    claims.release(claim, 1.0)
    assert claims.join(PAIR, 1.0) is None


def test_end_that_opens_just_after_the_other_has_closed_still_joins(claims: Claims) -> None:
    claim = begin(claims)
    claims.release(claim, 5.0)
    assert claims.join(PAIR, 5.0 + LINGER_S / 2) is claim


def test_pair_with_one_end_here_is_free_after_a_while(claims: Claims) -> None:
    claims.release(begin(claims), 5.0)
    assert claims.join(PAIR, 5.0 + LINGER_S) is None


def test_late_close_of_an_old_connection_does_not_touch_the_new_one(claims: Claims) -> None:
    old = begin(claims)
    claims.join(PAIR, 0.0)
    claims.release(old, 1.0)
    new = begin(claims)
    claims.release(old, 1.1)
    assert claims.join(PAIR, 1.2) is new


def test_client_port_moves_on_when_two_portals_are_shown_as_one(claims: Claims) -> None:
    assert begin(claims, 41000).shown_client == ("127.0.0.1", 40000)
    assert begin(claims, 41001).shown_client == ("127.0.0.1", 40001)


def test_shown_port_is_used_again_after_the_close(claims: Claims) -> None:
    claims.release(begin(claims, 41000), 0.0)
    claims.join(PAIR, LINGER_S)
    assert begin(claims, 41001).shown_client == ("127.0.0.1", 40000)


def test_shown_client_port_wraps_to_1(claims: Claims) -> None:
    last = ("127.0.0.1", 65535)
    claims.begin(frozenset((last, ("127.0.0.1", 1))), last, SHOWN)
    assert claims.begin(frozenset((last, ("127.0.0.1", 2))), last, SHOWN).shown_client == ("127.0.0.1", 1)
