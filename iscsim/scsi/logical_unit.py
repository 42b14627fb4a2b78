"""A logical unit: a store with an identity, a geometry and a state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from iscsim.errors import ConfigError
from iscsim.scsi.asc import ASC
from iscsim.scsi.asymmetric_access import AccessModes, AsymmetricAccess
from iscsim.scsi.capacity import Capacity
from iscsim.scsi.copy_parameters import (
    MAXIMUM_CSCD_DESCRIPTORS,
    MAXIMUM_DESCRIPTORS_LENGTH,
    MAXIMUM_SEGMENT_DESCRIPTORS,
    MAXIMUM_SEGMENT_LENGTH,
    DescriptorType,
)
from iscsim.scsi.copy_results import CopyResults
from iscsim.scsi.designator import Designator
from iscsim.scsi.erasure import Erasure
from iscsim.scsi.inquiry import DeviceType, Qualifier, StandardInquiry
from iscsim.scsi.mode_pages import InformationalExceptionsPage, PageKey
from iscsim.scsi.mode_state import current_pages, use_pages
from iscsim.scsi.nexus import ITNexus
from iscsim.scsi.opcode import Opcode, ServiceAction
from iscsim.scsi.ownership import OwnedAccess
from iscsim.scsi.power import PowerCondition
from iscsim.scsi.profile import PLAIN, DeviceProfile, UnitNames, derive_wwn, designators_of
from iscsim.scsi.registration_store import RegistrationStore
from iscsim.scsi.reservations import Reservations
from iscsim.scsi.sense import MAXIMUM_SENSE_LENGTH, CheckCondition, Sense, SenseKey
from iscsim.scsi.store import BlockStore
from iscsim.scsi.threshold import SoftThreshold, threshold_exponent
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.scsi.vpd import (
    READS_WITHOUT_ERROR,
    BlockDeviceCharacteristics,
    BlockLimits,
    ExtendedInquiry,
    LogicalBlockProvisioning,
    ThirdPartyCopy,
)

__all__ = ["LogicalUnit", "derive_wwn"]

MAXIMUM_UNMAP_BLOCKS = 1 << 20
MAXIMUM_UNMAP_DESCRIPTORS = 256
# Where standard INQUIRY data of an EMC array has the length of its model, and those of serial and model.
_MODEL_LENGTH_AT, _SERIAL_LENGTH_AT = 99 - 96, 160 - 96
_WWN = re.compile(r"6[0-9a-f]{31}\Z")
_TEXT = re.compile(r"[ -~]*\Z")


class LogicalUnit:
    """One disk. The same object may be mapped under several numbers and through several ports.

    ``wwn`` is 32 hexadecimal digits that begin with 6, or None to derive it from ``serial``. ``restricted``
    is True while some commands must be refused (no medium, a reservation, an access state, a sanitize
    operation): the one flag the quick path looks at. ``read`` is the store's own method, so that a READ costs
    one call less. ``access`` has the access states of target port groups, and ``tpgs`` says who may change
    them. ``write_same_non_zero`` is WSNZ: WRITE SAME of 0 blocks is refused. ``erase_time_s`` is for how long
    SANITIZE and FORMAT UNIT keep the unit busy. With ``long_cdbs`` it takes variable length CDBs, which SBC-3
    keeps for units with type 2 protection, and LIO gives to all. ``profile`` is the make, which has vendor,
    product, revision and access modes of a unit that was given none; of an array it takes ``owner``, a
    storage processor from 0, and ``failover_mode``. Raises `ConfigError` for texts SCSI cannot carry.
    """

    __slots__ = (
        "_tray_open",
        "access",
        "block_size",
        "blocks",
        "copy_results",
        "d_sense",
        "default_mode_pages",
        "device_type",
        "erasure",
        "informational_exceptions",
        "long_cdbs",
        "maximum_transfer_blocks",
        "nexuses",
        "physical_block_exponent",
        "power",
        "preventing",
        "product",
        "profile",
        "queue_error_management",
        "read",
        "read_errors",
        "read_only",
        "removable",
        "reservations",
        "restricted",
        "revision",
        "rotation_rate",
        "serial",
        "soft_threshold",
        "software_write_protect",
        "store",
        "task_aborted_status",
        "thin",
        "vendor",
        "write_cache",
        "write_errors",
        "write_same_non_zero",
        "wwn",
    )

    def __init__(
        self,
        store: BlockStore,
        *,
        serial: str,
        wwn: str | None = None,
        profile: DeviceProfile = PLAIN,
        vendor: str | None = None,
        product: str | None = None,
        revision: str | None = None,
        read_only: bool = False,
        removable: bool = False,
        thin: bool = False,
        physical_block_exponent: int = 0,
        rotation_rate: int = 1,
        write_cache: bool = True,
        d_sense: bool = False,
        tpgs: AccessModes | None = None,
        write_same_non_zero: bool = True,
        erase_time_s: float = 0.0,
        long_cdbs: bool = False,
        owner: int = 0,
        failover_mode: int | None = None,
    ) -> None:
        self.profile = profile
        self.serial = _text("serial", serial, 200)
        self.wwn = _checked_wwn(wwn) if wwn is not None else profile.wwn(serial)
        self.vendor = _text("vendor", profile.vendor if vendor is None else vendor, 8)
        self.product = _text("product", profile.product if product is None else product, 16)
        self.revision = _text("revision", profile.revision if revision is None else revision, 4)
        if not 0 <= physical_block_exponent <= 15:
            raise ConfigError(f"physical block exponent {physical_block_exponent}: expected 0 to 15")
        self.physical_block_exponent = physical_block_exponent
        self.device_type = DeviceType.DISK
        self.removable = removable
        self.thin = thin
        self.write_same_non_zero = write_same_non_zero
        self.long_cdbs = long_cdbs
        self.rotation_rate = rotation_rate
        self.write_cache = write_cache
        self.d_sense = d_sense
        self.software_write_protect = False
        self.task_aborted_status = False  # TAS
        self.queue_error_management = 0  # QERR
        self.soft_threshold: SoftThreshold | None = None
        self.informational_exceptions = InformationalExceptionsPage()
        self.read_only = read_only
        self.restricted = False
        self._tray_open = False
        self.power = PowerCondition.ACTIVE
        self.preventing: dict[ITNexus, None] = {}  # who keeps the medium from leaving
        self.nexuses: dict[ITNexus, None] = {}  # a set that keeps its order
        self.access = self._make_access(tpgs, owner, failover_mode)
        self.reservations = Reservations(self)
        self.copy_results = CopyResults()
        self.read_errors = self.write_errors = 0
        self.erasure = Erasure(self, erase_time_s)
        self.use_store(store)
        self.default_mode_pages = self.mode_pages()
        self.update_restricted()

    def _make_access(
        self, tpgs: AccessModes | None, owner: int, failover_mode: int | None
    ) -> AsymmetricAccess:
        """``tpgs`` of a unit that processors own comes with the failover mode."""
        if self.profile.processors is not None:
            return OwnedAccess(self, self.profile.processors, owner=owner, failover_mode=failover_mode)
        return AsymmetricAccess(self, self.profile.access_modes if tpgs is None else tpgs)

    def use_store(self, store: BlockStore) -> None:
        """Serve the blocks of ``store`` from now on; faults wrap the store there is and hand it back."""
        self.store = store
        self.read = store.read
        self.read_only = self.read_only or store.read_only
        self.block_size = store.block_size
        self.blocks = store.blocks
        self.maximum_transfer_blocks = self.profile.maximum_transfer_length // store.block_size

    def keep_registrations(self, store: RegistrationStore) -> None:
        """Let registrations and the persistent reservation survive in ``store``, as APTPL asks for.

        What it has is in force from now on. Raises `ConfigError` when that is damaged.
        """
        self.reservations.use_store(store)

    # What the unit says about itself.

    @property
    def capacity(self) -> Capacity:
        """For READ CAPACITY."""
        return Capacity(
            blocks=self.blocks,
            block_size=self.block_size,
            physical_block_exponent=self.physical_block_exponent,
            provisioning_managed=self.thin,
            reads_zeros=self.thin,
        )

    @property
    def standard_inquiry(self) -> StandardInquiry:
        """For INQUIRY."""
        return StandardInquiry(
            vendor=self.vendor,
            product=self.product,
            revision=self.revision,
            device_type=self.device_type,
            removable=self.removable,
            tpgs=self.access.modes,
            third_party_copy=True,
            version=self.profile.version,
            version_descriptors=self.profile.version_descriptors,
            vendor_specific=self._model(),
        )

    def _model(self) -> bytes:
        """Of an array: its serial number and its model, each behind its length."""
        model = self.profile.model.encode("ascii")
        if not model:
            return b""
        serial = self.serial.encode("ascii")[:16]
        lengths = bytearray(_SERIAL_LENGTH_AT + 1)
        lengths[_MODEL_LENGTH_AT], lengths[_SERIAL_LENGTH_AT] = len(model), len(serial)
        return bytes(lengths) + serial + model

    def inquiry_through(self, nexus: ITNexus) -> StandardInquiry:
        """Standard INQUIRY data with what depends on the port it is asked through."""
        return replace(
            self.standard_inquiry,
            qualifier=Qualifier.NOT_CONNECTED if self.access.hides(nexus) else Qualifier.CONNECTED,
            multiple_ports=nexus.target_ports.count > 1,
        )

    @property
    def extended_inquiry(self) -> ExtendedInquiry:
        """For VPD page 86h."""
        return ExtendedInquiry(
            ordered_tasks=True,
            head_of_queue_tasks=True,
            volatile_cache=True,  # Caching page: WCE, and SYNCHRONIZE CACHE has something to do
            clears_on_report_luns=True,
            extended_self_test_minutes=1,
            maximum_sense_length=MAXIMUM_SENSE_LENGTH,
        )

    @property
    def block_limits(self) -> BlockLimits:
        """For VPD page B0h."""
        return BlockLimits(
            maximum_transfer_blocks=self.maximum_transfer_blocks,
            optimal_transfer_blocks=self.profile.optimal_transfer_length // self.block_size,
            optimal_transfer_granularity_blocks=1 << self.physical_block_exponent,
            maximum_unmap_blocks=MAXIMUM_UNMAP_BLOCKS if self.thin else 0,
            maximum_unmap_descriptors=MAXIMUM_UNMAP_DESCRIPTORS if self.thin else 0,
            optimal_unmap_granularity_blocks=max(4096 // self.block_size, 1) if self.thin else 0,
            unmap_granularity_alignment=0 if self.thin else None,
            maximum_compare_and_write_blocks=self.profile.maximum_compare_and_write_blocks,
            maximum_write_same_blocks=self.maximum_transfer_blocks,
            write_same_non_zero=self.write_same_non_zero,
            maximum_atomic_blocks=self.maximum_atomic_blocks,
            atomic_alignment_blocks=self.atomic_granularity_blocks,
            atomic_granularity_blocks=self.atomic_granularity_blocks,
            maximum_atomic_with_boundary_blocks=self.maximum_atomic_blocks,
            maximum_atomic_boundary_blocks=self.maximum_atomic_blocks,
        )

    @property
    def atomic_granularity_blocks(self) -> int:
        """What address and length of an atomic write must be multiples of: physical blocks, if they are
        larger than logical ones, as far as an atomic write can be that long; 0 for anything.
        """
        granularity = min(1 << self.physical_block_exponent, self.maximum_transfer_blocks)
        return granularity if granularity > 1 else 0

    @property
    def maximum_atomic_blocks(self) -> int:
        """As much as one command writes; a multiple of the granularity, both being powers of 2."""
        return self.maximum_transfer_blocks

    @property
    def characteristics(self) -> BlockDeviceCharacteristics:
        """For VPD page B1h."""
        reads = READS_WITHOUT_ERROR if self.thin else 0
        return BlockDeviceCharacteristics(
            rotation_rate=self.rotation_rate,
            reads_after_block_erase=reads,
            reads_after_cryptographic_erase=reads,
        )

    @property
    def provisioning(self) -> LogicalBlockProvisioning:
        """For VPD page B2h."""
        return LogicalBlockProvisioning(
            unmap=self.thin,
            write_same_16=self.thin,
            write_same_10=self.thin,
            reads_zeros=self.thin,
            provisioning_type=2 if self.thin else 0,
            threshold_exponent=threshold_exponent(self),
        )

    @property
    def third_party_copy(self) -> ThirdPartyCopy:
        """For VPD page 8Fh."""
        return ThirdPartyCopy(
            commands={
                Opcode.EXTENDED_COPY: (ServiceAction.EXTENDED_COPY_LID1 & 0x1F,),
                Opcode.RECEIVE_COPY_RESULTS: (
                    ServiceAction.RECEIVE_COPY_STATUS_LID1 & 0x1F,
                    ServiceAction.RECEIVE_COPY_OPERATING_PARAMETERS & 0x1F,
                    ServiceAction.RECEIVE_COPY_FAILURE_DETAILS_LID1 & 0x1F,
                ),
            },
            descriptor_types=tuple(sorted(DescriptorType)),
            maximum_cscd_descriptors=MAXIMUM_CSCD_DESCRIPTORS,
            maximum_segment_descriptors=MAXIMUM_SEGMENT_DESCRIPTORS,
            maximum_descriptors_length=MAXIMUM_DESCRIPTORS_LENGTH,
            maximum_segment_length=MAXIMUM_SEGMENT_LENGTH,
        )

    def designators(self, nexus: ITNexus) -> list[Designator]:
        """For VPD page 83h: the same names of the unit through every port, then the port's own.

        Byte 6 of the page must be 0, or ``scsi_id`` takes the page for one from before SPC-3.
        """
        names = UnitNames(
            profile=self.profile,
            wwn=self.wwn,
            vendor=self.vendor,
            product=self.product,
            serial=self.serial,
            relative_target_port=nexus.relative_target_port,
            target_port_group=nexus.target_port_group,
            target_port=nexus.target_port,
            target_name=nexus.target_name,
        )
        return designators_of(names)

    def mode_pages(self) -> dict[PageKey, bytes]:
        """The mode pages by code and subpage, ascending, with the values of this moment."""
        return current_pages(self)

    def use_mode_pages(self, pages: Mapping[PageKey, bytes]) -> None:
        """Take over encoded mode pages, by code and subpage, as `mode_pages` gives them; other pages stay as
        they are.
        """
        use_pages(self, pages)

    # What happens to it.

    def establish(self, attention: UnitAttention, *, except_for: ITNexus | None = None) -> None:
        """Tell every nexus that sees the unit, save one."""
        for nexus in self.nexuses:
            if nexus is not except_for:
                nexus.establish(self, attention)

    def forget(self, nexus: ITNexus) -> None:
        """``nexus`` does not see the unit any more."""
        self.nexuses.pop(nexus, None)
        self.preventing.pop(nexus, None)
        self.reservations.forget(nexus)
        self.copy_results.forget(nexus)
        nexus.unit_attentions.pop(self, None)

    def resize(self, blocks: int) -> None:
        """Change the capacity; every nexus hears 2A/09. Raises `ConfigError` when the store cannot."""
        self.store.resize(blocks)
        self.blocks = self.store.blocks
        self.establish(UnitAttention.CAPACITY_CHANGED)

    def reset(self, attention: UnitAttention) -> None:
        """A logical unit reset (SAM-5): every nexus hears ``attention``, the one that asked among them.

        A RESERVE ends, and mode parameters, error counters and copies' results are what they were at first
        (SPC-4): none are saved. A unit that was stopped is active.
        """
        self.preventing.clear()
        self.reservations.reset()
        self.copy_results.clear()
        self.read_errors = self.write_errors = 0
        self.use_power(PowerCondition.ACTIVE)
        self.use_mode_pages(self.default_mode_pages)
        self.establish(attention)

    def count_failure(self, sense: Sense) -> None:
        """The store failed so; for the error counters of LOG SENSE."""
        self.read_errors += sense.code == ASC.UNRECOVERED_READ_ERROR
        self.write_errors += sense.code == ASC.WRITE_ERROR

    def update_restricted(self) -> None:
        """Look again whether some commands must be refused."""
        self.restricted = (
            self._tray_open
            or self.reservations.in_force
            or self.access.restricts
            or self.power is not PowerCondition.ACTIVE
            or self.erasure.in_force
        )

    @property
    def medium_present(self) -> bool:
        """False after `eject`."""
        return not self._tray_open

    def eject(self) -> None:
        """Open the tray: commands that need the medium end with 02/3A/02 until `load`."""
        self._tray_open = True
        self.update_restricted()

    def load(self, *, by: ITNexus | None = None) -> None:
        """Close the tray; every nexus but the one that did it hears that the medium may have changed."""
        if self._tray_open:
            self._tray_open = False
            self.update_restricted()
            self.establish(UnitAttention.MEDIUM_MAY_HAVE_CHANGED, except_for=by)

    def check_medium(self) -> None:
        """Raises `CheckCondition` NOT READY when a command needs what is not there, or stands still."""
        if self._tray_open:
            raise CheckCondition(SenseKey.NOT_READY, ASC.MEDIUM_NOT_PRESENT_TRAY_OPEN)
        self.power.check()

    def use_power(self, condition: PowerCondition) -> None:
        """What START STOP UNIT asks for."""
        self.power = condition
        self.update_restricted()

    def wake(self) -> None:
        """A command wants the medium: a unit that saves power is active again."""
        if self.power.saves:
            self.use_power(PowerCondition.ACTIVE)

    def __repr__(self) -> str:
        return f"LogicalUnit({self.wwn}, {self.blocks} x {self.block_size})"


def _checked_wwn(wwn: str) -> str:
    name = wwn.lower()
    if not _WWN.match(name):
        raise ConfigError(f"WWN {wwn!r}: expected 32 hexadecimal digits that begin with 6")
    return name


def _text(what: str, text: str, limit: int) -> str:
    if len(text) > limit or not _TEXT.match(text):
        raise ConfigError(f"{what} {text!r}: expected at most {limit} printable ASCII characters")
    return text
