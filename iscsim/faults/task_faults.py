"""Faults of SCSI commands and task management at the PDU seam: part of ``task.*``.

What the command itself does is well: only what is said of it, or the order and number of it, is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.pdu_tap import FaultTap
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import Seconds
from iscsim.pdu import (
    PDU,
    ReadyToTransfer,
    SCSIDataIn,
    SCSIResponse,
    TaskManagementRequest,
    TaskManagementResponse,
)
from iscsim.session.numbering import serial_add

__all__: list[str] = []

PDUs = list[PDU]
Given = Mapping[str, Any]
Ending = SCSIResponse | SCSIDataIn
"""What ends a command: a SCSI Response, or a Data-In with status."""

# -- the end of a command --------------------------------------------------------------------------


def _duplicate(rule: FaultRule, tap: FaultTap, pdu: Ending) -> PDUs:
    return [pdu, pdu]


def _wrong_itt(rule: FaultRule, tap: FaultTap, pdu: Ending) -> PDUs:
    return [replace(pdu, initiator_task_tag=pdu.initiator_task_tag ^ 0x40000000)]


def _wrong_residual(rule: FaultRule, tap: FaultTap, pdu: Ending) -> PDUs:
    return [replace(pdu, underflow=True, overflow=False, residual_count=rule.parameters["n"])]


def _underflow(rule: FaultRule, tap: FaultTap, pdu: Ending) -> PDUs:
    """So many bytes less, and the target says so: a read's last ones are not sent."""
    n = rule.parameters["n"]
    if isinstance(pdu, SCSIDataIn):
        n = min(n, len(pdu.data))
        pdu = replace(pdu, data=pdu.data[: len(pdu.data) - n])
    return [replace(pdu, underflow=True, overflow=False, residual_count=n)]


def _overflow(rule: FaultRule, tap: FaultTap, pdu: Ending) -> PDUs:
    return [replace(pdu, underflow=False, overflow=True, residual_count=rule.parameters["n"])]


def _truncate(rule: FaultRule, tap: FaultTap, pdu: SCSIDataIn) -> PDUs:
    return [replace(pdu, data=pdu.data[: max(len(pdu.data) - rule.parameters["n"], 0)])]


def _status_in_data_in(rule: FaultRule, tap: FaultTap, pdu: SCSIDataIn) -> PDUs:
    return [replace(pdu, status=rule.parameters["status"])]


def _reorder(rule: FaultRule, tap: FaultTap, pdu: Ending) -> PDUs:
    tap.overtake(pdu, rule.parameters["wait"], rule)
    return []


def _ends_command(rule: FaultRule, occasion: Occasion) -> bool:
    pdu = occasion.subject
    return isinstance(pdu, SCSIResponse) or bool(pdu.status_present)


def _ends_well(rule: FaultRule, occasion: Occasion) -> bool:
    return _ends_command(rule, occasion) and occasion.subject.status == 0


# -- data ------------------------------------------------------------------------------------------


def _overlap(rule: FaultRule, tap: FaultTap, pdu: SCSIDataIn) -> PDUs:
    """Its data in two parts, of which the second begins within the first."""
    half = len(pdu.data) // 2
    start = max(half - rule.parameters["n"], 0)
    first = replace(
        pdu,
        final=False,
        status_present=False,
        underflow=False,
        overflow=False,
        residual_count=0,
        stat_sn=0,
        data=pdu.data[:half],
    )
    second = replace(
        pdu, data_sn=pdu.data_sn + 1, buffer_offset=pdu.buffer_offset + start, data=pdu.data[start:]
    )
    return [first, second]


def _bad_r2t(rule: FaultRule, tap: FaultTap, pdu: ReadyToTransfer) -> PDUs:
    given = rule.parameters
    length = pdu.desired_data_transfer_length if given["len"] is None else given["len"]
    return [
        replace(
            pdu,
            r2t_sn=serial_add(pdu.r2t_sn, index),
            buffer_offset=serial_add(pdu.buffer_offset, given["offset"]),
            desired_data_transfer_length=length,
        )
        for index in range(given["count"])
    ]


# -- task management -------------------------------------------------------------------------------


def _abort_response(rule: FaultRule, tap: FaultTap, request: TaskManagementRequest) -> PDUs:
    """With another response the function is not carried out; a late one is carried out late."""
    given = rule.parameters
    if given["none"]:
        tap.skip(request)
    elif given["response"]:
        tap.skip(request)
        tap.later(given["late"], rule, lambda: _answer(tap, request, given["response"]))
    else:
        tap.handle_later(given["late"], rule, request)
    return []


def _answer(tap: FaultTap, request: TaskManagementRequest, response: int) -> None:
    connection = tap.connection
    tag = request.initiator_task_tag
    connection.put(TaskManagementResponse(response=response, initiator_task_tag=tag, **connection.numbers()))


# -- the table -------------------------------------------------------------------------------------

_ENDINGS = ("SCSIResponse", "SCSIDataIn")
_DATA_IN = ("SCSIDataIn",)


def _kind(
    name: str,
    opcodes: tuple[str, ...],
    summary: str,
    observable: str,
    action: Any,
    *parameters: Parameter,
    hook: Hook = Hook.SEND,
    **more: Any,
) -> None:
    add_kind(
        FaultKind(
            name=f"task.{name}",
            hooks=(hook,),
            summary=summary,
            observable=observable,
            action=action,
            parameters=parameters,
            opcodes=opcodes,
            **more,
        )
    )


def _bytes(summary: str) -> Parameter:
    return Parameter("n", int, summary, 512, minimum=1)


_kind(
    "duplicate_response",
    _ENDINGS,
    "a command is answered twice",
    "SessionFailed: a response for an unknown task tag",
    _duplicate,
    applies=_ends_command,
)
_kind(
    "wrong_itt",
    _ENDINGS,
    "a command is answered with the tag of another",
    "SessionFailed: a response for an unknown task tag",
    _wrong_itt,
    applies=_ends_command,
)
_kind(
    "wrong_residual",
    _ENDINGS,
    "all bytes were moved, but the target says that some were not",
    "TransferIncomplete from read() and write(); the residual in the result of execute()",
    _wrong_residual,
    _bytes("bytes the target says were not moved"),
    applies=_ends_well,
)
_kind(
    "underflow",
    _ENDINGS,
    "the target moves fewer bytes than it was asked to, and says so",
    "TransferIncomplete from read() and write(); the residual in the result of execute()",
    _underflow,
    _bytes("bytes that are missing"),
    applies=_ends_well,
)
_kind(
    "overflow",
    _ENDINGS,
    "the target says that it had more bytes than it was asked for",
    "a negative residual in the result of execute()",
    _overflow,
    _bytes("bytes that did not fit"),
    applies=_ends_well,
)
_kind(
    "truncate_data_in",
    _DATA_IN,
    "the last bytes of a read are missing, and the target does not say so",
    "TransferIncomplete: moved 3584 of 4096 bytes",
    _truncate,
    _bytes("bytes that are missing"),
    applies=lambda rule, occasion: bool(occasion.subject.status_present and occasion.subject.data),
)
_kind(
    "data_in_overlap",
    _DATA_IN,
    "a Data-In begins within the one before it",
    "SessionFailed: Data-In at an offset that is not the expected one (RFC 7143 section 13.18)",
    _overlap,
    _bytes("bytes that are sent twice"),
    applies=lambda rule, occasion: len(occasion.subject.data) > 1,
)
_kind(
    "bad_r2t",
    ("ReadyToTransfer",),
    "an R2T asks for bytes that are not its turn, for too many, for none, or again",
    "SessionFailed: R2T for bytes that were not to be asked for",
    _bad_r2t,
    Parameter("offset", int, "added to the buffer offset", 0, minimum=-0x80000000, maximum=0x7FFFFFFF),
    Parameter(
        "len", int, "desired data transfer length instead of the right one", minimum=0, maximum=0xFFFFFFFF
    ),
    Parameter("count", int, "how many, with R2TSN counting on", 1, minimum=1),
)
_kind(
    "status_in_data_in",
    _DATA_IN,
    "a Data-In carries a status that needs sense data",
    "SessionFailed: Data-In with S and that status (RFC 7143 section 11.7.3)",
    _status_in_data_in,
    Parameter("status", int, "SAM status code", 2, minimum=1, maximum=255),
    applies=lambda rule, occasion: bool(occasion.subject.status_present),
)
_kind(
    "reorder",
    _ENDINGS,
    "a response is overtaken by the next one, which is legal",
    "nothing: both commands end well",
    _reorder,
    Parameter("wait", Seconds, "seconds it waits for another at most", 1.0, minimum=0),
    applies=_ends_command,
)
_kind(
    "abort_response",
    ("TaskManagementRequest",),
    "a task management function fails, is answered late, or not at all",
    "the response code; SessionFailed when there is none within 15 s",
    _abort_response,
    Parameter("response", int, "RFC 7143 section 11.6.1; 0 is the truth", 0, choices=(*range(8), 255)),
    Parameter("none", bool, "do not answer", False),
    Parameter("late", Seconds, "seconds before the answer", 0.0, minimum=0),
    hook=Hook.RECEIVE,
)
