"""Run everything that says what conforms, and write the page: ``python -m conformance``.

python -m conformance             libiscsi's suites on every profile, the tagged tests, JSON and page
python -m conformance --tagged    the tagged tests alone; libiscsi's results stay as they were
python -m conformance --page      the page alone, of the results there are
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from conformance import checklist, page, results, show, tagged, tags
from conformance.profiles import PROFILES
from conformance.results import Results
from conformance.suites import SuiteResult, list_suites, run_all


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="conformance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tagged", action="store_true", help="only our own tagged tests")
    parser.add_argument("--page", action="store_true", help="only the page")
    parser.add_argument("--timeout", type=int, default=180, help="seconds a suite may take")
    parser.add_argument("--jobs", type=int, default=2, help="suites at a time")
    parser.add_argument("--iscsim", default=str(show.ISCSIM), help="the iscsim to test")
    return parser.parse_args()


def run_suites(chosen: argparse.Namespace) -> list[SuiteResult]:
    """All suites on all profiles, shown as they end."""
    found = []
    for suite in run_all(list_suites(), PROFILES, chosen.iscsim, chosen.timeout, chosen.jobs):
        show.suite(suite)
        found.append(suite)
    return found


def refresh(found: Results, chosen: argparse.Namespace) -> None:
    """Run what is asked for, into ``found``."""
    if not chosen.page:
        found.tagged = tagged.run()
    if not (chosen.page or chosen.tagged):
        suites = run_suites(chosen)
        found.matrix = results.matrix(suites)
        found.trouble = {f"{each.suite} on {each.profile}": each.trouble for each in suites if each.trouble}


def failures(found: Results, made: page.Page) -> list[str]:
    """What keeps us from saying that all conforms."""
    failed = [test for test, outcome in found.tagged.items() if outcome != "pass"]
    failed += [f"row {row.number}: {made.verdict(row)}" for row in made.rows if made.verdict(row) != "proved"]
    failed += [
        f"{test} on {profile}"
        for test, by_profile in found.matrix.items()
        for profile, result in by_profile.items()
        if result[0] in ("fail", "hang")
    ]
    return failed + [f"{suite}: {trouble}" for suite, trouble in found.trouble.items()]


def main() -> int:
    """Run, write, say what fails. 0: nothing; 1: something; 3: the tool is missing."""
    chosen = options()
    if shutil.which("iscsi-test-cu") is None and not (chosen.page or chosen.tagged):
        print("iscsi-test-cu is missing: apt install libiscsi-bin", file=sys.stderr)
        return 3
    found = results.read() if results.FILE.exists() else Results()
    refresh(found, chosen)
    results.write(found)
    made = page.Page(checklist.load(), tags.collect(), results.read())
    page.FILE.write_text(made.render(), encoding="utf-8")
    show.totals(found)
    failed = failures(found, made)
    print("\n".join([f"FAILED: {each}" for each in failed] + [f"written: {Path(page.FILE).name}"]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
