"""How PERSISTENT RESERVE names iSCSI initiator ports (SPC-4, "TransportID identifiers")."""

from __future__ import annotations

import re
from dataclasses import dataclass

from construct import Int16ub, Padding

from iscsim.scsi.designator import PROTOCOL_ISCSI
from iscsim.scsi.layout import Layout, bits

__all__ = ["TransportID", "TruncatedTransportID", "encode_transport_id", "parse_transport_ids"]

HEADER = Layout("kind" / bits(format=2, _=2, protocol=4), Padding(1), "additional_length" / Int16ub)
_INITIATOR_DEVICE, _INITIATOR_PORT = 0b00, 0b01  # FORMAT CODE
_SMALLEST_SIZE = 24
_NAME = r"[!-+\--~]{1,223}"
_FORMS = {
    _INITIATOR_DEVICE << 6 | PROTOCOL_ISCSI: re.compile(rf"({_NAME})\Z"),
    _INITIATOR_PORT << 6 | PROTOCOL_ISCSI: re.compile(rf"({_NAME}),i,0x[0-9a-f]{{12}}\Z"),
}


@dataclass(frozen=True, slots=True)
class TransportID:
    """What a TransportID names: one port of an initiator, or (``initiator_port`` None) all it has."""

    initiator_name: str
    initiator_port: str | None


class TruncatedTransportID(ValueError):
    """A list of TransportIDs ends in the middle of one."""


def encode_transport_id(initiator: str) -> bytes:
    """The name of a port, ``"iqn...,i,0x00023d000001"``, or that of a whole initiator, ``"iqn..."``.

    Closed with NUL and padded to a multiple of four, 24 bytes or more.
    """
    form = _INITIATOR_PORT if ",i,0x" in initiator else _INITIATOR_DEVICE
    name = initiator.encode("utf-8") + b"\0"
    name = (name + bytes(-len(name) % 4)).ljust(_SMALLEST_SIZE - HEADER.size, b"\0")
    return HEADER.build(kind=form << 6 | PROTOCOL_ISCSI, additional_length=len(name)) + name


def parse_transport_ids(data: bytes) -> list[TransportID]:
    """What ``data`` names, one TransportID after the other.

    Raises `TruncatedTransportID` for what is cut, `ValueError` for what is of another protocol or form, or
    not the name of an iSCSI initiator.
    """
    found, position = [], 0
    while position < len(data):
        if len(data) - position < HEADER.size:
            raise TruncatedTransportID(f"{len(data) - position} bytes of a TransportID")
        fields = HEADER.parse(data, position)
        start, position = position, position + HEADER.size + fields["additional_length"]
        found.append(_parse_one(fields["kind"], data[start:position], position - start))
    return found


def _parse_one(kind: int, data: bytes, size: int) -> TransportID:
    if kind not in _FORMS:
        raise ValueError(f"TransportID of kind {kind:02X}h, expected 05h or 45h")
    if size % 4 or size < _SMALLEST_SIZE:
        raise ValueError(f"TransportID of {size} bytes, expected {_SMALLEST_SIZE} or more, a multiple of 4")
    if len(data) < size:
        raise TruncatedTransportID(f"{len(data)} bytes of a TransportID of {size}")
    name, end, padding = data[HEADER.size :].partition(b"\0")
    text = name.decode("ascii", "replace").lower()
    match = _FORMS[kind].match(text)
    if not end or any(padding) or match is None:
        raise ValueError(f"TransportID of {text[:60]!r}, expected an iSCSI name, and an ISID with form 01b")
    return TransportID(match[1], text if kind >> 6 else None)
