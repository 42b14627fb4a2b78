"""libiscsi's own tools against ``iscsim serve``."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.interop

TARGET = "iqn.2026-11.org.iscsim.interop:disk"
ONE = "iqn.2026-11.org.iscsim.interop:one"
OTHER = "iqn.2026-11.org.iscsim.interop:other"
CHAP = "*:user:a-password-of-20-chars"
TWO_PORTALS = ("--portal", "127.0.0.1:0", "--portal", "127.0.0.1:0")
ALIVE = "iscsi-inq $uri >/dev/null"


def test_iscsi_ls_lists_the_target_with_its_luns(captive):
    result = captive("iscsi-ls -s iscsi://$portal", "--target", TARGET, "--lun", "1=64M", "--lun", "7=2G")
    assert re.search(rf"Target:{TARGET} Portal:127\.0\.0\.1:\d+,1", result.stdout)
    # iscsi-ls makes the size of the last block's address, without that block
    assert re.findall(r"Lun:(\d+) +Type:(\w+) \(Size:(\w+)\)", result.stdout) == [
        ("1", "DIRECT_ACCESS", "63M"),
        ("7", "DIRECT_ACCESS", "1G"),
    ]


def test_iscsi_ls_lists_both_portals(captive):
    result = captive("iscsi-ls iscsi://$portal; echo $portal $portal2", *TWO_PORTALS)
    listed = re.findall(r"Portal:([\d.:]+),", result.stdout)
    assert sorted(set(listed)) == sorted(result.stdout.splitlines()[-1].split())


def test_iscsi_inq_shows_the_standard_inquiry(captive):
    lines = captive("iscsi-inq $uri").stdout.splitlines()
    assert {"Peripheral Device Type:DIRECT_ACCESS", "Removable:0", "ReponseDataFormat:2", "CmdQue:1"} <= set(
        lines
    )


@pytest.mark.parametrize("personality, vendor", [("rfc", "ISCSIM"), ("lio", "LIO-ORG"), ("tgt", "IET")])
def test_iscsi_inq_shows_the_vendor_of_the_personality(captive, personality, vendor):
    assert f"Vendor:{vendor}" in captive("iscsi-inq $uri", "--personality", personality).stdout


def test_iscsi_inq_shows_the_serial_number_page(captive):
    result = captive("iscsi-inq -e 1 -c 128 $uri", "--lun", "1=64M,serial=interop-17")
    assert "Unit Serial Number:[interop-17]" in result.stdout


def test_iscsi_inq_shows_the_same_naa_name_through_both_portals(captive):
    first, second = (
        captive(
            f"iscsi-inq -e 1 -c 131 {uri}",
            *TWO_PORTALS,
            "--lun",
            "1=64M,wwn=36001405a1b2c3d4e5f60718293a4b5c6",
        ).stdout
        for uri in ("$uri", "$uri2")
    )
    assert "Designator Type:(3) NAA" in first
    assert "Page Code:(0x83) DEVICE_IDENTIFICATION" in first
    assert [line for line in first.splitlines() if "NAA" in line] == [
        line for line in second.splitlines() if "NAA" in line
    ]


@pytest.mark.parametrize(
    "page, line",
    [
        (0, "Page:0xb0 BLOCK_LIMITS"),
        (176, "maximum transfer length:32768"),
        (177, "Medium Rotation Rate:1RPM"),
        (178, "lbpu:1"),
    ],
)
def test_iscsi_inq_reads_the_other_pages(captive, page, line):
    assert line in captive(f"iscsi-inq -e 1 -c {page} $uri", "--lun", "1=64M,thin").stdout


@pytest.mark.parametrize("block_size", [512, 4096])
def test_iscsi_readcapacity16_shows_size_and_block_size(captive, block_size):
    text = captive("iscsi-readcapacity16 $uri", "--lun", f"1=64M,block_size={block_size}").stdout
    assert f"LOGICAL BLOCK LENGTH IN BYTES:{block_size}" in text
    assert f"RETURNED LOGICAL BLOCK ADDRESS:{(64 << 20) // block_size - 1}" in text
    assert f"Total size:{64 << 20}" in text


def test_iscsi_readcapacity16_shows_a_size_no_disk_has(captive):
    assert f"Total size:{1 << 60}" in captive("iscsi-readcapacity16 $uri", "--lun", "1=1E").stdout


@pytest.mark.parametrize("load", ["-b 8 -m 32 -r", "-b 256 -m 8", "-b 2048 -m 8", "-b 1 -m 1 -r"])
def test_iscsi_perf_reads_without_an_error(captive, load):
    result = captive(f"iscsi-perf {load} -t 1 $uri", "--lun", "1=64M")
    assert re.search(r"iops average [1-9]", result.stdout)
    assert "failed" not in result.stdout


@pytest.mark.parametrize("redirect", ["1=2", "*=2"])
def test_libiscsi_follows_a_redirection(captive, redirect):
    command = "iscsi-inq $uri; iscsi-ls -s iscsi://$portal | grep -c Portal"
    result = captive(command, *TWO_PORTALS, "--redirect", redirect, "--lun", "1=64M", "--verbose")
    assert "Peripheral Device Type:DIRECT_ACCESS" in result.stdout
    assert "login refused with 0x010" in result.stderr


def test_libiscsi_knows_a_permanent_redirection_but_does_not_follow_it(captive):
    command = "iscsi-inq $uri || iscsi-inq $uri2"
    result = captive(command, *TWO_PORTALS, "--redirect", "1=2,permanent")
    assert "Target moved permanently" in result.stdout + result.stderr
    assert "Peripheral Device Type:DIRECT_ACCESS" in result.stdout


def test_libiscsi_follows_a_redirection_before_chap(captive):
    result = captive("iscsi-inq $uri", *TWO_PORTALS, "--redirect", "1=2", "--initiator", CHAP)
    assert "Peripheral Device Type:DIRECT_ACCESS" in result.stdout


def test_chap_lets_in_who_knows_the_password(captive):
    assert "DIRECT_ACCESS" in captive("iscsi-inq $uri", "--initiator", CHAP).stdout


def test_chap_credentials_are_good_for_discovery_too(captive):
    listing = "iscsi-ls -s iscsi://user%a-password-of-20-chars@$portal"
    assert TARGET in captive(listing, "--target", TARGET, "--initiator", CHAP).stdout


def test_credentials_nobody_asked_for_do_no_harm_where_tgt_lets_them_pass(captive):
    result = captive(
        "iscsi-inq iscsi://user%a-password-of-20-chars@$portal/$target/1", "--personality", "tgt"
    )
    assert "Peripheral Device Type:DIRECT_ACCESS" in result.stdout


@pytest.mark.parametrize(
    "credentials",
    ["user%a-wrong-password-of-20@", "nobody%a-password-of-20-chars@", ""],
    ids=["password", "user", "none"],
)
def test_chap_keeps_out_who_does_not_and_the_target_survives(captive, credentials):
    wrong = f"iscsi://{credentials}$portal/$target/1"
    result = captive(f"if iscsi-inq {wrong}; then exit 9; fi; {ALIVE}", "--initiator", CHAP)
    assert "Login" in result.stderr + result.stdout


def test_an_initiator_of_the_acl_gets_in(captive):
    assert "DIRECT_ACCESS" in captive(f"iscsi-inq -i {ONE} $uri", "--initiator", ONE + "::").stdout


def test_an_initiator_that_is_not_in_the_acl_is_refused(captive):
    refused = f"if iscsi-inq -i {OTHER} $uri; then exit 9; fi; iscsi-inq -i {ONE} $uri >/dev/null"
    captive(refused, "--initiator", ONE + "::")


def test_discovery_shows_a_target_only_to_its_initiators(captive):
    listing = f"iscsi-ls -i {OTHER} iscsi://$portal; echo --; iscsi-ls -i {ONE} iscsi://$portal"
    hidden, shown = captive(listing, "--target", TARGET, "--initiator", ONE + "::").stdout.split("--")
    assert (TARGET in hidden, TARGET in shown) == (False, True)


@pytest.mark.parametrize(
    "path", ["iqn.2026-11.org.iscsim.interop:none/1", "$target/5"], ids=["target", "LUN"]
)
def test_what_is_not_there_fails_and_the_target_survives(captive, path):
    captive(f"if iscsi-readcapacity16 iscsi://$portal/{path}; then exit 9; fi; {ALIVE}")
