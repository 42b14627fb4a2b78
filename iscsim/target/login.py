"""Logging in to a target node: who may, to what, and what becomes of sessions there were."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from iscsim.errors import ConfigError, NegotiationError, RemoteProtocolError
from iscsim.pdu import LoginRequest, LoginResponse, LoginStatus
from iscsim.session.chap import ChapConfig
from iscsim.session.events import LoginCompleted, LoginRefused
from iscsim.session.keys import SessionType
from iscsim.session.login import LoginResult, RedirectLogin, TargetLogin, TargetView, login_error
from iscsim.session.numbering import CommandWindow
from iscsim.session.parameters import Parameters, Wishes
from iscsim.target.node import PortalGroup, TargetNode
from iscsim.target.session import TargetSession, make_nexus

if TYPE_CHECKING:
    from iscsim.target.connection import TargetConnection
    from iscsim.target.policy import TargetPolicy

_REINSTATED = "session reinstated by a new login"


class LoginService:
    """The login phase of one connection; it is the ``LoginPolicy`` of its own login machine."""

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self._entity = connection.entity
        self._login = TargetLogin(self, rng=connection.rng)
        self._window: CommandWindow | None = None
        self._session: TargetSession | None = None
        self._session_type = SessionType.NORMAL
        self._node: TargetNode | None = None
        self.refusal: NegotiationError | None = None
        """What every login of this connection is answered with, if it is not to be let in at all."""

    def receive(self, request: LoginRequest) -> None:
        """Answer a Login Request; on success the connection enters the full feature phase."""
        if self._window is None:
            # RFC 7143 section 11.12.8: the leading login sets the session's first CmdSN
            self._window = CommandWindow(request.cmd_sn, self._entity.policy.command_window)
        if self._refuse_all(request):
            return
        response = self._login.receive(request)
        if response is not None:
            self._send(response)
        if self._login.error is not None:
            self._report(self._login.error)
        elif self._login.complete:
            self._complete()

    def _refuse_all(self, request: LoginRequest) -> bool:
        refusal = self.refusal
        if self._entity.closing:
            refusal = login_error(LoginStatus.SERVICE_UNAVAILABLE, "the target is shutting down")
        if refusal is not None:
            self._send(self._login.refuse(refusal, request))
            self._report(refusal)
        return refusal is not None

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
        if session.nexus is not None and result.tsih == 0:
            self._entity.device_server.nexus_established(session.nexus)
            if self._entity.policy.announces_attentions:
                session.nexus.on_attention = session.announce_attention

    # -- LoginPolicy: what the node decides --------------------------------------------------------

    @property
    def _policy(self) -> TargetPolicy:
        return self._entity.policy if self._node is None else self._node.policy

    @property
    def portal_group_tag(self) -> int | None:
        """The tag of the portal group this connection came in through, if it is told."""
        return self._tag if self._policy.tells_portal_group_tag else None

    @property
    def _tag(self) -> int:
        portal, nodes = self._connection.portal, [self._node] if self._node else self._entity.nodes.values()
        groups = (node.group_of(portal) for node in nodes)
        return next((group.tag for group in groups if group), 1)

    def find_target(self, initiator_name: str, target_name: str) -> TargetView:
        """The node of that name, if it is here, lets this initiator in, and is not somewhere else."""
        node = self._entity.nodes.get(target_name.lower())  # RFC 7143 section 4.2.7.2: one form, lower case
        portal = self._connection.portal
        group = node.group_of(portal) if node is not None else None
        if node is None and self._entity.was_removed(target_name, initiator_name):
            raise login_error(LoginStatus.TARGET_REMOVED, f"target {target_name} was removed")
        if node is None or group is None:
            unknown = self._entity.policy.unknown_target
            raise login_error(unknown, f"no target {target_name} at this portal")
        self._check_admission(node, group, initiator_name)
        if node.login_refusal is not None:
            raise login_error(node.login_refusal, f"{target_name} refuses every login")
        redirect = node.redirect_of(portal, self._connection.local_address)
        if redirect is not None:
            raise RedirectLogin(
                redirect.shown_at(self._connection.local_address), permanent=redirect.permanent
            )
        self._node = node
        return node

    def _check_admission(self, node: TargetNode, group: PortalGroup, initiator_name: str) -> None:
        if not node.admits(initiator_name, group.tag):
            message = f"{initiator_name} may not use {node.name}"
            raise login_error(node.policy.refused_initiator, message)
        if not group.enabled:
            raise login_error(LoginStatus.SERVICE_UNAVAILABLE, f"portal group {group.tag} is disabled")

    def _check_still(self, initiator_name: str) -> None:
        """What let the login begin may have been taken away meanwhile."""
        node = self._node
        if node is None:
            return
        group = node.group_of(self._connection.portal)
        if self._entity.nodes.get(node.name) is not node or group is None:
            raise login_error(self._policy.unknown_target, f"target {node.name} is not here any more")
        self._check_admission(node, group, initiator_name)

    def find_session(
        self, initiator_name: str, target: TargetView | None, isid: bytes, tsih: int, cid: int
    ) -> Parameters:
        """The session a connection may join: in the place of one of its CID (RFC 7143 section 6.3.1)."""
        return self._joined(initiator_name, target, isid, tsih, cid).parameters

    def _joined(
        self, initiator_name: str, target: TargetView | None, isid: bytes, tsih: int, cid: int
    ) -> TargetSession:
        key = (tsih, initiator_name, isid)
        for session in self._entity.sessions:
            if (session.tsih, session.initiator_name, session.isid) == key and self._is_of(session, target):
                break
        else:
            raise login_error(LoginStatus.SESSION_DOES_NOT_EXIST, f"no session {tsih:#06x}", "6.3.1")
        if not session.is_discovery and session.portal_group_tag != self._tag:
            # RFC 7143 section 4.4.1: the connections of a session are within one portal group
            message = f"session {tsih:#06x} is in portal group {session.portal_group_tag}, not {self._tag}"
            raise login_error(LoginStatus.CANNOT_INCLUDE_IN_SESSION, message, "6.3.1")
        if cid not in session.connections:
            # RFC 7143 section 13.2: MaxConnections was negotiated to 1
            raise login_error(LoginStatus.TOO_MANY_CONNECTIONS, "MaxConnections is 1", "6.3.1")
        return session

    def _is_of(self, session: TargetSession, target: TargetView | None) -> bool:
        """Whether a session of this type and with this target is meant."""
        if self._session_type is SessionType.DISCOVERY:
            return session.is_discovery and session.discovers_at == self._came_to(target)
        return session.node is target

    def authentication(
        self, initiator_name: str, session_type: SessionType, target: TargetView | None
    ) -> ChapConfig | None:
        """The CHAP asked of this initiator, within what the personality knows."""
        self._session_type = session_type
        chap, known = self._chap_of(initiator_name, session_type, target), self._policy.chap_algorithms
        if chap is None:
            return None
        return replace(chap, algorithms=tuple(each for each in chap.algorithms if each in known))

    def _chap_of(
        self, initiator_name: str, session_type: SessionType, target: TargetView | None
    ) -> ChapConfig | None:
        if target is None or session_type is SessionType.DISCOVERY:
            return self._entity.discovery_chap_of(initiator_name)
        return cast(TargetNode, target).chap_of(initiator_name, self._tag)

    def wishes(self, target: TargetView | None) -> Wishes:
        """What this target negotiates for."""
        return self._policy.wishes

    def admit(self, result: LoginResult) -> int:
        """Make the session, or let the connection into the one it is to join."""
        self._check_still(result.initiator_name)
        if result.tsih == 0:
            self._session = self._begin_session(result)
        else:
            name, target, cid = result.initiator_name, result.target, result.cid
            self._session = self._joined(name, target, result.isid, result.tsih, cid)
            self._session.reinstate(cid, result.parameters, "connection reinstated by a new login")
        return self._session.tsih

    def _begin_session(self, result: LoginResult) -> TargetSession:
        """A new session; one of the same I_T nexus is reinstated (RFC 7143 section 6.3.5)."""
        node = cast(TargetNode | None, result.target)
        nexus = None
        if result.session_type is SessionType.NORMAL:
            assert node is not None
            nexus = make_nexus(node, result.initiator_name, result.isid, self._tag)
            old = node.find_session(result.initiator_name, result.isid, self._tag)
            sessions = node.sessions
        else:
            old, sessions = self._old_discovery(result), self._entity.discovery_sessions
        limit = self._entity.policy.max_sessions
        if limit and old is None and len(sessions) >= limit:
            raise login_error(LoginStatus.OUT_OF_RESOURCES, f"all {limit} sessions are in use")
        if old is not None:
            old.end(_REINSTATED)
        session = TargetSession(
            self._entity,
            node if nexus is not None else None,
            result.isid,
            self._new_tsih(),
            result.parameters,
            result.cmd_sn,
            nexus,
        )
        if nexus is None:
            session.discovers_at = self._came_to(result.target)
        sessions.append(session)
        return session

    def _new_tsih(self) -> int:
        try:
            return self._entity.new_tsih(self._connection.rng.getrandbits(16))
        except ConfigError as error:
            raise login_error(LoginStatus.OUT_OF_RESOURCES, str(error)) from error

    def _old_discovery(self, result: LoginResult) -> TargetSession | None:
        """The discovery session this one reinstates: one for each name, ISID, and what it came to.

        RFC 7143 section 7.4.2: for an unnamed one that is the portal, for a named one the target and its
        portal group.
        """
        wanted = result.initiator_name, result.isid, self._came_to(result.target)
        for session in self._entity.discovery_sessions:
            if (session.initiator_name, session.isid, session.discovers_at) == wanted:
                return session
        return None

    def _came_to(self, named: TargetView | None) -> object:
        return (named.name, self._tag) if named is not None else self._connection.portal
