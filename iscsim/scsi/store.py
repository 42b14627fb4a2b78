"""Where the blocks of a logical unit are: the `BlockStore` protocol, in memory and in a file.

Reads hand out views of the store and copy nothing. A view stays valid for as long as somebody holds it, even
after `resize` or `close`; what a later write puts into its blocks shows through.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
from pathlib import Path
from typing import Final, Protocol

from iscsim.errors import ConfigError

__all__ = ["BlockStore", "Buffer", "FileStore", "MemoryStore"]

Buffer = bytes | bytearray | memoryview

CHUNK_SIZE: Final = 1 << 22
MAXIMUM_BLOCKS: Final = 1 << 63
_CHUNK_MASK: Final = CHUNK_SIZE - 1
_CHUNK_SHIFT: Final = 22
_BLOCK_SIZES: Final = (512, 1024, 2048, 4096)
_HAS_HOLES: Final = hasattr(os, "SEEK_DATA")
_HAS_PWRITE: Final = hasattr(os, "pwrite")  # not on Windows
_synchronise = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have only fsync


class BlockStore(Protocol):
    """What a logical unit needs; disk faults are filters that wrap another store.

    ``block_size`` is in bytes, ``size`` too; ranges are in blocks and inside the store: the caller checked.
    Any verb may raise `OSError`, which becomes MEDIUM ERROR.
    """

    block_size: int
    blocks: int
    read_only: bool

    @property
    def size(self) -> int:
        """``blocks * block_size``."""
        ...

    @property
    def allocated_size(self) -> int:
        """Bytes that take space, about; the rest reads as zeros."""
        ...

    def read(self, lba: int, blocks: int) -> memoryview:
        """The bytes of ``blocks`` blocks from ``lba``, to be read and not written; zeros where nothing was
        written.
        """
        ...

    def write(self, lba: int, data: Buffer) -> None:
        """Put ``data``, a whole number of blocks, at ``lba``."""
        ...

    def unmap(self, lba: int, blocks: int) -> None:
        """Forget the blocks: they read as zeros, and what they took is free again."""
        ...

    def next_written(self, lba: int) -> int:
        """The first block from ``lba`` on that may hold something; ``blocks`` when there is none.

        What lies before it reads as zeros. A store that cannot tell says ``lba``.
        """
        ...

    def flush(self) -> None:
        """Return when everything written is on the medium."""
        ...

    def resize(self, blocks: int) -> None:
        """Make the store ``blocks`` long; what lies beyond is lost, what is new reads as zeros."""
        ...

    def close(self) -> None:
        """Let go of files and memory; views that are still held stay valid."""
        ...


def _check_geometry(blocks: int, block_size: int) -> None:
    if block_size not in _BLOCK_SIZES:
        raise ConfigError(f"block size {block_size}: expected one of {', '.join(map(str, _BLOCK_SIZES))}")
    if not 0 < blocks <= MAXIMUM_BLOCKS:
        raise ConfigError(f"{blocks} blocks: a logical unit has 1 to 2**63")


class MemoryStore:
    """Sparse memory, in chunks of 4 MiB that exist from their first write on.

    Raises `ConfigError` for another block size than 512, 1024, 2048 or 4096, and for more than 2**63 blocks.
    """

    __slots__ = ("_chunks", "_shift", "_views", "block_size", "blocks", "read_only")

    def __init__(self, blocks: int, block_size: int = 512, *, read_only: bool = False) -> None:
        _check_geometry(blocks, block_size)
        self.blocks = blocks
        self.block_size = block_size
        self.read_only = read_only
        self._shift = block_size.bit_length() - 1
        self._chunks: dict[int, mmap.mmap] = {}
        self._views: dict[int, memoryview] = {}  # the same chunks, read-only

    @property
    def size(self) -> int:
        """In bytes."""
        return self.blocks << self._shift

    @property
    def allocated_size(self) -> int:
        """Bytes of address space behind what was written; pages nobody touched take no memory."""
        return len(self._chunks) * CHUNK_SIZE

    def read(self, lba: int, blocks: int) -> memoryview:
        """See `BlockStore.read`. Copies only when the range crosses a chunk border."""
        start = lba << self._shift
        offset = start & _CHUNK_MASK
        end = offset + (blocks << self._shift)
        if end <= CHUNK_SIZE:
            return self._views.get(start >> _CHUNK_SHIFT, _ZEROS)[offset:end]
        return self._read_across(start, blocks << self._shift)

    def _read_across(self, start: int, length: int) -> memoryview:
        found = bytearray(length)
        for position, index, offset, size in _pieces(start, length):
            view = self._views.get(index)
            if view is not None:
                found[position : position + size] = view[offset : offset + size]
        return memoryview(found).toreadonly()

    def write(self, lba: int, data: Buffer) -> None:
        """See `BlockStore.write`."""
        start = lba << self._shift
        offset = start & _CHUNK_MASK
        end = offset + len(data)
        if end <= CHUNK_SIZE:
            self._chunk(start >> _CHUNK_SHIFT)[offset:end] = data
            return
        source = memoryview(data)
        for position, index, offset, size in _pieces(start, len(data)):
            self._chunk(index)[offset : offset + size] = source[position : position + size]

    def _chunk(self, index: int) -> mmap.mmap:
        chunk = self._chunks.get(index)
        if chunk is None:
            chunk = self._chunks[index] = _anonymous(CHUNK_SIZE)
            self._views[index] = memoryview(chunk).toreadonly()
        return chunk

    def unmap(self, lba: int, blocks: int) -> None:
        """See `BlockStore.unmap`. Walks the chunks that exist, not the range."""
        start, end = lba << self._shift, (lba + blocks) << self._shift
        first, last = start >> _CHUNK_SHIFT, (end - 1) >> _CHUNK_SHIFT
        if last - first > len(self._chunks):
            indices = [index for index in self._chunks if first <= index <= last]
        else:
            indices = [index for index in range(first, last + 1) if index in self._chunks]
        for index in indices:
            base = index << _CHUNK_SHIFT
            self._forget(index, max(start - base, 0), min(end - base, CHUNK_SIZE))

    def _forget(self, index: int, start: int, end: int) -> None:
        if end - start == CHUNK_SIZE:
            del self._chunks[index], self._views[index]
        else:
            _clear(self._chunks[index], start, end)

    def next_written(self, lba: int) -> int:
        """See `BlockStore.next_written`: as exact as the chunks are."""
        first = lba << self._shift >> _CHUNK_SHIFT
        if first in self._chunks:
            return lba
        found = min((index for index in self._chunks if index > first), default=None)
        return self.blocks if found is None else found << _CHUNK_SHIFT >> self._shift

    def flush(self) -> None:
        """Memory is where it is; there is nothing to wait for."""

    def resize(self, blocks: int) -> None:
        """See `BlockStore.resize`."""
        _check_geometry(blocks, self.block_size)
        if blocks < self.blocks:
            self.unmap(blocks, self.blocks - blocks)
        self.blocks = blocks

    def close(self) -> None:
        """Free the memory, as far as no view is held."""
        self._chunks.clear()
        self._views.clear()


def _pieces(start: int, length: int) -> list[tuple[int, int, int, int]]:
    """A byte range cut at chunk borders: (position in the range, chunk index, offset in the chunk, size)."""
    pieces, position = [], 0
    while position < length:
        offset = (start + position) & _CHUNK_MASK
        size = min(CHUNK_SIZE - offset, length - position)
        pieces.append((position, (start + position) >> _CHUNK_SHIFT, offset, size))
        position += size
    return pieces


def _anonymous(size: int) -> mmap.mmap:
    """Private anonymous memory: MADV_DONTNEED gives pages of it back, which shared memory ignores."""
    if hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)


_ZEROS: Final = memoryview(_anonymous(CHUNK_SIZE)).toreadonly()


def _clear(chunk: mmap.mmap, start: int, end: int) -> None:
    """Make bytes of a chunk zero, and give whole pages back where the system can."""
    inner_start = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    inner_end = end // mmap.PAGESIZE * mmap.PAGESIZE
    # Linux alone promises that private pages read as zeros after MADV_DONTNEED.
    if inner_start >= inner_end or sys.platform != "linux":
        chunk[start:end] = _ZEROS[start:end]
        return
    chunk[start:inner_start] = _ZEROS[start:inner_start]
    chunk.madvise(mmap.MADV_DONTNEED, inner_start, inner_end - inner_start)
    chunk[inner_end:end] = _ZEROS[inner_end:end]


class FileStore:
    """A regular file or a block device, mapped for reading and written with pwrite, so that a full disk is an
    error and not a signal.

    ``size`` in bytes makes a missing file, sparse. Raises `ConfigError`, in one line, when the file is
    missing, is neither, cannot be opened or mapped, is empty, or is not a whole number of blocks.
    """

    __slots__ = (
        "_descriptor",
        "_is_device",
        "_map",
        "_retired",
        "_shift",
        "_view",
        "block_size",
        "blocks",
        "path",
        "read_only",
    )

    def __init__(
        self, path: str | Path, block_size: int = 512, *, read_only: bool = False, size: int | None = None
    ) -> None:
        self._descriptor = -1
        _check_geometry(1, block_size)
        self.path = Path(path)
        self.block_size = block_size
        self.read_only = read_only
        self._shift = block_size.bit_length() - 1
        self._retired: list[tuple[mmap.mmap, memoryview]] = []
        self._descriptor = _open(self.path, read_only, size)
        self._is_device = stat.S_ISBLK(os.fstat(self._descriptor).st_mode)
        try:
            self.blocks = _whole_blocks(self.path, self._length, block_size)
            self._map, self._view = self._mapped(self.size)
        except ConfigError:
            os.close(self._descriptor)
            self._descriptor = -1
            raise

    @property
    def size(self) -> int:
        """In bytes."""
        return self.blocks << self._shift

    @property
    def _length(self) -> int:
        """Of the file or device there is."""
        return os.lseek(self._descriptor, 0, os.SEEK_END)

    @property
    def allocated_size(self) -> int:
        """Bytes of the file that are on its disk, holes not among them; all of a device."""
        if self._is_device:
            return self.size
        status = os.fstat(self._descriptor)
        return getattr(status, "st_blocks", -(-status.st_size // 512)) * 512  # not on Windows

    def _mapped(self, size: int) -> tuple[mmap.mmap, memoryview]:
        access = mmap.ACCESS_READ if self.read_only else mmap.ACCESS_WRITE
        try:
            mapped = mmap.mmap(self._descriptor, size, access=access)
        except (OSError, ValueError, OverflowError) as error:
            raise ConfigError(f"{self.path}: cannot map {size} bytes: {error}") from error
        return mapped, memoryview(mapped).toreadonly()

    def read(self, lba: int, blocks: int) -> memoryview:
        """See `BlockStore.read`. Never copies."""
        shift = self._shift
        return self._view[lba << shift : (lba + blocks) << shift]

    def write(self, lba: int, data: Buffer) -> None:
        """See `BlockStore.write`. Raises `OSError`, ENOSPC when the disk behind a sparse file is full."""
        offset = lba << self._shift
        written = self._put(data, offset)
        while written < len(data):  # the kernel takes at most 2 GiB at once
            written += self._put(memoryview(data)[written:], offset + written)

    def _put(self, data: Buffer, offset: int) -> int:
        if _HAS_PWRITE:
            return os.pwrite(self._descriptor, data, offset)
        self._map[offset : offset + len(data)] = data
        return len(data)

    def unmap(self, lba: int, blocks: int) -> None:
        """See `BlockStore.unmap`. Punches a hole where the file system can, writes zeros elsewhere."""
        start, end = lba << self._shift, (lba + blocks) << self._shift
        inner_start = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        inner_end = end // mmap.PAGESIZE * mmap.PAGESIZE
        if inner_start >= inner_end or not self._punch(inner_start, inner_end):
            self._zero(start, end)
            return
        self._zero(start, inner_start)
        self._zero(inner_end, end)

    def _punch(self, start: int, end: int) -> bool:
        if not hasattr(mmap, "MADV_REMOVE"):
            return False
        try:
            self._map.madvise(mmap.MADV_REMOVE, start, end - start)
        except OSError:  # the file system has no holes
            return False
        return True

    def _zero(self, start: int, end: int) -> None:
        while start < end:
            start += self._put(_ZEROS[: min(end - start, CHUNK_SIZE)], start)

    def next_written(self, lba: int) -> int:
        """See `BlockStore.next_written`: what the file system knows of holes."""
        if not _HAS_HOLES:
            return lba
        try:
            found = os.lseek(self._descriptor, lba << self._shift, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # a file system that does not tell
                return lba
            return self.blocks
        return min(max(found >> self._shift, lba), self.blocks)

    def flush(self) -> None:
        """See `BlockStore.flush`."""
        if self.read_only:
            return
        if not _HAS_PWRITE:
            self._map.flush()
        _synchronise(self._descriptor)

    def resize(self, blocks: int) -> None:
        """See `BlockStore.resize`. Raises `ConfigError` when the file is read-only or cannot be mapped.

        A device is as long as it is: the store may only follow one that has grown.

        A file gets shorter only once nobody holds a view of the old length, because touching a mapping beyond
        the end of its file is a bus error; until then the tail stays, is out of reach, and reads as zeros
        when it comes back.
        """
        if self.read_only:
            raise ConfigError(f"{self.path}: read-only, cannot be resized")
        _check_geometry(blocks, self.block_size)
        if blocks < self.blocks:
            if self._is_device:
                raise ConfigError(f"{self.path}: a device, cannot be made smaller")
            self.unmap(blocks, self.blocks - blocks)
        new_size = blocks << self._shift
        self._lengthen(new_size)
        mapped = self._mapped(new_size)
        self._retired.append((self._map, self._view))
        self._map, self._view = mapped
        self.blocks = blocks
        self._settle()

    def _lengthen(self, size: int) -> None:
        try:
            if size > self._length:
                os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot make it {size} bytes long: {error.strerror}") from error

    def _settle(self) -> None:
        """Close the mappings nobody looks at; when none is left, the file gets the length it should have."""
        self._retired = [pair for pair in self._retired if not _unmapped(*pair)]
        if not (self._retired or self._is_device) and self.size < self._length:
            os.ftruncate(self._descriptor, self.size)

    def close(self) -> None:
        """Close the file without a flush; a mapping whose views are held goes when the last view does."""
        if self._descriptor < 0:
            return
        if not self.read_only:
            self._settle()
        _unmapped(self._map, self._view)
        self._retired.clear()
        os.close(self._descriptor)
        self._descriptor = -1

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _open(path: Path, read_only: bool, size: int | None) -> int:
    # O_NONBLOCK: opening a FIFO for reading would wait for a writer before we could see that it is one.
    flags = (os.O_RDONLY if read_only else os.O_RDWR) | getattr(os, "O_NONBLOCK", 0)
    try:
        if size is not None and not path.exists():
            return _create(path, flags, size)
        descriptor = os.open(path, flags)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        os.close(descriptor)
        raise ConfigError(f"{path}: neither a regular file nor a block device")
    return descriptor


def _create(path: Path, flags: int, size: int) -> int:
    maker = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(maker, size)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(maker)
    return os.open(path, flags)


def _whole_blocks(path: Path, size: int, block_size: int) -> int:
    blocks, rest = divmod(size, block_size)
    if rest or not blocks:
        raise ConfigError(f"{path}: {size} bytes are not a whole number of {block_size}-byte blocks")
    return blocks


def _unmapped(mapped: mmap.mmap, view: memoryview) -> bool:
    """Unmap at once when no view of it is held; False when somebody still looks."""
    try:
        view.release()
        mapped.close()
    except BufferError:
        return False
    return True
