"""Sockets nobody else may connect to."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from iscsim.net.private_socket import serve_privately


async def test_socket_has_its_mode_and_the_umask_is_as_before(tmp_path: Path) -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    before = os.umask(0o022)
    try:
        server = await serve_privately(converse, tmp_path / "socket")
        mode = os.stat(tmp_path / "socket").st_mode & 0o777
        assert (mode, os.umask(0o022)) == (0o600, 0o022)
        server.close()
        await server.wait_closed()
    finally:
        os.umask(before)
