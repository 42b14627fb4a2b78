"""Open-iscsi's numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from iscsim.initiator.exit_codes import IscsiadmExitCode

GOLDEN = Path(__file__).parents[1] / "golden"
REPORTED = re.compile(r"initiator reported error \((\d+) - (.*)\)")


@pytest.mark.parametrize("recording", sorted(GOLDEN.glob("*.log")), ids=lambda path: path.name)
def test_words_are_those_of_the_recordings(recording: Path) -> None:
    for code, words in REPORTED.findall(recording.read_text(encoding="utf-8")):
        assert IscsiadmExitCode(int(code)).words == words


def test_some_recording_has_words() -> None:
    found = {code for path in GOLDEN.glob("*.log") for code, _ in REPORTED.findall(path.read_text())}
    assert found >= {"8", "11", "19", "24"}


def test_code_no_login_ends_with_is_told_by_its_name() -> None:
    assert IscsiadmExitCode.NO_OBJS_FOUND.words == "NO_OBJS_FOUND"
