"""Serial numbers and the command window (RFC 7143 section 4.2.2.1), most of all where they wrap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.session.numbering import (
    CommandNumbers,
    CommandWindow,
    serial_add,
    serial_distance,
    serial_less,
)

LAST = 0xFFFFFFFF
HALF = 1 << 31
serials = st.integers(0, LAST)


@pytest.mark.parametrize(
    "first,second,less",
    [
        (0, 0, False),
        (0, 1, True),
        (1, 0, False),
        (LAST, 0, True),
        (0, LAST, False),
        (LAST - 3, 3, True),
        (0, HALF - 1, True),
        (0, HALF + 1, False),
    ],
)
def test_serial_less_goes_round_the_corner(first: int, second: int, less: bool) -> None:
    assert serial_less(first, second) is less


@given(serials, st.integers(1, HALF - 1))
def test_a_number_is_less_than_one_added_to_it(number: int, count: int) -> None:
    later = serial_add(number, count)
    assert serial_less(number, later)
    assert not serial_less(later, number)
    assert serial_distance(number, later) == count
    assert serial_distance(later, number) == -count


@given(serials)
def test_no_number_is_less_than_itself(number: int) -> None:
    assert not serial_less(number, number)
    assert serial_distance(number, number) == 0


def test_serial_add_wraps() -> None:
    assert serial_add(LAST, 1) == 0
    assert serial_add(0, -1) == LAST


# ------------------------------------------------------------------------------------ the target's view


@pytest.mark.parametrize("first", [0, 1, 1000, LAST - 2, LAST])
def test_a_window_holds_its_size_and_no_more(first: int) -> None:
    window = CommandWindow(first, 4)
    assert [window.holds(serial_add(first, i)) for i in range(-2, 6)] == [False] * 2 + [True] * 4 + [
        False
    ] * 2


@pytest.mark.parametrize("first", [0, 1000, LAST - 2])
def test_a_window_closes_when_it_is_used_up(first: int) -> None:
    """RFC 7143 section 11.4.11: MaxCmdSN = ExpCmdSN - 1 says that no more are taken."""
    window = CommandWindow(first, 4)
    for _ in range(4):
        window.take()
    assert window.max_cmd_sn == serial_add(window.exp_cmd_sn, -1)
    assert not any(window.holds(serial_add(first, i)) for i in range(-2, 8))


def test_a_window_of_one_opens_again_with_each_completion() -> None:
    window = CommandWindow(LAST, 1)
    for number in (LAST, 0, 1):
        assert window.holds(number)
        window.take()
        assert not window.holds(serial_add(number, 1))
        window.give_back()


@given(serials, st.integers(1, 200), st.lists(st.booleans(), max_size=300))
def test_max_cmd_sn_never_goes_back_and_open_commands_never_exceed_the_size(
    first: int, size: int, steps: list[bool]
) -> None:
    """RFC 7143 section 4.2.2.1: MaxCmdSN is never less than ExpCmdSN - 1."""
    window, open_commands = CommandWindow(first, size), 0
    for arrives in steps:
        before = window.max_cmd_sn
        if arrives and window.holds(window.exp_cmd_sn):
            window.take()
            open_commands += 1
        elif not arrives and open_commands:
            window.give_back()
            open_commands -= 1
        assert not serial_less(window.max_cmd_sn, before)
        assert serial_distance(window.exp_cmd_sn, window.max_cmd_sn) == size - open_commands - 1
        assert open_commands <= size


def test_numbers_far_away_are_outside() -> None:
    window = CommandWindow(10, 4)
    assert not any(window.holds(number) for number in (9, HALF + 9, HALF + 10, HALF + 11, LAST))


# --------------------------------------------------------------------------------- the initiator's view


def test_the_first_number_may_go_out_before_the_target_has_said_anything() -> None:
    numbers = CommandNumbers(7)
    assert numbers.window_open
    assert numbers.take() == 7
    assert not numbers.window_open


@pytest.mark.parametrize("first", [0, 5, LAST - 1, LAST])
def test_commands_go_out_up_to_max_cmd_sn(first: int) -> None:
    numbers = CommandNumbers(first)
    numbers.update(first, serial_add(first, 2))
    taken = []
    while numbers.window_open:
        taken.append(numbers.take())
    assert taken == [serial_add(first, i) for i in range(3)]


def test_a_closed_window_lets_nothing_out() -> None:
    numbers = CommandNumbers(5)
    numbers.take()
    numbers.update(6, 5)
    assert not numbers.window_open
    numbers.update(6, 6)
    assert numbers.window_open


@pytest.mark.parametrize("exp_cmd_sn,max_cmd_sn", [(8, 6), (0, LAST - 1), (LAST, LAST - 2), (100, 10)])
def test_a_pair_with_max_below_exp_less_one_is_ignored(exp_cmd_sn: int, max_cmd_sn: int) -> None:
    """RFC 7143 section 4.2.2.1."""
    numbers = CommandNumbers(serial_add(exp_cmd_sn, -200))
    before = numbers.exp_cmd_sn, numbers.max_cmd_sn
    numbers.update(exp_cmd_sn, max_cmd_sn)
    assert (numbers.exp_cmd_sn, numbers.max_cmd_sn) == before


def test_the_pair_of_a_closed_window_is_taken_over() -> None:
    """RFC 7143 section 4.2.2.1: MaxCmdSN may be as little as ExpCmdSN - 1."""
    numbers = CommandNumbers(5)
    numbers.update(10, 9)
    assert (numbers.exp_cmd_sn, numbers.max_cmd_sn) == (10, 9)


def test_older_numbers_are_ignored_each_for_itself() -> None:
    """RFC 7143 section 4.2.2.1: updates may arrive out of order, over several connections."""
    numbers = CommandNumbers(LAST - 1)
    numbers.update(1, 20)
    numbers.update(0, 30)
    assert (numbers.exp_cmd_sn, numbers.max_cmd_sn) == (1, 30)
    numbers.update(2, 25)
    assert (numbers.exp_cmd_sn, numbers.max_cmd_sn) == (2, 30)


@given(serials, st.lists(st.tuples(serials, serials), max_size=20))
def test_no_peer_moves_a_number_backwards(first: int, pairs: list[tuple[int, int]]) -> None:
    numbers = CommandNumbers(first)
    for exp_cmd_sn, max_cmd_sn in pairs:
        before = numbers.exp_cmd_sn, numbers.max_cmd_sn
        numbers.update(exp_cmd_sn, max_cmd_sn)
        assert not serial_less(numbers.exp_cmd_sn, before[0])
        assert not serial_less(numbers.max_cmd_sn, before[1])


def test_a_rejected_command_and_a_premature_give_back_can_be_taken_back():
    window = CommandWindow(0xFFFFFFFF, 4)
    window.take()
    window.give_back()
    assert (window.exp_cmd_sn, window.max_cmd_sn) == (0, 3)
    window.untake()
    window.take_back()
    assert (window.exp_cmd_sn, window.max_cmd_sn) == (0xFFFFFFFF, 2)
