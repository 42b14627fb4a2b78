"""A host of a lab: initiators with its name, network and chance filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from iscsim.errors import ConfigError, ISCSIError
from iscsim.initiator.client import Connecting, connect
from iscsim.initiator.discovery import DiscoveredTarget, discover
from iscsim.initiator.recovering_session import RecoveringSession, log_in
from iscsim.initiator.session_state import SessionState, SessionStateChanged
from iscsim.lab.serving import LiveTarget
from iscsim.openstack.attach import AttachedVolume, attach
from iscsim.openstack.connection_info import ConnectionInfo, parse_connection_info
from iscsim.session.events import ConnectionEnded

if TYPE_CHECKING:
    from iscsim.initiator.scan import LogicalUnitInfo
    from iscsim.initiator.session import Session
    from iscsim.lab.world import Lab
    from iscsim.net.network import Network
    from iscsim.session.chap import Randomness

__all__ = ["LabHost"]


class LabHost:
    """One host; `Lab.host` makes it. Its sessions are the lab's to judge: who opens one closes it.

    ``initiator_name`` is the name it logs in with, ``network`` what its programs run on, ``clock_offset_s``
    how far its time of day is ahead of the lab's.
    """

    def __init__(self, lab: Lab, name: str, network: Network, rng: Randomness | None) -> None:
        self.lab, self.name, self.network, self.rng = lab, name, network, rng
        self.clock_offset_s = 0.0
        self.initiator_name = f"iqn.2026-11.org.iscsim:{name}"

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        mine = {"initiator_name": self.initiator_name, "network": self.network, "rng": self.rng}
        return mine | {"recorder": self.lab.recorder} | dict(given)

    def clock(self) -> float:
        """Its time of day: the loop's, and what it has been set forward by."""
        return self.lab.now + self.clock_offset_s

    def _login_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return self._options({"clock": self.clock} | dict(given))

    def connect(self, target: LiveTarget | str, portal: int | str = 0, **options: Any) -> Connecting:
        """`iscsim.connect` to a target, or the name of one: through its first portal, another (from 0), or an
        address. ``options`` are those of `iscsim.connect`."""
        there = self.lab.live_target(target) if not isinstance(portal, str) else None
        live = target if isinstance(target, LiveTarget) else there
        where = there.portals[portal] if there and isinstance(portal, int) else str(portal)
        name = live.name_at(where) if live and where in live.portals else live.name if live else str(target)
        opening = connect(self.lab.real_portal(where), name, **self._login_options(options))
        return Connecting(lambda: self._log_in(opening, name, where))

    async def _log_in(self, opening: Connecting, target: str, portal: str) -> Session:
        names = {"host": self.name, "target": target, "portal": portal}
        try:
            session = await opening
        except ISCSIError as error:
            self.lab.trace.add("login failed", **names, error=type(error).__name__, message=str(error))
            raise
        self.watch(session, **names)
        return session

    async def log_in(
        self, target: LiveTarget | str, portal: int | str = 0, **options: Any
    ) -> RecoveringSession:
        """`iscsim.initiator.log_in` to a target, as `connect` names it: a session that lives."""
        there = self.lab.live_target(target) if not isinstance(portal, str) else None
        name = target.name if isinstance(target, LiveTarget) else target
        where = there.portals[portal] if there and isinstance(portal, int) else str(portal)
        session = await log_in(self.lab.real_portal(where), name, **self._login_options(options))
        names = {"host": self.name, "target": name}

        def heard(event: object) -> None:
            if isinstance(event, SessionStateChanged):
                self.lab.trace.add("session state", **names, state=str(event.state), message=event.reason)
                if event.state is SessionState.LOGGED_IN and session.session is not None:
                    self.watch(session.session, **names, portal=str(session.portal))

        session.listeners.append(heard)
        if session.session is not None:
            self.watch(session.session, **names, portal=where)
        return session

    def watch(self, session: Session, **names: str) -> None:
        """Note a session that has logged in, and its end."""
        self.lab.trace.add("login", **names)
        self.lab.oracles.watch(self.name, session)

        def ended(event: object) -> None:
            if isinstance(event, ConnectionEnded):
                self.lab.trace.add("session ended", **names, message=event.message)

        session.on_event(ended)

    async def discover(self, portal: LiveTarget | str, **options: Any) -> list[DiscoveredTarget]:
        """`iscsim.discover` at a portal, or at the first one of a target."""
        where = portal.portal if isinstance(portal, LiveTarget) else portal
        return await discover(self.lab.real_portal(where), **self._options(options))

    async def scan(
        self, target: LiveTarget | str, portal: int | str = 0, **options: Any
    ) -> list[LogicalUnitInfo]:
        """The logical units of a target, found in a session of its own."""
        async with self.connect(target, portal, **options) as session:
            return await session.scan()

    async def attach(
        self, volume: LiveTarget | ConnectionInfo | Mapping[str, Any], lun: int = 1, **options: Any
    ) -> AttachedVolume:
        """Attach what a ``connection_info`` describes, or a LUN of a target over all its portals.

        Raises `iscsim.openstack.attach.NoPathWorks`, or `ConfigError` for a wrong description.
        """
        info = self._connection_info(volume, lun)
        found = await attach(info, **self._login_options(options))
        self._watch_paths(found, known=[])
        return found

    def _watch_paths(self, volume: AttachedVolume, known: list[Session]) -> None:
        for path in volume.paths:
            if path.session not in known:
                names = {"target": path.spec.target_name, "portal": path.spec.portal}
                self.watch(path.session, host=self.name, **names)

    async def reconnect(self, volume: AttachedVolume, **options: Any) -> None:
        """Try the paths of ``volume`` that do not work again; its ``failed`` says why some still do not."""
        known = [path.session for path in volume.paths]
        await volume.reconnect(**self._login_options({"chap": volume.info.chap, **options}))
        self._watch_paths(volume, known)

    def _connection_info(
        self, volume: LiveTarget | ConnectionInfo | Mapping[str, Any], lun: int
    ) -> ConnectionInfo:
        if isinstance(volume, ConnectionInfo):
            return volume
        if isinstance(volume, LiveTarget):
            return parse_connection_info(self.lab.connection_info(volume, lun))
        if not isinstance(volume, Mapping):
            raise ConfigError("attach takes a target or a connection_info")
        return parse_connection_info(dict(volume))

    async def detach(self, volume: AttachedVolume) -> None:
        """Flush, and log out on every path."""
        await volume.detach()

    def __repr__(self) -> str:
        return f"LabHost({self.name!r})"
