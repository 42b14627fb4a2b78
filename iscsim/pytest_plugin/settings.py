"""What the mark and the options say of the world of a test. Imports nothing heavy: every test is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from iscsim.errors import ConfigError
from iscsim.faults.names import checked_name

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["Settings", "settings_of"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the mark ``iscsim`` takes; ``faults`` are names, or descriptions as ``[[fault]]`` tables have,
    ``host`` is as the settings of a ``[[host]]``, ``packages`` is what else runs on it."""

    network: str = "memory"
    seed: int = 0
    faults: Sequence[Any] = ()
    host: Mapping[str, Any] = field(default_factory=dict)
    packages: Sequence[str] = ()

    @property
    def is_virtual(self) -> bool:
        """Whether the test runs in virtual time."""
        return self.network == "memory"

    @property
    def loop_factory(self) -> Callable[[], AbstractEventLoop]:
        """What makes the loop for it."""
        if self.is_virtual:
            from iscsim.net.virtual_loop import VirtualLoop

            return VirtualLoop
        from asyncio import new_event_loop

        return new_event_loop


def settings_of(item: pytest.Item, seed: int | None = None) -> Settings:
    """What the marks of a test say, the nearest one first, and the options of the run.

    A ``seed`` goes before that of the option, which goes before that of the mark: it is for replays.
    """
    given: dict[str, Any] = {}
    network, option = item.config.getoption("--iscsim-network"), item.config.getoption("--iscsim-seed")
    if network is not None:
        given["network"] = network
    for mark in reversed(list(item.iter_markers("iscsim"))):
        given |= _checked(mark)
    seeds = [each for each in (seed, option) if each is not None]
    return Settings(**given | ({"seed": seeds[0]} if seeds else {}))


def _checked(mark: pytest.Mark) -> dict[str, Any]:
    if mark.args:
        raise pytest.UsageError(f"@pytest.mark.iscsim takes names with values, not {mark.args[0]!r:.60}")
    try:
        for key in mark.kwargs:
            checked_name("argument of @pytest.mark.iscsim", key, Settings.__dataclass_fields__)
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from None
    return dict(mark.kwargs)
