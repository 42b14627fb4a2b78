"""A load generator: requests on a device, how long they took, and whether the data are as they were written.

A ``Load`` puts a ``Workload`` on anything that reads and writes blocks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iscsim.initiator.load.engine import Load as Load
    from iscsim.initiator.load.outcome import LoadOutcome as LoadOutcome
    from iscsim.initiator.load.verification import DataError as DataError
    from iscsim.initiator.load.verification import DataErrorKind as DataErrorKind
    from iscsim.initiator.load.workload import Workload as Workload

_HOMES = {
    "Load": "engine",
    "LoadOutcome": "outcome",
    "DataError": "verification",
    "DataErrorKind": "verification",
    "Workload": "workload",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'iscsim.initiator.load' has no attribute {name!r}")
    return getattr(import_module(f"iscsim.initiator.load.{_HOMES[name]}"), name)
