"""``iscsim host exec``: its options and errors; programs run in tests/interop/test_host_exec.py."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_help_names_what_it_does(cli) -> None:
    done = cli("host", "--help")
    assert done.code == 0
    assert "exec" in done.stdout
    assert "$ISCSIM_NBD" in cli("host", "exec", "--help").stdout


def test_it_needs_a_program(cli) -> None:
    cli("host", "exec").assert_failed(2, "CMD")


@pytest.mark.parametrize(
    "options, what",
    [
        (["--way", "chroot"], "expected one of unshare, bwrap, proot"),
        (["--host", "other"], "no host 'other' (there are: newton)"),
        (["--lab", "/no/such/file.toml"], "No such file"),
    ],
)
def test_what_is_wrong_is_one_line(cli, options: list[str], what: str) -> None:
    cli("host", "exec", *options, "--", "true").assert_failed(2, what)


def test_a_machine_that_does_not_allow_it(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = cli("host", "exec", "--", "true")
    done.assert_failed(3, "unshare is not installed; bwrap is not installed; proot is not installed")
