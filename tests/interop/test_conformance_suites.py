"""libiscsi's conformance tests must run through: no hang, no dead target, no traceback.

Which of their tests pass is counted by ``tools/run-conformance``, not asserted here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.interop

TOOL = Path(__file__).parents[2] / "tools" / "run-conformance"
# the profile on which a suite has most to do; make conformance runs all of them on all
PROFILES = dict.fromkeys(("NoMedia", "PreventAllow", "StartStopUnit"), "removable")
PROFILES |= {"ReadOnly": "read-only", "MultipathIO": "two portals"}
SUITE_TIMEOUT_S = 60
SLOW_SUITES_S = {"Sanitize": 150}  # one of its tests sleeps for a minute
SPARE_S = 40


def suites() -> list[str]:
    """What this iscsi-test-cu lists; a single skipped test without one."""
    if shutil.which("iscsi-test-cu") is None:
        missing = pytest.mark.skip(reason="iscsi-test-cu is missing: apt install libiscsi-bin")
        return [pytest.param("all", marks=missing)]
    listed = subprocess.run(
        ["iscsi-test-cu", "-l"], capture_output=True, text=True, timeout=20, check=True
    ).stdout
    return [
        line.removeprefix("ALL.")
        for line in listed.split()
        if line.startswith("ALL.") and line.count(".") == 1
    ]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("suite", suites())
def test_suite_runs_through_and_the_target_survives(suite, tmp_path):
    results = tmp_path / "results.json"
    timeout_s = SLOW_SUITES_S.get(suite, SUITE_TIMEOUT_S)
    command = [
        sys.executable,
        str(TOOL),
        "--exact",
        suite,
        "--profile",
        PROFILES.get(suite, "thin"),
        "--timeout",
        str(timeout_s),
        "--json",
        str(results),
    ]
    subprocess.run(
        [*command, "--iscsim", str(Path(sys.executable).with_name("iscsim"))],
        timeout=timeout_s + SPARE_S,
        check=False,
    )
    (result,) = json.loads(results.read_text())
    assert result["tests"], result["log"]
    assert not any(result[trouble] for trouble in ("hung", "crashed", "traceback")), result["log"]
    assert result["survived"], result["log"]
