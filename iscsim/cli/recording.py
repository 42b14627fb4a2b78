"""``--pcap FILE``, for the commands that have it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iscsim.capture import Recorder


def open_recorder(path: Path, **options: Any) -> Recorder:
    """A recorder in real time; ``options`` are those of ``Recorder``.

    Raises:
        ConfigError: the file cannot be written.
    """
    from iscsim.capture import real_time_recorder

    return real_time_recorder(path, **options)
