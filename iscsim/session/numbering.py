"""Sequence numbers: serial arithmetic and the command window (RFC 7143 section 4.2.2.1)."""

from __future__ import annotations

SERIAL_MASK = 0xFFFFFFFF
_HALF = 1 << 31


def serial_add(number: int, count: int) -> int:
    """``number`` moved on by ``count``, modulo 2**32."""
    return (number + count) & SERIAL_MASK


def serial_less(first: int, second: int) -> bool:
    """Whether ``first`` comes before ``second`` (RFC 1982, SERIAL_BITS 32)."""
    return 0 < (second - first) & SERIAL_MASK < _HALF


def serial_distance(first: int, second: int) -> int:
    """How far ``second`` lies behind ``first``; negative when it lies before it."""
    distance = (second - first) & SERIAL_MASK
    return distance if distance < _HALF else distance - (1 << 32)


class CommandWindow:
    """A target's view of CmdSN: what comes next and how far an initiator may go.

    A command takes its place in the window when it arrives and gives it back when it completes, so
    that ``size`` bounds the commands a session can have open. MaxCmdSN never goes backwards
    (RFC 7143 section 4.2.2.1). The two numbers are plain attributes: the quick path reads them.
    """

    __slots__ = ("exp_cmd_sn", "max_cmd_sn", "size")

    def __init__(self, first_cmd_sn: int, size: int) -> None:
        self.size = size
        self.exp_cmd_sn = first_cmd_sn
        self.max_cmd_sn = serial_add(first_cmd_sn, size - 1)

    def holds(self, cmd_sn: int) -> bool:
        """Whether ``cmd_sn`` is one the target still waits for: ExpCmdSN to MaxCmdSN."""
        reach = (self.max_cmd_sn - self.exp_cmd_sn) & SERIAL_MASK
        # MaxCmdSN = ExpCmdSN - 1 is the closed window
        return reach < _HALF and (cmd_sn - self.exp_cmd_sn) & SERIAL_MASK <= reach

    def take(self) -> None:
        """The next command has arrived."""
        self.exp_cmd_sn = (self.exp_cmd_sn + 1) & SERIAL_MASK

    def untake(self) -> None:
        """The last command is rejected: its CmdSN counts as not received (RFC 7143 section 7.3)."""
        self.exp_cmd_sn = (self.exp_cmd_sn - 1) & SERIAL_MASK

    def give_back(self) -> None:
        """A command has completed: the initiator may send one more."""
        self.max_cmd_sn = (self.max_cmd_sn + 1) & SERIAL_MASK

    def take_back(self) -> None:
        """The last :meth:`give_back` was too early; only before its MaxCmdSN has been sent."""
        self.max_cmd_sn = (self.max_cmd_sn - 1) & SERIAL_MASK


class CommandNumbers:
    """An initiator's view of CmdSN: the next number, and how far the target lets it go."""

    __slots__ = ("cmd_sn", "exp_cmd_sn", "max_cmd_sn")

    def __init__(self, first_cmd_sn: int) -> None:
        self.cmd_sn = self.exp_cmd_sn = first_cmd_sn
        self.max_cmd_sn = first_cmd_sn

    @property
    def window_open(self) -> bool:
        """Whether one more non-immediate command may go out now."""
        return not serial_less(self.max_cmd_sn, self.cmd_sn)

    def take(self) -> int:
        """The CmdSN of the next non-immediate command."""
        number = self.cmd_sn
        self.cmd_sn = (number + 1) & SERIAL_MASK
        return number

    def update(self, exp_cmd_sn: int, max_cmd_sn: int) -> None:
        """Take over what a PDU of the target says; older or impossible pairs are ignored.

        RFC 7143 section 4.2.2.1: ignored if MaxCmdSN is less than ExpCmdSN - 1, and a number only
        ever moves forward.
        """
        if max_cmd_sn == self.max_cmd_sn and exp_cmd_sn == self.exp_cmd_sn:
            return
        # every answer comes by here: serial_less() written out
        if (max_cmd_sn - exp_cmd_sn + 1) & SERIAL_MASK > _HALF:
            return
        if (max_cmd_sn - self.max_cmd_sn) & SERIAL_MASK < _HALF:
            self.max_cmd_sn = max_cmd_sn
        if (exp_cmd_sn - self.exp_cmd_sn) & SERIAL_MASK < _HALF:
            self.exp_cmd_sn = exp_cmd_sn
