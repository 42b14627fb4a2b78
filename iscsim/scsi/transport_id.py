"""How PERSISTENT RESERVE names iSCSI initiator ports (SPC-4, "TransportID identifiers").

Only the form with an ISID names a port; the form with the name alone means a device and is refused.
"""

from __future__ import annotations

import re

from construct import Int16ub, Padding

from iscsim.scsi.designator import PROTOCOL_ISCSI
from iscsim.scsi.layout import Layout, bits

__all__ = ["encode_transport_id", "parse_transport_ids"]

HEADER = Layout("kind" / bits(format=2, _=2, protocol=4), Padding(1), "additional_length" / Int16ub)
_INITIATOR_PORT = 0b01  # FORMAT CODE
_SMALLEST_SIZE = 24
_PORT = re.compile(r"[!-+\--~]{1,223},i,0x[0-9a-f]{12}\Z")


def encode_transport_id(initiator_port: str) -> bytes:
    """``"iqn...,i,0x00023d000001"`` closed with NUL and padded to a multiple of four, 24 bytes or more."""
    name = initiator_port.encode("utf-8") + b"\0"
    name = (name + bytes(-len(name) % 4)).ljust(_SMALLEST_SIZE - HEADER.size, b"\0")
    return HEADER.build(kind=_INITIATOR_PORT << 6 | PROTOCOL_ISCSI, additional_length=len(name)) + name


def parse_transport_ids(data: bytes) -> list[str]:
    """The initiator ports ``data`` names, one TransportID after the other.

    Raises `ValueError` for what is cut, of another protocol or form, or not the name of an iSCSI port.
    """
    found, position = [], 0
    while position < len(data):
        fields = HEADER.parse(data, position)
        start, position = position, position + HEADER.size + fields["additional_length"]
        found.append(_parse_one(fields["kind"], data[start:position], position - start))
    return found


def _parse_one(kind: int, data: bytes, size: int) -> str:
    if kind != _INITIATOR_PORT << 6 | PROTOCOL_ISCSI:
        raise ValueError(f"TransportID of kind {kind:02X}h, expected 45h")
    if len(data) < size or size % 4 or size < _SMALLEST_SIZE:
        raise ValueError(f"TransportID of {len(data)} bytes that says it has {size}")
    name, _, padding = data[HEADER.size :].partition(b"\0")
    port = name.decode("ascii", "replace").lower()
    if any(padding) or not _PORT.match(port):
        raise ValueError(f"TransportID of {port[:60]!r}, expected an iSCSI name, ',i,0x' and an ISID")
    return port
