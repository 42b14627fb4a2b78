"""The file of a capture. A capture must never break what it looks at: a disk that is full ends it, once."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from iscsim.capture.pcapng import PcapngWriter
from iscsim.errors import ConfigError

_log = logging.getLogger("iscsim.capture")


class CaptureFile:
    """A context manager around a `PcapngWriter` and its file, complete after every `write`.

    ``path_or_file`` is a path (replaced when it exists, closed by :meth:`close`) or a binary file of the
    caller's. ``epoch_offset_s`` turns every ``now`` into seconds since 1970.

    Raises:
        ConfigError: the file cannot be created.
    """

    def __init__(self, path_or_file: str | Path | BinaryIO, *, epoch_offset_s: float = 0.0) -> None:
        self._owned_file: BinaryIO | None = None
        if isinstance(path_or_file, str | Path):
            self._owned_file = _create(path_or_file)
        file = self._owned_file if isinstance(path_or_file, str | Path) else path_or_file
        assert file is not None
        self.name = str(getattr(file, "name", "capture"))
        self._writer: PcapngWriter | None = PcapngWriter(file, epoch_offset_s=epoch_offset_s)
        self._flush()

    @property
    def is_recording(self) -> bool:
        """False once the capture is closed or had to stop."""
        return self._writer is not None

    def write(self, write: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Call ``write``, which writes packets, while there is a file for them."""
        if self._writer is None:
            return
        try:
            write(*arguments, **options)
            self._writer.flush()
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Write what is left and close the file. Connections still open get no FIN: none was seen."""
        self._flush()
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _flush(self) -> None:
        self.write(lambda: None)

    def _fail(self, error: OSError) -> None:
        _log.warning("capture %s: recording stopped: %s", self.name, error.strerror or error)
        self._stop()

    def _stop(self) -> None:
        self._writer = None
        if self._owned_file is not None:
            # What matters was written, or its failure reported, before.
            with contextlib.suppress(OSError):
                self._owned_file.close()
            self._owned_file = None


def _create(path: str | Path) -> BinaryIO:
    """Unbuffered: a buffer that cannot be written would fail a second time when it is closed."""
    try:
        return open(path, "wb", buffering=0)
    except OSError as error:
        raise ConfigError(f"cannot write capture {path}: {error.strerror or error}") from error
