"""The makes of disks that personalities have: what real ones were seen to say of themselves."""

from __future__ import annotations

from iscsim.scsi.asc import ASC
from iscsim.scsi.asymmetric_access import AccessModes, AccessState
from iscsim.scsi.inquiry import VersionDescriptor
from iscsim.scsi.profile import (
    PLAIN,
    DeviceProfile,
    FailoverMode,
    Processors,
    array_serial,
    hashed_name,
    serial_name,
    uuid_serial,
)
from iscsim.scsi.vpd import VPDPage

__all__ = ["LIO", "PLAIN", "TGT", "VNX"]

_BASIC_PAGES = frozenset(
    {
        VPDPage.SUPPORTED_PAGES,
        VPDPage.UNIT_SERIAL_NUMBER,
        VPDPage.DEVICE_IDENTIFICATION,
        VPDPage.BLOCK_LIMITS,
        VPDPage.BLOCK_DEVICE_CHARACTERISTICS,
        VPDPage.LOGICAL_BLOCK_PROVISIONING,
    }
)

LIO = DeviceProfile(
    vendor="LIO-ORG",
    product="IBLOCK",
    product_is_name=True,
    products={"block": "IBLOCK", "fileio": "FILEIO", "ramdisk": "RAMDISK-MCP"},
    revision="4.0",
    serial=uuid_serial,
    wwn=serial_name("6001405"),
    designators=(
        "naa",
        "t10",
        "relative_target_port",
        "target_port_group",
        "logical_unit_group",
        "target_port_name",
        "target_name",
    ),
    access_modes=AccessModes.BOTH,
    maximum_transfer_length=8 << 20,
    optimal_transfer_length=8 << 20,
    maximum_compare_and_write_blocks=1,
    vpd_pages=_BASIC_PAGES | {VPDPage.EXTENDED_INQUIRY},
)
"""Linux 6.1's target as targetcli sets it up; see tests/golden for the recording."""

TGT = DeviceProfile(
    vendor="IET",
    version=0x05,
    version_descriptors=(VersionDescriptor.SBC_3, VersionDescriptor.ISCSI, VersionDescriptor.SPC_3),
    wwn=hashed_name("60000000000000000e"),
    t10_identifier="{serial}",
    designators=("t10", "naa"),
    access_modes=AccessModes.NONE,
    vpd_pages=_BASIC_PAGES,
)
"""tgt 1.0. Its own NAA name ends with the numbers of target and LUN, so that two tgtd have equal ones."""

VNX = DeviceProfile(
    vendor="DGC",
    product="VRAID",
    revision="0533",
    version=0x04,
    version_descriptors=(),
    model="VNX5400",
    serial=array_serial,
    serial_is_of_array=True,
    wwn=hashed_name("60060160"),
    t10_identifier="{serial}",
    access_modes=AccessModes.BOTH,
    vpd_pages=_BASIC_PAGES | {VPDPage.EXTENDED_INQUIRY, VPDPage.UNIT_PATH_REPORT},
    placeholder="LUNZ",
    processors=Processors(
        count=2,
        failover_modes={
            1: FailoverMode(
                code=0x4,
                modes=AccessModes.NONE,
                passive=AccessState.STANDBY,
                refusal=ASC.MANUAL_INTERVENTION_REQUIRED,
            ),
            4: FailoverMode(code=0x6, modes=AccessModes.BOTH, passive=AccessState.ACTIVE_NON_OPTIMIZED),
        },
        default_mode=4,
        trespass_page=0x22,
    ),
)
"""An EMC VNX, as multipath-tools' checker and prioritizer and Linux' device handler take it."""
