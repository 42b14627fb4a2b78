"""The personality ``vnx``: one described target is two, at two storage processors that share their units."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim import Lab
from iscsim.errors import ConfigError
from iscsim.scsi.sense import CommandFailed
from iscsim.scsi.unit_path_report import UnitPathReport

BASE = "iqn.1992-04.com.emc:cx.fnm00150600267"
PORTALS = ["10.245.47.95:3260", "10.245.47.96:3260"]
WWN = "36006016015e03a00ab2df25bb82d0ea9"
LUNS = {192: "1M", 197: f"1M,wwn={WWN}"}


async def vnx(lab: Lab, **options: Any) -> Any:
    return await lab.target(BASE, personality="vnx", portals=PORTALS, luns=LUNS, **options)


@pytest.fixture
def lab() -> Any:
    made = Lab(seed=1)
    made.host("newton", "10.245.47.10")
    return made


def in_lab(lab: Lab, scenario: Any) -> Any:
    return lab.run_with(scenario)


def test_discovery_at_either_portal_shows_both_targets(lab: Lab) -> None:
    async def scenario() -> Any:
        target = await vnx(lab)
        assert [node.name for node in target.nodes] == [f"{BASE}.a0", f"{BASE}.b0"]
        assert (target.name, target.name_at(1), target.base_name) == (f"{BASE}.a0", f"{BASE}.b0", BASE)
        with pytest.raises(ConfigError, match="no portal 2"):
            target.name_at(2)
        return [await lab.hosts["newton"].discover(portal) for portal in PORTALS]

    for found in in_lab(lab, scenario):
        shown = [(each.name, f"{portal},{portal.tag}") for each in found for portal in each.portals]
        # seed 001: "10.245.47.95:3260,2 ...a0" and "10.245.47.96:3260,1 ...b0"
        assert shown == [(f"{BASE}.a0", f"{PORTALS[0]},2"), (f"{BASE}.b0", f"{PORTALS[1]},1")]


def test_host_without_a_lun_0_sees_lunz_there(lab: Lab) -> None:
    async def scenario() -> None:
        async with lab.hosts["newton"].connect(await vnx(lab)) as session:
            units = await session.scan()
            assert [(unit.number, unit.product) for unit in units] == [
                (0, "LUNZ"),
                (192, "VRAID"),
                (197, "VRAID"),
            ]
            assert [(unit.vendor, unit.revision, unit.serial) for unit in units] == [
                ("DGC", "0533", "FNM00150600267")
            ] * 3
            assert units[2].wwn == WWN
            report = UnitPathReport.parse(await session.inquiry(0, 0xC0))
            assert (report.lun_state, report.processor) == (0, 0)
            assert await session.inquiry(0, 0x00) == bytes.fromhex("000000030080c0")
            with pytest.raises(CommandFailed, match="05/25/00"):
                await session.read_capacity(0)
            with pytest.raises(CommandFailed, match="05/24/00"):
                await session.inquiry(0, 0x83)
            nobody = await session.inquiry(1)
            assert nobody.qualifier == 3

    in_lab(lab, scenario)


def test_lunz_gives_way_to_a_lun_0(lab: Lab) -> None:
    async def scenario() -> None:
        target = await vnx(lab)
        async with lab.hosts["newton"].connect(target) as session:
            await session.scan()
            target.add_lun(0, "1M")
            assert [unit.number for unit in await session.scan()] == [0, 192, 197]
            assert (await session.inquiry(0)).product == "VRAID"

    in_lab(lab, scenario)


def test_each_processor_has_a_target_port_group_and_one_of_them_owns_the_unit(lab: Lab) -> None:
    async def scenario() -> None:
        host, target = lab.hosts["newton"], await vnx(lab)
        reports = []
        for number in range(2):
            async with host.connect(target, number) as session:
                await session.scan()
                reports.append(UnitPathReport.parse(await session.inquiry(197, 0xC0)))
        assert [(each.lun_state, each.processor, each.port) for each in reports] == [(2, 0, 0), (1, 1, 0)]
        assert dict(target.node.ports) == {1: (2,), 2: (1,)}

    in_lab(lab, scenario)


def test_array_attaches_over_both_processors(lab: Lab) -> None:
    async def scenario() -> Any:
        target = await vnx(lab, initiators=[f"{lab.hosts['newton'].initiator_name}:user:a-long-secret-12"])
        with pytest.raises(ConfigError, match="given twice"):
            await lab.target("iqn.a:b", personality="vnx", portals=["10.0.0.1:1", "10.0.0.1:1"])
        info = lab.connection_info(target, 197)
        assert info["data"]["target_iqns"] == [f"{BASE}.a0", f"{BASE}.b0"]
        data = {"auth_method": "CHAP", "auth_username": "user", "auth_password": "a-long-secret-12"}
        volume = await lab.hosts["newton"].attach(info | {"data": info["data"] | data})
        assert len(volume.paths) == 2
        assert lab.live_target(BASE) is lab.live_target(f"{BASE}.b0") is target
        assert len(target.sessions) == 2
        await volume.detach()

    in_lab(lab, scenario)


def test_array_has_eight_ports(lab: Lab) -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigError, match="at most 8 portals"):
            await lab.target(BASE, personality="vnx", portals=9)

    in_lab(lab, scenario)


@pytest.mark.parametrize(
    "personality, tags, groups", [("lio", [1, 1], {0: (1,)}), ("rfc", [1, 2], {1: (1,), 2: (2,)})]
)
def test_linux_targets_have_one_portal_group(
    lab: Lab, personality: str, tags: list[int], groups: Any
) -> None:
    async def scenario() -> None:
        target = await lab.target("iqn.2026-11.test:a", personality=personality, portals=PORTALS)
        (found,) = await lab.hosts["newton"].discover(PORTALS[0])
        assert [portal.tag for portal in found.portals] == tags
        assert dict(target.node.ports) == groups

    in_lab(lab, scenario)
