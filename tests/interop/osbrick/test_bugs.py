"""The bugs of the catalogue that need no control plane: docs/reference/host-bugs.md lists them by row."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .arena import (
    ARRAY,
    PORTALS,
    A,
    B,
    Story,
    exception,
    modern,
    newton,
    play,
    processutils,
    properties,
    to_discover,
    unit,
)


def swap(story: Story, lun: int, wwn: str) -> None:
    """The array maps another volume at a LUN, and nobody has told the host."""
    story.array.lun_map.remove(lun)
    story.array.add_lun(lun, unit(wwn))


# -- 1 to 4: what the kernel believes, and what is -----------------------------------------------------


@modern
def test_row_1_leftover_device_gives_the_next_volume_the_name_of_the_last() -> None:
    """CVE-2023-2088, OSSA-2023-003, LP#2004555: an attachment is deleted behind the host's back, its LUN goes
    to another volume, and os-brick gives the guest the old volume's device: the scan changes nothing."""

    async def story(s: Story) -> Any:
        first = await s.attach()
        swap(s, 1, B)
        s.host.history.clear()
        second = await s.attach()
        return first, second, s.ran("/sys/class/scsi_host/host2/scan"), await s.host.kernel.differences()

    first, second, scans, differences = play(story)
    assert second == first
    assert second["scsi_wwn"] == A  # the volume is B
    assert scans == 1
    assert any(B in line for line in differences)


@newton
def test_row_1_leftover_device_is_as_wrong_in_newton() -> None:
    """CVE-2023-2088: Newton's scsi_id asks the unit, and so tells the new name; the map is the old one's."""

    async def story(s: Story) -> Any:
        first = await s.attach()
        swap(s, 1, B)
        second = await s.attach()
        return first, second, await s.shell("multipath -ll")

    first, second, shown = play(story)
    assert first["scsi_wwn"] == A
    assert A in shown
    assert second["path"] != f"/dev/disk/by-id/dm-uuid-mpath-{B}"


def test_row_1_guest_on_the_leftover_device_reads_what_another_has_written() -> None:
    """CVE-2023-2088: that is the harm: a map of A, and the data of B."""

    async def story(s: Story) -> Any:
        await s.attach()
        device = s.host.multipathd.maps[A]
        await device.write(0, b"mine".ljust(512, b"\0"))
        swap(s, 1, B)
        (other,) = [each.logical_unit for each in s.array.lun_map]
        other.store.write(0, b"theirs".ljust(512, b"\0"))
        return device.wwn, bytes(await device.read(0, 1)).rstrip(b"\0")

    assert play(story) == (A, b"theirs")


def test_row_2_kernel_keeps_the_name_of_a_unit_whose_lun_was_given_away() -> None:
    """kubernetes#59946, #90982: "LUN assignments on this target have changed. The Linux SCSI layer does not
    automatically remap LUN assignments": sysfs has the old name, scsi_id the new; delete and scan help."""

    async def story(s: Story) -> Any:
        await s.attach()
        disk = s.disks()[0]
        swap(s, 1, B)
        scan = f"tee -a /sys/class/scsi_host/host{s.host.kernel.disks[disk].hctl.host}/scan"
        await s.shell(scan, stdin=b"- - 1")
        cached = (await s.shell(f"cat /sys/block/{disk}/device/wwid")).strip()
        asked = (await s.shell(f"/lib/udev/scsi_id --page 0x83 --whitelisted /dev/{disk}")).strip()
        await s.shell(f"tee -a /sys/block/{disk}/device/delete", stdin=b"1")
        await s.shell(scan, stdin=b"- - 1")
        await s.host.settle()
        again = (await s.shell(f"cat /sys/block/{disk}/device/wwid")).strip()
        return cached, asked, again

    assert play(story) == (f"naa.{A[1:]}", B, f"naa.{B[1:]}")


@modern
def test_row_3_paths_that_lead_to_two_units_give_a_map_of_one_and_no_error() -> None:
    """LP#1813609 and its revert LP#1819577: os-brick compares no names, so a portal that leads elsewhere is
    a path that is not in the map, and nobody is told."""

    async def story(s: Story) -> Any:
        other = "iqn.2026-11.org.iscsim:other"
        await s.lab.target(other, portals=["10.245.47.97:3260"], luns={1: unit(B)}, host="other")
        asked = properties(
            portals=[PORTALS[0], "10.245.47.97:3260"], target_iqns=[ARRAY, other], target_luns=[1, 1]
        )
        device = await s.call("connect_volume", asked)
        return device, [len(each.paths) for each in s.host.multipathd.maps.values()], len(s.disks())

    device, paths, disks = play(story)
    assert device["scsi_wwn"] in (A, B)
    assert disks == 2
    assert set(paths) == {1}


@newton
def test_row_4_rescan_of_another_attach_brings_back_a_device_that_was_removed() -> None:
    """LP#1664032: Newton's ``iscsiadm -m node --rescan`` scans everything, so while A is being detached an
    attach of B finds A again: an orphan once the array unmaps it."""
    assert play(_removed_while_another_is_attached, luns={1: unit(A), 2: unit(B)}) is True


@modern
def test_row_4_manual_scan_does_not_bring_back_a_device_that_was_removed() -> None:
    """LP#1800515, os-brick's iscsi_manual_scan_support: only the LUN that is asked for is scanned."""
    assert play(_removed_while_another_is_attached, luns={1: unit(A), 2: unit(B)}) is False


@modern
def test_row_4_old_open_iscsi_brings_it_back_with_todays_os_brick() -> None:
    """kubernetes#90985: without ``node.session.scan`` every login scans all there is."""

    async def story(s: Story) -> Any:
        device = await s.attach(1)
        found = len(s.disks())
        await s.detach(device, 1)
        return found, s.left()

    luns = {1: unit(A), 2: unit(B)}
    assert play(story, luns=luns)[0] == 2
    found, left = play(story, luns=luns, manual_scan=False)
    assert found == 4
    assert (
        sum(each.startswith("disk ") for each in left) == 2
    )  # the sessions stay for the other LUN's devices


async def _removed_while_another_is_attached(s: Story) -> bool:
    """Whether A's device is back after an attach of B."""
    device = await s.attach(1)
    other = await s.attach(2)
    await s.detach(device, 1)
    await s.detach(other, 2)
    sessions = await s.attach(2)  # B keeps the sessions
    for name in [disk.name for disk in s.host.kernel.disks.values() if disk.hctl.lun == 1]:
        await s.shell(f"tee -a /sys/block/{name}/device/delete", stdin=b"1")
    assert sessions
    await s.attach(2)
    return any(disk.hctl.lun == 1 for disk in s.host.kernel.disks.values())


# -- 5: logins that time out ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seconds", [pytest.param(240, marks=newton, id="newton"), pytest.param(120, marks=modern, id="today")]
)
def test_row_5_silent_portals_cost_120_seconds_each(seconds: float) -> None:
    """open-iscsi#299 and the seeds: Newton tries portals one after the other, os-brick of today at once.

    The whole of the seeds' 254.5 s is in test_seeds.py, that of the recording in test_recorded.py."""

    async def story(s: Story) -> Any:
        for portal in PORTALS:
            s.lab.fault("net.blackhole", portal=portal)
        begun = s.lab.now
        with pytest.raises(exception.BrickException):
            await s.attach()
        codes = [run for run in s.host.history if "--login" in run.argv and run.result.exit_code == 8]
        first = [run for run in codes if run.begun < begun + seconds - 1]
        return len(first), max(run.ended for run in first) - begun

    logins, took = play(story)
    assert logins == 2
    assert took == pytest.approx(seconds, abs=8)


# -- 6 and 7: what will not go ------------------------------------------------------------------------


@modern
def test_row_6_map_in_use_stops_the_detach_and_leaves_everything() -> None:
    """LP#1785669, LP#2012251: without force nothing is removed while the map is open."""

    async def story(s: Story) -> Any:
        device = await s.attach()
        before = s.left()
        with (
            s.host.multipathd.maps[A].open(),
            pytest.raises(processutils.ProcessExecutionError, match="map in use"),
        ):
            await s.detach(device)
        return before, s.left(), s.ran("multipath", "-f")

    before, after, flushes = play(story)
    assert after == before
    assert flushes == 3


@modern
def test_row_6_forced_detach_of_a_map_in_use_removes_the_paths_and_keeps_the_map() -> None:
    """LP#2012251: with force the paths and sessions go; the map stays as long as it is open."""

    async def story(s: Story) -> Any:
        device = await s.attach()
        with s.host.multipathd.maps[A].open():
            await s.detach(device, force=True, ignore_errors=True)
            held = s.left()
        await s.shell(f"multipathd del map {A}")
        return held, s.left()

    held, after = play(story)
    assert {each.split()[0] for each in held} == {"map", "link"}
    assert after == []


@newton
def test_row_6_newton_only_logs_that_the_map_is_in_use_and_removes_its_paths() -> None:
    """LP#1502534's time: a guest loses all paths of an open map, and the map is left without any."""

    async def story(s: Story) -> Any:
        device = await s.attach()
        with s.host.multipathd.maps[A].open():
            await s.detach(device)
            return s.left()

    left = play(story)
    assert not [each for each in left if each.startswith(("disk", "session", "node"))]
    assert [each for each in left if each.startswith("map")] == [f"map {A} (dm-0) of no path"]


@modern
def test_row_7_path_multipathd_keeps_is_removed_by_hand() -> None:
    """LP#1924652, LP#2136842: multipathd misses that a disk went; os-brick asks, and says ``del path``."""

    async def story(s: Story) -> Any:
        device = await s.attach()
        await s.detach(device)
        return s.ran("multipathd", "del", "path"), s.left()

    removed, left = play(story, multipathd_misses_removals=True)
    assert removed == 2
    assert left == []
    removed, left = play(story)
    assert (removed, left) == (0, [])


@newton
def test_row_7_path_multipathd_keeps_stays_in_newton() -> None:
    """LP#1924652: Newton never asks multipathd which paths it still has."""

    async def story(s: Story) -> Any:
        device = await s.attach()
        await s.detach(device)
        return s.left()

    assert play(story, multipathd_misses_removals=True) == ["path sda", "path sdb"]


# -- 8 to 10: what is not as usual, or not yet ---------------------------------------------------------


@modern
def test_row_8_two_sessions_with_one_portal_are_both_cleaned() -> None:
    """LP#2116553, LP#2092195: ``node.session.nr_sessions = 2``; before the fix a disk was left."""

    async def story(s: Story) -> Any:
        device = await s.attach()
        sessions, disks = len(s.host.iscsid.sessions), len(s.disks())
        await s.detach(device)
        return sessions, disks, s.left()

    sessions, _, left = play(story, iscsid_conf={"node.session.nr_sessions": "2"})
    assert sessions == 4
    assert left == []


@modern
@pytest.mark.parametrize("delay", [0, 5, 20])
def test_row_9_slow_udev_costs_the_map_and_the_name_but_not_the_volume(delay: float) -> None:
    """LP#1881608, LP#1881619, LP#1820007, LP#1834443: the WWN of sysfs counts only if udev has made its link;
    without it os-brick gives up on the map after some ten seconds, and returns one path and no name."""

    async def story(s: Story) -> Any:
        device = await s.attach()
        await s.host.settle()
        await s.detach(device)
        return device, s.left()

    device, left = play(story, udev_delay_s=delay)
    assert device["scsi_wwn"] == (A if delay < 20 else "")
    assert device["path"].startswith("/dev/dm-" if delay < 20 else "/dev/sd")
    assert left == []


@newton
def test_row_9_newton_waits_for_the_link_and_rescans() -> None:
    """LP#1834443: Newton knows a volume by its link, and retries with a rescan until udev has made it."""

    async def story(s: Story) -> Any:
        device = await s.attach()
        await s.host.settle()
        return device["scsi_wwn"], s.ran("iscsiadm", "session", "--rescan")

    assert play(story, udev_delay_s=0.1)[0] == A
    assert play(story, udev_delay_s=4)[1] > play(story, udev_delay_s=0.1)[1]


@modern
def test_row_10_attach_waits_until_the_map_can_do_io() -> None:
    """LP#2067949: right after it was made a map may have no usable path: ``multipath -C`` is asked again."""

    async def story(s: Story) -> Any:
        s.host.fail_command("multipath", "-C", times=2)
        begun = s.lab.now
        device = await s.attach()
        return device["path"], s.ran("multipath", "-C"), s.lab.now - begun

    path, asked, seconds = play(story)
    assert (path, asked) == ("/dev/dm-0", 3)
    assert seconds > 6  # os-brick waits 2 and 4 seconds between


@modern
def test_row_10_map_that_never_can_fails_the_attach() -> None:
    """LP#2067949: after four tries it is an error, and what was attached stays for the caller to detach."""

    async def story(s: Story) -> Any:
        s.host.fail_command("multipath", "-C", times=100)
        with pytest.raises(processutils.ProcessExecutionError):
            await s.attach()
        await s.detach(None)
        return s.left()

    assert play(story) == []


# -- 11 to 13: attached one way, used another ----------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
@modern
def test_row_11_detach_with_another_use_multipath_leaves_nothing(first: bool) -> None:
    """LP#1921381: the configuration changes between attach and detach."""

    async def story(s: Story) -> Any:
        device = await s.attach()
        s.connector = s.make_connector(multipath=not first)
        await s.detach(device)
        return s.left()

    assert play(story, multipath=first) == []


@modern
def test_row_12_extend_needs_all_paths() -> None:
    """LP#2032177: with a path down nothing is extended."""

    async def story(s: Story) -> Any:
        device = await s.attach()
        s.lab.fault("path.down", portal=PORTALS[1])
        await asyncio.sleep(300)
        for each in s.array.node.units():
            each.resize(each.blocks * 2)
        with pytest.raises(exception.BrickException, match="All paths"):
            await s.call("extend_volume", properties())
        s.lab.heal()
        await asyncio.sleep(60)
        return device, s.host.multipathd.maps[A].size

    assert play(story)[1] == 64 << 20


@modern
def test_row_12_extend_finds_a_map_with_a_friendly_name() -> None:
    """LP#1609753: the map is mpatha, not the WWN."""

    async def story(s: Story) -> Any:
        device = await s.attach()
        for each in s.array.node.units():
            each.resize(each.blocks * 2)
        size = await s.call("extend_volume", properties())
        shown = await s.shell("multipath -ll")
        await s.detach(device)
        return size, shown.split()[0], s.left()

    assert play(story, user_friendly_names=True) == (128 << 20, "mpatha", [])


@modern
def test_row_12_extend_asks_again_when_multipathd_times_out() -> None:
    """LP#1888675: ``multipathd resize map`` answers ``timeout``."""

    async def story(s: Story) -> Any:
        await s.attach()
        for each in s.array.node.units():
            each.resize(each.blocks * 2)
        s.host.fail_command("multipathd", "resize", exit_code=1, stdout="timeout\n", times=3)
        s.host.history.clear()
        return await s.call("extend_volume", properties()), s.ran("multipathd", "resize")

    assert play(story) == (128 << 20, 4)


@modern
def test_row_13_failed_attach_cleans_up_by_what_discovery_had_found() -> None:
    """LP#1699061, LP#1756206, LP#1705674: the portal that was asked is dead when it is to be cleaned up, so
    the names of the others come from discoverydb."""

    async def story(s: Story) -> Any:
        device = await s.call("connect_volume", to_discover())
        sessions = len(s.host.iscsid.sessions)
        s.lab.fault("net.refuse", portal=PORTALS[0]).may_not_fire()
        await s.call("disconnect_volume", to_discover(), device)
        return sessions, s.left(), s.ran("iscsiadm", "discovery"), s.ran("iscsiadm", "discoverydb")

    sessions, left, discovered, asked = play(story)
    assert sessions == 2
    assert left == []
    assert (discovered, asked) == (1, 1)


# -- 14 and 15: several at once ------------------------------------------------------------------------


@modern
def test_row_14_record_that_cannot_be_made_is_tried_three_times() -> None:
    """LP#1944474: two iscsiadm at once, one of which finds the database locked: exit code 6 and a message."""

    async def story(s: Story) -> Any:
        words = "iscsiadm: Could not add new node record: database failure"
        s.host.fail_command("iscsiadm", "new", exit_code=6, stderr=f"{words}\n", times=2)
        device = await s.attach()
        made = s.ran("iscsiadm", "new")
        await s.detach(device)
        return device["scsi_wwn"], made, s.left()

    assert play(story) == (A, 4, [])


@modern
def test_row_15_attaches_of_two_services_take_turns() -> None:
    """LP#1947370: nova and cinder on one host share ``lock_path``, so no two connects are at it at once."""

    async def story(s: Story) -> Any:
        begun, ended = {}, {}

        async def attach(lun: int) -> Any:
            return await s.attach(lun)

        devices = await asyncio.gather(attach(1), attach(2))
        for run in s.host.history:
            about = next((each for each in run.argv if each.endswith("/scan")), "")
            if about:
                begun.setdefault(about, []).append(run.begun)
                ended.setdefault(about, []).append(run.ended)
        status = [run.begun for run in s.host.history if run.argv[:2] == ("multipathd", "show")]
        usable = [run.ended for run in s.host.history if run.argv[:2] == ("multipath", "-C")]
        for lun, device in zip((1, 2), devices, strict=True):
            await s.detach(device, lun)
        return [device["scsi_wwn"] for device in devices], status, usable, s.left()

    names, status, usable, left = play(story, luns={1: unit(A), 2: unit(B)}, command_costs={"*": 0.05})
    assert names == [A, B]
    assert status[1] >= usable[0]
    assert left == []


# -- 18: names, lists and addresses of targets ---------------------------------------------------------


def test_row_18_initiator_without_acl_is_refused_and_nothing_is_left() -> None:
    """LP#1506496: exit code 24 at every portal; the records of the nodes go again."""

    async def story(s: Story) -> Any:
        s.lab.expect_error("may not use")
        with pytest.raises(exception.BrickException):
            await s.attach()
        codes = {run.result.exit_code for run in s.host.history if "--login" in run.argv}
        return codes, [each for each in s.left() if not each.startswith("node")]

    codes, left = play(story, array={"initiators": ("iqn.2026-11.org.iscsim:somebody-else",)})
    assert codes <= {19, 24}
    assert codes
    assert left == []


@pytest.mark.parametrize("multipath", [True, False])
@modern
def test_row_18_portals_with_ipv6_addresses(multipath: bool) -> None:
    """LP#1562737: brackets in the portal, none in the link."""
    portals = ["[fd00::95]:3260", "[fd00::96]:3260"]

    async def story(s: Story) -> Any:
        device = await s.call("connect_volume", properties(portals=portals))
        links = [path for path in s.host.tree if path.startswith("/dev/disk/by-path/")]
        paths = await s.call("get_volume_paths", properties(portals=portals))
        await s.call("disconnect_volume", properties(portals=portals), device)
        await s.host.settle()
        return links, paths, s.left()

    links, paths, left = play(story, multipath=multipath, array={"portals": portals}, address="fd00::10")
    assert links[0].startswith("/dev/disk/by-path/ip-fd00::95:3260-iscsi-")
    assert len(paths) == (2 if multipath else 1)
    assert left == []
