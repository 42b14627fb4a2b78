"""What the servers of a host have in common: a UNIX socket for its owner alone, a task for each client."""

from __future__ import annotations

import asyncio
import logging
import os
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

from iscsim.net.private_socket import serve_privately

__all__ = ["SocketServer"]

logger = logging.getLogger("iscsim.host")


class SocketServer(ABC):
    """Serves clients on the socket ``path`` until it is closed; ``client_kind`` is what the log calls them.

    Raises OSError from :meth:`start` when the socket cannot be made.
    """

    client_kind = "client"
    options: dict[str, Any] = {}
    """For ``asyncio.start_unix_server``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._clients: dict[asyncio.Task[None], None] = {}

    @abstractmethod
    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client to its end. Raises ValueError for what it may not say."""

    async def start(self) -> None:
        """Listen."""
        self._server = await serve_privately(self._client, self.path, **self.options)

    async def close(self) -> None:
        """Stop, and end what clients are waiting for."""
        self._server.close()
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = None
        try:
            await self._converse(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            logger.debug("%s has gone: %s", self.client_kind, error)
        except ValueError as error:
            logger.warning("%s: %s", self.client_kind, error)
        except asyncio.CancelledError:
            if self._server.is_serving():
                raise
        finally:
            del self._clients[task]
            writer.close()
