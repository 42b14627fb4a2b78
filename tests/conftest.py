"""Helpers that tests of several rooms share are imported by their own names: ``exchanges.ladder``."""

import sys
from pathlib import Path

from hypothesis import settings

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)

# no test depends on how busy the machine is; pytest-timeout ends what hangs
settings.register_profile("iscsim", deadline=None)
settings.load_profile("iscsim")
