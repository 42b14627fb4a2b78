from __future__ import annotations

from pathlib import Path

from conformance.results import Results, matrix, read, shortened, write
from conformance.suites import SuiteResult, TestResult


def suite(profile: str, *tests: TestResult) -> SuiteResult:
    return SuiteResult(
        suite="Read10",
        profile=profile,
        tests=list(tests),
        seconds=1.0,
        hung=False,
        crashed=False,
        survived=True,
        traceback=False,
        log="",
    )


def some() -> Results:
    suites = [
        suite("thin", TestResult("Simple", "pass"), TestResult("Async", "skip", ["nothing to do", "more"])),
        suite("thick", TestResult("Simple", "fail", ["no"]), TestResult("Async", "skip", ["nothing to do"])),
    ]
    return Results(tagged={"b": "pass", "a": "fail"}, matrix=matrix(suites))


def test_the_matrix_has_tests_by_profile_with_the_first_thing_they_say() -> None:
    assert some().matrix == {
        "Read10.Simple": {"thin": ["pass"], "thick": ["fail", "no"]},
        "Read10.Async": {"thin": ["skip", "nothing to do"], "thick": ["skip", "nothing to do"]},
    }


def test_a_test_that_skips_everywhere_never_ran() -> None:
    found = some()
    assert [test for test in found.matrix if not found.ran(test)] == ["Read10.Async"]
    assert (found.count("thin", "pass"), found.count("thin", "skip")) == (1, 1)
    assert found.count("thick", "pass") == 0


def test_a_protected_test_did_not_really_run() -> None:
    found = Results(matrix={"Write10.Simple": {"read-only": ["protected", "no"]}})
    assert not found.ran("Write10.Simple")


def test_what_was_written_is_read_back_and_written_alike(tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    write(some(), first)
    write(read(first), second)
    assert read(first) == some()
    assert first.read_text() == second.read_text()
    assert list(read(first).tagged) == ["a", "b"]


def test_what_only_one_run_knows_is_left_out() -> None:
    assert shortened("at 0x7ffc12345678 of\n 127.0.0.1:40123  said") == "at ... of ... said"
    assert len(shortened("x" * 1000)) == 160
