"""What one end wishes of a negotiation, and what both ends agreed on."""

from __future__ import annotations

from dataclasses import dataclass

from iscsim.errors import ConfigError
from iscsim.pdu.constants import DEFAULT_MAX_RECV_DATA_SEGMENT_LENGTH
from iscsim.session.keys import KEYS, SessionType

_DIGESTS = ("CRC32C", "None")
_TASK_REPORTING = ("RFC3720", "ResponseFence", "FastAbort")

#: Number keys and the attribute of ``Wishes`` that holds ours.
NUMBER_ATTRIBUTES = {
    "MaxConnections": "max_connections",
    "MaxRecvDataSegmentLength": "max_recv_data_segment_length",
    "MaxBurstLength": "max_burst_length",
    "FirstBurstLength": "first_burst_length",
    "DefaultTime2Wait": "default_time2wait",
    "DefaultTime2Retain": "default_time2retain",
    "MaxOutstandingR2T": "max_outstanding_r2t",
    "ErrorRecoveryLevel": "error_recovery_level",
    "iSCSIProtocolLevel": "protocol_level",
}
BOOLEAN_ATTRIBUTES = {
    "InitialR2T": "initial_r2t",
    "ImmediateData": "immediate_data",
    "DataPDUInOrder": "data_pdu_in_order",
    "DataSequenceInOrder": "data_sequence_in_order",
}
LIST_ATTRIBUTES = {
    "HeaderDigest": "header_digest",
    "DataDigest": "data_digest",
    "TaskReporting": "task_reporting",
}

#: Keys a target may bring up: it negotiates all but what it declares.
VOLUNTEERED = (
    *(name for name in NUMBER_ATTRIBUTES if name != "MaxRecvDataSegmentLength"),
    *BOOLEAN_ATTRIBUTES,
    *LIST_ATTRIBUTES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What we ask for and agree to. An initiator offers these; a target answers within them.

    The digest tuples are in order of preference; one without ``"None"`` makes that digest required.
    ``task_reporting`` is offered only when it has RFC3720 and ResponseFence (RFC 7143 section 13.23),
    ``protocol_level`` only when it is not 1. ``repetition`` lets the peer declare a key again with the same
    value, which RFC 7143 section 6.3 forbids. ``volunteered`` names keys a target brings up by itself:
    open-iscsi gives up when it does not know one. With ``any_case`` a target takes a key however it is
    spelt, where RFC 7143 section 6.1 has capitals and small letters differ. Lengths in bytes, times in
    seconds.

    Raises ConfigError when a value is outside the range of its key (RFC 7143 chapter 13).
    """

    header_digest: tuple[str, ...] = ("None", "CRC32C")
    data_digest: tuple[str, ...] = ("None", "CRC32C")
    max_connections: int = 1
    initial_r2t: bool = False
    immediate_data: bool = True
    max_recv_data_segment_length: int = 262144
    max_burst_length: int = 16776192
    first_burst_length: int = 262144
    default_time2wait: int = 2
    default_time2retain: int = 0
    max_outstanding_r2t: int = 1
    data_pdu_in_order: bool = True
    data_sequence_in_order: bool = True
    error_recovery_level: int = 0
    task_reporting: tuple[str, ...] = ("RFC3720",)
    protocol_level: int = 1
    repetition: bool = False
    volunteered: tuple[str, ...] = ()
    any_case: bool = False

    def __post_init__(self) -> None:
        for name, attribute in NUMBER_ATTRIBUTES.items():
            key, number = KEYS[name], self.number(name)
            if not key.admits(number):
                raise ConfigError(f"{attribute} is {number}, not {key.minimum} to {key.maximum}")
        for name, attribute in LIST_ATTRIBUTES.items():
            known = _TASK_REPORTING if name == "TaskReporting" else _DIGESTS
            if not self.choices(name) or not set(self.choices(name)) <= set(known):
                raise ConfigError(f"{attribute} is {self.choices(name)}, not some of {', '.join(known)}")
        if unfit := set(self.volunteered) - set(VOLUNTEERED):
            raise ConfigError(f"volunteered keys {sorted(unfit)}, not some of {', '.join(VOLUNTEERED)}")
        if self.first_burst_length > self.max_burst_length:
            raise ConfigError(
                f"first_burst_length {self.first_burst_length} exceeds "
                f"max_burst_length {self.max_burst_length}"
            )

    def number(self, name: str) -> int:
        """Our value of the number key ``name``."""
        return int(getattr(self, NUMBER_ATTRIBUTES[name]))

    def boolean(self, name: str) -> bool:
        """Our value of the boolean key ``name``."""
        return bool(getattr(self, BOOLEAN_ATTRIBUTES[name]))

    def choices(self, name: str) -> tuple[str, ...]:
        """What we accept of the list key ``name``, in our order."""
        return tuple(getattr(self, LIST_ATTRIBUTES[name]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What holds on a connection once its login is done; the defaults are those of the RFC.

    ``max_recv_data_segment_length`` is what we declared and may be sent; ``max_send_data_segment_length``
    is what the peer declared and bounds what we send (RFC 7143 section 13.12).
    """

    session_type: SessionType = SessionType.NORMAL
    header_digest: bool = False
    data_digest: bool = False
    max_recv_data_segment_length: int = DEFAULT_MAX_RECV_DATA_SEGMENT_LENGTH
    max_send_data_segment_length: int = DEFAULT_MAX_RECV_DATA_SEGMENT_LENGTH
    max_connections: int = 1
    initial_r2t: bool = True
    immediate_data: bool = True
    max_burst_length: int = 262144
    first_burst_length: int = 65536
    default_time2wait: int = 2
    default_time2retain: int = 20
    max_outstanding_r2t: int = 1
    data_pdu_in_order: bool = True
    data_sequence_in_order: bool = True
    error_recovery_level: int = 0
    task_reporting: str = "RFC3720"
    protocol_level: int = 1
    initiator_name: str = ""
    initiator_alias: str | None = None
    target_name: str | None = None
    target_alias: str | None = None
    target_portal_group_tag: int | None = None
