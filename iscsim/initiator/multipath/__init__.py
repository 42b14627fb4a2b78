"""One device out of several paths, as device-mapper and multipath-tools make it.

The names below are loaded when they are first used: what needs no event loop stays without one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iscsim.initiator.multipath.daemon import MultipathDaemon as MultipathDaemon
    from iscsim.initiator.multipath.device import POLICIES as POLICIES
    from iscsim.initiator.multipath.device import MapInUse as MapInUse
    from iscsim.initiator.multipath.device import MultipathDevice as MultipathDevice
    from iscsim.initiator.multipath.device import Policy as Policy
    from iscsim.initiator.multipath.device import group_paths as group_paths
    from iscsim.initiator.multipath.grouping import PathGroup as PathGroup
    from iscsim.initiator.multipath.hardware import MapSettings as MapSettings
    from iscsim.initiator.multipath.hardware import settings_for as settings_for
    from iscsim.initiator.multipath.path import Path as Path
    from iscsim.initiator.multipath.show import format_size as format_size
    from iscsim.initiator.multipath.states import CheckerState as CheckerState
    from iscsim.initiator.multipath.states import GroupState as GroupState
    from iscsim.initiator.multipath.states import PathState as PathState
    from iscsim.initiator.multipath.verdicts import PATH_ERRORS as PATH_ERRORS

_HOMES = {
    "daemon": ("MultipathDaemon",),
    "device": ("POLICIES", "MapInUse", "MultipathDevice", "Policy", "group_paths"),
    "grouping": ("PathGroup",),
    "hardware": ("MapSettings", "settings_for"),
    "path": ("Path",),
    "show": ("format_size",),
    "states": ("CheckerState", "GroupState", "PathState"),
    "verdicts": ("PATH_ERRORS",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    try:
        module = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module 'iscsim.initiator.multipath' has no attribute {name!r}") from None
    return getattr(import_module(f"iscsim.initiator.multipath.{module}"), name)


def __dir__() -> list[str]:
    return __all__
