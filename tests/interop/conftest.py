"""Peers we did not write, and targets for them to work on. All of it ends within seconds or is killed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ISCSIM = Path(sys.executable).with_name("iscsim")
COMMAND_TIMEOUT_S = 60
PACKAGES = {
    "iscsi-ls": "libiscsi-bin",
    "iscsi-inq": "libiscsi-bin",
    "iscsi-readcapacity16": "libiscsi-bin",
    "iscsi-perf": "libiscsi-bin",
    "iscsi-test-cu": "libiscsi-bin",
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "tshark": "tshark",
}

Captive = Callable[..., subprocess.CompletedProcess[str]]


def qemu_lacks_iscsi() -> bool:
    """Debian keeps QEMU's iSCSI driver in a package of its own."""
    command = ["qemu-img", "info", "iscsi://127.0.0.1:1/iqn.2026-11.org.iscsim:none/1"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    return "Unknown protocol" in answer.stderr


def require(program: str) -> None:
    """Skip the test when ``program`` is not installed, and say what installs it."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is missing: apt install {PACKAGES[program]}")
    if program in ("qemu-img", "qemu-io") and qemu_lacks_iscsi():
        pytest.skip("QEMU's iSCSI driver is missing: apt install qemu-block-extra")


@pytest.fixture
def peer() -> Callable[[str], None]:
    """``peer("qemu-img")`` skips the test when that program is not installed."""
    return require


@pytest.fixture
def captive(tmp_path: Path) -> Captive:
    """``captive(command, *options)`` is ``iscsim serve *options --run command``: its outcome.

    The command runs in ``tmp_path``. The target must survive it, and nothing may end in a traceback.
    """

    def run(command: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        for program in PACKAGES.keys() & set(re.findall(r"[\w-]+", command)):
            require(program)
        result = subprocess.run(
            [str(ISCSIM), "serve", *options, "--run", bounded(command)],
            cwd=tmp_path,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert "Traceback" not in result.stderr, result.stderr
        if check:
            assert result.returncode == 0, result.stdout + result.stderr
        return result

    return run


def bounded(command: str) -> str:
    """``command`` with an end: a peer that hangs must not outlive its test."""
    escaped = command.replace("'", "'\\''")
    return f"exec timeout -k 2 {COMMAND_TIMEOUT_S - 10} sh -ec '{escaped}'"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """32 MiB of random bytes."""
    path = tmp_path / "random.img"
    path.write_bytes(os.urandom(32 << 20))
    return path
