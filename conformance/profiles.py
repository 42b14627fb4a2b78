"""The units libiscsi's suites are run against. Each profile makes other tests run instead of skip."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """A way to serve LUN 1: its ``--lun`` specification, and how many URLs the tool is given."""

    name: str
    spec: str
    shows: str
    urls: int = 1
    protected: bool = False
    """Writes are refused with 07/27/00, so tests that write cannot pass."""


PROFILES = (
    Profile("thin", "64M,thin", "thin provisioning"),
    Profile("thick", "64M,wsnz=no", "no provisioning"),
    Profile("removable", "64M,thin,removable", "a medium that can be locked and ejected"),
    Profile("read-only", "64M,thin,readonly", "a unit that takes no writes", protected=True),
    Profile("4096-byte blocks", "64M,thin,block_size=4096", "longer blocks"),
    Profile("two portals", "64M,thin", "the same unit through a second portal", urls=2),
)

LUN_EXTRAS: dict[str, str] = {
    "Sanitize": ",erase_time=15",
    "CompareAndWrite": ",physical_block_exponent=3",
    "WriteSame10": ",physical_block_exponent=3",
    "WriteSame16": ",physical_block_exponent=3",
}
"""Suite -> options its unit has on every profile, behind those of the profile."""
SERVE_EXTRAS = {"Sanitize": ("--personality", "tgt")}
"""Suite -> options of ``iscsim serve``. One test of Sanitize sleeps for a minute: it must not be pinged."""


def named(names: list[str]) -> tuple[Profile, ...]:
    """The profiles of these names, all without any. Raises KeyError for a name there is not."""
    known = {profile.name: profile for profile in PROFILES}
    return tuple(known[name] for name in names) if names else PROFILES
