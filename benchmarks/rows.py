"""What is measured: the speed table of the project as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

KIB = 1 << 10
MIB = 1 << 20


class Load(Enum):
    """Who makes the requests, and what is compared."""

    READ = auto()
    """``iscsi-perf`` reads: iscsim's target against tgtd."""
    WRITE = auto()
    """``qemu-img bench -w``: iscsim's target against tgtd."""
    INITIATOR = auto()
    """Reads from one iscsim target: our initiator against ``iscsi-perf``."""
    CAPTURE = auto()
    """``iscsi-perf`` reads: ``iscsim serve`` with ``--pcap`` against without."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: ours may be no slower than ``required`` times theirs."""

    name: str
    title: str
    load: Load
    request_length: int
    depth: int
    required: float
    random: bool = False

    @property
    def sides(self) -> tuple[str, str]:
        """Ours and theirs."""
        if self.load is Load.INITIATOR:
            return "iscsim initiator", "libiscsi"
        if self.load is Load.CAPTURE:
            return "iscsim --pcap", "iscsim"
        return "iscsim", "tgtd"


ROWS = (
    Row("read-4k-32", "read 4 KiB random, depth 32", Load.READ, 4 * KIB, 32, 2.5, random=True),
    Row("read-128k-8", "read 128 KiB sequential, depth 8", Load.READ, 128 * KIB, 8, 3.9),
    Row("read-1m-8", "read 1 MiB sequential, depth 8", Load.READ, MIB, 8, 2.5),
    Row("read-4k-1", "read 4 KiB random, depth 1", Load.READ, 4 * KIB, 1, 1.0, random=True),
    Row("write-128k-8", "write 128 KiB sequential, depth 8", Load.WRITE, 128 * KIB, 8, 1.5),
    Row("initiator-4k-32", "initiator 4 KiB random, depth 32", Load.INITIATOR, 4 * KIB, 32, 0.6, random=True),
    Row("initiator-128k-8", "initiator 128 KiB sequential, depth 8", Load.INITIATOR, 128 * KIB, 8, 0.9),
    Row("pcap-4k-32", "--pcap, read 4 KiB random, depth 32", Load.CAPTURE, 4 * KIB, 32, 0.5, random=True),
    Row("pcap-128k-8", "--pcap, read 128 KiB sequential, depth 8", Load.CAPTURE, 128 * KIB, 8, 0.7),
)


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure of iscsim alone that must stay below ``most``, if there is such a number."""

    name: str
    title: str
    unit: str
    most: float | None


LIMITS = (
    Limit("import", "import iscsim", "ms", 150),
    Limit("import-all", "import iscsim with its target and initiator", "ms", None),
    Limit("start", "iscsim serve, from start to accepting", "ms", 500),
    Limit("memory", "memory of one idle session", "KiB", 64),
)


def chosen(names: list[str], only: list[str]) -> list[str]:
    """The names that begin with one of ``only``; all of them without ``only``."""
    return [name for name in names if not only or any(name.startswith(prefix) for prefix in only)]
