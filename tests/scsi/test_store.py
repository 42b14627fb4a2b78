import errno
import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iscsim.errors import ConfigError
from iscsim.scsi import store as module
from iscsim.scsi.store import CHUNK_SIZE, FileStore, MemoryStore

CHUNK_BLOCKS = CHUNK_SIZE // 512


def pattern(blocks, block_size=512, seed=1):
    return bytes((seed + i) % 251 for i in range(blocks * block_size))


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    made = MemoryStore(65536) if request.param == "memory" else FileStore(tmp_path / "disk", size=65536 * 512)
    yield made
    made.close()


def test_what_was_never_written_reads_as_zeros(store):
    assert store.read(100, 8) == bytes(4096)


def test_what_was_written_is_read(store):
    store.write(7, pattern(3))
    assert store.read(6, 5) == bytes(512) + pattern(3) + bytes(512)


def test_only_what_was_written_takes_space(store):
    before = store.allocated_size
    store.write(4096, pattern(16))
    store.flush()
    assert before < CHUNK_SIZE
    assert 8192 <= store.allocated_size <= before + CHUNK_SIZE


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_write_takes_any_buffer(store, kind):
    store.write(0, kind(pattern(2)))
    assert store.read(0, 2) == pattern(2)


def test_read_copies_nothing(store):
    store.write(0, pattern(1))
    view = store.read(0, 1)
    store.write(0, pattern(1, seed=9))
    assert view == pattern(1, seed=9)


def test_a_view_cannot_be_written(store):
    store.write(0, pattern(1))
    assert store.read(0, 1).readonly
    assert store.read(50, 1).readonly


def test_a_range_over_a_chunk_border(store):
    store.write(CHUNK_BLOCKS - 2, pattern(5))
    assert store.read(CHUNK_BLOCKS - 3, 7) == bytes(512) + pattern(5) + bytes(512)


def test_unmap_reads_as_zeros_and_spares_its_neighbours(store):
    store.write(0, pattern(64))
    store.unmap(3, 40)
    assert store.read(0, 64) == pattern(64)[: 3 * 512] + bytes(40 * 512) + pattern(64)[43 * 512 :]


def test_unmap_of_everything(store):
    store.write(CHUNK_BLOCKS - 2, pattern(5))
    store.unmap(0, store.blocks)
    assert store.read(CHUNK_BLOCKS - 2, 5) == bytes(5 * 512)


def test_unmap_of_nothing(store):
    store.write(0, pattern(1))
    store.unmap(0, 0)
    assert store.read(0, 1) == pattern(1)


def test_resize_up_and_down(store):
    store.write(store.blocks - 1, pattern(1))
    store.resize(1000)
    assert (store.blocks, store.size) == (1000, 512000)
    store.resize(65536)
    assert store.read(65535, 1) == bytes(512)


@pytest.mark.parametrize("change", [lambda store: store.resize(16), lambda store: store.close()])
def test_a_view_outlives_resize_and_close(store, change):
    store.write(60000, pattern(1))
    view = store.read(60000, 1)
    change(store)
    assert view in (pattern(1), bytes(512))  # gone, or still what it was: never a crash


def test_close_twice(store):
    store.close()
    store.close()


def test_flush_returns(store):
    store.write(0, pattern(1))
    store.flush()


def test_what_was_never_written_can_be_passed_over(store):
    assert store.next_written(0) == store.blocks
    store.write(3 * CHUNK_BLOCKS + 10, pattern(1))
    found = store.next_written(0)
    assert 0 < found <= 3 * CHUNK_BLOCKS + 10
    assert store.read(0, found) == bytes(found * 512)
    assert store.next_written(3 * CHUNK_BLOCKS + 10) == 3 * CHUNK_BLOCKS + 10
    store.unmap(0, store.blocks)
    assert store.next_written(0) == store.blocks


def test_a_file_system_that_does_not_tell_of_holes_has_none(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EINVAL, "no")

    disk = FileStore(tmp_path / "disk", size=65536)
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "lseek", refuse)
        assert disk.next_written(7) == 7
        patch.setattr(module, "_HAS_HOLES", False)
        assert disk.next_written(8) == 8
    disk.close()


@pytest.mark.parametrize("blocks, block_size", [(0, 512), ((1 << 63) + 1, 512), (8, 513), (8, 0), (8, 8192)])
def test_impossible_geometry_is_a_config_error(blocks, block_size):
    with pytest.raises(ConfigError, match=r"block"):
        MemoryStore(blocks, block_size)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["write", "unmap"]), st.integers(0, 3 * CHUNK_BLOCKS - 40), st.integers(1, 40)
        ),
        max_size=12,
    )
)
def test_memory_store_is_a_byte_array(steps):
    store, model = MemoryStore(3 * CHUNK_BLOCKS), bytearray(3 * CHUNK_SIZE)
    for seed, (verb, lba, blocks) in enumerate(steps):
        data = pattern(blocks, seed=seed) if verb == "write" else bytes(blocks * 512)
        store.write(lba, data) if verb == "write" else store.unmap(lba, blocks)
        model[lba * 512 : lba * 512 + len(data)] = data
    for _, lba, blocks in steps:
        assert store.read(lba, blocks) == model[lba * 512 : (lba + blocks) * 512]
    store.close()


# Memory.


@pytest.mark.parametrize("block_size", [512, 4096])
def test_the_largest_unit_takes_no_memory_until_written(block_size):
    store = MemoryStore(1 << 63, block_size)
    assert store.read((1 << 63) - 8, 8) == bytes(8 * block_size)
    assert store.allocated_size == 0
    store.write((1 << 63) - 1, pattern(1, block_size))
    assert store.read((1 << 63) - 1, 1) == pattern(1, block_size)
    assert store.allocated_size == CHUNK_SIZE


def test_unmap_of_a_whole_chunk_frees_it():
    store = MemoryStore(4 * CHUNK_BLOCKS)
    store.write(CHUNK_BLOCKS, pattern(2))
    store.unmap(CHUNK_BLOCKS, CHUNK_BLOCKS)
    assert store.allocated_size == 0


def test_unmap_of_a_huge_range_walks_only_what_exists():
    store = MemoryStore(1 << 63)
    store.write(1 << 50, pattern(1))
    store.unmap(0, 1 << 63)
    assert store.allocated_size == 0


def test_a_view_of_a_freed_chunk_stays():
    store = MemoryStore(CHUNK_BLOCKS)
    store.write(0, pattern(1))
    view = store.read(0, 1)
    store.unmap(0, CHUNK_BLOCKS)
    assert view == pattern(1)


# Files.


def test_a_missing_file_is_made_sparse(tmp_path):
    FileStore(tmp_path / "disk", size=1 << 40).close()
    status = (tmp_path / "disk").stat()
    assert (status.st_size, status.st_blocks) == (1 << 40, 0)


def test_an_existing_file_keeps_its_size_and_bytes(tmp_path):
    (tmp_path / "disk").write_bytes(pattern(4))
    store = FileStore(tmp_path / "disk", size=1 << 20)
    assert (store.blocks, store.read(0, 4)) == (4, pattern(4))


def test_what_is_written_is_in_the_file(tmp_path):
    store = FileStore(tmp_path / "disk", 4096, size=1 << 20)
    store.write(3, pattern(1, 4096))
    assert (tmp_path / "disk").read_bytes()[3 * 4096 : 4 * 4096] == pattern(1, 4096)


def test_unmap_frees_the_file_system_blocks(tmp_path):
    store = FileStore(tmp_path / "disk", size=1 << 20)
    store.write(0, pattern(2048))
    store.flush()
    store.unmap(0, 2048)
    assert store.read(0, 2048) == bytes(1 << 20)


def test_unmap_writes_zeros_where_the_file_system_has_no_holes(tmp_path, monkeypatch):
    store = FileStore(tmp_path / "disk", size=1 << 20)
    store.write(0, pattern(64))
    monkeypatch.setattr(FileStore, "_punch", lambda *_: False)
    store.unmap(1, 60)
    assert store.read(0, 64) == pattern(64)[:512] + bytes(60 * 512) + pattern(64)[61 * 512 :]


def test_shrinking_cuts_the_file_when_nobody_looks(tmp_path):
    store = FileStore(tmp_path / "disk", size=1 << 20)
    store.resize(8)
    assert (tmp_path / "disk").stat().st_size == 4096


def test_shrinking_waits_for_the_last_view(tmp_path):
    store = FileStore(tmp_path / "disk", size=1 << 20)
    view = store.read(2000, 8)
    store.resize(8)
    assert (tmp_path / "disk").stat().st_size == 1 << 20
    assert bytes(view) == bytes(4096)
    del view
    store.close()
    assert (tmp_path / "disk").stat().st_size == 4096


def test_a_read_only_file_is_served_but_not_resized(tmp_path):
    (tmp_path / "disk").write_bytes(pattern(4))
    (tmp_path / "disk").chmod(0o444)
    store = FileStore(tmp_path / "disk", read_only=True)
    assert store.read(0, 4) == pattern(4)
    store.flush()
    with pytest.raises(ConfigError, match="read-only"):
        store.resize(8)
    store.close()


@pytest.mark.parametrize("size", [0, 511, 513, 1000])
def test_a_file_that_is_no_whole_number_of_blocks_is_a_config_error(tmp_path, size):
    (tmp_path / "disk").write_bytes(bytes(size))
    with pytest.raises(
        ConfigError, match=f"{size} bytes are not a whole number of 512-byte blocks"
    ) as raised:
        FileStore(tmp_path / "disk")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        FileStore(tmp_path / "missing")


def test_a_directory_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError):
        FileStore(tmp_path)


def test_a_fifo_is_a_config_error_and_not_a_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="neither a regular file nor a block device"):
        FileStore(tmp_path / "pipe", read_only=True)


def test_a_file_in_a_missing_directory_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        FileStore(tmp_path / "no" / "disk", size=1 << 20)


def test_a_size_no_file_system_takes_is_a_config_error_and_leaves_no_file(tmp_path):
    with pytest.raises(ConfigError):
        FileStore(tmp_path / "disk", size=(1 << 63) - 512)
    assert not (tmp_path / "disk").exists()


def test_growing_beyond_the_file_system_is_a_config_error(tmp_path):
    store = FileStore(tmp_path / "disk", size=4096)
    with pytest.raises(ConfigError, match="cannot make it"):
        store.resize((1 << 54) - 1)
    assert store.read(0, 8) == bytes(4096)


def test_a_full_disk_is_an_os_error_and_not_a_signal(tmp_path, monkeypatch):
    store = FileStore(tmp_path / "disk", size=4096)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        store.write(0, pattern(1))


def test_a_write_the_kernel_takes_in_parts_is_completed(tmp_path, monkeypatch):
    store = FileStore(tmp_path / "disk", size=4096)
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: whole(fd, memoryview(data)[:300], offset))
    store.write(1, pattern(4))
    assert store.read(1, 4) == pattern(4)


def test_without_pwrite_the_mapping_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_HAS_PWRITE", False)
    store = FileStore(tmp_path / "disk", size=4096)
    store.write(1, pattern(4))
    store.flush()
    assert (tmp_path / "disk").read_bytes()[512:2560] == pattern(4)


def test_a_file_that_cannot_be_mapped_is_a_config_error(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(module.mmap, "mmap", refuse)
    with pytest.raises(ConfigError, match="cannot map 4096 bytes"):
        FileStore(tmp_path / "disk", size=4096)


def test_a_file_system_that_refuses_holes_gets_zeros(tmp_path, monkeypatch):
    store = FileStore(tmp_path / "disk", size=1 << 20)
    store.write(0, pattern(64))
    monkeypatch.setattr(module.mmap, "MADV_REMOVE", -1)  # EINVAL
    store.unmap(0, 64)
    assert store.read(0, 64) == bytes(64 * 512)


def test_a_system_without_madvise_gets_zeros(tmp_path, monkeypatch):
    monkeypatch.delattr(module.mmap, "MADV_REMOVE")
    monkeypatch.setattr(module.sys, "platform", "plan9")
    for store in (FileStore(tmp_path / "disk", size=1 << 20), MemoryStore(2048)):
        store.write(0, pattern(64))
        store.unmap(0, 64)
        assert store.read(0, 64) == bytes(64 * 512)


def test_a_system_without_private_mappings_has_memory_all_the_same(monkeypatch):
    monkeypatch.delattr(module.mmap, "MAP_PRIVATE")
    store = MemoryStore(2048)
    store.write(0, pattern(1))
    assert store.read(0, 1) == pattern(1)


@pytest.fixture
def device(tmp_path):
    """A block device of 4 MiB, for who may make one: losetup wants root."""
    image = tmp_path / "device.img"
    image.write_bytes(bytes(4 << 20))
    try:
        command = ["losetup", "--find", "--show", str(image)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except FileNotFoundError:
        pytest.skip("no losetup")
    if done.returncode:
        pytest.skip(f"losetup: {done.stderr.strip()}")
    yield done.stdout.strip()
    subprocess.run(["losetup", "--detach", done.stdout.strip()], check=True, timeout=10)


def test_block_device_is_a_store_too(device):
    store = FileStore(device)
    assert (store.blocks, store.allocated_size) == (8192, 4 << 20)
    store.write(3, b"x" * 512)
    store.flush()
    assert bytes(store.read(3, 1)) == b"x" * 512
    store.unmap(0, 8192)
    assert bytes(store.read(3, 1)) == bytes(512)
    store.close()


def test_block_device_is_as_long_as_it_is(device):
    store = FileStore(device)
    for blocks, why in ((100, "cannot be made smaller"), (10000, "cannot make it 5120000 bytes long")):
        with pytest.raises(ConfigError, match=why):
            store.resize(blocks)
    store.resize(8192)
    assert store.blocks == 8192
    store.close()
