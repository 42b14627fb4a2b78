"""UNIX sockets for their owner alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

__all__ = ["serve_privately"]

Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serve_privately(converse: Converse, path: str | Path, **options: Any) -> asyncio.Server:
    """``asyncio.start_unix_server`` on a socket that has mode 0600 from the beginning. Raises OSError."""
    mask = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(converse, path, **options)
    finally:
        os.umask(mask)
