"""Every text key of RFC 7143 chapters 12 and 13 in one table, for both roles.

``KEYS`` says of each key who may send it, when, how a result is reached, its default and its range.
The iSER keys of RFC 7145 stand here too, so that only a truly unknown key is answered NotUnderstood.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, Flag, auto


class Role(Flag):
    """One end of a connection; in the table, who may send a key."""

    INITIATOR = auto()
    TARGET = auto()
    BOTH = INITIATOR | TARGET

    @property
    def peer(self) -> Role:
        return Role.TARGET if self is Role.INITIATOR else Role.INITIATOR


class SessionType(Enum):
    """RFC 7143 section 13.21."""

    NORMAL = "Normal"
    DISCOVERY = "Discovery"


class Use(Enum):
    """When a key may be sent (RFC 7143 section 13)."""

    INITIALIZE_ONLY = "IO"
    LEADING_ONLY = "LO"
    FULL_FEATURE_PHASE_ONLY = "FFPO"
    ALL = "ALL"


class Scope(Enum):
    SESSION = "SW"
    CONNECTION = "CO"


class Rule(Enum):
    """How the acceptor finds its answer (RFC 7143 sections 6.2.1, 6.2.2 and 13)."""

    AND = "AND"
    OR = "OR"
    MINIMUM = "Minimum"
    MAXIMUM = "Maximum"
    LIST = "List"
    DECLARATION = "Declarative"
    #: A step of an authentication method: judged by that method, not by a result function.
    AUTHENTICATION = "Authentication"
    #: Answered "Reject" (RFC 7143 section 13.25).
    OBSOLETE = "Obsolete"
    #: Known, of no use over TCP: answered "Irrelevant" (RFC 7143 section 6.2).
    IRRELEVANT = "Irrelevant"
    #: SendTargets: a question, answered by discovery (RFC 7143 section 13.3).
    QUESTION = "Question"


@dataclass(frozen=True, slots=True)
class Key:
    """One text key; ``minimum`` and ``maximum`` are set for numbers, ``values`` for enumerations."""

    name: str
    section: str
    rule: Rule
    use: Use
    scope: Scope
    senders: Role = Role.BOTH
    default: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    values: tuple[str, ...] = ()
    #: Legal in the SecurityNegotiation stage too.
    any_stage: bool = False
    irrelevant_in_discovery: bool = False
    #: May be declared more than once in one negotiation (RFC 7143 section 6.3).
    repeatable: bool = False
    #: Newer than RFC 3720: real peers answer NotUnderstood, and open-iscsi aborts when it is volunteered.
    recent: bool = False

    @property
    def is_number(self) -> bool:
        return self.maximum is not None

    def admits(self, number: int) -> bool:
        """True when ``number`` lies in the key's range."""
        return (self.minimum or 0) <= number <= (self.maximum or 0)


_IO, _LO, _ALL, _FFPO = Use.INITIALIZE_ONLY, Use.LEADING_ONLY, Use.ALL, Use.FULL_FEATURE_PHASE_ONLY
_SW, _CO = Scope.SESSION, Scope.CONNECTION
_I, _T = Role.INITIATOR, Role.TARGET
_MAX_24_BITS = (1 << 24) - 1


def _boolean(name: str, section: str, rule: Rule, default: str) -> Key:
    return Key(name, section, rule, _LO, _SW, default=default, irrelevant_in_discovery=True)


def _number(
    name: str, section: str, rule: Rule, default: int, low: int, high: int, *, discovery: bool = False
) -> Key:
    return Key(
        name,
        section,
        rule,
        _LO,
        _SW,
        default=str(default),
        minimum=low,
        maximum=high,
        irrelevant_in_discovery=not discovery,
    )


def _declared(name: str, section: str, use: Use, senders: Role, *, repeatable: bool = False) -> Key:
    return Key(name, section, Rule.DECLARATION, use, _SW, senders, any_stage=True, repeatable=repeatable)


def _step(name: str, section: str, senders: Role = Role.BOTH) -> Key:
    return Key(name, section, Rule.AUTHENTICATION, _IO, _CO, senders)


_TABLE = (
    Key("AuthMethod", "12.1", Rule.AUTHENTICATION, _IO, _CO, default="None"),
    _step("KRB_AP_REQ", "12.1.1", _I),
    _step("KRB_AP_REP", "12.1.1", _T),
    _step("TargetAuth", "12.1.2", _I),
    _step("SRP_U", "12.1.2", _I),
    _step("SRP_GROUP", "12.1.2"),
    _step("SRP_s", "12.1.2", _T),
    _step("SRP_A", "12.1.2", _I),
    _step("SRP_B", "12.1.2", _T),
    _step("SRP_M", "12.1.2", _I),
    _step("SRP_HM", "12.1.2", _T),
    _step("CHAP_A", "12.1.3"),
    _step("CHAP_I", "12.1.3"),
    _step("CHAP_C", "12.1.3"),
    _step("CHAP_N", "12.1.3"),
    _step("CHAP_R", "12.1.3"),
    Key("HeaderDigest", "13.1", Rule.LIST, _IO, _CO, default="None"),
    Key("DataDigest", "13.1", Rule.LIST, _IO, _CO, default="None"),
    _number("MaxConnections", "13.2", Rule.MINIMUM, 1, 1, 65535),
    Key("SendTargets", "13.3", Rule.QUESTION, _FFPO, _SW, _I),
    # A target sends TargetName only to answer SendTargets, which is no negotiation.
    _declared("TargetName", "13.4", _IO, _I),
    _declared("InitiatorName", "13.5", _IO, _I),
    _declared("TargetAlias", "13.6", _ALL, _T),
    _declared("InitiatorAlias", "13.7", _ALL, _I),
    _declared("TargetAddress", "13.8", _ALL, _T, repeatable=True),
    Key(
        "TargetPortalGroupTag",
        "13.9",
        Rule.DECLARATION,
        _IO,
        _SW,
        _T,
        minimum=0,
        maximum=65535,
        any_stage=True,
    ),
    _boolean("InitialR2T", "13.10", Rule.OR, "Yes"),
    _boolean("ImmediateData", "13.11", Rule.AND, "Yes"),
    Key(
        "MaxRecvDataSegmentLength",
        "13.12",
        Rule.DECLARATION,
        _ALL,
        _CO,
        default="8192",
        minimum=512,
        maximum=_MAX_24_BITS,
    ),
    _number("MaxBurstLength", "13.13", Rule.MINIMUM, 262144, 512, _MAX_24_BITS),
    _number("FirstBurstLength", "13.14", Rule.MINIMUM, 65536, 512, _MAX_24_BITS),
    _number("DefaultTime2Wait", "13.15", Rule.MAXIMUM, 2, 0, 3600, discovery=True),
    _number("DefaultTime2Retain", "13.16", Rule.MINIMUM, 20, 0, 3600, discovery=True),
    _number("MaxOutstandingR2T", "13.17", Rule.MINIMUM, 1, 1, 65535),
    _boolean("DataPDUInOrder", "13.18", Rule.OR, "Yes"),
    _boolean("DataSequenceInOrder", "13.19", Rule.OR, "Yes"),
    _number("ErrorRecoveryLevel", "13.20", Rule.MINIMUM, 0, 0, 2, discovery=True),
    Key(
        "SessionType",
        "13.21",
        Rule.DECLARATION,
        _LO,
        _SW,
        _I,
        default="Normal",
        values=("Discovery", "Normal"),
        any_stage=True,
    ),
    Key(
        "TaskReporting",
        "13.23",
        Rule.LIST,
        _LO,
        _SW,
        default="RFC3720",
        irrelevant_in_discovery=True,
        recent=True,
    ),
    # RFC 7144 gives the range; a level of 1 is RFC 7143 itself.
    Key(
        "iSCSIProtocolLevel",
        "13.24",
        Rule.MINIMUM,
        _LO,
        _SW,
        default="1",
        minimum=0,
        maximum=31,
        recent=True,
    ),
    Key("IFMarker", "13.25", Rule.OBSOLETE, _IO, _CO, default="No"),
    Key("OFMarker", "13.25", Rule.OBSOLETE, _IO, _CO, default="No"),
    Key("IFMarkInt", "13.25", Rule.OBSOLETE, _IO, _CO),
    Key("OFMarkInt", "13.25", Rule.OBSOLETE, _IO, _CO),
    Key("X#NodeArchitecture", "13.26", Rule.DECLARATION, _LO, _SW, recent=True),
    # RFC 7145 (iSER). RDMAExtensions is an AND whose result over TCP is No; the others hang on it.
    Key("RDMAExtensions", "6.2.2", Rule.AND, _LO, _SW, default="No", recent=True),
    *(
        Key(name, "6.2", Rule.IRRELEVANT, _IO, _CO, recent=True)
        for name in (
            "TargetRecvDataSegmentLength",
            "InitiatorRecvDataSegmentLength",
            "MaxOutstandingUnexpectedPDUs",
            "MaxAHSLength",
            "TaggedBufferForSolicitedDataOnly",
            "iSERHelloRequired",
        )
    ),
)

#: Every known key by its name on the wire.
KEYS: dict[str, Key] = {key.name: key for key in _TABLE}

#: Keys of the security stage, handed to the authentication method.
SECURITY_KEYS = frozenset(key.name for key in _TABLE if key.rule is Rule.AUTHENTICATION)

_ANY_CASE = {name.lower(): name for name in KEYS}


def in_any_case(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """``pairs`` with known keys as the RFC spells them, for a target that does not care."""
    return [(_ANY_CASE.get(name.lower(), name), value) for name, value in pairs]
