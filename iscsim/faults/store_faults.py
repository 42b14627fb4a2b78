"""Faults of the store seam: errors, waits, and the ways in which a disk can be wrong and say nothing."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from iscsim.errors import FaultError
from iscsim.faults.delays import DELAY_PARAMETERS, check_delay, draw_delay
from iscsim.faults.faulty_device_server import FaultyDeviceServer
from iscsim.faults.faulty_store import FaultyStore, StoreAccess, StoreClock, faulty_store_of
from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import Seconds
from iscsim.faults.units import LUN, TARGET, nodes_of, units_of
from iscsim.faults.world import World
from iscsim.scsi.unit_attention import UnitAttention

__all__ = ["FaultyStore", "StoreClock"]

Action = Callable[[FaultRule, StoreAccess], None]

_ANY = "any"
_OPERATIONS = (_ANY, "read", "write", "unmap", "flush")
_OPERATION = Parameter("op", str, "which operations", default=_ANY, choices=_OPERATIONS)
_ERRORS = {name: number for number, name in errno.errorcode.items()}


# -- errors ---------------------------------------------------------------------------------------


def _suits(rule: FaultRule, occasion: Occasion) -> bool:
    """Operation, and the bad block when there is one."""
    given = rule.parameters
    if given["op"] not in (_ANY, occasion.operation):
        return False
    bad = given.get("lba")
    if bad is None:
        return True
    return occasion.lba is not None and occasion.lba <= bad < occasion.lba + occasion.blocks


def _error(rule: FaultRule, access: StoreAccess) -> None:
    given = rule.parameters
    if access.random(rule).random() < given["rate"]:
        _raise(_ERRORS[given["errno"]])


def _raise(number: int) -> None:
    raise OSError(number, errno.errorcode[number])


def _beyond(rule: FaultRule, occasion: Occasion) -> bool:
    access: StoreAccess = occasion.subject
    end = (access.lba + access.blocks) * access.store.block_size
    return access.operation != "flush" and end > rule.parameters["bytes"]


# -- waits ----------------------------------------------------------------------------------------


def _delay(rule: FaultRule, access: StoreAccess) -> None:
    access.wait(draw_delay(rule, f"store {access.store.unit.wwn}"))


def _rate(rule: FaultRule, access: StoreAccess) -> None:
    """One after the other: a disk that is busy has no hurry to begin."""
    unit, now = access.store.unit, access.store.clock.now()
    rule.state[unit] = max(now, rule.state.get(unit, now)) + access.length / rule.parameters["rate"]
    access.wait_until(rule.state[unit])


def _pause(rule: FaultRule, access: StoreAccess) -> None:
    seconds = rule.parameters["seconds"]
    if seconds is None:
        access.wait_until(rule.ends)  # infinite when nobody has said
        return
    now = access.store.clock.now()
    begun = rule.state.setdefault("begun", now)
    access.wait_until(max(now, begun + seconds))


# -- wrong, and silent ----------------------------------------------------------------------------


def _tear(rule: FaultRule, access: StoreAccess) -> None:
    """What is kept of the last block comes with the rest of what was there."""
    kept, size = min(rule.parameters["bytes"], len(access.data)), access.store.block_size
    new = bytes(access.data[:kept])
    if kept % size:
        old = access.store.inner.read(access.lba + kept // size, 1)
        new += bytes(old[kept % size :])
    access.data, access.skip = new, not new


def _lose(rule: FaultRule, access: StoreAccess) -> None:
    access.skip = True


def _misdirect(rule: FaultRule, access: StoreAccess) -> None:
    access.lba += rule.parameters["delta"]
    access.skip = not 0 <= access.lba <= access.store.blocks - access.blocks


def _flip(rule: FaultRule, access: StoreAccess) -> None:
    def flip(data: bytearray, lba: int) -> None:
        dice = access.random(rule)
        for bit in dice.sample(range(len(data) * 8), min(rule.parameters["n"], len(data) * 8)):
            data[bit >> 3] ^= 1 << (bit & 7)

    if access.operation == "read":
        access.alter.append(flip)
    else:
        access.data = bytearray(access.data)
        flip(access.data, access.lba)


def _serve_stale(rule: FaultRule, access: StoreAccess) -> None:
    def put_back(data: bytearray, lba: int) -> None:
        size = access.store.block_size
        for index in range(len(data) // size):
            before = access.store.previous.get(lba + index)
            if before is not None:
                data[index * size : (index + 1) * size] = before

    access.alter.append(put_back)


def _was_written(rule: FaultRule, occasion: Occasion) -> bool:
    access: StoreAccess = occasion.subject
    previous = access.store.previous
    blocks = range(access.lba, access.lba + access.blocks)
    return access.operation == "read" and any(lba in previous for lba in blocks)


def _only(*operations: str) -> Callable[[FaultRule, Occasion], bool]:
    return lambda rule, occasion: occasion.operation in operations


# -- the catalogue --------------------------------------------------------------------------------


def _add(name: str, summary: str, observable: str, action: Action, **more: Any) -> None:
    add_kind(
        FaultKind(
            name=f"disk.{name}",
            hooks=(Hook.STORE,),
            summary=summary,
            observable=observable,
            action=action,
            **more,
        )
    )


_add(
    "error",
    "An operation of the store fails.",
    "03/11/00 for a read, 03/0c/00 for a write or flush, 07/27/07 for ENOSPC",
    _error,
    parameters=(
        Parameter("errno", str, "its name", default="EIO", choices=tuple(sorted(_ERRORS))),
        _OPERATION,
        Parameter("rate", float, "of so many operations", default=1.0, minimum=0.0, maximum=1.0),
        Parameter("lba", int, "the bad block: what does not touch it goes well", minimum=0),
    ),
    applies=_suits,
)
_add(
    "delay",
    "The store takes its time.",
    "latency of the commands that use the medium, none of INQUIRY",
    _delay,
    parameters=(*DELAY_PARAMETERS, _OPERATION),
    check=check_delay,
    applies=_suits,
)
_add(
    "rate",
    "The store moves only so many bytes a second.",
    "commands queue up; at 30 s Linux begins its error handling",
    _rate,
    parameters=(Parameter("rate", float, "bytes a second", required=True, minimum=1.0),),
    applies=_only("read", "write"),
)
_add(
    "pause",
    "The store stops, and goes on after some seconds, at the rule's `until`, or when it is removed.",
    "commands hang, INQUIRY answers; then all are answered at once",
    _pause,
    parameters=(
        Parameter("seconds", Seconds, "from the first operation on; without it until `until` or disk.resume"),
    ),
)
_add(
    "torn_write",
    "Of a write only the first bytes reach the medium.",
    "GOOD, and later a block that is half old and half new",
    _tear,
    parameters=(Parameter("bytes", int, "how many", required=True, minimum=0),),
    applies=_only("write"),
)
_add(
    "lost_write",
    "A write does not reach the medium.",
    "GOOD, and later the old data",
    _lose,
    applies=_only("write"),
)
_add(
    "misdirected_write",
    "A write goes to other blocks.",
    "GOOD, and later the old data here and somebody's lost data there",
    _misdirect,
    parameters=(Parameter("delta", int, "how many blocks further on", required=True),),
    applies=_only("write"),
)
_add(
    "bitflip",
    "Bits are wrong.",
    "GOOD, and data that no checksum of SCSI catches",
    _flip,
    parameters=(
        Parameter("n", int, "how many of each operation", default=1, minimum=1),
        Parameter("op", str, "in what is read or written", default="read", choices=("read", "write")),
    ),
    applies=_suits,
)
_add(
    "stale_read",
    "A read brings what the blocks held before the last write.",
    "GOOD, and old data; a rule that is armed before the write is needed",
    _serve_stale,
    applies=_was_written,
)
_add(
    "full",
    "No space is left for what is written.",
    "07/27/07: ENOSPC on Linux, QEMU pauses the guest",
    lambda rule, access: _raise(errno.ENOSPC),
    applies=_only("write"),
)
_add(
    "fua_ignored",
    "A flush, asked for by SYNCHRONIZE CACHE or FUA, does nothing.",
    "GOOD; only after disk.crash it shows what was never on the medium",
    _lose,
    applies=_only("flush"),
)
_add(
    "truncate",
    "The store ends sooner than its capacity says.",
    "03/11/00 and 03/0c/00 beyond that",
    lambda rule, access: _raise(errno.EIO),
    parameters=(Parameter("bytes", int, "where", required=True, minimum=0),),
    applies=_beyond,
)


def _resume(rule: FaultRule, world: World) -> None:
    for node in nodes_of(rule, world):
        server = world.server_of(node.name).entity.device_server
        if not isinstance(server, FaultyDeviceServer):
            raise FaultError(f"{rule.id}: no store of {node.name} was ever paused")
        server.resume_stores()


add_kind(
    FaultKind(
        name="disk.resume",
        hooks=(Hook.TIMER,),
        summary="Stores that disk.pause has stopped go on.",
        observable="what has hung is answered, all at once",
        action=_resume,
        parameters=(TARGET,),
    )
)


def _crash(rule: FaultRule, world: World) -> None:
    for unit in units_of(rule, world):
        faulty_store_of(unit).crash(rule.parameters["keep"])
        unit.establish(UnitAttention.POWER_ON_RESET)


add_kind(
    FaultKind(
        name="disk.crash",
        hooks=(Hook.TIMER,),
        summary="The disk loses power, and with it what was written and not flushed.",
        observable="06/29/00, and old data where writes had been answered with GOOD",
        action=_crash,
        parameters=(
            TARGET,
            LUN,
            Parameter("keep", int, "how many of those writes survive, the first ones", default=0, minimum=0),
        ),
    )
)
