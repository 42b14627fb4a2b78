"""The target's half of the login phase (RFC 7143 sections 6.3, 11.12 and 11.13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from iscsim.errors import LocalProtocolError, NegotiationError
from iscsim.pdu import DEFAULT_MAX_RECV_DATA_SEGMENT_LENGTH, LoginRequest, LoginResponse, LoginStatus, Stage
from iscsim.pdu.text import MAX_TEXT_LENGTH, Pair, encode_text, parse_list, shown
from iscsim.session.chap import ChapConfig, ChapReflected, ChapTarget, Randomness
from iscsim.session.keys import KEYS, SECURITY_KEYS, Role, Rule, SessionType, in_any_case
from iscsim.session.login_status import RedirectLogin, login_error
from iscsim.session.negotiation import Negotiator
from iscsim.session.parameters import Parameters, Wishes
from iscsim.session.rules import SeenKeys, check_declaration
from iscsim.session.text import TextExchange

#: Bytes of text in one login: with the PDU that is still coming, 64 KiB are kept of a stranger.
_MAX_TEXT_LENGTH = MAX_TEXT_LENGTH - DEFAULT_MAX_RECV_DATA_SEGMENT_LENGTH


class TargetView(Protocol):
    """What a login needs to know of a target."""

    @property
    def name(self) -> str: ...

    @property
    def alias(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginResult:
    """A login that is about to be accepted. ``tsih`` is the initiator's: 0 for a new session."""

    initiator_name: str
    session_type: SessionType
    target: TargetView | None
    isid: bytes
    tsih: int
    cid: int
    cmd_sn: int
    parameters: Parameters
    #: The name the initiator has proven with CHAP, if it had to.
    chap_identity: str | None


class LoginPolicy(Protocol):
    """What the target node decides. Each method may raise NegotiationError with the status to answer."""

    @property
    def portal_group_tag(self) -> int | None:
        """The tag of the portal group the connection came in through; None to keep it to itself."""

    def find_target(self, initiator_name: str, target_name: str) -> TargetView:
        """The target of that name, if this initiator may use it here (0x0203, 0x0202, RedirectLogin)."""

    def find_session(
        self, initiator_name: str, target: TargetView | None, isid: bytes, tsih: int, cid: int
    ) -> Parameters:
        """The parameters of the session a connection with a TSIH other than 0 joins (0x0206, 0x0208, 0x020a).

        Asked only when the initiator has proven who it is: others must not learn which sessions there are.
        """

    def authentication(
        self, initiator_name: str, session_type: SessionType, target: TargetView | None
    ) -> ChapConfig | None:
        """The CHAP this initiator has to do, or None; ``target`` is None in a discovery session."""

    def wishes(self, target: TargetView | None) -> Wishes:
        """What the target asks for and agrees to."""

    def admit(self, result: LoginResult) -> int:
        """Accept the login, which is then final, and give the session's TSIH (0x0206, 0x020a, 0x0302).

        Called once, after authentication and negotiation, right before the final response.
        """


class TargetLogin:
    """Takes the Login Requests of one connection, gives the Login Responses.

    Responses leave ``stat_sn``, ``exp_cmd_sn`` and ``max_cmd_sn`` 0: the connection numbers them. After
    a response, ``complete`` says that the full feature phase has begun, ``error`` that the connection
    must be closed.
    """

    def __init__(self, policy: LoginPolicy, *, rng: Randomness) -> None:
        self._policy = policy
        self._rng = rng
        self._exchange = TextExchange(DEFAULT_MAX_RECV_DATA_SEGMENT_LENGTH, limit=_MAX_TEXT_LENGTH)
        self._first: LoginRequest | None = None
        self._stage: int = Stage.SECURITY_NEGOTIATION
        self._negotiator: Negotiator | None = None
        self._security = _Security(None, rng)
        self._target: TargetView | None = None
        self._initiator_name = ""
        self._asked = False
        #: What was agreed on, once complete.
        self.result: LoginResult | None = None
        #: Why the login failed.
        self.error: NegotiationError | None = None

    @property
    def complete(self) -> bool:
        return self.result is not None

    @property
    def initiator_name(self) -> str:
        """The initiator's name, empty as long as it is unknown."""
        return self._initiator_name

    def receive(self, request: LoginRequest) -> LoginResponse | None:
        """The response to ``request``; None when the connection is to be closed without one.

        Raises LocalProtocolError after the end of the login.
        """
        if self.complete or self.error is not None:
            raise LocalProtocolError("the login has ended", "6.3")
        try:
            return self._receive(request)
        except ChapReflected as error:
            self.error = error
            return None
        except NegotiationError as error:
            return self.refuse(error, request)

    def refuse(self, error: NegotiationError, request: LoginRequest | None = None) -> LoginResponse:
        """End the login with the status of ``error``, for instance because time is up.

        Without ``request`` the response answers the first one. Then close the connection.
        """
        self.error = error
        request = request or self._first or LoginRequest()
        address = [("TargetAddress", error.address)] if isinstance(error, RedirectLogin) else []
        return LoginResponse(
            isid=request.isid,
            tsih=request.tsih,
            initiator_task_tag=request.initiator_task_tag,
            status_class=error.status_class,
            status_detail=error.status_detail,
            data=encode_text(address),
        )

    def _receive(self, request: LoginRequest) -> LoginResponse:
        self._check_request(request)
        pairs = self._exchange.receive(bytes(request.data), request.continuation)
        if pairs is not None:
            if self._policy.wishes(self._target).any_case:
                pairs = in_any_case(pairs)
            self._exchange.put(self._answer(request, pairs))
        data, continued = self._exchange.take()
        response = self._response(request, data, continued)
        if not request.continuation and not continued and request.transit:
            self._transit(request, response)
        return response

    def _response(self, request: LoginRequest, data: bytes, continued: bool) -> LoginResponse:
        return LoginResponse(
            continuation=continued,
            current_stage=request.current_stage,
            isid=request.isid,
            tsih=request.tsih,
            initiator_task_tag=request.initiator_task_tag,
            data=data,
        )

    # -- the header of a request

    def _check_request(self, request: LoginRequest) -> None:
        if self._first is None:
            if request.version_min > 0:
                raise login_error(
                    LoginStatus.UNSUPPORTED_VERSION, f"version {request.version_min}", "11.12.4"
                )
            if request.current_stage not in (Stage.SECURITY_NEGOTIATION, Stage.OPERATIONAL_NEGOTIATION):
                raise NegotiationError(f"a login cannot begin in stage {request.current_stage}", "6.3")
            self._first, self._stage = request, request.current_stage
        self._check_constants(request, self._first)
        if request.current_stage != self._stage:
            raise NegotiationError(f"stage {request.current_stage} instead of {self._stage}", "6.3")
        if request.transit:
            self._check_transition(request)

    def _check_constants(self, request: LoginRequest, first: LoginRequest) -> None:
        for name in _CONSTANTS:
            if getattr(request, name) != getattr(first, name):
                raise NegotiationError(f"{name} changed during the login", "6.3")
        # RFC 7143 11.12.8: only on further connections may CmdSN have moved on.
        if first.tsih == 0 and request.cmd_sn != first.cmd_sn:
            raise NegotiationError("CmdSN changed during the login", "11.12.8")

    def _check_transition(self, request: LoginRequest) -> None:
        if request.continuation:
            raise NegotiationError("T and C are both set", "11.12.2")
        if (request.current_stage, request.next_stage) not in _TRANSITIONS:
            raise NegotiationError(
                f"no way from stage {request.current_stage} to {request.next_stage}", "6.3"
            )

    # -- its text

    def _answer(self, request: LoginRequest, pairs: list[Pair]) -> list[Pair]:
        negotiator, opening = self._negotiator, []
        if negotiator is None:
            negotiator = self._negotiator = self._identify(request, pairs)
            opening = self._opening(negotiator)
        if self._stage == Stage.OPERATIONAL_NEGOTIATION:
            self._join(request, negotiator)
            answers = negotiator.receive(pairs)
            offers = negotiator.offer(final=request.transit)
            # RFC 7143 section 11.13.6: with the T bit nothing is sent that may be answered
            self._asked = any(KEYS[name].rule is not Rule.DECLARATION for name, _ in offers)
            return opening + answers + offers
        security = [pair for pair in pairs if pair[0] in SECURITY_KEYS]
        others = [pair for pair in pairs if pair[0] not in SECURITY_KEYS]
        negotiator.seen.add(security)
        answers = negotiator.receive(others, security_stage=True)
        return self._security.receive(security) + opening + answers

    def _identify(self, request: LoginRequest, pairs: list[Pair]) -> Negotiator:
        """Who wants what: the rules of the first request (RFC 7143 section 6.3.1)."""
        SeenKeys().add(pairs)
        keys = dict(pairs)
        name = self._initiator_name = _name(keys, "InitiatorName")
        session_type = _session_type(keys)
        if session_type is SessionType.NORMAL or "TargetName" in keys:
            self._target = self._policy.find_target(name, _name(keys, "TargetName"))
        config = self._policy.authentication(name, session_type, self._target)
        if config is not None and config.required and self._stage != Stage.SECURITY_NEGOTIATION:
            raise login_error(LoginStatus.AUTHENTICATION_FAILURE, "authentication was skipped", "6.3.1")
        self._security = _Security(config, self._rng)
        return Negotiator(Role.TARGET, self._policy.wishes(self._target), session_type=session_type)

    def _join(self, request: LoginRequest, negotiator: Negotiator) -> None:
        """Find the session a further connection joins, once security is behind us."""
        if request.tsih != 0 and not negotiator.joins:
            negotiator.join(
                self._policy.find_session(
                    self._initiator_name, self._target, request.isid, request.tsih, request.cid
                )
            )

    def _opening(self, negotiator: Negotiator) -> list[Pair]:
        """What the first whole response tells the initiator (RFC 7143 sections 6.3.1 and 13.6)."""
        tag = self._policy.portal_group_tag
        pairs = [] if tag is None else [("TargetPortalGroupTag", str(tag))]
        if self._target is not None and self._target.alias and negotiator.session_type is SessionType.NORMAL:
            pairs.append(("TargetAlias", self._target.alias))
        return negotiator.declare(pairs)

    # -- the way on

    def _transit(self, request: LoginRequest, response: LoginResponse) -> None:
        """Grant the transition the initiator asks for, if this stage is done."""
        assert self._negotiator is not None
        if not self._security.complete or self._negotiator.pending or self._asked:
            return
        self._join(request, self._negotiator)
        next_stage = request.next_stage
        if self._stage == Stage.SECURITY_NEGOTIATION and self._negotiator.needs_operational_stage:
            next_stage = Stage.OPERATIONAL_NEGOTIATION
        if next_stage == Stage.FULL_FEATURE:
            result = self._result(request, self._negotiator.finish())
            response.tsih = self._policy.admit(result)
            self.result = result
        response.transit, response.next_stage = True, next_stage
        self._stage = next_stage

    def _result(self, request: LoginRequest, parameters: Parameters) -> LoginResult:
        return LoginResult(
            initiator_name=self._initiator_name,
            session_type=parameters.session_type,
            target=self._target,
            isid=request.isid,
            tsih=request.tsih,
            cid=request.cid,
            cmd_sn=request.cmd_sn,
            parameters=parameters,
            chap_identity=self._security.identity,
        )


#: What stays the same in all requests of one login (RFC 7143 sections 11.12.4 to 11.12.7).
_CONSTANTS = ("isid", "tsih", "cid", "initiator_task_tag", "version_max", "version_min")

#: RFC 7143 section 6.3.
_TRANSITIONS = frozenset(
    (
        (Stage.SECURITY_NEGOTIATION, Stage.OPERATIONAL_NEGOTIATION),
        (Stage.SECURITY_NEGOTIATION, Stage.FULL_FEATURE),
        (Stage.OPERATIONAL_NEGOTIATION, Stage.FULL_FEATURE),
    )
)


class _Security:
    """The security negotiation: which method, and its steps (RFC 7143 sections 6.3.2 and 12.1)."""

    def __init__(self, config: ChapConfig | None, rng: Randomness) -> None:
        self._chap = ChapTarget(config, rng=rng) if config is not None else None
        self._required = config is not None and config.required
        self._chosen = False
        self._proposed = False

    @property
    def complete(self) -> bool:
        return self._chap is None or self._chap.complete or not (self._required or self._chosen)

    @property
    def identity(self) -> str | None:
        return self._chap.identity if self._chap is not None else None

    def receive(self, pairs: list[Pair]) -> list[Pair]:
        """Take the security keys of one request, give those of the response."""
        steps = [pair for pair in pairs if pair[0] != "AuthMethod"]
        if len(steps) < len(pairs):
            return self._choose(parse_list(dict(pairs)["AuthMethod"]), steps)
        if self._chosen and self._chap is not None and not self._chap.complete:
            return self._chap.receive(steps)
        if steps:
            raise NegotiationError(f"{steps[0][0]} without an authentication method for it", "9.2")
        if self.complete:
            return []
        if self._proposed:
            raise login_error(LoginStatus.AUTHENTICATION_FAILURE, "no answer to AuthMethod=CHAP", "6.3.2")
        # The initiator leaves it to us to propose (RFC 7143 6.3.2).
        self._proposed = True
        return [("AuthMethod", "CHAP")]

    def _choose(self, offered: list[str], steps: list[Pair]) -> list[Pair]:
        supported = ["CHAP"] if self._chap is not None else []
        supported += [] if self._required else ["None"]
        # RFC 7143 section 6.2.1: the first of the offered values that we support
        method = next((name for name in offered if name in supported), None)
        if method is None:
            raise login_error(
                LoginStatus.AUTHENTICATION_FAILURE,
                f"AuthMethod={shown(','.join(offered))}, where {' or '.join(supported)} is asked for",
                "6.3.2",
            )
        self._chosen = True
        if method == "None":
            self._chap = None
        if self._proposed and self._chap is not None:
            # The initiator accepts our proposal and makes the first step at once (RFC 7143 12.1).
            return self._chap.receive(steps)
        if steps:
            raise NegotiationError(f"{steps[0][0]} before the method was chosen", "9.2")
        return [("AuthMethod", method)]


def _name(keys: dict[str, str], key: str) -> str:
    if key not in keys:
        raise login_error(LoginStatus.MISSING_PARAMETER, f"{key} is missing", KEYS[key].section)
    check_declaration(KEYS[key], keys[key])
    return keys[key]


def _session_type(keys: dict[str, str]) -> SessionType:
    value = keys.get("SessionType", "Normal")
    try:
        return SessionType(value)
    except ValueError:
        raise login_error(
            LoginStatus.SESSION_TYPE_NOT_SUPPORTED, f"SessionType={shown(value)}", "13.21"
        ) from None
