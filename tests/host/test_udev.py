"""udev: links come some time after the disk, go with it, and lie where they belong."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from iscsim.host.settings import HostSettings
from iscsim.host.udev import _by_id, _mangled
from iscsim.lab import Lab
from iscsim.scsi.designator import Association, CodeSet, Designator, DesignatorType
from iscsim.scsi.inquiry import StandardInquiry
from iscsim.scsi.vpd import encode_device_identification, encode_unit_serial_number

from .world import ARRAY, WWN, log_in, make_host, play

BY_PATH = f"/dev/disk/by-path/ip-10.245.47.95:3260-iscsi-{ARRAY}-lun-1"
BY_ID = f"/dev/disk/by-id/scsi-{WWN}"
LATE = HostSettings(udev_delay_s=2)


def test_node_is_there_at_once_and_links_after_the_delay() -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab, LATE)
        await host.execute("iscsiadm", "-m", "discovery", "-t", "st", "-p", "10.245.47.95")
        await host.execute("iscsiadm", "-m", "node", "-l")
        seen = []
        for _ in range(2):
            seen.append([host.tree.exists(path) for path in ("/dev/sda", BY_PATH, BY_ID)])
            await asyncio.sleep(2.5)
        return seen

    assert play(story) == [[True, False, False], [True, True, True]]


def test_links_lead_to_the_disk_and_to_the_map_once_there_is_one() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        before = host.device_name(BY_ID)
        await host.multipathd.add_path("sda")
        await host.multipathd.add_path("sdb")
        with_map = host.device_name(BY_ID), host.device_name(f"/dev/disk/by-id/dm-uuid-mpath-{WWN}")
        paths = host.device_name(BY_PATH)
        host.multipathd.flush(WWN)
        return before, with_map, paths[:2], host.device_name(BY_ID)

    before, with_map, path, after = play(story)
    assert (before, after) == ("sda", "sda")
    assert with_map == ("dm-0", "dm-0")
    assert path == "sd"


def test_disk_that_goes_before_udev_has_looked_leaves_nothing() -> None:
    async def story(lab: Lab) -> Any:
        host = await make_host(lab, LATE)
        await host.execute("iscsiadm", "-m", "discovery", "-t", "st", "-p", "10.245.47.95")
        await host.execute("iscsiadm", "-m", "node", "-l")
        busy = host.udev.busy
        await host.execute("iscsiadm", "-m", "node", "-u")
        await host.execute("iscsiadm", "-m", "node", "-o", "delete")
        await host.settle()
        return busy, [each for each in host.leftovers() if not each.startswith("discovery")]

    assert play(story) == (2, [])


def test_properties_are_those_udevadm_shows() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        return (await host.execute("udevadm", "info", "/dev/sda")).text, host.kernel.disks["sda"].properties

    text, properties = play(story)
    assert properties["ID_SERIAL"] == WWN
    assert f"E: ID_SERIAL={WWN}\n" in text


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
    assert links  # scsi_id takes no designators in UTF-8, but always a serial number
    for link in links:
        assert link.rpartition("/")[0] == "/dev/disk/by-id"
        assert link.isprintable()


def test_map_is_named_as_libdevmapper_mangles_it() -> None:
    assert _mangled("3600140512345") == "3600140512345"
    assert _mangled("1../../etc/passwd") == r"1..\x2f..\x2fetc\x2fpasswd"
