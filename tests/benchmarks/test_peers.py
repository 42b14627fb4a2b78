from __future__ import annotations

import json

import pytest

from benchmarks import peers
from benchmarks.rows import Load


@pytest.mark.parametrize(
    "load, absent, package",
    [
        (Load.READ, "iscsi-perf", "libiscsi-bin"),
        (Load.READ, "tgtd", "tgt"),
        (Load.WRITE, "qemu-img", "qemu-utils"),
        (Load.INITIATOR, "iscsi-perf", "libiscsi-bin"),
    ],
)
def test_a_missing_program_is_told_by_its_package(monkeypatch, load, absent, package):
    monkeypatch.setattr(peers.shutil, "which", lambda name: None if name == absent else f"/bin/{name}")
    assert peers.missing(load) == package


def test_a_qemu_without_its_iscsi_driver_lacks_block_extra(monkeypatch):
    monkeypatch.setattr(peers.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(peers, "_output", lambda *command: "qemu-img: Unknown protocol 'iscsi'")
    assert peers.missing(Load.WRITE) == "qemu-block-extra"


def test_machine_facts_go_into_json_without_any_peer(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    facts = json.loads(json.dumps(peers.machine()))
    assert facts["cores"] >= 1
    assert facts["tgtd"] == facts["libiscsi"] == facts["qemu"] == ""
