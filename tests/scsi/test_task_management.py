from iscsim.scsi.task_management import TaskManagement


def test_every_function_has_the_bit_of_spc():
    bits = {function.name: f"{function:#06x}" for function in TaskManagement if function}
    assert bits == {
        "ABORT_TASK": "0x8000",
        "ABORT_TASK_SET": "0x4000",
        "CLEAR_ACA": "0x2000",
        "CLEAR_TASK_SET": "0x1000",
        "LOGICAL_UNIT_RESET": "0x0800",
        "QUERY_TASK": "0x0400",
        "TARGET_RESET": "0x0200",
        "QUERY_ASYNCHRONOUS_EVENT": "0x0004",
        "QUERY_TASK_SET": "0x0002",
        "I_T_NEXUS_RESET": "0x0001",
    }
