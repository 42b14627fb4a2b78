"""``iscsim demo``: the steps of the datapath, in their order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

STEPS = [
    "a target with two portals",
    "the ACL refuses a stranger",
    "discovery by SendTargets",
    "login on both paths, with CHAP",
    "scan of both paths",
    "the same WWN through both portals",
    "rescan",
    "one multipath device",
    "wrote 2 MiB over both paths",
    "read 2 MiB back over both paths: every byte is right",
    "cache flushed",
    "logout from both portals",
    "no session is left at the target",
]


def test_every_step_is_shown_in_order(cli: Any) -> None:
    done = cli("demo")
    assert (done.code, done.stderr) == (0, "")
    shown = re.findall(r"^\[ *(\d+)/(\d+)\] +[\d.]+ ms  (.*)$", done.stdout, re.MULTILINE)
    assert [(int(number), int(count)) for number, count, _ in shown] == [
        (number, len(STEPS)) for number in range(1, len(STEPS) + 1)
    ]
    assert [text for (_, _, text), step in zip(shown, STEPS, strict=True) if not text.startswith(step)] == []


def test_volume_of_the_logs_is_what_is_attached(cli: Any) -> None:
    text = cli("demo").stdout
    assert "LUN 197  DGC VRAID  64 MiB" in text
    assert text.count("36006016015e03a00ab2df25bb82d0ea9") == 3
    assert len(re.findall(r"127\.0\.0\.1:\d+ lun 197 active ready running", text)) == 2


def test_capture_shows_the_addresses_of_the_logs(cli: Any, tmp_path: Path) -> None:
    from iscsim.capture import pcap_ladder

    done = cli("demo", "--pcap", tmp_path / "demo.pcapng")
    assert (done.code, done.stderr) == (0, "")
    assert f"capture: {tmp_path / 'demo.pcapng'}" in done.stdout
    assert re.search(r"^ +127\.0\.0\.1:\d+ is 10\.245\.47\.95:\d+ there", done.stdout, re.MULTILINE)
    ladder = str(pcap_ladder(tmp_path / "demo.pcapng"))
    assert "10.245.47.10:" in ladder
    assert "10.245.47.95:3260" in ladder
    assert "10.245.47.96:3260" in ladder


def test_capture_that_cannot_be_written_is_exit_2(cli: Any) -> None:
    cli("demo", "--pcap", "/nowhere/demo.pcapng").assert_failed(2, "/nowhere/demo.pcapng: No such file")


def test_interrupt_before_the_first_step_is_silent(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("iscsim.net.runner.new_event_loop", interrupted)
    done = cli("demo")
    assert (done.code, done.output, done.stderr) == (130, b"", "")
