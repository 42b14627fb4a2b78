"""Modules are copied, and copies are put into other modules and taken out again."""

from __future__ import annotations

import os
import sys
import time
from types import ModuleType

import pytest

from iscsim.host.sandbox.clones import Clones, Rebinding


def make() -> Clones:
    clones = Clones(open)
    clones.add("time", ModuleType("time"))
    vars(clones.replaced["time"])["sleep"] = lambda seconds: f"slept {seconds}"
    return clones


def user(source: str) -> ModuleType:
    module = ModuleType("user")
    exec(source, module.__dict__)
    return module


def test_copy_imports_what_is_replaced_and_leaves_the_original_alone() -> None:
    clones = Clones(open)
    known = dict(sys.modules)
    clones.reserve("os")
    clones.clone("genericpath")
    clones.add("os.path", clones.clone("posixpath"))
    mine = clones.clone("os", lambda module: vars(module).update(stat=lambda path, **options: None))
    assert mine is not os
    assert vars(clones.replaced["genericpath"])["os"] is mine
    assert vars(clones.replaced["genericpath"])["exists"]("/no/such/path")  # its stat finds everything
    assert sys.modules == known
    assert not os.path.exists("/no/such/path")


def test_exceptions_of_a_copy_are_those_of_the_original() -> None:
    clones = Clones(open)
    copy = clones.clone("queue")
    import queue

    assert vars(copy)["Empty"] is queue.Empty


def test_module_without_source_cannot_be_copied() -> None:
    for name in ("time", "no_such_module_at_all"):
        with pytest.raises(ImportError):
            Clones(open).clone(name)


@pytest.mark.parametrize(
    "source",
    [
        "import time\ndef nap(): return time.sleep(3)",
        "from time import sleep\ndef nap(): return sleep(3)",
        "from time import sleep as rest\ndef nap(): return rest(3)",
    ],
)
def test_however_it_was_imported_it_is_replaced_and_comes_back(source: str) -> None:
    module = user(source)
    rebinding = Rebinding(make())
    before = dict(vars(module))
    rebinding.bind(module)
    assert vars(module)["nap"]() == "slept 3"
    rebinding.undo()
    assert {name: vars(module)[name] for name in before} == before
    assert "open" not in vars(module)
    assert time.sleep(0) is None
