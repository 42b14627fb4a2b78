"""libiscsi's conformance tool, ``iscsi-test-cu``: every suite in a process and on a target of its own.

One process for each suite, since the tool's suites disturb each other (it leaves a hook behind that changes
the CDBs of what comes later). A test that skips counts as passed for the tool; here it is told apart by the
[SKIPPED] it prints. On a profile that is write protected, a test is ``protected`` when the first thing it
complains of is DATA PROTECT: it wrote, and was refused as it has to be. Five tests do not say so: two do not
show what their writes were answered with (WRITES_BLINDLY), one does not look whether its SANITIZE was taken
(SANITIZES_BLINDLY), and two have the unit copy onto itself (COPIES), which ends with COPY ABORTED and carries
the DATA PROTECT of the destination where the tool does not look.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from conformance.profiles import LUN_EXTRAS, SERVE_EXTRAS, Profile

TOOL = "iscsi-test-cu"
SPARE_S = 30
OUTCOMES = ("pass", "fail", "skip", "protected", "hang")

_TEST = re.compile(r"^  Test: (\S+) \.\.\.(.*?)(?=^  Test: |^Run Summary|\Z)", re.MULTILINE | re.DOTALL)
_OUTCOME = re.compile(r"(?:^|\A)(passed|FAILED)", re.MULTILINE)
_REASON = re.compile(r"^ *(?:\[FAILED\]|\d+\.) *(.*?) *$", re.MULTILINE)
_SKIPPED = re.compile(r"\[SKIPPED\] *(.*)")
# the three ways in which the tool says DATA PROTECT, WRITE PROTECTED
_PROTECTED = re.compile(
    r"DATA PROTECTION\(0x07\) / ASCQ WRITE_PROTECTED\(0x2700\)"
    r"|but failed with Sense: \S+\(0x07\)/\(0x2700\)"
    r"|SENSE KEY:DATA PROTECTION\(7\) ASCQ:WRITE_PROTECTED\(0x2700\)"
)
_CHECK_CONDITION = "CU_ASSERT_NOT_EQUAL(status,SCSI_STATUS_CHECK_CONDITION)"
_COPY_ABORTED = "COPY ABORTED(0x0a) / ASCQ (null)(0x0d01)"
WRITES_BLINDLY = {"Write10.Async", "iSCSITMF.AbortTaskSimpleAsync"}
SANITIZES_BLINDLY = {"Sanitize.Reset"}
_NOT_SANITIZING = "TESTUNITREADY successful but should have failed"
RUN_AGAIN = {"Sanitize": "Reset"}
"""With two URLs Sanitize.Reservations leaves its RESERVE behind in the second session, which goes on, and
what comes next meets RESERVATION CONFLICT: that test runs again, in a process and on a target of its own."""
COPIES = {"ExtendedCopy.ValidTgtDescr", "ReceiveCopyResults.CopyStatus"}


@dataclass(slots=True)
class TestResult:
    """One test: its name, how it ended (see OUTCOMES), and what it said of that."""

    __test__ = False
    name: str
    outcome: str
    reasons: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SuiteResult:
    """One suite on one profile, and what must never happen: see ``trouble``."""

    suite: str
    profile: str
    tests: list[TestResult]
    seconds: float
    hung: bool
    crashed: bool
    survived: bool
    traceback: bool
    log: str

    @property
    def trouble(self) -> str:
        """What must never happen, if it did."""
        found = ["HANGS"] * self.hung + ["the tool crashed"] * self.crashed
        found += ["TRACEBACK in the target's log"] * self.traceback
        found += ["the target DID NOT SURVIVE"] * (not self.survived) + ["no test ran"] * (not self.tests)
        return ", ".join(found)

    def count(self, outcome: str) -> int:
        """How many tests ended so."""
        return sum(test.outcome == outcome for test in self.tests)


def list_suites() -> list[str]:
    """The suites this iscsi-test-cu has, in its order."""
    listed = subprocess.run([TOOL, "--list"], capture_output=True, text=True, timeout=30, check=True)
    return [line[4:] for line in listed.stdout.split() if line.startswith("ALL.") and line.count(".") == 1]


def outcomes(output: str, suite: str = "", protected: bool = False) -> list[TestResult]:
    """Every test in what ``iscsi-test-cu -v`` says; ``protected``: the unit takes no writes."""
    results = [_test(name, text) for name, text in _TEST.findall(output)]
    for result in results if protected else ():
        if result.outcome == "fail" and refused_to_write(f"{suite}.{result.name}", result.reasons):
            result.outcome = "protected"
    return results


def refused_to_write(test: str, reasons: list[str]) -> bool:
    """Whether the first thing a failed test complains of is that its write was refused with 07/27/00."""
    first = reasons[0] if reasons else ""
    blind = test in WRITES_BLINDLY and _CHECK_CONDITION in first
    copy = test in COPIES and _COPY_ABORTED in first
    idle = test in SANITIZES_BLINDLY and first.startswith(_NOT_SANITIZING)
    return blind or copy or idle or bool(_PROTECTED.search(first))


def _test(name: str, text: str) -> TestResult:
    found = _OUTCOME.search(text)
    before = text[: found.start()] if found else text  # behind "passed" comes what the shutdown prints
    if found is None:
        return TestResult(name, "hang", _once(_SKIPPED.findall(before)))
    if found[1] == "passed":
        skipped = _once(_SKIPPED.findall(before))
        return TestResult(name, "skip" if skipped else "pass", skipped)
    return TestResult(name, "fail", _once(_REASON.findall(text)))


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def run_suite(suite: str, profile: Profile, iscsim: str, timeout_s: int = 180) -> SuiteResult:
    """One suite against a target of its own."""
    result = _run(suite, suite, profile, iscsim, timeout_s)
    if profile.urls == 2 and suite in RUN_AGAIN:
        again = _run(suite, f"{suite}.{RUN_AGAIN[suite]}", profile, iscsim, timeout_s)
        replaced = {test.name: test for test in again.tests}
        result.tests = [replaced.get(test.name, test) for test in result.tests]
    return result


def _run(suite: str, wanted: str, profile: Profile, iscsim: str, timeout_s: int) -> SuiteResult:
    """The suite, or the one test of it that is ``wanted``."""
    with tempfile.TemporaryDirectory(prefix="iscsim-conformance-") as directory:
        output = Path(directory) / "output"
        begin = time.monotonic()
        command = _command(suite, wanted, profile, iscsim, timeout_s, output)
        status, log = _bounded(command, timeout_s + SPARE_S)
        seconds = round(time.monotonic() - begin, 1)
        text = output.read_text(errors="replace") if output.exists() else ""
    return SuiteResult(
        suite=suite,
        profile=profile.name,
        tests=outcomes(text, suite, profile.protected),
        seconds=seconds,
        hung=bool(re.search(r"^status (124|137)$", log, re.MULTILINE)) or status is None,
        crashed=bool(re.search(r"^status (139|134)$", log, re.MULTILINE)),
        survived=status == 0,
        traceback="Traceback" in log,
        log=log,
    )


def _command(
    suite: str, wanted: str, profile: Profile, iscsim: str, timeout_s: int, output: Path
) -> list[str]:
    """The target, with the tool inside, and behind it a sign of life of the target."""
    urls = "$uri $uri2" if profile.urls == 2 else "$uri"
    tool = f"timeout -k 5 {timeout_s} {TOOL} -d -S -v -t ALL.{wanted} {urls}"
    survived = "timeout -k 5 15 iscsi-inq $uri >/dev/null"
    serve = [iscsim, "serve", "--portal", "127.0.0.1:0", "--portal", "127.0.0.1:0"]
    serve += ["--lun", f"1={profile.spec}{LUN_EXTRAS.get(suite, '')}", *SERVE_EXTRAS.get(suite, ())]
    return [*serve, "--run", f"{tool} >{shlex.quote(str(output))} 2>&1; echo status $? >&2; {survived}"]


def _bounded(command: list[str], timeout_s: float) -> tuple[int | None, str]:
    """Exit status (None: too slow) and stderr."""
    try:
        result = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return None, (error.stderr or b"").decode(errors="replace")
    return result.returncode, result.stderr


def run_all(
    suites: list[str], profiles: Iterable[Profile], iscsim: str, timeout_s: int = 180, jobs: int = 2
) -> Iterator[SuiteResult]:
    """Every suite on every profile, ``jobs`` at a time, in the order of profiles and suites."""
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        yield from pool.map(
            lambda pair: run_suite(pair[1], pair[0], iscsim, timeout_s),
            [(profile, suite) for profile in profiles for suite in suites],
        )
