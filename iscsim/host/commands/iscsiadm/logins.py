"""Logging in and out of several nodes at once, in iscsiadm's words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from iscsim.host.commands.iscsiadm.options import Failed
from iscsim.host.iscsid import HostSession
from iscsim.host.records import NodeRecord
from iscsim.host.settings import OLD_OPEN_ISCSI
from iscsim.host.shell import Call
from iscsim.initiator.exit_codes import IscsiadmExitCode

__all__ = ["log_in_to", "log_out_of", "shown"]


def shown(record: NodeRecord) -> str:
    """A node in messages."""
    return f"iface: {record.interface}, target: {record.target_name}, portal: {record.address},{record.port}"


def _session_shown(session: HostSession) -> str:
    record = session.record
    return f"sid: {session.sid}, target: {record.target_name}, portal: {record.address},{record.port}"


async def log_in_to(call: Call, records: Sequence[NodeRecord]) -> int:
    """A session for each record that has not as many as it should.

    Raises Failed when iscsid does not run.
    """
    if not call.host.iscsid.running:
        raise Failed("can not connect to iSCSI daemon (111)!", IscsiadmExitCode.ISCSID_NOTCONN)
    exit_code = IscsiadmExitCode.SUCCESS
    wanted: list[NodeRecord] = []
    for record in records:
        missing = _missing(call, record)
        wanted += [record] * missing
        if not missing:
            exit_code = exit_code or IscsiadmExitCode.SESS_EXISTS
    multiple = " (multiple)" if call.host.settings.open_iscsi_version == OLD_OPEN_ISCSI else ""
    for record in wanted:
        call.output.line(f"Logging in to [{shown(record)}]{multiple}")
    codes = await asyncio.gather(*(call.host.iscsid.login(record) for record in wanted))
    for record, code in zip(wanted, codes, strict=True):
        if code:
            call.output.error(f"iscsiadm: Could not login to [{shown(record)}].")
            call.output.error(f"iscsiadm: initiator reported error ({int(code)} - {code.words})")
            exit_code = exit_code or code
        else:
            call.output.line(f"Login to [{shown(record)}] successful.")
    if exit_code:
        call.output.error("iscsiadm: Could not log into all portals")
    return exit_code


def _missing(call: Call, record: NodeRecord) -> int:
    """How many sessions it lacks; says so when it lacks none."""
    asked = record.settings.nr_sessions
    present = [
        each
        for each in call.host.iscsid.find(record.target_name, record.address, record.port)
        if each.record.interface == record.interface
    ]
    if len(present) < asked:
        return asked - len(present)
    plural = "s" * (asked > 1)
    call.output.error(
        f"iscsiadm: {record.interface}: {asked} session{plural} requested,"
        f" but {len(present)} already present."
    )
    return 0


async def log_out_of(call: Call, sessions: Sequence[HostSession]) -> int:
    """End sessions. Raises Failed when there is none."""
    if not sessions:
        raise Failed("No matching sessions found", IscsiadmExitCode.NO_OBJS_FOUND)
    for session in sessions:
        call.output.line(f"Logging out of session [{_session_shown(session)}]")
    for session in sessions:
        await call.host.iscsid.logout(session)
        call.output.line(f"Logout of [{_session_shown(session)}] successful.")
    return IscsiadmExitCode.SUCCESS


async def rescan(call: Call, sessions: Sequence[HostSession]) -> int:
    """Scan sessions again. Raises Failed when there is none."""
    if not sessions:
        raise Failed("No session found.", IscsiadmExitCode.NO_OBJS_FOUND)
    for session in sessions:
        call.output.line(f"Rescanning session [{_session_shown(session)}]")
        await call.host.kernel.rescan_session(session.adapter)
    return IscsiadmExitCode.SUCCESS
