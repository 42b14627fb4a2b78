"""What a command leaves: two streams and an exit code."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

__all__ = ["CommandResult", "Output"]


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended. ``text`` and ``error`` are its streams, as a program would decode them."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def text(self) -> str:
        """Standard output."""
        return os.fsdecode(self.stdout)

    @property
    def error(self) -> str:
        """Standard error."""
        return os.fsdecode(self.stderr)


@dataclass(slots=True)
class Output:
    """Where a command writes to while it runs."""

    stdout: list[bytes] = field(default_factory=list)
    stderr: list[bytes] = field(default_factory=list)

    def line(self, text: str = "") -> None:
        """A line on standard output."""
        self.stdout.append(os.fsencode(text) + b"\n")

    def text(self, text: str) -> None:
        """Text on standard output, as it is."""
        self.stdout.append(os.fsencode(text))

    def data(self, data: bytes | bytearray | memoryview) -> None:
        """Bytes on standard output."""
        self.stdout.append(bytes(data))

    def error(self, text: str) -> None:
        """A line on standard error."""
        self.stderr.append(os.fsencode(text) + b"\n")

    def result(self, exit_code: int) -> CommandResult:
        """All of it."""
        return CommandResult(exit_code, b"".join(self.stdout), b"".join(self.stderr))
