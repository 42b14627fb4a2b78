from __future__ import annotations

import pytest

from benchmarks.parsing import UnreadableOutput, iscsi_perf_rate, qemu_bench_rate

# libiscsi-bin 1.19.0-3 on a pipe
ISCSI_PERF = (
    "iscsi-perf version 0.1 - (c) 2014-2015 by Peter Lieven\n\n"
    "performing RANDOM READ with 32 parallel requests\n"
    "will run for 2 seconds.\n\n"
    "\r00:00:01 - lba 50150, iops current 129815 (507 MB/s), iops average 129815 (507 MB/s), in_flight 32"
    "\riops average 118200 (461 MB/s)                    \n\nfinished.\n"
)
QEMU_BENCH = (
    "Sending 4000 write requests, 131072 bytes each, 8 in parallel (starting at offset 0, step size 131072)\n"
    "Run completed in 0.750 seconds.\n"
)


def test_iscsi_perf_rate_is_the_average_of_the_whole_run():
    assert iscsi_perf_rate(ISCSI_PERF) == 118200


@pytest.mark.parametrize(
    "output",
    ["", "iscsi_login failed.\n", ISCSI_PERF.removesuffix("finished.\n")],
    ids=["nothing", "no login", "cut short"],
)
def test_iscsi_perf_without_a_result_is_an_error(output):
    with pytest.raises(UnreadableOutput, match="iscsi-perf printed no result"):
        iscsi_perf_rate(output)


def test_qemu_bench_rate_is_requests_by_seconds():
    assert qemu_bench_rate(QEMU_BENCH, 4000) == pytest.approx(5333.3, abs=0.1)


@pytest.mark.parametrize(
    "output",
    ["qemu-img: Could not open 'iscsi://x'", "Run completed in 0.000 seconds."],
    ids=["not opened", "too short to measure"],
)
def test_qemu_bench_without_a_result_is_an_error(output):
    with pytest.raises(UnreadableOutput, match="qemu-img bench printed no result"):
        qemu_bench_rate(output, 1)
