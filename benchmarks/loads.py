"""Runs of the load generators: each returns requests per second."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.parsing import UnreadableOutput, iscsi_perf_rate, qemu_bench_rate
from benchmarks.rows import Row
from benchmarks.targets import BLOCK_SIZE, IQN, url

_SPARE_S = 30
_PILOT_REQUESTS = 1000


def _run(command: list[str], seconds: float) -> str:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds + _SPARE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnreadableOutput(f"{command[0]} took more than {seconds + _SPARE_S:g} s") from None
    if result.returncode:
        raise UnreadableOutput(f"{command[0]} ended with status {result.returncode}: {result.stderr[-300:]}")
    return result.stdout


def read_with_iscsi_perf(row: Row, port: int, seconds: int) -> float:
    """Reads with libiscsi's own load generator."""
    command = ["iscsi-perf", "-b", str(row.request_length // BLOCK_SIZE), "-m", str(row.depth)]
    command += ["-r"] if row.random else []
    return iscsi_perf_rate(_run([*command, "-t", str(seconds), url(port)], seconds))


def read_with_our_initiator(row: Row, port: int, seconds: int) -> float:
    """The same reads with :mod:`benchmarks.initiator_load`, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.initiator_load", f"127.0.0.1:{port}", IQN]
    command += ["--blocks", str(row.request_length // BLOCK_SIZE), "--depth", str(row.depth)]
    command += ["--random"] if row.random else []
    return float(_run([*command, "--seconds", str(seconds)], seconds))


def write_with_qemu(row: Row, port: int, seconds: int) -> float:
    """Writes of ``qemu-img bench``, which takes a number of requests: a short run says how many."""
    pilot = _write(row, port, _PILOT_REQUESTS, seconds)
    return _write(row, port, max(_PILOT_REQUESTS, int(pilot * seconds)), seconds)


def _write(row: Row, port: int, requests: int, seconds: int) -> float:
    command = ["qemu-img", "bench", "-w", "-t", "none", "-f", "raw", "-s", str(row.request_length)]
    command += ["-d", str(row.depth), "-c", str(requests), url(port)]
    return qemu_bench_rate(_run(command, seconds), requests)
