"""What pytest gets from an installed iscsim: a capture of the test that asks for one.

Loaded by the entry point ``pytest11``, so nothing heavy is imported before a fixture is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from iscsim.capture import Recorder


@pytest.fixture
def iscsi_capture(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Recorder]:
    """A recorder for this test; hand it to ``iscsim.serve`` or ``iscsim.connect`` as ``recorder``.

    The file, named after the test, is in its ``tmp_path``; a failing test says where.
    """
    from iscsim.capture import real_time_recorder

    name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    path = tmp_path / f"{name}.pcapng"
    request.node.add_report_section("setup", "iscsim", f"capture: {path}")
    with real_time_recorder(path) as recorder:
        yield recorder
