from __future__ import annotations

import subprocess
import sys

from iscsim.capture.lazy_scapy import scapy_module


def test_importing_the_room_does_not_import_scapy() -> None:
    code = "import sys, iscsim.capture; sys.exit('scapy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_scapy_can_be_imported_under_w_error() -> None:
    code = "from iscsim.capture.lazy_scapy import scapy_module; scapy_module('all')"
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], timeout=60).returncode == 0


def test_the_named_module_is_given() -> None:
    assert scapy_module("layers.inet").TCP.__name__ == "TCP"
