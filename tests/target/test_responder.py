"""Answers that are not a quick read: residuals of commands whose direction bits do not fit."""

import pytest
from exchanges.ladder import command, like, log_in, read_10, unit_of, write_10

from iscsim.pdu import SCSIResponse
from iscsim.scsi.status import Status


def test_a_write_without_the_w_bit_moves_nothing_and_says_so():
    """RFC 7143 section 11.4.5.2: SPDTL > EDTL is an overflow, signaled with their difference."""
    exchange = log_in() >> write_10(blocks=2, write=False, expected_data_transfer_length=0, data=b"x" * 1024)
    assert exchange << like(SCSIResponse, status=0, overflow=True, residual_count=1024)
    assert bytes(unit_of(exchange.session.entity).read(0, 2)) == bytes(1024)


def test_a_write_with_the_r_bit_only_moves_nothing_either():
    exchange = log_in() >> write_10(blocks=2, write=False, read=True)
    assert exchange << like(SCSIResponse, status=0, overflow=True, residual_count=1024, exp_data_sn=0)


def test_a_write_that_fails_without_the_w_bit_has_no_residual():
    exchange = log_in() >> write_10(lba=1 << 30, write=False, expected_data_transfer_length=0)
    assert exchange << like(SCSIResponse, status=Status.CHECK_CONDITION, overflow=False, residual_count=0)


def test_a_read_with_the_w_bit_only_takes_no_data():
    """libiscsi's Read10Invalid: GOOD, and none of what was expected has been sent."""
    exchange = log_in() >> read_10(read=False, write=True, data=b"x" * 512)
    assert exchange << like(SCSIResponse, status=0, underflow=True, residual_count=512, exp_data_sn=0)


@pytest.mark.parametrize("opcode", [0x00, 0x35])
def test_a_command_that_moves_nothing_has_no_residual(opcode):
    exchange = log_in() >> command(bytes([opcode]))
    assert exchange << like(SCSIResponse, status=0, overflow=False, underflow=False, residual_count=0)


def test_what_was_expected_of_a_command_that_moves_nothing_is_underflow():
    exchange = log_in() >> command(bytes(6), read=True, expected_data_transfer_length=36)
    assert exchange << like(SCSIResponse, status=0, underflow=True, residual_count=36)
