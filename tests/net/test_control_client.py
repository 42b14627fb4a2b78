"""The typed client: what it asks, and what it costs."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import iscsim
from iscsim.net.control_client import (
    AlreadyExists,
    ControlClient,
    ControlError,
    InvalidParameters,
    NotFound,
    default_socket,
)
from iscsim.net.rpc import RPCServer
from iscsim.target.administration.control import TargetControl
from iscsim.target.administration.methods import METHODS

NAME, HOST = "iqn.2010-10.org.openstack:volume-1", "iqn.1993-08.org.debian:01:host"


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    async with iscsim.serve() as target:
        control = TargetControl(target.server, lambda: None)
        server = RPCServer(tmp_path / "socket", control.methods)
        await server.start()
        yield tmp_path / "socket"
        await server.close()


class Spy(ControlClient):
    """Notes what is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def call(self, method: str, /, **params: Any) -> Any:
        self.asked.append((method, params))
        return {}


CALLS = {
    name: method
    for name, method in inspect.getmembers(ControlClient, inspect.isfunction)
    if not name.startswith("_") and name not in ("close", "call") and not name.endswith(("fault", "faults"))
}


@pytest.mark.parametrize("name", CALLS)
def test_every_method_asks_one_of_the_table_with_its_parameters(name: str) -> None:
    spy = Spy()
    signature = inspect.signature(CALLS[name])
    needed = [each for each in list(signature.parameters.values())[1:] if each.default is each.empty]
    getattr(spy, name)(*["x"] * len([each for each in needed if each.kind is each.POSITIONAL_OR_KEYWORD]))
    ((method, params),) = spy.asked
    known = {parameter.name: parameter for parameter in METHODS[method].parameters}
    assert list(params) == [each for each in known if each in params]
    assert set(params) == set(known), "the client leaves something out"


def test_every_method_of_the_table_can_be_asked() -> None:
    asked = set()
    for name, function in CALLS.items():
        spy = Spy()
        count = sum(
            each.default is each.empty for each in list(inspect.signature(function).parameters.values())[1:]
        )
        getattr(spy, name)(*["x"] * count)
        asked |= {method for method, _ in spy.asked}
    assert asked == set(METHODS)


async def test_volume_is_made_and_described(path: Path) -> None:
    def ask() -> Any:
        with ControlClient(path) as client:
            client.create_backstore(NAME, size=1 << 20)
            client.create_target(NAME)
            client.create_tpg(NAME)
            client.create_lun(NAME, 1, NAME)
            portal = client.create_portal(NAME, 1, "127.0.0.1", 0)
            client.create_acl(NAME, 1, HOST, user="u", password="a-long-secret", map_luns=True)
            client.enable_tpg(NAME)
            return portal, client.show_target(NAME), client.list_targets()

    portal, row, names = await asyncio.to_thread(ask)
    (group,) = row["tpgs"]
    assert (group["portals"], group["acls"][0]["user"], group["acls"][0]["password"]) == ([portal], "u", None)
    assert names[-1] == NAME


async def test_errors_are_told_apart(path: Path) -> None:
    def ask() -> None:
        with ControlClient(path) as client:
            with pytest.raises(NotFound, match="no target"):
                client.show_target(NAME)
            client.create_target(NAME)
            with pytest.raises(AlreadyExists):
                client.create_target(NAME.upper())
            with pytest.raises(InvalidParameters, match="expected 1 to 65535"):
                client.create_tpg(NAME, 0)
            client.create_tpg(NAME)
            with pytest.raises(ControlError, match=r"192\.0\.2\.1:3260: Cannot assign") as caught:
                client.create_portal(NAME, 1, "192.0.2.1")
            assert caught.value.code == -32000

    await asyncio.to_thread(ask)


async def test_large_answers_are_read_whole(path: Path) -> None:
    def ask() -> int:
        with ControlClient(path) as client:
            for number in range(200):
                client.create_target(f"{NAME}{number}", alias="x" * 200)
            return len(client.describe()["targets"])

    assert await asyncio.to_thread(ask) == 201


def test_nobody_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ControlClient(tmp_path / "socket")


def test_socket_is_where_serve_looks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ISCSIM_CONTROL", "ISCSIM_RUNTIME_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    assert default_socket().startswith("/var/tmp/iscsim-")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert default_socket() == "/run/user/7/iscsim/control.sock"
    monkeypatch.setenv("ISCSIM_RUNTIME_DIR", "/run/mine")
    assert default_socket() == "/run/mine/control.sock"
    monkeypatch.setenv("ISCSIM_CONTROL", "/x/y")
    assert default_socket() == "/x/y"


def test_client_loads_next_to_nothing() -> None:
    check = "import sys; old = {*sys.modules}; import iscsim.net.control_client; print(*{*sys.modules} - old)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    assert not loaded & {
        "asyncio",
        "dataclasses",
        "logging",
        "pathlib",
        "typer",
        "rich",
        "construct",
        "inspect",
    }
    assert {each for each in loaded if each.startswith("iscsim")} == {
        "iscsim",
        "iscsim.net",
        "iscsim.net.control_client",
    }
