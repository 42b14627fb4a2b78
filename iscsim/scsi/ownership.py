"""Units that one storage processor of an array owns, until another takes them over (EMC: a trespass)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsim.errors import ConfigError
from iscsim.scsi.asymmetric_access import (
    AccessState,
    AccessStatus,
    AsymmetricAccess,
    GroupAccess,
)
from iscsim.scsi.command import CommandFlag, invalid_parameter
from iscsim.scsi.profile import FailoverMode, Processors
from iscsim.scsi.unit_attention import UnitAttention
from iscsim.scsi.unit_path_report import LUNState, UnitPathReport

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.scsi.nexus import ITNexus
    from iscsim.scsi.target_ports import TargetPorts

__all__ = ["OwnedAccess"]

# MODE SELECT, trespass page, byte 2: bit 7 asks to honour reservations or not, which MODE SELECT does anyway.
_TRESPASS = 0x01
_CODE = 0x7F
# Page length: which bytes name the processor that shall own the unit; all ones are the one that is asked.
_PROCESSOR_AT = {2: slice(3, 4), 9: slice(3, 5)}


class OwnedAccess(AsymmetricAccess):
    """The access states of a unit that has an owner: its paths are active/optimized, the others passive.

    Processors count from 0 (A), and are the target port groups from 1 on. Whatever makes a group
    active/optimized moves the unit there: a trespass, SET TARGET PORT GROUPS or `set_state`. Raises
    `ConfigError` for an owner or a failover mode there is not.
    """

    __slots__ = ("default_owner", "mode", "processors")

    def __init__(
        self, unit: LogicalUnit, processors: Processors, *, owner: int = 0, failover_mode: int | None = None
    ) -> None:
        number = processors.default_mode if failover_mode is None else failover_mode
        if number not in processors.failover_modes:
            known = ", ".join(map(str, processors.failover_modes))
            raise ConfigError(f"failover mode {number}: expected one of {known}")
        if not 0 <= owner < processors.count:
            raise ConfigError(f"owner {owner}: expected 0 to {processors.count - 1}")
        self.processors = processors
        self.mode: FailoverMode = processors.failover_modes[number]
        super().__init__(unit, self.mode.modes)
        self.default_owner = owner
        if self.mode.refusal is not None:
            allowed = CommandFlag.IN_STANDBY | CommandFlag.ON_PASSIVE_PATH
            self.refusals = {**self.refusals, self.mode.passive: (allowed, self.mode.refusal)}
        for group in self._all_groups():
            state = AccessState.ACTIVE_OPTIMIZED if group == owner + 1 else self.mode.passive
            self._put((None, group), GroupAccess(state, preferred=group == owner + 1))

    def _all_groups(self) -> range:
        return range(1, self.processors.count + 1)

    @property
    def owner(self) -> int:
        """The processor that owns the unit."""
        owning = (each for each in self._all_groups() if self.state(each) is AccessState.ACTIVE_OPTIMIZED)
        return next(owning, self.default_owner + 1) - 1

    def path_report(self, nexus: ITNexus) -> UnitPathReport:
        """What VPD page C0h says of the path that ``nexus`` is."""
        processor = nexus.target_port_group - 1
        return UnitPathReport(
            lun_state=LUNState.OWNED if self.owner == processor else LUNState.BOUND,
            default_owner=self.default_owner,
            processor=processor,
            port=nexus.port_in_group,
            wwn=self._unit.wwn,
            failover_mode=self.mode.code,
            serial=self._unit.serial,
        )

    def trespass(self, processor: int, *, by: ITNexus | None = None) -> None:
        """Have ``processor`` own the unit; where access states can be asked for, 2A/06 is heard.

        Raises `ConfigError` for a processor there is not.
        """
        if not 0 <= processor < self.processors.count:
            raise ConfigError(f"processor {processor}: expected 0 to {self.processors.count - 1}")
        self._own(processor + 1, AccessStatus.EXPLICIT if by is not None else AccessStatus.IMPLICIT, by)

    def select(self, page: bytes, at: int, *, by: ITNexus) -> None:
        """What the trespass page of MODE SELECT asks for; ``at`` is where it begins in the parameter list.

        Raises 05/26/00 for another trespass code, and for a processor there is not.
        """
        self.check_page(page, at, by)
        wanted = page[_PROCESSOR_AT[page[1]]]
        own = by.target_port_group - 1
        self.trespass(own if set(wanted) == {0xFF} else int.from_bytes(wanted, "big"), by=by)

    def check_page(self, page: bytes, at: int, by: ITNexus) -> None:
        """Raises what `select` would."""
        if page[1] not in _PROCESSOR_AT or len(page) != page[1] + 2:
            raise invalid_parameter(at + 1)
        if page[2] & _CODE != _TRESPASS:
            raise invalid_parameter(at + 2)
        wanted = page[_PROCESSOR_AT[page[1]]]
        processor = by.target_port_group - 1 if set(wanted) == {0xFF} else int.from_bytes(wanted, "big")
        if not 0 <= processor < self.processors.count:
            raise invalid_parameter(at + 3)

    def set_state(self, group: int, state: AccessState, *, ports: TargetPorts | None = None) -> None:
        """See `AsymmetricAccess.set_state`; active/optimized moves the unit there."""
        self.check_change(group, state)
        if state is AccessState.ACTIVE_OPTIMIZED and group in self._all_groups():
            self._own(group, AccessStatus.IMPLICIT, None)
        else:
            super().set_state(group, state, ports=ports)

    def set_explicitly(self, states: dict[int, AccessState], *, by: ITNexus) -> None:
        """See `AsymmetricAccess.set_explicitly`; active/optimized moves the unit there."""
        taken = [group for group, state in states.items() if state is AccessState.ACTIVE_OPTIMIZED]
        super().set_explicitly({group: each for group, each in states.items() if group not in taken}, by=by)
        for group in taken[-1:]:
            self._own(group, AccessStatus.EXPLICIT, by)

    def _own(self, group: int, status: AccessStatus, by: ITNexus | None) -> None:
        """The other processors' paths are passive, but for those that an administrator took out."""
        for other in self._all_groups():
            if other != group and self.state(other) is AccessState.ACTIVE_OPTIMIZED:
                self._change(self._keys(other, None), self.mode.passive, status, by=by)
        self._change(self._keys(group, None), AccessState.ACTIVE_OPTIMIZED, status, by=by)

    def _tell(
        self,
        key: tuple[TargetPorts | None, int],
        attention: UnitAttention,
        *,
        except_for: ITNexus | None = None,
    ) -> None:
        if self.modes:  # a host that knows of no access states finds out by 02/04/03
            super()._tell(key, attention, except_for=except_for)
