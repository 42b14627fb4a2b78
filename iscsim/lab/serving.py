"""A target wired to a network in one line, for tests and scripts."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from iscsim.errors import ConfigError
from iscsim.scsi.asymmetric_access import AccessState
from iscsim.target.config import DEFAULT_TARGET, ServeConfig, ServedTarget, TargetConfig, build
from iscsim.target.node import Redirect
from iscsim.target.options import parse_lun
from iscsim.target.server import TargetServer

if TYPE_CHECKING:
    from iscsim.net.network import Address, Network, Recorder
    from iscsim.scsi.nexus import LUNMap
    from iscsim.session.chap import Randomness
    from iscsim.session.connection import Tap
    from iscsim.target.connection import TargetConnection
    from iscsim.target.session import TargetSession
    from iscsim.target.state import StateDirectory

_ONE_LUN = MappingProxyType({1: "64M"})


class LiveTarget:
    """A target that is being served: what a test wants to know of it, and to change."""

    def __init__(
        self,
        served: ServedTarget,
        server: TargetServer,
        recorder: Recorder | None,
        state: StateDirectory | None = None,
    ) -> None:
        self.node = served.node
        self.nodes = served.nodes
        self.server = server
        self.recorder = recorder
        self._state = state

    @property
    def name(self) -> str:
        """Its iSCSI name; of an array the one at its first portal, see :meth:`name_at`."""
        return self.node.name

    @property
    def base_name(self) -> str:
        """What it was described as: of an array the name without the end that stands for a port."""
        return self.node.policy.base_name(self.node.name)

    def name_at(self, portal: int | str) -> str:
        """The name to log in with at a portal (its number from 0, or its address): an array has several.

        Raises:
            ConfigError: there is no such portal.
        """
        for number, (address, name) in enumerate(self._places()):
            if portal in (number, address):
                return name
        raise ConfigError(f"{self.name} has no portal {portal}")

    def _places(self) -> list[tuple[str, str]]:
        """Every portal with the name of its target."""
        return [
            (str(portal), node.name)
            for node in self.nodes
            for _, group in sorted(node.portal_groups.items())
            for portal in group.portals
        ]

    @property
    def portals(self) -> list[str]:
        """``host:port`` of every portal, in the order of their portal group tags."""
        return [address for address, _ in self._places()]

    @property
    def portal(self) -> str:
        """The first portal."""
        return self.portals[0]

    @property
    def lun_map(self) -> LUNMap:
        """The LUNs of initiators without a map of their own; add and remove at any time."""
        return self.node.lun_map

    def add_lun(self, number: int, spec: str) -> None:
        """Map one more LUN, described as for :func:`serve`: ``"64M"``, ``"disk.img,readonly"``.

        Raises:
            ConfigError: it is described wrongly, or the number is taken; or its WWN, which names its state.
        """
        lun = parse_lun(f"{number}={spec}")
        policy = self.node.policy
        unit = lun.logical_unit(policy.base_name(self.node.name), policy.device)
        if self._state is not None:
            if any(mapped.logical_unit.wwn == unit.wwn for mapped in self.lun_map):
                raise ConfigError(f"another logical unit has the WWN {unit.wwn}: one state would be for both")
            self._state.keep(unit)
        self.node.add_lun(lun.number, unit, read_only=lun.readonly)

    def set_access_state(self, portal_group: int, state: AccessState | str, lun: int | None = None) -> None:
        """How a LUN, or every one, may be used through a portal group: ``"standby"``, ``"active/optimized"``.

        The sessions hear 2A/06. ``"transitioning"`` is the first half of a change, the next call the second.

        Raises:
            ConfigError: a portal group, LUN or state that is not there.
        """
        wanted = AccessState.of(state) if isinstance(state, str) else state
        node = next((each for each in self.nodes if portal_group in each.portal_groups), self.node)
        node.set_access_state(portal_group, wanted, lun)

    @property
    def sessions(self) -> list[TargetSession]:
        """The sessions initiators have with it now."""
        return [session for node in self.nodes for session in node.sessions]

    def send_async(self, event: int, **fields: Any) -> None:
        """Send an Asynchronous Message (RFC 7143 section 11.9) to everybody who is logged in.

        ``fields`` are those of :meth:`iscsim.target.notices.NoticeService.send`.

        Raises:
            LocalProtocolError: RFC 7143 does not allow that message.
        """
        for session in self.sessions:
            for connection in list(session.connections.values()):
                connection.notices.send(event, **fields)

    def request_logout(self, time_s: int = 5) -> None:
        """Ask everybody to log out within ``time_s`` seconds; who does not is dropped then."""
        for session in self.sessions:
            session.request_logout(time_s, asyncio.get_running_loop().time())

    def redirect(self, to: str | None, portal: int | None = None, *, permanent: bool = False) -> None:
        """Send logins to ``to`` (``"host:port"``) instead, or with None no longer.

        ``portal`` is the number of one of :attr:`portals`, from 0; without it all are meant, but for the one
        that is ``to``.

        Raises:
            ConfigError: ``to`` is no address; there is no such portal.
        """
        if not (to is None or isinstance(to, str)):
            raise ConfigError(f"redirection to {to!r:.60}: expected HOST:PORT, or None")
        if not isinstance(permanent, bool):
            raise ConfigError(f"permanent is {permanent!r:.60}, expected True or False")
        redirect = None if to is None else Redirect(to, permanent)
        if portal is None:
            for node in self.nodes:
                node.redirect_to = redirect
            return
        groups = (group for node in self.nodes for _, group in sorted(node.portal_groups.items()))
        found = dict(enumerate(each for group in groups for each in group.portals))
        if isinstance(portal, bool) or portal not in found:
            raise ConfigError(f"{self.name} has {len(found)} portals, from 0, and no portal {portal!r:.60}")
        found[portal].redirect_to = redirect

    def __repr__(self) -> str:
        return f"LiveTarget({self.name!r} at {', '.join(self.portals)})"


@asynccontextmanager
async def serve(
    *,
    target: str | None = None,
    luns: Mapping[int, str] = _ONE_LUN,
    portals: int | Sequence[str] = 1,
    initiators: Sequence[str] = (),
    personality: str = "rfc",
    state: str | Path | None = None,
    pcap: str | Path | None = None,
    recorder: Recorder | None = None,
    network: Network | None = None,
    rng: Randomness | None = None,
    taps: Callable[[TargetConnection, Address], Tap | None] | None = None,
) -> AsyncIterator[LiveTarget]:
    """Serve a target while the block runs.

    Without a name the target is ``iqn.2026-11.org.iscsim:disk``, and a second one served meanwhile
    ``...:disk-2``: LUNs get their WWN from name and number, and two targets are not one disk.
    ``luns`` are in the form of ``iscsim serve --lun``: ``{1: "64M", 2: "disk.img,readonly"}``;
    ``initiators`` in that of ``--initiator``. A number of ``portals`` stands for as many free ports on
    127.0.0.1, each in a portal group of its own. ``state`` is a directory in which persistent reservations
    survive from one ``serve`` to the next, as APTPL asks for. ``pcap`` captures every connection to a file,
    ``recorder`` with a recorder that is there already. ``taps`` gives each connection its tap.

    Raises:
        ConfigError: something described is wrong; the state is damaged, or used by somebody else.
        OSError: a portal cannot be listened on.
    """
    check_description(target, luns, portals, initiators)
    addresses = ["127.0.0.1:0"] * portals if isinstance(portals, int) else list(portals)
    name = target or _free_name()
    described = TargetConfig(
        name=name,
        portals=addresses,
        luns=[f"{number}={spec}" for number, spec in luns.items()],
        initiators=list(initiators),
    )
    with ExitStack() as stack:
        directory = None
        if state is not None:
            from iscsim.target.state import StateDirectory

            directory = stack.enter_context(StateDirectory(state))
        config = ServeConfig(personality=personality, targets=[described])
        entity, (served,) = build(config, state=directory)
        if pcap is not None:
            from iscsim.capture import real_time_recorder

            recorder = stack.enter_context(real_time_recorder(pcap))
        stack.callback(_NAMES.discard, name)
        _NAMES.add(name)
        async with TargetServer(entity, network=network, recorder=recorder, rng=rng, taps=taps) as server:
            yield LiveTarget(served, server, recorder, directory)


def check_description(target: Any, luns: Any, portals: Any, initiators: Any) -> None:
    """Raises `ConfigError` for what is not of the kind that `serve` takes, with the right form."""
    if target is not None and not isinstance(target, str):
        raise ConfigError(f"target is {target!r:.60}, expected a name")
    if not isinstance(luns, Mapping) or not all(isinstance(spec, str) for spec in luns.values()):
        raise ConfigError(f"luns is {luns!r:.60}, expected LUNs and what they are, as in {{1: '64M'}}")
    if isinstance(portals, bool) or not (
        portals >= 1 if isinstance(portals, int) else portals and _are_texts(portals)
    ):
        raise ConfigError(
            f"portals is {portals!r:.60}, expected their number from 1, or a list as ['127.0.0.1:0']"
        )
    if not _are_texts(initiators):
        raise ConfigError(f"initiators is {initiators!r:.60}, expected a list as ['IQN:USER:PASSWORD']")


def _are_texts(value: Any) -> bool:
    listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return listed and all(isinstance(each, str) for each in value)


_NAMES: set[str] = set()
"""The targets :func:`serve` serves now."""


def _free_name() -> str:
    candidates = (f"{DEFAULT_TARGET}-{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain([DEFAULT_TARGET], candidates) if name not in _NAMES)
