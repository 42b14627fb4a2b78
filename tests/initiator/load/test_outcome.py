"""The end of a load as JSON, and its errors by kind."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from iscsim.errors import ConnectionFailed
from iscsim.initiator.load.engine import Load
from iscsim.initiator.load.outcome import LoadOutcome, Troubles, kind_of
from iscsim.initiator.load.verification import DataError, DataErrorKind
from iscsim.initiator.load.workload import Workload
from iscsim.lab.addresses import run_virtual
from iscsim.scsi.sense import CommandFailed, Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.store import MemoryStore

MEDIUM_ERROR = CommandFailed(Status.CHECK_CONDITION, Sense(SenseKey.MEDIUM_ERROR, 0x11, 0), "READ (10)")


class Store:
    """A disk that answers at once, and loses every write to its first block."""

    def __init__(self) -> None:
        self.store = MemoryStore(64)

    async def read(self, lba: int, blocks: int) -> memoryview:
        if lba == 56:
            raise MEDIUM_ERROR
        return self.store.read(lba, blocks)

    async def write(self, lba: int, data: Any) -> None:
        if lba:
            self.store.write(lba, data)

    async def flush(self) -> None:
        self.store.flush()


@pytest.fixture
def outcome() -> LoadOutcome:
    async def main() -> LoadOutcome:
        workload = Workload(depth=1, count=40, read_share=50, sequential=True, verify=True, seed=3)
        load = Load(Store(), workload, blocks=64, block_size=512, dice=random.Random(3), name="10.0.0.1:3260")
        load._begin()
        load.note("path lost", "10.0.0.1:3260: it was pulled")
        return await load.run()

    return run_virtual(main())


def test_json_has_everything(outcome: LoadOutcome) -> None:
    document = json.loads(json.dumps(outcome.as_json()))
    assert document["workload"] == {
        "request_length": 4096,
        "depth": 1,
        "read_share": 50,
        "order": "sequential",
        "first_lba": 0,
        "blocks": 64,
        "block_size": 512,
        "rate": None,
        "verify": True,
        "seed": 3,
    }
    assert document["paths"] == {"10.0.0.1:3260": document["all"]}
    read = document["all"]["read"]
    assert read["bytes"] == read["operations"] * 4096
    assert sum(each["operations"] for each in read["over_time"]) == read["operations"]
    assert set(read["latency_us"]) == {"min", "mean", "p50", "p90", "p99", "p99.9", "max"}
    assert document["data_errors_by_kind"] == {"lost write": 8}
    assert document["first_data_errors"][0]["lba"] == 0
    assert document["errors"] == sum(document["errors_by_kind"].values()) > 0
    assert document["events"][0]["kind"] == "path lost"
    assert document["verified_blocks"] > 0


def test_direction_that_did_nothing_is_left_out(outcome: LoadOutcome) -> None:
    async def main() -> LoadOutcome:
        workload = Workload(count=1, blocks=8)
        return await Load(Store(), workload, blocks=64, block_size=512, dice=random.Random(3)).run()

    assert set(run_virtual(main()).as_json()["all"]) == {"read"}


def test_kind_of_a_failed_command_is_its_sense() -> None:
    assert kind_of(MEDIUM_ERROR) == str(MEDIUM_ERROR.sense)
    assert kind_of(CommandFailed(Status.BUSY, None)) == "BUSY"
    assert kind_of(ConnectionFailed("10.0.0.1 is gone")) == "ConnectionFailed"


def test_kinds_do_not_grow_without_end() -> None:
    troubles = Troubles()
    for number in range(300):
        troubles.add_request(0.0, f"kind {number}")
        troubles.add_data(DataError(DataErrorKind.LOST, number, 1, "it holds zeros"))
    assert (len(troubles.requests), troubles.requests["others"]) == (101, 200)
    assert (troubles.failed_requests, troubles.bad_blocks) == (300, 300)
    assert (len(troubles.first_requests), len(troubles.first_data)) == (20, 20)
    assert troubles


def test_no_trouble_is_none() -> None:
    assert not Troubles()
