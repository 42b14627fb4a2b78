"""``iscsim-rtstool``: the verbs of cinder-rtstool, its output and its exit codes, on a running iscsim.

Started for every step of Cinder, so it loads next to nothing: no argument parser, no typer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from iscsim.net.control_client import (
    AlreadyExists,
    ControlClient,
    ControlError,
    NotFound,
    default_socket,
)

__all__ = ["main"]

DEFAULT_FILE = "/etc/target/saveconfig.json"
_USAGE = (
    "create [device] [name] [userid] [password] [iser_enabled]"
    " <initiator_iqn,iqn2,iqn3,...> [-a<IP1,IP2,...>] [-pPORT]",
    "add-initiator [target_iqn] [userid] [password] [initiator_iqn]",
    "delete-initiator [target_iqn] [initiator_iqn]",
    "get-targets",
    "delete [iqn]",
    "verify",
    "save [path_to_file]",
)
_ANYWHERE = ("0.0.0.0", "[::0]")
_TAG = 1


class _Failed(Exception):
    """The tool ends with 1 and this line, which is the last of the traceback the real one ends with."""


class _Usage(Exception):
    """Printed, and 1."""


def main(argv: Sequence[str] | None = None, *, control: str | None = None) -> int:
    """Run ``argv`` (with the program's name first; by default that of the process); returns the exit code.

    ``--control SOCKET`` may come before the verb. ``control`` is the socket of who says none.
    """
    program, *arguments = sys.argv if argv is None else argv
    if arguments[:1] == ["--control"] and len(arguments) > 1:
        control, arguments = arguments[1], arguments[2:]
    tool = _Tool(control or default_socket())
    try:
        _run(tool, arguments)
    except _Usage:
        print("Usage:")
        for line in _USAGE:
            print(f"{program} {line}")
        return 1
    except _Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    except ControlError as error:
        print(f"rtslib_fb.utils.RTSLibError: {error}", file=sys.stderr)
        return 1
    finally:
        tool.close()
    return 0


def _run(tool: _Tool, arguments: Sequence[str]) -> None:
    verb, *rest = arguments or [""]
    if verb not in _VERBS:
        raise _Usage
    run, least, most = _VERBS[verb]
    if not least <= len(rest) <= most:
        raise _Usage
    run(tool, rest)


class _Tool:
    """The connection to the target, made when it is needed."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self._client: ControlClient | None = None

    def client(self, *, hint: bool = True) -> ControlClient:
        """Raises `_Failed` when nobody is there; with ``hint`` after what the real tool prints then."""
        if self._client is None:
            try:
                self._client = ControlClient(self.path or "")
            except OSError as error:
                if hint:
                    print("Ensure that configfs is mounted at /sys/kernel/config.")
                where = self.path or "$ISCSIM_CONTROL or $XDG_RUNTIME_DIR/iscsim/control.sock"
                raise _Failed(
                    f"iscsim-rtstool: no target at {where}: {error.strerror or error}"
                    " (iscsim serve --control SOCKET starts one)"
                ) from None
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _verify(tool: _Tool, rest: list[str]) -> None:
    """All that the verbs need is there."""


def _create(tool: _Tool, rest: list[str]) -> None:
    """A backstore that is there already is taken for the whole target, and nothing is looked at."""
    device, name, user, password, iser = rest[:5]
    initiators, addresses, port = _optional(rest[5:])
    client = tool.client()
    try:
        client.create_backstore(name, plugin="block", path=os.path.abspath(device), write_back=False)
    except AlreadyExists:
        return
    client.create_target(name)
    client.create_tpg(name, _TAG)
    client.set_tpg(name, _TAG, attributes={"authentication": 1})
    lun = client.create_lun(name, _TAG, name)["lun"]
    for initiator in initiators.strip(" ").split(",") if initiators else ():
        client.create_acl(name, _TAG, initiator, user=user, password=password)
        client.create_mapped_lun(name, _TAG, initiator, lun, lun)
    client.enable_tpg(name, _TAG)
    for address in addresses or _ANYWHERE:
        _create_portal(client, name, address, port, may_fail=not addresses and address == _ANYWHERE[1])
        if iser == "True":
            print(
                "Error enabling iSER for NetworkPortal: please ensure that RDMA is supported on your"
                f" iSCSI port {port} on ip {address}."
            )
            raise _Failed("rtslib_fb.utils.RTSLibError: iSER is not supported")


def _create_portal(client: ControlClient, name: str, address: str, port: int, *, may_fail: bool) -> None:
    try:
        client.create_portal(name, _TAG, address, port)
    except AlreadyExists:
        return
    except ControlError:
        kind = "Warning" if may_fail else "Error"
        print(
            f"{kind}: creating NetworkPortal: ensure port {port} on ip {address} is not in use by another"
            " service."
        )
        if not may_fail:
            raise


def _optional(rest: list[str]) -> tuple[str, list[str], int]:
    """Initiators, addresses and port, in any order; of what comes twice the last counts."""
    initiators, addresses, port = "", list[str](), 3260
    for text in rest:
        if text.startswith("-a"):
            addresses = [address for address in text[2:].split(",") if address]
            if not addresses:
                raise _Usage
        elif text.startswith("-p"):
            try:
                port = int(text[2:])
            except ValueError:
                raise _Usage from None
        else:
            initiators = text
    return initiators, addresses, port


def _find(client: ControlClient, target: str) -> int:
    """The tag of the first portal group of a target, whose name has to be in lower case as rtslib has it."""
    try:
        row = client.show_target(target)
    except NotFound:
        row = None
    if row is None or row["name"] != target:
        raise _Failed(f"cinder.cmd.rtstool.RtstoolError: Could not find target {target}")
    if not row["tpgs"]:
        raise _Failed("StopIteration")
    return row["tpgs"][0]["tag"]


def _add_initiator(tool: _Tool, rest: list[str]) -> None:
    """An ACL that is there stays as it is, whatever the credentials."""
    target, user, password, initiator = rest[:4]
    client = tool.client()
    tag = _find(client, target)
    try:
        client.create_acl(target, tag, initiator, user=user, password=password)
    except AlreadyExists:
        return
    client.create_mapped_lun(target, tag, initiator, 0, 0)


def _delete_initiator(tool: _Tool, rest: list[str]) -> None:
    target, initiator = rest[:2]
    client = tool.client()
    tag = _find(client, target)
    try:
        client.delete_acl(target, tag, initiator)
    except NotFound:
        print(f"delete_initiator: {initiator} ACL not found. Continuing.")


def _get_targets(tool: _Tool, rest: list[str]) -> None:
    for name in tool.client(hint=False).list_targets():
        print(name)


def _delete(tool: _Tool, rest: list[str]) -> None:
    """The target of just that name, then the backstore; neither need be there."""
    name = rest[0]
    client = tool.client(hint=False)
    if name == name.lower():
        _unless_missing(lambda: client.delete_target(name))
    _unless_missing(lambda: client.delete_backstore(name))


def _unless_missing(call: Callable[[], None]) -> None:
    try:
        call()
    except NotFound:
        return


def _save(tool: _Tool, rest: list[str]) -> None:
    path = rest[0] if rest and rest[0] else _default_file()
    try:
        tool.client(hint=False).save(path)
    except ControlError as error:
        raise _Failed(
            f"cinder.cmd.rtstool.RtstoolError: Could not save configuration to {path}: {error}"
        ) from None


def _restore(tool: _Tool, rest: list[str]) -> None:
    path = rest[0] if rest and rest[0] else _default_file()
    try:
        tool.client(hint=False).restore(path)
    except ControlError as error:
        raise _Failed(
            f"cinder.cmd.rtstool.RtstoolError: Could not restore configuration file {path}: {error}"
        ) from None


def _default_file() -> str:
    return os.environ.get("ISCSIM_SAVECONFIG") or DEFAULT_FILE


def _shims(tool: _Tool, rest: list[str]) -> None:
    from iscsim.openstack.rtstool.shims import lay

    if len(rest) != 1:  # the usage is the real tool's, which knows no shims
        raise _Failed("iscsim-rtstool: shims takes one argument, the directory to write executables into")
    try:
        for path in lay(rest[0], control=tool.path):
            print(path)
    except OSError as error:
        raise _Failed(f"iscsim-rtstool: {rest[0]}: {error.strerror or error}") from None


_ANY = 1 << 16
# Verb: what it does, and how many arguments it takes. Where the real tool does not count, neither do we.
_VERBS: dict[str, tuple[Callable[[_Tool, list[str]], None], int, int]] = {
    "verify": (_verify, 0, _ANY),
    "create": (_create, 5, 8),
    "add-initiator": (_add_initiator, 4, _ANY),
    "delete-initiator": (_delete_initiator, 2, _ANY),
    "get-targets": (_get_targets, 0, _ANY),
    "delete": (_delete, 1, _ANY),
    "save": (_save, 0, 1),
    "restore": (_restore, 0, 1),
    "shims": (_shims, 0, _ANY),
}


def exit_with_code() -> NoReturn:
    """The entry point of ``iscsim-rtstool``."""
    sys.exit(main())
