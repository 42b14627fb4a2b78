"""Which of the programs that are not ours are here, and in which version."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.rows import Load

_TIMEOUT_S = 15
_NEEDED = {
    Load.READ: (("iscsi-perf", "libiscsi-bin"), ("tgtd", "tgt"), ("tgtadm", "tgt")),
    Load.WRITE: (("qemu-img", "qemu-utils"), ("tgtd", "tgt"), ("tgtadm", "tgt")),
    Load.INITIATOR: (("iscsi-perf", "libiscsi-bin"),),
    Load.CAPTURE: (("iscsi-perf", "libiscsi-bin"),),
}


def missing(load: Load) -> str:
    """The Debian package that has to be installed for this load first, or nothing."""
    for program, package in _NEEDED[load]:
        if shutil.which(program) is None:
            return package
    if load is Load.WRITE and not qemu_speaks_iscsi():
        return "qemu-block-extra"
    return ""


def qemu_speaks_iscsi() -> bool:
    """Debian keeps QEMU's iSCSI driver in a package of its own: does ``qemu-img`` find it?"""
    answer = _output("qemu-img", "info", "iscsi://127.0.0.1:1/iqn.2026-11.org.iscsim:none/1")
    return "Unknown protocol" not in answer


def _output(*command: str) -> str:
    """What a short command prints, nothing when there is no such command."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (result.stdout + result.stderr).strip()


def _package(name: str) -> str:
    return _output("dpkg-query", "-W", "-f", "${Version}", name) if shutil.which("dpkg-query") else ""


def _distribution(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        models = []
    return models[0] if models else platform.processor()


def machine() -> dict[str, Any]:
    """Facts without which the numbers mean nothing."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "uvloop": _distribution("uvloop"),
        "iscsim": _distribution("iscsim"),
        "tgtd": _output("tgtd", "--version"),
        "libiscsi": _package("libiscsi-bin"),
        "qemu": _output("qemu-img", "--version").partition("\n")[0],
        "load average at start": [round(value, 2) for value in os.getloadavg()],
    }
