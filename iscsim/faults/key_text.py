"""Login and text keys as faults see and change them: whatever is there, legal or not."""

from __future__ import annotations

from collections.abc import Iterable

from iscsim.pdu import Buffer

__all__ = ["Pair", "join_pairs", "split_pairs", "with_pair"]

Pair = tuple[str, str]


def split_pairs(data: Buffer) -> list[Pair]:
    """The pairs of a data segment, as far as they are some."""
    texts = bytes(data).decode("utf-8", "surrogateescape").split("\0")
    return [(key, value) for key, equals, value in (text.partition("=") for text in texts) if equals]


def join_pairs(pairs: Iterable[Pair]) -> bytes:
    """The data segment of ``pairs``, which nobody checks."""
    return b"".join(f"{key}={value}\0".encode("utf-8", "surrogateescape") for key, value in pairs)


def with_pair(data: Buffer, key: str, value: str) -> bytes:
    """``data`` with this value of ``key``, in its place or at the end."""
    pairs = split_pairs(data)
    if any(name == key for name, _ in pairs):
        return join_pairs((name, value if name == key else old) for name, old in pairs)
    return join_pairs([*pairs, (key, value)])
