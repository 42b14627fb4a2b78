"""Hides the real rtslib_fb from a program that has the directory above on its PYTHONPATH.

What it has is that of `iscsim.openstack.rtstool.rtslib`; where iscsim is not
installed, it is found from here.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("iscsim") is None:
    sys.path.append(str(Path(__file__).resolve().parents[5]))

from iscsim.openstack.rtstool.rtslib import *  # noqa: F403
