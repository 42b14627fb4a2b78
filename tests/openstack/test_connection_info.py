"""Cinder's connection_info, judged by the documents of ``tests/golden``."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from iscsim.errors import ConfigError
from iscsim.openstack.connection_info import PathSpec, parse_connection_info, read_connection_info

SEEDS = Path(__file__).parents[1] / "golden" / "seeds"

MULTIPATH = {
    "target_portals": ["10.0.0.1:3260", "10.0.1.1:3260"],
    "target_iqns": ["iqn.2010-10.org.openstack:v", "iqn.2010-10.org.openstack:v"],
    "target_luns": [0, 0],
    "target_portal": "10.0.0.1:3260",
    "target_iqn": "iqn.2010-10.org.openstack:v",
    "target_lun": 0,
    "volume_id": "5ed0cc5c",
    "access_mode": "rw",
}


def literals(text: str) -> list[dict[str, Any]]:
    """The Python dictionaries with target_portals that a log of Newton shows."""
    found = []
    for match in re.finditer(r"\{[^{}]*target_portals[^{}]*\}", text):
        literal = re.sub(r"'(\s*\n\s*u'target_discovered)", r"',\1", match[0])  # one log lost a comma there
        found.append(ast.literal_eval(literal))
    return found


@pytest.mark.parametrize("seed", sorted(SEEDS.glob("00[01]*.txt")), ids=lambda path: path.stem)
def test_connection_info_of_the_newton_logs_is_read(seed: Path) -> None:
    (info,) = [parse_connection_info(literal) for literal in literals(seed.read_text())]
    assert [path.lun for path in info.paths] in ([197, 197], [192, 192])
    assert len({path.host for path in info.paths}) == 2
    assert all(path.port == 3260 for path in info.paths)


def test_by_path_name_is_the_one_of_the_logs() -> None:
    path = PathSpec("192.168.1.60", 3260, "iqn.1992-04.com.emc:cx.apm00150602415.b0", 192)
    text = next(SEEDS.glob("001*.txt")).read_text()
    assert path.by_path in text


def test_lun_beyond_255_is_shown_as_udev_does() -> None:
    assert PathSpec("10.0.0.1", 3260, "iqn.x", 16640).by_path.endswith("-lun-0x4100000000000000")


def test_a_path_that_is_named_twice_is_one_path() -> None:
    info = parse_connection_info(MULTIPATH | {"target_portals": ["10.0.0.1:3260", "10.0.0.1:3260"]})
    assert info.paths == (PathSpec("10.0.0.1", 3260, "iqn.2010-10.org.openstack:v", 0),)


@pytest.mark.parametrize(
    "document",
    [
        MULTIPATH,
        {"driver_volume_type": "iscsi", "data": MULTIPATH},
        {"connection_info": {"driver_volume_type": "iscsi", "data": MULTIPATH}},
        MULTIPATH | {"driver_volume_type": "iscsi", "attachment_id": "1"},
    ],
    ids=["data", "nested", "REST answer", "attachment"],
)
def test_every_form_gives_the_same_paths(document: dict[str, Any]) -> None:
    info = parse_connection_info(document)
    assert [path.portal for path in info.paths] == ["10.0.0.1:3260", "10.0.1.1:3260"]
    assert info.volume_id == "5ed0cc5c"


def test_single_path_form_has_one_path() -> None:
    single = {key: value for key, value in MULTIPATH.items() if not key.endswith("s")}
    assert len(parse_connection_info(single).paths) == 1


def test_chap_is_taken_over_and_hidden() -> None:
    chap = {"auth_method": "CHAP", "auth_username": "user", "auth_password": "secret"}
    info = parse_connection_info(MULTIPATH | chap)
    assert info.chap is not None
    assert info.chap.outgoing is not None
    assert (info.chap.outgoing.name, info.chap.outgoing.secret) == ("user", b"secret")
    assert "secret" not in repr(info)


def test_read_only_access_mode_is_taken_over() -> None:
    assert parse_connection_info(MULTIPATH | {"access_mode": "ro"}).read_only


def test_ipv6_portal_keeps_its_brackets() -> None:
    (path,) = parse_connection_info(
        {"target_portal": "[2001:db8::1]:3260", "target_iqn": "iqn.x", "target_lun": 1}
    ).paths
    assert (path.host, path.portal) == ("2001:db8::1", "[2001:db8::1]:3260")


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"target_luns": [0]}, "equally long"),
        ({"target_portals": "10.0.0.1:3260"}, "target_portals must be a list"),
        ({"target_iqns": None}, "target_iqns is missing"),
        ({"target_portals": ["10.0.0.1", "10.0.0.2:x"]}, "not a portal"),
        ({"target_luns": ["0", 0]}, "not a LUN"),
        ({"target_luns": [True, 0]}, "not a LUN"),
        ({"target_iqns": ["", ""]}, "not a target name"),
        ({"driver_volume_type": "rbd"}, "driver_volume_type is 'rbd'"),
        ({"auth_method": "KRB5"}, "auth_method is 'KRB5'"),
        ({"auth_method": "CHAP"}, "auth_username is missing"),
    ],
)
def test_document_with_a_mistake_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_connection_info(MULTIPATH | change)


@pytest.mark.parametrize("document", [[], None, "x", {"connection_info": 1}, {}])
def test_what_is_no_connection_info_is_refused(document: Any) -> None:
    with pytest.raises(ConfigError):
        parse_connection_info(document)


def test_file_is_named_in_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "info.json"
    with pytest.raises(ConfigError, match=r"info\.json: No such file"):
        read_connection_info(path)
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"info\.json: not JSON"):
        read_connection_info(path)
    path.write_text(json.dumps({}))
    with pytest.raises(ConfigError, match=r"info\.json: target_portal is missing"):
        read_connection_info(path)
