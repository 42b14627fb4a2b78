"""Ways into a namespace in which a program sees the emulated host: unshare, else bwrap, else proot."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from iscsim.host.exec.layout import Layout

__all__ = ["WAYS", "NoNamespace", "choose_way"]

_PROBE_S = 20.0


class NoNamespace(Exception):
    """This machine allows none of the ways; the message is one line, with the reason of each."""


def _unshare(layout: Layout, entering: list[str]) -> list[str]:
    return ["unshare", "--user", "--map-root-user", "--mount", "--uts", "--", *entering]


def _bwrap(layout: Layout, entering: list[str]) -> list[str]:
    spaces = ["--unshare-user", "--unshare-uts", "--uid", "0", "--gid", "0", "--cap-add", "ALL"]
    return ["bwrap", "--dev-bind", "/", "/", *spaces, "--", *entering]


def _proot(layout: Layout, entering: list[str]) -> list[str]:
    """It needs no namespace and no plan: it changes the paths in system calls."""
    binds = [(source, place) for source, place in layout.binds() if os.path.exists(source)]
    return ["proot", "-0", *(word for source, place in binds for word in ("-b", f"{source}:{place}"))]


WAYS: Mapping[str, Callable[[Layout, list[str]], list[str]]] = {
    "unshare": _unshare,
    "bwrap": _bwrap,
    "proot": _proot,
}
"""By name: what to put before a program."""


async def choose_way(layout: Layout, wanted: Sequence[str] = tuple(WAYS)) -> list[str]:
    """What to put before a program: the first way that works here.

    Raises:
        NoNamespace: none of those ``wanted`` does.
    """
    entering = layout.write_plan()
    reasons = []
    for name in wanted:
        if shutil.which(name) is None:
            reasons.append(f"{name} is not installed")
            continue
        command = WAYS[name](layout, entering)
        trial = [*command, "/bin/true"] if name == "proot" else command
        reason = await _try(trial)
        if not reason:
            return command
        reasons.append(f"{name}: {reason}")
    raise NoNamespace(f"no program can be run on an emulated host here: {'; '.join(reasons)}")


async def _try(command: list[str]) -> str:
    """Why it does not work; empty if it does."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, error = await asyncio.wait_for(process.communicate(), _PROBE_S)
    except TimeoutError:
        return f"no end within {_PROBE_S:g} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
    if process.returncode == 0:
        return ""
    return " ".join(os.fsdecode(error).split())[:200] or f"exit code {process.returncode}"
