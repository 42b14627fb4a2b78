"""Faults of the SCSI seam: tasks that do not end as they should, and sense data of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iscsim.faults.delays import DELAY_PARAMETERS, check_delay, draw_delay
from iscsim.faults.faulty_device_server import CommandAtHand, FaultyDeviceServer, later
from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule
from iscsim.scsi.command import Command
from iscsim.scsi.completion import Completion
from iscsim.scsi.device_server import COMMANDS
from iscsim.scsi.opcode import Opcode, service_action
from iscsim.scsi.reservations import ReservationRule
from iscsim.scsi.sense import ASC, FieldPointer, Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.unit_attention import UnitAttention

__all__ = ["FaultyDeviceServer", "check_condition"]

Applies = Callable[[FaultRule, Occasion], bool]

_NEVER = float("inf")
_COUNT = Parameter("n", int, "how many commands; all that match, without it", minimum=1)

# -- which commands a fault can befall ------------------------------------------------------------

_READS = frozenset({Opcode.READ_6, Opcode.READ_10, Opcode.READ_12, Opcode.READ_16})
_WRITES = frozenset(
    code
    for code in Opcode
    if code.name.startswith(("WRITE_", "UNMAP", "ORWRITE", "COMPARE_AND_WRITE", "FORMAT_UNIT", "SANITIZE"))
) | {Opcode.VARIABLE_LENGTH}  # of which WRITE SAME (32) is the only one
_COMPARES = frozenset({Opcode.COMPARE_AND_WRITE, Opcode.VERIFY_10, Opcode.VERIFY_16})
# SAM-5: these answer although the unit is not ready, has something to tell, or is not there.
_ALWAYS_ANSWERED = frozenset({Opcode.INQUIRY, Opcode.REPORT_LUNS, Opcode.REQUEST_SENSE})


def any_command(rule: FaultRule, occasion: Occasion) -> bool:
    """No command is spared."""
    return True


def _only(codes: frozenset[Opcode]) -> Applies:
    return lambda rule, occasion: occasion.cdb[0] in codes and _touches(rule, occasion)


def _all_but(codes: frozenset[Opcode]) -> Applies:
    return lambda rule, occasion: occasion.cdb[0] not in codes


def _with_address(rule: FaultRule, occasion: Occasion) -> bool:
    return occasion.lba is not None


def _touches(rule: FaultRule, occasion: Occasion) -> bool:
    """Whether the command touches the one bad block, when the rule has one."""
    bad = rule.parameters.get("lba")
    if bad is None:
        return True
    return occasion.lba is not None and occasion.lba <= bad < occasion.lba + occasion.blocks


def _up_to_count(rule: FaultRule, occasion: Occasion) -> bool:
    count = rule.parameters["n"]
    return count is None or rule.fired < count


def _reservable(rule: FaultRule, occasion: Occasion) -> bool:
    """SPC-4: some commands never conflict."""
    row = _row(occasion.cdb)
    if row is None:
        return False
    kept = row.reservation(occasion.cdb) if callable(row.reservation) else row.reservation
    return kept != ReservationRule.ALWAYS and _up_to_count(rule, occasion)


def _row(cdb: bytes) -> Command | None:
    row = COMMANDS.get(cdb[0])
    if row is not None and row.service_actions:
        return row.service_actions.get(service_action(cdb))
    return row


# -- what happens ---------------------------------------------------------------------------------


def check_condition(command: CommandAtHand, sense: Sense, form: str | None = None) -> Completion:
    """CHECK CONDITION with ``sense``, in the format the unit uses unless ``form`` names one."""
    by_unit = command.unit is not None and command.unit.d_sense
    descriptor = by_unit if form is None else form == "descriptor"
    return Completion(Status.CHECK_CONDITION, b"", sense.encode(descriptor))


def _answer_never(rule: FaultRule, command: CommandAtHand) -> Completion:
    completion = command.execute() if rule.parameters["execute"] else Completion()
    completion.ready_at = _NEVER
    return completion


def _delay(rule: FaultRule, command: CommandAtHand, completion: Completion) -> Completion:
    return later(completion, command.now, draw_delay(rule))


def _status(status: Status) -> Callable[[FaultRule, CommandAtHand], Completion]:
    return lambda rule, command: Completion(status)


def _sense(rule: FaultRule, command: CommandAtHand) -> Completion:
    given = rule.parameters
    information = given["information"]
    if information is None and given.get("lba") is not None:
        information = given["lba"]
    if information is None and "lba" in given:
        information = Occasion(hook=Hook.START, now=command.now, cdb=command.cdb).lba
    sense = Sense(
        given["key"], given["asc"], given["ascq"], information=information, deferred=given["deferred"]
    )
    return check_condition(command, sense, given["format"])


def _attention(attention: UnitAttention) -> Callable[[FaultRule, CommandAtHand], None]:
    def establish(rule: FaultRule, command: CommandAtHand) -> None:
        if command.unit is not None:
            command.nexus.establish(command.unit, attention)

    return establish


def _unsupported(rule: FaultRule, command: CommandAtHand) -> Completion:
    pointer = FieldPointer(0).encode()
    code = ASC.INVALID_COMMAND_OPERATION_CODE
    return check_condition(command, Sense.of(SenseKey.ILLEGAL_REQUEST, code, sense_key_specific=pointer))


def _persistent_reserve(rule: FaultRule, command: CommandAtHand) -> Completion | None:
    if rule.parameters["mode"] == "conflict":
        return Completion(Status.RESERVATION_CONFLICT)
    if command.unit is not None:
        command.unit.reservations.lose()
    return None


def _reservation_commands(rule: FaultRule, occasion: Occasion) -> bool:
    """A conflict is the end of PERSISTENT RESERVE OUT; what is lost is found out by any command."""
    return rule.parameters["mode"] != "conflict" or occasion.cdb[0] == Opcode.PERSISTENT_RESERVE_OUT


# -- the catalogue --------------------------------------------------------------------------------


def _start(name: str, summary: str, observable: str, action: Callable[..., Any], **more: Any) -> None:
    add_kind(
        FaultKind(
            name=name,
            hooks=(Hook.START,),
            summary=summary,
            observable=observable,
            action=action,
            **more,
        )
    )


_start(
    "task.no_response",
    "A SCSI command is never answered.",
    "the command times out, and its abort is answered: Linux begins its error handling after 30 s",
    _answer_never,
    parameters=(Parameter("execute", bool, "whether the command is executed all the same", default=False),),
)
add_kind(
    FaultKind(
        name="task.delay",
        hooks=(Hook.FINISH,),
        summary="A SCSI command is answered later.",
        observable="latency; beyond the initiator's timeout the command is aborted",
        action=_delay,
        parameters=DELAY_PARAMETERS,
        check=check_delay,
    )
)
_STATUSES: tuple[tuple[str, Status, str, Applies], ...] = (
    ("busy", Status.BUSY, "BUSY: a host tries again at once, up to its limit", _up_to_count),
    (
        "task_set_full",
        Status.TASK_SET_FULL,
        "TASK SET FULL: a host lowers its queue depth and tries again",
        _up_to_count,
    ),
    (
        "reservation_conflict",
        Status.RESERVATION_CONFLICT,
        "RESERVATION CONFLICT: Linux gives EBADE to whoever asked, and does not try again",
        _reservable,
    ),
)
for _name, _code, _seen, _applies in _STATUSES:
    _start(
        f"task.{_name}",
        f"SCSI commands end with {_name.replace('_', ' ').upper()} and are not executed.",
        _seen,
        _status(_code),
        parameters=(_COUNT,),
        applies=_applies,
    )

_BYTE = {"minimum": 0, "maximum": 0xFF}
_KEY = Parameter("key", int, "SENSE KEY", required=True, minimum=0, maximum=0xF)
_ASC = Parameter("asc", int, "ADDITIONAL SENSE CODE", required=True, **_BYTE)  # type: ignore[arg-type]
_ASCQ = Parameter("ascq", int, "its qualifier", default=0, **_BYTE)  # type: ignore[arg-type]
_FORM = (
    Parameter("information", int, "the INFORMATION field", minimum=0),
    Parameter(
        "format", str, "of the sense data; as the unit has it, without", choices=("fixed", "descriptor")
    ),
    Parameter("deferred", bool, "it speaks of an earlier command", default=False),
)
_LBA = Parameter("lba", int, "the bad block: commands that do not touch it are spared", minimum=0)

_start(
    "scsi.sense",
    "A SCSI command ends with CHECK CONDITION and this sense data, and is not executed.",
    "CHECK CONDITION with that sense data",
    _sense,
    parameters=(_KEY, _ASC, _ASCQ, *_FORM),
)

_READ_OR_ABORT = "EIO with the address in the log; a path stays up"
_NOT_READY = _all_but(_ALWAYS_ANSWERED)
# name: key, ASC and ASCQ, which commands, whether it has an address, summary, observable
PRESETS: dict[str, tuple[int, int, Applies, bool, str, str]] = {
    "notready.becoming": (
        2,
        0x0401,
        _NOT_READY,
        False,
        "The unit is becoming ready.",
        "tried again for long",
    ),
    "notready.standby": (2, 0x040B, _NOT_READY, False, "The port is in standby.", "a ghost path"),
    "notready.unavail": (2, 0x040C, _NOT_READY, False, "The port is unavailable.", "a failed path"),
    "notready.transition": (2, 0x040A, _NOT_READY, False, "The access state is changing.", "tried again"),
    "notready.manual": (2, 0x0403, _NOT_READY, False, "Somebody has to come.", "an error at once"),
    "medium.read": (3, 0x1100, _only(_READS), True, "A block cannot be read.", _READ_OR_ABORT),
    "medium.write": (3, 0x0C00, _only(_WRITES), True, "A block cannot be written.", _READ_OR_ABORT),
    "hw": (4, 0x4400, any_command, False, "Internal target failure.", "EIO; multipath tries another path"),
    "protect": (7, 0x2700, _only(_WRITES), False, "The unit is write protected.", "EROFS or EIO"),
    "thin.full": (7, 0x2707, _only(_WRITES), False, "No space is left behind a thin unit.", "ENOSPC"),
    "illegal.lba": (5, 0x2100, _with_address, False, "No such block.", "EIO, or EREMOTEIO on Linux"),
    "illegal.lun": (5, 0x2500, _NOT_READY, False, "There is no such unit.", "the device goes away"),
    "illegal.cdb": (5, 0x2400, any_command, False, "A field of the CDB is refused.", "EREMOTEIO on Linux"),
    "miscompare": (0xE, 0x1D00, _only(_COMPARES), True, "What was compared is not equal.", "MISCOMPARE"),
}
for _name, (_key, _pair, _applies, _addressed, _summary, _seen) in PRESETS.items():
    _start(
        _name,
        _summary,
        f"CHECK CONDITION {_key:02x}/{_pair >> 8:02x}/{_pair & 0xFF:02x}: {_seen}",
        _sense,
        parameters=(_KEY, _ASC, _ASCQ, *_FORM, *((_LBA,) if _addressed else ())),
        presets={"key": _key, "asc": _pair >> 8, "ascq": _pair & 0xFF},
        applies=_applies,
    )
_start(
    "abort",
    "The target aborts a command itself.",
    "CHECK CONDITION 0b/00/00, or another code: tried again",
    _sense,
    parameters=(_KEY, Parameter("asc", int, "ADDITIONAL SENSE CODE", default=0, **_BYTE), _ASCQ, *_FORM),  # type: ignore[arg-type]
    presets={"key": SenseKey.ABORTED_COMMAND},
)

_ATTENTIONS = {
    "power_on": (UnitAttention.POWER_ON_RESET, "The unit was reset.", "tried again at once"),
    "nexus_loss": (UnitAttention.IT_NEXUS_LOSS, "The I_T nexus was lost.", "tried again at once"),
    "capacity": (UnitAttention.CAPACITY_CHANGED, "The capacity has changed.", "a capacity event"),
    "luns_changed": (UnitAttention.REPORTED_LUNS_CHANGED, "There are other LUNs now.", "a hint to scan"),
    "inquiry": (UnitAttention.INQUIRY_DATA_CHANGED, "INQUIRY data has changed.", "a hint to look again"),
    "alua": (
        UnitAttention.ASYMMETRIC_ACCESS_STATE_CHANGED,
        "The access state has changed.",
        "multipath looks at the target port groups again",
    ),
}
for _name, (_what, _summary, _seen) in _ATTENTIONS.items():
    _start(
        f"ua.{_name}",
        f"Unit attention: {_summary if _summary[:2].isupper() else _summary[0].lower() + _summary[1:]}",
        f"06/{_what.value >> 8:02x}/{_what.value & 0xFF:02x} once for each command that is befallen: {_seen}",
        _attention(_what),
    )

_start(
    "scsi.unsupported",
    "The target does not know a command.",
    "CHECK CONDITION 05/20/00; what a host makes of it depends on the command",
    _unsupported,
    parameters=(Parameter("op", int, "OPERATION CODE", required=True, **_BYTE),),  # type: ignore[arg-type]
    applies=lambda rule, occasion: occasion.cdb[0] == rule.parameters["op"],
)
_start(
    "scsi.pr",
    "Persistent reservations go wrong: a conflict nobody caused, or registrations that are lost.",
    "RESERVATION CONFLICT to PERSISTENT RESERVE OUT, or keys that are not there any more",
    _persistent_reserve,
    parameters=(Parameter("mode", str, "what goes wrong", required=True, choices=("conflict", "lost")),),
    applies=_reservation_commands,
)
