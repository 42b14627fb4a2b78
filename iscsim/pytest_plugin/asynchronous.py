"""Beside pytest-asyncio: loops with virtual time for our tests, and nothing else for anybody's.

Registered only where pytest-asyncio is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from iscsim.pytest_plugin import LAB, new_world
from iscsim.pytest_plugin.settings import settings_of

if TYPE_CHECKING:
    from iscsim.pytest_plugin.world import PytestLab

LoopFactories = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]
_SCOPES = ("function", "class", "module", "package", "session")


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Generator[None, LoopFactories | None, LoopFactories]:
    """Virtual time for tests with a lab in memory.

    pytest-asyncio takes the first answer of all plugins, and none at all for a mistake: others' tests get
    what other plugins say, or what they would have without us.
    """
    others = yield
    if LAB in getattr(item, "fixturenames", ()) and settings_of(item).is_virtual:
        return {"iscsim": settings_of(item).loop_factory}
    return others or {"asyncio": asyncio.new_event_loop}


def fixture_of(mark: pytest.Mark, config: pytest.Config) -> str:
    """The fixture with a lab on the loop of a test that is marked like this."""
    scope = mark.kwargs.get("loop_scope") or mark.kwargs.get("scope")
    return _name(scope or config.getini("asyncio_default_test_loop_scope") or _SCOPES[0])


def _name(scope: str) -> str:
    return f"_iscsim_lab_on_the_loop_of_the_{scope}"


def _make_fixture(scope: Any) -> Any:
    @pytest_asyncio.fixture(loop_scope=scope, name=_name(scope))
    async def lab_on_a_loop(request: pytest.FixtureRequest) -> AsyncIterator[PytestLab]:
        world = new_world(request)
        yield await world.begin()
        world.judge(await world.end())

    return lab_on_a_loop


# a test runs on the loop of its function, class, ...: pytest-asyncio's fixtures are made for one of these
globals().update({_name(scope): _make_fixture(scope) for scope in _SCOPES})
