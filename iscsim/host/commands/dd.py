"""dd: copies between disks, maps, files and streams, a piece at a time."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from iscsim.errors import ISCSIError, SCSIError
from iscsim.host.commands.files import write_file
from iscsim.host.shell import Call, command

_MULTIPLES = {"": 1, "c": 1, "w": 2, "b": 512, "K": 1 << 10, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_MULTIPLES |= {"T": 1 << 40, "KB": 10**3, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_NUMBER = re.compile(r"([0-9]{1,18})([a-zA-Z]{0,2})")
_NUMBERS = ("bs", "ibs", "obs", "count", "skip", "seek")
_OTHERS = ("if", "of", "conv", "iflag", "oflag", "status", "cbs")
_PIECE = 1 << 20
_LARGEST_BLOCK = 1 << 30
_MOST = 1 << 32
"""Bytes of /dev/zero, which has no end, and of anything that goes to a file or to standard output."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be copied, in bytes; ``length`` is None for all there is."""

    source: str | None
    sink: str | None
    block_size: int
    skip: int
    seek: int
    length: int | None
    kept: list[bytes] = field(default_factory=list)
    """What is for a file: it is written at the end."""


class _Failed(Exception):
    """A message; dd exits with 1."""


@command("dd")
async def dd(call: Call) -> int:
    """Copy blocks, and say on standard error how many."""
    copied = 0
    try:
        job = _parse(call.arguments)
        try:
            async for piece in _taken(call, job):
                await _put(call, job, copied, piece)
                copied += len(piece)
            await _finish(call, job)
        except _Failed as failure:
            call.output.error(f"dd: {failure}")
            _tell(call, job, copied)
            return 1
    except _Failed as failure:
        call.output.error(f"dd: {failure}")
        return 1
    _tell(call, job, copied)
    return 0


def _tell(call: Call, job: _Job, copied: int) -> None:
    whole, part = divmod(copied, job.block_size)
    records = f"{whole}+{int(bool(part))}"
    call.output.error(f"{records} records in")
    call.output.error(f"{records} records out")
    call.output.error(f"{copied} bytes copied")


# -- operands ------------------------------------------------------------------------------------------


def _parse(arguments: list[str]) -> _Job:
    """Raises _Failed."""
    texts: dict[str, str] = {}
    for each in arguments:
        name, separator, value = each.partition("=")
        if not separator or name not in (*_NUMBERS, *_OTHERS):
            raise _Failed(f"unrecognized operand '{each}'")
        texts[name] = value
    numbers = {name: _amount(texts[name]) for name in _NUMBERS if name in texts}
    block_size = numbers.get("bs", numbers.get("ibs", 512))
    for name in ("bs", "ibs", "obs"):
        if numbers.get(name, 1) == 0:
            raise _Failed(f"invalid number: '{texts[name]}'")
    if block_size > _LARGEST_BLOCK:
        raise _Failed(f"memory exhausted by input buffer of size {block_size} bytes")
    return _Job(
        source=texts.get("if"),
        sink=texts.get("of"),
        block_size=block_size,
        skip=numbers.get("skip", 0) * block_size,
        seek=numbers.get("seek", 0) * numbers.get("bs", numbers.get("obs", 512)),
        length=numbers["count"] * block_size if "count" in numbers else None,
    )


def _amount(text: str) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None or match.group(2) not in _MULTIPLES:
        raise _Failed(f"invalid number: '{text}'")
    return int(match.group(1)) * _MULTIPLES[match.group(2)]


# -- from where ----------------------------------------------------------------------------------------


async def _taken(call: Call, job: _Job) -> AsyncIterator[bytes]:
    """The data, piece by piece. Raises _Failed."""
    device = call.host.device(job.source) if job.source else None
    if device is not None:
        size = device.block_size
        end = device.size if job.length is None else min(job.skip + job.length, device.size)
        for start in range(job.skip - job.skip % size, end, _PIECE):
            count = -(-min(_PIECE, end - start) // size)
            try:
                data = bytes(await device.read(start // size, count))
            except (ISCSIError, SCSIError):
                raise _Failed(f"error reading '{job.source}': {os.strerror(errno.EIO)}") from None
            yield data[max(job.skip - start, 0) : end - start]
        return
    if job.source == "/dev/zero":
        left = _MOST if job.length is None else job.length
        while left > 0:
            yield bytes(min(left, _PIECE))
            left -= _PIECE
        return
    data = await _read(call, job)
    yield data[job.skip :] if job.length is None else data[job.skip : job.skip + job.length]


async def _read(call: Call, job: _Job) -> bytes:
    if job.source is None:
        return await call.read()
    try:
        return call.host.tree.read(job.source) if job.source != "/dev/null" else b""
    except OSError as error:
        said = "error reading" if error.errno == errno.EISDIR else "failed to open"
        raise _Failed(f"{said} '{job.source}': {error.strerror}") from None


# -- to where ------------------------------------------------------------------------------------------


async def _put(call: Call, job: _Job, done: int, data: bytes) -> None:
    """Write a piece, the first ``done`` bytes of all being written. Raises _Failed."""
    if job.sink == "/dev/null" or not data:
        return
    device = call.host.device(job.sink) if job.sink else None
    if device is None:
        if done + len(data) > _MOST >> 4:
            raise _Failed(f"error writing '{job.sink or 'standard output'}': {os.strerror(errno.EFBIG)}")
        if job.sink is None:
            call.output.data(data)
        else:
            job.kept.append(data)
        return
    at = job.seek + done
    fits = data[: max(device.size - at, 0)]
    size = device.block_size
    first, end = at // size, -(-(at + len(fits)) // size)
    try:
        if fits and (at % size or len(fits) % size):
            whole = bytearray(await device.read(first, end - first))
            whole[at - first * size : at - first * size + len(fits)] = fits
            await device.write(first, bytes(whole))
        elif fits:
            await device.write(first, fits)
    except (ISCSIError, SCSIError):
        raise _Failed(f"error writing '{job.sink}': {os.strerror(errno.EIO)}") from None
    if len(fits) < len(data):
        raise _Failed(f"error writing '{job.sink}': {os.strerror(errno.ENOSPC)}")


async def _finish(call: Call, job: _Job) -> None:
    """Write the file, empty too. Raises _Failed."""
    if job.sink in (None, "/dev/null") or call.host.device(job.sink or "") is not None:
        return
    try:
        await write_file(call, job.sink or "", b"".join(job.kept), append=False)
    except OSError as error:
        raise _Failed(f"failed to open '{job.sink}': {error.strerror}") from None
    except (ISCSIError, SCSIError):
        raise _Failed(f"error writing '{job.sink}': {os.strerror(errno.EIO)}") from None
