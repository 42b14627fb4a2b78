"""Imports go down only, and the engine has no I/O, no clock and no dice (docs/design.md)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "iscsim"
ROOF = 6
BASEMENT = ("errors", "hints", "struct_code")  # below every floor: import nothing, may be imported by all
FLOORS = {"pdu": 0, "scsi": 0, "session": 1, "target": 2, "initiator": 2, "net": 2, "faults": 3, "capture": 3}
FLOORS |= {"host": 4, "openstack": 5} | dict.fromkeys(("lab", "cli", "pytest_plugin", "__main__"), ROOF)
USE_NET = {
    "target.server",
    "initiator.client",
    "initiator.login_attempts",
}  # the only ones to see another room of their own floor

IMPURE = set("asyncio socket ssl time random secrets os subprocess threading mmap uvloop open()".split())
FOR_TYPES = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
# every other module of these rooms is engine
SHELLS = {"target.server", "target.administration.control", "target.administration.state_file"}
SHELLS |= {"initiator.client", "initiator.discovery", "initiator.login_attempts"}
SHELLS |= {"initiator.load.engine"}
SHELLS |= {"initiator.multipath.device", "initiator.multipath.daemon"}
SHELLS |= {
    "initiator.scsi_device",
    "initiator.scsi_host",
    "initiator.sd_probe",
    "initiator.scsi_command",
    "initiator.command_queue",
    "initiator.command_room",
    "initiator.command_watch",
    "initiator.error_handling",
}
SHELLS |= {"initiator.recovering_session", "initiator.relogin"}
ENGINE = {"pdu", "scsi", "session", "target", "initiator"}
ALLOWED = {"scsi.store": {"os", "mmap"}, "target.state": {"os"}}


def imports(node: ast.AST, lazy: bool = False) -> Iterator[tuple[str, bool]]:
    """(what is imported, whether only when a function runs), without what is for the type checker."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from ((f"{'.' * child.level}{child.module}.{alias.name}", lazy) for alias in child.names)
        elif isinstance(child, ast.Call) and isinstance(child.func, ast.Name) and child.func.id == "open":
            yield "open()", lazy
        elif isinstance(child, ast.If) and ast.unparse(child.test) in FOR_TYPES:
            yield from imports(ast.Module(child.orelse, []), lazy)
            continue
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports(child, lazy or function)


def violations(module: str, source: str) -> Iterator[str]:
    """What ``iscsim.<module>`` must not do."""
    room = module.split(".")[0]
    engine = room in ENGINE and module not in SHELLS
    for name, lazy in imports(ast.parse(source)):
        top, _, rest = name.partition(".")
        if top == "iscsim":
            yield from _upward(module, room, rest)
        elif not top:
            yield f"{module}: relative import {name}"
        elif engine and top in IMPURE - ALLOWED.get(module, set()):
            yield f"{module}: {top} in the engine"
        elif top == "scapy" and (room != "capture" or not lazy):
            yield f"{module}: scapy outside a function of capture"


def _upward(module: str, room: str, imported: str) -> Iterator[str]:
    other = imported.split(".")[0]
    if other in (*BASEMENT, "__version__", room) or (module in USE_NET and other == "net"):
        return
    here, there = FLOORS.get(room, ROOF), FLOORS.get(other, ROOF)
    if here < there or here == there < ROOF or room in BASEMENT:
        yield f"{module}: floor {here} imports iscsim.{imported} of floor {there}"


def sources() -> list[tuple[str, str]]:
    paths = [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]
    return [(".".join(path.relative_to(ROOT).with_suffix("").parts), path.read_text()) for path in paths]


def test_every_module_keeps_to_its_floor() -> None:
    assert [problem for module, source in sources() for problem in violations(module, source)] == []


def test_every_room_has_a_floor() -> None:
    assert {module.split(".")[0] for module, _ in sources()} <= {*FLOORS, *BASEMENT}


def test_importing_everything_imports_no_scapy() -> None:
    modules = [
        f"iscsim.{module.removesuffix('.__init__')}" for module, _ in sources() if "__main__" not in module
    ]
    check = f"import sys, {', '.join(modules)}; print([name for name in sys.modules if name == 'scapy'])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60)
    assert (done.stderr, done.stdout) == ("", "[]\n")


@pytest.mark.parametrize(
    "module,source",
    [
        ("pdu.base", "from iscsim.session.framer import Framer"),
        ("pdu.base", "from iscsim.scsi import sense"),
        ("scsi.sbc", "import iscsim.pdu"),
        ("session.framer", "from iscsim import target"),
        ("session.framer", "from iscsim import connect"),
        ("session.framer", "from ..pdu import base"),
        ("errors", "from iscsim.pdu import PDU"),
        ("target.connection", "from iscsim.initiator import client"),
        ("target.connection", "from iscsim.net.tcp import listen"),
        ("target.server", "from iscsim.capture import recorder"),
        ("capture.pcapng", "from iscsim.faults import drop"),
        ("openstack.rtstool", "from iscsim.cli import app"),
        ("pdu.base", "import asyncio"),
        ("session.login", "def f():\n    import time"),
        ("session.chap", "from secrets import token_bytes"),
        ("scsi.vpd", "import os.path"),
        ("scsi.store", "import time"),
        ("scsi.vpd", "class A:\n    def f(self):\n        return [open(self.path)]"),
        ("target.node", "import socket"),
        ("target.connection", "from asyncio import Queue"),
        ("initiator.connection", "import random"),
        ("initiator.commands", "import time"),
        ("target.connection", "if TYPE_CHECKING:\n    pass\nelse:\n    import ssl"),
        ("target.connection", "if not TYPE_CHECKING:\n    import ssl"),
        ("capture.pcapng", "import scapy.utils"),
        ("capture.pcapng", "class A:\n    from scapy.all import rdpcap"),
        ("cli.app", "def f():\n    from scapy.all import rdpcap"),
    ],
)
def test_a_forbidden_import_is_caught(module: str, source: str) -> None:
    assert len(list(violations(module, source))) == 1


@pytest.mark.parametrize(
    "module,source",
    [
        ("session.framer", "from iscsim.pdu import PDU\nfrom iscsim.errors import FormatError"),
        ("pdu.base", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio, iscsim.cli"),
        ("pdu.base", "import typing\nif typing.TYPE_CHECKING:\n    from iscsim.session import framer"),
        ("scsi.store", "import os\nimport mmap"),
        ("target.server", "import asyncio\nfrom iscsim.net import tcp\nfrom iscsim.target import node"),
        ("initiator.client", "import asyncio, time\nfrom iscsim.net import tcp"),
        ("net.tcp", "import socket, asyncio, random"),
        ("capture.pcapng", "def f():\n    import scapy.utils"),
        ("cli.app", "from iscsim import __version__\nfrom iscsim import lab, openstack"),
    ],
)
def test_an_honest_import_passes(module: str, source: str) -> None:
    assert list(violations(module, source)) == []
