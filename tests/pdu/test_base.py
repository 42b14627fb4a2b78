"""What all PDUs share: encoding in pieces, padding, digests, RawPDU, registration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import LocalProtocolError
from iscsim.pdu import (
    MAX_DATA_SEGMENT_LENGTH,
    PADS,
    PDU,
    PDU_TYPES,
    ExtendedCDB,
    NOPOut,
    Opcode,
    RawPDU,
    SCSICommand,
    SCSIDataIn,
    UnknownAHS,
    digest,
)
from iscsim.pdu.base import pdu


def test_pads_fill_to_four_bytes() -> None:
    """RFC 7143 section 11.1."""
    assert [len(PADS[length % 4]) for length in (0, 1, 2, 3, 4, 5)] == [0, 3, 2, 1, 0, 3]
    assert set(b"".join(PADS)) == {0}


def test_without_data_a_pdu_is_one_piece() -> None:
    assert NOPOut().encode() == [NOPOut().header()]


def test_the_data_segment_is_not_copied() -> None:
    store = memoryview(bytearray(8192))[512:4608]
    pieces = SCSIDataIn(data=store).encode()
    assert pieces[1] is store
    assert len(pieces) == 2


def test_data_is_padded_behind_and_counted_without_padding() -> None:
    header, data, pad = NOPOut(data=b"ping!").encode()
    assert (header[5:8], data, pad) == (b"\0\0\5", b"ping!", b"\0\0\0")


def test_header_digest_follows_the_header() -> None:
    header = NOPOut().header()
    assert NOPOut().encode(header_digest=True) == [header + digest(header)]


def test_header_digest_covers_the_additional_header_segments() -> None:
    """RFC 7143 section 11.2.3."""
    command = SCSICommand(ahs=(ExtendedCDB(bytes(16)),))
    (piece,) = command.encode(header_digest=True)
    assert len(piece) == 48 + 20 + 4
    assert piece[-4:] == digest(piece[:-4])


def test_data_digest_covers_the_padding() -> None:
    """RFC 7143 section 11.2.3."""
    assert NOPOut(data=b"ping!").encode(data_digest=True)[1:] == [
        b"ping!",
        b"\0\0\0",
        digest(b"ping!\0\0\0"),
    ]


def test_no_data_has_no_data_digest() -> None:
    """RFC 7143 section 11.2.3: a zero-length data segment implies a zero-length data digest."""
    assert NOPOut().encode(data_digest=True) == [NOPOut().header()]


@given(st.integers(0, 255))
def test_total_ahs_length_counts_words(words: int) -> None:
    ahs = (UnknownAHS(9, 0, bytes(words * 4 - 4)),) if words else ()
    header = SCSICommand(ahs=ahs).header()
    assert (header[4], len(header)) == (words, 48 + words * 4)


def test_lengths_of_ahs_and_data_do_not_disturb_each_other() -> None:
    header = SCSICommand(ahs=(UnknownAHS(9, 0, bytes(1016)),), data=bytes(0x123456)).header()
    assert header[4:8] == b"\xff\x12\x34\x56"


def test_a_data_segment_beyond_24_bits_is_refused() -> None:
    """RFC 7143 section 11.2.1.6."""
    longest = memoryview(bytearray(MAX_DATA_SEGMENT_LENGTH + 1))
    assert SCSIDataIn(data=longest[:-1]).header()[4:8] == b"\0\xff\xff\xff"
    with pytest.raises(LocalProtocolError, match=r"16777216 bytes in SCSIDataIn, expected at most 16777215"):
        SCSIDataIn(data=longest).header()


@pytest.mark.parametrize("wrong", [1 << 32, -1, "five", None])
def test_a_value_that_is_no_32_bit_number_is_refused(wrong: object) -> None:
    with pytest.raises(LocalProtocolError, match="NOPOut"):
        NOPOut(initiator_task_tag=wrong).header()  # type: ignore[arg-type]


def test_raw_pdu_sends_any_bytes_as_they_are() -> None:
    raw = RawPDU(b"\xff" * 7)
    assert raw.header() == b"\xff" * 7
    assert raw.encode(header_digest=True, data_digest=True) == [b"\xff" * 7]
    assert repr(raw) == "RawPDU(ffffffffffffff)"


def test_raw_pdu_shows_no_more_than_a_header() -> None:
    assert repr(RawPDU(bytes(49))) == f"RawPDU({'00' * 48}...)"


def test_only_a_scsi_command_has_additional_headers() -> None:
    segments = (ExtendedCDB(b"x"),)
    assert SCSICommand(ahs=segments).additional_headers == segments
    assert {PDU_TYPES[opcode]().additional_headers for opcode in Opcode} == {()}


def test_every_opcode_has_its_class() -> None:
    assert set(PDU_TYPES) == set(Opcode)
    assert all(cls.opcode == opcode for opcode, cls in PDU_TYPES.items())


def test_pdus_have_no_room_for_misspelt_fields() -> None:
    for cls in PDU_TYPES.values():
        with pytest.raises(AttributeError):
            cls().lunn = 5  # type: ignore[attr-defined]


def test_a_class_whose_fields_do_not_follow_the_layout_is_refused() -> None:
    before = dict(PDU_TYPES)
    with pytest.raises(TypeError, match="its layout"):

        @pdu(Opcode.NOP_OUT)
        class Wrong(PDU):
            final: bool = True
            immediate: bool = False

    assert before == PDU_TYPES
