"""What a command leaves."""

from __future__ import annotations

from iscsim.host.result import CommandResult, Output


def test_output_keeps_the_streams_apart() -> None:
    output = Output()
    output.line("one")
    output.error("two")
    output.text("three")
    output.data(memoryview(b"\xff"))
    assert output.result(4) == CommandResult(4, b"one\nthree\xff", b"two\n")


def test_bytes_that_are_no_text_can_be_shown_and_written_again() -> None:
    result = CommandResult(0, b"\xff\n", b"\xfe")
    assert (result.text, result.error) == ("\udcff\n", "\udcfe")
    output = Output()
    output.text(result.text)
    assert output.result(0).stdout == result.stdout
