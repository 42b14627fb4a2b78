"""What the makes of disks say of themselves, as it was recorded."""

import re
from dataclasses import replace

import pytest

from iscsim.errors import ConfigError
from iscsim.scsi import cdb, makes
from iscsim.scsi.designator import udev_identifier
from iscsim.scsi.inquiry import StandardInquiry
from iscsim.scsi.vpd import VPDPage, parse_device_identification, parse_supported_pages

SERIAL = "e7d4395d-c033-47c9-bd5b-3674231fa769"  # golden/lio-chap-digests-reset-pr.log
ALL = {"plain": makes.PLAIN, "lio": makes.LIO, "tgt": makes.TGT, "vnx": makes.VNX}


@pytest.fixture
def lio(make_rig):
    return make_rig(profile=makes.LIO, serial=SERIAL, wwn=None, product="f1")


def test_lio_makes_its_wwn_of_the_digits_of_the_serial_number(lio):
    assert lio.unit.wwn == "6001405e7d4395dc03347c9bd5b36742"
    page = parse_device_identification(lio.good(cdb.inquiry(0x83)))
    assert udev_identifier(page) == "36001405e7d4395dc03347c9bd5b36742"
    assert page[1].text == f"LIO-ORG f1:{SERIAL}"
    assert [found.type for found in page] == [3, 1, 4, 5, 6, 8, 8]


def test_lio_says_what_sg_inq_and_sg_vpd_recorded(lio):
    inquiry = StandardInquiry.parse(lio.good(cdb.inquiry()))
    assert (inquiry.vendor, inquiry.product, inquiry.revision) == ("LIO-ORG", "f1", "4.0")
    limits = lio.unit.block_limits
    assert limits.write_same_non_zero
    assert limits.maximum_compare_and_write_blocks == 1
    assert limits.maximum_transfer_blocks == limits.optimal_transfer_blocks == 16384
    assert lio.fault(bytes.fromhex("89000000000000000000000000020000"), bytes(2048)) == "05/24/00"


def test_short_serial_number_is_filled_up(make_rig):
    assert make_rig(profile=makes.LIO, serial="ab-1", wwn=None).unit.wwn == "6001405ab1".ljust(32, "0")


def test_plain_and_tgt_and_vnx_names_keep_their_prefixes():
    for make, prefix in (
        (makes.PLAIN, "6024953"),
        (makes.TGT, "6" + "0" * 16 + "e"),
        (makes.VNX, "60060160"),
    ):
        name = make.wwn("anything")
        assert re.fullmatch("[0-9a-f]{32}", name)
        assert name.startswith(prefix)
        assert name != make.wwn("something else")


def test_serial_numbers_have_the_form_of_their_make():
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", makes.LIO.serial("iqn.a:b", 1))
    assert makes.VNX.serial("iqn.1992-04.com.emc:cx.fnm00150600267.a0", 197) == "FNM00150600267"
    assert re.fullmatch(r"FNM\d{11}", makes.VNX.serial("iqn.2026-11.test:other", 1))


def test_vnx_tells_its_model_where_linux_reads_it(make_rig):
    """scsi_dh_emc: a shorter answer would be an array of the FC series, with the short trespass."""
    data = make_rig(profile=makes.VNX, serial="FNM00150600267").good(cdb.inquiry())
    assert (data[8:16], data[16:32].rstrip(), data[32:36]) == (b"DGC     ", b"VRAID", b"0533")
    assert data[4] + 5 == len(data) >= 160
    assert (data[99], data[160]) == (7, 14)
    assert data[161:] == b"FNM00150600267VNX5400"
    assert len(StandardInquiry.parse(data).vendor_specific) == len(data) - 96


@pytest.mark.parametrize("name", ALL)
def test_every_page_that_is_listed_is_there_and_no_other(make_rig, name):
    rig = make_rig(profile=ALL[name])
    listed = parse_supported_pages(rig.good(cdb.inquiry(0)))
    assert listed == sorted(ALL[name].vpd_pages)
    for page in VPDPage:
        if page in listed:
            assert rig.good(cdb.inquiry(page))[1] == page
        else:
            assert rig.fault(cdb.inquiry(page)) == "05/24/00"


def test_page_of_an_array_needs_an_array(make_rig):
    rig = make_rig(profile=replace(makes.PLAIN, vpd_pages=frozenset({0, 0xC0})))
    assert rig.fault(cdb.inquiry(0xC0)) == "05/24/00"


def test_texts_of_a_make_can_be_overridden(make_rig):
    unit = make_rig(profile=makes.VNX, vendor="ACME", product="BOX", revision="9").unit
    assert (unit.vendor, unit.product, unit.revision) == ("ACME", "BOX", "9")
    with pytest.raises(ConfigError):
        make_rig(profile=makes.VNX, serial="\n")
