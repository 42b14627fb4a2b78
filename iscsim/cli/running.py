"""Running a command's coroutine, interrupted at whatever moment."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run ``main`` to its end; one that an interrupt did not let begin is closed without a warning."""
    try:
        from iscsim.net.runner import run as run_on_a_loop

        return run_on_a_loop(main)
    finally:
        main.close()
