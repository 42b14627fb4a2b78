"""Texts over several PDUs: the C bit (RFC 7143 sections 6.1 and 6.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import NegotiationError
from iscsim.session.text import MAX_EXCHANGES, TextAssembler, TextExchange, split_text


@given(st.binary(max_size=2000), st.integers(1, 700))
def test_what_is_split_is_joined_again(data, max_length):
    assembler = TextAssembler()
    *firsts, last = split_text(data, max_length)
    assert all(len(segment) == max_length for segment in firsts)
    assert len(last) <= max_length
    assert all(assembler.add(segment, True) is None for segment in firsts)
    assert assembler.add(last, False) == data
    assert not assembler.partial


def test_an_empty_text_is_one_empty_segment():
    assert split_text(b"", 8192) == [b""]


def test_an_assembler_keeps_nothing_beyond_its_limit():
    assembler = TextAssembler(limit=10)
    assembler.add(b"x" * 10, True)
    assert assembler.partial
    with pytest.raises(NegotiationError):
        assembler.add(b"x", True)
    assert not assembler.partial


def test_a_pair_may_be_cut_inside_its_key_and_its_value():
    exchange = TextExchange(8192)
    assert exchange.receive(b"SendTar", True) is None
    assert exchange.receive(b"gets=A", True) is None
    assert exchange.receive(b"ll\0", False) == [("SendTargets", "All")]


def test_a_c_bit_without_data_is_harmless():
    exchange = TextExchange(8192)
    assert exchange.receive(b"", True) is None
    assert exchange.receive(b"", False) == []


def test_a_long_text_is_sent_in_segments_that_all_but_the_last_continue():
    exchange = TextExchange(10)
    exchange.put([("A", "b" * 10), ("C", "d")])
    assert exchange.take() == (b"A=bbbbbbbb", True)
    assert exchange.sending
    assert exchange.receive(b"", False) is None
    assert exchange.take() == (b"bb\0C=d\0", False)
    assert exchange.take() == (b"", False)


@pytest.mark.parametrize("data, continued", [(b"A=b\0", False), (b"", True)])
def test_an_answer_to_the_c_bit_must_be_empty(data, continued):
    exchange = TextExchange(4)
    exchange.put([("A", "bcdef")])
    exchange.take()
    with pytest.raises(NegotiationError):
        exchange.receive(data, continued)


def test_a_negotiation_may_not_go_on_for_ever():
    exchange = TextExchange(8192)
    for _ in range(MAX_EXCHANGES):
        exchange.receive(b"", True)
    with pytest.raises(NegotiationError):
        exchange.receive(b"", False)


def test_the_limit_counts_all_texts_of_a_negotiation():
    exchange = TextExchange(8192, limit=9)
    assert exchange.receive(b"A=b\0", False) == [("A", "b")]
    assert exchange.receive(b"B=b\0", False) == [("B", "b")]
    with pytest.raises(NegotiationError):
        exchange.receive(b"C=b\0", False)
