"""What makes one target answer otherwise than another: data, never an ``if`` in a handler."""

from __future__ import annotations

from dataclasses import dataclass, replace

from iscsim.errors import ConfigError
from iscsim.pdu import LoginStatus
from iscsim.scsi import makes
from iscsim.scsi.profile import PLAIN, DeviceProfile
from iscsim.session.chap import ALL_ALGORITHMS, ChapAlgorithm
from iscsim.session.parameters import Wishes

_EVERYTHING = Wishes(task_reporting=("RFC3720", "ResponseFence", "FastAbort"))
"""With one connection a session its stream is the response fence (RFC 7143 section 4.2.2.3.3)."""

_SMALL_BURSTS = Wishes(initial_r2t=True, max_burst_length=262144, first_burst_length=65536)
"""As the login of a Linux initiator at LIO and tgt was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayPort:
    """A port of a storage processor: how its target's name ends, its portal group, and its processor's target
    port group.
    """

    suffix: str
    tag: int
    target_port_group: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPolicy:
    """A personality: the choices the RFC leaves open, and what real targets do otherwise.

    Times are in seconds, on the connection's clock; 0 turns a timer off. Raises ConfigError for wishes that
    this target cannot keep.
    """

    name: str = "rfc"
    wishes: Wishes = _EVERYTHING
    command_window: int = 128
    """Commands a session may have open: MaxCmdSN - ExpCmdSN + 1 (RFC 7143 section 4.2.2.1)."""
    task_set_size: int = 4096
    """Commands of all sessions open on a logical unit; one more ends with BUSY or TASK SET FULL."""
    nexus_task_set_size: int = 256
    """The same for one session, immediate ones among them."""
    write_room: int = 64 << 20
    """Bytes of write data a session is asked for at a time; further writes wait for their R2T."""
    all_write_room: int = 1 << 30
    """The same for all sessions together: each has an equal share, and room for one write at least."""
    all_unsolicited_room: int = 1 << 30
    """Bytes of data kept for open commands that nobody asked for: each session has an equal share of it, and
    room for one command at least. What finds none ends with BUSY or TASK SET FULL."""
    read_room: int = 32 << 20
    """Bytes of read data made for a connection at a time; what asks for more waits until that is sent."""
    all_read_room: int = 512 << 20
    """The same for all connections together: each has an equal share, and room for one read at least."""
    max_sessions: int = 0
    """Sessions a target may have at a time, and as many for discovery; 0: as many as can connect."""
    login_timeout_s: float = 15.0
    nop_in_interval_s: float = 15.0
    """Silence after which the target pings (RFC 7143 section 11.19)."""
    nop_in_timeout_s: float = 30.0
    data_out_timeout_s: float = 60.0
    """How long a write may wait for its next data; then its session ends, as it may keep others waiting."""
    unknown_target: LoginStatus = LoginStatus.NOT_FOUND
    refused_initiator: LoginStatus = LoginStatus.AUTHORIZATION_FAILURE
    tells_portal_group_tag: bool = True
    """RFC 7143 section 6.3.1 says MUST; libiscsi does not look, and some old targets do not tell."""
    send_targets_all_in_normal_session: bool = False
    """RFC 7143 Appendix C says MUST NOT; LIO and libiscsi's tests say yes."""
    announces_attentions: bool = False
    """Send every unit attention as asynchronous event 0 too (RFC 7143 section 11.9.1)."""
    chap_algorithms: tuple[ChapAlgorithm, ...] = ALL_ALGORITHMS
    alias: str = ""
    """TargetAlias of a target that was given none."""
    portal_group_tag: int | None = None
    """The group that portals join unless they are told another; None: each has one of its own."""
    target_port_group: int | None = None
    """The SCSI target port group of every portal group; None: the one of the same number."""
    array_ports: tuple[ArrayPort, ...] = ()
    """An array: what is described as one target is one for each portal, of these in turn."""
    device: DeviceProfile = PLAIN
    """The make of its disks."""

    def array_port(self, name: str) -> ArrayPort | None:
        """The port of the array that a target of this name is at."""
        return next((port for port in self.array_ports if name.endswith(port.suffix)), None)

    def base_name(self, name: str) -> str:
        """The name of an array's target without what stands for its port; any other name as it is."""
        port = self.array_port(name)
        return name if port is None else name.removesuffix(port.suffix)

    def __post_init__(self) -> None:
        if self.wishes.max_connections != 1 or self.wishes.error_recovery_level != 0:
            raise ConfigError("a target has one connection a session and ErrorRecoveryLevel 0")


RFC = TargetPolicy()
LIO = TargetPolicy(
    name="lio",
    wishes=replace(
        _SMALL_BURSTS,
        header_digest=("CRC32C", "None"),
        data_digest=("CRC32C", "None"),
        default_time2retain=20,
    ),
    unknown_target=LoginStatus.SERVICE_UNAVAILABLE,
    send_targets_all_in_normal_session=True,
    alias="LIO Target",
    portal_group_tag=1,
    target_port_group=0,
    device=makes.LIO,
)
TGT = TargetPolicy(
    name="tgt",
    wishes=replace(_SMALL_BURSTS, repetition=True, any_case=True, max_recv_data_segment_length=8192),
    refused_initiator=LoginStatus.NOT_FOUND,
    nop_in_interval_s=0.0,
    chap_algorithms=(ChapAlgorithm.MD5,),
    portal_group_tag=1,
    device=makes.TGT,
)
VNX = TargetPolicy(
    name="vnx",
    array_ports=tuple(
        ArrayPort(suffix=f".{letter}{number}", tag=2 * number + tag, target_port_group=processor)
        for number in range(4)
        for letter, tag, processor in (("a", 2, 1), ("b", 1, 2))
    ),
    device=makes.VNX,
)

PERSONALITIES = {policy.name: policy for policy in (RFC, LIO, TGT, VNX)}
"""What ``iscsim serve --personality`` takes."""
