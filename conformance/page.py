"""``docs/conformance.md``, made of the checklist, the tags in the tests and the results of the last run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from conformance.checklist import Row
from conformance.profiles import PROFILES
from conformance.results import Results
from conformance.tags import ROOT, Tag

FILE = ROOT / "docs" / "conformance.md"
SIDES = ("target", "initiator")
SHOWN = {"pass": "pass", "skip": "skip", "protected": "wp", "fail": "**FAIL**", "hang": "**HANG**", "": ""}

INTRO = """\
# Conformance

What RFC 7143 asks and emulators usually get wrong, with the tests that prove it here; and what libiscsi's
conformance tool finds. This page is generated: `make conformance` runs everything again and rewrites it,
`make check` fails when it does not fit the tests any more.
"""
MATRIX_INTRO = """\
Every suite runs in a process of its own, against a target of its own, with `-d -S`. *skip*: the test found
nothing to test on this unit. *wp*: the unit is write protected and refused the test's first write with
DATA PROTECT, 07/27/00, as it must; a test that complains of anything else first counts as failed.
(Write10.Async and iSCSITMF.AbortTaskSimpleAsync do nothing but write and name no sense key: what refused
them is taken to be that. ExtendedCopy.ValidTgtDescr and ReceiveCopyResults.CopyStatus copy onto the unit:
COPY ABORTED is taken to be for that. Sanitize.Reset does not look whether its SANITIZE was taken, and wonders
that the unit is ready.)
"""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the page is made of."""

    rows: list[Row]
    tags: list[Tag]
    results: Results

    def render(self) -> str:
        """The whole page."""
        parts = [INTRO, *self._summary(), *self._checklist(), *self._matrix()]
        return "\n".join(part.rstrip("\n") + "\n" for part in parts)

    def tests(self, row: Row, side: str) -> list[str]:
        """The tests that prove ``row`` for ``side``."""
        return list(dict.fromkeys(tag.test for tag in self.tags if tag.proves(row.number, side)))

    def verdict(self, row: Row) -> str:
        """``proved`` when every side the row is for has tests and all of them passed."""
        tests = [self.tests(row, side) for side in row.sides]
        if not all(tests):
            return "**no test**"
        passed = all(self.results.tagged.get(test) == "pass" for each in tests for test in each)
        return "proved" if passed else "**FAILS**"

    # -- the whole in a few lines ----------------------------------------------------------------------

    def _summary(self) -> Iterator[str]:
        proved = sum(self.verdict(row) == "proved" for row in self.rows)
        tagged = {tag.test for tag in self.tags}
        ran = [test for test in self.results.matrix if self.results.ran(test)]
        yield "## In short\n"
        yield (
            f"- RFC 7143: {proved} of {len(self.rows)} rows of the checklist are proved, by {len(tagged)}"
            " tests that drive the target or the initiator with PDUs.\n"
            f"- `iscsi-test-cu`: {len(self.results.matrix)} tests on {len(PROFILES)} units;"
            f" {len(ran)} of them really run on at least one.\n"
        )
        yield table(
            ["unit", "`--lun`", "shows", "pass", "wp", "skip", "fail"],
            (
                [profile.name, f"`1={profile.spec}`", profile.shows, *self._totals(profile.name)]
                for profile in PROFILES
            ),
        )
        yield from self._exceptions()

    def _totals(self, profile: str) -> Iterator[str]:
        for outcome in ("pass", "protected", "skip"):
            yield str(self.results.count(profile, outcome))
        yield str(self.results.count(profile, "fail") + self.results.count(profile, "hang"))

    def _exceptions(self) -> Iterator[str]:
        never = [test for test in self.results.matrix if not self.results.ran(test)]
        failed = [
            [test, profile, text(result)]
            for test, by_profile in self.results.matrix.items()
            for profile, result in by_profile.items()
            if result[0] in ("fail", "hang")
        ]
        if failed:
            yield "### What fails\n"
            yield table(["test", "unit", "what it says"], failed)
        if never:
            yield "### What never runs\n"
            yield table(["test", "what it says"], ([test, self._reason(test)] for test in never))
        if self.results.trouble:
            yield "### What must not happen\n"
            yield table(["suite", "what happened"], ([*item] for item in self.results.trouble.items()))

    def _reason(self, test: str) -> str:
        return text(next(iter(self.results.matrix[test].values())))

    # -- the checklist ---------------------------------------------------------------------------------

    def _checklist(self) -> Iterator[str]:
        yield "## RFC 7143, row by row\n"
        yield (
            "Rows I1 to I13 are the initiator's own. Each test names its row in the source,"
            ' `@rfc("7143", "4.2.2.1", row=2)`.\n'
        )
        yield table(
            [
                "row",
                "section",
                "what it asks",
                "side",
                "tests of the target",
                "tests of the initiator",
                "verdict",
            ],
            (
                [
                    row.number,
                    ", ".join(row.sections),
                    row.requirement,
                    row.side,
                    *("<br>".join(map(link, self.tests(row, side))) for side in SIDES),
                    self.verdict(row),
                ]
                for row in self.rows
            ),
        )

    # -- libiscsi's matrix -----------------------------------------------------------------------------

    def _matrix(self) -> Iterator[str]:
        yield "## iscsi-test-cu, test by test\n"
        yield MATRIX_INTRO
        names = [profile.name for profile in PROFILES]
        yield table(
            ["test", *names],
            (
                [test, *(SHOWN[self.results.outcome(test, name)] for name in names)]
                for test in self.results.matrix
            ),
        )


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A table of Markdown; a bar within a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def link(test: str) -> str:
    """A test's name as a sentence that leads to its file."""
    path, _, name = test.partition("::")
    return f"[{name.removeprefix('test_').replace('_', ' ')}](../{path})"


def text(result: list[str]) -> str:
    """What a test says of its outcome, or the outcome."""
    return result[1] if len(result) > 1 else result[0]
