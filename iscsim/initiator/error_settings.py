"""How patient the error handling of SCSI commands is, in seconds and tries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from iscsim.initiator.settings import NodeSettings

__all__ = ["ErrorHandlingSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorHandlingSettings:
    """Times in seconds; `of` takes them from a node's settings.

    As it is, a rung of the ladder that gets no answer is left for the next one when its time is over. Linux
    has two habits beyond that, which `like_linux` turns on: libiscsi drops the session as soon as a task
    management function was not answered (``drops_on_silence``), and gives a command more time while data
    moves, and once more when the connection pings, to be sure that not the connection is at fault
    (``checks_connection``).
    """

    command_timeout_s: float = 30.0
    """``/sys/block/sd*/device/timeout``."""
    retries: int = 5
    """``SD_MAX_RETRIES``. A command is repeated for ``(retries + 1) * command_timeout_s`` at most."""
    abort_timeout_s: float = 15.0
    lu_reset_timeout_s: float = 30.0
    target_reset_timeout_s: float = 30.0
    host_reset_timeout_s: float = 60.0
    """How long a dropped session may take to come back, if ``replacement_timeout`` is not quicker."""
    test_unit_ready_timeout_s: float = 10.0
    """``/sys/block/sd*/device/eh_timeout``: of what the error handler itself sends."""
    medium_access_timeouts: int = 2
    """Error handlings in a row that a unit may cause by not answering reads and writes, although it answers
    everything else (``max_medium_access_timeouts``)."""
    queue_ramp_up_period_s: float = 120.0
    commands_max: int = 128
    """Commands of all devices of a session at a time."""
    drops_on_silence: bool = False
    checks_connection: bool = False

    @classmethod
    def of(cls, settings: NodeSettings, **others: Any) -> Self:
        """From ``node.session.err_timeo.*`` and ``cmds_max``; ``others`` are fields of this class."""
        mine = cls(
            abort_timeout_s=settings.abort_timeout,
            lu_reset_timeout_s=settings.lu_reset_timeout,
            target_reset_timeout_s=settings.tgt_reset_timeout,
            host_reset_timeout_s=settings.host_reset_timeout,
            commands_max=settings.cmds_max,
        )
        return replace(mine, **others)

    @classmethod
    def like_linux(cls, settings: NodeSettings, **others: Any) -> Self:
        """As `of`, with libiscsi's two habits. Without pings the connection is not asked either."""
        pings = bool(settings.noop_out_interval or settings.noop_out_timeout)
        habits = {"drops_on_silence": True, "checks_connection": pings}
        return cls.of(settings, **(habits | others))
