"""Vital product data pages (SPC-4 and SBC-3): built by a device server, parsed by an initiator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

from construct import Int8ub, Int16ub, Int32ub, Int64ub, Padding

from iscsim.scsi.designator import Association, Designator, DesignatorType
from iscsim.scsi.inquiry import text_field
from iscsim.scsi.layout import Layout, bits, pad_text

__all__ = [
    "Association",
    "BlockDeviceCharacteristics",
    "BlockLimits",
    "Designator",
    "DesignatorType",
    "ExtendedInquiry",
    "LogicalBlockProvisioning",
    "ThirdPartyCopy",
    "VPDPage",
    "encode_device_identification",
    "encode_page",
    "encode_referrals",
    "encode_supported_pages",
    "encode_unit_serial_number",
    "parse_device_identification",
    "parse_page",
    "parse_supported_pages",
    "parse_unit_serial_number",
]


class VPDPage(IntEnum):
    """PAGE CODE."""

    SUPPORTED_PAGES = 0x00
    UNIT_SERIAL_NUMBER = 0x80
    DEVICE_IDENTIFICATION = 0x83
    EXTENDED_INQUIRY = 0x86
    THIRD_PARTY_COPY = 0x8F
    BLOCK_LIMITS = 0xB0
    BLOCK_DEVICE_CHARACTERISTICS = 0xB1
    LOGICAL_BLOCK_PROVISIONING = 0xB2
    REFERRALS = 0xB3
    UNIT_PATH_REPORT = 0xC0  # EMC's


HEADER = Layout("peripheral" / bits(qualifier=3, device_type=5), "page" / Int8ub, "length" / Int16ub)
EXTENDED_INQUIRY = Layout(
    "checks" / bits(activate_microcode=2, spt=3, grd_chk=1, app_chk=1, ref_chk=1),
    "tasks" / bits(_=2, uask_sup=1, group_sup=1, prior_sup=1, headsup=1, ordsup=1, simpsup=1),
    "caches" / bits(_=4, wu_sup=1, crd_sup=1, nv_sup=1, v_sup=1),
    "nexuses" / bits(_1=3, p_i_i_sup=1, _2=3, luiclr=1),
    "referrals" / bits(_1=3, r_sup=1, _2=3, cbcs=1),
    "microcode" / bits(_=4, multi_nexus_download=4),
    "extended_self_test_minutes" / Int16ub,
    "activations" / bits(poa_sup=1, hra_sup=1, vsa_sup=1, _=5),
    "maximum_sense_length" / Int8ub,
    Padding(50),
)
BLOCK_LIMITS = Layout(
    "flags" / bits(_=7, wsnz=1),
    "maximum_compare_and_write_blocks" / Int8ub,
    "optimal_transfer_granularity_blocks" / Int16ub,
    "maximum_transfer_blocks" / Int32ub,
    "optimal_transfer_blocks" / Int32ub,
    "maximum_prefetch_blocks" / Int32ub,
    "maximum_unmap_blocks" / Int32ub,
    "maximum_unmap_descriptors" / Int32ub,
    "optimal_unmap_granularity_blocks" / Int32ub,
    "unmap_granularity_alignment" / Int32ub,
    "maximum_write_same_blocks" / Int64ub,
    "maximum_atomic_blocks" / Int32ub,
    "atomic_alignment_blocks" / Int32ub,
    "atomic_granularity_blocks" / Int32ub,
    "maximum_atomic_with_boundary_blocks" / Int32ub,
    "maximum_atomic_boundary_blocks" / Int32ub,
)
CHARACTERISTICS = Layout(
    "rotation_rate" / Int16ub,
    "product_type" / Int8ub,
    "form" / bits(wabereq=2, wacereq=2, form_factor=4),
    Padding(56),
)
REFERRALS = Layout(Padding(4), "segment_size" / Int32ub, "segment_multiplier" / Int32ub)
PROVISIONING = Layout(
    "threshold_exponent" / Int8ub,
    "flags" / bits(unmap=1, write_same_16=1, write_same_10=1, reads_zeros=3, anchor=1, descriptor=1),
    "kind" / bits(minimum_percentage=5, provisioning_type=3),
    "threshold_percentage" / Int8ub,
)
# Third-party copy descriptors of page 8Fh; all but the lists have a fixed length.
COPY_DESCRIPTOR = Layout("type" / Int16ub, "length" / Int16ub)
COPY_PARAMETER_DATA = Layout(
    Padding(4),
    "maximum_cscd_descriptors" / Int16ub,
    "maximum_segment_descriptors" / Int16ub,
    "maximum_descriptors_length" / Int32ub,
    "maximum_inline_length" / Int32ub,
    Padding(12),
)
COPY_OPERATIONS = Layout(
    "total_concurrent_copies" / Int32ub,
    "maximum_identified_copies" / Int32ub,
    "maximum_segment_length" / Int32ub,
    "data_segment_granularity" / Int8ub,
    "inline_data_granularity" / Int8ub,
    Padding(18),
)
_COPY_COMMANDS, _COPY_PARAMETERS, _COPY_DESCRIPTORS, _COPY_OPERATIONS = 0x0001, 0x0004, 0x0008, 0x8001
_PROVISIONING = PROVISIONING.masks("flags")
_READS_ZEROS = 0x04  # LBPRZ 001b
_WSNZ = 0x01
READS_WITHOUT_ERROR = 0b01
"""Of WABEREQ and WACEREQ: blocks can be read after an erasure, and say nothing of before."""
_ALIGNMENT_VALID = 0x8000_0000


def encode_page(page: int, body: bytes, peripheral: int = 0) -> bytes:
    """A page around ``body``; ``peripheral`` is byte 0, qualifier and device type."""
    return HEADER.build(peripheral=peripheral, page=page, length=len(body)) + body


def parse_page(data: bytes | bytearray | memoryview, page: int) -> bytes:
    """The body of ``page``, as much of it as arrived. Raises `ValueError` for a stump or another page."""
    fields = HEADER.parse(data)
    if fields["page"] != page:
        raise ValueError(f"VPD page {fields['page']:02X}h arrived where {page:02X}h was expected")
    return bytes(data[HEADER.size : HEADER.size + fields["length"]])


def encode_supported_pages(pages: Sequence[int], peripheral: int = 0) -> bytes:
    """Page 00h, in the ascending order SPC asks for."""
    return encode_page(VPDPage.SUPPORTED_PAGES, bytes(sorted(pages)), peripheral)


def parse_supported_pages(data: bytes | bytearray | memoryview) -> list[int]:
    """The page codes of page 00h. Raises `ValueError` for another page."""
    return list(parse_page(data, VPDPage.SUPPORTED_PAGES))


def encode_unit_serial_number(serial: str, peripheral: int = 0) -> bytes:
    """Page 80h, ASCII, at most 252 characters."""
    return encode_page(VPDPage.UNIT_SERIAL_NUMBER, pad_text(serial, min(len(serial), 252)), peripheral)


def parse_unit_serial_number(data: bytes | bytearray | memoryview) -> str:
    """The serial number without its padding. Raises `ValueError` for another page."""
    return text_field(parse_page(data, VPDPage.UNIT_SERIAL_NUMBER))


def encode_device_identification(designators: Sequence[Designator], peripheral: int = 0) -> bytes:
    """Page 83h, the designators in the order given."""
    body = b"".join(designator.encode() for designator in designators)
    return encode_page(VPDPage.DEVICE_IDENTIFICATION, body, peripheral)


def parse_device_identification(data: bytes | bytearray | memoryview) -> list[Designator]:
    """The designators of page 83h. Raises `ValueError` for another page."""
    return Designator.parse_all(parse_page(data, VPDPage.DEVICE_IDENTIFICATION))


# The bit fields of page 86h that are True or False here, by attribute: byte and mask. The others are 0.
_EXTENDED = {
    "simple_tasks": ("tasks", EXTENDED_INQUIRY.masks("tasks")["simpsup"]),
    "ordered_tasks": ("tasks", EXTENDED_INQUIRY.masks("tasks")["ordsup"]),
    "head_of_queue_tasks": ("tasks", EXTENDED_INQUIRY.masks("tasks")["headsup"]),
    "write_uncorrectable": ("caches", EXTENDED_INQUIRY.masks("caches")["wu_sup"]),
    "volatile_cache": ("caches", EXTENDED_INQUIRY.masks("caches")["v_sup"]),
    "clears_on_report_luns": ("nexuses", EXTENDED_INQUIRY.masks("nexuses")["luiclr"]),
    "referrals": ("referrals", EXTENDED_INQUIRY.masks("referrals")["r_sup"]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedInquiry:
    """Page 86h (SPC-4): which task attributes there are, whether a write cache loses data without power, and
    whether REPORT LUNS clears 3F/0E on every unit (LUICLR). Lengths in bytes.
    """

    simple_tasks: bool = True
    ordered_tasks: bool = False
    head_of_queue_tasks: bool = False
    write_uncorrectable: bool = False
    volatile_cache: bool = False
    clears_on_report_luns: bool = False
    referrals: bool = False
    extended_self_test_minutes: int = 0
    maximum_sense_length: int = 0

    def encode(self, peripheral: int = 0) -> bytes:
        """64 bytes."""
        flags: dict[str, int] = {}
        for name, (byte, mask) in _EXTENDED.items():
            flags[byte] = flags.get(byte, 0) | (mask if getattr(self, name) else 0)
        body = EXTENDED_INQUIRY.build(
            **flags,
            extended_self_test_minutes=self.extended_self_test_minutes,
            maximum_sense_length=self.maximum_sense_length,
        )
        return encode_page(VPDPage.EXTENDED_INQUIRY, body, peripheral)

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """Fields a short page does not have are 0. Raises `ValueError` for another page."""
        body = parse_page(data, VPDPage.EXTENDED_INQUIRY)
        fields = EXTENDED_INQUIRY.parse(body.ljust(EXTENDED_INQUIRY.size, b"\0"))
        return cls(
            **{name: bool(fields[byte] & mask) for name, (byte, mask) in _EXTENDED.items()},
            extended_self_test_minutes=fields["extended_self_test_minutes"],
            maximum_sense_length=fields["maximum_sense_length"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLimits:
    """Page B0h (SBC-3). Lengths in blocks; 0 says that there is no limit, or no such command."""

    maximum_transfer_blocks: int = 0
    optimal_transfer_blocks: int = 0
    optimal_transfer_granularity_blocks: int = 0
    maximum_compare_and_write_blocks: int = 0
    maximum_prefetch_blocks: int = 0
    maximum_unmap_blocks: int = 0
    maximum_unmap_descriptors: int = 0
    optimal_unmap_granularity_blocks: int = 0
    unmap_granularity_alignment: int | None = None
    maximum_write_same_blocks: int = 0
    maximum_atomic_blocks: int = 0
    atomic_alignment_blocks: int = 0
    atomic_granularity_blocks: int = 0
    maximum_atomic_with_boundary_blocks: int = 0
    maximum_atomic_boundary_blocks: int = 0
    write_same_non_zero: bool = False

    def encode(self, peripheral: int = 0) -> bytes:
        """64 bytes, the length SBC-3 fixed."""
        values = {name: getattr(self, name) for name in self.__slots__ if name in BLOCK_LIMITS.fields}
        if self.unmap_granularity_alignment is None:
            del values["unmap_granularity_alignment"]
        else:
            values["unmap_granularity_alignment"] |= _ALIGNMENT_VALID
        values["flags"] = _WSNZ if self.write_same_non_zero else 0
        return encode_page(VPDPage.BLOCK_LIMITS, BLOCK_LIMITS.build(**values), peripheral)

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """Fields a short page (12 bytes in SBC-2) does not have are 0.

        Raises `ValueError` for another page.
        """
        body = parse_page(data, VPDPage.BLOCK_LIMITS)
        fields = BLOCK_LIMITS.parse(body.ljust(BLOCK_LIMITS.size, b"\0"))
        alignment = fields["unmap_granularity_alignment"]
        known = {name: fields[name] for name in cls.__slots__ if name in fields}
        known["unmap_granularity_alignment"] = (
            alignment & ~_ALIGNMENT_VALID if alignment & _ALIGNMENT_VALID else None
        )
        return cls(**known, write_same_non_zero=bool(fields["flags"] & _WSNZ))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDeviceCharacteristics:
    """Page B1h (SBC-3). ``rotation_rate``: 0 not reported, 1 non-rotating, else revolutions per minute.

    The other two are WABEREQ and WACEREQ, 0 where there is no such erasure.
    """

    rotation_rate: int = 1
    form_factor: int = 0
    reads_after_block_erase: int = 0
    reads_after_cryptographic_erase: int = 0

    def encode(self, peripheral: int = 0) -> bytes:
        """64 bytes."""
        erasures = self.reads_after_block_erase << 6 | self.reads_after_cryptographic_erase << 4
        body = CHARACTERISTICS.build(rotation_rate=self.rotation_rate, form=erasures | self.form_factor)
        return encode_page(VPDPage.BLOCK_DEVICE_CHARACTERISTICS, body, peripheral)

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """Raises `ValueError` for another page."""
        body = parse_page(data, VPDPage.BLOCK_DEVICE_CHARACTERISTICS)
        fields = CHARACTERISTICS.parse(body.ljust(CHARACTERISTICS.size, b"\0"))
        return cls(
            rotation_rate=fields["rotation_rate"],
            form_factor=fields["form"] & 0x0F,
            reads_after_block_erase=fields["form"] >> 6,
            reads_after_cryptographic_erase=fields["form"] >> 4 & 0b11,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalBlockProvisioning:
    """Page B2h (SBC-3): how blocks can be unmapped. ``provisioning_type``: 0 not reported, 1 resource, 2
    thin. A threshold of the provisioning mode page counts sets of 2**``threshold_exponent`` blocks; with 0
    there are no thresholds. Nothing is anchored, and no provisioning group is described.
    """

    unmap: bool = False
    write_same_16: bool = False
    write_same_10: bool = False
    reads_zeros: bool = False
    provisioning_type: int = 0
    threshold_exponent: int = 0

    def encode(self, peripheral: int = 0) -> bytes:
        """8 bytes."""
        supported = ("unmap", "write_same_16", "write_same_10")
        flags = sum(_PROVISIONING[name] for name in supported if getattr(self, name))
        body = PROVISIONING.build(
            threshold_exponent=self.threshold_exponent,
            flags=flags | (_READS_ZEROS if self.reads_zeros else 0),
            kind=self.provisioning_type,
        )
        return encode_page(VPDPage.LOGICAL_BLOCK_PROVISIONING, body, peripheral)

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """Raises `ValueError` for another page."""
        body = parse_page(data, VPDPage.LOGICAL_BLOCK_PROVISIONING)
        fields = PROVISIONING.parse(body.ljust(PROVISIONING.size, b"\0"))
        flags = fields["flags"]
        return cls(
            unmap=bool(flags & _PROVISIONING["unmap"]),
            write_same_16=bool(flags & _PROVISIONING["write_same_16"]),
            write_same_10=bool(flags & _PROVISIONING["write_same_10"]),
            reads_zeros=bool(flags & _READS_ZEROS),
            provisioning_type=fields["kind"] & 0b111,
            threshold_exponent=fields["threshold_exponent"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThirdPartyCopy:
    """Page 8Fh (SPC-4): what a copy manager does.

    ``commands`` has service actions by operation code, ``descriptor_types`` the type codes EXTENDED COPY may
    bring; lengths are in bytes. There is no inline and no held data, and one copy at a time.
    """

    commands: Mapping[int, Sequence[int]] = field(default_factory=dict)
    descriptor_types: tuple[int, ...] = ()
    maximum_cscd_descriptors: int = 0
    maximum_segment_descriptors: int = 0
    maximum_descriptors_length: int = 0
    maximum_segment_length: int = 0

    def encode(self, peripheral: int = 0) -> bytes:
        """The descriptors in ascending order of their types, each a multiple of four bytes long."""
        commands = b"".join(
            bytes((opcode, len(actions), *actions)) for opcode, actions in self.commands.items()
        )
        parameters = COPY_PARAMETER_DATA.build(
            maximum_cscd_descriptors=self.maximum_cscd_descriptors,
            maximum_segment_descriptors=self.maximum_segment_descriptors,
            maximum_descriptors_length=self.maximum_descriptors_length,
        )
        operations = COPY_OPERATIONS.build(
            total_concurrent_copies=1,
            maximum_identified_copies=1,
            maximum_segment_length=self.maximum_segment_length,
        )
        body = (
            _copy_descriptor(_COPY_COMMANDS, bytes((len(commands),)) + commands)
            + _copy_descriptor(_COPY_PARAMETERS, parameters)
            + _copy_descriptor(_COPY_DESCRIPTORS, bytes((len(self.descriptor_types), *self.descriptor_types)))
            + _copy_descriptor(_COPY_OPERATIONS, operations)
        )
        return encode_page(VPDPage.THIRD_PARTY_COPY, body, peripheral)

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """What is there of the four descriptors; others, and one that is cut, are left out.

        Raises `ValueError` for another page.
        """
        found = _copy_descriptors(parse_page(data, VPDPage.THIRD_PARTY_COPY))
        types = found.get(_COPY_DESCRIPTORS, b"\0")
        parameters = _padded_fields(COPY_PARAMETER_DATA, found.get(_COPY_PARAMETERS, b""))
        del parameters["maximum_inline_length"]
        return cls(
            commands=_copy_commands(found.get(_COPY_COMMANDS, b"\0")),
            descriptor_types=tuple(types[1 : 1 + types[0]]),
            maximum_segment_length=_padded_fields(COPY_OPERATIONS, found.get(_COPY_OPERATIONS, b""))[
                "maximum_segment_length"
            ],
            **parameters,
        )


def _copy_descriptor(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return COPY_DESCRIPTOR.build(type=kind, length=len(body)) + body


def _copy_descriptors(data: bytes) -> dict[int, bytes]:
    found, position = {}, 0
    while position + COPY_DESCRIPTOR.size <= len(data):
        fields = COPY_DESCRIPTOR.parse(data, position)
        position += COPY_DESCRIPTOR.size
        body = data[position : position + fields["length"]]
        position += fields["length"]
        if body and len(body) == fields["length"]:
            found[fields["type"]] = body
    return found


def _copy_commands(body: bytes) -> dict[int, tuple[int, ...]]:
    listed, found = body[1 : 1 + body[0]], {}
    while len(listed) >= 2:
        end = 2 + listed[1]
        found[listed[0]] = tuple(listed[2:end])
        listed = listed[end:]
    return found


def _padded_fields(layout: Layout, body: bytes) -> dict[str, int]:
    return layout.parse(body.ljust(layout.size, b"\0"))


def encode_referrals(peripheral: int = 0) -> bytes:
    """Page B3h (SBC-3), 16 bytes: a segment size of 0, so segments are as REPORT REFERRALS describes them."""
    return encode_page(VPDPage.REFERRALS, REFERRALS.build(), peripheral)
