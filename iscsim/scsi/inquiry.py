"""Standard INQUIRY data (SPC-4, "Standard INQUIRY data")."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

from construct import Bytes, Int8ub, Padding

from iscsim.scsi.layout import Layout, bits, pad_text

__all__ = ["DeviceType", "Qualifier", "StandardInquiry", "VersionDescriptor"]


class DeviceType(IntEnum):
    """PERIPHERAL DEVICE TYPE."""

    DISK = 0x00
    TAPE = 0x01
    PROCESSOR = 0x03
    CD = 0x05
    MEDIUM_CHANGER = 0x08
    STORAGE_ARRAY_CONTROLLER = 0x0C
    ENCLOSURE_SERVICES = 0x0D
    WELL_KNOWN_LOGICAL_UNIT = 0x1E
    UNKNOWN = 0x1F


class Qualifier(IntEnum):
    """PERIPHERAL QUALIFIER."""

    CONNECTED = 0b000
    NOT_CONNECTED = 0b001
    NOT_CAPABLE = 0b011


class VersionDescriptor(IntEnum):
    """The standards a unit may claim."""

    SAM_5 = 0x00A0
    SPC_3 = 0x0300
    SPC_4 = 0x0460
    SBC_3 = 0x04C0
    ISCSI = 0x0960


SPC_4_VERSION = 0x06
_RESPONSE_DATA_FORMAT = 2
_VERSION_DESCRIPTORS = 8

STANDARD_INQUIRY = Layout(
    "peripheral" / bits(qualifier=3, device_type=5),
    "medium" / bits(removable=1, _=7),
    "version" / Int8ub,
    "format" / bits(_=2, normaca=1, hisup=1, response_data_format=4),
    "additional_length" / Int8ub,
    "flags_5" / bits(sccs=1, _1=1, tpgs=2, third_party_copy=1, _2=2, protect=1),
    "flags_6" / bits(_1=1, enclosure_services=1, _2=1, multiple_ports=1, _3=4),
    "flags_7" / bits(_1=6, command_queuing=1, _2=1),
    "vendor" / Bytes(8),
    "product" / Bytes(16),
    "revision" / Bytes(4),
    Padding(22),
    "version_descriptors" / Bytes(2 * _VERSION_DESCRIPTORS),
    Padding(22),
)
_THIRD_PARTY_COPY = STANDARD_INQUIRY.masks("flags_5")["third_party_copy"]
_MULTIPLE_PORTS = STANDARD_INQUIRY.masks("flags_6")["multiple_ports"]
_COMMAND_QUEUING = STANDARD_INQUIRY.masks("flags_7")["command_queuing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardInquiry:
    """What a unit says it is; texts without their padding.

    ``tpgs`` is the asymmetric access support: 0 none, 1 implicit, 2 explicit, 3 both. ``vendor_specific`` are
    the bytes from the 96th on, at most 164.
    """

    vendor: str = ""
    product: str = ""
    revision: str = ""
    device_type: int = DeviceType.DISK
    qualifier: int = Qualifier.CONNECTED
    removable: bool = False
    version: int = SPC_4_VERSION
    hierarchical: bool = True
    tpgs: int = 0
    third_party_copy: bool = False
    multiple_ports: bool = False
    command_queuing: bool = True
    version_descriptors: tuple[int, ...] = field(default=())
    vendor_specific: bytes = b""

    def encode(self) -> bytes:
        """96 bytes, up to the end of the version descriptors and their reserved bytes, and what is vendor
        specific behind them.
        """
        descriptors = b"".join(
            code.to_bytes(2, "big") for code in self.version_descriptors[:_VERSION_DESCRIPTORS]
        )
        standard = STANDARD_INQUIRY.build(
            peripheral=self.qualifier << 5 | self.device_type,
            medium=0x80 if self.removable else 0,
            version=self.version,
            format=(0x10 if self.hierarchical else 0) | _RESPONSE_DATA_FORMAT,
            additional_length=STANDARD_INQUIRY.size + len(self.vendor_specific) - 5,
            flags_5=self.tpgs << 4 | (_THIRD_PARTY_COPY if self.third_party_copy else 0),
            flags_6=_MULTIPLE_PORTS if self.multiple_ports else 0,
            flags_7=_COMMAND_QUEUING if self.command_queuing else 0,
            vendor=pad_text(self.vendor, 8),
            product=pad_text(self.product, 16),
            revision=pad_text(self.revision, 4),
            version_descriptors=descriptors,
        )
        return standard + self.vendor_specific

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """From what a target sent, which may stop after any byte from the 5th on.

        Raises `ValueError` before that.
        """
        if len(data) < 5:
            raise ValueError(f"INQUIRY answered {len(data)} bytes, at least 5 were expected")
        available = min(len(data), 5 + data[4])
        fields = STANDARD_INQUIRY.parse(bytes(data[:available]).ljust(STANDARD_INQUIRY.size, b"\0"))
        codes = fields["version_descriptors"]
        words = (int.from_bytes(codes[i : i + 2], "big") for i in range(0, len(codes), 2))
        return cls(
            vendor=text_field(fields["vendor"]),
            product=text_field(fields["product"]),
            revision=text_field(fields["revision"]),
            device_type=fields["peripheral"] & 0x1F,
            qualifier=fields["peripheral"] >> 5,
            removable=bool(fields["medium"] & 0x80),
            version=fields["version"],
            hierarchical=bool(fields["format"] & 0x10),
            tpgs=fields["flags_5"] >> 4 & 0b11,
            third_party_copy=bool(fields["flags_5"] & _THIRD_PARTY_COPY),
            multiple_ports=bool(fields["flags_6"] & _MULTIPLE_PORTS),
            command_queuing=bool(fields["flags_7"] & _COMMAND_QUEUING),
            version_descriptors=tuple(word for word in words if word),
            vendor_specific=bytes(data[STANDARD_INQUIRY.size : available]),
        )


def text_field(data: bytes) -> str:
    """An ASCII field of SPC without its padding; bytes that are not ASCII are shown as ``?``."""
    text = data.split(b"\0", 1)[0].decode("ascii", "replace").replace("\N{REPLACEMENT CHARACTER}", "?")
    return text.strip(" ")
