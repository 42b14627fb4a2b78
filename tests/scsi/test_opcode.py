import pytest

from iscsim.scsi.opcode import cdb_length, cdb_name, service_action


@pytest.mark.parametrize(
    "cdb, name",
    [
        ("28", "READ (10)"),
        ("00", "TEST UNIT READY"),
        ("1b", "START STOP UNIT"),
        ("9e10", "READ CAPACITY (16)"),
        ("9e3f", "SERVICE ACTION IN (16)"),
        ("a30c", "REPORT SUPPORTED OPERATION CODES"),
        ("34", "PRE-FETCH (10)"),
        ("5e", "PERSISTENT RESERVE IN"),
        ("8300", "EXTENDED COPY (LID1)"),
        ("8403", "RECEIVE COPY OPERATING PARAMETERS"),
        ("48ff", "SANITIZE EXIT FAILURE MODE"),
        ("7f00000000000018000d", "WRITE SAME (32)"),
        ("7f00000000000018ffff", "VARIABLE LENGTH"),
        ("7f", "VARIABLE LENGTH"),
        ("c0", "operation code C0h"),
        ("", "empty CDB"),
    ],
)
def test_cdb_name_is_the_standards(cdb, name):
    assert cdb_name(bytes.fromhex(cdb)) == name


@pytest.mark.parametrize(
    "opcode, length", [(0x12, 6), (0x28, 10), (0x5A, 10), (0x7F, 0), (0x88, 16), (0xA0, 12)]
)
def test_cdb_length_follows_the_group_code(opcode, length):
    assert cdb_length(opcode) == length


@pytest.mark.parametrize("cdb, action", [("48a1" + "ff" * 8, 0x01), ("7fff000000000018000d", 0x0D)])
def test_the_service_action_is_where_the_operation_code_has_it(cdb, action):
    assert service_action(bytes.fromhex(cdb)) == action
