import pytest

from iscsim.scsi.mode_pages import CachingPage, ControlPage, InformationalExceptionsPage, page_key
from iscsim.scsi.mode_state import current_pages, use_pages
from iscsim.scsi.unit_attention import UnitAttention


@pytest.mark.parametrize("thin", [False, True])
def test_pages_ascend_and_thin_units_have_one_more(make_rig, thin):
    pages = list(current_pages(make_rig(thin=thin).unit))
    assert pages == [(1, 0), (8, 0), (0x0A, 0), (0x0A, 1), (0x1C, 0)] + ([(0x1C, 2)] if thin else [])


def test_current_pages_can_be_taken_over_again_and_change_nothing(make_rig):
    rig = make_rig(thin=True, d_sense=True, write_cache=False)
    before = current_pages(rig.unit)
    use_pages(rig.unit, before)
    assert current_pages(rig.unit) == before
    assert not rig.nexus.unit_attentions


def test_only_what_is_given_changes(rig):
    page = ControlPage(software_write_protect=True).encode()
    use_pages(rig.unit, {page_key(page): page})
    changed = {key for key, now in current_pages(rig.unit).items() if now != rig.unit.default_mode_pages[key]}
    assert changed == {(0x0A, 0)}
    page = CachingPage(write_cache=False).encode()
    use_pages(rig.unit, {page_key(page): page})
    assert (rig.unit.write_cache, rig.unit.software_write_protect) == (False, True)


@pytest.mark.parametrize(
    "method, heard", [(0, None), (2, UnitAttention.FAILURE_PREDICTED_AS_A_TEST), (6, None)]
)
def test_a_test_exception_is_a_unit_attention_where_its_method_says_so(rig, method, heard):
    page = InformationalExceptionsPage(disabled=False, test=True, method=method).encode()
    use_pages(rig.unit, {page_key(page): page})
    assert rig.nexus.take(rig.unit) is heard
