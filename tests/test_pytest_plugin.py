"""The fixtures an installed iscsim gives to pytest."""

from __future__ import annotations

from pathlib import Path

import pytest

import iscsim
from iscsim.capture import Recorder, pcap_ladder

pytest_plugins = ["pytester"]


async def test_capture_fixture_records_what_the_test_does(iscsi_capture: Recorder, tmp_path: Path) -> None:
    async with iscsim.serve(recorder=iscsi_capture) as target:
        async with iscsim.connect(target.portal, target.name, recorder=iscsi_capture) as session:
            await session.read(1, lba=0, blocks=1)
    ladder = pcap_ladder(tmp_path / "test_capture_fixture_records_what_the_test_does.pcapng")
    assert ladder.count("READ (10)") == 1  # both ends recorded, each PDU shown once


def test_failing_test_says_where_its_capture_is(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(iscsi_capture):\n    assert False")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*capture: *test_it.pcapng*"])
