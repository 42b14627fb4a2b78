"""The restore of the real rtslib, told a file of ours, without a kernel under it: prints what it would do.

    python rtslib_restore.py FILE

The code that reads the document is rtslib's own (`RTSRoot.restore`, every ``setup``, `set_attributes`). Only
the constructors, which would make directories in configfs, are replaced: they take just the arguments the
real ones take, and attributes the real class has.
"""

import inspect
import json
import sys

from rtslib_fb import alua, root, target, tcm

DONE = []
STORAGE = []


def stand_in(real):
    """A subclass of ``real`` that only notes what happens to it."""
    signature = inspect.signature(real.__init__)

    class StandIn(real):
        def __init__(self, *arguments, **named):
            given = signature.bind(self, *arguments, **named).arguments
            texts = {name: value for name, value in given.items() if isinstance(value, (str, int, bool))}
            object.__setattr__(self, "__dict__", {"given": texts})
            DONE.append([real.__name__, texts])
            if "dev" in given or real is tcm.RDMCPStorageObject:
                STORAGE.append(self)

        def __setattr__(self, name, value):
            if value is not None and not hasattr(real, name):
                raise AttributeError(name)
            DONE.append([f"{real.__name__}.{name}", value])

        def set_attribute(self, name, value):
            DONE.append([f"{real.__name__}.attribute", name, value])

        def set_parameter(self, name, value):
            DONE.append([f"{real.__name__}.parameter", name, value])

        name = property(lambda self: self.given["name"])
        plugin = property(lambda self: {v: k for k, v in PLUGINS.items()}[real])
        tag = property(lambda self: self.given.get("tag"))
        luns = property(lambda self: iter(LUNS))

    if real is target.LUN:
        StandIn.lun = property(lambda self: self.given["lun"])
        plain = StandIn.__init__

        def note(self, *arguments, **named):
            plain(self, *arguments, **named)
            LUNS.append(self)

        StandIn.__init__ = note
    StandIn.__name__ = real.__name__
    return StandIn


LUNS = []
PLUGINS = dict(tcm.so_mapping)
for plugin, real in PLUGINS.items():
    root.so_mapping[plugin] = stand_in(real)
for name in ("TPG", "LUN", "NetworkPortal", "NodeACL", "MappedLUN", "Target"):
    setattr(target, name, stand_in(getattr(target, name)))
root.Target = target.Target
tcm.StorageObject.all = staticmethod(lambda: list(STORAGE))
root.ALUATargetPortGroup = stand_in(alua.ALUATargetPortGroup)


class Fabric:
    name = "iscsi"

    def __init__(self, name=None):
        pass


root.FabricModule = Fabric


class Root:
    storage_objects = targets = ()
    fabric_modules = (Fabric(),)


with open(sys.argv[1]) as file:
    errors = root.RTSRoot.restore(Root(), json.load(file))
print(json.dumps({"errors": errors, "done": DONE}))
