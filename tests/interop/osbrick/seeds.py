"""The seeds' day: two arrays, a host of Newton's time, and what the seeds' documents say was run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iscsim.host.model import Execution, Host
from iscsim.host.settings import HostSettings, LocalDisk
from iscsim.lab import Lab

ATTACH, DETACH = "001_f4a3bddf808373b6.txt", "000_88e9037ba7f93479.txt"
SEEDS = Path(__file__).parents[2] / "golden" / "seeds"
FNM, APM = "iqn.1992-04.com.emc:cx.fnm00150600267", "iqn.1992-04.com.emc:cx.apm00150602415"
FNM_WWN, APM_WWN = "36006016015e03a00ab2df25bb82d0ea9", "36006016074e03a008d3cf25b04e2daae"
FNM_PORTALS = ["10.245.47.95:3260", "10.245.47.96:3260"]
APM_PORTALS = ["192.168.1.59:3260", "192.168.1.60:3260"]
GIB = 1 << 30
NEWTON = HostSettings(
    open_iscsi_version="2.0-873",
    multipath_tools_version="0.4.9",
    manual_scan=False,
    find_multipaths="yes",
    udev_delay_s=0.5,
    multipathd_delay_s=0.3,
    command_costs={"*": 0.06},
    local_disks=(
        LocalDisk("vda", "254:0", 20 * GIB),
        LocalDisk("vda1", "254:1", 20 * GIB - (1 << 20), "part", "/", parent="vda"),
        LocalDisk("loop0", "7:0", 1 << 20, "loop"),
    ),
)


def connection(target: str, portals: Sequence[str], lun: int, first: int) -> dict[str, Any]:
    """What cinder returned of a volume; ``first`` is the portal of the single form."""
    names = [f"{target}.a0", f"{target}.b0"]
    return {
        "target_luns": [lun, lun],
        "target_lun": lun,
        "target_iqns": names,
        "target_iqn": names[first],
        "target_portals": list(portals),
        "target_portal": portals[first],
        "target_discovered": True,
        "encrypted": False,
        "qos_specs": None,
        "access_mode": "rw",
    }


MULTIPATH = connection(FNM, FNM_PORTALS, 197, 0) | {"volume_id": "5ed0cc5c-158c-4857-9bd5-3556884a23f0"}
SINGLE = connection(APM, APM_PORTALS, 192, 1) | {"volume_id": "e8f58c95-3f8a-40dc-861d-163ce68fcdaf"}


async def seeds_host(lab: Lab, settings: HostSettings = NEWTON) -> Host:
    """Both arrays and the host; portal 192.168.1.59 never answers. Its LUN 197 is not mapped yet."""
    fnm_lun = {197: f"3G,wwn={FNM_WWN[1:]},serial=FNM00150600267"}
    apm_lun = {192: f"1G,wwn={APM_WWN[1:]},serial=APM00150602415,owner=b"}
    await lab.target(FNM, portals=FNM_PORTALS, luns=fnm_lun, personality="vnx", host="fnm")
    apm = await lab.target(APM, portals=APM_PORTALS, luns=apm_lun, personality="vnx", host="apm")
    b0 = next(node for node in apm.nodes if node.name.endswith(".b0"))
    group = b0.portal_groups.pop(next(iter(b0.portal_groups)))
    group.tag = 5  # as the seeds list it
    b0.portal_groups[5] = group
    lab.fault("net.blackhole", portal=APM_PORTALS[0]).may_not_fire()
    place = lab.host("newton", "10.245.47.10")
    return Host(place.network, settings=settings, name="newton", rng=place.rng)


async def log_in_to_first_array(lab: Lab, host: Host) -> None:
    """Sessions 1 and 2 while LUN 197 is not mapped; then it is found on the second SCSI host first.

    So sda and sdb are the array's LUNZ, sdc is 3:0:0:197 and sdd 2:0:0:197, as the seeds have it.
    """
    luns = lab.live_target(FNM).nodes[0].lun_map
    unit = luns.remove(197)
    for name, portal in zip(MULTIPATH["target_iqns"], FNM_PORTALS, strict=True):
        node = ("iscsiadm", "-m", "node", "-T", name, "-p", portal)
        await host.execute(*node, "--op", "new")
        await host.execute(*node, "--login")
    luns.add(197, unit)
    for number in (3, 2):
        await host.execute("tee", "-a", f"/sys/class/scsi_host/host{number}/scan", stdin=b"- - 197")
    await host.settle()
    host.history.clear()


# -- what the documents say ----------------------------------------------------------------------------


@dataclass
class Shown:
    """A command of a document, its line number, and the lines of output below it."""

    line: int
    command: str
    output: list[str] = field(default_factory=list)


def commands_of(name: str) -> list[Shown]:
    """The commands in the shell blocks of a seed, with what is printed below them."""
    found: list[Shown] = []
    inside, current = False, None
    for number, text in enumerate((SEEDS / name).read_text().splitlines(), 1):
        if text.startswith("```"):
            inside, current = text.startswith("```bash") and not inside, None
        elif inside and text.startswith(_COMMANDS) and not text.startswith(_NO_COMMANDS):
            current = Shown(number, text.lstrip("$# ").strip())
            found.append(current)
        elif current is not None and text.strip():
            current.output.append(text.removeprefix("# ").rstrip())
    return [each for each in found if not each.command.startswith(("curl", "REQ:"))]


_COMMANDS = ("$ ", "iscsiadm ", "multipath ", "/lib/udev/scsi_id ", "systool ", "curl ", "REQ:", "# lsblk ")
_NO_COMMANDS = ("multipath LUNs to remove",)

SLIPS = {
    (ATTACH, 175): (
        "iscsiadm -m session --rescan",
        "os-brick rescans nodes, then sessions: one word was lost",
    ),
    (ATTACH, 182): ("iscsiadm -m node --rescan", "the two rescans of the retry, shown once"),
    (ATTACH, 223): ("iscsiadm -m session --rescan", "as line 175"),
}
"""Where a document does not show what was run: by document and line, the command, and why."""


def differences(shown: Shown, run: Execution, previous: Execution | None) -> Iterator[str]:
    """In which of its lines a run is not what the document shows; none when it is."""
    said = f"{run.result.text}{run.result.error}"
    for line in shown.output:
        if line.startswith("Exit code: "):
            if int(line.removeprefix("Exit code: ")) != run.result.exit_code:
                yield f"{line}, got {run.result.exit_code}"
        elif line.startswith(("Stdout: u", "Stderr: u")):
            wanted = ast.literal_eval(line.partition(": ")[2])
            got = run.result.text if line.startswith("Stdout") else run.result.error
            if wanted != got:
                yield f"{line}, got {got!r}"
        elif line in ("Same result",):
            if previous is None or previous.result.text != run.result.text:
                yield "not the same result as before"
        elif line == "no output":
            if said:
                yield f"no output, got {said!r}"
        elif not _is_remark(line) and line.removesuffix("\\n") not in said.splitlines():
            yield line


def _is_remark(line: str) -> bool:
    """What os-brick logs or the author says about a command, which is no output of it."""
    begins = (
        "failed. Not",
        "Exception during",
        "Unexpected error",
        "Command: ",
        "Checking to see",
        "Failed attempt",
    )
    begins += (
        "Sleeping for",
        "Two times",
        "Found multipath",
        "Find Multipath",
        "Block device",
        "Unable to find",
    )
    return line.startswith((*begins, "/dev/disk/by-id/dm-uuid", "/dev/mapper")) or not line
