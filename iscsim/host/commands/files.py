"""cat, tee, dd and what else looks at files of the host."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable

from iscsim.errors import ISCSIError, SCSIError
from iscsim.host.shell import Call, command
from iscsim.host.tree import File

_MULTIPLES = {"c": 1, "w": 2, "b": 512, "K": 1 << 10, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_MULTIPLES |= {"KB": 1000, "MB": 10**6, "GB": 10**9}
_PIECE = 1 << 20


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
            await _write(call, path, data, append)
        except OSError as error:
            call.output.error(f"tee: {path}: {error.strerror}")
            exit_code = 1
        except (ISCSIError, SCSIError):
            call.output.error(f"tee: {path}: {os.strerror(errno.EIO)}")
            exit_code = 1
    return exit_code


async def _write(call: Call, path: str, data: bytes, append: bool) -> None:
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


# -- dd ------------------------------------------------------------------------------------------------


@command("dd")
async def dd(call: Call) -> int:
    """Copy blocks from a disk, a map or a file to /dev/null, standard output, a disk, a map or a file."""
    operands = dict(each.partition("=")[::2] for each in call.arguments)
    try:
        block_size = _amount(operands.get("bs") or operands.get("ibs") or "512")
        count = _amount(operands["count"]) if "count" in operands else None
        skip, seek = _amount(operands.get("skip", "0")), _amount(operands.get("seek", "0"))
    except ValueError as error:
        call.output.error(f"dd: invalid number: '{error}'")
        return 1
    length = None if count is None else count * block_size
    try:
        data = await _take(call, operands.get("if"), skip * block_size, length)
        await _put(call, operands.get("of"), seek * block_size, data)
    except OSError as error:
        call.output.error(f"dd: failed to open '{error.filename}': {error.strerror}")
        return 1
    except (ISCSIError, SCSIError):
        call.output.error(f"dd: error reading '{operands.get('if', '')}': {os.strerror(errno.EIO)}")
        return 1
    whole, part = divmod(len(data), block_size)
    records = f"{whole}+{int(bool(part))}"
    call.output.error(f"{records} records in")
    call.output.error(f"{records} records out")
    call.output.error(f"{len(data)} bytes copied")
    return 0


def _amount(text: str) -> int:
    digits = text.rstrip("".join(set("".join(_MULTIPLES))))
    suffix = text[len(digits) :]
    if not digits.isdecimal() or (suffix and suffix not in _MULTIPLES):
        raise ValueError(text)
    return int(digits) * _MULTIPLES.get(suffix, 1)


async def _take(call: Call, path: str | None, start: int, length: int | None) -> bytes:
    if path is None:
        data = await call.read()
        return data[start:] if length is None else data[start : start + length]
    if path == "/dev/zero":
        return bytes(length or 0)
    device = call.host.device(path)
    if device is None:
        data = call.host.tree.read(path)
        return data[start:] if length is None else data[start : start + length]
    end = device.size if length is None else min(start + length, device.size)
    pieces = []
    size = device.block_size
    first, last = start // size, -(-end // size)
    for lba in range(first, last, _PIECE // size):
        pieces.append(bytes(await device.read(lba, min(_PIECE // size, last - lba))))
    return b"".join(pieces)[start - first * size :][: max(end - start, 0)]


async def _put(call: Call, path: str | None, start: int, data: bytes) -> None:
    if path is None:
        call.output.data(data)
        return
    if path == "/dev/null":
        return
    device = call.host.device(path)
    if device is None:
        await _write(call, path, data, append=False)
        return
    if start + len(data) > device.size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    size = device.block_size
    first, end = start // size, -(-(start + len(data)) // size)
    if start % size or len(data) % size:
        whole = bytearray(await device.read(first, end - first))
        begin = start - first * size
        whole[begin : begin + len(data)] = data
        data = bytes(whole)
    for offset in range(0, len(data), _PIECE):
        await device.write(first + offset // size, data[offset : offset + _PIECE])
