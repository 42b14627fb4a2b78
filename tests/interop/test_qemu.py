"""QEMU's block layer (libiscsi underneath) against ``iscsim serve``: what is written comes back."""

from __future__ import annotations

import filecmp

import pytest

pytestmark = pytest.mark.interop

CHAP = ("--initiator", "*:user:a-password-of-20-chars")
TWO_PORTALS = ("--portal", "127.0.0.1:0", "--portal", "127.0.0.1:0")
DIGEST = "driver=iscsi,transport=tcp,portal=$portal,target=$target,lun=1,header-digest={}"
STORE = "qemu-img convert -n -f raw -O raw random.img"
FETCH = "qemu-img convert -f raw -O raw"


def there_and_back(captive, image, *options, out="$uri", back="$uri"):
    captive(f"{STORE} {out}; {FETCH} {back} back.img", *options)
    assert filecmp.cmp(image, image.with_name("back.img"), shallow=False)


@pytest.mark.parametrize("block_size", [512, 4096])
@pytest.mark.parametrize("lun", ["1=32M", "1=disk.img,size=32M"], ids=["memory", "file"])
def test_convert_brings_back_what_it_wrote(captive, image, lun, block_size):
    there_and_back(captive, image, "--lun", f"{lun},block_size={block_size}")


def test_a_file_behind_a_lun_holds_what_was_written(captive, image):
    captive(f"{STORE} $uri", "--lun", "1=disk.img,size=32M")
    assert filecmp.cmp(image, image.with_name("disk.img"), shallow=False)


def test_what_goes_in_through_one_portal_comes_out_of_the_other(captive, image):
    there_and_back(captive, image, *TWO_PORTALS, "--lun", "1=32M", back="$uri2")


def test_convert_with_chap(captive, image):
    there_and_back(captive, image, *CHAP, "--lun", "1=32M")


def test_a_wrong_password_fails_and_the_target_survives(captive):
    wrong = "iscsi://user%a-wrong-password-of-20@$portal/$target/1"
    captive(f"if qemu-img info {wrong}; then exit 9; fi; qemu-img info $uri", *CHAP)


@pytest.mark.parametrize("digest", ["crc32c", "none", "crc32c-none", "none-crc32c"])
def test_convert_with_every_choice_of_header_digest(captive, image, digest):
    options = DIGEST.format(digest)
    captive(
        f"qemu-img convert -n -f raw --target-image-opts random.img {options};"
        f"qemu-img convert --image-opts {options} -O raw back.img",
        "--lun",
        "1=32M",
        "--pcap",
        "wire.pcapng",
    )
    assert filecmp.cmp(image, image.with_name("back.img"), shallow=False)
    agreed = b"HeaderDigest=CRC32C\0" in image.with_name("wire.pcapng").read_bytes()
    assert agreed is digest.startswith("crc32c")


def test_qcow2_lives_on_a_lun(captive, image):
    """Small writes at many places, flushes, and reads of all sizes."""
    captive(
        "qemu-img create -f qcow2 $uri 32M; qemu-img convert -n -f raw -O qcow2 random.img $uri;"
        "qemu-img check -f qcow2 $uri; qemu-img compare -f raw -F qcow2 random.img $uri",
        "--lun",
        "1=64M",
    )


def test_discarded_blocks_of_a_thin_lun_read_as_zeros(captive, image):
    captive(
        f"{STORE} $uri; qemu-io -f raw -c 'discard 1M 2M' $uri; {FETCH} $uri back.img",
        "--lun",
        "1=32M,thin",
    )
    before, after = image.read_bytes(), image.with_name("back.img").read_bytes()
    assert after == before[: 1 << 20] + bytes(2 << 20) + before[3 << 20 :]


def test_zeros_written_as_such_read_as_zeros(captive, image):
    captive(
        f"{STORE} $uri; qemu-io -f raw -c 'write -z 1M 2M' $uri; {FETCH} $uri back.img",
        "--lun",
        "1=32M",
    )
    before, after = image.read_bytes(), image.with_name("back.img").read_bytes()
    assert after == before[: 1 << 20] + bytes(2 << 20) + before[3 << 20 :]


def test_flushed_writes_are_acknowledged(captive):
    captive(
        "qemu-io -f raw -t none -c 'write -P 7 0 64k' -c flush -c 'write -f -P 9 64k 64k'"
        " -c 'read -P 7 0 64k' -c 'read -P 9 64k 64k' $uri"
    )


def test_a_read_only_lun_refuses_writes_and_reads_well(captive):
    captive(
        "if qemu-io -f raw -c 'write 0 64k' $uri; then exit 9; fi;"
        "qemu-io -r -f raw -c 'read -P 0 0 64k' $uri",
        "--lun",
        "1=32M,readonly",
    )


def test_many_writes_in_flight_all_complete(captive):
    captive("qemu-img bench -w -t none -f raw -s 65536 -d 64 -c 4000 $uri", "--lun", "1=64M")
