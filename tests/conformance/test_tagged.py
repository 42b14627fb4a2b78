from __future__ import annotations

from conformance.tagged import outcomes

REPORT = """<testsuites><testsuite>
<testcase classname="tests.target.test_x" name="test_one"/>
<testcase classname="tests.target.test_x" name="test_two[a]"/>
<testcase classname="tests.target.test_x" name="test_two[b]"><failure message="no"/></testcase>
<testcase classname="tests.target.test_x" name="test_two[c]"><skipped message="no"/></testcase>
<testcase classname="tests.target.test_x" name="test_three"><error message="no"/></testcase>
</testsuite></testsuites>"""


def test_the_worst_of_its_parameters_is_the_outcome_of_a_test() -> None:
    assert outcomes(REPORT) == {
        "tests/target/test_x.py::test_one": "pass",
        "tests/target/test_x.py::test_two": "fail",
        "tests/target/test_x.py::test_three": "fail",
    }
