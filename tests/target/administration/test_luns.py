"""LUNs made, taken away, resized and swapped under sessions that use them."""

from __future__ import annotations

import pytest
from exchanges.ladder import (
    INITIATOR,
    TARGET,
    command,
    data_out,
    like,
    lun,
    read_10,
    write_10,
)
from exchanges.ladder import test_unit_ready as unit_ready
from target.administration.small import OTHER, Small, ask, sense_of

from iscsim.errors import ConfigError
from iscsim.pdu import ReadyToTransfer, SCSIDataIn, SCSIResponse
from iscsim.target.administration.errors import AlreadyExists, NotFound

REPORTED_LUNS_CHANGED, INQUIRY_CHANGED = (6, 0x3F, 0x0E), (6, 0x3F, 0x03)
CAPACITY_CHANGED, NO_SUCH_LUN = (6, 0x2A, 0x09), (5, 0x25, 0x00)


def test_mapped_lun_added_is_told_to_its_initiator_alone() -> None:
    small = Small()
    host, other = small.host(), small.host(OTHER)
    small.luns.create(TARGET, 1, "disk1", 1, None)
    assert host >> read_10() << like(SCSIDataIn, status=0)  # it is shown to nobody yet
    small.show(small.acls.find(TARGET, 1, INITIATOR), 5, 1)
    assert sense_of(ask(host, unit_ready())) == REPORTED_LUNS_CHANGED
    assert host >> unit_ready() << like(SCSIResponse, status=0)
    assert sense_of(ask(host, unit_ready(lun=lun(5))))[:2] == (6, 0x29)
    assert host >> read_10(lun=lun(5)) << like(SCSIDataIn, status=0)
    assert other >> unit_ready() << like(SCSIResponse, status=0)
    assert sense_of(ask(other, unit_ready(lun=lun(5)))) == NO_SUCH_LUN


def test_mapped_lun_removed_is_gone_and_the_others_say_so() -> None:
    small = Small()
    acl = small.acls.find(TARGET, 1, INITIATOR)
    small.luns.create(TARGET, 1, "disk1", 1, None)
    small.show(acl, 1, 1)
    host, other = small.host(), small.host(OTHER)
    small.luns.hide(TARGET, 1, acl, 1)
    assert sense_of(ask(host, unit_ready(lun=lun(1)))) == NO_SUCH_LUN
    assert sense_of(ask(host, unit_ready())) == REPORTED_LUNS_CHANGED
    assert other >> unit_ready() << like(SCSIResponse, status=0)


def test_lun_deleted_is_gone_for_everybody_who_saw_it() -> None:
    small = Small()
    host, other = small.host(), small.host(OTHER)
    small.luns.delete(TARGET, 1, 0)
    for exchange in (host, other):
        assert sense_of(ask(exchange, unit_ready())) == NO_SUCH_LUN
    assert len(small.acls.find(TARGET, 1, INITIATOR).lun_map) == 0


def test_write_to_a_lun_that_goes_ends_with_25_00_once_its_data_has_come() -> None:
    small = Small()
    host = small.host()
    request = write_10(blocks=2000)
    transfer = ask(host, request)
    assert isinstance(transfer, ReadyToTransfer)
    small.luns.delete(TARGET, 1, 0)
    left = transfer.desired_data_transfer_length
    tag, asked = request.initiator_task_tag, transfer.target_transfer_tag
    while left:
        size = min(left, 65536)
        offset = transfer.desired_data_transfer_length - left
        left -= size
        host >> data_out(
            tag, offset, bytes(size), target_transfer_tag=asked, final=not left, data_sn=offset // 65536
        )
    assert sense_of(host.next()) == NO_SUCH_LUN


def test_no_write_lands_on_another_disk_when_the_lun_is_swapped() -> None:
    small = Small()
    host = small.host()
    request = write_10(blocks=200)
    transfer = ask(host, request)
    small.luns.swap(TARGET, 1, 0, "disk1")
    host >> data_out(
        request.initiator_task_tag, 0, b"\xff" * 102400, target_transfer_tag=transfer.target_transfer_tag
    )
    assert sense_of(host.next()) == NO_SUCH_LUN
    for name in ("disk0", "disk1"):
        assert bytes(small.configuration.backstores.find(name).unit.read(0, 200)) == bytes(102400)


def test_swapped_lun_is_another_disk_and_says_so() -> None:
    small = Small()
    small.luns.create(TARGET, 1, "disk0", 1, None)
    small.show(small.acls.find(TARGET, 1, INITIATOR), 1, 1)
    host = small.host()
    small.luns.swap(TARGET, 1, 0, "disk1")
    assert sense_of(ask(host, unit_ready())) == INQUIRY_CHANGED
    assert sense_of(ask(host, unit_ready())) == REPORTED_LUNS_CHANGED
    assert sense_of(ask(host, unit_ready(lun=lun(1)))) == REPORTED_LUNS_CHANGED
    page = ask(host, command(b"\x12\1\x83\0\xff", read=True, expected_data_transfer_length=255))
    assert bytes.fromhex(small.configuration.backstores.find("disk1").unit.wwn) in bytes(page.data)


def test_resize_is_told_to_everybody_who_sees_the_disk() -> None:
    small = Small()
    host, other = small.host(), small.host(OTHER)
    row = small.luns.resize(TARGET, 1, 0, 2 << 20)
    assert row.unit.blocks == 4096
    for exchange in (host, other):
        assert sense_of(ask(exchange, unit_ready())) == CAPACITY_CHANGED
    with pytest.raises(ConfigError, match="no multiple of 512"):
        small.luns.resize(TARGET, 1, 0, 1000)


def test_write_protected_lun_refuses_writes_of_its_initiator_alone() -> None:
    small = Small()
    acl = small.acls.find(TARGET, 1, INITIATOR)
    small.luns.hide(TARGET, 1, acl, 0)
    small.show(acl, 0, 0, write_protect=True)
    host, other = small.host(), small.host(OTHER)
    assert sense_of(ask(host, write_10(data=bytes(512)))) == (7, 0x27, 0x00)
    assert other >> write_10(data=bytes(512)) << like(SCSIResponse, status=0)


def test_backstore_goes_with_every_lun_that_shows_it() -> None:
    small = Small()
    host = small.host()
    small.luns.delete_backstore("disk0")
    assert sense_of(ask(host, unit_ready())) == NO_SUCH_LUN
    assert list(small.configuration.backstores) == ["disk1"]


def test_what_is_taken_or_not_there_changes_nothing() -> None:
    small = Small()
    acl = small.acls.find(TARGET, 1, INITIATOR)
    with pytest.raises(AlreadyExists, match="has a LUN 0 already"):
        small.luns.create(TARGET, 1, "disk1", 0, None)
    with pytest.raises(NotFound, match=r"no backstore 'disk7' \(did you mean 'disk"):
        small.luns.create(TARGET, 1, "disk7", 1, None)
    with pytest.raises(AlreadyExists, match="has a LUN 0 already"):
        small.show(acl, 0, 0)
    with pytest.raises(NotFound, match="no LUN 3"):
        small.show(acl, 1, 3)
    with pytest.raises(NotFound, match="has no LUN 4"):
        small.luns.hide(TARGET, 1, acl, 4)
    assert [mapped.number for mapped in acl.lun_map] == [0]


def test_lun_without_a_number_takes_the_lowest_free_one() -> None:
    small = Small()
    assert small.luns.create(TARGET, 1, "disk1", None, None).number == 1


def test_acl_of_options_that_is_changed_gets_a_map_of_its_own_under_its_sessions() -> None:
    """Such ACLs see what everybody sees, until one is shown something else."""
    small = Small()
    access = small.configuration.access(TARGET, 1)
    acl = access.add_acl("iqn.2026-11.org.example:third")
    host = small.host("iqn.2026-11.org.example:third", isid=b"third!")
    small.luns.create(TARGET, 1, "disk1", 1, None)
    assert sense_of(ask(host, unit_ready())) == REPORTED_LUNS_CHANGED
    small.luns.hide(TARGET, 1, acl, 1)
    assert sense_of(ask(host, unit_ready(lun=lun(1)))) == NO_SUCH_LUN
    assert 1 in access.lun_map
    assert host.session.nexus.lun_map is acl.lun_map is not access.lun_map
