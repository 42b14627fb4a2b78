from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi import cdb, vpd
from iscsim.scsi.designator import relative_target_port_designator
from iscsim.scsi.device_server import COMMANDS
from iscsim.scsi.vpd import (
    Association,
    BlockDeviceCharacteristics,
    BlockLimits,
    DesignatorType,
    ExtendedInquiry,
    LogicalBlockProvisioning,
    VPDPage,
)

U32 = st.integers(0, (1 << 32) - 1)
limits = st.builds(
    BlockLimits,
    maximum_transfer_blocks=U32,
    optimal_transfer_blocks=U32,
    optimal_transfer_granularity_blocks=st.integers(0, 0xFFFF),
    maximum_compare_and_write_blocks=st.integers(0, 255),
    maximum_unmap_blocks=U32,
    maximum_unmap_descriptors=U32,
    optimal_unmap_granularity_blocks=U32,
    unmap_granularity_alignment=st.none() | st.integers(0, (1 << 31) - 1),
    maximum_write_same_blocks=st.integers(0, (1 << 64) - 1),
    write_same_non_zero=st.booleans(),
)
PARSERS = [
    vpd.parse_supported_pages,
    vpd.parse_unit_serial_number,
    vpd.parse_device_identification,
    ExtendedInquiry.parse,
    BlockLimits.parse,
    BlockDeviceCharacteristics.parse,
    LogicalBlockProvisioning.parse,
]


def longest(recorded, cdb, peer, lun="00c5"):
    return max((row.data for row in recorded(cdb, peer, lun)), key=len)


def test_supported_pages_of_the_captures(recorded):
    assert vpd.parse_supported_pages(longest(recorded, "120100", "tgt")) == [
        0x00,
        0x80,
        0x83,
        0xB0,
        0xB1,
        0xB2,
    ]
    lio = longest(recorded, "120100", "LIO")
    assert vpd.parse_supported_pages(lio) == [0x00, 0x80, 0x83, 0x86, 0xB0, 0xB1, 0xB2, 0xB3]
    assert vpd.encode_supported_pages([0xB3, 0xB2, 0xB1, 0xB0, 0x86, 0x83, 0x80, 0x00]) == lio


@pytest.mark.parametrize(
    "peer, serial", [("tgt", "FNM00150600267"), ("LIO", "e7d4395d-c033-47c9-bd5b-3674231fa769")]
)
def test_serial_numbers_of_the_captures(recorded, peer, serial):
    assert vpd.parse_unit_serial_number(longest(recorded, "120180", peer)) == serial


def test_lios_names_are_read_and_rebuilt(recorded):
    page = longest(recorded, "120183", "LIO")
    found = vpd.parse_device_identification(page)
    assert [(name.type, name.association) for name in found] == [
        (DesignatorType.NAA, Association.LOGICAL_UNIT),
        (DesignatorType.T10_VENDOR, Association.LOGICAL_UNIT),
        (DesignatorType.RELATIVE_TARGET_PORT, Association.TARGET_PORT),
        (DesignatorType.TARGET_PORT_GROUP, Association.TARGET_PORT),
        (DesignatorType.LOGICAL_UNIT_GROUP, Association.LOGICAL_UNIT),
        (DesignatorType.SCSI_NAME, Association.TARGET_PORT),
        (DesignatorType.SCSI_NAME, Association.TARGET_DEVICE),
    ]
    assert found[2] == relative_target_port_designator(1)
    assert found[5].text == "iqn.1992-04.com.emc:cx.fnm00150600267.a0,t,0x0001"
    assert vpd.encode_device_identification(found) == page


def test_third_party_copy_is_the_table_of_commands(rig):
    page = vpd.ThirdPartyCopy.parse(rig.good(cdb.inquiry(0x8F)))
    actions = {opcode: tuple(COMMANDS[opcode].service_actions) for opcode in (0x83, 0x84)}
    assert (page.commands, page.descriptor_types) == (actions, (0x02, 0x0A, 0xE4))
    assert page == rig.unit.third_party_copy
    assert (
        rig.good(cdb.inquiry(0x8F))
        .hex(" ", -4)
        .startswith("008f005c 0001000c 08830100 84030003 04000000 0004001c 00000000 00080004")
    )


@given(st.binary(max_size=120))
def test_third_party_copy_takes_whatever_comes(body):
    vpd.ThirdPartyCopy.parse(vpd.encode_page(0x8F, body))


EXTENDED = st.builds(
    ExtendedInquiry,
    **dict.fromkeys(
        (
            "simple_tasks",
            "ordered_tasks",
            "head_of_queue_tasks",
            "write_uncorrectable",
            "volatile_cache",
            "clears_on_report_luns",
            "referrals",
        ),
        st.booleans(),
    ),
    extended_self_test_minutes=st.integers(0, 0xFFFF),
    maximum_sense_length=st.integers(0, 0xFF),
)


@given(EXTENDED)
def test_extended_inquiry_round_trip(found):
    assert len(found.encode()) == 64
    assert ExtendedInquiry.parse(found.encode()) == found


def test_block_limits_of_the_captures(recorded):
    tgt, lio = longest(recorded, "1201b0", "tgt"), longest(recorded, "1201b0", "LIO")
    assert BlockLimits.parse(tgt) == BlockLimits(maximum_compare_and_write_blocks=128)
    assert BlockLimits.parse(tgt).encode() == tgt
    assert BlockLimits.parse(lio) == BlockLimits(
        maximum_transfer_blocks=16384,
        optimal_transfer_blocks=16384,
        optimal_transfer_granularity_blocks=1,
        maximum_compare_and_write_blocks=1,
        write_same_non_zero=True,
    )


def test_characteristics_of_the_captures(recorded):
    lio = longest(recorded, "1201b1", "LIO")
    assert BlockDeviceCharacteristics.parse(lio) == BlockDeviceCharacteristics(rotation_rate=0)
    assert BlockDeviceCharacteristics(rotation_rate=0).encode() == lio


def test_provisioning_of_the_captures(recorded):
    for row in recorded("1201b2", lun="00c5"):
        if len(row.data) == 8:
            assert LogicalBlockProvisioning.parse(row.data) == LogicalBlockProvisioning()
            assert LogicalBlockProvisioning().encode() == row.data


@given(limits)
def test_block_limits_round_trip(found):
    assert len(found.encode()) == 64
    assert BlockLimits.parse(found.encode()) == found


def test_provisioning_of_a_thin_unit():
    page = LogicalBlockProvisioning(unmap=True, write_same_10=True, reads_zeros=True, provisioning_type=2)
    assert page.encode().hex() == "00b2000400a40200"
    assert LogicalBlockProvisioning.parse(page.encode()) == page


def test_provisioning_with_thresholds():
    page = LogicalBlockProvisioning(provisioning_type=2, threshold_exponent=11)
    assert page.encode().hex() == "00b200040b000200"
    assert LogicalBlockProvisioning.parse(page.encode()) == page


def test_referrals_are_16_bytes_that_give_no_segment_size():
    assert vpd.encode_referrals().hex() == "00b3000c" + "00" * 12


def test_characteristics_tell_of_reads_after_an_erasure():
    page = BlockDeviceCharacteristics(
        reads_after_block_erase=1, reads_after_cryptographic_erase=2, form_factor=3
    )
    assert page.encode()[7] == 0x63
    assert BlockDeviceCharacteristics.parse(page.encode()) == page


def test_byte_0_carries_the_peripheral():
    assert vpd.encode_supported_pages([0], peripheral=0x7F).hex() == "7f00000100"


def test_parse_refuses_another_page():
    page = vpd.encode_unit_serial_number("x")
    with pytest.raises(ValueError, match="VPD page 80h arrived where 83h was expected"):
        vpd.parse_device_identification(page)


@pytest.mark.parametrize("parse", PARSERS)
def test_parsers_survive_anything(parse):
    @given(st.sampled_from(list(VPDPage)), st.binary(max_size=300))
    def survive(page, data):
        for candidate in (data, vpd.encode_page(page, data), vpd.encode_page(page, data)[: len(data)]):
            with suppress(ValueError):
                assert parse(candidate) is not None

    survive()
