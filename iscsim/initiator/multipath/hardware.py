"""What multipath-tools does with which array: defaults and hardware table, as in ``multipath.conf``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from iscsim.errors import ConfigError
from iscsim.initiator.multipath.checkers import CHECKERS
from iscsim.initiator.multipath.grouping import POLICIES
from iscsim.initiator.multipath.handlers import HANDLERS
from iscsim.initiator.multipath.priorities import PRIORITIES
from iscsim.initiator.multipath.selectors import SELECTORS

__all__ = ["HARDWARE", "RELEASES", "HardwareEntry", "MapSettings", "is_blacklisted", "settings_for"]

_FAILBACKS = ("manual", "immediate", "followover")
_RETRIES = ("fail", "queue")


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSettings:
    """What ``multipath.conf`` may say of a device, with the defaults of multipath-tools 0.9.4.

    Times are whole seconds, as multipathd counts them. ``failback`` is also a number of seconds,
    ``no_path_retry`` also a number of checks; None is multipath-tools' ``undef``, which is ``fail`` unless
    ``features`` has ``queue_if_no_path``. ``kernel_attaches_alua`` is no setting: kernels from 4.3 on attach
    the handler ``alua`` to all that has target port groups, before anybody asks for another.

    Raises `ConfigError` for a value that is none.
    """

    path_grouping_policy: str = "failover"
    path_selector: str = "service-time 0"
    path_checker: str = "tur"
    prio: str = "const"
    prio_args: str = ""
    hardware_handler: str = "0"
    features: str = "0"
    failback: str | int = "manual"
    no_path_retry: str | int | None = None
    rr_min_io_rq: int = 1
    detect_prio: bool = True
    detect_checker: bool = True
    retain_attached_hw_handler: bool = True
    kernel_attaches_alua: bool = True
    polling_interval: int = 5
    max_polling_interval: int = 20
    checker_timeout: int = 30

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ConfigError(f"{name} is {value!r:.60}, expected one of {', '.join(choices)}")
        _check_word_or_number("failback", self.failback, _FAILBACKS)
        if self.no_path_retry is not None:
            _check_word_or_number("no_path_retry", self.no_path_retry, _RETRIES)
        for name in ("rr_min_io_rq", "polling_interval", "max_polling_interval", "checker_timeout"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected 1 or more")

    @property
    def queues(self) -> bool:
        """Whether I/O waits, at least for some time, when no path is left."""
        if self.no_path_retry is None:
            return "queue_if_no_path" in self.features
        return self.no_path_retry != "fail" and self.no_path_retry != 0

    @property
    def retries(self) -> int:
        """For how many checks I/O waits; 0 when it does not, or for ever."""
        return self.no_path_retry if isinstance(self.no_path_retry, int) else 0

    def changed(self, changes: Mapping[str, Any]) -> MapSettings:
        """These settings with others. Raises `ConfigError` for a name or value that is none."""
        unknown = [name for name in changes if name not in SETTING_NAMES]
        if unknown:
            raise ConfigError(f"unknown multipath setting {unknown[0]!r:.60}")
        return replace(self, **changes)


SETTING_NAMES = tuple(each.name for each in fields(MapSettings))
FAST_IO_FAIL_S = 5
"""multipathd's fast_io_fail_tmo, which it sets as replacement_timeout of the sessions behind a map."""
_CHOICES: dict[str, tuple[str, ...]] = {
    "path_grouping_policy": tuple(POLICIES),
    "path_selector": tuple(f"{name} 0" for name in SELECTORS),
    "path_checker": tuple(CHECKERS),
    "prio": tuple(PRIORITIES),
    "hardware_handler": ("0", *(f"1 {name}" for name in HANDLERS)),
}


def _check_word_or_number(name: str, value: str | int, words: tuple[str, ...]) -> None:
    if value not in words and not (isinstance(value, int) and value >= 0):
        raise ConfigError(f"{name} is {value!r:.60}, expected {', '.join(words)} or a number")


@dataclass(frozen=True, slots=True)
class HardwareEntry:
    """One ``device`` section. Vendor and products are regular expressions; ``blacklisted`` have no map."""

    vendor: str
    product: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    blacklisted: str = ""

    def matches(self, vendor: str, product: str) -> bool:
        """Whether it is for this device."""
        return bool(re.search(self.vendor, vendor) and re.search(self.product, product))


_CLARIION = {
    "hardware_handler": "1 emc",
    "path_grouping_policy": "group_by_prio",
    "failback": "immediate",
    "no_path_retry": 60,
    "path_checker": "emc_clariion",
    "prio": "emc",
}
_OF_THAT_TIME = {
    "features": "1 queue_if_no_path",
    "detect_prio": True,
    "retain_attached_hw_handler": True,
}
_ALUA = {
    "hardware_handler": "1 alua",
    "path_grouping_policy": "group_by_prio",
    "failback": "immediate",
    "no_path_retry": 12,
    "prio": "alua",
}
HARDWARE: dict[str, tuple[HardwareEntry, ...]] = {
    "0.9.4": (
        HardwareEntry("^DGC", "^(RAID|DISK|VRAID)", _CLARIION, "LUNZ"),
        HardwareEntry("(LIO-ORG|SUSE)", ".", _ALUA),
    ),
    "0.4.9": (HardwareEntry("^DGC", "^RAID|^DISK|^VRAID", _CLARIION | _OF_THAT_TIME, "LUNZ"),),
}
"""By release of multipath-tools: entries for what iscsim can be. IET (tgt) has none: defaults hold."""

RELEASES: dict[str, MapSettings] = {
    "0.9.4": MapSettings(),
    "0.4.9": MapSettings(
        path_selector="round-robin 0",
        path_checker="directio",
        detect_prio=False,
        detect_checker=False,
        retain_attached_hw_handler=False,
        kernel_attaches_alua=False,
    ),
}
"""The defaults of each release; Ubuntu of the seeds' year calls its 0.5.0 prerelease 0.4.9."""


def settings_for(
    vendor: str, product: str, *, release: str = "0.9.4", overrides: Mapping[str, Any] | None = None
) -> MapSettings:
    """What holds for a device: the defaults, then the hardware table, then ``overrides``.

    Raises `ConfigError` for a release that is not known, or a wrong override.
    """
    if release not in RELEASES:
        raise ConfigError(f"multipath-tools {release!r:.20}: known are {', '.join(RELEASES)}")
    settings = RELEASES[release]
    for entry in HARDWARE[release]:
        if entry.matches(vendor, product):
            settings = settings.changed(entry.changes)
    return settings.changed(overrides or {})


def is_blacklisted(vendor: str, product: str, *, release: str = "0.9.4") -> bool:
    """Whether a device must not become a path, as an array's LUNZ must not."""
    return any(
        entry.blacklisted and re.search(entry.vendor, vendor) and re.search(entry.blacklisted, product)
        for entry in HARDWARE[release]
    )
