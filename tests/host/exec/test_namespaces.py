"""The first way into a namespace that works is taken; if there is none, one line says why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from iscsim.host.exec.layout import Layout
from iscsim.host.exec.namespaces import WAYS, NoNamespace, choose_way


@pytest.fixture
def layout() -> Iterator[Layout]:
    found = Layout("newton")
    yield found
    found.remove()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that is all of the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def make(directory: Path, name: str, script: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


async def test_without_any_it_says_why(layout: Layout, programs: Path) -> None:
    make(programs, "unshare", "echo 'unshare failed:' >&2; echo Operation not permitted >&2; exit 1")
    make(programs, "bwrap", "exit 7")
    with pytest.raises(NoNamespace) as caught:
        await choose_way(layout)
    assert str(caught.value) == (
        "no program can be run on an emulated host here: unshare: unshare failed: Operation not permitted; "
        "bwrap: exit code 7; proot is not installed"
    )


async def test_the_first_that_works_is_taken(layout: Layout, programs: Path) -> None:
    make(programs, "unshare", "exit 1")
    make(programs, "bwrap", "exit 0")
    make(programs, "proot", "exit 0")
    assert (await choose_way(layout))[0] == "bwrap"
    assert (await choose_way(layout, ["proot"]))[0] == "proot"


def test_proot_binds_what_the_others_mount(layout: Layout) -> None:
    layout.add_devices()
    words = WAYS["proot"](layout, [])
    assert f"{layout.tree}/dev:/dev" in words
    assert "/dev/null:/dev/null" in words
