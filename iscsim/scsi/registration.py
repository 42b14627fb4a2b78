"""Registrations and persistent reservations as values (SPC-4, "Reservations")."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

__all__ = ["Identity", "PersistentReservation", "Registration", "ReservationRule", "ReservationType"]

Identity = tuple[str, str]
"""Initiator port and target port: the name of an I_T nexus, connected or not."""


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


@dataclass(frozen=True, slots=True)
class Registration:
    """One I_T nexus, connected or not, and its reservation key.

    ``all_target_ports`` says that it was made with ALL_TG_PT, together with one for each other target port.
    """

    initiator_port: str
    target_port: str
    relative_target_port: int
    key: int
    target_name: str = ""
    all_target_ports: bool = False

    @property
    def identity(self) -> Identity:
        """Initiator port and target port."""
        return self.initiator_port, self.target_port


@dataclass(frozen=True, slots=True)
class PersistentReservation:
    """What is reserved; ``holder`` is None when all registrants hold it."""

    type: ReservationType
    holder: Identity | None
