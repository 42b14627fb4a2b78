"""Digests on every kind of PDU, with tshark as the judge: it computes each CRC32C by itself.

libiscsi 1.19 knows no data digest, so the initiator is ours.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter

import pytest

import iscsim

pytestmark = pytest.mark.interop

ONE_MIB = 2048
BLOCK_SIZE = 512


def verdicts(path) -> Counter[str]:
    """How many digests tshark finds, by kind and verdict: ``{"HeaderDigest Good": 12}``."""
    command = ["tshark", "-n", "-V", "-r", str(path), "-o", "iscsi.bogus_pdu_max_data_len:16777215"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    lines = [line.split() for line in text.splitlines() if "Digest: 0x" in line]
    return Counter(f"{words[0].rstrip(':')} {words[2].lstrip('(')}" for words in lines)


async def talk(path, header_digest: bool, data_digest: bool) -> None:
    """Immediate, unsolicited and solicited data, sense, text, pings, task management."""
    data = os.urandom(ONE_MIB * BLOCK_SIZE)
    async with (
        iscsim.serve(luns={1: "8M"}, pcap=path) as target,
        iscsim.connect(
            target.portal, target.name, header_digest=header_digest, data_digest=data_digest
        ) as session,
    ):
        await session.scan()
        await session.write(1, 0, data)
        await session.write(1, 4096, data[:BLOCK_SIZE])
        assert bytes(await session.read(1, 0, ONE_MIB)) == data
        assert bytes(await session.read(1, 4096, 1)) == data[:BLOCK_SIZE]
        assert await session.ping(b"abc") == b"abc"
        with pytest.raises(iscsim.CommandFailed):
            await session.read(1, 1 << 20, 1)


@pytest.mark.parametrize(
    "header_digest, data_digest", [(True, False), (False, True), (True, True)], ids=["header", "data", "both"]
)
async def test_tshark_finds_every_digest_good(peer, tmp_path, header_digest, data_digest):
    peer("tshark")
    path = tmp_path / "digests.pcapng"
    await talk(path, header_digest, data_digest)
    found = verdicts(path)
    assert {kind for kind in found if "Good" not in kind} == set()
    assert (found["HeaderDigest Good"] > 0, found["DataDigest Good"] > 0) == (header_digest, data_digest)


async def test_without_digests_tshark_finds_none(peer, tmp_path):
    peer("tshark")
    path = tmp_path / "plain.pcapng"
    await talk(path, False, False)
    assert not verdicts(path)
