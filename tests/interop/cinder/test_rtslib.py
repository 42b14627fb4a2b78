"""What iscsim saves, rtslib 2.2.4 restores: its own code reads the file; only the kernel is not there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from iscsim.target.saveconfig import to_saveconfig

pytestmark = pytest.mark.interop
SERIAL = "035defc1-0ddb-42eb-be1d-e8f6fca75ac2"
TARGET, HOST = "iqn.2026-11.test:a", "iqn.2026-11.test:host"


def model(plugin: str) -> dict[str, Any]:
    chap = {"user": "u", "password": "p" * 12, "mutual_user": "m", "mutual_password": "q" * 12}
    unit = {"name": "disk", "plugin": plugin, "size": 1 << 20, "block_size": 512, "serial": SERIAL}
    unit |= {"path": None if plugin == "ramdisk" else "/srv/disk", "wwn": "6" + "0" * 31}
    unit |= {"read_only": False, "write_back": True, "thin": True, "attributes": {}}
    mapped = {"lun": 5, "tpg_lun": 1, "write_protect": True, "alias": "b"}
    group = {
        "tag": 3,
        "enabled": True,
        "attributes": {},
        "parameters": {},
        "portals": [{"address": "::1", "port": 3261}],
        "luns": [{"lun": 1, "backstore": "disk", "alias": "a"}],
        "acls": [{"initiator": HOST, "attributes": {}, "mapped_luns": [mapped], **chap}],
        **chap,
    }
    target = {"name": TARGET, "alias": "A", "parameters": {}, "tpgs": [group]}
    return {"personality": "vnx", "backstores": [unit], "targets": [target]}


@pytest.mark.parametrize("plugin", ["ramdisk", "fileio", "block"])
def test_rtslib_restores_what_we_save(plugin: str, tmp_path: Path) -> None:
    python = os.environ.get("ISCSIM_CINDER_PYTHON")
    if python is None:
        pytest.skip("set ISCSIM_CINDER_PYTHON to an interpreter that has cinder 29, and rtslib-fb with it")
    file = tmp_path / "saveconfig.json"
    file.write_text(json.dumps(to_saveconfig(model(plugin)), sort_keys=True, indent=2))
    script = Path(__file__).with_name("rtslib_restore.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, str(script), str(file)], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["errors"] == []
    made = [tuple(each) if len(each) == 3 else (each[0], each[1]) for each in said["done"]]
    (storage,) = [given for name, given in said["done"][:1]]
    assert (storage["name"], storage["wwn"]) == ("disk", SERIAL)
    for wanted in (
        ("Target", {"wwn": TARGET}),
        ("TPG", {"tag": 3}),
        ("LUN", {"lun": 1, "alias": "a"}),
        ("NetworkPortal", {"ip_address": "[::1]", "port": 3261}),
        ("NodeACL", {"node_wwn": HOST}),
        ("MappedLUN", {"mapped_lun": 5, "write_protect": True, "alias": "b"}),
        ("NodeACL.chap_userid", "u"),
        ("NodeACL.chap_mutual_password", "q" * 12),
        ("TPG.chap_userid", "u"),
        ("TPG.enable", True),
        ("TPG.attribute", "authentication", 1),
        ("TPG.parameter", "TargetAlias", "A"),
    ):
        assert wanted in made
