"""Whole PDUs out of bytes already at hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import DigestError, FormatError
from iscsim.pdu import (
    PDU_TYPES,
    BidirectionalReadLength,
    ExtendedCDB,
    NOPIn,
    NOPOut,
    SCSICommand,
    decode,
)
from iscsim.pdu.wire import attach_ahs, decode_header

COMMAND = SCSICommand(
    read=True, write=True, ahs=(ExtendedCDB(b"spill"), BidirectionalReadLength(512)), data=b"immediate"
)
DIGESTS = [(False, False), (False, True), (True, False), (True, True)]


def wire_of(pdu: SCSICommand, header_digest: bool, data_digest: bool) -> bytes:
    return b"".join(pdu.encode(header_digest, data_digest))


@pytest.mark.parametrize("digests", DIGESTS)
@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_a_pdu_is_taken_from_the_front(digests: tuple[bool, bool], buffer: type) -> None:
    wire = wire_of(COMMAND, *digests)
    assert decode(buffer(wire + b"next"), *digests) == (COMMAND, len(wire))


def test_the_data_is_a_copy() -> None:
    buffer = bytearray(wire_of(COMMAND, False, False))
    pdu, _ = decode(buffer)
    buffer[:] = bytes(len(buffer))
    assert pdu == COMMAND


@pytest.mark.parametrize("digests", DIGESTS)
def test_every_byte_of_a_pdu_must_be_there(digests: tuple[bool, bool]) -> None:
    wire = wire_of(COMMAND, *digests)
    for length in range(len(wire)):
        with pytest.raises(FormatError):
            decode(wire[:length], *digests)


@pytest.mark.parametrize("digests", DIGESTS[1:])
def test_every_flipped_bit_is_found_by_a_digest_that_covers_it(digests: tuple[bool, bool]) -> None:
    header_digest, data_digest = digests
    wire = wire_of(COMMAND, *digests)
    header_end = 48 + 12 + 8 + (4 if header_digest else 0)
    first, last = 0 if header_digest else header_end, len(wire) if data_digest else header_end
    for index in range(first, last):
        damaged = bytearray(wire)
        damaged[index] ^= 0x10
        # a flipped length moves where the digest is looked for, perhaps beyond the end
        with pytest.raises((DigestError, FormatError)):
            decode(damaged, *digests)


def test_a_digest_error_says_which_part() -> None:
    wire = wire_of(COMMAND, True, True)
    for index, part in ((1, "header"), (len(wire) - 1, "data")):
        damaged = bytearray(wire)
        damaged[index] ^= 1
        with pytest.raises(DigestError) as caught:
            decode(damaged, True, True)
        assert (caught.value.part, caught.value.section) == (part, "7.8")


def test_no_data_has_no_data_digest() -> None:
    assert decode(NOPOut().header(), data_digest=True) == (NOPOut(), 48)


def test_padding_may_hold_anything() -> None:
    """RFC 7143 section 11.1: it SHOULD be 0; LIO sends what its buffer held before."""
    wire = NOPOut(data=b"x").header() + b"x\1\2\3"
    assert decode(wire) == (NOPOut(data=b"x"), 52)


@pytest.mark.parametrize("opcode", sorted(set(range(64)) - set(PDU_TYPES)))
def test_an_unknown_opcode_is_a_format_error(opcode: int) -> None:
    with pytest.raises(FormatError, match=f"unknown opcode {opcode:#04x}"):
        decode(bytes((opcode,)) + bytes(47))


@pytest.mark.parametrize("opcode", sorted(set(PDU_TYPES) - {SCSICommand.opcode}))
def test_only_a_scsi_command_may_have_an_ahs(opcode: int) -> None:
    """RFC 7143 section 11.2.1.5."""
    header = bytearray(PDU_TYPES[opcode]().header())
    header[4] = 2
    with pytest.raises(FormatError, match="8 bytes of AHS, expected none"):
        decode(header + BidirectionalReadLength(1).encode())


def test_attach_ahs_puts_the_segments_into_the_command() -> None:
    command = SCSICommand()
    attach_ahs(command, BidirectionalReadLength(1).encode())
    assert command.ahs == (BidirectionalReadLength(1),)


def test_decode_header_reads_at_an_offset() -> None:
    assert decode_header(b"skip" + NOPIn(stat_sn=3).header(), 4) == NOPIn(stat_sn=3)


@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_whatever_comes_decodes_or_is_a_protocol_error(
    wire: bytes, header_digest: bool, data_digest: bool
) -> None:
    try:
        pdu, length = decode(wire, header_digest, data_digest)
    except (FormatError, DigestError):
        return
    assert 48 <= length <= len(wire)
    assert len(pdu.encode(header_digest, data_digest)[0]) >= 48
