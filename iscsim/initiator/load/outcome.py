"""What came of a load: what was counted, what went wrong, what happened meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from iscsim.errors import ISCSIError
from iscsim.initiator.load.histogram import PERCENTILES
from iscsim.initiator.load.statistics import Interval, Meter, PathStatistics
from iscsim.initiator.load.verification import DataError, DataErrorKind
from iscsim.initiator.load.workload import Extent, Workload
from iscsim.scsi.sense import CommandFailed
from iscsim.scsi.status import status_name

MAX_SHOWN = 20
"""How many errors of each sort are kept in full."""
MAX_EVENTS = 1000
_MAX_KINDS = 100
_OTHERS = "others"


@dataclass(frozen=True, slots=True)
class LoadEvent:
    """Something that happened while the load ran: ``kind`` is ``path lost``, ``path back`` or ``fault``."""

    time_s: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class LoadError:
    """A request that failed."""

    time_s: float
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.time_s:.3f} s: {self.text}"


def kind_of(error: BaseException) -> str:
    """What sort of error it is: the sense data of a command that failed, else the class."""
    if isinstance(error, CommandFailed):
        return str(error.sense) if error.sense is not None else status_name(error.status)
    return type(error).__name__


@dataclass(slots=True)
class Troubles:
    """Errors: counted by kind, the first kept in full."""

    requests: dict[str, int] = field(default_factory=dict)
    first_requests: list[LoadError] = field(default_factory=list)
    data: dict[DataErrorKind, int] = field(default_factory=dict)
    first_data: list[DataError] = field(default_factory=list)

    def add_request(self, time_s: float, error: BaseException | str) -> None:
        """A request failed."""
        kind = error if isinstance(error, str) else kind_of(error)
        if kind not in self.requests and len(self.requests) >= _MAX_KINDS:
            kind = _OTHERS
        self.requests[kind] = self.requests.get(kind, 0) + 1
        if len(self.first_requests) < MAX_SHOWN:
            self.first_requests.append(LoadError(time_s, kind, str(error)))

    def add_data(self, error: DataError) -> None:
        """A block is not as it was written."""
        self.data[error.kind] = self.data.get(error.kind, 0) + 1
        if len(self.first_data) < MAX_SHOWN:
            self.first_data.append(error)

    @property
    def failed_requests(self) -> int:
        """How many requests failed."""
        return sum(self.requests.values())

    @property
    def bad_blocks(self) -> int:
        """How many blocks are not as they were written."""
        return sum(self.data.values())

    def __bool__(self) -> bool:
        return bool(self.requests or self.data)


@dataclass(slots=True)
class LoadOutcome:
    """The end of a load."""

    workload: Workload
    extent: Extent
    elapsed_s: float
    all: PathStatistics
    paths: list[PathStatistics]
    """One for each path; of a device with one path it is ``all``."""
    troubles: Troubles
    events: list[LoadEvent]
    interrupted: bool
    verified_blocks: int
    """How many were read again and compared after the load, each once."""
    unverified_blocks: int
    """Blocks written that were not compared then, because the load was interrupted."""
    blocks_in_doubt: int
    """Blocks with a write nobody knows the end of."""

    @property
    def is_good(self) -> bool:
        """No request failed, and no block is wrong."""
        return not self.troubles

    def as_json(self) -> dict[str, Any]:
        """All of it, ready for JSON: times in seconds, latencies in microseconds, bytes."""
        troubles = self.troubles
        return {
            "workload": _workload(self.workload, self.extent),
            "elapsed_s": round(self.elapsed_s, 6),
            "interrupted": self.interrupted,
            "all": _statistics(self.all, self.elapsed_s),
            "paths": {each.name: _statistics(each, self.elapsed_s) for each in self.paths},
            "errors": troubles.failed_requests,
            "errors_by_kind": dict(troubles.requests),
            "first_errors": [
                {"time_s": round(each.time_s, 6), "kind": each.kind, "text": each.text}
                for each in troubles.first_requests
            ],
            "data_errors": troubles.bad_blocks,
            "data_errors_by_kind": {kind.value: count for kind, count in troubles.data.items()},
            "first_data_errors": [_data_error(each) for each in troubles.first_data],
            "verified_blocks": self.verified_blocks,
            "unverified_blocks": self.unverified_blocks,
            "blocks_in_doubt": self.blocks_in_doubt,
            "events": [
                {"time_s": round(each.time_s, 6), "kind": each.kind, "text": each.text}
                for each in self.events
            ],
        }


def _data_error(error: DataError) -> dict[str, Any]:
    return {
        "time_s": round(error.time_s, 6),
        "kind": error.kind.value,
        "lba": error.lba,
        "path": error.path or None,
        "expected_write": error.expected or None,
        "text": str(error),
    }


def _workload(workload: Workload, extent: Extent) -> dict[str, Any]:
    return {
        "request_length": workload.request_length,
        "depth": workload.depth,
        "read_share": workload.read_share,
        "order": "sequential" if workload.sequential else "random",
        "first_lba": extent.first_lba,
        "blocks": extent.blocks,
        "block_size": extent.block_size,
        "rate": workload.rate,
        "verify": workload.verify,
        "seed": workload.seed,
    }


def _statistics(statistics: PathStatistics, elapsed_s: float) -> dict[str, Any]:
    return {
        direction.value: _meter(meter, elapsed_s)
        for direction, meter in statistics.meters.items()
        if meter.total.operations or meter.total.errors
    }


def _meter(meter: Meter, elapsed_s: float) -> dict[str, Any]:
    total = meter.total
    per_s = 1 / elapsed_s if elapsed_s else 0.0
    return {
        "operations": total.operations,
        "bytes": total.data_length,
        "errors": total.errors,
        "iops": round(total.operations * per_s, 1),
        "bytes_per_s": round(total.data_length * per_s),
        "latency_us": latencies_us(total),
        "interval_s": meter.series.interval_s,
        "over_time": [
            {
                "time_s": round(start, 6),
                "operations": each.operations,
                "bytes": each.data_length,
                "errors": each.errors,
                "latency_us": latencies_us(each),
            }
            for start, each in meter.series
        ],
    }


def latencies_us(interval: Interval) -> dict[str, float] | None:
    """Mean, percentiles and maximum in microseconds, None when there was nothing."""
    latencies = interval.latencies
    if not latencies.buckets:
        return None
    found = latencies.percentiles()
    shown = {"min": latencies.min_s, "mean": latencies.mean_s}
    shown |= {f"p{percent:g}": found[percent] for percent in PERCENTILES}
    shown["max"] = latencies.max_s
    return {name: round(seconds * 1e6, 1) for name, seconds in shown.items()}


ERRORS = (ISCSIError, OSError)
"""What a request may fail with."""
