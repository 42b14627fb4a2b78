"""Designation descriptors of VPD page 83h (SPC-4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from construct import Int8ub, Padding

from iscsim.scsi.layout import Layout, bits, pad_text

__all__ = [
    "Association",
    "CodeSet",
    "Designator",
    "DesignatorType",
    "logical_unit_group_designator",
    "naa_designator",
    "relative_target_port_designator",
    "scsi_name_designator",
    "t10_vendor_designator",
    "target_port_group_designator",
]

PROTOCOL_ISCSI = 0x5
HEADER = Layout(
    "head" / bits(protocol=4, code_set=4),
    "kind" / bits(piv=1, _=1, association=2, designator_type=4),
    Padding(1),
    "length" / Int8ub,
)
_PIV = HEADER.masks("kind")["piv"]


class CodeSet(IntEnum):
    """How a designator is written."""

    BINARY = 1
    ASCII = 2
    UTF_8 = 3


class Association(IntEnum):
    """What a designator names."""

    LOGICAL_UNIT = 0
    TARGET_PORT = 1
    TARGET_DEVICE = 2


class DesignatorType(IntEnum):
    """What kind of name it is."""

    VENDOR_SPECIFIC = 0x0
    T10_VENDOR = 0x1
    EUI_64 = 0x2
    NAA = 0x3
    RELATIVE_TARGET_PORT = 0x4
    TARGET_PORT_GROUP = 0x5
    LOGICAL_UNIT_GROUP = 0x6
    MD5 = 0x7
    SCSI_NAME = 0x8


@dataclass(frozen=True, slots=True)
class Designator:
    """One designation descriptor. ``protocol`` is None when PIV is 0: no transport is meant."""

    type: int
    code_set: int
    association: int
    value: bytes
    protocol: int | None = None

    def encode(self) -> bytes:
        """Header and value. Raises `ValueError` when the value is longer than 255 bytes."""
        if len(self.value) > 255:
            raise ValueError(f"designator of {len(self.value)} bytes, at most 255 fit")
        piv = 0 if self.protocol is None else _PIV
        head = (self.protocol or 0) << 4 | self.code_set
        kind = piv | self.association << 4 | self.type
        return HEADER.build(head=head, kind=kind, length=len(self.value)) + self.value

    @classmethod
    def parse_all(cls, data: bytes | bytearray | memoryview) -> list[Self]:
        """The descriptors of a page body; one that is cut at the end is left out, as Linux does."""
        data = bytes(data)
        found, position = [], 0
        while position + HEADER.size <= len(data):
            fields = HEADER.parse(data, position)
            position += HEADER.size
            value = data[position : position + fields["length"]]
            position += fields["length"]
            if len(value) == fields["length"]:
                found.append(cls._from_fields(fields, value))
        return found

    @classmethod
    def _from_fields(cls, fields: dict[str, int], value: bytes) -> Self:
        kind, head = fields["kind"], fields["head"]
        protocol = head >> 4 if kind & _PIV else None
        return cls(kind & 0x0F, head & 0x0F, kind >> 4 & 0b11, value, protocol)

    @property
    def text(self) -> str:
        """For people: text as text, numbers in hexadecimal."""
        if self.code_set in (CodeSet.ASCII, CodeSet.UTF_8):
            return self.value.rstrip(b"\0").decode("utf-8", "replace")
        return self.value.hex()


def naa_designator(wwn: str) -> Designator:
    """The logical unit's NAA name from its hexadecimal digits (32 for NAA 6)."""
    return Designator(DesignatorType.NAA, CodeSet.BINARY, Association.LOGICAL_UNIT, bytes.fromhex(wwn))


def logical_unit_group_designator(number: int) -> Designator:
    """Which group of logical units of its target the unit is in."""
    return Designator(
        DesignatorType.LOGICAL_UNIT_GROUP,
        CodeSet.BINARY,
        Association.LOGICAL_UNIT,
        number.to_bytes(4, "big"),
    )


def t10_vendor_designator(vendor: str, identifier: str) -> Designator:
    """The logical unit's T10 vendor name: eight characters of vendor, then what the vendor makes unique."""
    value = pad_text(vendor, 8) + pad_text(identifier, min(len(identifier), 200))
    return Designator(DesignatorType.T10_VENDOR, CodeSet.ASCII, Association.LOGICAL_UNIT, value)


def relative_target_port_designator(number: int) -> Designator:
    """Which port of the target the page came through."""
    value = number.to_bytes(4, "big")
    return _port_designator(DesignatorType.RELATIVE_TARGET_PORT, CodeSet.BINARY, value)


def target_port_group_designator(number: int) -> Designator:
    """Which target port group that port is in."""
    return _port_designator(DesignatorType.TARGET_PORT_GROUP, CodeSet.BINARY, number.to_bytes(4, "big"))


def _port_designator(kind: DesignatorType, code_set: CodeSet, value: bytes) -> Designator:
    return Designator(kind, code_set, Association.TARGET_PORT, value, PROTOCOL_ISCSI)


def scsi_name_designator(name: str, association: Association) -> Designator:
    """A SCSI name string, closed with NUL and padded to a multiple of four.

    Only for ports and devices: a logical unit's would beat NAA in Linux' ``wwid``, and then not match
    ``scsi_id``.
    """
    value = name.encode("utf-8")[:251] + b"\0"
    value += bytes(-len(value) % 4)
    return Designator(DesignatorType.SCSI_NAME, CodeSet.UTF_8, association, value, PROTOCOL_ISCSI)
