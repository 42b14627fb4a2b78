"""The temporary directory of one ``host exec``: tree, shims, sockets, and what is to be mounted where."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from iscsim.errors import ConfigError
from iscsim.host.exec import enter, shim
from iscsim.host.exec.export import ROOTS

__all__ = ["Layout"]

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
"""The machine's own devices that programs need."""
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1"}
_LINKS |= {"stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"}
FIXED = {"scsi_id": "/lib/udev/scsi_id", "iscsiadm": "/sbin/iscsiadm"}
"""Commands that programs look for at one place."""
_QUICK = "/dev/shm"
"""In memory; but often too small for the content of disks, and not for programs."""
_MAX_SOCKET_PATH = 107
"""Bytes of sun_path without its NUL (Linux, unix(7))."""


class Layout:
    """The directory, which only its owner may enter, and another for small files; `remove` takes both away.

    Raises:
        ConfigError: its path is too long for a socket.
    """

    def __init__(self, hostname: str) -> None:
        self.hostname = hostname
        self.directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="iscsim-host-")))
        quick = _QUICK if os.access(_QUICK, os.W_OK | os.X_OK) else None
        self.quick = Path(tempfile.mkdtemp(prefix="iscsim-host-", dir=quick))
        self.tree, self.shims = self.directory / "tree", self.directory / "bin"
        self.socket, self.nbd = self.directory / "host", self.directory / "nbd"
        if len(os.fsencode(self.socket)) > _MAX_SOCKET_PATH:
            self.remove()
            raise ConfigError(f"{self.socket} is too long for a socket ($TMPDIR chooses another directory)")
        for each in (self.tree / "dev", self.shims, self.directory / "stage"):
            each.mkdir(parents=True)

    def remove(self) -> None:
        """Take everything away."""
        for each in (self.directory, self.quick):
            shutil.rmtree(each, ignore_errors=True)

    # -- what is in it -----------------------------------------------------------------------------

    def add_shims(self, commands: Iterable[str], *, manual_scan: bool) -> None:
        """A program for each command, and ``sudo``."""
        real = [f"/dev/{name}" for name in (*DEVICES, *_LINKS, "pts", "shm")]
        values = {
            "SOCKET": str(self.socket),
            "SHIMS": str(self.shims),
            "ROOTS": ROOTS,
            "REAL_NODES": tuple(real),
        }
        script = Path(shim.__file__).read_text(encoding="utf-8")
        body, start, end = script.partition('if __name__ == "__main__":')
        filled = "".join(f"{name} = {value!r}\n" for name, value in values.items())
        # os-brick greps iscsiadm for the name of this setting
        note = "# node.session.scan\n" if manual_scan else ""
        path = self.shims / ".shim"
        path.write_text(f"#!{_python()} -IS\n{note}{body}{filled}{start}{end}", encoding="utf-8")
        path.chmod(0o755)
        for name in (*commands, "sudo"):
            (self.shims / name).symlink_to(path.name)

    def add_devices(self) -> None:
        """Places for the machine's own devices."""
        for name in DEVICES:
            (self.tree / "dev" / name).touch()
        for name in ("pts", "shm"):
            (self.tree / "dev" / name).mkdir()
        for name, target in _LINKS.items():
            (self.tree / "dev" / name).symlink_to(target)

    def write_plan(self) -> list[str]:
        """Write down what is to be mounted; the command to which a program is appended."""
        path = self.directory / "plan.json"
        path.write_text(json.dumps(self._plan()), encoding="utf-8")
        # in a namespace of another user the installed one might not be readable
        script = shutil.copy(enter.__file__, self.directory / "enter.py")
        return [_python(), "-IS", str(script), str(path)]

    def binds(self) -> list[tuple[str, str]]:
        """Everything that is mounted, whether its place exists or not."""
        found = [(f"/dev/{name}", f"/dev/{name}") for name in DEVICES]
        roots = [(f"{self.quick if root == '/sys' else self.tree}{root}", root) for root in ROOTS]
        shims = [(str(self.shims / ".shim"), path) for path in FIXED.values()]
        places = [(path, path) for path in ("/dev/pts", "/dev/ptmx", "/dev/shm")]
        return [*roots, *found, *places, *shims]

    def _plan(self) -> dict[str, Any]:
        dev = self.tree / "dev"
        binds = [(f"/dev/{name}", str(dev / name)) for name in DEVICES if _is_device(f"/dev/{name}")]
        if os.path.isdir("/dev/shm"):
            binds.append(("/dev/shm", str(dev / "shm")))
        filled: dict[str, dict[str, str]] = {}
        for source, destination in self.binds():
            if destination.startswith("/dev/"):
                continue
            if os.path.exists(destination):
                binds.append((source, os.path.realpath(destination)))
            else:
                directory, name = os.path.split(destination)
                filled.setdefault(os.path.realpath(directory), {})[name] = source
        return {
            "binds": binds,
            "filled": filled,
            "hostname": self.hostname,
            "terminals": str(dev / "pts"),
            "stage": str(self.directory / "stage"),
        }


def _python() -> str:
    """This Python without its virtual environment, which shims do not need."""
    return os.path.realpath(sys.executable)


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False
