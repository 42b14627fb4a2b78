"""A program for `test_host_exec`: os-brick attaches the seeds' volume, reads it, extends it and detaches it.

``os_brick_program.py multipath|single LOCKS`` prints what came of it as JSON. Nothing of os-brick is changed.
"""

import json
import os
import sys
import time

import os_brick
from os_brick.initiator import connector
from os_brick.privileged import default
from oslo_config import cfg

BASE = "iqn.1992-04.com.emc:cx.fnm00150600267"
IQNS, PORTALS = [f"{BASE}.a0", f"{BASE}.b0"], ["10.245.47.95:3260", "10.245.47.96:3260"]
PROPERTIES = {
    "target_discovered": True,
    "target_iqns": IQNS,
    "target_portals": PORTALS,
    "target_luns": [197, 197],
    "target_iqn": IQNS[0],
    "target_portal": PORTALS[0],
    "target_lun": 197,
    "volume_id": "be9b2d7a-8a2a-4d8f-8f5a-000000000197",
    "access_mode": "rw",
}


def main(kind: str, locks: str) -> dict[str, object]:
    multipath = kind == "multipath"
    cfg.CONF([], project="iscsim")
    cfg.CONF.set_override("lock_path", locks, group="oslo_concurrency")
    os_brick.setup(cfg.CONF)
    default.set_client_mode(False)
    found: dict[str, object] = {}
    found["properties"] = connector.get_connector_properties("sudo", "10.245.47.10", multipath, multipath)
    volume = connector.InitiatorConnector.factory("ISCSI", "sudo", use_multipath=multipath)
    begun = time.monotonic()
    device = found["device"] = volume.connect_volume(PROPERTIES)
    found["attach_s"] = time.monotonic() - begun
    found["paths"] = volume.get_volume_paths(PROPERTIES)
    with open(device["path"], "rb") as file:
        found["size"] = len(file.read())
    found["extended"] = volume.extend_volume(PROPERTIES)
    begun = time.monotonic()
    volume.disconnect_volume(PROPERTIES, device)
    found["detach_s"] = time.monotonic() - begun
    found["left"] = [*os.listdir("/sys/block"), *os.listdir("/sys/class/iscsi_session")]
    return found


print(json.dumps(main(*sys.argv[1:])))
