"""The one place where scapy is imported, and only when something asks for it.

Importing scapy takes a good part of a second and reads the machine's routes; a target that is not
asked to read a capture must not pay for it. Some releases of scapy, and of the cryptography package
it picks up, warn about their own deprecations while they are imported: nothing a user of iscsim, or
a test run under ``-W error``, can do anything about, so those are kept quiet here.
"""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType


def scapy_module(name: str) -> ModuleType:
    """Import ``scapy.<name>``, for example ``scapy_module("utils")``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"scapy.{name}")
