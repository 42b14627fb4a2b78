"""``iscsiadm -m discovery`` and ``discoverydb``."""

from __future__ import annotations

import asyncio

from iscsim.errors import ConfigError, ConnectionFailed, ISCSIError, LoginFailed
from iscsim.host.commands.iscsiadm.logins import log_in_to
from iscsim.host.commands.iscsiadm.node import tell_iscsid, tree_lines
from iscsim.host.commands.iscsiadm.options import DEFAULT_PORT, Failed, Options
from iscsim.host.node_database import DiscoveryRecord
from iscsim.host.records import EMPTY, NodeRecord, render
from iscsim.host.shell import Call
from iscsim.initiator.discovery import DiscoveredTarget, discover
from iscsim.initiator.exit_codes import IscsiadmExitCode
from iscsim.initiator.initial_login import exit_code_of
from iscsim.initiator.portal import Portal
from iscsim.session.names import format_portal

__all__ = ["discovery_mode", "discoverydb_mode"]

_TYPES = ("sendtargets", "st")
_RETRY_DELAY_S = 1
_UNSAID_TAG = 1
_AUTH = "discovery.sendtargets.auth."


async def discovery_mode(call: Call, options: Options) -> int:
    """Raises Failed."""
    if not options.type and not options.portal:
        return _show(call, options)
    if options.type not in _TYPES:
        raise Failed(f"Invalid discovery type {options.type or '(none)'}", IscsiadmExitCode.INVAL)
    if not options.portal:
        raise Failed("Please specify portal as <ipaddr>:[<ipport>]", IscsiadmExitCode.INVAL)
    return await _discover(call, options, _record(call, options, make=True))


async def discoverydb_mode(call: Call, options: Options) -> int:
    """Raises Failed."""
    if not options.type and not options.portal:
        return _show(call, options)
    if options.operation == "new":
        record = _record(call, options, make=True)
        call.output.line(f"New discovery record for [{record.address},{record.port}] added.")
        if options.discover:
            return await _discover(call, options, record)
        tell_iscsid(call)
        return IscsiadmExitCode.SUCCESS
    record = _record(call, options, make=False)
    if options.operation == "update":
        return _update(call, options, record)
    if options.operation == "delete":
        return _delete(call, record)
    if options.discover:
        return await _discover(call, options, record)
    for line in render(record.values, call.host.settings.open_iscsi_version, secrets=options.show):
        call.output.line(line)
    return IscsiadmExitCode.SUCCESS


def _record(call: Call, options: Options, *, make: bool) -> DiscoveryRecord:
    address, port = options.address
    key = address, DEFAULT_PORT if port is None else port
    if not make and key not in call.host.nodes.discoveries:
        message = f"Discovery record [{key[0]},{key[1]}] not found."
        raise Failed(message, IscsiadmExitCode.IDBM)
    return call.host.nodes.discovery(*key)


def _update(call: Call, options: Options, record: DiscoveryRecord) -> int:
    if options.name not in record.values or options.value is None:
        raise Failed(f"Cannot modify {options.name}. Invalid param name.", IscsiadmExitCode.INVAL)
    record.values[options.name] = options.value or EMPTY
    return IscsiadmExitCode.SUCCESS


def _delete(call: Call, record: DiscoveryRecord) -> int:
    nodes = call.host.nodes
    for node in [node for node in nodes if node.key in record.found]:
        nodes.delete(node)
    del nodes.discoveries[record.address, record.port]
    return IscsiadmExitCode.SUCCESS


def _show(call: Call, options: Options) -> int:
    """What is known: the portals asked, or at level 1 what each has brought."""
    nodes = call.host.nodes
    if options.level < 1:
        if not nodes.discoveries:
            raise Failed("No records found", IscsiadmExitCode.NO_OBJS_FOUND)
        for record in nodes.discoveries.values():
            call.output.line(f"{format_portal(record.address, record.port)} via sendtargets")
        return IscsiadmExitCode.SUCCESS
    call.output.line("SENDTARGETS:")
    found: dict[tuple[str, str, int, str], None] = {}
    for record in nodes.discoveries.values():
        call.output.line(f"DiscoveryAddress: {record.address},{record.port}")
        found |= record.found
        for line in tree_lines([node for node in nodes if node.key in record.found]):
            call.output.line(line)
    if not nodes.discoveries:
        call.output.line("No targets found.")
    static = tree_lines([node for node in nodes if node.key not in found])
    for title, lines in (("iSNS:", []), ("STATIC:", static), ("FIRMWARE:", [])):
        call.output.line(title)
        for line in lines or ["No targets found."]:
            call.output.line(line)
    return IscsiadmExitCode.SUCCESS


# -- SendTargets ---------------------------------------------------------------------------------------


async def _discover(call: Call, options: Options, record: DiscoveryRecord) -> int:
    targets = await _send_targets(call, record)
    found = [_keep(call, record, target, portal) for target in targets for portal in target.portals]
    if not found:
        raise Failed("No portals found", IscsiadmExitCode.NO_OBJS_FOUND)
    for node in found:
        portal = format_portal(node.address, node.port)
        call.output.line(f"{portal},{node.portal_group_tag} {node.target_name}")
    if options.login:
        return await log_in_to(call, found)
    return IscsiadmExitCode.SUCCESS


def _keep(call: Call, record: DiscoveryRecord, target: DiscoveredTarget, portal: Portal) -> NodeRecord:
    """A record for what was found; one that is there keeps its settings."""
    nodes = call.host.nodes
    tag = _UNSAID_TAG if portal.tag is None else portal.tag
    known = nodes.find(target.name, portal.address, portal.port)
    if known:
        node = known[0]
        node.values["node.tpgt"] = str(tag)
    else:
        where = (record.address, record.port)
        node = nodes.new(target.name, portal.address, portal.port, portal_group_tag=tag, discovered_at=where)
    record.found[node.key] = None
    return node


async def _send_targets(call: Call, record: DiscoveryRecord) -> list[DiscoveredTarget]:
    """Raises Failed."""
    host, values = call.host, record.values
    chap = None
    if values[f"{_AUTH}authmethod"] == "CHAP":
        chap = (values[f"{_AUTH}username"], values[f"{_AUTH}password"])
    failed = "Could not perform SendTargets discovery:"
    retries = int(values["discovery.sendtargets.reopen_max"])
    for attempt in range(retries + 1):
        try:
            return await discover(
                (record.address, record.port),
                initiator_name=host.initiator_name,
                chap=chap,
                network=host.network,
                recorder=host.recorder,
                rng=host.rng,
                login_timeout_s=float(values["discovery.sendtargets.timeo.login_timeout"]),
            )
        except ConnectionFailed as error:
            reason = str(error).rpartition(": ")[2]
            call.output.error(f"iscsiadm: cannot make connection to {record.address}: {_words(reason)}")
            if attempt < retries:
                await asyncio.sleep(_RETRY_DELAY_S)
        except LoginFailed as error:
            code = exit_code_of(error)
            raise Failed(f"{failed} {code.words}", code) from None
        except (ISCSIError, ConfigError):
            raise Failed(f"{failed} encountered iSCSI login failure", IscsiadmExitCode.LOGIN) from None
    message = f"connection login retries (reopen_max) {retries} exceeded"
    raise Failed(message, IscsiadmExitCode.PDU_TIMEOUT, f"{failed} iSCSI PDU timed out")


def _words(reason: str) -> str:
    return reason[:1].upper() + reason[1:]
