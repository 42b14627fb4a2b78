"""One SCSI host of Linux: the devices behind one session, and what the kernel believes they are.

What a scan once found is kept, and never looked at again by another scan. So a LUN that the target gives
to another volume keeps its old name on the host until somebody deletes the device: `SCSIHost.differences`
tells, by asking the unit itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Literal, Self

from iscsim.errors import ISCSIError, SCSIError
from iscsim.initiator.device_flags import DeviceFlag, flags_of
from iscsim.initiator.device_names import DiskNames
from iscsim.initiator.device_state import HCTL, DeviceEvent, DeviceState, DeviceStateChanged
from iscsim.initiator.disposition import DeviceEventKind
from iscsim.initiator.error_handling import ErrorHandler, ErrorHandlingSettings, SCSITransport
from iscsim.initiator.queue_depth import DEFAULT_QUEUE_DEPTH
from iscsim.initiator.scsi_device import SCSIDevice
from iscsim.initiator.scsi_scan import (
    SCSILevel,
    UnitIdentity,
    UnitQuestions,
    ask_for_pages,
    ask_for_standard_inquiry,
    ask_report_luns,
)
from iscsim.initiator.sd_probe import DiskState, ask_for_capacity, has_blocks, revalidate_cd, revalidate_disk
from iscsim.initiator.session_state import SessionState
from iscsim.scsi.inquiry import DeviceType, Qualifier
from iscsim.scsi.lun import encode_lun, linux_lun, lun_of_linux

if TYPE_CHECKING:
    from iscsim.initiator.recovering_session import RecoveringSession

__all__ = ["LUNS_CHANGED", "SCSIHost"]

logger = logging.getLogger("iscsim.initiator")

Wildcard = Literal["-"]
LUNS_CHANGED = (
    "LUN assignments on this target have changed."
    " The Linux SCSI layer does not automatically remap LUN assignments."
)
"""What the kernel prints for the unit attention 3F/0E, and all it does about it."""
_LUN_0 = encode_lun(0)
_CHANNEL = _TARGET = 0  # open-iscsi has a host for each session, and one target in it
_LUN_MAX = 0xFFFFFFFF
_SEQUENTIAL_MAX, _SEQUENTIAL_MAX_SCSI_2 = 256, 8


class _Outcome(Enum):
    """What a probe of one LUN says of it."""

    NO_RESPONSE = auto()
    TARGET_PRESENT = auto()
    """The target answers, but nothing is connected there."""
    LUN_PRESENT = auto()


@dataclass(slots=True)
class _Attached:
    """A device and what is kept of its unit."""

    device: SCSIDevice
    unit: UnitQuestions
    identity: UnitIdentity
    disk: DiskState

    @property
    def is_disk(self) -> bool:
        standard = self.identity.standard
        return standard.qualifier == Qualifier.CONNECTED and has_blocks(standard.device_type)

    @property
    def is_cd(self) -> bool:
        standard = self.identity.standard
        return standard.qualifier == Qualifier.CONNECTED and standard.device_type == DeviceType.CD


class SCSIHost:
    """SCSI host ``number``, over one session (a `RecoveringSession`).

    ``names`` are those of the disks, shared by all hosts of a machine. With ``spin_up`` a disk that is not
    ready is started, as Linux does. ``settings`` are those of the error handling all devices share.
    ``sequential_max`` is how many LUNs are tried where REPORT LUNS is not known (``scsi_mod.max_luns``).
    """

    def __init__(
        self,
        number: int,
        transport: SCSITransport,
        *,
        names: DiskNames | None = None,
        settings: ErrorHandlingSettings | None = None,
        queue_depth: int = DEFAULT_QUEUE_DEPTH,
        spin_up: bool = True,
        sequential_max: int = 512,
    ) -> None:
        self.number, self.transport = number, transport
        self.handler = ErrorHandler(transport, settings)
        self.names = DiskNames() if names is None else names
        self.queue_depth, self.spin_up, self.sequential_max = queue_depth, spin_up, sequential_max
        self.scans_at_login = True
        """``node.session.scan``: auto or manual."""
        self._attached: dict[HCTL, _Attached] = {}
        self._level = SCSILevel.SCSI_2
        self._flags = DeviceFlag.NONE  # of the unit that was probed last
        self._scanning = asyncio.Lock()

    @classmethod
    def of(cls, number: int, session: RecoveringSession, **others: Any) -> Self:
        """The host open-iscsi makes of a session: patience, queue depth and scan are its node's settings.

        ``others`` are arguments of the constructor.
        """
        node = session.settings
        arguments: dict[str, Any] = {
            "settings": ErrorHandlingSettings.like_linux(node),
            "queue_depth": node.queue_depth,
        }
        host = cls(number, session, **(arguments | others))
        host.scans_at_login = node.scan == "auto"
        return host

    @property
    def devices(self) -> dict[HCTL, SCSIDevice]:
        """The devices there are, in the order in which they were found."""
        return {hctl: each.device for hctl, each in self._attached.items()}

    def kernel_identity(self, hctl: HCTL) -> UnitIdentity:
        """What the kernel believes of a device. Raises KeyError when there is no such device."""
        return self._attached[hctl].identity

    def __repr__(self) -> str:
        return f"SCSIHost({self.number}, {len(self._attached)} devices)"

    # -- scanning ----------------------------------------------------------------------------------

    async def scan_at_login(self) -> list[SCSIDevice]:
        """What a login brings: a scan of everything, or nothing with ``node.session.scan = manual``.

        Only the first login does: after one that recovers the session Linux does not look for LUNs.
        """
        return await self.scan() if self.scans_at_login else []

    async def scan(
        self, channel: int | Wildcard = "-", target: int | Wildcard = "-", lun: int | Wildcard = "-"
    ) -> list[SCSIDevice]:
        """``echo "- - -" > /sys/class/scsi_host/host0/scan``: the devices that were added.

        ``lun`` is the number Linux shows; without it LUN 0 is probed, and then all that REPORT LUNS names.
        A device that is there already is not asked anything. Nothing happens for another channel or target,
        or while there is no connection: as in Linux, that is no error.

        Raises:
            SessionFailed: the session ended meanwhile.
        """
        if channel not in ("-", _CHANNEL) or target not in ("-", _TARGET):
            return []
        if self.transport.state is not SessionState.LOGGED_IN:
            logger.info("scsi host%d: not scanned: the session is %s", self.number, self.transport.state)
            return []
        async with self._scanning:
            before = set(self._attached)
            await self._scan_target(lun)
            added = [each for hctl, each in self._attached.items() if hctl not in before]
            await self._attach_drivers(added)
        return [each.device for each in added]

    async def _scan_target(self, lun: int | Wildcard) -> None:
        if not self._attached:
            self._level = SCSILevel.SCSI_2  # what Linux takes a target for that it does not know
        if lun != "-":
            await self._probe(lun_of_linux(lun))
            return
        outcome = await self._probe(_LUN_0)
        if outcome is _Outcome.NO_RESPONSE:
            return
        flags = self._flags
        reported = await self._reported_luns(flags)
        if reported is None:
            await self._scan_in_order(flags)
        else:
            await self._scan_these(reported)

    async def _reported_luns(self, flags: DeviceFlag) -> list[bytes] | None:
        """None when LUNs have to be tried one by one."""
        too_old = self._level < SCSILevel.SCSI_3 and DeviceFlag.REPORTLUN2 not in flags
        if DeviceFlag.NOREPORTLUN in flags or self._level < SCSILevel.SCSI_2 or too_old:
            return None
        at_zero = self._attached.get(self._hctl(_LUN_0))
        if at_zero is not None:
            return await ask_report_luns(at_zero.unit)
        device = self._new_device(_LUN_0)
        try:
            return await ask_report_luns(UnitQuestions(device, _LUN_0, lun_in_cdb=self._lun_in_cdb))
        finally:
            device.delete()

    async def _scan_these(self, luns: Sequence[bytes]) -> None:
        for lun in luns:
            number = linux_lun(lun)
            if number > _LUN_MAX:
                logger.warning("%s: lun%d has a LUN larger than allowed by the host adapter", self, number)
            elif await self._probe(lun) is _Outcome.NO_RESPONSE:
                logger.error("%s: Unexpected response from lun %d while scanning, scan aborted", self, number)
                return

    async def _scan_in_order(self, flags: DeviceFlag) -> None:
        """LUN 1 and on until one is not there, as devices without REPORT LUNS are scanned."""
        limit = self.sequential_max
        if DeviceFlag.SPARSELUN in flags:
            limit = _SEQUENTIAL_MAX
        old = self._level < SCSILevel.SCSI_3 and DeviceFlag.LARGELUN not in flags
        for number in range(1, min(limit, _SEQUENTIAL_MAX_SCSI_2 if old else _SEQUENTIAL_MAX)):
            outcome = await self._probe(lun_of_linux(number))
            if outcome is not _Outcome.LUN_PRESENT and DeviceFlag.SPARSELUN not in flags:
                return

    # -- one LUN -----------------------------------------------------------------------------------

    def _hctl(self, lun: bytes) -> HCTL:
        return HCTL(self.number, _CHANNEL, _TARGET, linux_lun(lun))

    @property
    def _lun_in_cdb(self) -> bool:
        return SCSILevel.UNKNOWN < self._level <= SCSILevel.SCSI_2

    def _new_device(self, lun: bytes) -> SCSIDevice:
        device = SCSIDevice(
            self.transport, self._hctl(lun), lun, handler=self.handler, queue_depth=self.queue_depth
        )
        device.listeners.append(self._heard)
        return device

    def _heard(self, event: DeviceEvent | DeviceStateChanged) -> None:
        if isinstance(event, DeviceEvent) and event.kind is DeviceEventKind.REPORTED_LUNS_DATA_HAS_CHANGED:
            logger.warning("%s: %s", event.device.label, LUNS_CHANGED)

    async def _probe(self, lun: bytes) -> _Outcome:
        """Attach what is at ``lun``, unless a device is there already (``scsi_probe_and_add_lun``)."""
        known = self._attached.get(self._hctl(lun))
        if known is not None:
            self._flags = _flags_of(known.identity)
            return _Outcome.LUN_PRESENT
        device = self._new_device(lun)
        outcome = _Outcome.NO_RESPONSE
        try:
            outcome = await self._identify(device, lun)
        finally:
            if outcome is not _Outcome.LUN_PRESENT:
                device.delete()
        return outcome

    async def _identify(self, device: SCSIDevice, lun: bytes) -> _Outcome:
        unit = UnitQuestions(device, lun, lun_in_cdb=self._lun_in_cdb)
        inquiry = await ask_for_standard_inquiry(unit, has_only_36=_has_only_36)
        if inquiry is None:
            return _Outcome.NO_RESPONSE
        identity = UnitIdentity(inquiry=inquiry)
        self._level = identity.level
        unit.lun_in_cdb = self._lun_in_cdb
        self._flags = _flags_of(identity)
        if not _is_connected(identity):
            return _Outcome.TARGET_PRESENT
        attached = _Attached(device, unit, identity, DiskState())
        if _has_pages(identity):
            attached.identity = replace(identity, pages=await ask_for_pages(unit, {}))
        if attached.is_disk:
            device.name = self.names.take()
        self._attached[device.hctl] = attached
        return _Outcome.LUN_PRESENT

    # -- drivers -----------------------------------------------------------------------------------

    async def _attach_drivers(self, added: Sequence[_Attached]) -> None:
        """As Linux does, all at once; a disk is asked twice (``sd_probe``)."""
        done = await asyncio.gather(*map(self._attach_driver, added), return_exceptions=True)
        for error in done:
            if error is not None:
                raise error

    async def _attach_driver(self, attached: _Attached) -> None:
        for _ in range(2 if attached.is_disk else 1):
            await self._ask_driver(attached)

    async def _ask_driver(self, attached: _Attached) -> None:
        identity, disk = attached.identity, attached.disk
        if attached.is_disk:
            disk = await revalidate_disk(attached.unit, disk, identity.level, spin_up=self.spin_up)
        elif attached.is_cd:
            disk = replace(disk, capacity=await revalidate_cd(attached.unit), write_protected=True)
        attached.disk = disk
        attached.identity = replace(
            attached.identity,
            capacity=disk.capacity,
            write_protected=disk.write_protected,
            write_cache=disk.write_cache,
        )
        if disk.capacity is not None:
            attached.device.learn_block_size(attached.device, disk.capacity.block_size)

    # -- what is there already ---------------------------------------------------------------------

    async def rescan(self, hctl: HCTL) -> None:
        """``echo 1 > rescan``: read the vital product data and, of a disk, all the driver asks once more.

        So the capacity and the unit's names are new; vendor, product and revision stay what they were, and
        a page that cannot be read any more stays too.

        Raises:
            KeyError: there is no such device.
            SessionFailed: the session ended meanwhile.
        """
        attached = self._attached[hctl]
        if _has_pages(attached.identity):
            pages = await ask_for_pages(attached.unit, attached.identity.pages)
            attached.identity = replace(attached.identity, pages=pages)
        await self._ask_driver(attached)

    async def rescan_all(self) -> list[SCSIDevice]:
        """``iscsiadm -m session --rescan``: rescan every device, then scan; what was added."""
        for hctl in list(self._attached):
            if hctl in self._attached:
                await self.rescan(hctl)
        return await self.scan()

    async def delete(self, hctl: HCTL) -> None:
        """``echo 1 > delete``: a disk's write cache is written out, then the device is gone.

        Raises KeyError when there is no such device.
        """
        attached = self._attached[hctl]
        if attached.disk.write_cache and attached.device.state is not DeviceState.DELETED:
            try:
                await attached.device.flush(attached.device)
            except ISCSIError as error:
                logger.warning("%s: Synchronize Cache(10) failed: %s", attached.device.label, error)
        if self._attached.pop(hctl, None) is not None:
            attached.device.delete()
            if attached.device.name:
                self.names.give_back(attached.device.name)

    async def close(self) -> None:
        """Delete every device, as a logout does."""
        for hctl in list(self._attached):
            if hctl in self._attached:
                await self.delete(hctl)

    # -- what the unit itself says -----------------------------------------------------------------

    async def fabric_identity(self, hctl: HCTL) -> UnitIdentity:
        """What the unit under a device's LUN answers now; nothing of it is kept.

        Raises:
            KeyError: there is no such device.
            SCSIError: it does not answer.
            SessionFailed: the session is gone.
        """
        attached = self._attached[hctl]
        inquiry = await ask_for_standard_inquiry(attached.unit)
        if inquiry is None:
            raise SCSIError(f"{attached.device.label} does not answer INQUIRY")
        identity = UnitIdentity(inquiry=inquiry)
        if not _is_connected(identity):
            return identity
        if _has_pages(identity):
            identity = replace(identity, pages=await ask_for_pages(attached.unit, {}))
        if has_blocks(identity.standard.device_type):
            identity = replace(identity, capacity=await ask_for_capacity(attached.unit, identity.level))
        return identity

    async def differences(self, hctl: HCTL) -> list[str]:
        """A line for everything in which the kernel is wrong about a device; none when it is right.

        Raises as :meth:`fabric_identity`.
        """
        attached = self._attached[hctl]
        found = attached.identity.differences(await self.fabric_identity(hctl))
        return [f"{attached.device.label}: device differs: {line}" for line in found]


def _is_connected(identity: UnitIdentity) -> bool:
    """Whether Linux makes a device of it: not for PQ 3, nor for PQ 1 of an unknown type."""
    standard = identity.standard
    if standard.qualifier == Qualifier.NOT_CAPABLE:
        return False
    return not (standard.qualifier == Qualifier.NOT_CONNECTED and standard.device_type == DeviceType.UNKNOWN)


def _has_pages(identity: UnitIdentity) -> bool:
    if identity.level < SCSILevel.SCSI_3:
        return False
    return identity.level >= SCSILevel.SPC_2 or DeviceFlag.TRY_VPD_PAGES in _flags_of(identity)


def _has_only_36(inquiry: bytes) -> bool:
    return DeviceFlag.INQUIRY_36 in _flags_of(UnitIdentity(inquiry=inquiry))


def _flags_of(identity: UnitIdentity) -> DeviceFlag:
    standard = identity.standard
    return flags_of(standard.vendor, standard.product)
