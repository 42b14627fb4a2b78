"""The temporary directory: what is in it, what is mounted from it, and that it goes."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iscsim.errors import ConfigError
from iscsim.host.exec import layout as module
from iscsim.host.exec.export import ROOTS
from iscsim.host.exec.layout import Layout


@pytest.fixture
def layout() -> Iterator[Layout]:
    found = Layout("newton")
    yield found
    found.remove()
    assert not found.directory.exists()
    assert not found.quick.exists()


def plan(layout: Layout) -> dict[str, Any]:
    path = layout.write_plan()[-1]
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


def test_every_root_is_mounted(layout: Layout) -> None:
    layout.add_devices()
    found = plan(layout)
    bound = [destination for _, destination in found["binds"]]
    added = [f"{directory}/{name}" for directory, names in found["filled"].items() for name in names]
    for root in ROOTS:
        assert os.path.realpath(root) in bound or root in added
    assert found["hostname"] == "newton"


def test_what_is_bound_exists_before(layout: Layout) -> None:
    layout.add_devices()
    layout.add_shims(["iscsiadm"], manual_scan=True)
    found = plan(layout)
    for _, destination in found["binds"]:
        assert os.path.lexists(destination), destination
    assert all(os.path.isdir(directory) for directory in found["filled"])


def test_devices_come_before_what_they_are_in(layout: Layout) -> None:
    layout.add_devices()
    bound = [destination for _, destination in plan(layout)["binds"]]
    assert bound.index(str(layout.tree / "dev" / "null")) < bound.index("/dev")


@pytest.mark.parametrize("manual_scan", [True, False])
def test_iscsiadm_says_whether_it_can_scan_by_hand(layout: Layout, manual_scan: bool) -> None:
    layout.add_shims(["iscsiadm", "lsblk"], manual_scan=manual_scan)
    assert ("node.session.scan" in (layout.shims / "iscsiadm").read_text()) is manual_scan
    assert stat.S_IMODE((layout.shims / "lsblk").stat().st_mode) == 0o755
    assert (layout.shims / "sudo").exists()


def test_a_shim_is_python(layout: Layout) -> None:
    layout.add_shims(["iscsiadm"], manual_scan=True)
    text = (layout.shims / "iscsiadm").read_text()
    compile(text, "shim", "exec")
    assert text.startswith(f"#!{module._python()} -IS\n")
    assert f"SOCKET = {str(layout.socket)!r}\n" in text


def test_a_path_too_long_for_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(ConfigError, match="too long for a socket"):
        Layout("newton")
    assert list(deep.iterdir()) == []


def test_without_memory_everything_is_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_QUICK", str(tmp_path / "none"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    layout = Layout("newton")
    assert {layout.quick.parent, layout.directory.parent} == {tmp_path}
    layout.remove()
    assert list(tmp_path.iterdir()) == []
