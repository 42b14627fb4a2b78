"""The tables of commands "allowed in the presence of various reservations" (SPC-4, SBC-3), row by row.

Of each row the standards' columns for a nexus that is not favoured: write exclusive types, exclusive access
types; A is allowed, C conflicts. The column "from registered I_T nexus" has A in every row.
"""

import pytest

from iscsim.scsi.device_server import COMMANDS
from iscsim.scsi.reservations import (
    PersistentReservation,
    Registration,
    ReservationConflict,
    ReservationRule,
    ReservationType,
)

START, STOP, PAUSE = (
    bytes([0x1B, 0, 0, 0, 1, 0]),
    bytes([0x1B, 0, 0, 0, 0, 0]),
    bytes([0x1B, 0, 0, 0, 0x11, 0]),
)
ALLOW, PREVENT = bytes([0x1E, 0, 0, 0, 0, 0]), bytes([0x1E, 0, 0, 0, 1, 0])
ROWS = {
    # SPC-4; of a code with service actions the second byte is the action
    "00": "AA",  # TEST UNIT READY
    "03": "AA",  # REQUEST SENSE
    "12": "AA",  # INQUIRY
    "15": "CC",  # MODE SELECT (6)
    "1a": "AC",  # MODE SENSE (6)
    "1c": "AC",  # RECEIVE DIAGNOSTIC RESULTS
    "1d": "CC",  # SEND DIAGNOSTIC
    "3b": "CC",  # WRITE BUFFER
    "3c": "AC",  # READ BUFFER
    "4c": "CC",  # LOG SELECT
    "4d": "AA",  # LOG SENSE
    "55": "CC",  # MODE SELECT (10)
    "5a": "AC",  # MODE SENSE (10)
    "a0": "AA",  # REPORT LUNS
    "83": "CC",  # EXTENDED COPY
    "84": "CC",  # RECEIVE COPY RESULTS
    "a305": "AA",  # REPORT IDENTIFYING INFORMATION
    "a30a": "AA",  # REPORT TARGET PORT GROUPS
    "a30b": "AA",  # REPORT ALIASES
    "a30c": "AC",  # REPORT SUPPORTED OPERATION CODES
    "a30d": "AC",  # REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS
    "a30e": "AA",  # REPORT PRIORITY
    "a30f": "AA",  # REPORT TIMESTAMP
    "a406": "CC",  # SET IDENTIFYING INFORMATION
    "a40a": "CC",  # SET TARGET PORT GROUPS
    "a40e": "CC",  # SET PRIORITY
    "a40f": "CC",  # SET TIMESTAMP
    # these look for themselves at who is registered
    "16": "AA",  # RESERVE (6)
    "17": "AA",  # RELEASE (6)
    "56": "AA",  # RESERVE (10)
    "57": "AA",  # RELEASE (10)
    "5e": "AA",  # PERSISTENT RESERVE IN
    "5f": "AA",  # PERSISTENT RESERVE OUT
    # SBC-3
    "04": "CC",  # FORMAT UNIT
    "07": "CC",  # REASSIGN BLOCKS
    "08": "AC",  # READ (6)
    "0a": "CC",  # WRITE (6)
    "25": "AA",  # READ CAPACITY (10)
    "28": "AC",  # READ (10)
    "2a": "CC",  # WRITE (10)
    "2e": "CC",  # WRITE AND VERIFY (10)
    "2f": "AC",  # VERIFY (10)
    "34": "AC",  # PRE-FETCH (10)
    "35": "CC",  # SYNCHRONIZE CACHE (10)
    "37": "AC",  # READ DEFECT DATA (10)
    "41": "CC",  # WRITE SAME (10)
    "42": "CC",  # UNMAP
    "48": "CC",  # SANITIZE
    "7f": "CC",  # WRITE SAME (32) and the like
    "88": "AC",  # READ (16)
    "89": "CC",  # COMPARE AND WRITE
    "8a": "CC",  # WRITE (16)
    "8b": "CC",  # ORWRITE (16)
    "8e": "CC",  # WRITE AND VERIFY (16)
    "8f": "AC",  # VERIFY (16)
    "90": "AC",  # PRE-FETCH (16)
    "91": "CC",  # SYNCHRONIZE CACHE (16)
    "93": "CC",  # WRITE SAME (16)
    "9c": "CC",  # WRITE ATOMIC (16), SBC-4
    "9e10": "AA",  # READ CAPACITY (16)
    "9e12": "AC",  # GET LBA STATUS
    "a8": "AC",  # READ (12)
    "aa": "CC",  # WRITE (12)
    "ae": "CC",  # WRITE AND VERIFY (12)
    "af": "AC",  # VERIFY (12)
    "b7": "AC",  # READ DEFECT DATA (12)
    START.hex(): "AA",
    STOP.hex(): "CC",
    PAUSE.hex(): "CC",
    ALLOW.hex(): "AA",
    PREVENT.hex(): "CC",
}
BY_CDB = {START[0]: (START, STOP, PAUSE), ALLOW[0]: (ALLOW, PREVENT)}


def command_rows():
    """(name in ROWS, rule) of all there are in the command table."""
    for opcode, command in COMMANDS.items():
        for cdb in BY_CDB.get(opcode, ()):
            yield cdb.hex(), command.reservation(cdb.ljust(16, b"\0"))
        if opcode in BY_CDB:
            continue
        for action, row in command.service_actions.items():
            name = bytes([opcode, action]).hex()
            yield name if name in ROWS else f"{opcode:02x}", row.reservation
        if command.handler is not None:
            yield f"{opcode:02x}", command.reservation


def letters(rule):
    kinds = ReservationRule.UNDER_WRITE_EXCLUSIVE, ReservationRule.UNDER_EXCLUSIVE_ACCESS
    return "".join("A" if rule & kind else "C" for kind in kinds)


@pytest.mark.parametrize("name, rule", list(command_rows()))
def test_every_command_has_the_rule_of_its_row(name, rule):
    assert letters(rule) == ROWS[name]


@pytest.mark.parametrize("kind", ReservationType)
@pytest.mark.parametrize("rule", ["CC", "AC", "AA"])
def test_what_a_rule_means_for_each_nexus_and_type(make_rig, kind, rule):
    """Who holds the reservation, who is registered, and who is neither."""
    rig = make_rig()
    registrant, stranger = rig.other("iqn.a"), rig.other("iqn.b")
    reservations = rig.unit.reservations
    wanted = [
        Registration(nexus.initiator_port, nexus.target_port, 1, 7) for nexus in (rig.nexus, registrant)
    ]
    reservations.register(wanted)
    reservations.reservation = PersistentReservation(kind, None if kind.held_by_all else wanted[0].identity)
    command = next(found for _, found in command_rows() if letters(found) == rule)
    allowed = rule[kind.rule is ReservationRule.UNDER_EXCLUSIVE_ACCESS] == "A"
    assert may(reservations, rig.nexus, command)
    assert may(reservations, registrant, command) == (allowed or kind.favours_registrants)
    assert may(reservations, stranger, command) == allowed


def may(reservations, nexus, rule):
    try:
        reservations.check(nexus, rule)
    except ReservationConflict:
        return False
    return True
