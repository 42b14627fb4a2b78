"""The error of rtslib, and the connection all objects share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iscsim.net.control_client import ControlClient

__all__ = ["RTSLibError", "client", "raising"]


class RTSLibError(Exception):
    """What rtslib raises for everything."""


_CLIENTS: list[ControlClient] = []


def client() -> ControlClient:
    """The connection, made once. Raises RTSLibError when nobody is there."""
    from iscsim.net.control_client import ControlClient, default_socket

    if not _CLIENTS:
        path = default_socket()
        try:
            _CLIENTS.append(ControlClient(path or ""))
        except OSError as error:
            raise RTSLibError(
                f"no iscsim at {path or '$ISCSIM_CONTROL'}: {error.strerror or error}"
            ) from None
    return _CLIENTS[0]


@contextmanager
def raising() -> Iterator[None]:
    """What the target answers as an error is raised as rtslib's."""
    from iscsim.net.control_client import ControlError

    try:
        yield
    except ControlError as error:
        raise RTSLibError(str(error)) from None
