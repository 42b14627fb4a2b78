"""Every section of an RFC that the sources, tests and documents cite is one the RFC has.

``tests/data/rfc*_sections.txt`` hold the section numbers of RFC 7143 and RFC 4171, taken once from their
headings. Lists and wrapped lines are followed: "RFC 7143 sections 6.1, 6.2 and 6.3". So are the tags of
tests, ``@rfc("7143", "6.1", row=29)``, and the rows of the checklist they name.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from conformance import checklist
from conformance.tags import tags
from iscsim import errors

ROOT = Path(__file__).parents[1]
CITING = [
    "iscsim/**/*.py",
    "tests/**/*.py",
    "benchmarks/**/*.py",
    "conformance/*.py",
    "docs/**/*.md",
    "pcaps/*.md",
    "*.md",
]
ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}

ITEM = r"(?:appendix\s)?(?:\d+(?:\.\d+)*|[A-E](?:\.\d+)+|(?<=appendix\s)[A-E]\b)"
DOTTED = r"(?:\d+|[A-E])(?:\.\d+)+"
BETWEEN = r"(?:,\s|\sto\s|(?:,?\sand\s)(?:sections?\s|chapters?\s)?)"
CITATION = re.compile(
    rf"RFC\s?(?P<rfc>7143|4171),?\s(?:"
    rf"(?:sections|chapters|appendices)\s(?P<many>{ITEM}(?:{BETWEEN}{ITEM})*)"
    rf"|(?:section\s|chapter\s)?(?P<one>{ITEM})(?P<more>(?:{BETWEEN}{DOTTED})*))",
    re.IGNORECASE,
)
# A comment, a docstring or a string literal that goes on in the next line reads as one text.
WRAP = re.compile(r"""["']?[ \t]*\n[ \t]*(?:#:?[ \t]?|f?["'](?!["']))?""")
# In these rooms a literal like "11.2.1.6" is the section of an error or of a key.
SECTION_LITERAL = re.compile(r"(?:[1-9]|1[0-6])(?:\.[1-9]\d?){1,3}")
ROOMS = ("pdu", "session", "target", "initiator")


@cache
def sections(rfc: str) -> frozenset[str]:
    known = ROOT / f"tests/data/rfc{rfc}_sections.txt"
    return frozenset(known.read_text().split() if known.exists() else ())


def citations(text: str) -> Iterator[tuple[str, str]]:
    """(RFC, section) of each citation in prose, comments and strings."""
    for match in CITATION.finditer(" ".join(WRAP.sub(" ", text).split())):
        cited = match["many"] or match["one"] + (match["more"] or "")
        for section in re.findall(r"\d+(?:\.\d+)*|\b[A-E](?:\.\d+)*\b", re.sub("(?i)appendix", "", cited)):
            yield match["rfc"], section


def literals(source: str, in_room: bool) -> Iterator[str]:
    """Sections given to errors, and in our rooms whatever else looks like one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ERRORS:
            given = [keyword.value for keyword in node.keywords if keyword.arg == "section"] + node.args[1:2]
            yield from (
                arg.value for arg in given if isinstance(arg, ast.Constant) and _is_section(arg.value)
            )
        elif in_room and isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from SECTION_LITERAL.findall(node.value) if SECTION_LITERAL.fullmatch(node.value) else ()


def _is_section(value: object) -> bool:
    return isinstance(value, str) and value not in ("", "header", "data")  # DigestError's second is its part


def wrong(text: str, python: bool = False, in_room: bool = False) -> list[str]:
    cited = [(rfc, section) for rfc, section in citations(text)]
    if python:
        cited += [("7143", section.removeprefix("Appendix ")) for section in literals(text, in_room)]
        cited += [(tag.rfc, section) for tag in tags(text, "") for section in tag.sections]
    return [f"RFC {rfc} has no section {section}" for rfc, section in cited if section not in sections(rfc)]


def documents() -> list[Path]:
    return sorted({path for pattern in CITING for path in ROOT.glob(pattern)})


def in_room(path: Path) -> bool:
    return path.relative_to(ROOT).parts[:1] == ("iscsim",) and path.relative_to(ROOT).parts[1] in ROOMS


def test_every_cited_section_exists() -> None:
    problems = {
        str(path.relative_to(ROOT)): wrong(path.read_text(), path.suffix == ".py", in_room(path))
        for path in documents()
    }
    assert {name: found for name, found in problems.items() if found} == {}


def test_citations_are_found_where_they_are() -> None:
    layouts = ROOT / "iscsim/pdu/layouts.py"
    cited = {section for _, section in citations(layouts.read_text())}
    assert {f"11.{number}" for number in range(3, 20)} <= cited
    assert "11.2.1.6" in set(literals((ROOT / "iscsim/pdu/wire.py").read_text(), in_room=True))


def test_the_lists_are_those_of_the_rfcs() -> None:
    assert {"1", "11.2.1.6", "13.26.2", "16.2", "A.3.4", "C", "E.2"} <= sections("7143")
    assert not {"11.3.1.1", "13.27", "17", "F", "A.5"} & sections("7143")
    assert (len(sections("7143")), len(sections("4171"))) == (368, 229)


def test_errors_that_know_their_section_know_a_real_one() -> None:
    made = errors.NegotiationError("x"), errors.DigestError("x", "header")
    assert {error.section for error in made} <= sections("7143")


# Written with braces, so that this file does not cite what it is looking for.
@pytest.mark.parametrize(
    "text,expected",
    [
        (f"RFC {7143} section 11.2.1.6.", ["11.2.1.6"]),
        (f"(RFC {7143} 6.2)", ["6.2"]),
        (f"RFC {7143}, section 6.2, and 3 more", ["6.2"]),
        (f"RFC{7143} chapter 13 has 26 keys", ["13"]),
        (f"RFC {7143} section 6.2: 99.9 % of it", ["6.2"]),
        (f"RFC {7143} sections 6.1, 6.2 and 13", ["6.1", "6.2", "13"]),
        (f"RFC {7143} 12.1.2 and 12.1.3 and 5 others", ["12.1.2", "12.1.3"]),
        (f"RFC {7143} sections 6.1 to 6.3 and chapter 13", ["6.1", "6.3", "13"]),
        (f"RFC {7143} Appendix C", ["C"]),
        (f"RFC {7143} Appendix E.1 and A.4", ["E.1", "A.4"]),
        (f"RFC {7143} A.4", ["A.4"]),
        (f"RFC {7143} describes it", []),
        (f"RFC\n    {7143} section\n    6.2", ["6.2"]),
        (f"# as RFC {7143} section\n    #: 4.2.2.1 has it", ["4.2.2.1"]),
        (f'"RFC {7143} "\n    "section 6.2"', ["6.2"]),
    ],
)
def test_a_citation_is_read(text: str, expected: list[str]) -> None:
    assert list(citations(text)) == [("7143", section) for section in expected]


@pytest.mark.parametrize(
    "text",
    [
        f"RFC {7143} section 11.3.1.1",
        f"RFC {7143} 17",
        f"RFC {7143} sections 6.1 and 6.9",
        f"RFC {7143} section\n# 99",
        f"RFC {7143} Appendix E.3",
        f"RFC {4171} section 7.9",
    ],
)
def test_a_citation_of_what_is_not_there_is_caught(text: str) -> None:
    assert len(wrong(text)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "raise FormatError('x', '11.2.9')",
        "raise errors.NegotiationError('x', section='6.9')",
        "raise LocalProtocolError(f'{x}', 'eleven') from None",
        "raise SequenceError('x', '17')",
    ],
)
def test_an_error_with_a_section_that_is_not_there_is_caught(source: str) -> None:
    assert len(wrong(source, python=True)) == 1


def test_a_key_with_a_section_that_is_not_there_is_caught() -> None:
    assert wrong("Key('MaxBurstLength', '13.27')", python=True, in_room=True)
    assert not wrong("portal = '127.0.0.1'; version = '0.1.0'", python=True, in_room=True)
    assert not wrong("DigestError('x', 'header'); FormatError('x', 'Appendix C')", python=True, in_room=True)


@pytest.mark.parametrize(
    "tag", ['rfc("7143", "6.1", "6.9", row=29)', 'rfc("7143", "13.27")', 'rfc("3720", "6.1")']
)
def test_a_tag_with_a_section_that_is_not_there_is_caught(tag: str) -> None:
    assert len(wrong(f"@{tag}\n@fixture\ndef test_it(): ...", python=True)) == 1
    assert wrong('@rfc("7143", "6.1", row=(29, "I3"))\nasync def test_it(): ...', python=True) == []


def test_the_checklist_cites_what_there_is() -> None:
    assert {section for row in checklist.load() for section in row.sections} <= sections("7143")
