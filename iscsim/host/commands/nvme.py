"""nvme: its version and the names of the host; there are no NVMe disks."""

from __future__ import annotations

import uuid

from iscsim.host.shell import Call, command

_VERSION = ("nvme version 2.3 (git 2.3)", "libnvme version 1.3 (git 1.3)")
_HOST_NQN = "/etc/nvme/hostnqn"


@command("nvme")
async def nvme(call: Call) -> int:
    """``version``, ``gen-hostnqn``, ``show-hostnqn`` and ``list``."""
    verb = call.arguments[0] if call.arguments else "help"
    if verb in ("version", "--version"):
        for line in _VERSION:
            call.output.line(line)
    elif verb == "gen-hostnqn":
        call.output.line(_made(call))
    elif verb == "show-hostnqn":
        kept = call.host.files.get(_HOST_NQN, b"").decode(errors="replace").strip()
        call.output.line(kept or _made(call))
    elif verb != "list":
        call.output.error(f"ERROR: Invalid sub-command '{verb}'")
        return 1
    return 0


def _made(call: Call) -> str:
    """The name made of the machine's identity, which is the same each time."""
    return f"nqn.2014-08.org.nvmexpress:uuid:{uuid.uuid5(uuid.NAMESPACE_DNS, call.host.name)}"
