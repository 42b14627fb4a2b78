"""The moments at which a fault may fire, and what is known then."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from iscsim.scsi.device_server import COMMANDS
from iscsim.scsi.lun import InvalidLUN, decode_lun
from iscsim.scsi.opcode import cdb_name

__all__ = ["FIELDS", "SCOPES", "Hook", "Occasion"]


class Hook(Enum):
    """Where in the flow faults are asked for."""

    RESOLVE = "net.resolve"
    """A host asks for the addresses of a name."""
    CONNECT = "net.connect"
    """A SYN goes out."""
    ACCEPT = "tcp.accept"
    SEGMENT = "tcp.segment"
    """Bytes of a connection go over the wire."""
    DATAGRAM = "udp.datagram"
    RECEIVE = "pdu.rx"
    """A target has received a PDU."""
    SEND = "pdu.tx"
    """A target is about to send one."""
    START = "cmd.start"
    """A SCSI command is about to be executed."""
    FINISH = "cmd.finish"
    """It was executed, and is about to be answered."""
    STORE = "disk"
    """A logical unit reads or writes its blocks."""
    TIMER = "timer"
    """A time has come: for what happens to a target or a network by itself."""


_ADDRESSED = ("portal", "initiator_address", "host", "src", "dst", "port")
_NAMED = ("portal", "initiator_address", "host", "initiator", "target")
FIELDS: dict[Hook, tuple[str, ...]] = {
    Hook.RESOLVE: ("host",),
    Hook.CONNECT: _ADDRESSED,
    Hook.ACCEPT: _ADDRESSED,
    Hook.SEGMENT: (*_ADDRESSED, "direction"),
    Hook.DATAGRAM: _ADDRESSED,
    Hook.RECEIVE: (*_NAMED, "opcode", "stage", "lun", "command"),
    Hook.SEND: (*_NAMED, "opcode", "stage", "lun", "command"),
    Hook.START: ("portal", "initiator", "target", "lun", "command", "unit"),
    Hook.FINISH: ("portal", "initiator", "target", "lun", "command", "unit"),
    Hook.STORE: ("unit", "operation"),
    Hook.TIMER: (),
}
"""What a rule can match at each hook; a match on anything else can never be true."""

SCOPES = ("connection", "session", "target", "host", "global")


@dataclass(slots=True, kw_only=True)
class Occasion:
    """One moment. Texts are empty where nothing is known: before a login there is no initiator name.

    ``portal`` and ``initiator_address`` are ``"10.0.0.1:3260"``, ``opcode`` the class name of a PDU
    (``"LoginRequest"``), ``command`` SCSI's name (``"READ (10)"``), ``direction`` ``"to_target"`` or
    ``"to_initiator"``, ``unit`` the WWN of a logical unit, ``operation`` a verb of the store. ``src`` is who
    connected (or sent the datagram) and ``dst`` the other side, whatever way the bytes go; ``port`` is the
    latter's. ``lun`` may be given as its 8 bytes: `lun_field` keeps them, and it becomes their number.
    ``length`` counts the bytes at hand, ``subject`` is the PDU, the completion or what else it is about,
    ``seam`` the tap or other thing that asks.
    """

    hook: Hook
    now: float
    portal: str = ""
    initiator_address: str = ""
    host: str = ""
    initiator: str = ""
    target: str = ""
    opcode: str = ""
    stage: str = ""
    direction: str = ""
    lun: int | bytes | None = None
    lun_field: bytes = b""
    cdb: bytes = b""
    unit: str = ""
    operation: str = ""
    src: str = ""
    dst: str = ""
    port: int | None = None
    name: str = ""
    peer_host: str = ""
    connection: int = 0
    length: int = 0
    lba: int | None = None
    blocks: int = 0
    subject: Any = field(default=None, repr=False)
    seam: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.lun, bytes):
            self.lun_field = self.lun
            self.lun = _number_of(self.lun)
        if self.cdb and self.lba is None:
            self.lba, self.blocks = _block_range(self.cdb)

    @property
    def command(self) -> str:
        """SCSI's name of the command, or nothing."""
        return cdb_name(self.cdb) if self.cdb else ""

    def scope_key(self, scope: str) -> str:
        """What a rule of ``scope`` counts apart."""
        match scope:
            case "connection":
                return str(self.connection)
            case "session":
                return f"{self.initiator} {self.target} {self.portal}"
            case "target":
                return self.target or self.portal
            case "host":
                return self.host or self.initiator
        return ""

    def describe(self) -> dict[str, Any]:
        """What the trace shows: everything that is known."""
        names = dict.fromkeys((*(each for fields in FIELDS.values() for each in fields), "name"))
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value not in ("", None)}


def _number_of(lun: bytes) -> int | None:
    try:
        return decode_lun(lun)
    except InvalidLUN:
        return None


def _block_range(cdb: bytes) -> tuple[int | None, int]:
    """LBA and number of blocks of a CDB whose layout has such fields."""
    row = COMMANDS.get(cdb[0])
    layout = row.layout if row is not None else None
    if layout is None or not {"lba", "blocks"} <= set(layout.fields) or len(cdb) < layout.size:
        return None, 0
    fields = layout.parse(cdb)
    return fields["lba"], fields["blocks"]
