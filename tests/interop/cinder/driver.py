"""Cinder's own LVMVolumeDriver or LioAdm, asked by lines of JSON: run by an interpreter that has cinder 29.

    python driver.py SOCKETLESS-OPTIONS-AS-JSON

Options: ``directory`` (where the volumes are), ``port``, ``addresses``. A request is ``{"driver": "lvm" or
"lio", "call": NAME, "volume": {...}, "connector": {...}}``, an answer ``{"result": ...}`` or ``{"error":
[CLASS, TEXT]}``. Nothing of Cinder is changed; only its volume group is not one.
"""

import json
import os
import sys
import warnings

warnings.simplefilter("ignore")
OPTIONS = json.loads(sys.argv[1])
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whoever prints does not print answers

from cinder import objects  # noqa: E402

objects.register_all()

from cinder.common import config  # noqa: E402
from cinder.volume import configuration, driver  # noqa: E402
from cinder.volume.drivers import lvm  # noqa: E402
from cinder.volume.targets import lio  # noqa: E402
from oslo_concurrency import lockutils  # noqa: E402

GROUP = "lvm1"
VOLUMES = {}


class Volume(dict):
    """A volume as the drivers use it: keys and attributes."""

    __getattr__ = dict.__getitem__


class Attachment:
    def __init__(self, connector):
        self.connector = connector


class Database:
    def volume_get(self, context, volume_id):
        return VOLUMES[volume_id]


class VolumeGroup:
    """Its volumes are always active."""

    def activate_lv(self, name, **options):
        pass


def make_drivers():
    config.CONF([], project="cinder", default_config_files=[])
    config.CONF.set_override("state_path", OPTIONS["directory"])
    lockutils.set_defaults(lock_path=OPTIONS["directory"])
    found = configuration.Configuration(driver.volume_opts + lvm.volume_opts, config_group=GROUP)
    first, *others = OPTIONS["addresses"]
    for name, value in {
        "target_helper": "lioadm",
        "target_protocol": "iscsi",
        "target_ip_address": first,
        "target_secondary_ip_addresses": others,
        "target_port": OPTIONS["port"],
        "volume_group": f"..{OPTIONS['directory']}",
    }.items():
        config.CONF.set_override(name, value, GROUP)
    database = Database()
    target = lio.LioAdm(configuration=found, root_helper="")
    whole = lvm.LVMVolumeDriver(vg_obj=VolumeGroup(), configuration=found, db=database, execute=None)
    target.db = whole.target_driver.db = database
    return {"lio": target, "lvm": whole}


def answer(drivers, request):
    volume = Volume(request["volume"])
    volume["volume_attachment"] = [Attachment(each) for each in volume.get("attachments", [])]
    VOLUMES[volume["id"]] = volume
    chosen, call = drivers[request["driver"]], request["call"]
    connector = request.get("connector")
    path = f"{OPTIONS['directory']}/{volume['name']}"
    arguments = {
        ("lvm", "create_export"): (None, volume, connector),
        ("lio", "create_export"): (None, volume, path),
        ("lvm", "ensure_export"): (None, volume),
        ("lio", "ensure_export"): (None, volume, path),
        ("lvm", "remove_export"): (None, volume),
        ("lio", "remove_export"): (None, volume),
    }.get((request["driver"], call), (volume, connector))
    return getattr(chosen, call)(*arguments)


def main():
    drivers = make_drivers()
    print(json.dumps({"result": sorted(drivers)}), file=ANSWERS, flush=True)
    for line in sys.stdin:
        try:
            said = {"result": answer(drivers, json.loads(line))}
        except Exception as error:
            said = {"error": [type(error).__name__, str(error)]}
        print(json.dumps(said), file=ANSWERS, flush=True)


main()
