"""What happened, line by line: the proof that two runs are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

__all__ = ["Trace"]

_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Trace:
    """JSON lines, each with its virtual time, and the SHA-256 of all of them.

    ``keep`` lines are remembered for `lines`; with ``path`` all of them go to a file. Times are rounded to
    the nanosecond, keys sorted: the same run gives the same bytes.
    """

    def __init__(
        self, clock: Callable[[], float], *, path: str | Path | None = None, keep: int = 10000
    ) -> None:
        self.clock = clock
        self._hash = hashlib.sha256()
        self._keep = keep
        self._file: IO[str] | None = Path(path).open("w", encoding="utf-8") if path is not None else None
        self.lines: list[str] = []
        self.count = 0
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        self._later: list[tuple[float, str, Callable[[], dict[str, Any]]]] = []

    def add(self, event: str, **details: Any) -> None:
        """One more line. ``details`` are JSON's kinds of values."""
        if self._later:
            self.flush()
        self._write(self.clock(), event, details)

    def add_later(self, event: str, details: Callable[[], dict[str, Any]]) -> None:
        """A line of now, whose ``details`` are asked for when the next line comes, or the hash is wanted: a
        fault gets its triggers only after it was armed."""
        self._later.append((self.clock(), event, details))

    def flush(self) -> None:
        """Write the lines of `add_later`."""
        later, self._later = self._later, []
        for at, event, details in later:
            self._write(at, event, details())

    def _write(self, at: float, event: str, details: dict[str, Any]) -> None:
        entry = {"at": round(at, 9), "event": event, **details}
        line = _ENCODE(entry)
        self._hash.update(line.encode() + b"\n")
        self.count += 1
        if len(self.lines) < self._keep:
            self.lines.append(line)
        if self._file is not None:
            self._file.write(line + "\n")
        for listener in self.listeners:
            listener(entry)

    @property
    def sha256(self) -> str:
        """Of everything so far, in hexadecimal."""
        self.flush()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None
