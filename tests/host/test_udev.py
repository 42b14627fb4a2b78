"""The links udev makes lie where they belong, whatever a unit says of itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from iscsim.host.udev import _by_id, _mangled
from iscsim.scsi.designator import Association, CodeSet, Designator, DesignatorType
from iscsim.scsi.inquiry import StandardInquiry
from iscsim.scsi.vpd import encode_device_identification, encode_unit_serial_number

HOSTILE = "../../../../etc/passwd"


@pytest.mark.parametrize("code_set", [CodeSet.ASCII, CodeSet.UTF_8])
@pytest.mark.parametrize("kind", [DesignatorType.T10_VENDOR, DesignatorType.EUI_64, DesignatorType.NAA])
def test_links_of_a_hostile_unit_stay_in_their_directory(kind: DesignatorType, code_set: CodeSet) -> None:
    disk: Any = SimpleNamespace(
        identity=SimpleNamespace(standard=StandardInquiry(vendor="../../..", product="/\n\x1b[2J"))
    )
    designator = Designator(
        type=kind, code_set=code_set, association=Association.LOGICAL_UNIT, value=HOSTILE.encode()
    )
    page_83 = encode_device_identification([designator])
    links = _by_id(disk, page_83, encode_unit_serial_number(HOSTILE))
    assert len(links) >= 2
    for link in links:
        assert link.rpartition("/")[0] == "/dev/disk/by-id"
        assert link.isprintable()


def test_map_is_named_as_libdevmapper_mangles_it() -> None:
    assert _mangled("3600140512345") == "3600140512345"
    assert _mangled("1../../etc/passwd") == r"1..\x2f..\x2fetc\x2fpasswd"
