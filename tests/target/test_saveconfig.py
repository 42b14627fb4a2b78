"""LIO's saveconfig.json: what was recorded comes in and goes out again, byte for byte."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iscsim.errors import ConfigError
from iscsim.scsi import makes
from iscsim.target.saveconfig import from_saveconfig, to_saveconfig

GOLDEN = Path(__file__).parents[1] / "golden" / "cinder-rtstool-lio.log"
SERIAL = "035defc1-0ddb-42eb-be1d-e8f6fca75ac2"
VOLUME = "iqn.2010-10.org.openstack:volume-5ed0cc5c-158c-4857-9bd5-3556884a23f0"


def recorded_text() -> str:
    text = GOLDEN.read_text().partition("save saveconfig.json\nrc=0\n")[2]
    _, end = json.JSONDecoder().raw_decode(text)
    return text[:end]


@pytest.fixture
def recorded() -> Any:
    return json.loads(recorded_text())


def written(document: Any) -> str:
    return json.dumps(document, sort_keys=True, indent=2)


def test_the_recorded_file_is_written_as_it_was(recorded: Any) -> None:
    assert written(to_saveconfig(from_saveconfig(recorded))) == recorded_text()


def test_the_recorded_file_is_understood(recorded: Any) -> None:
    model = from_saveconfig(recorded)
    (unit,), (target,) = model["backstores"], model["targets"]
    assert (unit["name"], unit["plugin"], unit["path"], unit["serial"]) == (
        VOLUME,
        "block",
        "/dev/loop0",
        SERIAL,
    )
    assert (unit["block_size"], unit["thin"], unit["write_back"], unit["read_only"]) == (
        512,
        False,
        False,
        False,
    )
    assert "wwn" not in unit
    (group,) = target["tpgs"]
    assert (target["name"], target["alias"], group["tag"], group["enabled"]) == (VOLUME, "", 1, True)
    assert group["portals"] == [{"address": "10.245.47.10", "port": 3260}]
    assert [(lun["lun"], lun["backstore"], lun["alias"]) for lun in group["luns"]] == [
        (0, VOLUME, "737df21159")
    ]
    (acl,) = group["acls"]
    assert (acl["initiator"], acl["user"], acl["password"]) == (
        "iqn.1993-08.org.debian:01:7cc8838d1c0",
        "chapuser",
        "chapsecret12",
    )
    assert acl["mapped_luns"] == [{"lun": 0, "tpg_lun": 0, "write_protect": False, "alias": "2785ee16d5"}]


def model_of(plugin: str = "ramdisk", **changes: Any) -> dict[str, Any]:
    unit = {
        "name": "disk",
        "plugin": plugin,
        "path": None if plugin == "ramdisk" else "/srv/disk",
        "size": 1 << 20,
        "block_size": 512,
        "serial": SERIAL,
        "wwn": makes.LIO.wwn(SERIAL),
        "read_only": False,
        "write_back": True,
        "thin": False,
        "attributes": {},
    }
    chap = {"user": "", "password": "", "mutual_user": "", "mutual_password": ""}
    acl = {
        "initiator": "iqn.2026-11.test:host",
        "attributes": {},
        "mapped_luns": [{"lun": 5, "tpg_lun": 1, "write_protect": True, "alias": "b"}],
        "user": "u",
        "password": "p" * 12,
        "mutual_user": "m",
        "mutual_password": "q" * 12,
    }
    group = {
        "tag": 3,
        "enabled": False,
        "attributes": {"authentication": 0},
        "parameters": {},
        "portals": [{"address": "::1", "port": 3261}],
        "luns": [{"lun": 1, "backstore": "disk", "alias": "a", "read_only": False, "access_states": []}],
        "acls": [acl],
        **chap,
    }
    target = {"name": "iqn.2026-11.test:a", "alias": "Alias", "parameters": {}, "tpgs": [group]}
    return {"personality": "lio", "backstores": [unit | changes], "targets": [target]}


@pytest.mark.parametrize(
    "model",
    [
        model_of(),
        model_of("fileio", thin=True, write_back=False),
        model_of("block", block_size=4096, read_only=True),
        model_of() | {"personality": "vnx"},
        model_of(wwn="6" + "0" * 31),
        model_of(attributes={"emulate_tas": 0, "mine": "kept"}),
    ],
    ids=["ramdisk", "fileio", "block", "personality", "wwn", "attributes"],
)
def test_what_goes_out_comes_back(model: Any) -> None:
    document = to_saveconfig(model)
    again = from_saveconfig(json.loads(written(document)))
    (unit,), (before,) = again["backstores"], model["backstores"]
    for name in ("name", "plugin", "path", "block_size", "serial", "thin"):
        assert unit[name] == before[name]  # type: ignore[literal-required]
    assert unit.get("wwn") == (before["wwn"] if before["wwn"] != makes.LIO.wwn(SERIAL) else None)
    assert again.get("personality", "lio") == model["personality"]
    assert unit["attributes"].items() >= before["attributes"].items()
    (target,), (was,) = again["targets"], model["targets"]
    assert (target["name"], target["alias"]) == (was["name"], was["alias"])
    (group,), (old,) = target["tpgs"], was["tpgs"]
    assert (group["tag"], group["enabled"], group["portals"]) == (3, False, old["portals"])
    assert group["acls"][0]["mapped_luns"] == old["acls"][0]["mapped_luns"]
    assert {name: group["acls"][0][name] for name in ("user", "mutual_user", "mutual_password")} == {
        name: old["acls"][0][name] for name in ("user", "mutual_user", "mutual_password")
    }
    assert written(to_saveconfig(fill(again))) == written(document)


def fill(model: Any) -> Any:
    """What the target adds: the WWN, the size of a device, the personality."""
    for unit in model["backstores"]:
        unit.setdefault("wwn", makes.LIO.wwn(unit["serial"]))
    return {"personality": "lio"} | model


def test_lio_is_told_nothing_it_does_not_know_unless_need_be() -> None:
    assert set(to_saveconfig(model_of())) == {"fabric_modules", "storage_objects", "targets"}
    document = to_saveconfig(model_of(wwn="6" + "0" * 31) | {"personality": "rfc"})
    assert document["iscsim"] == {"personality": "rfc", "wwns": {"disk": "6" + "0" * 31}}


def test_addresses_of_ipv6_have_brackets_in_lio() -> None:
    (portal,) = to_saveconfig(model_of())["targets"][0]["tpgs"][0]["portals"]
    assert portal["ip_address"] == "[::1]"


def test_target_port_groups_of_lio_are_kept() -> None:
    document = to_saveconfig(model_of())
    group = document["storage_objects"][0]["alua_tpgs"][0] | {"name": "sp_a", "tg_pt_gp_id": 7}
    document["storage_objects"][0]["alua_tpgs"] = [group]
    document["targets"][0]["tpgs"][0]["luns"][0]["alua_tg_pt_gp_name"] = "sp_a"
    assert to_saveconfig(fill(from_saveconfig(copy.deepcopy(document)))) == document


def test_little_is_needed() -> None:
    assert from_saveconfig({}) == {"backstores": [], "targets": []}
    document = {"targets": [{"fabric": "iscsi", "wwn": "IQN.2026-11.test:A", "tpgs": [{"tag": 1}]}]}
    (target,) = from_saveconfig(document)["targets"]
    assert (target["name"], target["tpgs"][0]["enabled"]) == ("iqn.2026-11.test:a", True)


def unit(document: Any) -> Any:
    return document["storage_objects"][0]


def group(document: Any) -> Any:
    return document["targets"][0]["tpgs"][0]


WRONG: list[tuple[str, Callable[[Any], Any], str]] = [
    ("plugin", lambda d: unit(d).update(plugin="user"), "storage_objects[0]: plugin 'user' of"),
    ("no name", lambda d: unit(d).pop("name"), "storage_objects[0]: 'name' is missing"),
    ("no device", lambda d: unit(d).pop("dev"), "storage_objects[0]: 'dev' is missing"),
    ("type", lambda d: unit(d).update(name=5), "storage_objects[0]: name is 5, not text"),
    ("twice", lambda d: d["storage_objects"].append(unit(d)), "is there twice"),
    (
        "wwn twice",
        lambda d: d["storage_objects"].append(unit(d) | {"name": "other"}),
        f"unit serial number {SERIAL} is there twice",
    ),
    (
        "NAA twice",
        lambda d: d["storage_objects"].append(unit(d) | {"name": "other", "wwn": SERIAL.upper()}),
        "WWN 6001405035defc10ddb42ebbe1de8f6f is there twice",
    ),
    ("block size", lambda d: unit(d)["attributes"].update(block_size=-1), "attributes: block_size is -1"),
    ("fabric", lambda d: d["targets"][0].update(fabric="loopback"), "targets[0]: fabric 'loopback'"),
    ("target name", lambda d: d["targets"][0].update(wwn="naa.5001"), "targets[0]: "),
    ("lun", lambda d: group(d)["luns"][0].update(storage_object="/backstores/block/x"), "no storage object"),
    ("lun path", lambda d: group(d)["luns"][0].update(storage_object="x"), "no storage object 'x'"),
    ("mapped", lambda d: group(d)["node_acls"][0]["mapped_luns"][0].update(tpg_lun=9), "no LUN 9"),
    ("tag", lambda d: group(d).update(tag=70000), "tag is 70000, not 0 to 65535"),
    ("lists", lambda d: d.update(targets={}), "targets is an object, not a list"),
    ("objects", lambda d: d.update(targets=[1]), "targets[0]: not an object"),
    ("personality", lambda d: d.update(iscsim={"personality": "vxn"}), "did you mean 'vnx'?"),
    ("no personality", lambda d: d.update(iscsim={"personalities": {"a": {}}}), "personality an object"),
    ("line", lambda d: unit(d).update(name="a\nb"), "name: characters that cannot be shown"),
    ("long", lambda d: unit(d).update(name="x" * 4097), "name: 4097 characters, not up to 4096"),
    ("WWN", lambda d: d.update(iscsim={"wwns": {unit(d)["name"]: 5}}), "iscsim.wwns: "),
    ("personalities", lambda d: d.update(iscsim={"personalities": {"a": 1}}), "personality 1"),
]


@pytest.mark.parametrize("change, message", [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_mistake_is_one_line_that_says_where(
    recorded: Any, change: Callable[[Any], Any], message: str
) -> None:
    change(recorded)
    with pytest.raises(ConfigError) as wrong:
        from_saveconfig(recorded)
    assert str(wrong.value).startswith("saveconfig: ")
    assert message in str(wrong.value)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize("secret", [["chapsecret12"], {"x": "chapsecret12"}, 987654321098])
def test_secret_that_is_no_text_is_not_shown(recorded: Any, secret: Any) -> None:
    group(recorded)["node_acls"][0]["chap_password"] = secret
    with pytest.raises(ConfigError, match="chap_password is ") as wrong:
        from_saveconfig(recorded)
    assert "chapsecret12" not in str(wrong.value)
    assert "987654321098" not in str(wrong.value)


@pytest.mark.parametrize("document", [None, [], "text", 5])
def test_document_that_is_none(document: Any) -> None:
    with pytest.raises(ConfigError, match="the document: not an object"):
        from_saveconfig(document)
