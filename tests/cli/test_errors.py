"""Exit codes, and errors as one line."""

from __future__ import annotations

import pytest
import typer

from iscsim.cli.errors import EnvironmentFailure, ExitCode, report
from iscsim.errors import ConfigError, ConnectionFailed, LoginFailed
from iscsim.net.rpc import FAILED, RPCError
from iscsim.scsi.sense import CommandFailed


@pytest.mark.parametrize(
    "error, code, line",
    [
        (ConfigError("no name"), 2, "no name"),
        (EnvironmentFailure("port in use"), 3, "port in use"),
        (ConnectionFailed("nobody there"), 1, "nobody there"),
        (LoginFailed("refused", 2, 1), 1, "refused"),
        (RPCError(FAILED, "not done"), 1, "not done"),
        (CommandFailed(8), 1, "SCSI command ended with BUSY"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (OSError("of its own words"), 1, "of its own words"),
        (ConfigError("two\n  lines"), 2, "two lines"),
    ],
)
def test_error_is_one_line_and_its_code(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, line: str
) -> None:
    assert report(error) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"iscsim: error: {line}\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_interrupt_says_nothing(capsys: pytest.CaptureFixture[str], error: BaseException) -> None:
    assert report(error) == ExitCode.INTERRUPTED == 130
    assert capsys.readouterr().err == ""


def test_what_should_not_have_happened_is_not_dressed_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ZeroDivisionError()) is None
    assert capsys.readouterr().err == ""
