"""What taps have to say of the bytes of a connection, on their way into a capture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from iscsim.pdu import Buffer

__all__ = ["Comment", "commented", "take_receipts"]

_RECEIVED = -1


class Comment(NamedTuple):
    """``text`` is about the outgoing piece at this ``place``, or with -1 about what was received."""

    place: int
    text: str


def take_receipts(comments: list[Comment]) -> str | None:
    """The texts about what was received, in one, which are taken out of ``comments``."""
    texts = [each.text for each in comments if each.place == _RECEIVED]
    comments[:] = [each for each in comments if each.place != _RECEIVED]
    return "; ".join(texts) or None


def commented(
    pieces: Sequence[Buffer], comments: Sequence[Comment]
) -> Iterator[tuple[list[Buffer], str | None]]:
    """``pieces`` cut where a comment begins, each part with its comment; one without pieces may be empty."""
    texts: dict[int, list[str]] = {0: []}
    for each in sorted(comments, key=lambda each: each.place):
        texts.setdefault(max(each.place, 0), []).append(each.text)
    starts = list(texts)
    for start, end in zip(starts, [*starts[1:], len(pieces)], strict=True):
        if start < end or texts[start]:
            yield list(pieces[start:end]), "; ".join(texts[start]) or None
