"""Whole PDUs out of bytes already at hand: for captures, tests and tools.

A connection reads its bytes through :class:`iscsim.session.framer.Framer`, which checks limits before
it keeps anything; this function is the same reading for a complete PDU.
"""

from __future__ import annotations

import struct

from iscsim.errors import DigestError, FormatError
from iscsim.pdu.ahs import decode_ahs
from iscsim.pdu.base import PDU, PDU_TYPES
from iscsim.pdu.constants import BASIC_HEADER_LENGTH, DIGEST_LENGTH
from iscsim.pdu.digest import Buffer, digest
from iscsim.pdu.requests import SCSICommand

unpack_lengths = struct.Struct(">4xI").unpack_from
"""(buffer, offset) -> (TotalAHSLength << 24 | DataSegmentLength,) of the header at offset."""


def decode_header(buffer: Buffer, offset: int = 0) -> PDU:
    """The typed PDU of the 48 header bytes at ``offset``, without AHS and data.

    Raises:
        FormatError: the opcode is not one of RFC 7143 section 11.2.1.2.
    """
    cls = PDU_TYPES.get(buffer[offset] & 0x3F)
    if cls is None:
        raise FormatError(f"unknown opcode {buffer[offset] & 0x3F:#04x}", "11.2.1.2")
    return cls.from_header(buffer, offset)


def attach_ahs(pdu: PDU, ahs: bytes) -> None:
    """Put the additional header segments where they belong.

    Raises:
        FormatError: malformed, or not behind a SCSI Command (RFC 7143 section 11.2.1.5).
    """
    if not isinstance(pdu, SCSICommand):
        raise FormatError(f"{type(pdu).__name__} with {len(ahs)} bytes of AHS, expected none", "11.2.1.5")
    try:
        pdu.ahs = decode_ahs(ahs)
    except FormatError as error:
        raise FormatError(f"SCSICommand: {error}") from error


def decode(wire: Buffer, header_digest: bool = False, data_digest: bool = False) -> tuple[PDU, int]:
    """Decode the PDU at the start of ``wire``: the PDU and the number of bytes it took.

    Raises:
        FormatError: unknown opcode, malformed AHS, or fewer bytes than the header promises.
        DigestError: a digest does not match.
    """
    if len(wire) < BASIC_HEADER_LENGTH:
        raise FormatError(f"{len(wire)} bytes where a header of 48 was expected", "11.2.1")
    (lengths,) = unpack_lengths(wire)
    ahs_end = BASIC_HEADER_LENGTH + (lengths >> 24) * 4
    data_length = lengths & 0xFFFFFF
    data_start = ahs_end + (DIGEST_LENGTH if header_digest else 0)
    data_end = data_start + data_length
    end = data_end + -data_length % 4 + (DIGEST_LENGTH if data_digest and data_length else 0)
    if len(wire) < end:
        raise FormatError(f"{len(wire)} bytes where the header promises {end}", "11.2.1.6")
    if header_digest and digest(wire[:ahs_end]) != wire[ahs_end:data_start]:
        raise DigestError("header digest does not match", "header")
    if data_digest and data_length and digest(wire[data_start : end - DIGEST_LENGTH]) != wire[end - 4 : end]:
        raise DigestError("data digest does not match", "data")
    pdu = decode_header(wire)
    if ahs_end > BASIC_HEADER_LENGTH:
        attach_ahs(pdu, bytes(wire[BASIC_HEADER_LENGTH:ahs_end]))
    pdu.data = bytes(wire[data_start:data_end])
    return pdu, end
