import pytest

from iscsim.scsi.asc import ASC, asc_text


@pytest.mark.parametrize(
    "asc, ascq, text",
    [
        (0x21, 0x00, "logical block address out of range"),
        (0x29, 0x00, "power on, reset, or bus device reset occurred"),
        (0x27, 0x00, "write protected"),
        (0x3F, 0x0E, "reported LUNs data has changed"),
        (0x24, 0x00, "invalid field in CDB"),
        (0x82, 0x01, "vendor specific"),
        (0x04, 0xF0, "vendor specific"),
        (0x77, 0x77, "unknown additional sense"),
    ],
)
def test_asc_text_is_t10s(asc, ascq, text):
    assert asc_text(asc, ascq) == text


def test_every_code_has_a_text():
    assert all(code.text and "_" not in code.text.replace("I_T", "") for code in ASC)
