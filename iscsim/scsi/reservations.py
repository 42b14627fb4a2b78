"""Who has reserved a logical unit: SPC-2's RESERVE, and the persistent reservations of SPC-4.

A RESERVE belongs to a nexus and ends with it or with a reset. Registrations and the persistent reservation
belong to pairs of an initiator port and a target port: they outlive sessions and resets, and with APTPL and a
`RegistrationStore` a loss of power, too.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from iscsim.errors import ConfigError, SCSIError
from iscsim.scsi.asc import ASC
from iscsim.scsi.registration import (
    Identity,
    PersistentReservation,
    Registration,
    ReservationRule,
    ReservationType,
)
from iscsim.scsi.registration_store import Kept, RegistrationStore, decode, encode
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


def _identity(nexus: ITNexus) -> Identity:
    return nexus.initiator_port, nexus.target_port


class Reservations:
    """All reservations of one logical unit; tells the unit when some commands must be refused.

    ``reserved_by`` is the nexus that said RESERVE, ``registrations`` come in the order they were made,
    ``generation`` is PRGENERATION, ``activated`` the last APTPL: whether a loss of power is survived.
    """

    __slots__ = (
        "_kept",
        "_registrations",
        "_store",
        "_unit",
        "_untold",
        "activated",
        "generation",
        "reservation",
        "reserved_by",
    )

    def __init__(self, unit: LogicalUnit) -> None:
        self._unit = unit
        self._store: RegistrationStore | None = None
        self._kept: Kept | None = Kept()  # None: unknown, as saving it has failed
        self._registrations: dict[Identity, Registration] = {}
        self._untold: list[tuple[ITNexus, UnitAttention]] = []
        self.generation = 0
        self.activated = False
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
        if not self._is_favoured(nexus):
            raise ReservationConflict(f"{self._unit} is reserved: {held.type.name}")

    def _is_favoured(self, nexus: ITNexus) -> bool:
        """Whether ``nexus`` holds the reservation, or is registered and that is enough."""
        registration, held = self.find(nexus), self.reservation
        if registration is None or held is None:
            return False
        return held.type.favours_registrants or held.holder == registration.identity

    # RESERVE and RELEASE (SPC-2, with the exceptions of SPC-4: compatible reservation handling).

    def reserve(self, nexus: ITNexus) -> None:
        """Nothing for whom the persistent reservation favours.

        Raises `ReservationConflict` when another nexus was first, or anybody else is registered.
        """
        if self._is_favoured(nexus):
            return
        self._check_unregistered()
        if self.reserved_by not in (None, nexus):
            raise ReservationConflict(f"{self._unit} is reserved by {self.reserved_by}")
        self._set_reserved_by(nexus)

    def release(self, nexus: ITNexus) -> None:
        """End a RESERVE of ``nexus``; one of somebody else stays, and so does what is persistent.

        Raises `ReservationConflict` when there are registrations and none favours ``nexus``.
        """
        if not self._is_favoured(nexus):
            self._check_unregistered()
            self.forget(nexus)

    def forget(self, nexus: ITNexus) -> None:
        """The nexus is gone, and its RESERVE with it; what is persistent stays."""
        if self.reserved_by is nexus:
            self._set_reserved_by(None)

    def reset(self) -> None:
        """A reset ends a RESERVE; what is persistent stays."""
        self._set_reserved_by(None)

    def lose(self) -> None:
        """Registrations and reservations are gone and nobody is told: a fault, not something SPC-4 allows."""
        self._registrations.clear()
        self._set_reservation(None)
        self._set_reserved_by(None)

    def lose_power(self) -> None:
        """SPC-4, APTPL: what is not kept elsewhere is gone, and PRGENERATION is zero again."""
        if not (self.activated and self.can_survive_power_loss):
            self.lose()
        self.generation = 0
        self._set_reserved_by(None)

    def _set_reserved_by(self, nexus: ITNexus | None) -> None:
        self.reserved_by = nexus
        self._unit.update_restricted()

    def _check_unregistered(self) -> None:
        """SPC-2: RESERVE and RELEASE conflict with any registration, whoever asks."""
        if self._registrations:
            raise ReservationConflict(f"{self._unit} has registrations")

    def check_unreserved(self) -> None:
        """SPC-2: PERSISTENT RESERVE IN and OUT conflict with any RESERVE, whoever asks."""
        if self.reserved_by is not None:
            raise ReservationConflict(f"{self._unit} is reserved by {self.reserved_by}")

    # What is kept through a loss of power.

    @property
    def can_survive_power_loss(self) -> bool:
        """PTPL_C: there is a place to keep registrations in."""
        return self._store is not None

    def use_store(self, store: RegistrationStore) -> None:
        """Keep what APTPL asks for in ``store`` from now on, and begin with what it has.

        Raises `ConfigError` when that is damaged.
        """
        state = store.load()
        try:
            kept = decode(state, maximum=MAXIMUM_REGISTRATIONS) if state is not None else Kept()
        except ValueError as error:
            raise ConfigError(f"{store}: not the registrations of a logical unit: {error}") from None
        self._store, self._kept = store, kept
        self._registrations = {each.identity: each for each in kept.registrations}
        self.activated = kept.activated
        self._set_reservation(kept.reservation)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done inside happens as a whole, or not at all when it raises or cannot be kept.

        Unit attentions are established only when it has happened. Raises `CheckCondition` 05/55/04 when the
        store is full, 04/44/00 when it fails in another way.
        """
        before = dict(self._registrations), self.reservation, self.activated
        self._untold = []
        try:
            yield
            self._keep()
        except BaseException:
            self._registrations, reservation, self.activated = before
            self._set_reservation(reservation)
            raise
        for nexus, attention in self._untold:
            nexus.establish(self._unit, attention)

    def _keep(self) -> None:
        kept = Kept(True, tuple(self.registrations), self.reservation) if self.activated else Kept()
        if self._store is None or kept == self._kept:
            return
        self._kept = None
        try:
            self._store.save(encode(kept))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _no_room() from error
            raise CheckCondition(SenseKey.HARDWARE_ERROR, ASC.INTERNAL_TARGET_FAILURE) from error
        self._kept = kept

    # Registrations.

    @property
    def registrations(self) -> list[Registration]:
        """All of them."""
        return list(self._registrations.values())

    def find(self, nexus: ITNexus) -> Registration | None:
        """The registration of this nexus, which may be older than its session."""
        return self._registrations.get(_identity(nexus))

    def get(self, identity: Identity) -> Registration | None:
        """The registration of an initiator port at a target port."""
        return self._registrations.get(identity)

    def holds(self, registration: Registration) -> bool:
        """Whether this registrant is a reservation holder."""
        held = self.reservation
        return held is not None and (held.type.held_by_all or held.holder == registration.identity)

    def holder_key(self) -> int:
        """The holder's key; 0 when there is none, and when all registrants hold the reservation."""
        held = self.reservation
        return self._registrations[held.holder].key if held and held.holder else 0

    def nexuses_of(self, registrations: Iterable[Registration]) -> list[ITNexus]:
        """Those of the registered nexuses that are connected now."""
        identities = {registration.identity for registration in registrations}
        return [nexus for nexus in self._unit.nexuses if _identity(nexus) in identities]

    def initiator_ports(self, initiator_name: str) -> list[str]:
        """The ports of an initiator that the unit knows: connected or registered ones."""
        known = [
            nexus.initiator_port for nexus in self._unit.nexuses if nexus.initiator_name == initiator_name
        ]
        known += [port for port, _ in self._registrations if port.startswith(f"{initiator_name},")]
        return list(dict.fromkeys(known))

    def register(self, wanted: Iterable[Registration]) -> None:
        """Add registrations; one that is there already gets the new key.

        Raises `CheckCondition` 05/55/04, and adds none, when they would be too many.
        """
        found = {registration.identity: registration for registration in wanted}
        if len(self._registrations.keys() | found.keys()) > MAXIMUM_REGISTRATIONS:
            raise _no_room()
        self._registrations.update(found)

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
        return self.reservation is not None and key == self.holder_key()

    def preempt_reservation(
        self, preempting: Registration, key: int, kind: ReservationType, *, by: ITNexus
    ) -> list[Registration]:
        """The reservation becomes ``preempting``'s, the registrations under ``key`` go, its own excepted.

        Those hear 2A/05 and are returned; the ones that stay hear 2A/04 when the type is another now.
        """
        held = self.reservation
        gone = [one for one in self.registrations if one != preempting and key in (0, one.key)]
        self._remove(gone, by=by)
        self._set_reservation(_reservation(preempting, kind))
        if held is not None and held.type != kind:
            self._tell(self.registrations, UnitAttention.RESERVATIONS_RELEASED, except_for=by)
        return gone

    def preempt_registrations(self, key: int, *, by: ITNexus) -> list[Registration]:
        """The registrations under ``key`` go, hear 2A/05 and are returned.

        Raises `ReservationConflict` for none.
        """
        gone = [registration for registration in self.registrations if registration.key == key]
        if not gone:
            raise ReservationConflict(f"{self._unit} has no registration with key {key:#x}")
        self._remove(gone, by=by)
        if not self._registrations:
            self._set_reservation(None)
        return gone

    def _remove(self, gone: list[Registration], *, by: ITNexus) -> None:
        self._tell(gone, UnitAttention.REGISTRATIONS_PREEMPTED, except_for=by)
        for registration in gone:
            del self._registrations[registration.identity]

    def move(self, receiving: Registration) -> None:
        """Register ``receiving``, or give it its new key, and make it the holder."""
        self.register([receiving])
        if self.reservation is not None:
            self._set_reservation(_reservation(receiving, self.reservation.type))

    def _tell(self, whom: list[Registration], attention: UnitAttention, *, except_for: ITNexus) -> None:
        """Who is not connected now hears nothing: a unit attention does not outlive its nexus."""
        nexuses = self.nexuses_of(whom)
        self._untold += [(nexus, attention) for nexus in nexuses if nexus is not except_for]


def _reservation(registration: Registration, kind: ReservationType) -> PersistentReservation:
    return PersistentReservation(kind, None if kind.held_by_all else registration.identity)


def _no_room() -> CheckCondition:
    return CheckCondition(SenseKey.ILLEGAL_REQUEST, ASC.INSUFFICIENT_REGISTRATION_RESOURCES)
