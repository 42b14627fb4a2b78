"""The emulated host of a test, and os-brick on it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from iscsim.host.sandbox.sandbox import HostSandbox
from iscsim.lab.linux_host import linux_host

if TYPE_CHECKING:
    from iscsim.pytest_plugin.settings import Settings
    from iscsim.pytest_plugin.world import PytestLab

__all__ = ["sandboxed_host"]

_NAME = "compute"


@contextmanager
def sandboxed_host(lab: PytestLab, settings: Settings) -> Iterator[HostSandbox]:
    """The host in a sandbox; it logs out and ends when the test has.

    Raises:
        ConfigError: a setting there is not; a package that is not installed.
    """
    host = linux_host(lab, _NAME, settings=settings.host)
    brick = ("os_brick",) if importlib.util.find_spec("os_brick") else ()
    packages = tuple(dict.fromkeys((*brick, *settings.packages)))
    try:
        with HostSandbox(host, packages=packages, loop=lab.loop, seed=settings.seed) as box:
            yield box
    finally:
        lab.loop.run_until_complete(host.close())
