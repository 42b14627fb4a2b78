"""Running coroutines from code that has no loop."""

from __future__ import annotations

import asyncio
import sys

import pytest

from iscsim.net.runner import new_event_loop, run


def test_result_comes_back() -> None:
    async def main() -> int:
        await asyncio.sleep(0)
        return 7

    assert run(main()) == 7


def test_error_comes_back() -> None:
    async def main() -> None:
        raise ValueError("as it is")

    with pytest.raises(ValueError, match="as it is"):
        run(main())


def test_loop_is_uvloop_where_there_is_one() -> None:
    uvloop = pytest.importorskip("uvloop")
    loop = new_event_loop()
    loop.close()
    assert isinstance(loop, uvloop.Loop)


def test_loop_is_asyncio_s_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_event_loop()
    loop.close()
    assert isinstance(loop, asyncio.SelectorEventLoop)
