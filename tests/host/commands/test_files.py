"""cat and tee, in /sys too."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.lab import Lab

from ..world import ARRAY, log_in, play


def test_writing_to_sysfs_makes_the_kernel_act() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        lab.live_target(ARRAY).add_lun(7, "1M")
        scan = await host.execute("tee", "-a", "/sys/class/scsi_host/host2/scan", stdin=b"0 0 7\n")
        found = sorted(host.kernel.disks)
        await host.execute("tee", "-a", f"/sys/block/{found[-1]}/device/delete", stdin=b"1")
        return scan.stdout, found, sorted(host.kernel.disks)

    assert play(story) == (b"0 0 7\n", ["sda", "sdb", "sdc"], ["sda", "sdb"])


@pytest.mark.parametrize(
    ("path", "stdin", "message"),
    [
        ("/sys/class/scsi_host/host2/scan", b"nonsense", "Invalid argument"),
        ("/sys/class/scsi_host/host2/scan", b"0 0 1 2", "Invalid argument"),
        ("/sys/class/scsi_host/host9/scan", b"- - -", "No such file or directory"),
        ("/sys/block/sda/size", b"1", "Permission denied"),
        ("/nowhere/file", b"1", "No such file or directory"),
    ],
)
def test_what_cannot_be_written_is_said(path: str, stdin: bytes, message: str) -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        return await host.execute("tee", path, stdin=stdin)

    result = play(story)
    assert (result.error, result.exit_code, result.stdout) == (f"tee: {path}: {message}\n", 1, stdin)


def test_files_are_made_appended_to_and_shown() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        await host.execute("tee", "/etc/a", stdin=b"one\n")
        await host.execute("tee", "-a", "/etc/a", "/etc/b", stdin=b"two\n")
        return await host.execute("cat", "/etc/a", "-", "/etc/none", "/etc", "/etc/b", stdin=b"in\n")

    result = play(story)
    assert result.text == "one\ntwo\nin\ntwo\n"
    assert result.error == "cat: /etc/none: No such file or directory\ncat: /etc: Is a directory\n"
    assert result.exit_code == 1
