"""Emulated Linux hosts in a lab: plain functions, in virtual time and on real loops."""

from __future__ import annotations

import pytest

from iscsim.errors import ConfigError
from iscsim.lab.linux_host import SEEDS, build_host, host_settings, linux_host
from iscsim.lab.scenario import parse_scenario
from iscsim.lab.world import Lab
from iscsim.net.runner import run


async def discovered(lab: Lab) -> str:
    host = await build_host(lab, parse_scenario(SEEDS))
    found = await host.execute("iscsiadm", "-m", "discovery", "-t", "st", "-p", "10.245.47.95")
    assert (await host.execute("iscsiadm", "-m", "node", "-l")).exit_code == 0
    await host.settle()
    maps = await host.execute("multipath", "-ll")
    assert maps.text.startswith("36006016015e03a00ab2df25bb82d0ea9 dm-0 DGC,VRAID\n")
    return found.text


NODES = """\
10.245.47.95:3260,2 iqn.1992-04.com.emc:cx.fnm00150600267.a0
10.245.47.96:3260,1 iqn.1992-04.com.emc:cx.fnm00150600267.b0
"""


def test_the_seeds_lab_in_virtual_time() -> None:
    assert Lab.run(discovered) == NODES


def test_the_seeds_lab_in_real_time() -> None:
    async def main() -> str:
        async with Lab("memory", latency_s=0.0) as lab:
            return await discovered(lab)

    assert run(main()) == NODES


def test_it_logs_out_with_the_lab() -> None:
    hosts = []

    async def main(lab: Lab) -> None:
        hosts.append(await build_host(lab, parse_scenario(SEEDS)))
        await hosts[0].execute("iscsiadm", "-m", "discovery", "-t", "st", "-p", "10.245.47.95")
        await hosts[0].execute("iscsiadm", "-m", "node", "-l")

    Lab.run(main)
    assert hosts[0].iscsid.sessions == {}


def test_a_host_of_a_lab_by_hand() -> None:
    async def main(lab: Lab) -> None:
        target = await lab.target(portals=["10.245.47.95:3260"], luns={1: "1M"})
        host = linux_host(lab, "compute", "10.245.47.93", settings={"find_multipaths": "no"})
        assert host.address == "10.245.47.93"
        await host.execute("iscsiadm", "-m", "discovery", "-t", "st", "-p", target.portal)
        await host.execute("iscsiadm", "-m", "node", "-l")
        await host.settle()
        assert (await host.execute("blockdev", "--getsize64", "/dev/sda")).text == "1048576\n"

    Lab.run(main)


def test_settings_of_a_table() -> None:
    table = {
        "udev_delay_s": "250ms",
        "command_costs": {"*": "5ms"},
        "iscsid_conf": {"node.session.timeo.replacement_timeout": 5},
        "manual_scan": False,
        "first_scsi_host": 6,
    }
    found = host_settings(table)
    assert (found.udev_delay_s, found.manual_scan, found.first_scsi_host) == (0.25, False, 6)
    assert found.cost_of("lsblk") == 0.005
    assert found.iscsid_conf == {"node.session.timeo.replacement_timeout": "5"}


@pytest.mark.parametrize(
    "table, message",
    [
        ({"udev_delay": 1}, "udev_delay_s"),
        ({"manual_scan": "yes"}, "manual_scan is 'yes'"),
        ({"first_scsi_host": True}, "first_scsi_host is True"),
        ({"command_costs": 3}, "expected a table"),
        ({"find_multipaths": "maybe"}, "find_multipaths"),
        ({"local_disks": []}, "local_disks"),
        ({"udev_delay_s": "soon"}, "soon"),
    ],
)
def test_settings_there_are_not(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        host_settings(table)


def test_which_host() -> None:
    hosts = [
        {"name": "one", "addresses": ["10.0.0.1"]},
        {"name": "two", "initiator_name": "iqn.2026-11.x:two"},
    ]
    scenario = parse_scenario({"host": hosts})

    async def main(lab: Lab) -> None:
        host = await build_host(lab, scenario, "two")
        assert (host.name, host.initiator_name) == ("two", "iqn.2026-11.x:two")

    Lab.run(main)

    async def wrong(lab: Lab) -> None:
        await build_host(lab, scenario, "three")

    with pytest.raises(ConfigError, match=r"no host 'three' \(there are: one, two\)"):
        Lab.run(wrong)


def test_a_scenario_without_hosts() -> None:
    async def main(lab: Lab) -> None:
        await build_host(lab, parse_scenario({}))

    with pytest.raises(ConfigError, match=r"no \[\[host\]\]"):
        Lab.run(main)
