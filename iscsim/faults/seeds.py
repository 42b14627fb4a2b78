"""One seed, and a stream of chance of its own for everything that has a name."""

from __future__ import annotations

import hashlib
import random

__all__ = ["stream_of"]


def stream_of(seed: int, *names: str) -> random.Random:
    """The stream ``seed`` gives to what is called ``names``: others leave it as it is."""
    text = "\0".join([str(seed), *names])
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return random.Random(int.from_bytes(digest, "big"))
