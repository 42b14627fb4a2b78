"""What iscsim costs before it has done anything: import, start, memory of an idle session."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.targets import IQN, free_port, iscsim_command, iscsim_target, stop, wait_for

_TIMEOUT_S = 60
_SESSIONS = 200
_TIMED_IMPORT = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
_ALL = "import iscsim; iscsim.connect; iscsim.TargetServer; iscsim.MultipathDevice"


def _import_ms(statement: str) -> float:
    command = [sys.executable, "-c", _TIMED_IMPORT.format(statement)]
    return 1e3 * float(subprocess.check_output(command, timeout=_TIMEOUT_S))


def import_ms(directory: Path) -> float:
    """``import iscsim`` alone, in a new interpreter."""
    return _import_ms("import iscsim")


def import_all_ms(directory: Path) -> float:
    """The same, with what is loaded on first use."""
    return _import_ms(_ALL)


def start_ms(directory: Path) -> float:
    """From the start of the process to the first connection that is accepted."""
    port, log = free_port(), directory / "start.log"
    command = [*iscsim_command(), "serve", "--portal", f"127.0.0.1:{port}", "--lun", "1=64M"]
    with log.open("wb") as output:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            wait_for(process, port, log, pause_s=0.002)
            return 1e3 * (time.perf_counter() - begin)
        finally:
            stop(process)


def resident_kib(pid: int) -> int:
    """What of a process is in RAM (VmRSS). Raises OSError where there is no /proc."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def _hold(port: int, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.idle_sessions", f"127.0.0.1:{port}", IQN, str(count)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _TIMEOUT_S)
    if not ready or process.stdout.readline() != b"ready\n":
        _release(process)
        raise RuntimeError(f"{count} idle sessions could not be opened")
    return process


def _release(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        stop(process)
    if process.stdout is not None:
        process.stdout.close()


def session_kib(directory: Path) -> float:
    """Growth of the serving process for each of 200 idle sessions, after a first one has come and gone."""
    with iscsim_target("64M", directory) as (port, server):
        _release(_hold(port, 1))
        before = resident_kib(server.pid)
        sessions = _hold(port, _SESSIONS)
        try:
            return (resident_kib(server.pid) - before) / _SESSIONS
        finally:
            _release(sessions)


MEASURES = {"import": import_ms, "import-all": import_all_ms, "start": start_ms, "memory": session_kib}
