"""What a run says on the terminal."""

from __future__ import annotations

from pathlib import Path

from conformance.profiles import PROFILES
from conformance.results import Results
from conformance.suites import OUTCOMES, SuiteResult
from conformance.tags import ROOT

ISCSIM = Path(ROOT) / ".venv" / "bin" / "iscsim"


def suite(result: SuiteResult, reasons: bool = False) -> None:
    """One line for a suite; below, what failed and what skipped."""
    numbers = "  ".join(f"{outcome} {result.count(outcome):3}" for outcome in OUTCOMES[:4])
    place = f"{result.profile:11} {result.suite:24}"
    print(f"{place} {numbers}  {result.seconds:5} s  {result.trouble}", flush=True)
    for test in result.tests if reasons else ():
        if test.outcome != "pass":
            print(f"    {test.outcome} {test.name}: {'; '.join(test.reasons[:4])[:300]}")
    if reasons and result.trouble:
        print(f"    {result.log[-1000:]}")


def totals(found: Results) -> None:
    """The number of tests by profile and outcome, and how many never ran."""
    for profile in (each for each in PROFILES if any(each.name in test for test in found.matrix.values())):
        numbers = "  ".join(f"{outcome} {found.count(profile.name, outcome):3}" for outcome in OUTCOMES)
        print(f"{profile.name:11} {numbers}")
    never = [test for test in found.matrix if not found.ran(test)]
    print(f"{len(found.matrix)} tests of iscsi-test-cu, {len(never)} of them never really run")
    for test in never:
        print(f"    {test}: {next(iter(found.matrix[test].values()))[-1]}")
