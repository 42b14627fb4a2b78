from __future__ import annotations

import pytest

from conformance.suites import SuiteResult, TestResult, outcomes

OUTPUT = """\
Suite: Write10
  Test: Simple ...passed
  Test: Flags ...    [SKIPPED] LBPPB < 2. Skipping test
    [SKIPPED] LBPPB < 2. Skipping test
passed
  Test: Dpo ...    [INFO] a unit attention
passed
  Test: BeyondEol ...    [FAILED] WRITE10 failed with wrong sense.
    [FAILED] WRITE10 failed with wrong sense.
FAILED
    1. test_write10_beyond_eol.c:47  - CU_ASSERT_EQUAL(_r,0)

Run Summary:    Type  Total    Ran Passed Failed Inactive
"""
WRITE_PROTECTED = "sense key DATA PROTECTION(0x07) / ASCQ WRITE_PROTECTED(0x2700)"


def failed(*reasons: str, name: str = "Simple") -> str:
    lines = "".join(f"    [FAILED] {reason}\n" for reason in reasons)
    return f"  Test: {name} ...{lines}FAILED\n\nRun Summary: \n"


def outcome(text: str, suite: str = "Write10", protected: bool = True) -> str:
    (test,) = outcomes(text, suite, protected)
    return test.outcome


def test_a_skip_is_told_from_a_pass() -> None:
    assert [(test.name, test.outcome) for test in outcomes(OUTPUT)] == [
        ("Simple", "pass"),
        ("Flags", "skip"),
        ("Dpo", "pass"),
        ("BeyondEol", "fail"),
    ]


def test_what_a_test_says_is_told_once() -> None:
    reasons = {test.name: test.reasons for test in outcomes(OUTPUT)}
    assert reasons["Flags"] == ["LBPPB < 2. Skipping test"]
    assert reasons["BeyondEol"] == [
        "WRITE10 failed with wrong sense.",
        "test_write10_beyond_eol.c:47  - CU_ASSERT_EQUAL(_r,0)",
    ]


def test_a_test_without_an_end_hangs() -> None:
    (test,) = outcomes("  Test: Simple ...    [FAILED] something\n")
    assert test.outcome == "hang"


@pytest.mark.parametrize(
    "reason",
    [
        f"WRITE10 command failed with status 2 / {WRITE_PROTECTED}",
        "WRITE10 failed with wrong sense. Should have failed with ILLEGAL_REQUEST(0x05)/LBA_OUT_OF_RANGE"
        "(0x2100) but failed with Sense: (null)(0x07)/(0x2700)",
        "WRITE10 command: failed with sense: SENSE KEY:DATA PROTECTION(7) ASCQ:WRITE_PROTECTED(0x2700)",
    ],
)
def test_a_refused_write_is_no_failure_on_a_protected_unit_only(reason: str) -> None:
    assert outcome(failed(reason)) == "protected"
    assert outcome(failed(reason), protected=False) == "fail"


def test_another_failure_first_is_a_failure_on_a_protected_unit_too() -> None:
    assert outcome(failed("READ10 returned nonsense", WRITE_PROTECTED)) == "fail"
    assert outcome(failed()) == "fail"
    should = (
        "Should have failed with DATA PROTECTION(0x07)/(0x2700) but failed with Sense: (null)(0x05)/(0x2400)"
    )
    assert outcome(failed(should)) == "fail"


def test_a_test_that_does_not_say_what_refused_it_is_known_by_name() -> None:
    silent = failed("CU_ASSERT_NOT_EQUAL(status,SCSI_STATUS_CHECK_CONDITION)", name="Async")
    assert outcome(silent) == "protected"
    assert outcome(silent, "Read10") == "fail"


def test_a_sanitize_that_was_refused_unseen_is_no_failure_on_a_protected_unit() -> None:
    ready = failed(
        "TESTUNITREADY successful but should have failed with NOT READY(0x02)/SANITIZE_IN_PROGRESS(0x041b)",
        name="Reset",
    )
    assert outcome(ready, "Sanitize") == "protected"
    assert outcome(ready, "Reserve6") == "fail"


def test_a_copy_onto_a_protected_unit_is_aborted_for_what_its_write_was_answered_with() -> None:
    aborted = failed(
        "EXTENDEDCOPY command failed with status 2 / sense key COPY ABORTED(0x0a) / ASCQ (null)(0x0d01)",
        name="ValidTgtDescr",
    )
    assert outcome(aborted, "ExtendedCopy") == "protected"
    assert outcome(aborted, "Write10") == "fail"


@pytest.mark.parametrize(
    "change, trouble",
    [
        ({}, ""),
        ({"hung": True}, "HANGS"),
        ({"crashed": True}, "the tool crashed"),
        ({"traceback": True}, "TRACEBACK in the target's log"),
        ({"survived": False}, "the target DID NOT SURVIVE"),
        ({"tests": []}, "no test ran"),
    ],
)
def test_trouble_is_what_must_never_happen(change: dict[str, object], trouble: str) -> None:
    fine: dict[str, object] = {"hung": False, "crashed": False, "survived": True, "traceback": False}
    fine |= {"suite": "Write10", "profile": "thin", "seconds": 1.0, "log": ""}
    fine["tests"] = [TestResult("Simple", "pass")]
    assert SuiteResult(**(fine | change)).trouble == trouble
