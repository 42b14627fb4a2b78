"""findmnt, blkid, nvme, dmidecode, udevadm: the rest of what os-brick and people ask a host."""

from __future__ import annotations

from iscsim.host.shell import Call, command
from iscsim.host.udev import DEVICE_MAPPER_MAJOR

_ROOT_UUID = "2c854813-244a-46ae-bf1a-249a7109df61"


@command("findmnt")
async def findmnt(call: Call) -> int:
    """Where a directory is mounted from."""
    paths = [each for each in call.arguments if each.startswith("/")]
    mounts = {
        each.mountpoint: f"/dev/{each.name}" for each in call.host.settings.local_disks if each.mountpoint
    }
    mounts |= {directory: source for source, directory in call.host.mounts.items()}
    for path in paths:
        if path not in mounts:
            return 1
        call.output.line(mounts[path])
    return 0


@command("blkid")
async def blkid(call: Call) -> int:
    """The UUID of the root file system; disks of volumes have none."""
    local = {f"/dev/{each.name}" for each in call.host.settings.local_disks if each.mountpoint}
    if not any(each in local for each in call.arguments):
        return 2
    call.output.line(_ROOT_UUID)
    return 0


@command("udevadm")
async def udevadm(call: Call) -> int:
    """``settle`` waits until every disk was looked at; ``info`` shows what is known of one."""
    if call.arguments[:1] == ["settle"]:
        await call.host.udev.settle()
        return 0
    disk = call.host.disk(call.arguments[-1]) if call.arguments[:1] == ["info"] else None
    if disk is None:
        call.output.error("udevadm: unknown device or command")
        return 1
    for name, value in disk.properties.items():
        call.output.line(f"E: {name}={value}")
    return 0


@command("dmsetup")
async def dmsetup(call: Call) -> int:
    """``ls`` and ``info``."""
    maps = list(call.host.multipathd.maps.values())
    verb, *names = [each for each in call.arguments if not each.startswith("-")] or ["help"]
    if verb == "ls":
        for device in maps:
            call.output.line(f"{device.alias}\t({DEVICE_MAPPER_MAJOR}:{device.minor})")
        if not maps:
            call.output.line("No devices found")
        return 0
    if verb != "info":
        call.output.error(f"dmsetup: unknown command {verb}")
        return 1
    for device in maps:
        if not names or names[0].rpartition("/")[2] in (device.alias, f"dm-{device.minor}"):
            call.output.text(
                f"Name:              {device.alias}\nState:             ACTIVE\nRead Ahead:        256\n"
                f"Tables present:    LIVE\nOpen count:        {device.opened}\nEvent number:      0\n"
                f"Major, minor:      {DEVICE_MAPPER_MAJOR}, {device.minor}\n"
                f"Number of targets: 1\nUUID: mpath-{device.wwn}\n\n"
            )
    return 0
