"""How a change fails: one line for the user, and a code for programs (JSON-RPC 2.0, "Error object")."""

from __future__ import annotations

from iscsim.errors import ConfigError

__all__ = ["AlreadyExists", "InUse", "NotFound"]


class NotFound(ConfigError):
    """There is none of that name or number."""

    rpc_code = -32001


class AlreadyExists(ConfigError):
    """There is one already."""

    rpc_code = -32002


class InUse(ConfigError):
    """Something else needs it, or all places are taken."""

    rpc_code = -32003
