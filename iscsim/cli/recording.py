"""``--pcap FILE``, for the commands that have it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iscsim.capture import Recorder


def open_recorder(path: Path, **options: Any) -> Recorder:
    """A recorder on the running loop's clock; ``options`` are those of ``Recorder``.

    Raises:
        ConfigError: the file cannot be written.
    """
    from iscsim.capture import Recorder, epoch_offset_s

    now = asyncio.get_running_loop().time()
    return Recorder(path, epoch_offset_s=epoch_offset_s(now), **options)
