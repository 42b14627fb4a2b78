"""What users write to describe a target, made into objects: sizes, LUNs, initiators."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iscsim.errors import ConfigError
from iscsim.hints import hint
from iscsim.scsi.asymmetric_access import AccessModes
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.profile import PLAIN, DeviceProfile
from iscsim.scsi.store import BlockStore, FileStore, MemoryStore
from iscsim.session.chap import ChapConfig, ChapCredential
from iscsim.session.names import normalize_name

_SIZE = re.compile(r"(\d+)([KMGTPE]?)(i?B)?", re.IGNORECASE)
_UNITS = {unit: 1 << 10 * power for power, unit in enumerate(["", "K", "M", "G", "T", "P", "E"])}
_TRUTH = {"": True, "yes": True, "true": True, "on": True, "1": True} | dict.fromkeys(
    ["no", "false", "off", "0"], False
)
ANYBODY = "*"
ANYWHERE = "*"


def parse_size(text: str) -> int:
    """Bytes of ``"64M"``; units are powers of 1024. Raises ConfigError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise ConfigError(f"not a size: {text!r} (expected a number with K, M, G, T, P or E, as in 64M)")
    return int(match[1]) * _UNITS[match[2].upper()]


def parse_boolean(name: str, text: str) -> bool:
    """``yes``, ``no`` and their likes; nothing at all means yes. Raises ConfigError."""
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise ConfigError(f"{name}={text!r}: expected yes or no") from None


@dataclass(slots=True, kw_only=True)
class LUNSpec:
    """One ``--lun N=SPEC``: where the blocks are, and what the unit says of itself."""

    number: int
    source: str
    readonly: bool = False
    removable: bool = False
    thin: bool = False
    wsnz: bool = True
    physical_block_exponent: int = 0
    erase_time: float = 0.0
    long_cdbs: bool = False
    block_size: int = 512
    size: int | None = None
    wwn: str | None = None
    serial: str | None = None
    tpgs: AccessModes | None = None
    name: str | None = None
    owner: int = 0
    failover_mode: int | None = None

    def store(self) -> BlockStore:
        """The blocks: memory for a size, a file for anything else. Raises ConfigError."""
        if self.in_memory:
            size = parse_size(self.source)
            if size % self.block_size:
                raise ConfigError(
                    f"LUN {self.number}: {self.source} is no multiple of {self.block_size} bytes"
                )
            return MemoryStore(size // self.block_size, self.block_size, read_only=self.readonly)
        if not Path(self.source).exists() and self.size is None:
            raise ConfigError(
                f"LUN {self.number}: {self.source!r} is neither a size nor a file (,size=64M makes the file)"
            )
        return FileStore(self.source, self.block_size, read_only=self.readonly, size=self.size)

    def logical_unit(self, target_name: str, make: DeviceProfile = PLAIN) -> LogicalUnit:
        """The unit; without a serial number one made of target name and LUN, so that it stays the same."""
        return LogicalUnit(
            self.store(),
            profile=make,
            serial=self.serial or make.serial(target_name, self.number),
            wwn=self.wwn or (make.wwn(f"{target_name},{self.number}") if make.serial_is_of_array else None),
            product=self._product(make),
            read_only=self.readonly,
            removable=self.removable,
            thin=self.thin,
            tpgs=self.tpgs,
            write_same_non_zero=self.wsnz,
            physical_block_exponent=self.physical_block_exponent,
            erase_time_s=self.erase_time,
            long_cdbs=self.long_cdbs,
            owner=self.owner,
            failover_mode=self.failover_mode,
        )

    def _product(self, make: DeviceProfile) -> str | None:
        """Where the make shows the name of the backstore: the one given, else that of the file."""
        if not make.product_is_name:
            return None
        name = self.name or ("ramdisk" if self.in_memory else Path(self.source).stem)
        return name.encode("ascii", "replace").decode()[:16]

    @property
    def in_memory(self) -> bool:
        """Whether ``source`` is a size: a file of such a name comes first."""
        return bool(_SIZE.fullmatch(self.source)) and not Path(self.source).exists()


def normalize_wwn(text: str) -> str:
    """32 hexadecimal digits from any usual spelling: ``36006...``, ``naa.6006...``, ``0x6006...``."""
    folded = text.strip().lower().removeprefix("naa.").removeprefix("0x").removeprefix("wwn-0x")
    digits = folded[1:] if len(folded) == 33 and folded.startswith("3") else folded
    if not re.fullmatch(r"6[0-9a-f]{31}", digits):
        raise ConfigError(f"not an NAA-6 name: {text!r} (expected 32 hexadecimal digits that begin with 6)")
    return digits


_LUN_OPTIONS: dict[str, Callable[[str], Any]] = {
    "readonly": lambda text: parse_boolean("readonly", text),
    "removable": lambda text: parse_boolean("removable", text),
    "thin": lambda text: parse_boolean("thin", text),
    "thick": lambda text: parse_boolean("thick", text),
    "wsnz": lambda text: parse_boolean("wsnz", text),
    "physical_block_exponent": lambda text: _exponent(text),
    "erase_time": lambda text: _erase_time(text),
    "long_cdbs": lambda text: parse_boolean("long_cdbs", text),
    "block_size": lambda text: _block_size(text),
    "size": lambda text: parse_size(text),
    "wwn": lambda text: normalize_wwn(text),
    "serial": str,
    "tpgs": lambda text: _access_modes(text),
    "name": str,
    "owner": lambda text: _processor(text),
    "failover_mode": lambda text: _failover_mode(text),
}


def _block_size(text: str) -> int:
    if text not in ("512", "4096"):
        raise ConfigError(f"block_size={text}: expected 512 or 4096")
    return int(text)


def _access_modes(text: str) -> AccessModes:
    """Who may change the access states of the unit."""
    names = {"none": 0, "implicit": 1, "explicit": 2, "both": 3}
    if text not in names:
        raise ConfigError(f"tpgs={text}: expected {', '.join(names)}")
    return AccessModes(names[text])


def _processor(text: str) -> int:
    """The storage processor that owns the unit: ``a`` or ``b``."""
    if text.lower() not in ("a", "b"):
        raise ConfigError(f"owner={text}: expected a or b")
    return "ab".index(text.lower())


def _failover_mode(text: str) -> int:
    if text not in ("1", "4"):
        raise ConfigError(f"failover_mode={text}: expected 1 (active/passive) or 4 (ALUA)")
    return int(text)


def _exponent(text: str) -> int:
    if not re.fullmatch(r"\d{1,2}", text, re.ASCII) or int(text) > 15:
        raise ConfigError(f"physical_block_exponent={text}: expected 0 to 15")
    return int(text)


def _erase_time(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        raise ConfigError(f"erase_time={text}: expected seconds, as in 5 or 0.5")
    return float(text)


def parse_lun(text: str) -> LUNSpec:
    """``N=SPEC[,option[=value]]...`` as ``--lun`` takes it. Raises ConfigError."""
    number, equals, spec = text.partition("=")
    if not equals or not number.strip().isdecimal() or not spec:
        raise ConfigError(f"not a LUN: {text!r} (expected NUMBER=SIZE or NUMBER=PATH, as in 1=64M)")
    if int(number) > 16383:
        raise ConfigError(f"LUN {number} is not one of 0 to 16383")
    source, *options = spec.split(",")
    values = {}
    for option in options:
        name, _, value = option.partition("=")
        if name not in _LUN_OPTIONS:
            near = hint(name, _LUN_OPTIONS)
            raise ConfigError(
                f"unknown option {name!r} of LUN {number}: {near} (known: {', '.join(_LUN_OPTIONS)})"
            )
        values[name] = _LUN_OPTIONS[name](value)
    thick = values.pop("thick", None)
    if thick is not None and values.setdefault("thin", not thick) == thick:
        raise ConfigError(f"LUN {number}: thin and thick exclude each other")
    return LUNSpec(number=int(number), source=source, **values)


@dataclass(slots=True)
class InitiatorSpec:
    """One ``--initiator``: who may log in, and with which CHAP user and password."""

    name: str
    user: str = ""
    password: str = field(default="", repr=False)
    ambiguous: bool = False
    """The colons could also have been part of the name."""

    @property
    def chap(self) -> ChapConfig | None:
        """The CHAP this initiator has to do, or None."""
        if not self.user:
            return None
        return ChapConfig(incoming=(ChapCredential(self.user, self.password.encode()),))

    def __str__(self) -> str:
        return f"{self.name}, CHAP user {self.user}" if self.user else f"{self.name}, no CHAP"


def parse_initiator(text: str) -> InitiatorSpec:
    """``IQN[:USER:PASSWORD]``; ``*`` as the name stands for every initiator.

    Names have colons of their own: the last two parts are credentials if what is left still is a whole
    name with a colon in it. ``IQN::`` says that there are none. Raises ConfigError.
    """
    head, *credentials = text.rsplit(":", 2)
    if len(credentials) == 2 and (":" in head or head == ANYBODY):
        user, password = credentials
        if bool(user) != bool(password):
            raise ConfigError(f"initiator {head}: a CHAP user needs a password, and the other way round")
        name = head if head == ANYBODY else normalize_name(head)
        return InitiatorSpec(name, user, password, ambiguous=bool(user) and head != ANYBODY)
    return InitiatorSpec(text if text == ANYBODY else _name_alone(text))


@dataclass(frozen=True, slots=True)
class RedirectSpec:
    """One ``--redirect``: logins that come to ``origin`` are sent to ``to``.

    Each is ``HOST:PORT`` or the number of a portal from 1; an ``origin`` of ``*`` is every portal.
    """

    origin: str
    to: str
    permanent: bool = False


def parse_redirect(text: str) -> RedirectSpec:
    """``PORTAL=ADDRESS[,permanent]``. Raises ConfigError."""
    origin, _, rest = (part.strip() for part in text.partition("="))
    to, comma, kind = (part.strip() for part in rest.partition(","))
    if not (origin and to) or (comma and kind != "permanent"):
        raise ConfigError(
            f"not a redirection: {text!r} (expected PORTAL=ADDRESS or PORTAL=ADDRESS,permanent; a PORTAL is"
            " HOST:PORT, its number, or *)"
        )
    return RedirectSpec(origin, to, bool(comma))


def _name_alone(text: str) -> str:
    try:
        return normalize_name(text)
    except ConfigError:  # what comes after a colon may be a password: not for the screen
        shown = text if ":" not in text else f"{text.partition(':')[0]}:..."
        raise ConfigError(
            f"not an initiator: {shown!r} (expected IQN[:USER:PASSWORD] with an IQN of the form"
            " iqn.YYYY-MM.reversed.domain:anything, or *)"
        ) from None
