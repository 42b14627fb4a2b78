"""The tables of docs/reference/multipath.md, made of the data: ``python reference.py`` prints them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from iscsim.initiator.multipath.checkers import CHECKERS
from iscsim.initiator.multipath.grouping import POLICIES
from iscsim.initiator.multipath.handlers import HANDLERS
from iscsim.initiator.multipath.hardware import HARDWARE, RELEASES, MapSettings
from iscsim.initiator.multipath.priorities import ALUA_PRIORITIES, PREFERRED, PRIORITIES
from iscsim.initiator.multipath.selectors import SELECTORS
from iscsim.initiator.multipath.show import MAP_COLUMNS, PATH_COLUMNS
from iscsim.initiator.multipath.states import SHOWN, USABLE, CheckerState
from iscsim.scsi.asymmetric_access import AccessState


def table(heads: str, rows: Iterable[tuple[object, ...]]) -> str:
    """A table of Markdown; ``heads`` are separated by bars."""
    names = [name.strip() for name in heads.split("|")]
    lines = [" | ".join(names), "|".join(["---"] * len(names))]
    lines += [" | ".join(str(cell) for cell in row) for row in rows]
    return "\n".join(f"|{line}|" if set(line) <= {"-", "|"} else f"| {line} |" for line in lines)


def code(value: object) -> str:
    """As it is written in ``multipath.conf``."""
    words = {True: "yes", False: "no", None: "undef"}
    text = words.get(value, value) if isinstance(value, bool) or value is None else value
    return f"`{text}`" if text != "" else ""


def settings() -> str:
    """Defaults of every release."""
    rows = [
        (code(each.name), *(code(getattr(defaults, each.name)) for defaults in RELEASES.values()))
        for each in fields(MapSettings)
    ]
    return table(" | ".join(["setting", *RELEASES]), rows)


def hardware() -> str:
    """The hardware table."""
    rows = [
        (
            release,
            code(entry.vendor),
            code(entry.product).replace("|", "\\|"),
            code(entry.blacklisted),
            ", ".join(f"{name} {code(value)}" for name, value in entry.changes.items()),
        )
        for release, entries in HARDWARE.items()
        for entry in entries
    ]
    return table("release | vendor | product | product_blacklist | settings", rows).replace(
        "(LIO-ORG|SUSE)", "(LIO-ORG\\|SUSE)"
    )


def states() -> str:
    """What checkers say, and how it is shown."""
    rows = [
        (f"PATH_{state.name}", code(state.value), code(SHOWN.get(state, "undef")), code(state in USABLE))
        for state in CheckerState
    ]
    return table("state | `show status` | `multipath -ll` | used", rows)


def priorities() -> str:
    """ALUA's numbers."""
    rows = [(state.text, ALUA_PRIORITIES.get(state, 0)) for state in AccessState]
    return table("access state | priority", [*rows, ("preferred", f"{PREFERRED} more")])


def choices() -> str:
    """What settings may be."""
    rows = {
        "path_grouping_policy": POLICIES,
        "path_selector": [f"{name} 0" for name in SELECTORS],
        "path_checker": CHECKERS,
        "prio": PRIORITIES,
        "hardware_handler": ["0", *(f"1 {name}" for name in HANDLERS)],
    }
    return table(
        "setting | values",
        [(code(name), ", ".join(code(value) for value in values)) for name, values in rows.items()],
    )


def wildcards() -> str:
    """What formats may ask for."""
    keys = dict.fromkeys([*PATH_COLUMNS, *MAP_COLUMNS])
    rows = [
        (code(f"%{key}"), PATH_COLUMNS.get(key, ("",))[0], MAP_COLUMNS.get(key, ("",))[0]) for key in keys
    ]
    return table("wildcard | of a path | of a map", rows)


TABLES = (settings, choices, hardware, states, priorities, wildcards)

if __name__ == "__main__":
    for make in TABLES:
        print(f"<!-- {make.__name__} -->\n{make()}\n")
