"""Keys as faults see and change them."""

from iscsim.faults.key_text import join_pairs, split_pairs, with_pair


def test_pairs_survive_whatever_bytes_they_have() -> None:
    data = b"A=1\0B=\xff=2\0C=\0"
    assert join_pairs(split_pairs(data)) == data


def test_what_is_no_pair_is_passed_over() -> None:
    assert split_pairs(b"no pair\0\0A=1") == [("A", "1")]


def test_a_value_is_replaced_where_it_stands_or_added() -> None:
    assert with_pair(b"A=1\0B=2\0", "A", "x") == b"A=x\0B=2\0"
    assert with_pair(b"B=2\0", "A", "x") == b"B=2\0A=x\0"
