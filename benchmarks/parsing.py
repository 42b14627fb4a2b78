"""What the load generators print, made into numbers."""

from __future__ import annotations

import re

_ISCSI_PERF = re.compile(r"iops average (\d+)")
_QEMU_RUN = re.compile(r"Run completed in ([0-9.]+) seconds")


class UnreadableOutput(Exception):
    """A load generator did not say what it reached."""


def _tail(text: str) -> str:
    return " / ".join(text.replace("\r", "\n").split("\n")[-4:]).strip()[-300:]


def iscsi_perf_rate(output: str) -> float:
    """Requests per second of a whole ``iscsi-perf`` run: the last average it prints.

    Raises:
        UnreadableOutput: there is none, or the run ended before its time.
    """
    averages = _ISCSI_PERF.findall(output)
    if not averages or "finished." not in output:
        raise UnreadableOutput(f"iscsi-perf printed no result: {_tail(output)}")
    return float(averages[-1])


def qemu_bench_rate(output: str, requests: int) -> float:
    """Requests per second of a ``qemu-img bench`` run of ``requests`` requests.

    Raises:
        UnreadableOutput: it did not complete.
    """
    match = _QEMU_RUN.search(output)
    if match is None or float(match[1]) == 0:
        raise UnreadableOutput(f"qemu-img bench printed no result: {_tail(output)}")
    return requests / float(match[1])
