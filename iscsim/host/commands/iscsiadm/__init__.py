"""iscsiadm: nodes, sessions, discovery and interfaces, with open-iscsi's words and exit codes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from iscsim.host.commands.iscsiadm.discovery import discovery_mode, discoverydb_mode
from iscsim.host.commands.iscsiadm.interface import interface_mode
from iscsim.host.commands.iscsiadm.node import node_mode
from iscsim.host.commands.iscsiadm.options import Failed, Options, parse
from iscsim.host.commands.iscsiadm.session import session_mode
from iscsim.host.shell import Call, command
from iscsim.initiator.exit_codes import IscsiadmExitCode

_MODES: dict[str, Callable[[Call, Options], Awaitable[int]]] = {
    "node": node_mode,
    "session": session_mode,
    "discovery": discovery_mode,
    "discoverydb": discoverydb_mode,
    "iface": interface_mode,
}
_USAGE = """\
iscsiadm -m discoverydb -t TYPE -p IP:PORT -I IFACE [-o OPERATION] [-n NAME] [-v VALUE] [--discover]
iscsiadm -m discovery -t TYPE -p IP:PORT -I IFACE [-P PRINTLEVEL] [-l]
iscsiadm -m node [-P PRINTLEVEL] [-L MODE] [-U MODE] [-S] [[-T TARGET -p IP:PORT -I IFACE]
                 [-l | -u | -R]] [[-o OPERATION] [-n NAME] [-v VALUE]]
iscsiadm -m session [-P PRINTLEVEL] [-r SID [-R | -u]]
iscsiadm -m iface [-I IFACE]
"""


@command("iscsiadm")
async def iscsiadm(call: Call) -> int:
    """Administer the host's iSCSI."""
    try:
        options = parse(call.arguments)
        if options.version:
            call.output.line(f"iscsiadm version {call.host.settings.open_iscsi_version}")
            return IscsiadmExitCode.SUCCESS
        if options.help:
            call.output.text(_USAGE)
            return IscsiadmExitCode.SUCCESS
        if options.mode not in _MODES:
            raise Failed("mode -1 is not yet supported", IscsiadmExitCode.INVAL)
        return await _MODES[options.mode](call, options)
    except Failed as failure:
        for line in failure.lines:
            call.output.error(line)
        return failure.exit_code
