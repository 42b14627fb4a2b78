"""What the control socket answers, as JSON: the shapes of the results of `ControlClient`."""

from __future__ import annotations

from typing import Any, TypedDict

__all__ = [
    "ACLRow",
    "AccessRow",
    "BackstoreRow",
    "Counters",
    "LUNCounters",
    "LUNRow",
    "MappedLUNRow",
    "Model",
    "PortalRow",
    "SessionRow",
    "TPGRow",
    "TargetRow",
]


class BackstoreRow(TypedDict):
    """Where blocks are, and who they say they are. Sizes are bytes."""

    name: str
    plugin: str
    """``ramdisk`` (memory), ``fileio`` or ``block`` (a file or device)."""
    path: str | None
    size: int
    block_size: int
    serial: str
    """The unit serial number; with LIO's personality a UUID."""
    wwn: str
    """NAA-6: 32 hexadecimal digits."""
    read_only: bool
    write_back: bool
    thin: bool
    attributes: dict[str, Any]
    """Those of LIO, kept as they were given."""


class PortalRow(TypedDict):
    """Where it listens. Port 0 was made the real one."""

    address: str
    port: int


class AccessRow(TypedDict):
    """The asymmetric access state of a unit through a portal group."""

    tag: int
    state: str
    preferred: bool


class LUNRow(TypedDict):
    """A LUN of a portal group."""

    lun: int
    backstore: str
    alias: str
    read_only: bool
    access_states: list[AccessRow]


class MappedLUNRow(TypedDict):
    """A LUN as one initiator sees it: its number there, and that in the portal group."""

    lun: int
    tpg_lun: int
    write_protect: bool
    alias: str


class ACLRow(TypedDict):
    """An initiator that may log in. Passwords are None unless the model was asked for with its secrets."""

    initiator: str
    user: str
    password: str | None
    mutual_user: str
    mutual_password: str | None
    attributes: dict[str, Any]
    mapped_luns: list[MappedLUNRow]


class TPGRow(TypedDict):
    """A target portal group. ``user`` and so on are for those who need no ACL (demo mode)."""

    tag: int
    enabled: bool
    user: str
    password: str | None
    mutual_user: str
    mutual_password: str | None
    attributes: dict[str, Any]
    parameters: dict[str, Any]
    portals: list[PortalRow]
    luns: list[LUNRow]
    acls: list[ACLRow]


class TargetRow(TypedDict):
    """One target with all that belongs to it."""

    name: str
    alias: str
    personality: str
    parameters: dict[str, Any]
    sessions: int
    tpgs: list[TPGRow]


class Model(TypedDict):
    """All there is to save: what `ControlClient.describe` answers, and a state file is made of."""

    personality: str
    backstores: list[BackstoreRow]
    targets: list[TargetRow]


class SessionRow(TypedDict):
    """A session. ``target`` is None for one that discovers; ``isid`` is hexadecimal."""

    tsih: int
    type: str
    initiator: str
    isid: str
    target: str | None
    portal_group_tag: int
    connections: int
    addresses: list[str]
    requests: int
    """Requests it has sent, immediate ones not among them; counted modulo 2**32."""


class LUNCounters(TypedDict):
    """What is known of a backstore; errors since it was last reset."""

    blocks: int
    sessions: int
    """Those that see it."""
    open_commands: int
    read_errors: int
    write_errors: int


class Counters(TypedDict):
    """Numbers of now, and since the target began to serve."""

    uptime_s: float
    targets: int
    connections: int
    sessions: int
    discovery_sessions: int
    logins: dict[str, int]
    """How many ended so, by status: ``0x0000``, ``0x0202``..."""
    requests: int
    """Of all sessions, those that have ended too."""
    open_commands: int
    luns: dict[str, LUNCounters]
    """By backstore."""
