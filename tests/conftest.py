"""Helpers that tests of several rooms share are imported by their own names: ``exchanges.ladder``."""

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)
