"""iSCSI in user space: target, initiator, network, faults and captures for tests.

The names below are loaded when they are first used, so that ``import iscsim`` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from iscsim.capture import Recorder as Recorder
    from iscsim.errors import ConfigError as ConfigError
    from iscsim.errors import ConnectionFailed as ConnectionFailed
    from iscsim.errors import FaultError as FaultError
    from iscsim.errors import ISCSIError as ISCSIError
    from iscsim.errors import LoginFailed as LoginFailed
    from iscsim.errors import SessionFailed as SessionFailed
    from iscsim.initiator import MultipathDevice as MultipathDevice
    from iscsim.initiator import SCSIHost as SCSIHost
    from iscsim.initiator import connect as connect
    from iscsim.initiator import discover as discover
    from iscsim.initiator import group_paths as group_paths
    from iscsim.initiator import log_in as log_in
    from iscsim.lab.host import LabHost as LabHost
    from iscsim.lab.oracles import BrokenInvariant as BrokenInvariant
    from iscsim.lab.serving import LiveTarget as LiveTarget
    from iscsim.lab.serving import serve as serve
    from iscsim.lab.world import Lab as Lab
    from iscsim.scsi.logical_unit import LogicalUnit as LogicalUnit
    from iscsim.scsi.sense import CommandFailed as CommandFailed
    from iscsim.scsi.store import FileStore as FileStore
    from iscsim.scsi.store import MemoryStore as MemoryStore
    from iscsim.session.chap import ChapConfig as ChapConfig
    from iscsim.session.chap import ChapCredential as ChapCredential
    from iscsim.target.node import NetworkEntity as NetworkEntity
    from iscsim.target.node import Portal as Portal
    from iscsim.target.node import TargetNode as TargetNode
    from iscsim.target.server import TargetServer as TargetServer

_HOMES = {
    "iscsim.capture": ("Recorder",),
    "iscsim.errors": (
        "ConfigError",
        "ConnectionFailed",
        "FaultError",
        "ISCSIError",
        "LoginFailed",
        "SessionFailed",
    ),
    "iscsim.initiator": ("MultipathDevice", "SCSIHost", "connect", "discover", "group_paths", "log_in"),
    "iscsim.lab.host": ("LabHost",),
    "iscsim.lab.oracles": ("BrokenInvariant",),
    "iscsim.lab.serving": ("LiveTarget", "serve"),
    "iscsim.lab.world": ("Lab",),
    "iscsim.scsi.logical_unit": ("LogicalUnit",),
    "iscsim.scsi.sense": ("CommandFailed",),
    "iscsim.scsi.store": ("FileStore", "MemoryStore"),
    "iscsim.session.chap": ("ChapConfig", "ChapCredential"),
    "iscsim.target.node": ("NetworkEntity", "Portal", "TargetNode"),
    "iscsim.target.server": ("TargetServer",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [*sorted(_HOME_OF), "__version__"]


def __getattr__(name: str) -> Any:
    try:
        module = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module 'iscsim' has no attribute {name!r}") from None
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return __all__
