"""Our own tests that carry a tag, run by pytest."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from conformance.tags import ROOT

TIMEOUT_S = 600
_WORST = ["pass", "skip", "fail"]


def run(root: Path = ROOT) -> dict[str, str]:
    """``tests/room/test_x.py::test_name`` -> pass, skip or fail; of several parameters, the worst.

    Raises RuntimeError when pytest cannot even collect them.
    """
    with tempfile.TemporaryDirectory(prefix="iscsim-conformance-") as directory:
        report = Path(directory) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "rfc", "-n", "2", f"--junitxml={report}"]
        done = subprocess.run(
            command, cwd=root, timeout=TIMEOUT_S, capture_output=True, text=True, check=False
        )
        print(done.stdout[-2000:] if done.returncode else done.stdout.splitlines()[-1], flush=True)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"pytest ended with {done.returncode}: {done.stderr[-500:]}")
        return outcomes(report.read_text(encoding="utf-8"))


def outcomes(report: str) -> dict[str, str]:
    """What a JUnit report of pytest says of each test."""
    found: dict[str, str] = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        test = f"{case.attrib['classname'].replace('.', '/')}.py::{case.attrib['name'].partition('[')[0]}"
        found[test] = max(found.get(test, "pass"), _outcome(case), key=_WORST.index)
    return found


def _outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "fail"
    return "skip" if case.find("skipped") is not None else "pass"
