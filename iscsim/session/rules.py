"""Rules that judge one key on its own (RFC 7143 sections 6.1, 6.2 and 6.3)."""

from __future__ import annotations

from collections.abc import Iterable

from iscsim.errors import NegotiationError
from iscsim.pdu.text import Pair, parse_boolean, parse_list, parse_number, shown
from iscsim.session.keys import KEYS, Key, Rule
from iscsim.session.names import MAX_NAME_LENGTH

#: Unknown keys answered in one negotiation; more is taken for an attempt to make us talk.
MAX_UNKNOWN_KEYS = 32

NOT_UNDERSTOOD, IRRELEVANT, REJECT = "NotUnderstood", "Irrelevant", "Reject"
#: Answers that end a negotiation without a value (RFC 7143 section 6.2).
NO_RESULT = frozenset((NOT_UNDERSTOOD, IRRELEVANT, REJECT))


class SeenKeys:
    """The keys one peer sent in one negotiation: no key twice (RFC 7143 section 6.3).

    With ``repetition`` a declaration may be sent again with the same value: libiscsi does so when it offers
    CHAP and None is chosen, and tgt lets it pass.
    """

    __slots__ = ("_repetition", "_seen", "_unknown")

    def __init__(self, *, repetition: bool = False) -> None:
        self._repetition = repetition
        self._seen: dict[str, str] = {}
        self._unknown = 0

    def add(self, pairs: Iterable[Pair]) -> None:
        """Raises NegotiationError for a repeated key, and when too many unknown ones were sent."""
        for name, value in pairs:
            key = KEYS.get(name)
            if key is None:
                self._count_unknown()
            elif key.repeatable:
                continue
            if name in self._seen:
                if self._repetition and self._seen[name] == value and key and key.rule is Rule.DECLARATION:
                    continue
                raise NegotiationError(f"{name} was sent twice", "6.3")
            self._seen[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self._seen

    def _count_unknown(self) -> None:
        self._unknown += 1
        if self._unknown > MAX_UNKNOWN_KEYS:
            raise NegotiationError(f"more than {MAX_UNKNOWN_KEYS} unknown keys", "6.2")


def check_declaration(key: Key, value: str) -> None:
    """Raises NegotiationError when ``value`` may not be declared for ``key`` (RFC 7143 section 7.12)."""
    if key.is_number and not key.admits(parse_number(value)):
        raise NegotiationError(f"{key.name}={value} is not {key.minimum} to {key.maximum}", key.section)
    if key.values and value not in key.values:
        raise NegotiationError(f"{key.name}={shown(value)} is not one of {key.values}", key.section)
    if key.name in ("InitiatorName", "TargetName"):
        check_name(key, value)


def check_name(key: Key, name: str) -> None:
    """Raises NegotiationError when ``name`` cannot be an iSCSI name (RFC 7143 section 4.2.7.1)."""
    length = len(name.encode())
    if not 0 < length <= MAX_NAME_LENGTH:
        raise NegotiationError(f"{key.name} of {length} bytes, not 1 to {MAX_NAME_LENGTH}", "4.2.7.1")
    # Names in use break the stringprep rules (capitals, underscores): only what cannot be shown is refused.
    if not name.isprintable() or " " in name:
        raise NegotiationError(f"{key.name}={shown(name)} is not an iSCSI name", "4.2.7.1")


def answer_unknown(name: str, value: str) -> str:
    if value in NO_RESULT:
        raise NegotiationError(f"{name}={value} answers nothing we proposed", "6.2")
    return NOT_UNDERSTOOD


def is_admissible(key: Key, offered: str, value: str) -> bool:
    """True when the acceptor may select ``value`` (RFC 7143 sections 6.2.1, 6.2.2 and 13)."""
    match key.rule:
        case Rule.LIST:
            return value in parse_list(offered)
        case Rule.AND:
            return not parse_boolean(value) or offered == "Yes"
        case Rule.OR:
            return parse_boolean(value) or offered == "No"
        case Rule.MINIMUM:
            return key.admits(parse_number(value)) and parse_number(value) <= parse_number(offered)
        case Rule.MAXIMUM:
            return key.admits(parse_number(value)) and parse_number(value) >= parse_number(offered)
    return False


def answer_is_optional(key: Key, offered: str) -> bool:
    """True when the offer settles the result (RFC 7143 section 6.2.2), or older peers do not know the key."""
    settled = {Rule.AND: "No", Rule.OR: "Yes"}
    return key.recent or settled.get(key.rule) == offered
