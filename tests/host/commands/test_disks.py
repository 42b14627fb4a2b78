"""blockdev, lsscsi, scsi_id, sg_scan, systool."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.host.settings import HostSettings
from iscsim.lab import Lab

from ..world import ARRAY, PORTALS, WWN, log_in, play

MAP = f"/dev/mapper/{WWN}"


def run(*lines: str) -> list[tuple[str, str, int]]:
    """Both streams and the exit code."""

    async def story(lab: Lab) -> Any:
        host = await log_in(lab, HostSettings(find_multipaths="no"))
        results = [await host.execute(*line.split()) for line in lines]
        return [(result.text, result.error, result.exit_code) for result in results]

    return play(story)


@pytest.mark.parametrize(
    ("line", "out"),
    [
        ("blockdev --getsize64 /dev/sda", "67108864\n"),
        (f"blockdev --getsz --getss --getro {MAP}", "131072\n512\n0\n"),
        ("blockdev --flushbufs /dev/sda", ""),
        (f"/lib/udev/scsi_id --page 0x83 --whitelisted {MAP.replace('mapper', 'disk/by-id/scsi-')}", None),
        ("/lib/udev/scsi_id --page 0x83 --whitelisted /dev/sda", f"{WWN}\n"),
        ("scsi_id -g -p 0x80 -d /dev/sdb", "SISCSIM_VIRTUAL-DISK_FNM00150600267\n"),
    ],
)
def test_answers(line: str, out: str | None) -> None:
    ((text, error, code),) = run(line)
    if out is None:
        assert code == 1
    else:
        assert (text, error, code) == (out, "", 0)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("blockdev --getsize64 /dev/sdz", "blockdev: cannot open /dev/sdz: No such file or directory"),
        ("blockdev --getsize64 /etc", "blockdev: cannot open /etc: Not a block device"),
        ("blockdev --what /dev/sda", "blockdev: Unknown command: --what"),
        ("blockdev --getro", "blockdev: no device specified"),
        ("scsi_id /dev/sdz", "scsi_id: cannot open /dev/sdz: No such file or directory"),
        ("sg_scan /dev/sdz", "sg_scan: /dev/sdz: No such file or directory"),
        ("systool -c fc_host -v", "Error opening class fc_host"),
    ],
)
def test_what_cannot_be_is_said(line: str, error: str) -> None:
    ((text, said, code),) = run(line)
    assert (text, said, code) == ("", f"{error}\n", 1)


def test_lsscsi_has_a_line_for_each_disk_in_the_order_of_their_places() -> None:
    ((text, _, _),) = run("lsscsi")
    lines = text.splitlines()
    assert [line.split()[0] for line in lines] == ["[2:0:0:1]", "[3:0:0:1]"]
    assert sorted(line.split()[-1] for line in lines) == ["/dev/sda", "/dev/sdb"]


def test_scsi_id_asks_the_unit_and_says_nothing_of_one_that_does_not_answer() -> None:
    async def story(lab: Lab) -> Any:
        host = await log_in(lab)
        lab.live_target(ARRAY).lun_map.remove(1)
        lab.live_target(ARRAY).add_lun(1, "64M,wwn=6006016074e03a008d3cf25b04e2daae")
        first = await host.execute("scsi_id", "/dev/sda")
        for portal in PORTALS:
            lab.fault("path.down", portal=portal)
        return first.text.strip(), (await host.execute("scsi_id", "/dev/sda")).exit_code

    assert play(story, judge=False) == ("36006016074e03a008d3cf25b04e2daae", 1)
