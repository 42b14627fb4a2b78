"""CHAP, one-way and mutual, as two machines that take and give text keys (RFC 7143 section 12.1.3).

``ChapTarget`` asks the initiator to prove itself, ``ChapInitiator`` does so and may ask back. A
response is ``hash(identifier + secret + challenge)`` (RFC 1994). Both refuse the reflections of
RFC 7143 section 9.2.1.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from iscsim.errors import ConfigError, NegotiationError
from iscsim.pdu.constants import LoginStatus
from iscsim.pdu.text import (
    MAX_VALUE_LENGTH,
    Pair,
    encode_hex,
    parse_binary,
    parse_list,
    parse_number,
)

#: Secrets shorter than this ask for IPsec (RFC 7143 section 9.2.1).
MIN_STRONG_SECRET_LENGTH = 96 // 8


class Randomness(Protocol):
    """What a machine needs of ``random.Random``; real use: ``secrets.SystemRandom()``."""

    def randbytes(self, n: int, /) -> bytes: ...

    def getrandbits(self, k: int, /) -> int: ...


class ChapAlgorithm(IntEnum):
    """CHAP_A values (IANA, PPP authentication algorithms)."""

    MD5 = 5
    SHA1 = 6
    SHA256 = 7
    SHA3_256 = 8


_HASHES = {
    ChapAlgorithm.MD5: "md5",
    ChapAlgorithm.SHA1: "sha1",
    ChapAlgorithm.SHA256: "sha256",
    ChapAlgorithm.SHA3_256: "sha3_256",
}
ALL_ALGORITHMS = tuple(ChapAlgorithm)


class ChapReflected(NegotiationError):
    """The peer challenges us with our own challenge: close the connection, without an answer.

    RFC 7143 section 9.2.1.
    """

    def __init__(self) -> None:
        super().__init__("CHAP_C reflects the challenge we sent", "9.2.1", *_AUTHENTICATION_FAILURE)


_AUTHENTICATION_FAILURE = divmod(LoginStatus.AUTHENTICATION_FAILURE, 256)
_MISSING_PARAMETER = divmod(LoginStatus.MISSING_PARAMETER, 256)


@dataclass(frozen=True, slots=True)
class ChapCredential:
    """A CHAP name and its secret, which never shows in a repr. Raises ConfigError when one is unfit."""

    name: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 0 < len(self.name.encode()) <= MAX_VALUE_LENGTH or "\0" in self.name:
            raise ConfigError(f"a CHAP name has 1 to {MAX_VALUE_LENGTH} bytes and no NUL")
        if not self.secret:
            raise ConfigError(f"the CHAP secret of {self.name!r} is empty")

    @property
    def is_weak(self) -> bool:
        return len(self.secret) < MIN_STRONG_SECRET_LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class ChapConfig:
    """How one end does CHAP.

    ``incoming`` are the credentials of which the peer must prove one; ``outgoing`` is the one we prove.
    A target needs ``incoming``, and ``outgoing`` to answer mutual CHAP; an initiator needs ``outgoing``,
    and asks for mutual CHAP when it has ``incoming``. ``algorithms`` are those we accept, ``offered``
    those an initiator proposes, in its order: MD5 alone, because old targets fail on a list.

    Raises ConfigError for a secret used in both directions (RFC 7143 section 9.2.1), for an offer
    without MD5, and for weak secrets when ``strict``.
    """

    incoming: tuple[ChapCredential, ...] = ()
    outgoing: ChapCredential | None = None
    algorithms: tuple[ChapAlgorithm, ...] = ALL_ALGORITHMS
    offered: tuple[ChapAlgorithm, ...] = (ChapAlgorithm.MD5,)
    strict: bool = False
    required: bool = True
    """For a target: insist on CHAP. Without, it is done when the initiator offers it before None."""

    def __post_init__(self) -> None:
        if self.outgoing and any(peer.secret == self.outgoing.secret for peer in self.incoming):
            raise ConfigError("the same CHAP secret for both directions (RFC 7143 section 9.2.1)")
        if not self.algorithms or ChapAlgorithm.MD5 not in self.offered:
            raise ConfigError("CHAP needs an algorithm, and an offer must have MD5 (RFC 7143 section 12.1.3)")
        if self.strict and (notes := self.warnings()):
            raise ConfigError(notes[0])

    def warnings(self) -> tuple[str, ...]:
        """One line for each secret shorter than 96 bits, for the caller to log."""
        credentials = (*self.incoming, self.outgoing) if self.outgoing else self.incoming
        return tuple(
            f"the CHAP secret of {credential.name!r} has less than 96 bits (RFC 7143 section 9.2.1)"
            for credential in credentials
            if credential.is_weak
        )


def chap_response(algorithm: ChapAlgorithm, identifier: int, secret: bytes, challenge: bytes) -> bytes:
    """CHAP_R for a challenge (RFC 1994)."""
    digest = hashlib.new(_HASHES[algorithm], usedforsecurity=False)
    digest.update(bytes([identifier]) + secret + challenge)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class _Challenge:
    """A challenge under way: what was asked, and how an answer to it is judged."""

    algorithm: ChapAlgorithm
    identifier: int
    value: bytes

    @classmethod
    def fresh(cls, algorithm: ChapAlgorithm, rng: Randomness, unlike: bytes = b"") -> _Challenge:
        """A random challenge as long as the digest, never equal to ``unlike``."""
        length = hashlib.new(_HASHES[algorithm], usedforsecurity=False).digest_size
        value = rng.randbytes(length)
        if value == unlike:  # seeded alike, both ends draw the same bytes
            value = bytes(byte ^ 0xFF for byte in value)
        return cls(algorithm, rng.getrandbits(8), value)

    def pairs(self) -> list[Pair]:
        return [("CHAP_I", str(self.identifier)), ("CHAP_C", encode_hex(self.value))]

    def response(self, secret: bytes) -> bytes:
        return chap_response(self.algorithm, self.identifier, secret, self.value)

    def proves(self, response: bytes, peer: ChapCredential, ours: ChapCredential | None) -> bool:
        """True when ``response`` shows that the peer knows its secret, and is not our own response."""
        # RFC 7143 9.2.1: what we would have answered ourselves is a reflection.
        reflected = ours is not None and hmac.compare_digest(response, self.response(ours.secret))
        return hmac.compare_digest(response, self.response(peer.secret)) and not reflected


class ChapTarget:
    """The target's half: choose an algorithm, challenge, judge, and answer a challenge if there is one.

    ``receive`` takes the CHAP keys of one request and gives those of the response. It raises
    NegotiationError with the status to answer: 0x0200 for a key out of place, 0x0207 for a missing
    one, 0x0201 for a wrong response; and ChapReflected.
    """

    def __init__(self, config: ChapConfig, *, rng: Randomness) -> None:
        self._config = config
        self._rng = rng
        self._challenge: _Challenge | None = None
        self.complete = False
        #: The name the initiator has proven, once complete.
        self.identity: str | None = None

    def receive(self, pairs: list[Pair]) -> list[Pair]:
        if self.complete:
            raise NegotiationError("CHAP keys after CHAP has ended", "12.1.3")
        return self._choose(pairs) if self._challenge is None else self._judge(pairs)

    def _choose(self, pairs: list[Pair]) -> list[Pair]:
        keys = _step(pairs, required=("CHAP_A",))
        proposed = [parse_number(element) for element in parse_list(keys["CHAP_A"])]
        for number in proposed:
            if number in self._config.algorithms:
                self._challenge = _Challenge.fresh(ChapAlgorithm(number), self._rng)
                return [("CHAP_A", str(number)), *self._challenge.pairs()]
        raise NegotiationError(
            f"none of the CHAP algorithms {proposed} is accepted", "12.1.3", *_AUTHENTICATION_FAILURE
        )

    def _judge(self, pairs: list[Pair]) -> list[Pair]:
        assert self._challenge is not None
        keys = _step(pairs, required=("CHAP_N", "CHAP_R"), together=("CHAP_I", "CHAP_C"))
        response = parse_binary(keys["CHAP_R"])
        asked = _parse_challenge(self._challenge.algorithm, keys) if "CHAP_C" in keys else None
        if asked is not None and asked.value == self._challenge.value:
            raise ChapReflected
        self._check_identity(keys["CHAP_N"], response, self._challenge)
        answer = self._answer(asked) if asked is not None else []
        self.complete, self.identity = True, keys["CHAP_N"]
        return answer

    def _check_identity(self, name: str, response: bytes, challenge: _Challenge) -> None:
        # Every credential is tried, so that the time taken does not tell which names exist.
        proven = [
            credential.name
            for credential in self._config.incoming
            if challenge.proves(response, credential, self._config.outgoing)
        ]
        if name not in proven:
            raise _failure("the initiator's CHAP name and response do not match")

    def _answer(self, asked: _Challenge) -> list[Pair]:
        if self._config.outgoing is None:
            raise _failure("the initiator asks for mutual CHAP, which is not set up")
        return _proof(asked, self._config.outgoing)


class ChapInitiator:
    """The initiator's half. Every NegotiationError means: close the connection (RFC 7143 section 9.2)."""

    def __init__(self, config: ChapConfig, *, rng: Randomness) -> None:
        if config.outgoing is None:
            raise ConfigError("an initiator needs a CHAP name and secret of its own")
        self._outgoing = config.outgoing
        self._config = config
        self._rng = rng
        self._answered = False
        self._challenge: _Challenge | None = None
        #: True once nothing more has to come; with mutual CHAP, once the target is proven.
        self.complete = False

    @property
    def answered(self) -> bool:
        """True once our response has been made: the next request may ask for the next stage."""
        return self._answered

    def start(self) -> list[Pair]:
        """The first step: the algorithms we propose."""
        return [("CHAP_A", ",".join(str(int(algorithm)) for algorithm in self._config.offered))]

    def receive(self, pairs: list[Pair]) -> list[Pair]:
        """Take the CHAP keys of one response, give those of the next request."""
        if self.complete:
            raise NegotiationError("CHAP keys after CHAP has ended", "12.1.3")
        if self._answered:
            self._judge(pairs)
            return []
        return self._respond(pairs)

    def _respond(self, pairs: list[Pair]) -> list[Pair]:
        keys = _step(pairs, required=("CHAP_A", "CHAP_I", "CHAP_C"))
        number = parse_number(keys["CHAP_A"])
        if number not in self._config.offered:
            raise NegotiationError(f"CHAP_A={number} was not proposed", "12.1.3")
        algorithm = ChapAlgorithm(number)
        asked = _parse_challenge(algorithm, keys)
        answer = _proof(asked, self._outgoing)
        self._answered = True
        if not self._config.incoming:
            self.complete = True
            return answer
        self._challenge = _Challenge.fresh(algorithm, self._rng, unlike=asked.value)
        return answer + self._challenge.pairs()

    def _judge(self, pairs: list[Pair]) -> None:
        assert self._challenge is not None
        keys = _step(pairs, required=("CHAP_N", "CHAP_R"))
        response = parse_binary(keys["CHAP_R"])
        if not any(
            credential.name == keys["CHAP_N"] and self._challenge.proves(response, credential, self._outgoing)
            for credential in self._config.incoming
        ):
            raise _failure("the target's CHAP name and response do not match")
        self.complete = True


def _proof(asked: _Challenge, credential: ChapCredential) -> list[Pair]:
    return [
        ("CHAP_N", credential.name),
        ("CHAP_R", encode_hex(asked.response(credential.secret))),
    ]


def _parse_challenge(algorithm: ChapAlgorithm, keys: dict[str, str]) -> _Challenge:
    identifier = parse_number(keys["CHAP_I"])
    if identifier > 255:
        raise NegotiationError(f"CHAP_I={identifier} is not one byte", "12.1.3")
    return _Challenge(algorithm, identifier, parse_binary(keys["CHAP_C"]))


def _step(pairs: list[Pair], required: Iterable[str], together: tuple[str, ...] = ()) -> dict[str, str]:
    """The keys of one step, none missing and none too many (RFC 7143 section 9.2).

    Those of ``together`` come all or not at all.
    """
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise NegotiationError("a CHAP key was sent twice", "6.3")
    needed = set(required)
    if keys.keys() & set(together):
        needed |= set(together)
    if missing := sorted(needed - keys.keys()):
        raise NegotiationError(f"{', '.join(missing)} missing", "9.2", *_MISSING_PARAMETER)
    if extra := sorted(keys.keys() - needed):
        raise NegotiationError(f"{', '.join(extra)} not in this step of CHAP", "9.2")
    return keys


def _failure(message: str) -> NegotiationError:
    return NegotiationError(message, "9.2.1", *_AUTHENTICATION_FAILURE)
