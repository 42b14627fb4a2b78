"""What the demo would say if something were wrong."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim import LogicalUnit, MemoryStore
from iscsim.cli import datapath


def test_step_that_fails_is_one_line_and_exit_1(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make = datapath.make_target

    def another_volume() -> Any:
        entity, node, chap = make()
        node.lun_map.remove(datapath.LUN)
        node.add_lun(datapath.LUN, LogicalUnit(MemoryStore(1 << 17), serial="another", wwn="6" * 32))
        return entity, node, chap

    monkeypatch.setattr(datapath, "make_target", another_volume)
    done = cli("demo")
    assert (done.code, done.stderr) == (1, "iscsim: error: the WWNs differ\n")
    assert "[ 6/13]" in done.stdout
    assert "[ 7/13]" not in done.stdout


def test_door_that_is_open_fails_the_demo(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datapath, "STRANGER", datapath.INITIATOR)
    make = datapath.make_target

    def without_acl() -> Any:
        entity, node, chap = make()
        node.acls.clear()
        return entity, node, chap

    monkeypatch.setattr(datapath, "make_target", without_acl)
    done = cli("demo")
    assert (done.code, done.stderr) == (1, "iscsim: error: a stranger was let in\n")
