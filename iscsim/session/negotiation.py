"""Negotiating the operational keys, for either role (RFC 7143 sections 6.2, 6.3 and 6.4).

``Negotiator`` serves one login, ``FullFeatureNegotiation`` one text exchange after it. Both take and
give pairs; who puts them into PDUs, and when, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from iscsim.errors import NegotiationError
from iscsim.pdu.text import Pair, encode_boolean, parse_boolean, parse_list, parse_number, shown
from iscsim.session.keys import KEYS, Key, Role, Rule, SessionType, Use
from iscsim.session.parameters import Parameters, Wishes
from iscsim.session.rules import (
    IRRELEVANT,
    NO_RESULT,
    NOT_UNDERSTOOD,
    REJECT,
    SeenKeys,
    answer_is_optional,
    answer_unknown,
    check_declaration,
    is_admissible,
)

__all__ = ["FullFeatureNegotiation", "Negotiator", "Parameters", "SeenKeys", "Wishes"]

# Keys whose result others depend on are settled first, whatever order they came in.
_SETTLED_FIRST = (
    "SessionType",
    "InitialR2T",
    "ImmediateData",
    "MaxBurstLength",
    "ErrorRecoveryLevel",
    "DataSequenceInOrder",
)
#: What an initiator offers, in the order open-iscsi does.
_OFFERED = (
    "HeaderDigest",
    "DataDigest",
    "DefaultTime2Wait",
    "DefaultTime2Retain",
    "ErrorRecoveryLevel",
    "InitialR2T",
    "ImmediateData",
    "MaxBurstLength",
    "FirstBurstLength",
    "MaxOutstandingR2T",
    "MaxConnections",
    "DataPDUInOrder",
    "DataSequenceInOrder",
    "TaskReporting",
    "iSCSIProtocolLevel",
    "MaxRecvDataSegmentLength",
)
_DIGESTS = ("HeaderDigest", "DataDigest")


class Negotiator:
    """The operational negotiation of one login.

    ``session`` holds the parameters of the session a further connection joins: then only keys of
    connection scope are negotiated (RFC 7143 section 13). Every method that takes pairs raises
    NegotiationError; the login ends with its status (RFC 7143 section 7.12).
    """

    def __init__(
        self,
        role: Role,
        wishes: Wishes,
        *,
        session_type: SessionType = SessionType.NORMAL,
        session: Parameters | None = None,
    ) -> None:
        self.role = role
        self.wishes = wishes
        self.session_type = session_type
        #: What the peer has sent; keys that others handle are added by them.
        self.seen = SeenKeys(repetition=wishes.repetition)
        self._session = session
        self._offered: dict[str, str] = {}
        self._declared: dict[str, str] = {}
        self._results: dict[str, str] = {}
        self._peer_declared: dict[str, str] = {}
        self.target_addresses: list[str] = []

    @property
    def joins(self) -> bool:
        """Whether this is a further connection of a session."""
        return self._session is not None

    def join(self, session: Parameters) -> None:
        """From now on this is a further connection of the session with these parameters."""
        self._session = session

    # -- what we send

    def declare(self, pairs: Iterable[Pair]) -> list[Pair]:
        """Note declarations of ours, to be sent by the caller as they are."""
        declarations = list(pairs)
        self._declared.update(declarations)
        return declarations

    def offer(self, final: bool = True) -> list[Pair]:
        """What we still have to propose or declare in the operational stage; each pair only once.

        ``final`` says that the peer has no more to propose: then a target proposes what it cannot do
        without. It volunteers nothing else but its MaxRecvDataSegmentLength and what it is told to, because
        open-iscsi gives up on keys that it does not know.
        """
        names: list[str] = []
        if self.role is Role.INITIATOR:
            names += [name for name in _OFFERED if self._is_to_be_offered(KEYS[name])]
        else:
            names.append("MaxRecvDataSegmentLength")
            names += [*self._needed_by_target(), *self._volunteered()] if final else []
        fresh = [name for name in names if name not in self._declared and name not in self._offered]
        return [self._propose(KEYS[name]) for name in fresh if name not in self._results]

    @property
    def pending(self) -> bool:
        """True while a proposal of ours waits for an answer that must come."""
        return any(not answer_is_optional(KEYS[name], value) for name, value in self._offered.items())

    @property
    def needs_operational_stage(self) -> bool:
        """True when skipping the operational stage would leave us without a required digest."""
        return any("None" not in self.wishes.choices(name) for name in _DIGESTS)

    def _is_in_scope(self, key: Key) -> bool:
        """Whether ``key`` means anything in this kind of session, and on this connection of it."""
        if self.session_type is SessionType.DISCOVERY and key.irrelevant_in_discovery:
            return False
        return self._session is None or key.use is not Use.LEADING_ONLY

    def _is_to_be_offered(self, key: Key) -> bool:
        if not self._is_in_scope(key):
            return False
        if key.name == "TaskReporting":
            return {"RFC3720", "ResponseFence"} <= set(self.wishes.task_reporting)
        if key.name == "iSCSIProtocolLevel":
            return str(self.wishes.protocol_level) != key.default
        return True

    def _needed_by_target(self) -> list[str]:
        # RFC 7143 6.3: what the peer has proposed, and we rejected, is not negotiated a second time.
        needed = [
            name for name in _DIGESTS if "None" not in self.wishes.choices(name) and name not in self.seen
        ]
        leading = self._session is None and self.session_type is SessionType.NORMAL
        # The default of 65536 may exceed a MaxBurstLength that was agreed on.
        if leading and "FirstBurstLength" not in self.seen and self._burst_lengths_disagree():
            needed.append("FirstBurstLength")
        return needed

    def _volunteered(self) -> list[str]:
        """Keys the initiator did not mention, for a target that is to bring them up."""
        names = self.wishes.volunteered
        return [name for name in names if name not in self.seen and self._is_in_scope(KEYS[name])]

    def _propose(self, key: Key) -> Pair:
        value = self._our_value(key)
        if key.rule is Rule.DECLARATION:
            self._declared[key.name] = value
        else:
            self._offered[key.name] = value
        return key.name, value

    def _our_value(self, key: Key) -> str:
        if key.rule is Rule.LIST:
            return ",".join(self.wishes.choices(key.name))
        if key.is_number:
            return str(self._our_number(key))
        return encode_boolean(self._our_boolean(key))

    def _our_number(self, key: Key) -> int:
        """What we would choose, given what is settled already."""
        number = self.wishes.number(key.name)
        if key.name == "FirstBurstLength":
            return min(number, self._number("MaxBurstLength")) if self._settled("MaxBurstLength") else number
        if key.name == "MaxOutstandingR2T" and self._one_r2t_only():
            return 1
        if key.name == "ErrorRecoveryLevel" and self.session_type is SessionType.DISCOVERY:
            return 0  # RFC 7143 13.21
        return number

    def _our_boolean(self, key: Key) -> bool:
        # RDMAExtensions is the one boolean we never wish for.
        return False if key.name == "RDMAExtensions" else self.wishes.boolean(key.name)

    # -- what the peer sends

    def receive(self, pairs: list[Pair], *, security_stage: bool = False) -> list[Pair]:
        """Take the pairs of one whole text and give our answers, in the same order."""
        self.seen.add(pairs)
        answers: dict[str, str] = {}
        for name, value in sorted(pairs, key=_settling_order):
            answer = self._receive_pair(name, value, security_stage)
            if answer is not None:
                answers[name] = answer
        return [(name, answers[name]) for name, _ in pairs if name in answers]

    def declared_by_peer(self, name: str) -> str | None:
        """The value the peer declared for ``name``."""
        return self._peer_declared.get(name)

    def _receive_pair(self, name: str, value: str, security_stage: bool) -> str | None:
        key = KEYS.get(name)
        if key is None:
            return answer_unknown(name, value)
        if name in self._offered:
            self._take_answer(key, self._offered.pop(name), value)
            return None
        if value in NO_RESULT:
            self._take_refusal(key, value)
            return None
        self._check_legal(key, security_stage)
        return _ANSWERS[key.rule](self, key, value)

    def _check_legal(self, key: Key, security_stage: bool) -> None:
        if key.rule is Rule.AUTHENTICATION or key.use is Use.FULL_FEATURE_PHASE_ONLY:
            raise NegotiationError(f"{key.name} is not negotiated here", key.section)
        if not key.senders & self.role.peer:
            raise NegotiationError(f"{key.name} is not for the {self.role.peer.name} to send", key.section)
        if security_stage and not key.any_stage:
            raise NegotiationError(f"{key.name} in the security negotiation stage", "12")
        if self._session is not None and key.use is Use.LEADING_ONLY and not key.any_stage:
            raise NegotiationError(f"{key.name} on a connection that is not the leading one", "13")

    def _take_refusal(self, key: Key, value: str) -> None:
        """A constant that is no answer to a proposal: an answer to a declaration, or an error."""
        if key.name in self._declared and key.recent and value == NOT_UNDERSTOOD:
            return
        raise NegotiationError(f"{key.name}={value} answers nothing we proposed", "6.2")

    def _take_answer(self, key: Key, offered: str, value: str) -> None:
        if value == NOT_UNDERSTOOD and not key.recent:
            raise NegotiationError(f"{key.name}=NotUnderstood, but every node must know the key", "6.2")
        if value in NO_RESULT:
            return  # RFC 7143 6.2: the key stays at its default
        if not is_admissible(key, offered, value):
            raise NegotiationError(
                f"{key.name}={shown(value)} is no answer to {offered}",
                "6.2.1" if key.rule is Rule.LIST else "6.2.2",
            )
        self._results[key.name] = value

    def _answer_number(self, key: Key, value: str) -> str:
        offered = parse_number(value)
        if self._is_irrelevant(key):
            return IRRELEVANT
        if not key.admits(offered):
            return REJECT  # RFC 7143 6.2.2
        choose = min if key.rule is Rule.MINIMUM else max
        return self._settle(key, str(choose(offered, self._our_number(key))))

    def _answer_boolean(self, key: Key, value: str) -> str:
        offered = parse_boolean(value)
        if self._is_irrelevant(key):
            return IRRELEVANT
        ours = self._our_boolean(key)
        result = (offered and ours) if key.rule is Rule.AND else (offered or ours)
        # The answer may be left out when the offer settles the result; saying it is always right.
        return self._settle(key, encode_boolean(result))

    def _answer_list(self, key: Key, value: str) -> str:
        if self._is_irrelevant(key):
            return IRRELEVANT
        choices = self.wishes.choices(key.name)
        # RFC 7143 6.2.1: the first value of the peer's list that we support.
        for choice in parse_list(value):
            if choice in choices:
                return self._settle(key, choice)
        return REJECT

    def _answer_obsolete(self, key: Key, value: str) -> str:
        # RFC 7143 13.25: "No" may be answered to a marker, and older initiators expect it to be.
        return "No" if key.default == "No" and value == "No" else REJECT

    def _answer_irrelevant(self, key: Key, value: str) -> str:
        return IRRELEVANT

    def _take_declaration(self, key: Key, value: str) -> None:
        check_declaration(key, value)
        if key.name == "TargetAddress":
            self.target_addresses.append(value)
        elif key.name == "SessionType":
            self.session_type = SessionType(value)
        self._peer_declared[key.name] = value

    def _is_irrelevant(self, key: Key) -> bool:
        if self.session_type is SessionType.DISCOVERY and key.irrelevant_in_discovery:
            return True
        return key.name == "FirstBurstLength" and not self._unsolicited_data()

    def _settle(self, key: Key, value: str) -> str:
        self._results[key.name] = value
        return value

    # -- the result

    def finish(self) -> Parameters:
        """What was agreed on, defaults where nothing was.

        Raises NegotiationError when a proposal of ours was not answered, a required digest was not
        agreed on, or an integrity rule of RFC 7143 chapter 13 does not hold.
        """
        if self.pending:
            raise NegotiationError(f"no answer to {', '.join(self._offered)}", "6.2.2")
        for name, value in self._offered.items():
            if not KEYS[name].recent:
                self._results[name] = value  # an answer that could be left out, and was
        self._offered.clear()
        self._check_digests()
        if self._session is None:
            self._check_integrity()
        return self._parameters()

    def _check_digests(self) -> None:
        for name in _DIGESTS:
            if self._text(name) not in self.wishes.choices(name):
                raise NegotiationError(f"{name} is {self._text(name)}, which is not acceptable here", "7.12")

    def _check_integrity(self) -> None:
        if self.session_type is SessionType.DISCOVERY:
            return
        if self._settled("FirstBurstLength") and self._burst_lengths_disagree():
            raise NegotiationError(
                f"FirstBurstLength {self._number('FirstBurstLength')} exceeds "
                f"MaxBurstLength {self._number('MaxBurstLength')}",
                "13.14",
            )
        if self._one_r2t_only() and self._number("MaxOutstandingR2T") != 1:
            raise NegotiationError("MaxOutstandingR2T must be 1 with error recovery and order", "13.19")

    def _parameters(self) -> Parameters:
        connection = replace(
            self._session or self._session_parameters(),
            header_digest=self._text("HeaderDigest") == "CRC32C",
            data_digest=self._text("DataDigest") == "CRC32C",
            max_recv_data_segment_length=_declared_number(self._declared, "MaxRecvDataSegmentLength"),
            max_send_data_segment_length=_declared_number(self._peer_declared, "MaxRecvDataSegmentLength"),
        )
        return connection

    def _session_parameters(self) -> Parameters:
        declared = self._declared | self._peer_declared
        tag = declared.get("TargetPortalGroupTag")
        max_burst_length = self._number("MaxBurstLength")
        return Parameters(
            session_type=self.session_type,
            max_connections=self._number("MaxConnections"),
            initial_r2t=self._boolean("InitialR2T"),
            immediate_data=self._boolean("ImmediateData"),
            max_burst_length=max_burst_length,
            # A default that nobody negotiated cannot exceed what was agreed on.
            first_burst_length=min(self._number("FirstBurstLength"), max_burst_length),
            default_time2wait=self._number("DefaultTime2Wait"),
            default_time2retain=self._number("DefaultTime2Retain"),
            max_outstanding_r2t=self._number("MaxOutstandingR2T"),
            data_pdu_in_order=self._boolean("DataPDUInOrder"),
            data_sequence_in_order=self._boolean("DataSequenceInOrder"),
            error_recovery_level=self._number("ErrorRecoveryLevel"),
            task_reporting=self._text("TaskReporting"),
            protocol_level=self._number("iSCSIProtocolLevel"),
            initiator_name=declared.get("InitiatorName", ""),
            initiator_alias=declared.get("InitiatorAlias"),
            target_name=declared.get("TargetName"),
            target_alias=declared.get("TargetAlias"),
            target_portal_group_tag=None if tag is None else parse_number(tag),
        )

    def _settled(self, name: str) -> bool:
        return name in self._results

    def _text(self, name: str) -> str:
        return self._results.get(name) or KEYS[name].default or ""

    def _number(self, name: str) -> int:
        return parse_number(self._text(name))

    def _boolean(self, name: str) -> bool:
        return parse_boolean(self._text(name))

    def _unsolicited_data(self) -> bool:
        return self._boolean("ImmediateData") or not self._boolean("InitialR2T")

    def _burst_lengths_disagree(self) -> bool:
        return self._number("FirstBurstLength") > self._number("MaxBurstLength") and self._unsolicited_data()

    def _one_r2t_only(self) -> bool:
        # RFC 7143 13.19
        return self._boolean("DataSequenceInOrder") and self._number("ErrorRecoveryLevel") != 0


_ANSWERS: dict[Rule, Callable[[Negotiator, Key, str], str | None]] = {
    Rule.AND: Negotiator._answer_boolean,
    Rule.OR: Negotiator._answer_boolean,
    Rule.MINIMUM: Negotiator._answer_number,
    Rule.MAXIMUM: Negotiator._answer_number,
    Rule.LIST: Negotiator._answer_list,
    Rule.OBSOLETE: Negotiator._answer_obsolete,
    Rule.IRRELEVANT: Negotiator._answer_irrelevant,
    Rule.DECLARATION: Negotiator._take_declaration,
}


class FullFeatureNegotiation:
    """One text exchange that sets parameters in the full feature phase (RFC 7143 section 6.4).

    Only keys of use ALL are legal. A NegotiationError is answered with a Reject of reason "protocol
    error", and the old parameters stay; what was agreed on takes effect with ``finish()``.
    """

    def __init__(self, role: Role, parameters: Parameters) -> None:
        self._role = role
        self._parameters = parameters
        self._seen = SeenKeys()
        self._declared: dict[str, str] = {}

    def receive(self, pairs: list[Pair]) -> list[Pair]:
        """Take the pairs of one whole text and give the answers to them.

        SendTargets is left out: the caller answers it, by discovery and not by negotiation.
        """
        self._seen.add(pairs)
        answers = ((name, self._receive_pair(name, value)) for name, value in pairs if name != "SendTargets")
        return [(name, answer) for name, answer in answers if answer is not None]

    def finish(self) -> Parameters:
        """The parameters that hold after the exchange."""
        changed = self._parameters
        if length := self._declared.get("MaxRecvDataSegmentLength"):
            changed = replace(changed, max_send_data_segment_length=parse_number(length))
        if alias := self._declared.get("InitiatorAlias"):
            changed = replace(changed, initiator_alias=alias)
        if alias := self._declared.get("TargetAlias"):
            changed = replace(changed, target_alias=alias)
        return changed

    def _receive_pair(self, name: str, value: str) -> str | None:
        key = KEYS.get(name)
        if key is None:
            return answer_unknown(name, value)
        if key.use is not Use.ALL:
            raise NegotiationError(f"{name} in the full feature phase", "13")
        if not key.senders & self._role.peer:
            raise NegotiationError(f"{name} is not for the {self._role.peer.name} to send", key.section)
        check_declaration(key, value)
        self._declared[name] = value
        return None


def _declared_number(declared: dict[str, str], name: str) -> int:
    return parse_number(declared.get(name) or KEYS[name].default or "0")


def _settling_order(pair: Pair) -> int:
    name = pair[0]
    return _SETTLED_FIRST.index(name) if name in _SETTLED_FIRST else len(_SETTLED_FIRST)
