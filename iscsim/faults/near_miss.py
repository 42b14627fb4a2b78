"""What almost set off a fault: the answer to "why has it not fired?"."""

from __future__ import annotations

import difflib
from typing import Any

from iscsim.faults.occasion import Occasion

__all__ = ["NearMisses"]

_MOST_KEPT = 64
_MOST_SHOWN = 3
_FORMS = {0b00: "peripheral", 0b01: "flat", 0b11: "extended"}


class NearMisses:
    """Counts the occasions that did not match, by what they had instead; the nearest are told."""

    def __init__(self) -> None:
        self._counts: dict[tuple[tuple[str, Any], ...], int] = {}
        self._others = 0
        self._lun_fields: dict[int | None, bytes] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, missed: list[str], occasion: Occasion) -> None:
        """One more; ``missed`` are the names that did not match: none, when the predicate did not hold."""
        key = tuple((name, getattr(occasion, name)) for name in missed)
        if key in self._counts or len(self._counts) < _MOST_KEPT:
            self._counts[key] = self._counts.get(key, 0) + 1
            if "lun" in missed and occasion.lun_field:
                self._lun_fields.setdefault(_number(occasion.lun), occasion.lun_field)
        else:
            self._others += 1

    def explain(self, match: dict[str, Any], expression: str) -> str:
        """The nearest ones: those that missed on fewest names, and are most like what is wanted; then how
        many others there were."""
        if not self._counts:
            return ""
        ranked = sorted(self._counts.items(), key=lambda item: _distance(item[0], item[1], match))
        fewest = len(ranked[0][0])
        near = [item for item in ranked[:_MOST_SHOWN] if len(item[0]) == fewest]
        shown = [self._told(*item, match, expression) for item in near]
        others = self._others + sum(count for _, count in ranked[len(near) :])
        return "; ".join([*shown, *([f"{others} other{'s' if others > 1 else ''}"] if others else [])])

    def _told(
        self, missed: tuple[tuple[str, Any], ...], count: int, match: dict[str, Any], expression: str
    ) -> str:
        times = "1 occasion" if count == 1 else f"{count} occasions"
        if not missed:
            return f"on {times} {f'{expression!r}' if expression else 'its predicate'} did not hold"
        had = " and ".join(self._had(name, found, match[name]) for name, found in missed)
        return f"{times} had {had}"

    def _had(self, name: str, found: Any, wanted: Any) -> str:
        if name == "lun":
            return self._had_lun(_number(found), wanted)
        return f"{name}={found!r}, not {wanted!r}"

    def _had_lun(self, found: int | None, wanted: Any) -> str:
        """``LUN 0x4005 (flat), not LUN 0x0005: the same logical unit``."""
        field = self._lun_fields.get(found)
        if field is None:
            return f"LUN {found}, not {_lun(wanted)}"
        shown = f"LUN 0x{field[:2].hex()} ({_FORMS.get(field[0] >> 6, 'other')})"
        same = isinstance(wanted, int) and found is not None and wanted & 0x3FFF == found
        return f"{shown}, not {_lun(wanted)}{': the same logical unit' if same else ''}"


def _distance(missed: tuple[tuple[str, Any], ...], count: int, match: dict[str, Any]) -> tuple[float, ...]:
    """How far an occasion was from what is wanted; of those equally near the most frequent is first."""
    unlike = sum(1 - max(_likeness(found, one) for one in _each(match[name])) for name, found in missed)
    return len(missed), unlike, -count


def _each(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else [wanted]


def _likeness(found: Any, wanted: Any) -> float:
    """From 0 to 1, by the letters of both."""
    return difflib.SequenceMatcher(None, str(found).lower(), str(wanted).lower(), autojunk=False).ratio()


def _number(lun: Any) -> int | None:
    return lun if isinstance(lun, int) else None


def _lun(wanted: Any) -> str:
    if isinstance(wanted, int) and wanted > 0x3FFF:
        return f"LUN 0x{wanted:04x}"
    return f"LUN {wanted}"
