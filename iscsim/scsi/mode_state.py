"""Between a logical unit's attributes and its mode pages: what MODE SENSE reads, what MODE SELECT changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from iscsim.scsi.mode import ModePage, ModePageCode
from iscsim.scsi.mode_pages import (
    PROVISIONING_SUBPAGE,
    UNIT_ATTENTION,
    CachingPage,
    ControlExtensionPage,
    ControlPage,
    InformationalExceptionsPage,
    PageKey,
    ProvisioningPage,
    ReadWriteErrorRecoveryPage,
    page_key,
)
from iscsim.scsi.threshold import SoftThreshold
from iscsim.scsi.unit_attention import UnitAttention

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit

__all__ = ["current_pages", "use_pages"]


def current_pages(unit: LogicalUnit) -> dict[PageKey, bytes]:
    """The mode pages of ``unit`` by code and subpage, ascending, with the values of this moment."""
    pages = [
        ReadWriteErrorRecoveryPage().encode(),
        CachingPage(write_cache=unit.write_cache).encode(),
        ControlPage(
            descriptor_sense=unit.d_sense,
            software_write_protect=unit.software_write_protect,
            task_aborted_status=unit.task_aborted_status,
            queue_error_management=unit.queue_error_management,
        ).encode(),
        ControlExtensionPage(implicit_access=bool(unit.standard_inquiry.tpgs & 1)).encode(),
        unit.informational_exceptions.encode(),
    ]
    if unit.thin:
        threshold = unit.soft_threshold
        pages.append(
            ProvisioningPage(
                enabled=threshold is not None, threshold_count=threshold.count if threshold else 0
            ).encode()
        )
    return {page_key(page): page for page in pages}


def use_pages(unit: LogicalUnit, pages: Mapping[PageKey, bytes]) -> None:
    """Take over encoded mode pages, by code and subpage; other pages stay as they are."""
    for page in ModePage.parse_all(b"".join(pages.values())):
        use = _USES.get((page.code, page.subpage))
        if use is not None:
            use(unit, page)


def _use_caching(unit: LogicalUnit, page: ModePage) -> None:
    unit.write_cache = CachingPage.parse(page).write_cache


def _use_control(unit: LogicalUnit, page: ModePage) -> None:
    control = ControlPage.parse(page)
    unit.d_sense = control.descriptor_sense
    unit.software_write_protect = control.software_write_protect
    unit.task_aborted_status = control.task_aborted_status
    unit.queue_error_management = control.queue_error_management


def _use_informational_exceptions(unit: LogicalUnit, page: ModePage) -> None:
    """SPC-4: TEST makes a false prediction of failure, reported as MRIE says (6 waits for REQUEST SENSE)."""
    exceptions = unit.informational_exceptions = InformationalExceptionsPage.parse(page)
    if exceptions.test and exceptions.method == UNIT_ATTENTION:
        unit.establish(UnitAttention.FAILURE_PREDICTED_AS_A_TEST)


def _use_provisioning(unit: LogicalUnit, page: ModePage) -> None:
    wanted = ProvisioningPage.parse(page)
    if not wanted.enabled:
        unit.soft_threshold = None
    elif unit.soft_threshold is None or unit.soft_threshold.count != wanted.threshold_count:
        unit.soft_threshold = SoftThreshold(wanted.threshold_count)
        unit.soft_threshold.check(unit)


_USES: dict[PageKey, Callable[[LogicalUnit, ModePage], None]] = {
    (ModePageCode.CACHING, 0): _use_caching,
    (ModePageCode.CONTROL, 0): _use_control,
    (ModePageCode.INFORMATIONAL_EXCEPTIONS, 0): _use_informational_exceptions,
    (ModePageCode.INFORMATIONAL_EXCEPTIONS, PROVISIONING_SUBPAGE): _use_provisioning,
}
