"""The recording of the real cinder-rtstool on the real LIO, command by command."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from iscsim.openstack.rtstool.shims import SHADOW

GOLDEN = Path(__file__).parents[2] / "golden" / "cinder-rtstool-lio.log"
RECORDED_ADDRESS, RECORDED_PORT, RECORDED_DEVICE = "10.245.47.10", 3260, "/dev/loop0"


@dataclass
class Step:
    """A command, its exit code, and what it printed; ``document`` is the file that was shown afterwards."""

    arguments: list[str]
    output: str
    errors: str
    code: int
    document: Any = None


def recorded() -> list[Step]:
    steps = []
    for text in GOLDEN.read_text().split("$ cinder-rtstool")[1:]:
        command, _, rest = text.partition("\n")
        printed, _, after = rest.partition("rc=")
        output, errors = ("", printed) if printed.startswith("Traceback") else (printed, "")
        document = json.JSONDecoder().raw_decode(after[2:])[0] if after[2:].startswith("{") else None
        steps.append(Step(shlex.split(command), output, errors, int(after[0]), document))
    return steps


def without_ids(document: Any) -> Any:
    """Random ones, and the device."""
    document = json.loads(json.dumps(document))
    for unit in document["storage_objects"]:
        unit |= {"wwn": "", "dev": ""}
    for group in (each for target in document["targets"] for each in target["tpgs"]):
        for lun in (*group["luns"], *(lun for acl in group["node_acls"] for lun in acl["mapped_luns"])):
            lun["alias"] = ""
        for portal in group["portals"]:
            portal |= {"ip_address": RECORDED_ADDRESS, "port": RECORDED_PORT}
    return document


@pytest.mark.parametrize("tool", ["ours", pytest.param("real", marks=pytest.mark.interop)])
def test_every_recorded_command_prints_and_ends_as_it_did(array: Any, free_port: int, tool: str) -> None:
    program = real_tool(array) if tool == "real" else ["cinder-rtstool"]
    own = {
        RECORDED_DEVICE: str(array.volume),
        f"-a{RECORDED_ADDRESS}": "-a127.0.0.1",
        "-p3260": f"-p{free_port}",
    }
    array.extra["ISCSIM_SAVECONFIG"] = str(array.path / "default" / "saveconfig.json")
    steps = recorded()
    assert len(steps) == 21
    for step in steps:
        done = array.run(*program, *(own.get(argument, argument) for argument in step.arguments))
        output = done.stdout.replace(f"{program_shown(program, array)} ", "cinder-rtstool ")
        assert (output, done.returncode) == (step.output, step.code), (step, done.stderr)
        if step.errors:
            assert done.stderr.splitlines()[-1] == step.errors.splitlines()[-1]
        elif tool == "ours":  # Cinder's own libraries have warnings to tell
            assert done.stderr == ""
        if step.document is not None:
            compare_files(array.path / step.arguments[1], step.document)
    assert (array.path / "default" / "saveconfig.json").exists()


def program_shown(program: list[str], array: Any) -> str:
    return program[-1] if len(program) > 1 else str(array.path / "bin" / "cinder-rtstool")


def compare_files(path: Path, document: Any) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    saved = json.loads(path.read_text())
    assert without_ids(saved) == without_ids(document)
    assert path.read_text() == json.dumps(saved, sort_keys=True, indent=2) + "\n"
    (unit,) = saved["storage_objects"]
    assert len(unit["wwn"]) == 36


def real_tool(array: Any) -> list[str]:
    """The unmodified script of Cinder, on our rtslib_fb."""
    python = os.environ.get("ISCSIM_CINDER_PYTHON")
    if python is None:
        pytest.skip("$ISCSIM_CINDER_PYTHON names no interpreter that has cinder 29")
    array.extra["PYTHONPATH"] = str(SHADOW)
    return [python, str(Path(python).with_name("cinder-rtstool"))]


def test_recording_is_read_whole() -> None:
    steps = recorded()
    assert [step.code for step in steps].count(1) == 5
