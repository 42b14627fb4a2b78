"""Requests that came before their turn (RFC 7143 section 4.2.2.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from iscsim.pdu import (
    LogoutRequest,
    NOPOut,
    SCSICommand,
    SCSIDataOut,
    TaskManagementRequest,
    TextRequest,
)

Request = SCSICommand | TaskManagementRequest | TextRequest | LogoutRequest | NOPOut

_LEAST_COUNTED = 512
"""Bytes an unsolicited Data-Out counts for at least, so that empty ones cannot pile up without end."""


@dataclass(slots=True)
class Place:
    """What waits for one CmdSN.

    ``functions`` are immediate task management functions that act on every command before this place.
    A ``plugged`` place is taken as received without a request (RFC 7143 section 11.6.1).
    """

    functions: list[TaskManagementRequest] = field(default_factory=list)
    request: Request | None = None
    data_out: list[SCSIDataOut] = field(default_factory=list)
    plugged: bool = False

    def plug(self) -> None:
        """Forget the request, if there is one, and take its number as received."""
        self.request, self.plugged = None, True
        self.data_out.clear()


class HeldRequests(dict[int, Place]):
    """The places in use, by CmdSN; the command window bounds how many there are."""

    def hold(self, request: Request) -> None:
        """Keep a request until its turn; of two with the same CmdSN the first one stays."""
        place = self.setdefault(request.cmd_sn, Place())
        if place.request is None and not place.plugged:
            request.data = bytes(request.data)  # it may wait long: do not keep the whole segment alive
            place.request = request

    def hold_data(self, pdu: SCSIDataOut, limit: int) -> bool:
        """Keep unsolicited data behind its command, ``limit`` bytes at most; False when there is no room."""
        found = self.find(pdu.initiator_task_tag)
        if found is None:
            return False
        kept = sum(max(len(each.data), _LEAST_COUNTED) for each in found[1].data_out)
        if kept + len(pdu.data) > limit:
            return False
        pdu.data = bytes(pdu.data)
        found[1].data_out.append(pdu)
        return True

    def cmd_sn_of(self, initiator_task_tag: int) -> int | None:
        """The CmdSN of whatever request waits under that tag."""
        for cmd_sn, place in self.items():
            if place.request is not None and place.request.initiator_task_tag == initiator_task_tag:
                return cmd_sn
        return None

    def has_function(self, initiator_task_tag: int) -> bool:
        """Whether a task management function waits under that tag, for its turn or for others'."""
        return any(
            isinstance(each, TaskManagementRequest) and each.initiator_task_tag == initiator_task_tag
            for place in self.values()
            for each in (place.request, *place.functions)
        )

    def find(self, initiator_task_tag: int) -> tuple[int, Place] | None:
        """CmdSN and place of the SCSI Command with that tag."""
        for cmd_sn, place in self.items():
            request = place.request
            if isinstance(request, SCSICommand) and request.initiator_task_tag == initiator_task_tag:
                return cmd_sn, place
        return None

    def plug(self, cmd_sn: int) -> None:
        """Take ``cmd_sn`` as received."""
        self.setdefault(cmd_sn, Place()).plug()

    def wait(self, function: TaskManagementRequest) -> None:
        """Have an immediate function carried out when everything before its CmdSN has come."""
        self.setdefault(function.cmd_sn, Place()).functions.append(function)

    @property
    def waiting_functions(self) -> int:
        """How many functions wait."""
        return sum(len(place.functions) for place in self.values())
