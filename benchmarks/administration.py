"""Administer many targets of one process over one control connection, and log in meanwhile.

Prints a line a measurement, and with ``--json`` a document.

    python -m benchmarks.administration [--targets 1000] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from iscsim.initiator import connect
from iscsim.net.control_client import ControlClient
from iscsim.net.rpc import RPCServer
from iscsim.net.runner import run
from iscsim.target.administration.control import TargetControl
from iscsim.target.node import NetworkEntity
from iscsim.target.policy import PERSONALITIES
from iscsim.target.server import TargetServer

HOST = "iqn.1993-08.org.debian:01:host"
LIMITS = {"create_s": 10.0, "target_list_s": 0.2, "login_s": 0.01}
"""What issue 6 asks for."""


def name_of(number: int) -> str:
    return f"iqn.2010-10.org.openstack:volume-{number:08d}"


def administer(path: Path, count: int, ports: list[int], created: threading.Event) -> dict[str, float]:
    """What cinder asks for each volume: backstore, target, portal group, LUN, ACL, two portals."""
    with ControlClient(path) as client:
        begun = time.perf_counter()
        for number in range(count):
            name = name_of(number)
            client.create_backstore(name, size=1 << 30)
            client.create_target(name)
            client.create_tpg(name, 1)
            client.set_tpg(name, 1, attributes={"authentication": 0})
            client.create_lun(name, 1, name, lun=0)
            for index in range(2):
                ports[index] = client.create_portal(name, 1, "127.0.0.1", ports[index])["port"]
            client.create_acl(name, 1, HOST)
            client.create_mapped_lun(name, 1, HOST, 0, 0)
            client.enable_tpg(name, 1)
        taken = time.perf_counter() - begun
        lists = [_timed(client.list_targets) for _ in range(20)]
        created.set()
        described = _timed(client.describe)
        with tempfile.TemporaryDirectory() as directory:
            saved = _timed(lambda: client.save(Path(directory) / "state.json"))
            restored = _timed(lambda: client.restore(Path(directory) / "state.json"))
    return {
        "create_s": taken,
        "target_list_s": statistics.median(lists),
        "describe_s": described,
        "save_s": saved,
        "restore_s": restored,
    }


def _timed(work: Any) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


async def logins(portal: str, target: str, until: threading.Event) -> list[float]:
    """Seconds of logins on the target's own loop while it is administered."""
    taken = []
    while not until.is_set():
        begun = time.perf_counter()
        session = await connect(portal, target, initiator_name=HOST)
        taken.append(time.perf_counter() - begun)
        await session.close()
        await asyncio.sleep(0.01)
    return taken


async def measure(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        entity = NetworkEntity(PERSONALITIES["lio"])
        async with TargetServer(entity, may_be_empty=True) as server:
            control = TargetControl(server, lambda: None)
            rpc = RPCServer(Path(directory) / "socket", control.methods)
            await rpc.start()
            alone = await asyncio.to_thread(_prepare, Path(directory) / "socket")
            quiet = threading.Event()
            asyncio.get_running_loop().call_later(0.5, quiet.set)
            before = await logins(alone, name_of(10**7), quiet)
            created, done = threading.Event(), threading.Event()

            def work() -> dict[str, float]:
                try:
                    return administer(Path(directory) / "socket", count, [0, 0], created)
                finally:
                    done.set()

            working = asyncio.get_running_loop().run_in_executor(None, work)
            taken = await logins(alone, name_of(10**7), created)
            later = await logins_until_restored(alone, done)
            found = await working
            await rpc.close()
    return {
        "targets": count,
        **found,
        "login_alone_s": statistics.median(before),
        "login_s": statistics.median(taken),
        "login_p99_s": sorted(taken)[int(len(taken) * 0.99)],
        "logins": len(taken),
        "login_while_saving_s": statistics.median(later),
        "login_while_saving_max_s": max(later),
    }


async def logins_until_restored(portal: str, done: threading.Event) -> list[float]:
    """A restore ends all sessions: what it breaks is not counted."""
    taken: list[float] = []
    while not done.is_set():
        begun = time.perf_counter()
        try:
            session = await connect(portal, name_of(10**7), initiator_name=HOST)
            taken.append(time.perf_counter() - begun)
            await session.close()
        except Exception as error:
            print(f"a login failed while all was restored: {error}")
        await asyncio.sleep(0.01)
    return taken


def _prepare(path: Path) -> str:
    """A target that is there before the others, for the logins."""
    name = name_of(10**7)
    with ControlClient(path) as client:
        client.create_backstore(name, size=1 << 20)
        client.create_target(name)
        client.create_tpg(name, 1)
        client.set_tpg(name, 1, attributes={"authentication": 0})
        client.create_lun(name, 1, name)
        client.create_acl(name, 1, HOST, map_luns=True)
        client.enable_tpg(name, 1)
        port = client.create_portal(name, 1, "127.0.0.1", 0)["port"]
    return f"127.0.0.1:{port}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = run(measure(arguments.targets))
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        limit = f"   (limit {LIMITS[name]:g})" if name in LIMITS else ""
        print(f"{name:<26}{value:>12.6g}{limit}")


if __name__ == "__main__":
    main()
