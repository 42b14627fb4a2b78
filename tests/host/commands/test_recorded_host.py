"""The commands of golden/open-iscsi-2.1.8-linux-6.1.log, on a host like that one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iscsim.host.model import Host
from iscsim.host.settings import HostSettings, LocalDisk
from iscsim.lab import Lab

GOLDEN = Path(__file__).parents[2] / "golden"
LOG = (GOLDEN / "open-iscsi-2.1.8-linux-6.1.log").read_text()
BASE, WWN = "iqn.1992-04.com.emc:cx.fnm00150600267", "36006016015e03a00ab2df25bb82d0ea9"
A0, B0 = f"{BASE}.a0", f"{BASE}.b0"
NODE = ("iscsiadm", "-m", "node", "-T", A0, "-p", "10.245.47.95:3260")
SETTINGS = HostSettings(first_scsi_host=6, local_disks=(LocalDisk("vda", "254:0", 3 << 30, mountpoint="/"),))


def section(title: str) -> list[str]:
    """The lines of a section of the log."""
    begin = LOG.index(f"## {title}\n") + len(f"## {title}\n")
    end = LOG.find("\n## ", begin)
    return LOG[begin : end if end >= 0 else None].splitlines()


async def recorded_host(lab: Lab, **settings: Any) -> Host:
    """As then: tgt on 10.245.47.95, and on 10.245.47.96 one that knows no such target."""
    luns = {197: f"64M,wwn={WWN[1:]},serial=FNM00150600267"}
    array = await lab.target(A0, portals=["10.245.47.95:3260"], luns=luns, personality="tgt", host="a")
    for unit in array.node.units():
        unit.vendor, unit.product = "DGC", "VRAID"  # as tgtadm was told to
    await lab.target(f"{BASE}.c0", portals=["10.245.47.96:3260"], personality="tgt", host="b")
    place = lab.host("newton", "10.245.47.10")
    host = Host(place.network, settings=replace(SETTINGS, **settings), name="newton", rng=place.rng)
    lab.closing(host.close)
    return host


def play(*commands: tuple[str, ...], logged_in: bool = True, **settings: Any) -> list[list[str]]:
    """For each command the lines of both its streams, and ``rc=N``."""

    async def story(lab: Lab) -> Any:
        lab.expect_error("no target")
        host = await recorded_host(lab, **settings)
        if logged_in:
            await host.execute(*NODE, "-o", "new")
            await host.execute(*NODE, "-l")
            await host.settle()
        found = []
        for argv in commands:
            result = await host.execute(*argv)
            lines = [*result.text.splitlines(), *result.error.splitlines()]
            found.append([*lines, f"rc={result.exit_code}"])
        return found

    return Lab.run(story, judge=False)


def test_unknown_record_and_new_ones() -> None:
    other = ("iscsiadm", "-m", "node", "-T", B0, "-p", "10.245.47.96:3260", "-o", "new")
    unknown, new, second = play(NODE, (*NODE, "-o", "new"), other, logged_in=False)
    assert unknown == section("unknown record")
    assert new + second == section("new")


def test_login_and_login_that_is_refused() -> None:
    other = ("iscsiadm", "-m", "node", "-T", B0, "-p", "10.245.47.96:3260")
    _, login, _, refused, again = play(
        (*NODE, "-o", "new"),
        (*NODE, "-l"),
        (*other, "-o", "new"),
        (*other, "-l"),
        (*NODE, "-l"),
        logged_in=False,
    )
    assert login + refused == section("login")
    assert again == section("login again")[:3]


def test_session_as_it_was_shown() -> None:
    """multipathd had set the recovery timeout; tgt had a controller at LUN 0, which is no disk."""
    commands = ("iscsiadm", "-m", "session"), ("iscsiadm", "-m", "session", "-P", "3")
    flat, whole = play(*commands, find_multipaths="no")
    lines = section("login again")
    assert flat == [lines[4], "rc=0"]
    begin = lines.index("iSCSI Transport Class version 2.0-870")
    end = next(number for number, line in enumerate(lines) if line.startswith("lrwxrwxrwx"))
    assert whole[:-1] == [line for line in lines[begin:end] if not line.endswith(" Lun: 0")]


def test_links_and_scsi_id() -> None:
    async def story(lab: Lab) -> Any:
        host = await recorded_host(lab)
        await host.execute(*NODE, "-o", "new")
        await host.execute(*NODE, "-l")
        await host.settle()
        found = {}
        for directory in ("by-id", "by-path"):
            for name in host.tree.listdir(f"/dev/disk/{directory}"):
                found[name] = f"../../{host.device_name(f'/dev/disk/{directory}/{name}')}"
        return found, (await host.execute("/lib/udev/scsi_id", "--page", "0x83", "-g", "/dev/sda")).text

    found, name = Lab.run(story, judge=False)
    shown = [line.split(" -> ") for line in section("login again") if line.startswith("lrwx")]
    links = {left.rpartition(" ")[2]: right for left, right in shown}
    assert _without_those_of_tgt(found) == _without_those_of_tgt(links)
    assert [name.strip()] == section("scsi_id")[:1]


def _without_those_of_tgt(links: dict[str, str]) -> dict[str, str]:
    """Without what its T10 and its locally assigned designator gave: those came from its own numbers."""
    return {name: where for name, where in links.items() if not name.startswith(("scsi-1", "scsi-33"))}


def test_disks_as_lsblk_showed_them() -> None:
    plain, short = play(("lsblk",), ("lsblk", "-o", "NAME,RO", "-l", "-n"))
    lines = section("scsi_id")
    begin = lines.index("NAME MAJ:MIN RM SIZE RO TYPE MOUNTPOINTS")
    assert plain[:-1] == lines[begin : begin + 3]
    assert short[:-1] == lines[begin - 2 : begin]


def test_values_in_sysfs() -> None:
    shown = dict(
        line.removeprefix("/sys/class/iscsi_session/session1/").split(": ")
        for line in section("scsi_id")
        if re.match(r"/sys/class/iscsi_session/session1/\w+: .", line)
    )
    names = list(shown)
    found = play(
        *[("cat", f"/sys/class/iscsi_session/session1/{name}") for name in names], find_multipaths="no"
    )
    assert {name: lines[0] for name, lines in zip(names, found, strict=True)} == shown


def test_rescan_and_logout() -> None:
    rescans = section("rescan")
    node, session, logout, *rest = play(
        (*NODE, "--rescan"),
        ("iscsiadm", "-m", "session", "--rescan"),
        (*NODE, "--logout"),
        (*NODE, "--logout"),
        (*NODE, "-o", "delete"),
        ("iscsiadm", "-m", "session"),
    )
    assert node + session == rescans
    lines = section("logout")
    assert logout == lines[:3]
    assert rest[0] == lines[3:5]
    assert rest[1] == ["rc=0"]
    assert rest[2] == [lines[6], "rc=21"]


def test_errors() -> None:
    nope = ("iscsiadm", "-m", "node", "-T", "iqn.nope:x", "-p", "10.245.47.96:3260")
    lines = section("errors")
    new, login, refused, sid, version, *_ = play(
        (*nope, "-o", "new"),
        (*nope, "-l"),
        ("iscsiadm", "-m", "discovery", "-t", "st", "-p", "10.245.47.95:3299"),
        ("iscsiadm", "-m", "session", "-r", "99"),
        ("iscsiadm", "--version"),
        logged_in=False,
    )
    assert new[:1] + login == lines[:6]
    begin = lines.index("iscsiadm: cannot make connection to 10.245.47.95: Connection refused")
    assert refused == lines[begin : begin + 9]
    assert sid == lines[begin + 9 : begin + 12]
    assert version[:1] == [lines[begin + 12]]


@pytest.mark.parametrize(
    ("begins", "portal", "fault"),
    [
        ("blackhole", "10.245.47.93:3260", "net.blackhole"),
        ("refused", "10.245.47.95:3299", ""),
        ("silent", "10.245.47.94:3260", "login.no_response"),
        ("closes after login request", "10.245.47.92:3260", "login.drop_at"),
    ],
)
def test_login_timeouts(begins: str, portal: str, fault: str) -> None:
    text = (GOLDEN / "open-iscsi-2.1.8-login-timeouts.log").read_text()
    block = next(each for each in text.split("## ") if each.startswith(begins))
    minutes, seconds = re.findall(r"real\t(\d+)m([\d.]+)s", block)[0]
    (code,) = re.findall(r"^rc=(\d+)", block, re.MULTILINE)

    async def story(lab: Lab) -> Any:
        name = A0 if fault else f"{BASE}.c0"
        where = portal if fault else "10.245.47.95:3260"
        await lab.target(name, portals=[where])
        if fault:
            lab.fault(fault, portal=portal)
        place = lab.host("newton", "10.245.47.10")
        host = Host(place.network, settings=SETTINGS, rng=place.rng)
        lab.closing(host.close)
        node = ("iscsiadm", "-m", "node", "-T", A0, "-p", portal)
        new = await host.execute(*node, "-o", "new")
        login = await host.execute(*node, "--login")
        last = host.history[-1]
        return new.text + login.text + login.error, login.exit_code, last.ended - last.begun

    said, exit_code, took = Lab.run(story, judge=False)
    assert sorted(said.splitlines()) == sorted(line for line in block.splitlines()[1:6] if line)
    assert exit_code == int(code)
    assert took == pytest.approx(60 * int(minutes) + float(seconds), abs=2.6)
