"""Sense data, fixed and descriptor format (SPC-4, "Sense data"), and the two errors that carry it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

import construct
from construct import Int8ub, Int16ub, Int32ub, Int64ub

from iscsim.errors import SCSIError
from iscsim.scsi.asc import ASC, asc_text
from iscsim.scsi.layout import Layout, bits
from iscsim.scsi.status import Status, status_name

__all__ = [
    "ASC",
    "CheckCondition",
    "CommandFailed",
    "FieldPointer",
    "ForwardedSense",
    "SegmentPointer",
    "Sense",
    "SenseKey",
    "parse_sense",
]


class SenseKey(IntEnum):
    """The SENSE KEY field."""

    NO_SENSE = 0x0
    RECOVERED_ERROR = 0x1
    NOT_READY = 0x2
    MEDIUM_ERROR = 0x3
    HARDWARE_ERROR = 0x4
    ILLEGAL_REQUEST = 0x5
    UNIT_ATTENTION = 0x6
    DATA_PROTECT = 0x7
    BLANK_CHECK = 0x8
    VENDOR_SPECIFIC = 0x9
    COPY_ABORTED = 0xA
    ABORTED_COMMAND = 0xB
    RESERVED = 0xC
    VOLUME_OVERFLOW = 0xD
    MISCOMPARE = 0xE
    COMPLETED = 0xF


FIXED = Layout(
    "response_code" / Int8ub,
    construct.Padding(1),
    "sense_key" / bits(filemark=1, end_of_medium=1, incorrect_length=1, _=1, key=4),
    "information" / Int32ub,
    "additional_length" / Int8ub,
    "command_specific" / Int32ub,
    "asc" / Int8ub,
    "ascq" / Int8ub,
    "field_replaceable_unit" / Int8ub,
    "sense_key_specific" / construct.Bytes(3),
)
DESCRIPTOR_HEADER = Layout(
    "response_code" / Int8ub,
    "sense_key" / bits(_=4, key=4),
    "asc" / Int8ub,
    "ascq" / Int8ub,
    construct.Padding(3),
    "additional_length" / Int8ub,
)
INFORMATION_DESCRIPTOR = Layout(
    "descriptor_type" / Int8ub,
    "additional_length" / Int8ub,
    "valid" / bits(valid=1, _=7),
    construct.Padding(1),
    "value" / Int64ub,
)
SENSE_KEY_SPECIFIC_DESCRIPTOR = Layout(
    "descriptor_type" / Int8ub,
    "additional_length" / Int8ub,
    construct.Padding(2),
    "sense_key_specific" / construct.Bytes(3),
    construct.Padding(1),
)
FIELD_REPLACEABLE_UNIT_DESCRIPTOR = Layout(
    "descriptor_type" / Int8ub, "additional_length" / Int8ub, construct.Padding(1), "code" / Int8ub
)
FIELD_POINTER = Layout("flags" / bits(sksv=1, in_cdb=1, _1=2, bpv=1, bit=3), "byte" / Int16ub)

# NO SENSE and NOT READY have this in the place of the pointer (SPC-4, "Progress indication").
PROGRESS = Layout("flags" / bits(sksv=1, _=7), "progress" / Int16ub)
SEGMENT_POINTER = Layout("flags" / bits(sksv=1, _1=1, sd=1, _2=1, bpv=1, bit=3), "byte" / Int16ub)
FORWARDED_DESCRIPTOR = Layout(
    "descriptor_type" / Int8ub,
    "additional_length" / Int8ub,
    "flags" / bits(fsdt=1, _=3, source=4),
    "status" / Int8ub,
)

MAXIMUM_SENSE_LENGTH = 252  # SPC-4: 8 bytes and an ADDITIONAL SENSE LENGTH of at most 244
FIXED_CURRENT, FIXED_DEFERRED, DESCRIPTOR_CURRENT, DESCRIPTOR_DEFERRED = 0x70, 0x71, 0x72, 0x73
_INFORMATION, _COMMAND_SPECIFIC, _SENSE_KEY_SPECIFIC, _BLOCK_COMMANDS = 0x00, 0x01, 0x02, 0x05
_FORWARDED = 0x0C
_LONGEST_FORWARDED = MAXIMUM_SENSE_LENGTH - FIXED.size - 1  # as much of it as fixed format has room for
_SD, _BPV = SEGMENT_POINTER.masks("flags")["sd"], SEGMENT_POINTER.masks("flags")["bpv"]
_FIELD_REPLACEABLE_UNIT = 0x03
_VALID = 0x80
_SKSV = PROGRESS.masks("flags")["sksv"]
_INCORRECT_LENGTH = FIXED.masks("sense_key")["incorrect_length"]


@dataclass(frozen=True, slots=True)
class FieldPointer:
    """Which byte, and which bit of it (7 is the most significant), of the CDB or the parameter list was
    wrong.
    """

    byte: int
    bit: int | None = None
    in_cdb: bool = True

    def encode(self) -> bytes:
        """The three bytes of sense-key specific data."""
        bit = 0 if self.bit is None else 0x08 | self.bit
        return FIELD_POINTER.build(flags=0x80 | (0x40 if self.in_cdb else 0) | bit, byte=self.byte)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From three bytes. Raises `ValueError` when there are fewer."""
        fields = FIELD_POINTER.parse(data)
        flags = fields["flags"]
        return cls(fields["byte"], flags & 7 if flags & 0x08 else None, bool(flags & 0x40))


@dataclass(frozen=True, slots=True)
class SegmentPointer:
    """Where EXTENDED COPY failed: a byte, and a bit of it, of the parameter list or of the segment descriptor
    that COMMAND-SPECIFIC INFORMATION numbers.
    """

    byte: int
    bit: int | None = None
    in_segment: bool = False

    def encode(self) -> bytes:
        """The three bytes of sense-key specific data."""
        bit = 0 if self.bit is None else _BPV | self.bit
        return SEGMENT_POINTER.build(flags=0x80 | (_SD if self.in_segment else 0) | bit, byte=self.byte)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From three bytes. Raises `ValueError` when there are fewer."""
        fields = SEGMENT_POINTER.parse(data)
        flags = fields["flags"]
        return cls(fields["byte"], flags & 7 if flags & _BPV else None, bool(flags & _SD))


@dataclass(frozen=True, slots=True)
class ForwardedSense:
    """What one end of a third-party copy answered to the copy manager: its status and sense data.

    ``source`` is 1 for the copy source and 2 for the copy destination.
    """

    source: int
    status: int
    sense: bytes = b""


@dataclass(frozen=True, slots=True)
class Sense:
    """One piece of sense data.

    ``information`` and ``command_specific`` are None where they are not valid; ``sense_key_specific`` is None
    or the three bytes of that field (`field_pointer` and `segment_pointer` read them). ``deferred`` speaks of
    an earlier command, ``forwarded`` of another unit's, and goes with COPY ABORTED only;
    ``field_replaceable_unit`` is the number of the part that failed, 0 for none.
    """

    key: int
    asc: int
    ascq: int
    information: int | None = None
    command_specific: int | None = None
    sense_key_specific: bytes | None = None
    incorrect_length: bool = False
    deferred: bool = False
    forwarded: ForwardedSense | None = None
    field_replaceable_unit: int = 0

    @classmethod
    def of(cls, key: SenseKey, code: ASC, **more: Any) -> Self:
        """From a named code: ``Sense.of(SenseKey.ILLEGAL_REQUEST, ASC.LBA_OUT_OF_RANGE)``."""
        return cls(key, code >> 8, code & 0xFF, **more)

    @property
    def code(self) -> int:
        """ASC and ASCQ as one number, comparable with `ASC`."""
        return self.asc << 8 | self.ascq

    @property
    def field_pointer(self) -> FieldPointer | None:
        """Where the fault lies, if the device server said so; only ILLEGAL REQUEST has one."""
        if self.sense_key_specific is None or self.key != SenseKey.ILLEGAL_REQUEST:
            return None
        return FieldPointer.parse(self.sense_key_specific)

    @property
    def segment_pointer(self) -> SegmentPointer | None:
        """Where the fault of a copy lies, if the copy manager said so; only COPY ABORTED has one."""
        if self.sense_key_specific is None or self.key != SenseKey.COPY_ABORTED:
            return None
        return SegmentPointer.parse(self.sense_key_specific)

    @property
    def progress(self) -> int | None:
        """How far a long operation has come, in 65536ths, if the device server said so."""
        if self.sense_key_specific is None or self.key not in (SenseKey.NO_SENSE, SenseKey.NOT_READY):
            return None
        return int(PROGRESS.parse(self.sense_key_specific)["progress"])

    def encode(self, descriptor: bool = False) -> bytes:
        """The bytes on the wire: 18 in fixed format, 8 and its descriptors in descriptor format.

        What is forwarded comes on top.
        """
        return self._encode_descriptor() if descriptor else self._encode_fixed()

    def _encode_fixed(self) -> bytes:
        # SPC-4: an INFORMATION that needs more than four bytes is not valid in fixed format.
        fits = self.information is not None and self.information < 1 << 32
        command_specific = self.command_specific or 0
        forwarded = self._forwarded_area()
        if forwarded:  # SPC-4: where it begins is in byte 0 (of the source) or 1 (of the destination)
            command_specific |= FIXED.size << (24 if self.forwarded and self.forwarded.source == 1 else 16)
        fixed = FIXED.build(
            response_code=(FIXED_DEFERRED if self.deferred else FIXED_CURRENT) | (_VALID if fits else 0),
            sense_key=self.key | (_INCORRECT_LENGTH if self.incorrect_length else 0),
            information=self.information if fits else 0,
            additional_length=FIXED.size - 8 + len(forwarded),
            command_specific=command_specific if command_specific < 1 << 32 else 0,
            asc=self.asc,
            ascq=self.ascq,
            field_replaceable_unit=self.field_replaceable_unit,
            sense_key_specific=self.sense_key_specific or bytes(3),
        )
        return fixed + forwarded

    def _forwarded_area(self) -> bytes:
        """Status and sense data of another unit, as they came."""
        if self.forwarded is None:
            return b""
        return bytes((self.forwarded.status,)) + self.forwarded.sense[:_LONGEST_FORWARDED]

    def _encode_descriptor(self) -> bytes:
        descriptors = b"".join(self._descriptors())
        return (
            DESCRIPTOR_HEADER.build(
                response_code=DESCRIPTOR_DEFERRED if self.deferred else DESCRIPTOR_CURRENT,
                sense_key=self.key,
                asc=self.asc,
                ascq=self.ascq,
                additional_length=len(descriptors),
            )
            + descriptors
        )

    def _descriptors(self) -> list[bytes]:
        found = []
        if self.information is not None:
            found.append(
                INFORMATION_DESCRIPTOR.build(
                    descriptor_type=_INFORMATION, additional_length=10, valid=_VALID, value=self.information
                )
            )
        if self.command_specific is not None:
            found.append(
                INFORMATION_DESCRIPTOR.build(
                    descriptor_type=_COMMAND_SPECIFIC, additional_length=10, value=self.command_specific
                )
            )
        if self.sense_key_specific is not None:
            found.append(
                SENSE_KEY_SPECIFIC_DESCRIPTOR.build(
                    descriptor_type=_SENSE_KEY_SPECIFIC,
                    additional_length=6,
                    sense_key_specific=self.sense_key_specific,
                )
            )
        if self.field_replaceable_unit:
            found.append(
                FIELD_REPLACEABLE_UNIT_DESCRIPTOR.build(
                    descriptor_type=_FIELD_REPLACEABLE_UNIT,
                    additional_length=2,
                    code=self.field_replaceable_unit,
                )
            )
        if self.incorrect_length:
            found.append(bytes((_BLOCK_COMMANDS, 2, 0, _INCORRECT_LENGTH)))
        if self.forwarded is not None:
            area = self._forwarded_area()
            header = FORWARDED_DESCRIPTOR.build(
                descriptor_type=_FORWARDED,
                additional_length=len(area) + 1,
                flags=self.forwarded.source,
                status=self.forwarded.status,
            )
            found.append(header + area[1:])
        return found

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """From either format. Raises `ValueError` for another response code or when the key is not in
        ``data``.

        Sense data may be cut anywhere (a host asks for so many bytes): what is missing is taken as zero.
        """
        data = bytes(data[:260])
        if len(data) < 2:
            raise ValueError(f"sense data of {len(data)} bytes has no sense key")
        match data[0] & 0x7F:
            case code if code in (FIXED_CURRENT, FIXED_DEFERRED):
                return cls._parse_fixed(data, code == FIXED_DEFERRED)
            case code if code in (DESCRIPTOR_CURRENT, DESCRIPTOR_DEFERRED):
                return cls._parse_descriptor(data, code == DESCRIPTOR_DEFERRED)
        raise ValueError(f"sense data with response code {data[0] & 0x7F:#04x}, expected 70h to 73h")

    @classmethod
    def _parse_fixed(cls, data: bytes, deferred: bool) -> Self:
        if len(data) < 3:
            raise ValueError(f"fixed sense data of {len(data)} bytes has no sense key")
        length = 8 + data[7] if len(data) > 7 else len(data)
        fields = FIXED.parse(data[:length].ljust(FIXED.size, b"\0"))
        specific = fields["sense_key_specific"]
        forwarded = _parse_forwarded_area(fields, data[:length])
        if forwarded is not None:
            fields["command_specific"] &= 0xFFFF
        return cls(
            key=fields["sense_key"] & 0x0F,
            asc=fields["asc"],
            ascq=fields["ascq"],
            information=fields["information"] if fields["response_code"] & _VALID else None,
            command_specific=fields["command_specific"] or None,
            sense_key_specific=specific if specific[0] & 0x80 else None,
            incorrect_length=bool(fields["sense_key"] & _INCORRECT_LENGTH),
            deferred=deferred,
            forwarded=forwarded,
            field_replaceable_unit=fields["field_replaceable_unit"],
        )

    @classmethod
    def _parse_descriptor(cls, data: bytes, deferred: bool) -> Self:
        header = DESCRIPTOR_HEADER.parse(data.ljust(DESCRIPTOR_HEADER.size, b"\0"))
        more: dict[str, Any] = {}
        rest = data[DESCRIPTOR_HEADER.size : DESCRIPTOR_HEADER.size + header["additional_length"]]
        while len(rest) >= 2:
            size = 2 + rest[1]
            more |= _parse_descriptor_fields(rest[:size])
            rest = rest[size:]
        return cls(header["sense_key"] & 0x0F, header["asc"], header["ascq"], deferred=deferred, **more)

    def __str__(self) -> str:
        """``ILLEGAL REQUEST: logical block address out of range (05/21/00)``."""
        name = SenseKey(self.key).name.replace("_", " ")
        text = asc_text(self.asc, self.ascq)
        return f"{name}: {text} ({self.key:02x}/{self.asc:02x}/{self.ascq:02x})"


def parse_sense(data: bytes | bytearray | memoryview) -> Sense | None:
    """Sense data of a target, None when it is none."""
    try:
        return Sense.parse(data)
    except ValueError:
        return None


def _parse_forwarded_area(fields: dict[str, Any], data: bytes) -> ForwardedSense | None:
    """What fixed sense data forwards, where its COMMAND-SPECIFIC INFORMATION says; None for nothing."""
    if fields["sense_key"] & 0x0F != SenseKey.COPY_ABORTED:
        return None
    for source, start in (
        (1, fields["command_specific"] >> 24),
        (2, fields["command_specific"] >> 16 & 0xFF),
    ):
        if FIXED.size <= start < len(data):
            return ForwardedSense(source, data[start], data[start + 1 :])
    return None


def _parse_descriptor_fields(descriptor: bytes) -> dict[str, Any]:
    """What one sense data descriptor says; unknown and cut ones say nothing."""
    match descriptor[0], len(descriptor):
        case (0x00, 12):
            fields = INFORMATION_DESCRIPTOR.parse(descriptor)
            return {"information": fields["value"]} if fields["valid"] & _VALID else {}
        case (0x01, 12):
            return {"command_specific": INFORMATION_DESCRIPTOR.parse(descriptor)["value"]}
        case (0x02, 8):
            specific = SENSE_KEY_SPECIFIC_DESCRIPTOR.parse(descriptor)["sense_key_specific"]
            return {"sense_key_specific": specific} if specific[0] & 0x80 else {}
        case (0x03, 4):
            return {"field_replaceable_unit": FIELD_REPLACEABLE_UNIT_DESCRIPTOR.parse(descriptor)["code"]}
        case (0x05, 4):
            return {"incorrect_length": bool(descriptor[3] & _INCORRECT_LENGTH)}
        case (0x0C, length) if length >= FORWARDED_DESCRIPTOR.size:
            fields = FORWARDED_DESCRIPTOR.parse(descriptor)
            more = descriptor[FORWARDED_DESCRIPTOR.size :]
            return {"forwarded": ForwardedSense(fields["flags"] & 0x0F, fields["status"], more)}
    return {}


class CheckCondition(SCSIError):
    """A command handler gives up: the device server answers CHECK CONDITION with ``sense``.

    ``field`` names the offending field of the CDB, as ``(byte, bit)`` or as a `FieldPointer`; ``progress`` is
    how far a long operation has come, in 65536ths.
    """

    def __init__(
        self,
        key: SenseKey,
        code: ASC,
        *,
        field: tuple[int, int | None] | FieldPointer | None = None,
        information: int | None = None,
        progress: int | None = None,
    ) -> None:
        pointer = FieldPointer(*field) if isinstance(field, tuple) else field
        specific = pointer.encode() if pointer else None
        if progress is not None:
            specific = PROGRESS.build(flags=_SKSV, progress=progress)
        self.sense = Sense.of(key, code, information=information, sense_key_specific=specific)
        super().__init__(str(self.sense))


class CommandFailed(SCSIError):
    """An initiator's command ended with a status other than GOOD; ``sense`` came with it, or is None."""

    def __init__(self, status: int, sense: Sense | None = None, command: str = "SCSI command") -> None:
        self.status = status
        self.sense = sense
        detail = f": {sense}" if sense else ""
        super().__init__(f"{command} ended with {status_name(status)}{detail}")

    @property
    def is_unit_attention(self) -> bool:
        """The command was not executed and may be repeated: the unit only had something to say."""
        return (
            self.status == Status.CHECK_CONDITION
            and self.sense is not None
            and self.sense.key == SenseKey.UNIT_ATTENTION
        )
