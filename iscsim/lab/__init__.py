"""The roof: targets, hosts, network, faults and captures wired to one world.

The names below are loaded when they are first used: who only serves a target pays for nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iscsim.lab.host import LabHost as LabHost
    from iscsim.lab.oracles import BrokenInvariant as BrokenInvariant
    from iscsim.lab.serving import LiveTarget as LiveTarget
    from iscsim.lab.serving import serve as serve
    from iscsim.lab.world import Lab as Lab

_HOME_OF = {
    "BrokenInvariant": "oracles",
    "Lab": "world",
    "LabHost": "host",
    "LiveTarget": "serving",
    "serve": "serving",
}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    try:
        module = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module 'iscsim.lab' has no attribute {name!r}") from None
    return getattr(import_module(f"iscsim.lab.{module}"), name)


def __dir__() -> list[str]:
    return __all__
