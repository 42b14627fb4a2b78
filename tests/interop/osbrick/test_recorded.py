"""Today's os-brick on the emulated host runs what it ran on a real one: golden/os-brick-7.1.1-...log."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("greenlet", reason="greenlet is missing (iscsim[osbrick])")
os_brick = pytest.importorskip("os_brick", reason="os-brick 7.1.1 is missing (iscsim[osbrick])")
if not hasattr(os_brick, "setup"):
    pytest.skip("this os-brick is Newton's: 7.1.1 is needed (iscsim[osbrick])", allow_module_level=True)

from os_brick import exception  # noqa: E402
from os_brick.initiator import connector  # noqa: E402

from iscsim.host.model import Host  # noqa: E402
from iscsim.host.sandbox.sandbox import HostSandbox  # noqa: E402
from iscsim.host.settings import HostSettings  # noqa: E402
from iscsim.lab import Lab  # noqa: E402

LOG = Path(__file__).parents[2] / "golden" / "os-brick-7.1.1-two-paths-then-silent-portal.log"
BASE, WWN = "iqn.1992-04.com.emc:cx.fnm00150600267", "36006016015e03a00ab2df25bb82d0ea9"
A0, B0, SILENT = "10.245.47.95:3260", "10.245.47.96:3260", "10.245.47.94:3260"
MODERN = HostSettings(
    first_scsi_host=6,
    find_multipaths="no",
    udev_delay_s=0.3,
    multipathd_delay_s=0.1,
    command_costs={"*": 0.18},
)
DEVICE = {"type": "block", "scsi_wwn": WWN, "path": "/dev/dm-0", "multipath_id": WWN}
_RUN = re.compile(r"Running cmd \(subprocess\): (.*)")
_PORTAL = re.compile(r"-p (\S+)|host(\d+)/scan")


def recorded() -> list[list[str]]:
    """The commands of the four recorded calls: connect, disconnect, and both with a silent portal."""
    calls: list[list[str]] = []
    for line in LOG.read_text(errors="replace").splitlines():
        if "==> connect_volume" in line or "==> disconnect_volume" in line:
            calls.append([])
        elif calls and (found := _RUN.search(line)):
            calls[-1].append(found.group(1))
    return calls


def threads_of(commands: list[str]) -> dict[str, list[str]]:
    """Commands by what they are about: each portal's in their order, and the rest in theirs."""
    found: dict[str, list[str]] = {}
    for each in commands:
        about = _PORTAL.search(each)
        shown = re.sub(r"/sd[ab]/", "/sdX/", re.sub(r"host\d+/", "hostN/", each))  # who was first has sda
        found.setdefault(about.group(0) if about else "", []).append(shown)
    scans = [commands for about, commands in found.items() if about.startswith("host")]
    others = {about: commands for about, commands in found.items() if not about.startswith("host")}
    return others | {"scans": sorted(each for commands in scans for each in commands)}


class Node:
    """A host with os-brick, as in the recording: two targets of tgt's make, one path each."""

    def __init__(self, lab: Lab, host: Host, box: HostSandbox, *, multipath: bool) -> None:
        self.lab, self.host, self.box = lab, host, box
        self.connector = connector.InitiatorConnector.factory("ISCSI", "", use_multipath=multipath)

    async def call(self, method: str, *arguments: Any) -> tuple[Any, list[str], float]:
        """What a method of the connector returned, the commands it ran, and its seconds."""
        self.host.history.clear()
        begun = self.lab.now
        answer = await self.box.call(getattr(self.connector, method), *arguments)
        runs = sorted(self.host.history, key=lambda run: run.begun)
        return answer, [" ".join(run.argv) for run in runs], self.lab.now - begun

    def is_clean(self) -> bool:
        """Whether nothing is left of any volume."""
        host = self.host
        left = [host.iscsid.sessions, host.kernel.disks, host.kernel.adapters, host.multipathd.maps]
        links = [path for path in host.tree if path.startswith("/dev/disk/by-")]
        return not any([*left, len(host.nodes), links, self.box.threads])


def properties(portals: list[str], **more: Any) -> dict[str, Any]:
    names = [f"{BASE}.a0", f"{BASE}.b0"]
    return {
        "target_luns": [197, 197],
        "target_iqns": names,
        "target_portals": portals,
        "target_discovered": True,
        "target_iqn": names[0],
        "target_portal": portals[0],
        "target_lun": 197,
        "volume_id": "5ed0cc5c-158c-4857-9bd5-3556884a23f0",
        "access_mode": "rw",
    } | more


TWO, ONE_SILENT = properties([A0, B0]), properties([SILENT, B0])


def play(
    story: Callable[[Node], Awaitable[Any]],
    *,
    seed: int = 1,
    multipath: bool = True,
    initiators: tuple[str, ...] = (),
    **settings: Any,
) -> Any:
    """Tell a story in virtual time; what it returned comes back."""

    async def main(lab: Lab) -> Any:
        luns = {197: f"64M,wwn={WWN[1:]},serial=FNM00150600267"}
        await lab.target(
            f"{BASE}.a0", portals=[A0, SILENT], luns=luns, personality="tgt", host="a", initiators=initiators
        )
        await lab.target(
            f"{BASE}.b0", portals=[B0], luns=luns, personality="tgt", host="b", initiators=initiators
        )
        lab.fault("login.no_response", portal=SILENT).may_not_fire()
        place = lab.host("newton", "10.245.47.10")
        host = Host(place.network, settings=replace(MODERN, **settings), name="newton", rng=place.rng)
        async with HostSandbox(host, seed=seed) as box:
            result = await story(Node(lab, host, box, multipath=multipath))
        await host.close()
        return result

    return Lab.run(main, seed=seed)


def test_connector_properties_are_those_of_the_host() -> None:
    async def story(node: Node) -> Any:
        return await node.box.call(connector.get_connector_properties, "", "10.245.47.10", True, True)

    found = play(story)
    assert (
        found.items()
        >= {
            "platform": "x86_64",
            "os_type": "linux",
            "ip": "10.245.47.10",
            "host": "newton",
            "multipath": True,
            "enforce_multipath": True,
            "initiator": "iqn.1993-08.org.debian:01:7cc8838d1c0",
            "do_local_attach": False,
        }.items()
    )


def test_attach_and_detach_over_two_paths_run_the_recorded_commands() -> None:
    async def story(node: Node) -> Any:
        device, attach, _ = await node.call("connect_volume", dict(TWO))
        shown = (await node.host.execute("multipath", "-ll")).text
        _, detach, _ = await node.call("disconnect_volume", dict(TWO), device)
        return device, attach, shown, detach, node.is_clean()

    device, attach, shown, detach, clean = play(story)
    assert device == DEVICE
    wanted = recorded()
    assert threads_of(attach) == threads_of(wanted[0])
    assert threads_of(detach) == threads_of(wanted[1])
    assert _without_names(shown) == _without_names(_golden_map())
    assert clean


def _without_names(text: str) -> str:
    """A map without what depends on which thread was first."""
    return re.sub(r"[67]:0:0:197 sd[ab] 8:\d+ +", "H:C:T:L sdX ", text)


def _golden_map() -> str:
    text = LOG.read_text(errors="replace")
    begin = text.index(f"{WWN} dm-0 IET")
    return text[begin : text.index("NAME ", begin)]


def test_silent_portal_costs_the_recorded_seconds_and_leaves_a_map_of_one_path() -> None:
    async def story(node: Node) -> Any:
        device, attach, seconds = await node.call("connect_volume", dict(ONE_SILENT))
        shown = (await node.host.execute("multipath", "-ll")).text
        _, detach, _ = await node.call("disconnect_volume", dict(ONE_SILENT), device)
        return device, attach, seconds, shown, detach, node.is_clean()

    device, attach, seconds, shown, detach, clean = play(story)
    assert device == DEVICE
    assert seconds == pytest.approx(136.6, abs=2)
    assert shown.count("active ready running") == 1
    wanted = recorded()
    assert threads_of(attach) == threads_of(wanted[2])
    assert threads_of(detach) == threads_of(wanted[3])
    assert clean


@pytest.mark.parametrize("multipath", [True, False])
@pytest.mark.parametrize("secret", [False, True], ids=["open", "chap"])
@pytest.mark.parametrize("given", [True, False], ids=["given", "discovered"])
def test_attach_extend_and_detach(multipath: bool, secret: bool, given: bool) -> None:
    initiators = ("iqn.1993-08.org.debian:01:7cc8838d1c0:me:topsecretpassword",) if secret else ()
    asked = dict(TWO)
    if secret:
        asked |= {"auth_method": "CHAP", "auth_username": "me", "auth_password": "topsecretpassword"}
    if not given:
        for name in ("target_iqns", "target_portals", "target_luns"):
            del asked[name]
        if secret:
            for name in ("method", "username", "password"):
                asked[f"discovery_auth_{name}"] = asked[f"auth_{name}"]

    async def story(node: Node) -> Any:
        device, _, _ = await node.call("connect_volume", asked)
        paths, _, _ = await node.call("get_volume_paths", asked)
        for target in node.lab.live_targets.values():
            for unit in target.node.units():
                unit.resize(unit.blocks * 2)
        size, _, _ = await node.call("extend_volume", asked)
        await node.call("disconnect_volume", asked, device)
        return device, paths, size, node.is_clean()

    device, paths, size, clean = play(story, multipath=multipath, initiators=initiators)
    assert device["scsi_wwn"] == WWN
    assert len(paths) == (2 if multipath and given else 1)
    assert size == 128 << 20
    assert clean


def test_volume_that_never_appears_is_said_to_be_missing_and_nothing_is_left() -> None:
    async def story(node: Node) -> Any:
        asked = properties([A0, B0], target_lun=5)
        for name in ("target_iqns", "target_portals", "target_luns"):
            del asked[name]
        with pytest.raises(exception.VolumeDeviceNotFound):
            await node.call("connect_volume", asked)
        return node.lab.now, node.is_clean()

    seconds, clean = play(story, multipath=False, command_costs={})
    assert seconds == pytest.approx(165, abs=3)
    assert clean


def test_same_seed_has_the_same_trace_twenty_times() -> None:
    async def story(node: Node) -> Any:
        device, attach, _ = await node.call("connect_volume", dict(TWO))
        _, detach, _ = await node.call("disconnect_volume", dict(TWO), device)
        return node.lab.trace.sha256, attach, detach

    first = play(story, seed=7)
    assert all(play(story, seed=7) == first for _ in range(19))
