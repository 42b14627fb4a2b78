"""``iscsiadm -m node``."""

from __future__ import annotations

from iscsim.errors import ConfigError
from iscsim.host.commands.iscsiadm.logins import log_in_to, log_out_of, rescan
from iscsim.host.commands.iscsiadm.options import DEFAULT_PORT, Failed, Options
from iscsim.host.iscsid import HostSession
from iscsim.host.records import LOOKED_UP_BY, NodeRecord, render
from iscsim.host.shell import Call
from iscsim.initiator.exit_codes import IscsiadmExitCode
from iscsim.session.names import format_portal

__all__ = ["node_mode", "print_nodes", "tell_iscsid"]

_ANY_TAG = 0xFFFFFFFF
_STARTUPS = ("all", "manual", "automatic", "onboot")


async def node_mode(call: Call, options: Options) -> int:
    """Raises Failed."""
    if options.login_all:
        return await log_in_to(call, _started(call, options.login_all, "loginall"))
    if options.logout_all:
        records = _started(call, options.logout_all, "logoutall")
        return await log_out_of(call, [each for record in records for each in _sessions(call, record)])
    if options.logout:
        address, port = options.address
        return await log_out_of(call, call.host.iscsid.find(options.target_name, address, port))
    if options.rescan:
        address, port = options.address
        return await rescan(call, call.host.iscsid.find(options.target_name, address, port))
    if options.login:
        return await log_in_to(call, _records(call, options))
    return _operate(call, options)


def _started(call: Call, mode: str, option: str) -> list[NodeRecord]:
    if mode not in _STARTUPS:
        raise Failed(f"Invalid {option} option {mode}.", IscsiadmExitCode.INVAL)
    found = [record for record in call.host.nodes if mode in ("all", record.values["node.startup"])]
    if not found:
        raise Failed("No records found", IscsiadmExitCode.NO_OBJS_FOUND)
    return found


def _sessions(call: Call, record: NodeRecord) -> list[HostSession]:
    return call.host.iscsid.find(record.target_name, record.address, record.port)


def _records(call: Call, options: Options) -> list[NodeRecord]:
    """Raises Failed when there is none."""
    address, port = options.address
    found = call.host.nodes.find(options.target_name, address, port, options.interface)
    if not found:
        raise Failed("No records found", IscsiadmExitCode.NO_OBJS_FOUND)
    return found


def _operate(call: Call, options: Options) -> int:
    match options.operation:
        case "new":
            return _new(call, options)
        case "update":
            return _update(call, options)
        case "delete":
            for record in _records(call, options):
                if _sessions(call, record):
                    message = (
                        f"This command will remove the record [{_short(record)}], but a session is using it."
                    )
                    raise Failed(
                        f"{message} Logout session then rerun command to remove record.",
                        IscsiadmExitCode.INVAL,
                        "Could not execute operation on all records: session exists",
                    )
                call.host.nodes.delete(record)
        case "show":
            _print_records(call, options)
        case _ if options.target_name:
            _print_records(call, options)
        case _:
            print_nodes(call, _records(call, options), options.level)
    return IscsiadmExitCode.SUCCESS


def _short(record: NodeRecord) -> str:
    return f"iface: {record.interface}, target: {record.target_name}, portal: {record.address},{record.port}"


def _new(call: Call, options: Options) -> int:
    address, port = options.address
    if not options.target_name or not address:
        raise Failed("portal and target name required for new node record", IscsiadmExitCode.INVAL)
    interface = options.interface or "default"
    if interface != "default":
        raise Failed(f"Could not read iface {interface} (6)", IscsiadmExitCode.IDBM)
    port = DEFAULT_PORT if port is None else port
    tag = options.portal.partition(",")[2]
    record = call.host.nodes.new(
        options.target_name, address, port, portal_group_tag=int(tag) if tag.isdecimal() else -1
    )
    call.output.line(
        f"New iSCSI node [tcp:[hw=,ip=,net_if=,iscsi_if={record.interface}]"
        f" {address},{port},{record.portal_group_tag} {record.target_name}] added"
    )
    tell_iscsid(call)
    return IscsiadmExitCode.SUCCESS


def tell_iscsid(call: Call) -> None:
    """New records are told to iscsid, which is no error when it does not run."""
    if not call.host.iscsid.running:
        call.output.error(
            "iscsiadm: iscsid is not running. Could not start it up automatically using the startup command"
            " in the iscsid.conf iscsid.startup setting. Please check that the file exists or that your init"
            " scripts have started iscsid."
        )
        call.output.error("iscsiadm: can not connect to iSCSI daemon (111)!")


def _update(call: Call, options: Options) -> int:
    records = _records(call, options)
    if options.name is None or options.value is None:
        raise Failed("Update requires name and value", IscsiadmExitCode.INVAL)
    if options.name in LOOKED_UP_BY:
        raise Failed(
            f"Cannot modify {options.name}. It is used to look up the record and cannot be changed.",
            IscsiadmExitCode.INVAL,
            "Could not execute operation on all records: invalid parameter",
        )
    old = options.name == "node.session.scan" and not call.host.settings.manual_scan
    for record in records:
        try:
            if old:
                raise KeyError(options.name)
            call.host.nodes.update(record, options.name, options.value)
        except KeyError:
            raise Failed(
                f"Cannot modify {options.name}. Invalid param name.",
                IscsiadmExitCode.INVAL,
                "Could not execute operation on all records: invalid parameter",
            ) from None
        except ConfigError:
            raise Failed(
                f"Invalid value {options.value} for {options.name}.",
                IscsiadmExitCode.INVAL,
                "Could not execute operation on all records: invalid parameter",
            ) from None
    return IscsiadmExitCode.SUCCESS


def _print_records(call: Call, options: Options) -> None:
    for record in _records(call, options):
        values = record.values
        if not call.host.settings.manual_scan:
            values = {name: value for name, value in values.items() if name != "node.session.scan"}
        for line in render(values, call.host.settings.open_iscsi_version, secrets=options.show):
            call.output.line(line)


def print_nodes(call: Call, records: list[NodeRecord], level: int) -> None:
    """Flat, or at level 1 as a tree. Raises Failed for another level."""
    if level > 1:
        raise Failed(f"Invalid info level {level}. Try 0 or 1.", IscsiadmExitCode.INVAL)
    if level < 1:
        for record in records:
            portal, tag = format_portal(record.address, record.port), record.portal_group_tag & _ANY_TAG
            call.output.line(f"{portal},{tag} {record.target_name}")
        return
    for line in tree_lines(records):
        call.output.line(line)


def tree_lines(records: list[NodeRecord]) -> list[str]:
    """Targets, their portals, and the interfaces of those."""
    lines: list[str] = []
    target = ""
    for record in records:
        if record.target_name != target:
            target = record.target_name
            lines.append(f"Target: {target}")
        portal = format_portal(record.address, record.port)
        lines.append(f"\tPortal: {portal},{record.portal_group_tag}")
        lines.append(f"\t\tIface Name: {record.interface}")
    return lines
