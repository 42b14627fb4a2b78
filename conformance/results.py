"""What a run found, as the JSON that is committed: no times, no paths, always in the same order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.profiles import PROFILES
from conformance.suites import SuiteResult
from conformance.tags import ROOT

FILE = ROOT / "docs" / "conformance.json"
Matrix = dict[str, dict[str, list[str]]]
"""Test of iscsi-test-cu -> profile -> [outcome, what it says of a skip or failure]."""

# what a message says of this one run: addresses of the tool's memory, ports
_OF_THIS_RUN = re.compile(r"0x[0-9a-f]{9,}|127\.0\.0\.1:\d+")


@dataclass(slots=True)
class Results:
    """The outcome of each of our tagged tests, and libiscsi's matrix."""

    tagged: dict[str, str] = field(default_factory=dict)
    matrix: Matrix = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)
    """Suites that hung, crashed or ended the target, by ``suite on profile``."""

    def outcome(self, test: str, profile: str) -> str:
        """How a test of the tool ended on a profile; nothing when it was not run there."""
        return self.matrix[test].get(profile, [""])[0]

    def ran(self, test: str) -> bool:
        """Whether it passed or failed anywhere, instead of skipping."""
        return any(result[0] in ("pass", "fail", "hang") for result in self.matrix[test].values())

    def count(self, profile: str, outcome: str) -> int:
        """Tests that ended so on a profile."""
        return sum(self.outcome(test, profile) == outcome for test in self.matrix)


def matrix(suites: Iterable[SuiteResult]) -> Matrix:
    """The tests of all suites and profiles, with one line of what each says."""
    found: Matrix = {}
    for suite in suites:
        for test in suite.tests:
            said = [shortened(test.reasons[0])] if test.reasons and test.outcome != "pass" else []
            found.setdefault(f"{suite.suite}.{test.name}", {})[suite.profile] = [test.outcome, *said]
    return found


def shortened(text: str, length: int = 160) -> str:
    """One line of at most ``length`` characters, without what only this run knows."""
    text = " ".join(_OF_THIS_RUN.sub("...", text).split())
    return text if len(text) <= length else text[: length - 3] + "..."


def write(results: Results, path: Path = FILE) -> None:
    """A line for each test, so that a change shows as such."""
    order = [profile.name for profile in PROFILES]
    tests = {
        test: {name: by_profile[name] for name in order if name in by_profile}
        for test, by_profile in sorted(results.matrix.items())
    }
    parts: dict[str, dict[str, Any]] = {
        "tagged": dict(sorted(results.tagged.items())),
        "matrix": tests,
        "trouble": results.trouble,
    }
    text = ",\n".join(f'"{name}": {_lines(part)}' for name, part in parts.items())
    path.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")


def _lines(part: dict[str, Any]) -> str:
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in part.items())
    return f"{{\n{lines}\n}}" if part else "{}"


def read(path: Path = FILE) -> Results:
    """What ``write`` wrote."""
    return Results(**json.loads(path.read_text(encoding="utf-8")))
