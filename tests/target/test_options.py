"""What users write to describe a target."""

from __future__ import annotations

from pathlib import Path

import pytest

from iscsim.errors import ConfigError
from iscsim.scsi.store import FileStore, MemoryStore
from iscsim.target.options import (
    RedirectSpec,
    normalize_wwn,
    parse_boolean,
    parse_initiator,
    parse_lun,
    parse_redirect,
    parse_size,
)

HOST = "iqn.1993-08.org.debian:01:7cc8838d1c0"


@pytest.mark.parametrize(
    "text, size",
    [
        ("512", 512),
        ("64M", 64 << 20),
        ("64m", 64 << 20),
        ("1GiB", 1 << 30),
        ("2TB", 2 << 40),
        ("1E", 1 << 60),
    ],
)
def test_size_is_a_number_with_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "M", "-1M", "1.5G", "64 M", "64X", "0x10"])
def test_size_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not a size"):
        parse_size(text)


def test_boolean_without_a_value_is_true() -> None:
    assert parse_boolean("thin", "")
    assert not parse_boolean("thin", "No")
    with pytest.raises(ConfigError, match="thin='maybe': expected yes or no"):
        parse_boolean("thin", "maybe")


def test_lun_of_a_size_is_in_memory() -> None:
    spec = parse_lun("1=64M,thin,block_size=4096")
    assert (spec.number, spec.thin, spec.block_size) == (1, True, 4096)
    store = spec.store()
    assert isinstance(store, MemoryStore)
    assert (store.size, store.block_size) == (64 << 20, 4096)


def test_lun_of_a_path_is_that_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"x" * 8192)
    store = parse_lun(f"3={disk},readonly").store()
    assert isinstance(store, FileStore)
    assert bytes(store.read(0, 1)) == b"x" * 512


def test_lun_of_a_missing_file_is_made_with_a_size(tmp_path: Path) -> None:
    disk = tmp_path / "new.img"
    assert parse_lun(f"3={disk},size=1M").store().size == 1 << 20
    assert disk.stat().st_size == 1 << 20


def test_lun_of_a_missing_file_without_a_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="neither a size nor a file"):
        parse_lun("3=/nowhere/disk.img").store()


def test_lun_of_a_size_that_is_no_multiple_of_the_block_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="no multiple of 4096"):
        parse_lun("1=1000,block_size=4096").store()


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("64M", "not a LUN"),
        ("x=64M", "not a LUN"),
        ("1=", "not a LUN"),
        ("-1=64M", "not a LUN"),
        ("16384=64M", "not one of 0 to 16383"),
        ("1=64M,colour=red", "unknown option 'colour'"),
        ("1=64M,block_size=520", "expected 512 or 4096"),
        ("1=64M,thin=perhaps", "expected yes or no"),
        ("1=64M,wwn=123", "not an NAA-6 name"),
        ("1=64M,tpgs=ask", "tpgs=ask: expected none, implicit, explicit, both"),
        ("1=64M,physical_block_exponent=16", "expected 0 to 15"),
        ("1=64M,physical_block_exponent=-1", "expected 0 to 15"),
        ("1=64M,erase_time=soon", "expected seconds"),
        ("1=64M,erase_time=inf", "expected seconds"),
        ("1=64M,thin,thick", "exclude each other"),
        ("1=64M,thin=no,thick=no", "exclude each other"),
    ],
)
def test_lun_of_another_form_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_lun(text)


@pytest.mark.parametrize(
    "options, thin",
    [("", False), (",thin", True), (",thick", False), (",thick=no", True), (",thin=no,thick", False)],
)
def test_thick_is_the_opposite_of_thin(options: str, thin: bool) -> None:
    assert parse_lun(f"1=64M{options}").thin is thin


def test_what_a_unit_says_of_itself_can_be_chosen() -> None:
    spec = parse_lun("1=64M,physical_block_exponent=3,wsnz=no,erase_time=2.5")
    unit = spec.logical_unit("iqn.2026-11.test:a")
    assert (unit.physical_block_exponent, unit.write_same_non_zero, unit.erasure.duration_s) == (
        3,
        False,
        2.5,
    )
    plain = parse_lun("1=64M").logical_unit("iqn.2026-11.test:a")
    assert (plain.physical_block_exponent, plain.write_same_non_zero, plain.erasure.duration_s) == (
        0,
        True,
        0,
    )


def test_unit_without_a_serial_number_keeps_its_wwn_from_run_to_run() -> None:
    first, again, other = (
        parse_lun(text).logical_unit("iqn.2026-11.test:a") for text in ("1=1M", "1=1M", "2=1M")
    )
    assert first.wwn == again.wwn != other.wwn


@pytest.mark.parametrize("prefix", ["", "3", "naa.", "0x", "wwn-0x"])
def test_wwn_may_be_spelt_as_any_tool_does(prefix: str) -> None:
    digits = "6006016015e03a00ab2df25bb82d0ea9"
    assert normalize_wwn(prefix + digits.upper()) == digits
    assert parse_lun(f"1=1M,wwn={prefix}{digits}").wwn == digits


def test_initiator_without_credentials_needs_no_chap() -> None:
    spec = parse_initiator(HOST)
    assert (spec.name, spec.chap, spec.ambiguous) == (HOST, None, False)
    assert str(spec) == f"{HOST}, no CHAP"


def test_initiator_with_credentials_does_chap_and_hides_its_password() -> None:
    spec = parse_initiator(f"{HOST}:user:secret")
    assert (spec.name, spec.user, spec.password) == (HOST, "user", "secret")
    assert spec.chap is not None
    assert spec.chap.incoming[0].secret == b"secret"
    assert "secret" not in repr(spec) + str(spec)
    assert spec.ambiguous


def test_anybody_may_be_asked_for_chap() -> None:
    spec = parse_initiator("*:user:secret")
    assert (spec.name, spec.user, spec.ambiguous) == ("*", "user", False)
    assert parse_initiator("*").chap is None


def test_two_colons_at_the_end_say_that_there_are_no_credentials() -> None:
    name = "iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-inq"
    assert parse_initiator(f"{name}::").name == name
    assert parse_initiator(f"{name}::").chap is None


@pytest.mark.parametrize("text", ["", "host", "iqn.x:host", f"{HOST}:user:", f"{HOST}::secret"])
def test_initiator_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_initiator(text)


@pytest.mark.parametrize("text", ["host:user:never-to-be-shown", "iqn.x:user:never-to-be-shown"])
def test_what_may_be_a_password_is_not_shown(text: str) -> None:
    with pytest.raises(ConfigError, match="not an initiator") as caught:
        parse_initiator(text)
    assert "never-to-be-shown" not in str(caught.value)


@pytest.mark.parametrize(
    "option, modes",
    [("", 1), (",tpgs=none", 0), (",tpgs=implicit", 1), (",tpgs=explicit", 2), (",tpgs=both", 3)],
)
def test_lun_says_who_changes_its_access_states(option: str, modes: int) -> None:
    unit = parse_lun(f"1=64M{option}").logical_unit("iqn.2026-11.org.iscsim:disk")
    assert unit.access.modes == modes


# -- redirections ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, spec",
    [
        ("1=2", RedirectSpec("1", "2")),
        ("*=192.0.2.9,permanent", RedirectSpec("*", "192.0.2.9", permanent=True)),
        (" [::1]:3260 = disk.example.org:3261 ", RedirectSpec("[::1]:3260", "disk.example.org:3261")),
    ],
)
def test_a_redirection_is_a_portal_and_an_address(text, spec):
    assert parse_redirect(text) == spec


@pytest.mark.parametrize("text", ["", "1", "1=", "=2", "1=2,", "1=2,1", "1=2,temporary"])
def test_what_is_no_redirection_is_refused(text):
    with pytest.raises(ConfigError, match="not a redirection"):
        parse_redirect(text)
