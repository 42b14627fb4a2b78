"""The control socket of a running target, from the other side: a method for every method it has.

A process that only asks something must not load what serves it: this module needs ``socket`` and ``json``.
"""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from iscsim.net.control_types import (
        ACLRow,
        BackstoreRow,
        Counters,
        LUNRow,
        MappedLUNRow,
        Model,
        PortalRow,
        SessionRow,
        TargetRow,
        TPGRow,
    )

__all__ = [
    "AlreadyExists",
    "ControlClient",
    "ControlError",
    "InUse",
    "InvalidParameters",
    "NotFound",
    "default_socket",
]

_MAX_ANSWER_LENGTH = 256 << 20


class ControlError(Exception):
    """The target answered with an error: one line, as a user should see it; ``code`` is JSON-RPC's."""

    code = -32000

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class NotFound(ControlError):
    """There is no target, portal group, LUN, ACL... of that name."""

    code = -32001


class AlreadyExists(ControlError):
    """There is one of that name already."""

    code = -32002


class InUse(ControlError):
    """It cannot go, as something else needs it; or all places are taken."""

    code = -32003


class InvalidParameters(ControlError):
    """A parameter is unknown, missing, of the wrong type or out of range. Nothing has changed."""

    code = -32602


_ERRORS = {error.code: error for error in (NotFound, AlreadyExists, InUse, InvalidParameters)}


def default_socket() -> str:
    """``$ISCSIM_CONTROL``, else where ``iscsim serve --control auto`` listens.

    That is ``control.sock`` in ``$ISCSIM_RUNTIME_DIR``, else ``$XDG_RUNTIME_DIR/iscsim``, else
    ``/tmp/iscsim-UID``.
    """
    environment = os.environ
    if named := environment.get("ISCSIM_CONTROL"):
        return named
    directory = environment.get("ISCSIM_RUNTIME_DIR")
    if not directory and (base := environment.get("XDG_RUNTIME_DIR")):
        directory = f"{base}/iscsim"
    return f"{directory or f'{_temporary_directory()}/iscsim-{os.getuid()}'}/control.sock"


def _temporary_directory() -> str:
    return os.environ.get("TMPDIR", "/tmp")


class ControlClient:
    """Asks a running target over its control socket, one question at a time; used with ``with``.

    ``path`` is the socket of ``iscsim serve --control``. Every method returns what the target answers, and
    raises `ControlError` (`NotFound`, `AlreadyExists`, `InUse`, `InvalidParameters` or itself) when that is
    an error: then nothing has changed. OSError says that nobody is there, or not any more.

    Names of targets and initiators are folded to lower case. ``tag`` is the tag of a portal group, ``lun`` a
    number of 0 to 16383, ``tpg_lun`` a LUN of the portal group, sizes are bytes.
    """

    def __init__(self, path: str | Path, *, timeout_s: float = 60.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._next_id = 0
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(os.fspath(path))
        except BaseException:
            self._socket.close()
            raise
        self._stream = self._socket.makefile("rb")

    def close(self) -> None:
        """End the conversation."""
        self._stream.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: str, /, **params: Any) -> Any:
        """Call a method by its name; parameters that are None are left out."""
        self._next_id += 1
        given = {name: value for name, value in params.items() if value is not None}
        request = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": given}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        line = self._stream.readline(_MAX_ANSWER_LENGTH)
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the target ended the conversation")
        answer = json.loads(line)
        if "error" in answer:
            code, message = answer["error"]["code"], answer["error"]["message"]
            raise _ERRORS.get(code, ControlError)(message, code)
        return answer["result"]

    # -- targets and portal groups -----------------------------------------------------------------

    def create_target(self, target: str, *, alias: str = "") -> TargetRow:
        """``target.create``: a target without any portal group: nobody can log in yet."""
        return cast("TargetRow", self.call("target.create", target=target, alias=alias))

    def delete_target(self, target: str) -> None:
        """``target.delete``: with its portal groups, LUNs, ACLs; its sessions end. Backstores stay."""
        self.call("target.delete", target=target)

    def list_targets(self) -> list[str]:
        """``target.list``: their names, in the order in which they were made."""
        return cast("list[str]", self.call("target.list"))

    def show_target(self, target: str) -> TargetRow:
        """``target.show``: one target with all it has; without secrets."""
        return cast("TargetRow", self.call("target.show", target=target))

    def create_tpg(self, target: str, tag: int | None = None) -> TPGRow:
        """``tpg.create``: a portal group, disabled; without a tag the lowest free one.

        Its attributes are LIO's: ``authentication`` 1, ``generate_node_acls`` 0 (without an ACL nobody logs
        in), ``demo_mode_write_protect`` 1.
        """
        return cast("TPGRow", self.call("tpg.create", target=target, tag=tag))

    def delete_tpg(self, target: str, tag: int) -> None:
        """``tpg.delete``: with its LUNs, ACLs and portals; its sessions end."""
        self.call("tpg.delete", target=target, tag=tag)

    def enable_tpg(self, target: str, tag: int = 1) -> None:
        """``tpg.enable``: logins may come."""
        self.call("tpg.enable", target=target, tag=tag)

    def disable_tpg(self, target: str, tag: int = 1) -> None:
        """``tpg.disable``: no more logins (0301); its sessions end."""
        self.call("tpg.disable", target=target, tag=tag)

    def set_tpg(
        self,
        target: str,
        tag: int = 1,
        *,
        attributes: dict[str, Any] | None = None,
        parameters: dict[str, Any] | None = None,
        user: str | None = None,
        password: str | None = None,
        mutual_user: str | None = None,
        mutual_password: str | None = None,
    ) -> TPGRow:
        """``tpg.set``: attributes (``authentication``, ``generate_node_acls``, ``demo_mode_write_protect``,
        others are kept as they are), parameters, and the CHAP of those who need no ACL. What is left out
        stays; ``user=""`` takes CHAP away.
        """
        return cast(
            "TPGRow",
            self.call(
                "tpg.set",
                target=target,
                tag=tag,
                attributes=attributes,
                parameters=parameters,
                user=user,
                password=password,
                mutual_user=mutual_user,
                mutual_password=mutual_password,
            ),
        )

    def create_portal(self, target: str, tag: int, address: str, port: int = 3260) -> PortalRow:
        """``portal.create``: listen there, unless another target does already; port 0 takes a free one.

        ``address`` is an IPv4 or IPv6 address (without or with brackets). `ControlError` when it cannot be
        listened on.
        """
        answer = self.call("portal.create", target=target, tag=tag, address=address, port=port)
        return cast("PortalRow", answer)

    def delete_portal(self, target: str, tag: int, address: str, port: int = 3260) -> None:
        """``portal.delete``: once no target uses it nobody listens there; sessions that came in stay."""
        self.call("portal.delete", target=target, tag=tag, address=address, port=port)

    # -- backstores and LUNs -----------------------------------------------------------------------

    def create_backstore(
        self,
        name: str,
        *,
        plugin: str = "ramdisk",
        path: str | None = None,
        size: int | None = None,
        block_size: int = 512,
        serial: str | None = None,
        wwn: str | None = None,
        read_only: bool = False,
        write_back: bool = True,
        thin: bool = False,
        attributes: dict[str, Any] | None = None,
    ) -> BackstoreRow:
        """``backstore.create``: blocks with an identity, for LUNs to show.

        ``plugin`` is ``ramdisk`` (needs ``size``), ``fileio`` (needs ``path``; with ``size`` a missing file
        is made) or ``block`` (needs ``path`` of something that is there). Without ``serial`` it gets a random
        UUID, without ``wwn`` one made of the serial as the personality does.
        """
        answer = self.call(
            "backstore.create",
            name=name,
            plugin=plugin,
            path=path,
            size=size,
            block_size=block_size,
            serial=serial,
            wwn=wwn,
            read_only=read_only,
            write_back=write_back,
            thin=thin,
            attributes=attributes,
        )
        return cast("BackstoreRow", answer)

    def delete_backstore(self, name: str) -> None:
        """``backstore.delete``: the LUNs that show it go first, as in rtslib; a file stays."""
        self.call("backstore.delete", name=name)

    def list_backstores(self) -> list[BackstoreRow]:
        """``backstore.list``."""
        return cast("list[BackstoreRow]", self.call("backstore.list"))

    def create_lun(
        self, target: str, tag: int, backstore: str, *, lun: int | None = None, alias: str | None = None
    ) -> LUNRow:
        """``lun.create``: a LUN of the portal group, by default the lowest free one.

        An initiator with an ACL sees it once it is mapped there; those in demo mode see it at once (3F/0E).
        """
        answer = self.call("lun.create", target=target, tag=tag, backstore=backstore, lun=lun, alias=alias)
        return cast("LUNRow", answer)

    def delete_lun(self, target: str, tag: int, lun: int) -> None:
        """``lun.delete``: with the mapped LUNs that show it; those who saw others hear 3F/0E."""
        self.call("lun.delete", target=target, tag=tag, lun=lun)

    def resize_lun(self, target: str, tag: int, lun: int, size: int) -> BackstoreRow:
        """``lun.resize``: to ``size`` bytes; everybody who sees it hears 2A/09."""
        return cast("BackstoreRow", self.call("lun.resize", target=target, tag=tag, lun=lun, size=size))

    def swap_lun(self, target: str, tag: int, lun: int, backstore: str) -> LUNRow:
        """``lun.swap``: another backstore under the same number, in mapped LUNs too; they hear 3F/0E."""
        answer = self.call("lun.swap", target=target, tag=tag, lun=lun, backstore=backstore)
        return cast("LUNRow", answer)

    # -- ACLs --------------------------------------------------------------------------------------

    def create_acl(
        self,
        target: str,
        tag: int,
        initiator: str,
        *,
        user: str = "",
        password: str = "",
        mutual_user: str = "",
        mutual_password: str = "",
        attributes: dict[str, Any] | None = None,
        map_luns: bool = False,
    ) -> ACLRow:
        """``acl.create``: an initiator may log in, with that CHAP; it sees what is mapped for it.

        With ``map_luns`` every LUN of the portal group is mapped under its own number. Raises `AlreadyExists`
        when there is one in whatever case.
        """
        answer = self.call(
            "acl.create",
            target=target,
            tag=tag,
            initiator=initiator,
            user=user,
            password=password,
            mutual_user=mutual_user,
            mutual_password=mutual_password,
            attributes=attributes,
            map_luns=map_luns,
        )
        return cast("ACLRow", answer)

    def delete_acl(self, target: str, tag: int, initiator: str) -> None:
        """``acl.delete``: that initiator's sessions end; those of others stay."""
        self.call("acl.delete", target=target, tag=tag, initiator=initiator)

    def list_acls(self, target: str, tag: int = 1) -> list[ACLRow]:
        """``acl.list``: passwords are not shown."""
        return cast("list[ACLRow]", self.call("acl.list", target=target, tag=tag))

    def set_chap(
        self,
        target: str,
        tag: int,
        initiator: str,
        *,
        user: str = "",
        password: str = "",
        mutual_user: str = "",
        mutual_password: str = "",
    ) -> ACLRow:
        """``acl.set_chap``: from the next login on; without a user there is no CHAP."""
        answer = self.call(
            "acl.set_chap",
            target=target,
            tag=tag,
            initiator=initiator,
            user=user,
            password=password,
            mutual_user=mutual_user,
            mutual_password=mutual_password,
        )
        return cast("ACLRow", answer)

    def create_mapped_lun(
        self,
        target: str,
        tag: int,
        initiator: str,
        lun: int,
        tpg_lun: int,
        *,
        write_protect: bool = False,
        alias: str | None = None,
    ) -> MappedLUNRow:
        """``mapped_lun.create``: the initiator sees the portal group's ``tpg_lun`` as ``lun`` (3F/0E)."""
        answer = self.call(
            "mapped_lun.create",
            target=target,
            tag=tag,
            initiator=initiator,
            lun=lun,
            tpg_lun=tpg_lun,
            write_protect=write_protect,
            alias=alias,
        )
        return cast("MappedLUNRow", answer)

    def delete_mapped_lun(self, target: str, tag: int, initiator: str, lun: int) -> None:
        """``mapped_lun.delete``: the initiator sees it no more (25/00), and hears 3F/0E on what it keeps."""
        self.call("mapped_lun.delete", target=target, tag=tag, initiator=initiator, lun=lun)

    # -- sessions, states, personalities -----------------------------------------------------------

    def list_sessions(self, target: str | None = None) -> list[SessionRow]:
        """``session.list``: of one target, or all, those that discover among them."""
        return cast("list[SessionRow]", self.call("session.list", target=target))

    def kick_session(self, tsih: int, *, time_s: int = 5, wait: bool = True) -> SessionRow:
        """``session.kick``: it may log out within that time, then it is dropped; 0 drops it at once."""
        return cast("SessionRow", self.call("session.kick", tsih=tsih, time_s=time_s, wait=wait))

    def send_async(
        self,
        tsih: int,
        event: int,
        *,
        lun: str = "00" * 8,
        sense: str = "",
        data: str = "",
        vendor_code: int = 0,
        parameter_1: int = 0,
        parameter_2: int = 0,
        parameter_3: int = 0,
    ) -> None:
        """``session.send_async``: an Asynchronous Message; ``lun``, ``sense``, ``data`` are hexadecimal."""
        self.call(
            "session.send_async",
            tsih=tsih,
            event=event,
            lun=lun,
            sense=sense,
            data=data,
            vendor_code=vendor_code,
            parameter_1=parameter_1,
            parameter_2=parameter_2,
            parameter_3=parameter_3,
        )

    def set_alua(self, target: str, tag: int, state: str, *, lun: int | None = None) -> list[LUNRow]:
        """``alua.set``: how a LUN, or all, may be used through a portal group; 2A/06.

        ``state`` is active/optimized, active/non-optimized, standby, unavailable, offline or transitioning.
        """
        answer = self.call("alua.set", target=target, tag=tag, state=state, lun=lun)
        return cast("list[LUNRow]", answer)

    def set_personality(self, personality: str, *, target: str | None = None) -> None:
        """``personality.set``: for logins from now on, of one target or all."""
        self.call("personality.set", personality=personality, target=target)

    # -- all of it ---------------------------------------------------------------------------------

    def describe(self) -> Model:
        """``describe``: everything there is, without secrets."""
        return cast("Model", self.call("describe"))

    def counters(self) -> Counters:
        """``counters``: numbers since it began to serve."""
        return cast("Counters", self.call("counters"))

    def save(self, path: str | Path) -> None:
        """``save``: LIO's saveconfig.json; it is on the disk once this returns."""
        self.call("save", path=os.path.abspath(os.fspath(path)))

    def restore(self, path: str | Path) -> None:
        """``restore``: what such a file says, in the place of all there is; a bad file changes nothing."""
        self.call("restore", path=os.path.abspath(os.fspath(path)))

    # -- faults ------------------------------------------------------------------------------------

    def add_fault(self, fault: dict[str, Any]) -> dict[str, Any]:
        """``fault.add``: arm what a ``[[fault]]`` table says; returns it."""
        return cast("dict[str, Any]", self.call("fault.add", fault=fault))

    def list_faults(self) -> list[dict[str, Any]]:
        """``fault.list``."""
        return cast("list[dict[str, Any]]", self.call("fault.list"))

    def remove_fault(self, id: str) -> None:
        """``fault.remove``."""
        self.call("fault.remove", id=id)

    def reset_faults(self) -> None:
        """``fault.reset``."""
        self.call("fault.reset")

    def stop(self) -> None:
        """``stop``: end the serving."""
        self.call("stop")
