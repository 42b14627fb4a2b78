"""The initiator's half of the login phase (RFC 7143 sections 6.3, 11.12 and 11.13)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from iscsim.errors import ConfigError, LocalProtocolError, LoginFailed, NegotiationError
from iscsim.pdu import DEFAULT_MAX_RECV_DATA_SEGMENT_LENGTH, LoginRequest, LoginResponse, LoginStatus, Stage
from iscsim.pdu.text import Pair, parse_text, shown
from iscsim.session.chap import ChapConfig, ChapInitiator, Randomness
from iscsim.session.keys import SECURITY_KEYS, Role, SessionType
from iscsim.session.login_status import LoginRedirected, status_text
from iscsim.session.negotiation import Negotiator
from iscsim.session.parameters import Parameters, Wishes
from iscsim.session.rules import NOT_UNDERSTOOD
from iscsim.session.text import TextExchange

_REDIRECTION = 0x01


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginConfig:
    """Who logs in to what. Raises ConfigError when a normal session names no target.

    With ``chap`` only CHAP is offered; without it the login begins in the operational stage, as
    open-iscsi's does, unless ``security_stage``: then AuthMethod=None is offered first.
    ``portal_group_tag`` is the one discovery told, if it is to be checked.
    """

    initiator_name: str
    target_name: str | None = None
    session_type: SessionType = SessionType.NORMAL
    initiator_alias: str | None = None
    chap: ChapConfig | None = None
    security_stage: bool = False
    portal_group_tag: int | None = None
    wishes: Wishes = field(default_factory=Wishes)

    def __post_init__(self) -> None:
        if self.session_type is SessionType.NORMAL and not self.target_name:
            raise ConfigError("a normal session needs the name of a target")

    def names(self) -> list[Pair]:
        """The pairs that open the first request."""
        pairs = [
            ("InitiatorName", self.initiator_name),
            ("InitiatorAlias", self.initiator_alias),
            ("TargetName", self.target_name),
            ("SessionType", self.session_type.value),
        ]
        return [(key, value) for key, value in pairs if value is not None]


class InitiatorLogin:
    """Makes the Login Requests of one connection, takes the Login Responses.

    ``start()`` gives the first request, ``receive()`` each next one until ``complete``. Both raise
    NegotiationError when the target breaks a rule, LoginFailed when it refuses, and LoginRedirected;
    then drop the connection. ``tsih`` and ``session`` are those of the session the connection joins.
    """

    def __init__(
        self,
        config: LoginConfig,
        *,
        rng: Randomness,
        isid: bytes,
        tsih: int = 0,
        cid: int = 0,
        cmd_sn: int = 0,
        initiator_task_tag: int = 0,
        session: Parameters | None = None,
    ) -> None:
        self._config = config
        self._template = LoginRequest(
            isid=isid, tsih=tsih, cid=cid, cmd_sn=cmd_sn, initiator_task_tag=initiator_task_tag
        )
        self._negotiator = Negotiator(
            Role.INITIATOR, config.wishes, session_type=config.session_type, session=session
        )
        self._security = _Security(config, rng)
        self._exchange = TextExchange(DEFAULT_MAX_RECV_DATA_SEGMENT_LENGTH)
        self._stage = Stage.OPERATIONAL_NEGOTIATION
        self._wants_transit = False
        self._last: LoginRequest | None = None
        #: The session's TSIH, once complete.
        self.tsih = tsih
        #: What the next request, in any phase, acknowledges.
        self.exp_stat_sn = 0
        self.parameters: Parameters | None = None

    @property
    def complete(self) -> bool:
        return self.parameters is not None

    def start(self) -> LoginRequest:
        """The first request."""
        pairs = self._negotiator.declare(self._config.names())
        if self._config.chap is not None or self._config.security_stage:
            self._stage = Stage.SECURITY_NEGOTIATION
            self._wants_transit = self._config.chap is None
            return self._say(pairs + self._security.start())
        self._wants_transit = True
        return self._say(pairs + self._negotiator.offer())

    def receive(self, response: LoginResponse) -> LoginRequest | None:
        """The request that follows ``response``; None when the login is complete."""
        if self._last is None or self.complete:
            raise LocalProtocolError("no login response is due", "6.3")
        self._check_status(response)
        self._check_response(response, self._last)
        self.exp_stat_sn = (response.stat_sn + 1) & 0xFFFFFFFF
        pairs = self._exchange.receive(bytes(response.data), response.continuation)
        if pairs is None:
            return self._request()
        answers = self._answer(pairs)
        if response.transit:
            return self._transit(response, answers)
        return self._say(answers)

    # -- requests

    def _say(self, pairs: list[Pair]) -> LoginRequest:
        self._exchange.put(pairs)
        return self._request()

    def _request(self) -> LoginRequest:
        """The next segment of our text, or an empty request."""
        data, continued = self._exchange.take()
        transit = self._wants_transit and not continued
        self._last = replace(
            self._template,
            transit=transit,
            continuation=continued,
            current_stage=self._stage,
            next_stage=_NEXT_STAGE[self._stage] if transit else Stage.SECURITY_NEGOTIATION,
            exp_stat_sn=self.exp_stat_sn,
            data=data,
        )
        return self._last

    # -- responses

    def _check_status(self, response: LoginResponse) -> None:
        """Nothing else counts in a refusal: targets leave the other fields 0."""
        if response.status_class == 0:
            return
        status = (response.status_class, response.status_detail)
        if response.status_class == _REDIRECTION:
            address = dict(parse_text(response.data)).get("TargetAddress")
            if address:
                raise LoginRedirected(*status, address)
        raise LoginFailed(status_text(*status) + self._hint(status), *status)

    def _hint(self, status: tuple[int, int]) -> str:
        """What the user may want to know of a refusal."""
        number = status[0] << 8 | status[1]
        if number == LoginStatus.AUTHENTICATION_FAILURE and self._config.chap and self.exp_stat_sn == 0:
            return " (we insist on CHAP; does the target ask for it?)"
        if number == LoginStatus.AUTHORIZATION_FAILURE:
            return f" (we are {self._config.initiator_name})"
        return ""

    def _check_response(self, response: LoginResponse, request: LoginRequest) -> None:
        for name in ("initiator_task_tag", "isid", "current_stage"):
            if getattr(response, name) != getattr(request, name):
                raise NegotiationError(f"{name} of the response is not that of the request", "6.3")
        if response.version_active != 0:
            raise NegotiationError(f"version {response.version_active} was not offered", "11.13.2")
        if not response.transit:
            return
        if not request.transit or response.continuation:
            raise NegotiationError("a T bit that was not asked for, or together with C", "11.13.6")
        if not request.current_stage < response.next_stage <= request.next_stage or response.next_stage == 2:
            raise NegotiationError(f"stage {response.next_stage} cannot come next", "6.3")

    def _answer(self, pairs: list[Pair]) -> list[Pair]:
        if self._stage == Stage.OPERATIONAL_NEGOTIATION:
            return self._negotiator.receive(pairs)
        security = [pair for pair in pairs if pair[0] in SECURITY_KEYS]
        others = [pair for pair in pairs if pair[0] not in SECURITY_KEYS]
        self._negotiator.seen.add(security)
        answers = self._negotiator.receive(others, security_stage=True)
        answers = self._security.receive(security) + answers
        self._wants_transit = self._security.answered
        return answers

    def _transit(self, response: LoginResponse, answers: list[Pair]) -> LoginRequest | None:
        self._check_portal_group()
        # An unknown key that comes with T=1 cannot be answered any more, and need not be.
        if any(value != NOT_UNDERSTOOD for _, value in answers):
            raise NegotiationError(f"{answers[0][0]} asks for an answer, but T is set", "11.13.6")
        if not self._security.complete:
            raise NegotiationError("the target skipped authentication", "9.2")
        self._stage = Stage(response.next_stage)
        if self._stage == Stage.FULL_FEATURE:
            self._finish(response)
            return None
        self._wants_transit = True
        return self._say(self._negotiator.offer())

    def _check_portal_group(self) -> None:
        tag = self._negotiator.declared_by_peer("TargetPortalGroupTag")
        expected = self._config.portal_group_tag
        if tag is not None and expected is not None and tag != str(expected):
            raise NegotiationError(f"portal group {tag} instead of {expected}", "13.9")

    def _finish(self, response: LoginResponse) -> None:
        if response.tsih == 0 or self._template.tsih not in (0, response.tsih):
            raise NegotiationError(f"TSIH {response.tsih} in the final response", "11.13.3")
        self.parameters = self._negotiator.finish()
        self.tsih = response.tsih


_NEXT_STAGE = {
    Stage.SECURITY_NEGOTIATION: Stage.OPERATIONAL_NEGOTIATION,
    Stage.OPERATIONAL_NEGOTIATION: Stage.FULL_FEATURE,
}


class _Security:
    """The security negotiation (RFC 7143 sections 6.3.2 and 12.1)."""

    def __init__(self, config: LoginConfig, rng: Randomness) -> None:
        self._chap = ChapInitiator(config.chap, rng=rng) if config.chap is not None else None
        self._started = False

    @property
    def complete(self) -> bool:
        return self._chap is None or self._chap.complete

    @property
    def answered(self) -> bool:
        """True when nothing of ours is missing: we may ask for the next stage."""
        return self._chap is None or self._chap.answered

    def start(self) -> list[Pair]:
        return [("AuthMethod", "None" if self._chap is None else "CHAP")]

    def receive(self, pairs: list[Pair]) -> list[Pair]:
        """Take the security keys of one response, give those of the next request."""
        keys = dict(pairs)
        if "AuthMethod" in keys:
            return self._begin(keys)
        if self._chap is None or (self._chap.complete and not pairs):
            if pairs:
                raise NegotiationError(f"{pairs[0][0]} without an authentication method for it", "9.2")
            return []
        if not self._started:
            raise NegotiationError("no answer to AuthMethod", "6.3.2")
        return self._chap.receive(pairs)

    def _begin(self, keys: dict[str, str]) -> list[Pair]:
        offered = dict(self.start())["AuthMethod"]
        if keys["AuthMethod"] != offered:
            raise NegotiationError(
                f"AuthMethod={shown(keys['AuthMethod'])}, but {offered} was offered", "6.3.2"
            )
        if len(keys) > 1:
            raise NegotiationError("authentication keys together with the choice of the method", "9.2")
        self._started = True
        return self._chap.start() if self._chap is not None else []
