"""As much of rtslib_fb as cinder-rtstool uses, on a running iscsim.

It finds its target by $ISCSIM_CONTROL. It is written for as rtslib is: names and signatures are rtslib's.
"""

from __future__ import annotations

from iscsim.openstack.rtstool.rtslib import root, utils
from iscsim.openstack.rtstool.rtslib.objects import (
    LUN,
    TPG,
    BlockStorageObject,
    FabricModule,
    MappedLUN,
    NetworkPortal,
    NodeACL,
    Target,
)
from iscsim.openstack.rtstool.rtslib.root import RTSRoot
from iscsim.openstack.rtstool.rtslib.utils import RTSLibError

__all__ = [
    "LUN",
    "TPG",
    "BlockStorageObject",
    "FabricModule",
    "MappedLUN",
    "NetworkPortal",
    "NodeACL",
    "RTSLibError",
    "RTSRoot",
    "Target",
    "root",
    "utils",
]
