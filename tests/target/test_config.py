"""A target described by options or by a TOML file."""

from __future__ import annotations

from pathlib import Path

import pytest

from iscsim.errors import ConfigError
from iscsim.target.config import DEFAULT_TARGET, ServeConfig, TargetConfig, build, read_config
from iscsim.target.node import Redirect
from iscsim.target.state import StateDirectory

FILE = """
personality = "lio"

[[target]]
name = "iqn.2026-11.test:first"
alias = "backup"
portals = ["127.0.0.1:0", "127.0.0.1:13260"]
luns = ["1=1M", "197=2M,readonly"]
initiators = ["iqn.1993-08.org.debian:01:host:user:secret"]

[[target]]
name = "iqn.2026-11.test:second"
portals = ["127.0.0.1:13260"]
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "target.toml"
    path.write_text(text)
    return path


def test_file_is_made_into_nodes(tmp_path: Path) -> None:
    entity, (first, second) = build(read_config(write(tmp_path, FILE)))
    assert entity.policy.name == "lio"
    assert (first.node.name, first.node.alias) == ("iqn.2026-11.test:first", "backup")
    assert [mapped.number for mapped in first.node.lun_map] == [1, 197]
    assert [mapped.read_only for mapped in first.node.lun_map] == [False, True]
    assert list(first.node.acls) == ["iqn.1993-08.org.debian:01:host"]
    assert first.node.chap_of("iqn.1993-08.org.debian:01:host") is not None
    assert second.node.acls == {}


def test_the_same_fixed_portal_serves_several_targets_and_is_listened_on_once(tmp_path: Path) -> None:
    entity, _ = build(read_config(write(tmp_path, FILE)))
    assert sorted(portal.port for portal in entity.portals) == [0, 13260]


def test_each_portal_has_a_group_of_its_own() -> None:
    target = TargetConfig(portals=["127.0.0.1:0", "127.0.0.1:0"])
    _, (served,) = build(ServeConfig(targets=[target]))
    assert {tag: len(group.portals) for tag, group in served.node.portal_groups.items()} == {1: 1, 2: 1}


@pytest.mark.parametrize(
    "text, permanent", [("1=2", False), ("1=192.0.2.9:3261,permanent", True), ("127.0.0.1:13260=1", False)]
)
def test_redirection_of_a_portal(text: str, permanent: bool) -> None:
    target = TargetConfig(portals=["127.0.0.1:0", "127.0.0.1:13260"], redirects=[text])
    entity, _ = build(ServeConfig(targets=[target]))
    (origin,) = [portal for portal in entity.portals if portal.redirect_to is not None]
    assert origin is entity.portals[0 if text.startswith("1=") else 1]
    assert origin.redirect_to is not None
    assert origin.redirect_to.permanent is permanent
    shown = {"1=2": "127.0.0.1:13260", "127.0.0.1:13260=1": "127.0.0.1:0"}.get(text, "192.0.2.9:3261")
    assert origin.redirect_to.shown_at("127.0.0.1") == shown


def test_redirection_of_a_target_from_a_file(tmp_path: Path) -> None:
    text = FILE.replace('alias = "backup"', 'redirects = ["*=192.0.2.9"]')
    _, (first, second) = build(read_config(write(tmp_path, text)))
    assert first.node.redirect_to == Redirect("192.0.2.9")
    assert second.node.redirect_to is None


@pytest.mark.parametrize(
    "text, message",
    [
        ("3=1", "redirection from 3, which is no portal"),
        ("192.0.2.1:3260=1", "redirection from 192.0.2.1:3260, which is no portal"),
        ("1=3", "redirection to portal 3"),
        ("1=1", "redirected to itself"),
        ("1=127.0.0.1:0", "redirected to itself"),
        ("1=192.0.2.9:0", "without a portal group tag"),
        ("*=x:y", "not a portal"),
    ],
)
def test_redirection_that_leads_nowhere_is_refused(text: str, message: str) -> None:
    target = TargetConfig(portals=["127.0.0.1:0", "127.0.0.1:13260"], redirects=[text])
    with pytest.raises(ConfigError, match=message):
        build(ServeConfig(targets=[target]))


def test_nothing_described_is_one_lun_of_64_mib_open_to_everybody() -> None:
    entity, (served,) = build(ServeConfig())
    assert served.node.name == DEFAULT_TARGET
    assert [str(portal) for portal in entity.portals] == ["127.0.0.1:3260"]
    (mapped,) = served.node.lun_map
    assert (mapped.number, mapped.logical_unit.store.size) == (1, 64 << 20)
    assert served.node.admits("iqn.2026-11.test:anybody")


def test_anybody_with_chap_leaves_the_door_open_but_guarded() -> None:
    _, (served,) = build(ServeConfig(targets=[TargetConfig(initiators=["*:user:secret"])]))
    assert served.node.admits("iqn.2026-11.test:anybody")
    assert served.node.chap_of("iqn.2026-11.test:anybody") is not None


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("colour = 1", "unknown key 'colour'"),
        ("personality = 1", "personality must be a string"),
        ("state = 1", "state must be a string"),
        ("target = 1", "target must be a list"),
        ("target = [1]", r"target must be written as \[\[target\]\]"),
        ("[[target]]\nports = []", "unknown key 'ports'"),
        ("[[target]]\nluns = [1]", "luns must be a list of strings"),
        ("= broken", "Invalid statement"),
    ],
)
def test_file_with_a_mistake_is_refused_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_config(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_config(tmp_path / "missing.toml")


@pytest.mark.parametrize(
    "config, complaint",
    [
        (ServeConfig(personality="emc"), "unknown personality 'emc'"),
        (ServeConfig(targets=[TargetConfig(name="disk")]), "not an iSCSI name"),
        (ServeConfig(targets=[TargetConfig(portals=["x:y"])]), "not a portal"),
        (ServeConfig(targets=[TargetConfig(initiators=["*", "iqn.2026-11.test:a"])]), "is everybody"),
        (
            ServeConfig(targets=[TargetConfig(initiators=["iqn.2026-11.test:a"] * 2)]),
            "test:a of .* given twice",
        ),
        (ServeConfig(targets=[TargetConfig(portals=["127.0.0.1"] * 2)]), "127.0.0.1 of .* is given twice"),
        (ServeConfig(targets=[TargetConfig(luns=["1=1M", "1=1M"])]), "LUN 1 is mapped already"),
        (ServeConfig(targets=[TargetConfig(), TargetConfig()]), "exists already"),
    ],
)
def test_description_with_a_mistake_is_refused(config: ServeConfig, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        build(config)


def test_registrations_of_every_unit_are_kept_in_the_state(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, f'state = "{tmp_path}/state"\n' + FILE))
    with StateDirectory(config.state) as state:
        _, targets = build(config, state=state)
    units = [mapped.logical_unit for served in targets for mapped in served.node.lun_map]
    assert [unit.reservations.can_survive_power_loss for unit in units] == [True] * 3


def test_two_units_with_one_wwn_cannot_have_a_state_each(tmp_path: Path) -> None:
    wwn = "wwn=36006016015e03a00ab2df25bb82d0ea9"
    config = ServeConfig(targets=[TargetConfig(luns=[f"1=1M,{wwn}", f"2=1M,{wwn}"])])
    build(config)
    with (
        StateDirectory(tmp_path) as state,
        pytest.raises(ConfigError, match="two logical units have the WWN 6006"),
    ):
        build(config, state=state)


def test_target_without_luns_is_one_wish_and_the_default_another(tmp_path: Path) -> None:
    without = read_config(write(tmp_path, '[[target]]\nname = "iqn.2026-11.test:empty"\nluns = []'))
    _, (served,) = build(without)
    assert (served.luns, list(served.node.units())) == ([], [])
    _, (served,) = build(read_config(write(tmp_path, "[[target]]")))
    assert [spec.number for spec in served.luns] == [1]
