"""A byte stream in pieces of any size becomes the same PDUs, and nothing is kept that was not declared."""

import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iscsim.errors import DigestError, FormatError, RemoteProtocolError
from iscsim.pdu import (
    MAX_DATA_SEGMENT_LENGTH,
    PDU,
    BidirectionalReadLength,
    ExtendedCDB,
    LoginRequest,
    NOPOut,
    RawPDU,
    SCSICommand,
    SCSIDataOut,
    TextRequest,
    UnknownAHS,
    digest,
)
from iscsim.session.framer import DamagedPDU, Framer

DIGESTS = [(False, False), (False, True), (True, False), (True, True)]
every_digest = pytest.mark.parametrize("digests", DIGESTS)

AHS = (ExtendedCDB(b"spill"), BidirectionalReadLength(512))
STREAM: list[PDU] = [
    NOPOut(initiator_task_tag=1),
    SCSICommand(write=True, cmd_sn=2, ahs=AHS, data=b"immediate"),
    SCSIDataOut(data_sn=3, data=bytes(range(64))),
    SCSICommand(read=True, cmd_sn=4, ahs=AHS),
    TextRequest(cmd_sn=5, data=b"SendTargets=All\0"),
    NOPOut(initiator_task_tag=6, data=b"x"),
]


def framer(header_digest: bool = False, data_digest: bool = False, limit: int = 8192) -> Framer:
    made = Framer()
    made.header_digest, made.data_digest, made.max_data_segment_length = header_digest, data_digest, limit
    return made


def wire_of(pdus: Iterable[PDU], header_digest: bool = False, data_digest: bool = False) -> bytes:
    return b"".join(piece for pdu in pdus for piece in pdu.encode(header_digest, data_digest))


def receive(reader: Framer, *chunks: bytes) -> list[PDU]:
    return [pdu for chunk in chunks for pdu in reader.receive(chunk)]


def unknown(opcode: int = 0x1C, ahs: bytes = b"", data: bytes = b"") -> bytes:
    header = bytearray(48)
    header[0], header[4], header[5:8] = opcode, len(ahs) // 4, len(data).to_bytes(3, "big")
    return bytes(header) + ahs + data + bytes(-len(data) % 4)


# ------------------------------------------------------------------------------------------ pieces


@every_digest
def test_several_pdus_in_one_chunk(digests: tuple[bool, bool]) -> None:
    assert receive(framer(*digests), wire_of(STREAM, *digests)) == STREAM


@every_digest
def test_one_byte_at_a_time(digests: tuple[bool, bool]) -> None:
    reader = framer(*digests)
    assert receive(reader, *(bytes((byte,)) for byte in wire_of(STREAM, *digests))) == STREAM
    assert reader.pending_length == 0


@every_digest
def test_every_split_point_of_a_stream(digests: tuple[bool, bool]) -> None:
    wire = wire_of(STREAM, *digests)
    for split in range(len(wire) + 1):
        reader = framer(*digests)
        assert receive(reader, wire[:split], wire[split:]) == STREAM
        assert reader.pending_length == 0


PDUS = st.one_of(
    st.builds(NOPOut, initiator_task_tag=st.integers(0, 0xFFFFFFFF), data=st.binary(max_size=70)),
    st.builds(SCSIDataOut, data_sn=st.integers(0, 9), data=st.binary(max_size=300)),
    st.builds(
        SCSICommand,
        ahs=st.sampled_from([(), AHS, AHS[1:], (UnknownAHS(9, 1, bytes(1016)),)]),
        data=st.binary(max_size=9),
    ),
)


@settings(deadline=None)
@given(
    st.lists(PDUS, max_size=5),
    st.sampled_from(DIGESTS),
    st.lists(st.integers(0, 2500), max_size=12),
    st.sampled_from([bytes, bytearray, memoryview]),
)
def test_any_stream_in_any_pieces(
    pdus: list[PDU], digests: tuple[bool, bool], cuts: list[int], buffer: type
) -> None:
    wire, reader = wire_of(pdus, *digests), framer(*digests)
    ends = [*sorted(cuts), len(wire)]
    chunks = [buffer(wire[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
    assert receive(reader, *chunks) == pdus
    assert reader.pending_length == 0


def test_a_pdu_comes_out_with_its_last_byte_and_not_before() -> None:
    reader, wire = framer(True, True), wire_of(STREAM[1:2], True, True)
    assert receive(reader, wire[:-1]) == []
    assert receive(reader, wire[-1:]) == STREAM[1:2]


def test_an_empty_chunk_changes_nothing() -> None:
    reader = framer()
    wire = wire_of(STREAM)
    assert receive(reader, b"", wire[:50], b"", wire[50:70], b"", wire[70:], b"") == STREAM


# -------------------------------------------------------------------------------------------- data


def test_a_whole_data_segment_is_a_view_of_the_chunk() -> None:
    chunk = wire_of(STREAM)
    for pdu in framer().receive(chunk):
        if pdu.data:
            assert isinstance(pdu.data, memoryview)
            assert pdu.data.obj is chunk


def test_a_data_segment_in_pieces_is_kept_apart_from_the_chunks() -> None:
    reader, wire = framer(), wire_of(STREAM[2:3])
    first, second = bytearray(wire[:60]), bytearray(wire[60:])
    assert receive(reader, first) == []
    first[:] = bytes(len(first))
    (pdu,) = receive(reader, second)
    second[:] = bytes(len(second))
    assert pdu == STREAM[2]


@every_digest
def test_padding_may_hold_anything(digests: tuple[bool, bool]) -> None:
    """RFC 7143 section 11.1: padding SHOULD be 0, and the data digest covers it as it came."""
    header, padded = wire_of([NOPOut(data=b"x")], digests[0])[:-4], b"x\1\2\3"
    wire = header + padded + (digest(padded) if digests[1] else b"")
    assert receive(framer(*digests), wire) == [NOPOut(data=b"x")]


# ------------------------------------------------------------------------------------------ limits


@pytest.mark.parametrize("split", [0, 20, 47])
def test_a_data_segment_of_16_mib_is_refused_before_anything_is_allocated(split: int) -> None:
    header = b"\0\x80\0\0\0\xff\xff\xff" + bytes(40)
    reader = framer(limit=262144)
    receive(reader, header[:split])
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"NOPOut with a data segment of 16777215 bytes, 262144"):
            receive(reader, header[split:])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 65536
    assert reader.pending_length == 0


@every_digest
@pytest.mark.parametrize("length", [0xFFFFFF, 0x10000])
def test_the_limit_holds_behind_additional_headers_and_digest(
    digests: tuple[bool, bool], length: int
) -> None:
    header = SCSICommand(ahs=AHS).header()
    header = header[:5] + length.to_bytes(3, "big") + header[8:]
    with pytest.raises(FormatError, match=f"SCSICommand with a data segment of {length} bytes"):
        receive(framer(*digests), header + (digest(header) if digests[0] else b"") + bytes(99))


def test_the_declared_length_is_received_and_one_byte_more_is_not() -> None:
    """RFC 7143 section 13.12."""
    assert receive(framer(limit=512), wire_of([NOPOut(data=bytes(512))])) == [NOPOut(data=bytes(512))]
    with pytest.raises(FormatError) as caught:
        receive(framer(limit=512), wire_of([NOPOut(data=bytes(513))]))
    assert caught.value.section == "13.12"


def test_the_default_limit_is_the_default_of_the_key() -> None:
    with pytest.raises(FormatError, match="8193 bytes, 8192 were declared"):
        receive(Framer(), NOPOut(data=bytes(8193)).header())


def test_unknown_opcodes_have_the_same_limit() -> None:
    with pytest.raises(FormatError, match="RawPDU with a data segment of 513 bytes"):
        receive(framer(limit=512), unknown(data=bytes(513)))


def test_the_longest_data_segment_there_can_be() -> None:
    data = bytes(MAX_DATA_SEGMENT_LENGTH)
    wire = wire_of([SCSIDataOut(data=data)])
    (pdu,) = receive(framer(limit=MAX_DATA_SEGMENT_LENGTH), wire[:99], wire[99:])
    assert len(pdu.data) == MAX_DATA_SEGMENT_LENGTH


def test_pending_bytes_are_those_of_one_pdu() -> None:
    reader = framer(True, True, limit=600)
    wire = wire_of([SCSICommand(ahs=(UnknownAHS(9, 0, bytes(1016)),), data=bytes(598))], True, True)
    seen = set()
    for byte in wire:
        receive(reader, bytes((byte,)))
        seen.add(reader.pending_length)
    assert max(seen) == 48 + 1020 + 4 - 1
    assert reader.pending_length == 0
    assert 600 + 4 in seen


@every_digest
@pytest.mark.parametrize("pdu", [NOPOut(data=bytes(10)), SCSICommand(ahs=AHS), NOPOut()], ids=repr)
def test_a_pdu_that_is_left_in_the_chunk_says_how_much_of_it_is_wanted(
    pdu: PDU, digests: tuple[bool, bool]
) -> None:
    wire = wire_of([pdu], *digests)
    reader = framer(*digests)
    reader.leaves_partial = True
    for available in range(1, len(wire)):
        assert receive(reader, wire[:available]) == []
        assert reader.left == available
        assert available < reader.left_wants <= len(wire)
    assert reader.left_wants == len(wire)
    assert receive(reader, wire) == [pdu]
    assert (reader.left, reader.pending_length) == (0, 0)


# --------------------------------------------------------------------------------- digest errors


@pytest.mark.parametrize("split", [0, 30, 50, 60, 200])
def test_a_data_digest_error_damages_one_pdu_and_the_stream_goes_on(split: int) -> None:
    """RFC 7143 section 7.8."""
    wire = bytearray(wire_of(STREAM[2:5], True, True))
    wire[52 + 10] ^= 1  # in the data of the Data-Out
    damaged, *others = receive(framer(True, True), bytes(wire[:split]), bytes(wire[split:]))
    assert isinstance(damaged, DamagedPDU)
    assert damaged.data == b""
    assert isinstance(damaged.header_pdu, SCSIDataOut)
    assert damaged.header() == STREAM[2].header()
    assert others == STREAM[3:5]


@pytest.mark.parametrize("index", [-1, -4, -8], ids=["last digest byte", "first digest byte", "padding"])
def test_a_data_digest_covers_padding_and_itself(index: int) -> None:
    wire = bytearray(wire_of([NOPOut(initiator_task_tag=9, data=b"12345")], data_digest=True))
    wire[index] ^= 0x80
    (damaged,) = receive(framer(data_digest=True), bytes(wire))
    assert isinstance(damaged, DamagedPDU)
    assert "DamagedPDU(NOPOut(" in repr(damaged)


@pytest.mark.parametrize("split", [0, 20, 48, 60, 70])
@pytest.mark.parametrize("index", [1, 47, 50, 70])
def test_a_header_digest_error_ends_the_stream(split: int, index: int) -> None:
    """RFC 7143 section 7.8: the lengths cannot be trusted any more."""
    wire = bytearray(wire_of(STREAM[1:2], True))
    wire[index] ^= 1
    with pytest.raises(DigestError) as caught:
        receive(framer(True), bytes(wire[:split]), bytes(wire[split:]))
    assert caught.value.part == "header"


def test_an_unknown_opcode_with_a_bad_digest_is_a_digest_error() -> None:
    with pytest.raises(DigestError, match="opcode 0x1c"):
        receive(framer(True), unknown() + b"oops")


def test_what_was_whole_before_an_error_comes_out() -> None:
    wire = wire_of(STREAM[:1], True) + bytes(52)
    stream = framer(True).receive(wire)
    assert next(stream) == STREAM[0]
    with pytest.raises(DigestError):
        next(stream)


# --------------------------------------------------------------------- unknown opcodes, misplaced AHS


@pytest.mark.parametrize("chunk_size", [1, 50, 1000])
@pytest.mark.parametrize("data", [b"", b"12345678", b"123"])
@pytest.mark.parametrize("ahs", [b"", b"\0\5\2\0\0\0\0\1", b"\xff\xff\xff\xff"])
def test_an_unknown_opcode_comes_out_raw_and_the_stream_goes_on(
    ahs: bytes, data: bytes, chunk_size: int
) -> None:
    odd = unknown(0x7C, ahs, data)
    wire = odd + wire_of(STREAM[:2])
    raw, *others = receive(framer(), *(wire[i : i + chunk_size] for i in range(0, len(wire), chunk_size)))
    assert isinstance(raw, RawPDU)
    assert raw.header() == odd[: 48 + len(ahs)]
    assert raw.data == data
    assert others == STREAM[:2]


def test_an_unknown_opcode_may_have_digests() -> None:
    header = unknown(data=b"data")[:48]
    wire = header + digest(header) + b"data" + digest(b"data")
    (raw,) = receive(framer(True, True), wire)
    assert raw.data == b"data"


@pytest.mark.parametrize("split", [0, 48, 50])
def test_an_ahs_behind_another_pdu_is_a_format_error(split: int) -> None:
    """RFC 7143 section 11.2.1.5."""
    wire = bytearray(NOPOut().header() + AHS[1].encode())
    wire[4] = 2
    with pytest.raises(FormatError, match="NOPOut with 8 bytes of AHS"):
        receive(framer(), bytes(wire[:split]), bytes(wire[split:]))


def test_a_malformed_ahs_is_a_format_error() -> None:
    command = SCSICommand(ahs=(UnknownAHS(9, 0, b"1234"),))
    wire = bytearray(command.header())
    wire[48:50] = b"\xff\xff"
    with pytest.raises(FormatError, match="AHSLength 65535 does not fit 8 bytes"):
        receive(framer(), bytes(wire))


# ------------------------------------------------------------------------- changes between PDUs


@pytest.mark.parametrize("chunk_size", [1, 7, 48, 1000])
def test_digests_switched_on_after_a_login_hold_from_the_next_pdu_on(chunk_size: int) -> None:
    wire = wire_of([LoginRequest(data=b"x=y\0")]) + wire_of(STREAM, True, True)
    reader, received = framer(), []
    for start in range(0, len(wire), chunk_size):
        for pdu in reader.receive(wire[start : start + chunk_size]):
            received.append(pdu)
            if isinstance(pdu, LoginRequest):
                reader.header_digest = reader.data_digest = True
    assert received[1:] == STREAM


def test_a_limit_raised_between_pdus_holds_for_the_next() -> None:
    reader, wire = framer(limit=512), wire_of([NOPOut(), NOPOut(data=bytes(1024))])
    received = []
    for pdu in reader.receive(wire):
        received.append(pdu)
        reader.max_data_segment_length = 1024
    assert len(received) == 2


# ------------------------------------------------------------------------------------ hostile bytes


@settings(deadline=None)
@given(st.lists(st.binary(max_size=120), max_size=6), st.sampled_from(DIGESTS))
def test_whatever_comes_only_the_peer_is_blamed(chunks: list[bytes], digests: tuple[bool, bool]) -> None:
    reader = framer(*digests)
    try:
        receive(reader, *chunks)
    except RemoteProtocolError:
        return
    assert reader.pending_length <= max(48 + 1020 + 4, 8192 + 4)
