"""Long random input for the framer and the decoder: the peer is blamed, or it was a PDU; nothing else.

Not part of ``make test``; ``make fuzz`` runs it (see ``fuzzing.py``).
"""

import random
import tracemalloc
from collections.abc import Callable, Iterator

from fuzz.fuzzing import mutated, pieces, rounds

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

LIMIT = 4096
MOST_KEPT = max(48 + 1020 + 4, LIMIT + 4)
CLASSES = list(PDU_TYPES.values())

Digests = tuple[bool, bool]


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
