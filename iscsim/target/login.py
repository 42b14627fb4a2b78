"""Logging in to a target node: who may, to what, and what becomes of sessions there were."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from iscsim.errors import ConfigError, NegotiationError, RemoteProtocolError
from iscsim.pdu import LoginRequest, LoginResponse, LoginStatus
from iscsim.session.chap import ChapConfig
from iscsim.session.events import LoginCompleted, LoginRefused
from iscsim.session.keys import SessionType
from iscsim.session.login import LoginResult, TargetLogin, TargetView, login_error
from iscsim.session.numbering import CommandWindow
from iscsim.session.parameters import Parameters, Wishes
from iscsim.target.node import TargetNode
from iscsim.target.session import TargetSession, make_nexus

if TYPE_CHECKING:
    from iscsim.target.connection import TargetConnection

_REINSTATED = "session reinstated by a new login"


class LoginService:
    """The login phase of one connection; it is the ``LoginPolicy`` of its own login machine."""

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self._entity = connection.entity
        self._login = TargetLogin(self, rng=connection.rng)
        self._window: CommandWindow | None = None
        self._session: TargetSession | None = None
        self._node: TargetNode | None = None

    def receive(self, request: LoginRequest) -> None:
        """Answer a Login Request; on success the connection enters the full feature phase."""
        if self._window is None:
            # RFC 7143 section 11.12.8: the leading login sets the session's first CmdSN
            self._window = CommandWindow(request.cmd_sn, self._entity.policy.command_window)
        response = self._login.receive(request)
        if response is not None:
            self._send(response)
        if self._login.error is not None:
            self._report(self._login.error)
        elif self._login.complete:
            self._complete()

    def refuse(self, error: RemoteProtocolError) -> None:
        """Tell the initiator that its login fails for ``error``, if it was told nothing yet."""
        if self._login.error is None and self._window is not None:
            status = error if isinstance(error, NegotiationError) else NegotiationError(str(error))
            self._send(self._login.refuse(status))
            self._report(status)

    def _send(self, response: LoginResponse) -> None:
        connection, window = self._connection, self._window
        assert window is not None
        if self._session is not None:
            window = self._session.window
        response.exp_cmd_sn, response.max_cmd_sn = window.exp_cmd_sn, window.max_cmd_sn
        if response.status_class == 0:  # RFC 7143 section 11.13.4: StatSN is valid only then
            response.stat_sn = connection.stat_sn
            connection.stat_sn = (connection.stat_sn + 1) & 0xFFFFFFFF
        connection.send(response)

    def _report(self, error: NegotiationError) -> None:
        status = error.status_class << 8 | error.status_detail
        self._connection._events.append(LoginRefused(status, str(error)))
        self._connection.end(f"login refused with {status:#06x}: {error}")

    def _complete(self) -> None:
        result, session = self._login.result, self._session
        assert result is not None
        assert session is not None
        session.connections[result.cid] = self._connection
        self._connection.begin_session(session, result.cid)
        event = LoginCompleted(result.initiator_name, result.session_type.value)
        self._connection._events.append(event)
        if session.nexus is not None:
            self._entity.device_server.nexus_established(session.nexus)

    # -- LoginPolicy: what the node decides --------------------------------------------------------

    @property
    def portal_group_tag(self) -> int:
        """The tag of the portal group this connection came in through."""
        portal, nodes = self._connection.portal, [self._node] if self._node else self._entity.nodes.values()
        groups = (node.group_of(portal) for node in nodes)
        return next((group.tag for group in groups if group), 1)

    def find_target(self, initiator_name: str, target_name: str) -> TargetView:
        """The node of that name, if it is here and lets this initiator in."""
        node = self._entity.nodes.get(target_name.lower())  # RFC 7143 section 4.2.7.2: one form, lower case
        policy = self._entity.policy
        if node is None or node.group_of(self._connection.portal) is None:
            raise login_error(policy.unknown_target, f"no target {target_name} at this portal", "11.13.5")
        if not node.admits(initiator_name):
            raise login_error(
                node.policy.refused_initiator, f"{initiator_name} may not use {target_name}", "11.13.5"
            )
        self._node = node
        return node

    def find_session(
        self, initiator_name: str, target: TargetView | None, isid: bytes, tsih: int
    ) -> Parameters:
        """Joining an existing session (RFC 7143 section 6.3.1): there is one connection per session."""
        for session in self._entity.sessions:
            if session.tsih == tsih and session.initiator_name == initiator_name and session.isid == isid:
                # RFC 7143 section 13.2: MaxConnections was negotiated to 1
                raise login_error(LoginStatus.TOO_MANY_CONNECTIONS, "MaxConnections is 1", "6.3.1")
        raise login_error(LoginStatus.SESSION_DOES_NOT_EXIST, f"no session {tsih:#06x}", "6.3.1")

    def authentication(
        self, initiator_name: str, session_type: SessionType, target: TargetView | None
    ) -> ChapConfig | None:
        """The CHAP asked of this initiator, within what the personality knows."""
        chap, known = self._chap_of(initiator_name, session_type, target), self._entity.policy.chap_algorithms
        if chap is None:
            return None
        return replace(chap, algorithms=tuple(each for each in chap.algorithms if each in known))

    def _chap_of(
        self, initiator_name: str, session_type: SessionType, target: TargetView | None
    ) -> ChapConfig | None:
        if target is None or session_type is SessionType.DISCOVERY:
            return self._entity.discovery_chap_of(initiator_name)
        return cast(TargetNode, target).chap_of(initiator_name)

    def wishes(self, target: TargetView | None) -> Wishes:
        """What this target negotiates for."""
        return self._entity.policy.wishes

    def admit(self, result: LoginResult) -> int:
        """Make the session; one of the same I_T nexus is reinstated (RFC 7143 section 6.3.5)."""
        node = cast(TargetNode | None, result.target)
        normal = result.session_type is SessionType.NORMAL
        nexus = None
        if normal:
            assert node is not None
            nexus = make_nexus(node, result.initiator_name, result.isid, self.portal_group_tag)
            old = node.find_session(result.initiator_name, result.isid, self.portal_group_tag)
            if old is not None:
                old.end(_REINSTATED)
        else:
            self._reinstate_discovery(result)
        try:
            tsih = self._entity.new_tsih(self._connection.rng.getrandbits(16))
        except ConfigError as error:
            raise login_error(LoginStatus.OUT_OF_RESOURCES, str(error), "11.13.5") from error
        session = TargetSession(
            self._entity, node if normal else None, result.isid, tsih, result.parameters, result.cmd_sn, nexus
        )
        if not normal:
            session.discovers_at = self._came_to(result)
        (node.sessions if normal and node else self._entity.discovery_sessions).append(session)
        self._session = session
        return tsih

    def _reinstate_discovery(self, result: LoginResult) -> None:
        """One discovery session for each initiator name, ISID, and what it came to.

        RFC 7143 section 7.4.2: for an unnamed one that is the portal, for a named one the target and its
        portal group.
        """
        came_to = self._came_to(result)
        for session in list(self._entity.discovery_sessions):
            identity = session.initiator_name, session.isid, session.discovers_at
            if identity == (result.initiator_name, result.isid, came_to):
                session.end(_REINSTATED)

    def _came_to(self, result: LoginResult) -> object:
        named = result.target
        return (named.name, self.portal_group_tag) if named is not None else self._connection.portal
