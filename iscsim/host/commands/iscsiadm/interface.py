"""``iscsiadm -m iface``: there is the default interface, and the one of iSER that nobody uses."""

from __future__ import annotations

from iscsim.host.commands.iscsiadm.options import Failed, Options
from iscsim.host.records import EMPTY, IFACE, render
from iscsim.host.shell import Call
from iscsim.initiator.exit_codes import IscsiadmExitCode

__all__ = ["interface_mode"]

_INTERFACES = {"default": "tcp", "iser": "iser"}


async def interface_mode(call: Call, options: Options) -> int:
    """Raises Failed."""
    if options.operation not in ("", "show"):
        message = f"Can not modify iface {options.interface or 'default'}. It is a special iface."
        raise Failed(message, IscsiadmExitCode.INVAL)
    if not options.interface:
        for name, transport in _INTERFACES.items():
            call.output.line(f"{name} {transport},{','.join([EMPTY] * 4)}")
        return IscsiadmExitCode.SUCCESS
    if options.interface not in _INTERFACES:
        path = f"/etc/iscsi/ifaces/{options.interface}"
        message = f"Failed to open {path} using read mode: 2 No such file or directory"
        where = "# idbm.c:_idbm_recs_read():834"
        raise Failed(f"{message} {where}", IscsiadmExitCode.IDBM, prefix="iSCSI ERROR: ")
    names = {
        "iface.iscsi_ifacename": options.interface,
        "iface.transport_name": _INTERFACES[options.interface],
    }
    for line in render(dict(IFACE) | names, call.host.settings.open_iscsi_version):
        call.output.line(line)
    return IscsiadmExitCode.SUCCESS
