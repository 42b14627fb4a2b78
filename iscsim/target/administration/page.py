"""The table of methods as a page of the documentation: docs/reference/control-socket.md."""

from __future__ import annotations

from iscsim.target.administration.methods import METHODS, Method
from iscsim.target.administration.parameters import REQUIRED, Parameter

__all__ = ["methods_page"]

_HEAD = """\
# The control socket

What `iscsim serve --control SOCKET` answers: [JSON-RPC 2.0](https://www.jsonrpc.org/specification) over a
UNIX socket of mode 0600, one object a line. `iscsim target`, `iscsim fault` and `iscsim top` use it, and so
does `iscsim.net.control_client.ControlClient` ([how](../howto/administer-a-running-target.md)).

    {"jsonrpc": "2.0", "id": 1, "method": "target.list"}
    {"jsonrpc": "2.0", "id": 1, "result": ["iqn.2026-11.org.iscsim:disk"]}

Parameters are named. What a method answers is in `iscsim/net/control_types.py`; one that answers nothing
answers `true`. Passwords are never shown. Changes run one after the other; one that fails changes nothing.
There are limits: 1 MiB for a request, 64 conversations (one more takes the place of who has been silent for
10 s, or is sent away), and what is not JSON ends the conversation with an error. Batches are not known.

| code | means |
|---|---|
| -32700, -32600 | not JSON; no request |
| -32601 | no such method; the message has the nearest one |
| -32602 | a parameter is unknown, missing, of the wrong type or out of range, or does not go with others |
| -32603 | an error of iscsim's own, which its log shows |
| -32000 | it did not work: an address in use, a full disk |
| -32001 | there is no target, portal group, LUN, ACL... of that name |
| -32002 | there is one already |
| -32003 | something else needs it, or all places are taken |
| -32004 | too many conversations |

The table is made of the one that requests are checked against.

"""
_FAULTS = """\
| `fault.add` | Arm a fault. | `fault`: an object, as a `[[fault]]` table of a scenario |
| `fault.list` | Every fault that is armed. | |
| `fault.remove` | Disarm one. | `id` |
| `fault.reset` | Disarm all. | |
"""


_METHODS = "| method | does | parameters; those in brackets may be left out |\n|---|---|---|\n"
_PARAMETERS = "\n## Parameters\n\n| parameter | is | may be | otherwise |\n|---|---|---|---|\n"


def methods_page() -> str:
    """The whole page."""
    methods = "".join(f"{_row(method)}\n" for method in METHODS.values())
    found = {(each.name, each.summary): each for method in METHODS.values() for each in method.parameters}
    parameters = "".join(f"{_explained(found[key])}\n" for key in sorted(found))
    return f"{_HEAD}{_METHODS}{methods}{_FAULTS}{_PARAMETERS}{parameters}"


def _row(method: Method) -> str:
    names = ", ".join(
        f"`{each.name}`" if each.default is REQUIRED else f"[`{each.name}`]" for each in method.parameters
    )
    return f"| `{method.name}` | {method.summary} | {names}{' ' if names else ''}|"


def _explained(parameter: Parameter) -> str:
    default = "" if parameter.default in (REQUIRED, None, "") else f"{_shown(parameter.default)} "
    return f"| `{parameter.name}` | {parameter.summary} | {parameter.limits} | {default}|"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
