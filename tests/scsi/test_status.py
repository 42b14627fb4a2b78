from iscsim.scsi.status import Status, status_name


def test_status_is_its_wire_value():
    assert [Status.GOOD, Status.CHECK_CONDITION, Status.BUSY, Status.TASK_ABORTED] == [0x00, 0x02, 0x08, 0x40]


def test_status_name_spells_the_standard():
    assert status_name(0x18) == "RESERVATION CONFLICT"


def test_status_name_of_an_undefined_code_is_a_number():
    assert status_name(0x11) == "status 0x11"
