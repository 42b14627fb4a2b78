"""The kernel's list of odd units."""

import pytest

from iscsim.initiator.device_flags import DeviceFlag, flags_of


@pytest.mark.parametrize(
    "vendor, product, flags",
    [
        ("DGC", "RAID 5", DeviceFlag.SPARSELUN),
        ("DGC", "VRAID", DeviceFlag.NONE),
        ("EMC", "SYMMETRIX", DeviceFlag.SPARSELUN | DeviceFlag.LARGELUN | DeviceFlag.REPORTLUN2),
        ("HITACHI", "OPEN-V", DeviceFlag.REPORTLUN2 | DeviceFlag.TRY_VPD_PAGES),
        ("LIO-ORG", "f1", DeviceFlag.NONE),
        ("DGC2", "RAID", DeviceFlag.NONE),
    ],
)
def test_flags_are_found_by_vendor_and_how_the_product_begins(
    vendor: str, product: str, flags: DeviceFlag
) -> None:
    assert flags_of(vendor, product) == flags
