"""The quick path equals plain Construct, both ways: the proof that one definition is enough."""

import struct
from typing import Any

import pytest
from construct import BitStruct, ConstructError, Flag, GreedyBytes, Int8ub, Int16ub, Padding
from construct import Struct as ConstructStruct
from hypothesis import given, settings
from hypothesis import strategies as st

from iscsim.errors import LocalProtocolError
from iscsim.pdu import PDU, PDU_TYPES, SCSICommand, TaskManagementRequest
from iscsim.pdu.codec import derive
from iscsim.pdu.layouts import LAYOUTS, SCSI_COMMAND

CLASSES = [PDU_TYPES[opcode] for opcode in sorted(PDU_TYPES)]
NOT_FIELDS = ("_io", "byte_0", "byte_1", "opcode", "total_ahs_length", "data_segment_length")

headers = st.binary(min_size=48, max_size=48)
every_class = pytest.mark.parametrize("cls", CLASSES, ids=[cls.__name__ for cls in CLASSES])


def parse(cls: type[PDU], header: bytes) -> dict[str, Any]:
    """What plain Construct reads, as the fields of the dataclass."""
    parsed = LAYOUTS[cls.opcode].parse(header)
    merged = {**parsed.byte_0, **parsed.byte_1, **parsed}
    return {name: value for name, value in merged.items() if name not in NOT_FIELDS}


def build(cls: type[PDU], values: dict[str, Any], data_segment_length: int = 0) -> bytes:
    """What plain Construct writes."""
    flags = {**values, "opcode": cls.opcode}
    lengths = {"total_ahs_length": 0, "data_segment_length": data_segment_length}
    return LAYOUTS[cls.opcode].build({"byte_0": flags, "byte_1": flags, **values, **lengths})


def values_of(pdu: PDU) -> dict[str, Any]:
    return {name: getattr(pdu, name) for name in pdu.codec.fields}


def field_values(cls: type[PDU]) -> st.SearchStrategy[dict[str, Any]]:
    """Any legal value for each field: up to what a header of ones holds."""
    largest = parse(cls, b"\xff" * 48)
    return st.fixed_dictionaries({name: _values_up_to(value) for name, value in largest.items()})


def _values_up_to(largest: Any) -> st.SearchStrategy[Any]:
    if isinstance(largest, bytes):
        return st.binary(min_size=len(largest), max_size=len(largest))
    return st.booleans() if isinstance(largest, bool) else st.integers(0, largest)


@every_class
@settings(deadline=None)
@given(data=st.data())
def test_from_header_reads_what_construct_reads(cls: type[PDU], data: st.DataObject) -> None:
    header = data.draw(headers)
    assert values_of(cls.from_header(header)) == parse(cls, header)


@every_class
@settings(deadline=None)
@given(data=st.data())
def test_header_writes_what_construct_writes(cls: type[PDU], data: st.DataObject) -> None:
    values, payload = data.draw(field_values(cls)), data.draw(st.binary(max_size=9))
    assert cls(**values, data=payload).header() == build(cls, values, len(payload))


@every_class
@settings(deadline=None)
@given(data=st.data())
def test_fields_survive_the_way_there_and_back(cls: type[PDU], data: st.DataObject) -> None:
    pdu = cls(**data.draw(field_values(cls)))
    assert cls.from_header(pdu.header()) == pdu


@every_class
@settings(deadline=None)
@given(data=st.data())
def test_any_header_comes_back_without_its_reserved_bits(cls: type[PDU], data: st.DataObject) -> None:
    header = data.draw(headers)
    assert cls.from_header(header).header() == build(cls, parse(cls, header))


@every_class
@settings(deadline=None)
@given(data=st.data())
def test_a_header_is_read_at_any_offset_of_any_buffer(cls: type[PDU], data: st.DataObject) -> None:
    before, header = data.draw(st.binary(max_size=50)), data.draw(headers)
    expected = cls.from_header(header)
    for buffer in (bytes, bytearray, memoryview):
        assert cls.from_header(buffer(before + header + b"behind"), len(before)) == expected


@every_class
def test_flag_tables_stay_small_whatever_a_peer_sends(cls: type[PDU]) -> None:
    for word in range(0, 1 << 16, 7):
        cls.from_header(word.to_bytes(2, "big") + bytes(46))
    assert len(cls.codec.unpack_flags) <= 1 << cls.codec.flags_mask.bit_count() <= 512


@every_class
def test_flags_mask_is_the_named_bits_without_the_opcode(cls: type[PDU]) -> None:
    all_ones = build(cls, parse(cls, b"\xff" * 48))
    assert cls.codec.flags_mask == int.from_bytes(all_ones[:2], "big") & ~0x3F00


@every_class
def test_a_value_too_large_for_its_field_is_refused(cls: type[PDU]) -> None:
    for name, largest in parse(cls, b"\xff" * 48).items():
        if isinstance(largest, bool):
            continue
        for wrong in (b"",) if isinstance(largest, bytes) else (largest + 1, -1):
            with pytest.raises(ConstructError):
                build(cls, {**parse(cls, bytes(48)), name: wrong})
            with pytest.raises(LocalProtocolError):
                cls(**{name: wrong}).header()


@pytest.mark.parametrize("cdb", [bytes(10), bytes(15), bytes(17)])
def test_a_cdb_is_neither_padded_nor_cut_in_silence(cdb: bytes) -> None:
    with pytest.raises(LocalProtocolError, match=r"cdb of \d+ bytes in SCSICommand, expected 16"):
        SCSICommand(cdb=cdb).header()


def test_fields_follow_the_layout() -> None:
    codec = TaskManagementRequest.codec
    assert codec.fields[:3] == ("immediate", "final", "function")
    assert codec.flags_mask == 0x40FF
    assert codec.flag_count == codec.lengths_index == 3


def test_bytes_are_measured_where_struct_would_pad_or_cut() -> None:
    fields = SCSICommand.codec.fields
    assert [(fields[index], length) for index, length in SCSICommand.codec.byte_fields] == [
        ("lun", 8),
        ("cdb", 16),
    ]


def test_derive_refuses_a_field_that_struct_cannot_express() -> None:
    flags = "byte_0" / BitStruct(Padding(2), "opcode" / Flag, Padding(5)), "byte_1" / BitStruct(Padding(8))
    with pytest.raises(TypeError, match="no code in struct"):
        derive(ConstructStruct(*flags, "rest" / GreedyBytes), 0)


def test_derive_refuses_a_layout_that_is_not_a_header() -> None:
    flags = "byte_0" / BitStruct(Padding(8)), "byte_1" / BitStruct(Padding(8))
    with pytest.raises(AssertionError):
        derive(ConstructStruct(*flags, "short" / Int16ub, "shorter" / Int8ub), 0)


def test_the_codec_is_struct_underneath() -> None:
    codec = derive(SCSI_COMMAND, 0x01)
    assert codec.unpack_from.__self__.__class__ is struct.Struct
    assert codec.pack.__self__.size == 48
