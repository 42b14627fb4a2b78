"""cat and tee: files of the host, those of /sys too."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable

from iscsim.errors import ISCSIError, SCSIError
from iscsim.host.shell import Call, command
from iscsim.host.tree import File

__all__ = ["write_file"]


@command("cat")
async def cat(call: Call) -> int:
    """Show files, or standard input."""
    exit_code = 0
    for path in call.arguments or ["-"]:
        if path == "-":
            call.output.data(await call.read())
            continue
        try:
            call.output.data(call.host.tree.read(path))
        except OSError as error:
            call.output.error(f"cat: {path}: {error.strerror}")
            exit_code = 1
    return exit_code


@command("tee")
async def tee(call: Call) -> int:
    """Write standard input to files, which in /sys makes the kernel act, and to standard output."""
    data = await call.read()
    call.output.data(data)
    append = any(each in ("-a", "--append") for each in call.arguments)
    exit_code = 0
    for path in [each for each in call.arguments if not each.startswith("-")]:
        try:
            await write_file(call, path, data, append)
        except OSError as error:
            call.output.error(f"tee: {path}: {error.strerror}")
            exit_code = 1
        except (ISCSIError, SCSIError):
            call.output.error(f"tee: {path}: {os.strerror(errno.EIO)}")
            exit_code = 1
    return exit_code


async def write_file(call: Call, path: str, data: bytes, append: bool) -> None:
    """Write a file, or make one; in /sys the kernel acts. Raises OSError, ISCSIError, SCSIError."""
    host = call.host
    if path in host.files or not host.tree.exists(path):
        if not host.tree.exists(os.path.dirname(path)):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        host.files[path] = (host.files.get(path, b"") if append else b"") + data
        host.changed()
        return
    entry = host.tree.lookup(path)
    if not isinstance(entry, File) or entry.write is None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    done = entry.write(data)
    if isinstance(done, Awaitable):
        await done
