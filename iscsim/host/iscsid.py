"""iscsid on the host: makes sessions of node records, keeps them, ends them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iscsim.errors import ConfigError, ISCSIError
from iscsim.host.records import UNKNOWN_TPGT, NodeRecord
from iscsim.host.settings import OLD_OPEN_ISCSI
from iscsim.initiator.exit_codes import IscsiadmExitCode
from iscsim.initiator.initial_login import exit_code_of
from iscsim.initiator.recovering_session import RecoveringSession, log_in
from iscsim.initiator.settings import NodeSettings

if TYPE_CHECKING:
    from iscsim.host.kernel import SCSIAdapter
    from iscsim.host.model import Host
    from iscsim.net.network import Factory, Network

__all__ = ["HostSession", "Iscsid"]


@dataclass(slots=True, eq=False)
class HostSession:
    """A session of the host, there as soon as TCP is up; ``session`` is None until the login is through.

    ``portal_group_tag`` is 0 until the target has told it.
    """

    sid: int
    record: NodeRecord
    settings: NodeSettings
    adapter: SCSIAdapter
    session: RecoveringSession | None = None
    portal_group_tag: int = 0

    @property
    def is_up(self) -> bool:
        """Whether its login is through."""
        return self.session is not None


class _Watched:
    """A network that says when a connection is up."""

    def __init__(self, network: Network, connected: Callable[[], None]) -> None:
        self._network, self._connected = network, connected
        self.listen, self.datagram = network.listen, network.datagram

    async def connect(self, host: str, port: int, factory: Factory) -> asyncio.BaseProtocol:
        protocol = await self._network.connect(host, port, factory)
        self._connected()
        return protocol


class Iscsid:
    """Sessions by their number, which is never used twice."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._sids = itertools.count(1)
        self.sessions: dict[int, HostSession] = {}
        self.running = host.settings.iscsid_running

    def find(self, target_name: str = "", address: str = "", port: int | None = None) -> list[HostSession]:
        """Sessions that match, those that are still logging in too."""
        return [
            each
            for each in self.sessions.values()
            if target_name in ("", each.record.target_name)
            and address in ("", each.record.address)
            and port in (None, each.record.port)
        ]

    async def login(self, record: NodeRecord) -> IscsiadmExitCode:
        """One more session of ``record``, scanned unless ``node.session.scan`` is manual.

        It takes as long as open-iscsi tries; what it would exit with comes back.
        """
        try:
            settings = self._settings(record)
        except ConfigError:
            return IscsiadmExitCode.INVAL
        made: list[HostSession] = []

        def connected() -> None:
            if not made:
                made.append(self._begin(record, settings))

        try:
            session = await self._log_in(record, settings, connected)
        except (ISCSIError, ConfigError) as error:
            for each in made:
                await self._end(each)
            return IscsiadmExitCode.INVAL if isinstance(error, ConfigError) else exit_code_of(error)
        except BaseException:
            for each in made:
                await self._end(each)
            raise
        (host_session,) = made
        self._through(host_session, session)
        if settings.scan == "auto" or not self._host.settings.manual_scan:
            await self._host.kernel.scan(host_session.adapter.number)
        return IscsiadmExitCode.SUCCESS

    def _settings(self, record: NodeRecord) -> NodeSettings:
        """What a session is made with; the old iscsid did not wait Time2Wait between its first attempts: the
        seeds' two timeouts took 240 s. Raises ConfigError."""
        settings = record.settings
        if self._host.settings.open_iscsi_version == OLD_OPEN_ISCSI:
            return replace(settings, default_time2wait=0)
        return settings

    async def _log_in(
        self, record: NodeRecord, settings: NodeSettings, connected: Callable[[], None]
    ) -> RecoveringSession:
        host, tag = self._host, record.portal_group_tag
        return await log_in(
            (record.address, record.port),
            record.target_name,
            settings=settings,
            initiator_name=host.initiator_name,
            network=_Watched(host.network, connected),
            recorder=host.recorder,
            rng=host.rng,
            portal_group_tag=None if tag == UNKNOWN_TPGT else tag,
        )

    def _begin(self, record: NodeRecord, settings: NodeSettings) -> HostSession:
        sid = next(self._sids)
        adapter = self._host.kernel.add_adapter(sid)
        self.sessions[sid] = HostSession(sid, record, settings, adapter)
        self._host.changed()
        return self.sessions[sid]

    def _through(self, host_session: HostSession, session: RecoveringSession) -> None:
        session.sid = host_session.sid
        host_session.session = session
        if session.session is not None:
            host_session.portal_group_tag = session.session.parameters.target_portal_group_tag or 0
        self._host.kernel.connect(host_session.adapter, session)
        session.listeners.append(lambda event: self._host.changed())
        self._host.changed()

    async def logout(self, host_session: HostSession) -> None:
        """End a session: its disks go first."""
        await self._end(host_session)

    async def _end(self, host_session: HostSession) -> None:
        if self.sessions.get(host_session.sid) is not host_session:
            return
        await self._host.kernel.remove_adapter(host_session.adapter)
        if host_session.session is not None:
            await host_session.session.close()
        self.sessions.pop(host_session.sid, None)
        self._host.changed()

    async def close(self) -> None:
        """End all sessions."""
        for host_session in list(self.sessions.values()):
            await self._end(host_session)
