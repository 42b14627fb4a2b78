import pytest

from iscsim.scsi.command import (
    Command,
    CommandFlag,
    check_control,
    invalid_field,
    lba_out_of_range,
    parameter_list_length_error,
)
from iscsim.scsi.device_server import COMMANDS
from iscsim.scsi.opcode import cdb_length, cdb_name
from iscsim.scsi.sense import CheckCondition, FieldPointer


def rows():
    for opcode, command in COMMANDS.items():
        if command.handler:
            yield bytes((opcode, 0)), command
        for action, row in command.service_actions.items():
            variable = opcode == 0x7F
            yield bytes((opcode, 0 if variable else action)) + bytes(6) + action.to_bytes(2, "big"), row


def test_every_command_of_the_table_has_a_name_and_a_length():
    for cdb, _ in rows():
        assert "operation code" not in cdb_name(cdb)
        assert bool(cdb_length(cdb[0])) == (cdb[0] != 0x7F)  # which says it itself


def test_every_row_has_either_a_handler_or_service_actions():
    assert all(bool(command.handler) != bool(command.service_actions) for command in COMMANDS.values())


def test_inquiry_report_luns_and_request_sense_run_with_a_unit_attention_pending():
    exempt = {cdb_name(cdb) for cdb, row in rows() if row.flags & CommandFlag.WITH_UNIT_ATTENTION}
    assert exempt == {"INQUIRY", "REPORT LUNS", "REQUEST SENSE"}


def test_what_touches_the_medium_needs_it():
    without = {cdb_name(cdb) for cdb, row in rows() if not row.flags & CommandFlag.NEEDS_MEDIUM}
    assert without >= {"INQUIRY", "REPORT LUNS", "REQUEST SENSE", "START STOP UNIT", "MODE SENSE (6)"}
    assert not {name for name in without if name.startswith(("READ", "WRITE", "SYNC"))}


def test_a_command_has_no_flags_by_default():
    assert Command().flags == CommandFlag.NONE


def test_an_address_out_of_range_is_told_from_the_first_that_is_not_there(rig):
    assert lba_out_of_range(rig.unit, 2040).sense.information == 2048
    assert lba_out_of_range(rig.unit, 1 << 40).sense.information == 1 << 40


def test_lengths_that_disagree_are_no_field():
    assert str(parameter_list_length_error().sense)[-9:-1] == "05/1a/00"


def test_invalid_field_points_at_the_cdb():
    assert invalid_field(2, 5).sense.field_pointer == FieldPointer(2, 5)


@pytest.mark.parametrize(
    "head, position", [("08", 5), ("28", 9), ("5a", 9), ("88", 15), ("a8", 11), ("9e10", 15), ("7f", 1)]
)
def test_naca_is_looked_for_where_control_is(head, position):
    whole = bytearray(bytes.fromhex(head).ljust(32, b"\0"))
    whole[position] = 0x04
    with pytest.raises(CheckCondition) as refused:
        check_control(bytes(whole))
    assert refused.value.sense.field_pointer == FieldPointer(position, 2)


def test_the_vendors_and_the_reserved_bits_of_control_are_ignored():
    check_control(bytes.fromhex("0000000000fb"))
