"""How a command ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from iscsim.scsi.status import Status, status_name

if TYPE_CHECKING:
    from iscsim.scsi.nexus import ITNexus

__all__ = ["Completion", "PreemptAndAbortCompletion"]


class Completion:
    """Status, Data-In and sense of one command.

    ``data_in`` is cut to the CDB's allocation length and not to what iSCSI's initiator expects; it may be a
    view of the store. ``sense`` is there with CHECK CONDITION. ``ready_at`` is None, or the time on the
    loop's clock before which the answer must not leave: a store that has to wait says so, SCSI itself never
    waits.
    """

    __slots__ = ("data_in", "ready_at", "sense", "status")

    def __init__(
        self,
        status: int = Status.GOOD,
        data_in: bytes | memoryview = b"",
        sense: bytes = b"",
        ready_at: float | None = None,
    ) -> None:
        self.status = status
        self.data_in = data_in
        self.sense = sense
        self.ready_at = ready_at

    def __repr__(self) -> str:
        sense = f", sense {self.sense.hex()}" if self.sense else ""
        return f"Completion({status_name(self.status)}, {len(self.data_in)} bytes{sense})"


class PreemptAndAbortCompletion(Completion):
    """GOOD, once the transport has aborted the commands that ``preempted`` nexuses have on this unit.

    SPC-4, PERSISTENT RESERVE OUT with the PREEMPT AND ABORT service action. A type of its own, so that other
    completions cost no more for it.
    """

    __slots__ = ("preempted",)

    def __init__(self, preempted: Sequence[ITNexus]) -> None:
        super().__init__()
        self.preempted = preempted
