"""A host runs commands, remembers them, and shows its file system."""

from __future__ import annotations

import pytest

from iscsim.host.model import Host
from iscsim.host.result import CommandResult
from iscsim.host.settings import HostSettings
from iscsim.host.shell import COMMANDS, Call
from iscsim.net.memory import MemoryNetwork
from iscsim.net.virtual_loop import VirtualLoop


def test_tree_is_made_again_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    host = make_host()
    before = host.tree
    assert host.tree is before
    host.files["/etc/new"] = b"x"
    host.changed()
    assert host.tree.read("/etc/new") == b"x"


def test_initiator_name_is_where_open_iscsi_has_it() -> None:
    host = make_host(HostSettings(initiator_name="iqn.2026-11.org.iscsim:me"))
    assert host.tree.read("/etc/iscsi/initiatorname.iscsi").endswith(
        b"\nInitiatorName=iqn.2026-11.org.iscsim:me\n"
    )


def test_commands_are_remembered_with_what_they_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hello(call: Call) -> int:
        call.output.line(" ".join(call.arguments))
        call.output.error("and " + (await call.read()).decode())
        return 3

    monkeypatch.setitem(COMMANDS, "hello", hello)
    host = make_host(HostSettings(command_costs={"*": 0.25}))
    loop = VirtualLoop()
    result = loop.run_until_complete(host.execute("/usr/bin/hello", "you", stdin=b"me"))
    loop.close()
    assert result == CommandResult(3, b"you\n", b"and me\n")
    assert [(each.begun, each.ended, each.argv) for each in host.history] == [
        (0, 0.25, ("/usr/bin/hello", "you"))
    ]


def test_unknown_program_is_not_found() -> None:
    loop = VirtualLoop()
    with pytest.raises(FileNotFoundError):
        loop.run_until_complete(make_host().execute("nope"))
    loop.close()


def make_host(settings: HostSettings | None = None) -> Host:
    return Host(MemoryNetwork().add_host("compute", "10.245.47.10"), settings=settings or HostSettings())
