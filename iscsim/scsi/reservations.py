"""Who has reserved a logical unit: SPC-2's RESERVE, and the persistent reservations of SPC-4.

A RESERVE belongs to a nexus and ends with it or with a reset. Registrations and the persistent reservation
belong to pairs of an initiator port and a target port: they outlive sessions and resets, not the program.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING

from iscsim.errors import SCSIError
from iscsim.scsi.asc import ASC
from iscsim.scsi.sense import CheckCondition, SenseKey
from iscsim.scsi.unit_attention import UnitAttention

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.scsi.nexus import ITNexus

__all__ = [
    "MAXIMUM_REGISTRATIONS",
    "PersistentReservation",
    "Registration",
    "ReservationConflict",
    "ReservationRule",
    "ReservationType",
    "Reservations",
]

MAXIMUM_REGISTRATIONS = 1024  # a peer must not make the target keep more


class ReservationConflict(SCSIError):
    """A command ends with RESERVATION CONFLICT, which carries no sense data."""


class ReservationRule(IntFlag):
    """What a command may run under although another nexus holds it (SPC-4 and SBC-3, the tables of commands
    allowed in the presence of reservations). A nexus that a reservation favours may do everything.
    """

    CONFLICT = 0
    UNDER_WRITE_EXCLUSIVE = 1
    UNDER_EXCLUSIVE_ACCESS = 2
    UNDER_RESERVE = 4
    UNDER_PERSISTENT = UNDER_WRITE_EXCLUSIVE | UNDER_EXCLUSIVE_ACCESS
    ALWAYS = UNDER_PERSISTENT | UNDER_RESERVE


class ReservationType(IntEnum):
    """TYPE of a persistent reservation; the scope is always the logical unit."""

    WRITE_EXCLUSIVE = 1
    EXCLUSIVE_ACCESS = 3
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 6
    WRITE_EXCLUSIVE_ALL_REGISTRANTS = 7
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 8

    @property
    def favours_registrants(self) -> bool:
        """Every registered nexus may do everything."""
        return self >= ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY

    @property
    def held_by_all(self) -> bool:
        """Every registered nexus holds it."""
        return self >= ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS

    @property
    def rule(self) -> ReservationRule:
        """What a command of somebody else must be allowed under."""
        return _RULES[self]


_WRITE_EXCLUSIVE = (
    ReservationType.WRITE_EXCLUSIVE,
    ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
    ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS,
)
_RULES = {kind: ReservationRule.UNDER_EXCLUSIVE_ACCESS for kind in ReservationType} | dict.fromkeys(
    _WRITE_EXCLUSIVE, ReservationRule.UNDER_WRITE_EXCLUSIVE
)


@dataclass(slots=True, eq=False)
class Registration:
    """One I_T nexus, connected or not, and its reservation key."""

    initiator_port: str
    target_port: str
    relative_target_port: int
    key: int

    @property
    def identity(self) -> tuple[str, str]:
        """Initiator port and target port."""
        return self.initiator_port, self.target_port


@dataclass(frozen=True, slots=True)
class PersistentReservation:
    """What is reserved; ``holder`` is None when all registrants hold it."""

    type: ReservationType
    holder: Registration | None


def _identity(nexus: ITNexus) -> tuple[str, str]:
    return nexus.initiator_port, nexus.target_port


class Reservations:
    """All reservations of one logical unit; tells the unit when some commands must be refused.

    ``reserved_by`` is the nexus that said RESERVE, ``registrations`` come in the order they were made,
    ``generation`` is PRGENERATION.
    """

    __slots__ = ("_registrations", "_unit", "generation", "reservation", "reserved_by")

    def __init__(self, unit: LogicalUnit) -> None:
        self._unit = unit
        self._registrations: dict[tuple[str, str], Registration] = {}
        self.generation = 0
        self.reservation: PersistentReservation | None = None
        self.reserved_by: ITNexus | None = None

    @property
    def in_force(self) -> bool:
        """Somebody has reserved the unit, in either way."""
        return self.reserved_by is not None or self.reservation is not None

    def check(self, nexus: ITNexus, rule: ReservationRule) -> None:
        """Raises `ReservationConflict` when ``nexus`` may not run a command with this rule now."""
        if self.reserved_by not in (None, nexus) and not rule & ReservationRule.UNDER_RESERVE:
            raise ReservationConflict(f"{self._unit} is reserved by {self.reserved_by}")
        held = self.reservation
        if held is None or rule & held.type.rule:
            return
        registration = self.find(nexus)
        if registration is None or not (held.type.favours_registrants or held.holder is registration):
            raise ReservationConflict(f"{self._unit} is reserved: {held.type.name}")

    # RESERVE and RELEASE (SPC-2).

    def reserve(self, nexus: ITNexus) -> None:
        """Raises `ReservationConflict` when another nexus was first, or anybody is registered."""
        self.check_unregistered()
        if self.reserved_by not in (None, nexus):
            raise ReservationConflict(f"{self._unit} is reserved by {self.reserved_by}")
        self._set_reserved_by(nexus)

    def release(self, nexus: ITNexus) -> None:
        """End a RESERVE of ``nexus``; one of somebody else stays. Raises as `reserve`."""
        self.check_unregistered()
        self.forget(nexus)

    def forget(self, nexus: ITNexus) -> None:
        """The nexus is gone, and its RESERVE with it; what is persistent stays."""
        if self.reserved_by is nexus:
            self._set_reserved_by(None)

    def reset(self) -> None:
        """A reset ends a RESERVE; what is persistent stays."""
        self._set_reserved_by(None)

    def _set_reserved_by(self, nexus: ITNexus | None) -> None:
        self.reserved_by = nexus
        self._unit.update_restricted()

    def check_unregistered(self) -> None:
        """SPC-2: RESERVE and RELEASE conflict with any registration, whoever asks."""
        if self._registrations:
            raise ReservationConflict(f"{self._unit} has registrations")

    def check_unreserved(self) -> None:
        """SPC-2: PERSISTENT RESERVE IN and OUT conflict with any RESERVE, whoever asks."""
        if self.reserved_by is not None:
            raise ReservationConflict(f"{self._unit} is reserved by {self.reserved_by}")

    # Registrations.

    @property
    def registrations(self) -> list[Registration]:
        """All of them."""
        return list(self._registrations.values())

    def find(self, nexus: ITNexus) -> Registration | None:
        """The registration of this nexus, which may be older than its session."""
        return self._registrations.get(_identity(nexus))

    def holds(self, registration: Registration) -> bool:
        """Whether this registrant is a reservation holder."""
        held = self.reservation
        return held is not None and (held.type.held_by_all or held.holder is registration)

    def target_port(self, nexus: ITNexus, relative_target_port: int) -> str | None:
        """The port of the nexus' own target with this number, as far as it is known: somebody must use it."""
        for other in (nexus, *self._unit.nexuses):
            if (other.target_name, other.relative_target_port) == (nexus.target_name, relative_target_port):
                return other.target_port
        return None

    def register(self, wanted: Iterable[Registration]) -> None:
        """Add registrations; one that is there already gets the new key.

        Raises `CheckCondition` 05/55/04, and adds none, when they would be too many.
        """
        found = {registration.identity: registration for registration in wanted}
        if len(self._registrations.keys() | found.keys()) > MAXIMUM_REGISTRATIONS:
            raise CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INSUFFICIENT_REGISTRATION_RESOURCES)
        for identity, registration in found.items():
            self._registrations.setdefault(identity, registration).key = registration.key

    def unregister(self, registration: Registration, *, by: ITNexus) -> None:
        """Remove a registration, and the reservation if its last holder went with it."""
        held = self.reservation
        was_holder = self.holds(registration)
        del self._registrations[registration.identity]
        if held is not None and was_holder and not (held.type.held_by_all and self._registrations):
            self.release_persistent(by=by)

    # The persistent reservation.

    def _set_reservation(self, reservation: PersistentReservation | None) -> None:
        self.reservation = reservation
        self._unit.update_restricted()

    def reserve_persistent(self, registration: Registration, kind: ReservationType) -> None:
        """Raises `ReservationConflict` unless the unit is free, or this registrant holds the same already."""
        held = self.reservation
        if held is None:
            self._set_reservation(_reservation(registration, kind))
        elif not self.holds(registration) or held.type != kind:
            raise ReservationConflict(f"{self._unit} is reserved: {held.type.name}")

    def release_persistent(self, *, by: ITNexus) -> None:
        """End the reservation. Registrants who lose their favour hear 2A/04, ``by`` itself never does."""
        held = self.reservation
        self._set_reservation(None)
        if held is not None and held.type.favours_registrants:
            self._tell(self.registrations, UnitAttention.RESERVATIONS_RELEASED, except_for=by)

    def clear(self, *, by: ITNexus) -> None:
        """End the reservation and all registrations: the other registrants hear 2A/03."""
        self._tell(self.registrations, UnitAttention.RESERVATIONS_PREEMPTED, except_for=by)
        self._registrations.clear()
        self._set_reservation(None)

    def is_preempted_by(self, key: int) -> bool:
        """Whether PREEMPT of ``key`` takes the reservation; 0 is the key of all registrants together."""
        held = self.reservation
        if held is None:
            return False
        return key == (0 if held.holder is None else held.holder.key)

    def preempt_reservation(
        self, preempting: Registration, key: int, kind: ReservationType, *, by: ITNexus
    ) -> None:
        """The reservation becomes ``preempting``'s, the registrations under ``key`` go, its own excepted.

        Those hear 2A/05; the ones that stay hear 2A/04 when the type is another now.
        """
        held = self.reservation
        self._remove(
            [one for one in self.registrations if one is not preempting and key in (0, one.key)], by=by
        )
        self._set_reservation(_reservation(preempting, kind))
        if held is not None and held.type != kind:
            self._tell(self.registrations, UnitAttention.RESERVATIONS_RELEASED, except_for=by)

    def preempt_registrations(self, key: int, *, by: ITNexus) -> None:
        """The registrations under ``key`` go, and hear 2A/05. Raises `ReservationConflict` for none."""
        found = [registration for registration in self.registrations if registration.key == key]
        if not found:
            raise ReservationConflict(f"{self._unit} has no registration with key {key:#x}")
        self._remove(found, by=by)
        if not self._registrations:
            self._set_reservation(None)

    def _remove(self, gone: list[Registration], *, by: ITNexus) -> None:
        self._tell(gone, UnitAttention.REGISTRATIONS_PREEMPTED, except_for=by)
        for registration in gone:
            del self._registrations[registration.identity]

    def move(self, receiving: Registration) -> None:
        """Register ``receiving``, or give it its new key, and make it the holder."""
        self.register([receiving])
        held = self.reservation
        if held is not None:
            holder = self._registrations[receiving.identity]
            self._set_reservation(PersistentReservation(held.type, holder))

    def _tell(self, whom: list[Registration], attention: UnitAttention, *, except_for: ITNexus) -> None:
        """Who is not connected now hears nothing: a unit attention does not outlive its nexus."""
        identities = {registration.identity for registration in whom}
        for nexus in self._unit.nexuses:
            if nexus is not except_for and _identity(nexus) in identities:
                nexus.establish(self._unit, attention)


def _reservation(registration: Registration, kind: ReservationType) -> PersistentReservation:
    return PersistentReservation(kind, None if kind.held_by_all else registration)
