"""Long random input for the framer and the decoder: the peer is blamed, or it was a PDU; nothing else.

Not part of ``make test``; ``make fuzz`` runs it. ISCSIM_FUZZ_SECONDS says how long all of it takes,
ISCSIM_FUZZ_SEED repeats a run: how many rounds there are depends on the machine, but each of them only on the
seed and its number.
"""

import os
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from iscsim.errors import RemoteProtocolError
from iscsim.pdu import (
    PDU,
    PDU_TYPES,
    BidirectionalReadLength,
    ExtendedCDB,
    RawPDU,
    SCSICommand,
    UnknownAHS,
    decode,
)
from iscsim.session.framer import DamagedPDU, Framer

SEED = int(os.environ.get("ISCSIM_FUZZ_SEED") or random.SystemRandom().getrandbits(32))
SECONDS = float(os.environ.get("ISCSIM_FUZZ_SECONDS", "60"))
LIMIT = 4096
MOST_KEPT = max(48 + 1020 + 4, LIMIT + 4)
CLASSES = list(PDU_TYPES.values())

Digests = tuple[bool, bool]


@pytest.fixture(autouse=True)
def _show_seed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nISCSIM_FUZZ_SEED={SEED} ISCSIM_FUZZ_SECONDS={SECONDS}")


def rounds(name: str) -> Iterator[random.Random]:
    """A generator for each round, for a quarter of the time."""
    end, number = time.monotonic() + SECONDS / 4, 0
    while time.monotonic() < end or number < 50:
        yield random.Random(f"{SEED} {name} {number}")
        number += 1


# ------------------------------------------------------------------------------------------------ input


def random_pdu(rng: random.Random) -> PDU:
    """Any PDU: random header bits, perhaps AHS, perhaps data."""
    pdu = rng.choice(CLASSES).from_header(rng.randbytes(48))
    if isinstance(pdu, SCSICommand) and rng.random() < 0.5:
        pdu.ahs = tuple(rng.choice(SEGMENTS)(rng) for _ in range(rng.randrange(3)))
    pdu.data = rng.randbytes(rng.choice((0, 0, 1, 3, 4, 48, 513, LIMIT)))
    return pdu


SEGMENTS: list[Callable[[random.Random], ExtendedCDB | BidirectionalReadLength | UnknownAHS]] = [
    lambda rng: ExtendedCDB(rng.randbytes(rng.randint(1, 244))),
    lambda rng: BidirectionalReadLength(rng.getrandbits(32)),
    lambda rng: UnknownAHS(rng.randint(3, 63), rng.getrandbits(8), rng.randbytes(rng.randrange(200))),
]


def flip(rng: random.Random, wire: bytearray) -> None:
    wire[rng.randrange(len(wire))] ^= 1 << rng.randrange(8)


def overwrite(rng: random.Random, wire: bytearray) -> None:
    start = rng.randrange(len(wire))
    wire[start : start + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", rng.randbytes(4)))


def remove(rng: random.Random, wire: bytearray) -> None:
    start = rng.randrange(len(wire))
    del wire[start : start + rng.choice((1, 4, 48))]


def insert(rng: random.Random, wire: bytearray) -> None:
    start = rng.randrange(len(wire) + 1)
    wire[start:start] = rng.randbytes(rng.choice((1, 4, 48)))


def lengthen(rng: random.Random, wire: bytearray) -> None:
    wire[4:8] = rng.choice((b"\xff\0\0\0", b"\0\xff\xff\xff", b"\1\0\0\1", rng.randbytes(4)))


def rename(rng: random.Random, wire: bytearray) -> None:
    wire[0] = rng.getrandbits(8)


MUTATIONS = [flip, flip, overwrite, remove, insert, lengthen, rename]


def mutated(rng: random.Random, wire: bytes) -> bytes:
    changed = bytearray(wire)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        if changed:
            rng.choice(MUTATIONS)(rng, changed)
    return bytes(changed)


def pieces(rng: random.Random, wire: bytes) -> Iterator[bytes]:
    size = rng.choice((1, 7, 48, 100, 1500, 1 << 20))
    start = 0
    while start < len(wire):
        end = start + rng.randint(1, size)
        yield wire[start:end]
        start = end


def random_digests(rng: random.Random) -> Digests:
    return rng.random() < 0.5, rng.random() < 0.5


# ----------------------------------------------------------------------------------------------- checks


def new_framer(digests: Digests) -> Framer:
    reader = Framer()
    reader.max_data_segment_length = LIMIT
    reader.header_digest, reader.data_digest = digests
    return reader


def feed(reader: Framer, chunks: Iterator[bytes]) -> list[PDU]:
    """What came out before the peer was to blame for something."""
    received: list[PDU] = []
    try:
        for chunk in chunks:
            received += reader.receive(chunk)
            assert reader.pending_length <= MOST_KEPT
    except RemoteProtocolError:
        return received
    return received


def check(pdu: PDU, digests: Digests) -> None:
    """What the framer let through can be shown, sent again, and is still the same."""
    assert len(pdu.data) <= LIMIT
    assert repr(pdu)
    if isinstance(pdu, DamagedPDU):
        assert digests[1]
        assert len(pdu.header()) >= 48
    elif isinstance(pdu, RawPDU):
        assert pdu.wire[0] & 0x3F not in PDU_TYPES
    else:
        wire = b"".join(pdu.encode(*digests))
        assert decode(wire, *digests) == (pdu, len(wire))


# ------------------------------------------------------------------------------------------------ tests


def test_random_bytes() -> None:
    for rng in rounds("bytes"):
        digests = random_digests(rng)
        wire = rng.randbytes(rng.randrange(400))
        for pdu in feed(new_framer(digests), pieces(rng, wire)):
            check(pdu, digests)
        decode_or_blame(wire, digests)


def test_streams_of_pdus_come_out_as_they_went_in() -> None:
    for rng in rounds("streams"):
        digests = random_digests(rng)
        pdus = [random_pdu(rng) for _ in range(rng.randrange(6))]
        wire = b"".join(piece for pdu in pdus for piece in pdu.encode(*digests))
        assert feed(new_framer(digests), pieces(rng, wire)) == pdus


def test_mutated_streams() -> None:
    for rng in rounds("mutations"):
        digests = random_digests(rng)
        pdus = [random_pdu(rng) for _ in range(rng.randint(1, 4))]
        wire = mutated(rng, b"".join(piece for pdu in pdus for piece in pdu.encode(*digests)))
        for pdu in feed(new_framer(digests), pieces(rng, wire)):
            check(pdu, digests)
        decode_or_blame(wire, digests)


def test_memory_stays_bounded() -> None:
    reader = new_framer((False, False))
    tracemalloc.start()
    try:
        for rng in rounds("memory"):
            header = bytearray(rng.randbytes(48))
            header[4:8] = (
                bytes(4) if rng.random() < 0.5 else b"\0" + rng.randrange(1 << 24).to_bytes(3, "big")
            )
            feed(reader, iter([bytes(header)]))
            if reader.pending_length:
                reader = new_framer((False, False))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # most of it are the tables of flags: 18 PDUs with at most 512 entries each
    assert sum(len(cls.codec.unpack_flags) for cls in CLASSES) <= 18 * 512
    assert peak < 4 << 20


def decode_or_blame(wire: bytes, digests: Digests) -> None:
    try:
        pdu, length = decode(wire, *digests)
    except RemoteProtocolError:
        return
    assert 48 <= length <= len(wire)
    again = b"".join(pdu.encode(*digests))
    assert decode(again, *digests)[0] == pdu
