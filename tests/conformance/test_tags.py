from __future__ import annotations

from pathlib import Path

import pytest

from conformance.tags import Tag, collect, tags

TARGETS = "tests/target/test_x.py"


def only(decorator: str, path: str = TARGETS, head: str = "def") -> Tag:
    (tag,) = tags(f"{decorator}\n{head} test_it(): ...\n", path)
    return tag


def test_a_tag_has_sections_rows_and_a_side() -> None:
    tag = only('@rfc("7143", "6.1", "6.2", row=(29, "I3"))')
    assert tag == Tag(f"{TARGETS}::test_it", "7143", ("6.1", "6.2"), ("29", "I3"), "target")


@pytest.mark.parametrize(
    "decorator, path, side",
    [
        ('@rfc("7143", "6.1", row=1)', "tests/initiator/test_x.py", "initiator"),
        ('@rfc("7143", "6.1", row=1)', "tests/session/test_login_initiator.py", "initiator"),
        ('@rfc("7143", "6.1", row=1, side="both")', TARGETS, "both"),
    ],
)
def test_the_side_is_said_or_is_that_of_the_room(decorator: str, path: str, side: str) -> None:
    assert only(decorator, path).side == side


def test_a_test_may_have_several_tags_and_be_a_coroutine() -> None:
    source = '@rfc("7143", "6.1", row=1)\n@mark\n@rfc("7143", "6.2", row=2)\nasync def test_it(): ...\n'
    assert [tag.rows for tag in tags(source, TARGETS)] == [("1",), ("2",)]


def test_a_tag_proves_the_rows_it_names_for_its_side() -> None:
    tag = only('@rfc("7143", "6.1", row=29)')
    assert tag.proves("29", "target")
    assert not tag.proves("29", "initiator")
    assert not tag.proves("2", "target")
    assert only('@rfc("7143", "6.1", row=29, side="both")').proves("29", "initiator")


def test_a_tag_that_is_computed_is_refused() -> None:
    with pytest.raises(ValueError):
        only('@rfc("7143", SECTION, row=1)')


def test_tags_are_collected_from_test_files_only(tmp_path: Path) -> None:
    room = tmp_path / "tests" / "target"
    room.mkdir(parents=True)
    for name in ("test_x.py", "ladder.py"):
        (room / name).write_text('@rfc("7143", "6.1", row=1)\ndef test_it(): ...\n')
    assert [tag.test for tag in collect(tmp_path)] == [f"{TARGETS}::test_it"]
