import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi.mode import ModePage
from iscsim.scsi.mode_pages import (
    CachingPage,
    ControlExtensionPage,
    ControlPage,
    InformationalExceptionsPage,
    ProvisioningPage,
    changeable_bits,
    page_key,
    refused_field,
)


@pytest.mark.parametrize(
    "page, changed",
    [
        (ControlPage(descriptor_sense=True), "0a0a0610000000" + "00ffff0000"),
        (ControlPage(queue_error_management=3), "0a0a0216000000" + "00ffff0000"),
        (ControlPage(software_write_protect=True, task_aborted_status=True), "0a0a02100840" + "0000ffff0000"),
    ],
)
def test_control_page(page, changed):
    assert page.encode().hex() == changed
    (parsed,) = ModePage.parse_all(page.encode())
    assert ControlPage.parse(parsed) == page


@given(st.booleans(), st.booleans())
def test_caching_page_round_trip(write_cache, read_cache):
    page = CachingPage(write_cache=write_cache, read_cache=read_cache)
    assert CachingPage.parse(ModePage.parse_all(page.encode())[0]) == page


def test_parse_refuses_another_page():
    with pytest.raises(ValueError, match="mode page 0Ah/00h arrived, expected 08h"):
        CachingPage.parse(ModePage.parse_all(ControlPage().encode())[0])


@given(st.booleans(), st.booleans(), st.integers(0, 15), st.integers(0, 2**32 - 1))
def test_informational_exceptions_page_round_trip(disabled, test, method, count):
    page = InformationalExceptionsPage(
        disabled=disabled, test=test, method=method, interval_timer_100ms=count // 2, report_count=count
    )
    assert InformationalExceptionsPage.parse(ModePage.parse_all(page.encode())[0]) == page


def test_changeable_bits_are_as_long_as_the_page_and_never_its_header():
    for page in (CachingPage().encode(), ControlPage().encode(), InformationalExceptionsPage().encode()):
        assert (len(changeable_bits(page)), changeable_bits(page)[:2]) == (len(page), bytes(2))
    assert changeable_bits(b"\x01\x0a" + bytes(10)) == bytes(12)
    assert changeable_bits(ControlExtensionPage().encode()) == bytes(32)


def test_control_extension_page():
    page = ControlExtensionPage(implicit_access=True).encode()
    assert page.hex() == "4a01001c" + "01" + "00" * 27
    assert ControlExtensionPage.parse(ModePage.parse_all(page)[0]).implicit_access
    with pytest.raises(ValueError, match="expected 0Ah/01h"):
        ControlExtensionPage.parse(ModePage.parse_all(ControlPage().encode())[0])


def test_a_page_is_known_by_code_and_subpage():
    assert page_key(ControlPage().encode()) == (0x0A, 0)
    assert page_key(ControlExtensionPage().encode()) == (0x0A, 1)


@pytest.mark.parametrize(
    "page, refused",
    [
        (ControlPage(queue_error_management=0b01), None),
        (ControlPage(queue_error_management=0b10), (3, 2)),
        (ControlPage(queue_error_management=0b11), None),
        (InformationalExceptionsPage(disabled=False, test=True, method=6), None),
        (InformationalExceptionsPage(disabled=True, test=True), (2, 2)),
        (InformationalExceptionsPage(method=4), (3, 3)),
        (CachingPage(), None),
    ],
)
def test_values_that_no_bit_mask_can_refuse(page, refused):
    assert refused_field(page.encode()) == refused


def test_provisioning_page():
    page = ProvisioningPage(enabled=True, threshold_count=5)
    assert page.encode().hex() == "5c020014" + "00" * 12 + "81020000" + "00000005"
    assert ProvisioningPage.parse(ModePage.parse_all(page.encode())[0]) == page
    assert changeable_bits(page.encode()).hex() == "00" * 16 + "80000000" + "ffffffff"
