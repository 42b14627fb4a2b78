"""Faults in what a unit says about itself: bytes laid over INQUIRY, VPD, mode and capacity data, and over the
list of REPORT LUNS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iscsim.errors import ConfigError
from iscsim.faults.faulty_device_server import CommandAtHand, later
from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule
from iscsim.faults.scsi_faults import check_condition
from iscsim.faults.seconds import Seconds
from iscsim.scsi.completion import Completion
from iscsim.scsi.lun import REPORT_LUNS_WELL_KNOWN_LUN, encode_lun_list, parse_lun_list
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.sense import ASC, Sense, SenseKey
from iscsim.scsi.status import Status

__all__: list[str] = []

_EVPD = 0x01
_READ_CAPACITY_16 = 0x10


def _lay_over(rule: FaultRule, command: CommandAtHand, completion: Completion) -> Completion:
    given = rule.parameters
    if given["fail"]:
        refused = Sense.of(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB)
        completion = check_condition(command, refused)
    elif given["bytes"] and completion.status == Status.GOOD:
        completion.data_in = _laid_over(bytes(completion.data_in), given["offset"], given["bytes"])
    return later(completion, command.now, given["delay"]) if given["delay"] else completion


def _laid_over(data: bytes, offset: int, new: bytes) -> bytes:
    """As far as there is data: what the allocation length cut off stays cut off."""
    return (data[:offset] + new + data[offset + len(new) :])[: len(data)]


def _is_inquiry(rule: FaultRule, occasion: Occasion) -> bool:
    return occasion.cdb[0] == Opcode.INQUIRY and not occasion.cdb[1] & _EVPD


def _is_page(rule: FaultRule, occasion: Occasion) -> bool:
    cdb = occasion.cdb
    return cdb[0] == Opcode.INQUIRY and bool(cdb[1] & _EVPD) and cdb[2] == rule.parameters["page"]


def _is_mode_sense(rule: FaultRule, occasion: Occasion) -> bool:
    page, cdb = rule.parameters["page"], occasion.cdb
    sense = cdb[0] in (Opcode.MODE_SENSE_6, Opcode.MODE_SENSE_10)
    return sense and page in (None, cdb[2] & 0x3F)


def _is_read_capacity(rule: FaultRule, occasion: Occasion) -> bool:
    cdb = occasion.cdb
    long = cdb[0] == Opcode.SERVICE_ACTION_IN_16 and cdb[1] & 0x1F == _READ_CAPACITY_16
    return long or cdb[0] == Opcode.READ_CAPACITY_10


def _check_has_effect(given: Any) -> None:
    if not (given["bytes"] or given["delay"] or given["fail"]):
        raise ConfigError("one of bytes, delay and fail is needed, or nothing would happen")


_OVERLAY = (
    Parameter("offset", int, "where the bytes go", default=0, minimum=0),
    Parameter("bytes", bytes, "what is laid over the data"),
    Parameter("delay", Seconds, "how much later it is answered", default=0.0),
    Parameter("fail", bool, "end with 05/24/00", default=False),
)
_OVERLAYS: dict[str, tuple[Callable[[FaultRule, Occasion], bool], tuple[Parameter, ...], str, str]] = {
    "scsi.inquiry": (_is_inquiry, (), "standard INQUIRY data", "another vendor, another type, no device"),
    "scsi.vpd": (
        _is_page,
        (Parameter("page", int, "the VPD page", required=True, minimum=0, maximum=0xFF),),
        "a VPD page",
        "a wrong or missing WWID (page 83h); scsi_id hangs while it waits",
    ),
    "scsi.mode": (
        _is_mode_sense,
        (Parameter("page", int, "only this mode page is asked for", minimum=0, maximum=0x3F),),
        "mode data",
        "a disk that seems read-only (byte 2, or 3 of the long form), another cache mode",
    ),
    "scsi.capacity": (_is_read_capacity, (), "READ CAPACITY data", "another size, another block size"),
}
for _name, (_applies, _more, _what, _seen) in _OVERLAYS.items():
    add_kind(
        FaultKind(
            name=_name,
            hooks=(Hook.FINISH,),
            summary=f"Other bytes in {_what}, or none, or late.",
            observable=_seen,
            action=_lay_over,
            parameters=(*_more, *_OVERLAY),
            applies=_applies,
            check=_check_has_effect,
        )
    )


# -- REPORT LUNS ----------------------------------------------------------------------------------


def _stale(luns: list[bytes], state: dict[Any, Any]) -> list[bytes]:
    """As it was when it was first asked for."""
    return list(state.setdefault("first", luns))


_LISTS: dict[str, Callable[[list[bytes], dict[Any, Any]], list[bytes]]] = {
    "stale": _stale,
    "truncated": lambda luns, state: luns[:-1],
    "order": lambda luns, state: luns[::-1],
    "wlun": lambda luns, state: [REPORT_LUNS_WELL_KNOWN_LUN, *luns],
}


def _report(rule: FaultRule, command: CommandAtHand, completion: Completion) -> Completion:
    if completion.status != Status.GOOD:
        return completion
    # the whole list, whatever part of it was asked for
    whole = encode_lun_list(command.nexus.lun_map.luns())
    changed = _LISTS[rule.parameters["mode"]](parse_lun_list(whole)[0], rule.state)
    allocation_length = int.from_bytes(command.cdb[6:10], "big")
    completion.data_in = encode_lun_list(changed)[:allocation_length]
    return completion


add_kind(
    FaultKind(
        name="lun.report_luns",
        hooks=(Hook.FINISH,),
        summary="REPORT LUNS gives an old list, one without its end, backwards, or with a well-known unit.",
        observable="units are not found, or only by a later scan; the well-known one is no disk",
        action=_report,
        parameters=(Parameter("mode", str, "what is wrong", required=True, choices=tuple(_LISTS)),),
        applies=lambda rule, occasion: occasion.cdb[0] == Opcode.REPORT_LUNS,
    )
)
