"""What a logical unit keeps through a loss of power: the seam, and the form of what is kept (SPC-4, APTPL).

The form is a plain dictionary that JSON can carry::

    {"version": 1,
     "activated": true,                      # APTPL of the last registration
     "registrations": [{"initiator_port": "iqn...,i,0x00023d000001", "target_name": "iqn...",
                        "target_port": "iqn...,t,0x0001", "relative_target_port": 1,
                        "key": "0x0000000000000abc", "all_target_ports": false}],
     "reservation": {"type": 5, "holder": 0}}  # an index, null for all registrants; or null

PRGENERATION is not kept: a power on sets it to zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from iscsim.scsi.registration import PersistentReservation, Registration, ReservationType

__all__ = ["Kept", "RegistrationStore", "decode", "encode"]

VERSION = 1
_NAMES = ("initiator_port", "target_name", "target_port")
_LONGEST_NAME = 255
"""Bytes; a name of iSCSI has 223 at most, that of a port a few more."""


class RegistrationStore(Protocol):
    """Where the registrations of one logical unit survive."""

    def load(self) -> Mapping[str, Any] | None:
        """What was saved last, or None. Raises `ConfigError` when that cannot be read."""

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep ``state`` in place of the one before; when this returns it survives.

        Raises `OSError`: then the next one is saved again, even if it is the one before.
        """


@dataclass(frozen=True, slots=True)
class Kept:
    """Registrations, in their order, and the reservation; ``activated`` is APTPL."""

    activated: bool = False
    registrations: tuple[Registration, ...] = ()
    reservation: PersistentReservation | None = None


def encode(kept: Kept) -> dict[str, Any]:
    """The dictionary described above."""
    held = kept.reservation
    identities = [registration.identity for registration in kept.registrations]
    holder = identities.index(held.holder) if held and held.holder else None
    return {
        "version": VERSION,
        "activated": kept.activated,
        "registrations": [_encode_registration(registration) for registration in kept.registrations],
        "reservation": {"type": int(held.type), "holder": holder} if held else None,
    }


def _encode_registration(registration: Registration) -> dict[str, Any]:
    fields = {name: getattr(registration, name) for name in _FIELDS}
    return fields | {"key": f"{registration.key:#018x}"}


_FIELDS: dict[str, type] = {
    "initiator_port": str,
    "target_name": str,
    "target_port": str,
    "relative_target_port": int,
    "key": str,
    "all_target_ports": bool,
}


def decode(state: Mapping[str, Any], *, maximum: int) -> Kept:
    """The other way round.

    Raises `ValueError` for what `encode` would not have written, and for more than ``maximum`` registrations.
    """
    _check(state, {"version": int, "activated": bool, "registrations": list, "reservation": object})
    if state["version"] != VERSION:
        raise ValueError(f"version {state['version']}, expected {VERSION}")
    registrations = tuple(_decode_registration(each) for each in state["registrations"])
    if len({each.identity for each in registrations}) != len(registrations) or len(registrations) > maximum:
        raise ValueError(f"{len(registrations)} registrations, expected at most {maximum} different ones")
    kept = Kept(state["activated"], registrations, _decode_reservation(state["reservation"], registrations))
    if not kept.activated and registrations:
        raise ValueError("registrations that were not to be kept")
    return kept


def _decode_registration(fields: Any) -> Registration:
    _check(fields, _FIELDS)
    key = int(fields["key"], 16)
    if not 0 < key < 1 << 64 or not 0 < fields["relative_target_port"] < 1 << 16:
        raise ValueError(f"no registration: {fields}")
    for name in _NAMES:
        if not 0 < len(fields[name].encode()) <= _LONGEST_NAME:
            raise ValueError(f"{name} {fields[name][:60]!r}, expected 1 to {_LONGEST_NAME} bytes of UTF-8")
    return Registration(**{**fields, "key": key})


def _decode_reservation(fields: Any, registrations: tuple[Registration, ...]) -> PersistentReservation | None:
    if fields is None:
        return None
    _check(fields, {"type": int, "holder": object})
    kind, holder = ReservationType(fields["type"]), fields["holder"]
    if kind.held_by_all and holder is None and registrations:
        return PersistentReservation(kind, None)
    if kind.held_by_all or type(holder) is not int or not 0 <= holder < len(registrations):
        raise ValueError(f"no reservation: {fields}")
    return PersistentReservation(kind, registrations[holder].identity)


def _check(fields: Any, known: Mapping[str, type]) -> None:
    """Raises `ValueError` unless ``fields`` is a dictionary of exactly these, each of its type."""
    if not isinstance(fields, Mapping) or fields.keys() != known.keys():
        raise ValueError(f"expected {', '.join(known)}")
    for name, kind in known.items():
        if kind is not object and type(fields[name]) is not kind:
            raise ValueError(f"{name} {fields[name]!r}, expected {kind.__name__}")
