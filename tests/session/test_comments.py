"""Comments of taps on their way into a capture."""

from iscsim.session.comments import Comment, commented, take_receipts

PIECES = [b"0", b"1", b"2", b"3"]


def test_a_comment_begins_a_part_of_its_own() -> None:
    parts = list(commented(PIECES, [Comment(1, "one"), Comment(3, "three")]))
    assert parts == [([b"0"], None), ([b"1", b"2"], "one"), ([b"3"], "three")]


def test_comments_on_the_same_piece_are_one() -> None:
    assert list(commented(PIECES, [Comment(0, "a"), Comment(0, "b")])) == [(PIECES, "a; b")]


def test_a_comment_behind_everything_is_a_part_without_pieces() -> None:
    assert list(commented(PIECES, [Comment(4, "swallowed")])) == [(PIECES, None), ([], "swallowed")]
    assert list(commented([], [Comment(0, "swallowed")])) == [([], "swallowed")]


def test_what_is_about_a_receipt_goes_with_the_first_part_unless_it_was_taken() -> None:
    comments = [Comment(1, "one"), Comment(-1, "received")]
    assert next(commented(PIECES, comments)) == ([b"0"], "received")
    assert take_receipts(comments) == "received"
    assert comments == [Comment(1, "one")]
    assert take_receipts(comments) is None
