"""kill -9 at any moment of a storm of changes: what was saved and acknowledged is there afterwards.

A process that has loaded everything forks one server after the other. One thread changes the target and notes
every state it must have gone through; another one saves, and notes which of them was acknowledged at least.
ISCSIM_KILLS says how often (make kills: 500).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from iscsim.net.control_client import ControlClient, ControlError
from iscsim.target.saveconfig import from_saveconfig

KILLS = int(os.environ.get("ISCSIM_KILLS", "8"))
NURSERY = """
import asyncio, os, signal, sys
from iscsim.net.rpc import RPCServer
from iscsim.target.administration.control import TargetControl
from iscsim.target.node import NetworkEntity
from iscsim.target.policy import LIO
from iscsim.target.server import TargetServer

async def serve(path):
    server = TargetServer(NetworkEntity(LIO), may_be_empty=True)
    await server.start()
    stop = asyncio.Event()
    await RPCServer(__import__("pathlib").Path(path), TargetControl(server, stop.set).methods).start()
    await stop.wait()

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        os.close(0)
        asyncio.run(serve(line.strip()))
        os._exit(0)
    print(pid, flush=True)
"""


class Nursery:
    """Forks servers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def new(self) -> tuple[int, Path]:
        """Process id and socket of a new one, which answers."""
        self._count += 1
        socket = self.path / f"{self._count}.sock"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{socket}\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        for _ in range(3000):
            with suppress(OSError), ControlClient(socket):
                return pid, socket
            time.sleep(0.01)
        raise AssertionError("it does not answer")

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    path = Path(tempfile.mkdtemp(prefix="iscsim-test-"))
    nursery = Nursery(path)
    yield nursery
    nursery.close()
    shutil.rmtree(path)


def state_of(model: Any) -> str:
    """What matters of a model, in one text."""
    targets = {
        target["name"]: [
            [group["enabled"], len(group["luns"]), sorted(acl["initiator"] for acl in group["acls"])]
            for group in target["tpgs"]
        ]
        for target in model["targets"]
    }
    return json.dumps([sorted(unit["name"] for unit in model["backstores"]), targets], sort_keys=True)


class Storm:
    """Changes, and the states they lead through; saves, and how far they were acknowledged."""

    def __init__(self, socket: Path, file: Path, rng: random.Random) -> None:
        self._socket, self._file, self._rng = socket, file, rng
        with ControlClient(socket) as client:
            self._model: Any = client.describe()
        self.states = [state_of(self._model)]
        self.acknowledged = 0
        """Changes that were made: states up to this one were in force."""
        self.saved = -1
        self._threads = [threading.Thread(target=work) for work in (self._change, self._save)]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _save(self) -> None:
        with suppress(OSError, ValueError), ControlClient(self._socket) as client:
            while True:
                least = self.acknowledged
                client.save(self._file)
                self.saved = least

    def _change(self) -> None:
        with suppress(OSError, ValueError), ControlClient(self._socket) as client:
            while True:
                number = self._rng.randrange(12)
                name = f"iqn.2010-10.org.openstack:volume-{number}"
                there = any(target["name"] == name for target in self._model["targets"])
                (self._delete if there and self._rng.random() < 0.4 else self._grow)(client, name, there)

    def _do(self, call: Any, change: Any) -> None:
        change()
        self.states.append(state_of(self._model))
        call()
        self.acknowledged = len(self.states) - 1

    def _delete(self, client: ControlClient, name: str, there: bool) -> None:
        targets, units = self._model["targets"], self._model["backstores"]
        target = next(each for each in targets if each["name"] == name)
        self._do(lambda: client.delete_target(name), lambda: targets.remove(target))
        unit = next(each for each in units if each["name"] == name)
        self._do(lambda: client.delete_backstore(name), lambda: units.remove(unit))

    def _grow(self, client: ControlClient, name: str, there: bool) -> None:
        targets, units = self._model["targets"], self._model["backstores"]
        if not there and any(unit["name"] == name for unit in units):
            unit = next(each for each in units if each["name"] == name)
            self._do(lambda: client.delete_backstore(name), lambda: units.remove(unit))
        if not there:
            self._do(lambda: client.create_backstore(name, size=512), lambda: units.append({"name": name}))
            target: Any = {"name": name, "tpgs": []}
            self._do(lambda: client.create_target(name), lambda: targets.append(target))
        target = next(each for each in targets if each["name"] == name)
        if not target["tpgs"]:
            group: Any = {"enabled": False, "luns": [], "acls": []}
            self._do(lambda: client.create_tpg(name, 1), lambda: target["tpgs"].append(group))
        (group,) = target["tpgs"]
        if not group["luns"]:
            self._do(lambda: client.create_lun(name, 1, name), lambda: group["luns"].append({}))
        if not group["enabled"]:
            self._do(lambda: client.enable_tpg(name), lambda: group.update(enabled=True))
        initiator = f"iqn.1993-08.org.debian:01:{self._rng.randrange(4)}"
        found = next((acl for acl in group["acls"] if acl["initiator"] == initiator), None)
        if found is None:
            acl = {"initiator": initiator}
            self._do(
                lambda: client.create_acl(name, 1, initiator, map_luns=True),
                lambda: group["acls"].append(acl),
            )
        else:
            self._do(lambda: client.delete_acl(name, 1, initiator), lambda: group["acls"].remove(found))


@pytest.mark.timeout(60 + 2 * KILLS)
def test_what_was_acknowledged_survives_kill_9(nursery: Nursery) -> None:
    seed = int(os.environ.get("ISCSIM_SEED", "1"))
    rng, file = random.Random(seed), nursery.path / "saveconfig.json"
    changes = 0
    for kill in range(KILLS):
        pid, socket = nursery.new()
        if file.exists():
            with ControlClient(socket) as client:
                client.restore(file)
                restored = client.describe()
            assert state_of(restored) == state_of(from_saveconfig(json.loads(file.read_text())))
        storm = Storm(socket, file, rng)
        storm.begin()
        time.sleep(rng.uniform(0.0, 0.15))
        os.kill(pid, signal.SIGKILL)
        storm.end()
        changes += storm.acknowledged
        if not file.exists():
            assert storm.saved == -1
            continue
        survived = state_of(from_saveconfig(json.loads(file.read_text())))
        if storm.saved >= 0:
            allowed = storm.states[storm.saved :]
            assert survived in allowed, (seed, kill, storm.saved, len(storm.states))
    assert changes


def test_leftovers_of_a_killed_save_do_not_matter(nursery: Nursery) -> None:
    file = nursery.path / "saveconfig.json"
    file.with_name("saveconfig.json.temp").write_text("{ torn")
    _, socket = nursery.new()
    with ControlClient(socket) as client:
        client.save(file)
        client.restore(file)
        assert not file.with_name("saveconfig.json.temp").exists()
        with pytest.raises(ControlError):
            client.restore(nursery.path / "none")
        client.stop()
