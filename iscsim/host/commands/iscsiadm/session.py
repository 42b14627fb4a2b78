"""``iscsiadm -m session``."""

from __future__ import annotations

from collections.abc import Iterator

from iscsim.host.commands.iscsiadm.logins import log_out_of, rescan
from iscsim.host.commands.iscsiadm.options import Failed, Options
from iscsim.host.iscsid import HostSession
from iscsim.host.shell import Call
from iscsim.initiator.exit_codes import IscsiadmExitCode
from iscsim.initiator.session_state import SessionState
from iscsim.session.names import format_portal

__all__ = ["session_mode"]

_STARS = "********"
_INTERFACE = "*" * 10
_TIMEOUTS = "*" * 9
_CHAP = "*" * 5
_WIDE = "*" * 24


async def session_mode(call: Call, options: Options) -> int:
    """Raises Failed."""
    sessions = _chosen(call, options)
    if options.logout:
        return await log_out_of(call, sessions)
    if options.rescan:
        return await rescan(call, sessions)
    if not sessions:
        raise Failed("No active sessions.", IscsiadmExitCode.NO_OBJS_FOUND)
    if options.level < 1:
        for session in sessions:
            call.output.line(_flat(session))
        return IscsiadmExitCode.SUCCESS
    if options.level > 3:
        raise Failed(f"Invalid info level {options.level}. Try 0 to 3.", IscsiadmExitCode.INVAL)
    call.output.line("iSCSI Transport Class version 2.0-870")
    call.output.line(f"version {call.host.settings.open_iscsi_version}")
    target = ""
    for session in sorted(sessions, key=lambda each: (each.record.target_name, each.sid)):
        if session.record.target_name != target:
            target = session.record.target_name
            call.output.line(f"Target: {target} (non-flash)")
        for line in _details(call, session, options.level):
            call.output.line(line)
    return IscsiadmExitCode.SUCCESS


def _chosen(call: Call, options: Options) -> list[HostSession]:
    sessions = call.host.iscsid.sessions
    if not options.sid:
        return list(sessions.values())
    sid = options.sid.removeprefix("/sys/class/iscsi_session/session")
    if not sid.isdecimal() or int(sid) not in sessions:
        message = f"Could not get session info for sid {sid}"
        raise Failed("could not read session targetname: 5", IscsiadmExitCode.SYSFS_LOOKUP, message)
    return [sessions[int(sid)]]


def _flat(session: HostSession) -> str:
    record = session.record
    portal = format_portal(record.address, record.port)
    return f"tcp: [{session.sid}] {portal},{session.portal_group_tag} {record.target_name} (non-flash)"


def _details(call: Call, session: HostSession, level: int) -> Iterator[str]:
    record, tag = session.record, session.portal_group_tag
    inner = session.session
    now = format_portal(inner.portal.address, inner.portal.port) if inner else ""
    yield f"\tCurrent Portal: {now or format_portal(record.address, record.port)},{tag}"
    yield f"\tPersistent Portal: {format_portal(record.address, record.port)},{tag}"
    yield from _block(_INTERFACE, "Interface:", _interface(call, session))
    if level > 1:
        yield from _block(_TIMEOUTS, "Timeouts:", _timeouts(session))
        yield from _block(_CHAP, "CHAP:", _chap(session))
        yield from _block(_WIDE, "Negotiated iSCSI params:", _negotiated(session))
    if level > 2:
        yield from _block(_WIDE, "Attached SCSI devices:", _devices(call, session))


def _block(stars: str, title: str, lines: Iterator[str]) -> Iterator[str]:
    yield from (f"\t\t{line}" for line in (stars, title, stars))
    yield from (f"\t\t{line}" for line in lines)


def _interface(call: Call, session: HostSession) -> Iterator[str]:
    state = session.session.state if session.session else SessionState.FREE
    up = state is SessionState.LOGGED_IN
    yield f"Iface Name: {session.record.interface}"
    yield "Iface Transport: tcp"
    yield f"Iface Initiatorname: {call.host.initiator_name}"
    yield f"Iface IPaddress: {call.host.address}"
    yield "Iface HWaddress: default"
    yield "Iface Netdev: default"
    yield f"SID: {session.sid}"
    yield f"iSCSI Connection State: {'LOGGED IN' if up else 'TRANSPORT WAIT'}"
    yield f"iSCSI Session State: {state}"
    yield f"Internal iscsid Session State: {'NO CHANGE' if up else 'REOPEN'}"


def _timeouts(session: HostSession) -> Iterator[str]:
    settings = session.session.settings if session.session else session.settings
    yield f"Recovery Timeout: {settings.replacement_timeout:g}"
    yield f"Target Reset Timeout: {settings.tgt_reset_timeout:g}"
    yield f"LUN Reset Timeout: {settings.lu_reset_timeout:g}"
    yield f"Abort Timeout: {settings.abort_timeout:g}"


def _chap(session: HostSession) -> Iterator[str]:
    yield f"username: {session.settings.username or '<empty>'}"
    yield f"password: {_STARS}"
    yield f"username_in: {session.settings.username_in or '<empty>'}"
    yield f"password_in: {_STARS}"


def _negotiated(session: HostSession) -> Iterator[str]:
    inner = session.session.session if session.session else None
    if inner is None:
        return
    found = inner.parameters
    yield f"HeaderDigest: {'CRC32C' if found.header_digest else 'None'}"
    yield f"DataDigest: {'CRC32C' if found.data_digest else 'None'}"
    yield f"MaxRecvDataSegmentLength: {session.settings.max_recv_data_segment_length}"
    yield f"MaxXmitDataSegmentLength: {found.max_send_data_segment_length}"
    yield f"FirstBurstLength: {found.first_burst_length}"
    yield f"MaxBurstLength: {found.max_burst_length}"
    yield f"ImmediateData: {_yes(found.immediate_data)}"
    yield f"InitialR2T: {_yes(found.initial_r2t)}"
    yield f"MaxOutstandingR2T: {found.max_outstanding_r2t}"


def _yes(value: bool) -> str:
    return "Yes" if value else "No"


def _devices(call: Call, session: HostSession) -> Iterator[str]:
    number = session.adapter.number
    yield f"Host Number: {number}\tState: running"
    host = session.adapter.scsi_host
    if host is None:
        return
    for hctl, device in sorted(host.devices.items()):
        yield f"scsi{number} Channel {hctl.channel:02d} Id {hctl.target} Lun: {hctl.lun}"
        if device.name:
            yield f"\tAttached scsi disk {device.name}\t\tState: {device.state.value}"
