"""``iscsim config``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_good_file_says_nothing(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "good.toml"
    path.write_text('personality = "lio"\n[[target]]\nluns = ["1=64M"]\n')
    done = cli("config", "check", path)
    assert (done.code, done.stdout, done.stderr) == (0, "", "")


def test_every_mistake_is_a_line_and_2(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('personality = "loi"\n[[targets]]\n')
    done = cli("config", "check", path)
    assert (done.code, done.stdout) == (2, "")
    first, second = sorted(done.stderr.splitlines())
    assert first == f"iscsim: error: {path}: personality: 'loi' is none (did you mean 'lio'?)"
    assert second == f"iscsim: error: {path}: unknown key 'targets' (did you mean 'target'?)"


def test_missing_file_is_a_line_and_2(cli: Any, tmp_path: Path) -> None:
    cli("config", "check", tmp_path / "none").assert_failed(2, "No such file")


def test_schema_is_json(cli: Any) -> None:
    assert json.loads(cli("config", "schema").stdout)["title"] == "A configuration of iscsim serve"
