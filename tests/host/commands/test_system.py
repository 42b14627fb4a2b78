"""findmnt, blkid, udevadm, dmsetup, nvme."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.host.settings import HostSettings
from iscsim.lab import Lab

from ..world import WWN, log_in, play


def run(line: str) -> tuple[str, str, int]:
    """Both streams and the exit code."""

    async def story(lab: Lab) -> Any:
        host = await log_in(lab, HostSettings(find_multipaths="no"))
        result = await host.execute(*line.split())
        return result.text, result.error, result.exit_code

    return play(story)


@pytest.mark.parametrize(
    ("line", "out", "code"),
    [
        ("findmnt -v / -n -o SOURCE", "/dev/vda\n", 0),
        ("findmnt /mnt", "", 1),
        ("blkid /dev/vda -s UUID -o value", "2c854813-244a-46ae-bf1a-249a7109df61\n", 0),
        ("blkid /dev/sda", "", 2),
        ("udevadm settle", "", 0),
        ("dmsetup ls", f"{WWN}\t(253:0)\n", 0),
        ("nvme version", "nvme version 2.3 (git 2.3)\nlibnvme version 1.3 (git 1.3)\n", 0),
        ("nvme list", "", 0),
    ],
)
def test_answers(line: str, out: str, code: int) -> None:
    assert run(line) == (out, "", code)


def test_dmsetup_info_has_the_open_count_and_the_uuid() -> None:
    text, _, _ = run(f"dmsetup info {WWN}")
    assert "Open count:        0\n" in text
    assert f"UUID: mpath-{WWN}\n" in text


def test_nvme_host_name_is_the_same_each_time() -> None:
    assert run("nvme gen-hostnqn") == run("nvme show-hostnqn")
    assert run("nvme gen-hostnqn")[0].startswith("nqn.2014-08.org.nvmexpress:uuid:")


@pytest.mark.parametrize("line", ["udevadm what", "dmsetup what", "nvme what"])
def test_what_is_not_there_is_said(line: str) -> None:
    text, error, code = run(line)
    assert (text, code, len(error.splitlines())) == ("", 1, 1)
