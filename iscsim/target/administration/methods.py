"""The table of what may be asked over the control socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from iscsim.target.administration.parameters import Flag, Number, Object, Parameter, Text

__all__ = ["METHODS", "Method"]


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its name, what it does in a line, its parameters.

    ``changes`` says that it changes what there is: such methods run one after the other.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...] = ()
    changes: bool = False


_STATES = ("active/optimized", "active/non-optimized", "standby", "unavailable", "offline", "transitioning")
_MAX_LUN = 16383
_TARGET = Text("target", "name of the target", longest=223)
_ANY_TARGET = Text("target", "name of the target; all, without it", None, longest=223)
_TAG = Number("tag", "tag of the portal group", least=1, most=65535)
_TAG_OR_1 = Number("tag", "tag of the portal group", 1, least=1, most=65535)
_NEW_TAG = Number("tag", "its tag; the lowest free one, without it", None, least=1, most=65535)
_INITIATOR = Text("initiator", "name of the initiator", longest=223)
_LUN = Number("lun", "LUN of the portal group", most=_MAX_LUN)
_OWN_LUN = Number("lun", "LUN, as the initiator sees it", most=_MAX_LUN)
_ALIAS = Text("alias", "a name for it; a random one, without it", None, may_be_empty=True)
_ATTRIBUTES = Object("attributes", "attributes by name, as LIO has them", None)
_PORTAL = (
    Text("address", "IPv4 or IPv6 address"),
    Number("port", "TCP port; 0 takes a free one", 3260, most=65535),
)
_BACKSTORE = Text("backstore", "name of the backstore")
_TSIH = Number("tsih", "the session's handle (TSIH)", most=65535)
_TIME_S = Number("time_s", "seconds it has to log out; 0 drops it at once", 5, most=65535)
_PATH = Text("path", "absolute path of the file", longest=4096)


def _chap(default: str | None) -> tuple[Parameter, ...]:
    return tuple(
        Text(name, summary, default, may_be_empty=True, secret="password" in name)
        for name, summary in (
            ("user", "CHAP name of the initiator; none, no CHAP"),
            ("password", "its CHAP secret"),
            ("mutual_user", "CHAP name of the target"),
            ("mutual_password", "its CHAP secret"),
        )
    )


def _changes(name: str, summary: str, *parameters: Parameter) -> Method:
    return Method(name, summary, parameters, changes=True)


_ALL = (
    _changes(
        "target.create",
        "A target without any portal group.",
        _TARGET,
        Text("alias", "what logins call it", "", may_be_empty=True),
    ),
    _changes("target.delete", "A target with all it has; its sessions end. Backstores stay.", _TARGET),
    Method("target.list", "The names of all targets."),
    Method("target.show", "One target with all it has, but for secrets.", (_TARGET,)),
    _changes("tpg.create", "A portal group, disabled.", _TARGET, _NEW_TAG),
    _changes(
        "tpg.delete", "A portal group with its LUNs, ACLs and portals; its sessions end.", _TARGET, _TAG
    ),
    _changes("tpg.enable", "Let logins come.", _TARGET, _TAG_OR_1),
    _changes("tpg.disable", "Refuse logins with 0301; sessions end.", _TARGET, _TAG_OR_1),
    _changes(
        "tpg.set",
        "Change attributes, parameters, or the CHAP of those who need no ACL; the rest stays.",
        _TARGET,
        _TAG_OR_1,
        _ATTRIBUTES,
        Object("parameters", "negotiation parameters by name, kept for LIO's file", None),
        *_chap(None),
    ),
    _changes("portal.create", "Listen on one more portal.", _TARGET, _TAG, *_PORTAL),
    _changes(
        "portal.delete", "Take a portal away; sessions that came in there stay.", _TARGET, _TAG, *_PORTAL
    ),
    _changes(
        "backstore.create",
        "Blocks with an identity, for LUNs to show.",
        Text("name", "its name"),
        Text("plugin", "what it is", "ramdisk", choices=("ramdisk", "fileio", "block")),
        Text("path", "file or device of fileio and block", None, longest=4096),
        Number("size", "bytes: of a ramdisk, or of a file that is to be made", None, least=512),
        Number("block_size", "bytes of a block, 512 or 4096", 512, least=512, most=4096),
        Text("serial", "unit serial number; a random UUID, without it", None, longest=200),
        Text("wwn", "NAA-6 name, 32 hexadecimal digits; made of the serial, without it", None, longest=40),
        Flag("read_only", "nobody may write", False),
        Flag("write_back", "it has a write cache", True),
        Flag("thin", "it can unmap", False),
        _ATTRIBUTES,
    ),
    _changes("backstore.delete", "With the LUNs that show it; a file stays.", Text("name", "its name")),
    Method("backstore.list", "Every backstore."),
    _changes(
        "lun.create",
        "A LUN of the portal group.",
        _TARGET,
        _TAG,
        _BACKSTORE,
        Number("lun", "its number; the lowest free one, without it", None, most=_MAX_LUN),
        _ALIAS,
    ),
    _changes("lun.delete", "With the mapped LUNs that show it (3F/0E, then 25/00).", _TARGET, _TAG, _LUN),
    _changes(
        "lun.resize",
        "Another size; who sees it hears 2A/09.",
        _TARGET,
        _TAG,
        _LUN,
        Number("size", "bytes", least=512),
    ),
    _changes(
        "lun.swap",
        "Another backstore under the same number (3F/03 there, and 3F/0E).",
        _TARGET,
        _TAG,
        _LUN,
        _BACKSTORE,
    ),
    _changes(
        "acl.create",
        "Let an initiator log in.",
        _TARGET,
        _TAG,
        _INITIATOR,
        *_chap(""),
        _ATTRIBUTES,
        Flag("map_luns", "map every LUN of the portal group under its number", False),
    ),
    _changes("acl.delete", "Its sessions end, those of others stay.", _TARGET, _TAG, _INITIATOR),
    Method("acl.list", "The ACLs of a portal group; secrets are not shown.", (_TARGET, _TAG_OR_1)),
    _changes("acl.set_chap", "CHAP from the next login on.", _TARGET, _TAG, _INITIATOR, *_chap("")),
    _changes(
        "mapped_lun.create",
        "Show an initiator a LUN of the portal group (3F/0E).",
        _TARGET,
        _TAG,
        _INITIATOR,
        _OWN_LUN,
        Number("tpg_lun", "LUN of the portal group", most=_MAX_LUN),
        Flag("write_protect", "the initiator may only read", False),
        _ALIAS,
    ),
    _changes(
        "mapped_lun.delete",
        "Do not show it any more (25/00, and 3F/0E on what is left).",
        _TARGET,
        _TAG,
        _INITIATOR,
        _OWN_LUN,
    ),
    Method("session.list", "Sessions, those that discover among them.", (_ANY_TARGET,)),
    Method(
        "session.kick",
        "Ask for a logout, then drop the session.",
        (_TSIH, _TIME_S, Flag("wait", "answer once it is gone", True)),
    ),
    Method(
        "session.send_async",
        "Send an Asynchronous Message on a session, and do nothing else.",
        (
            _TSIH,
            Number("event", "AsyncEvent", most=255),
            Text("lun", "8 bytes, hexadecimal", "00" * 8, longest=16),
            Text("sense", "sense data, hexadecimal", "", longest=1024, may_be_empty=True),
            Text("data", "more data, hexadecimal", "", longest=65536, may_be_empty=True),
            Number("vendor_code", "AsyncVCode", 0, most=255),
            *(Number(f"parameter_{each}", f"Parameter{each}", 0, most=65535) for each in (1, 2, 3)),
        ),
    ),
    _changes(
        "alua.set",
        "How a LUN, or all, may be used through a portal group (2A/06).",
        _TARGET,
        _TAG,
        Text("state", "asymmetric access state", choices=_STATES),
        Number("lun", "LUN of the portal group; all, without it", None, most=_MAX_LUN),
    ),
    _changes(
        "personality.set",
        "Whose habits logins meet from now on.",
        Text("personality", "its name"),
        _ANY_TARGET,
    ),
    Method("describe", "Everything there is, but for secrets."),
    Method("counters", "Numbers since it began to serve."),
    Method("save", "Write LIO's saveconfig.json; the answer comes once it is on the disk.", (_PATH,)),
    _changes("restore", "Put what such a file says in the place of all there is.", _PATH),
    Method("stop", "End the serving."),
)
METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _ALL})
"""By name; ``fault.*`` are those of `iscsim.lab.serve_faults`."""
