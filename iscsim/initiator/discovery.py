"""Asking a portal for its targets: SendTargets in a discovery session (RFC 7143 Appendix C)."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iscsim.errors import ConfigError, ConnectionFailed, ISCSIError, SessionFailed
from iscsim.initiator.client import (
    DEFAULT_INITIATOR_NAME,
    Chap,
    InitiatorProtocol,
    PortalLike,
    chap_config,
    default_network,
    open_connection,
    random_isid,
    with_digests,
)
from iscsim.initiator.connection import Timeouts
from iscsim.initiator.portal import Portal, parse_portal
from iscsim.initiator.task import Logout, TextNegotiation
from iscsim.pdu.text import Pair, shown
from iscsim.session.chap import Randomness
from iscsim.session.keys import SessionType
from iscsim.session.login import LoginConfig
from iscsim.session.names import MAX_NAME_LENGTH, normalize_name
from iscsim.session.parameters import Wishes

if TYPE_CHECKING:
    from iscsim.net.network import Network, Recorder

logger = logging.getLogger("iscsim.initiator")


@dataclass(frozen=True, slots=True)
class DiscoveredTarget:
    """A target and the portals it can be reached through."""

    name: str
    portals: list[Portal] = field(default_factory=list)


async def discover(
    portal: PortalLike,
    *,
    initiator_name: str = DEFAULT_INITIATOR_NAME,
    chap: Chap = None,
    header_digest: bool | None = None,
    data_digest: bool | None = None,
    network: Network | None = None,
    recorder: Recorder | None = None,
    rng: Randomness | None = None,
    login_timeout_s: float = 15.0,
) -> list[DiscoveredTarget]:
    """The targets this initiator may use, in the order told; the options are those of ``connect()``.

    Raises:
        ConnectionFailed: no connection, or no end of login or answer in time.
        LoginFailed: the portal refuses.
        ConfigError: a name, a secret or the portal is none.
    """
    config = LoginConfig(
        initiator_name=normalize_name(initiator_name),
        session_type=SessionType.DISCOVERY,
        chap=chap_config(chap),
        wishes=with_digests(Wishes(), header_digest, data_digest),
    )
    dice = secrets.SystemRandom() if rng is None else rng
    protocol, reached = await open_connection(
        config,
        parse_portal(portal),
        network=network or default_network(),
        recorder=recorder,
        rng=dice,
        timeouts=Timeouts(login_s=login_timeout_s),
        isid=random_isid(dice),
    )
    try:
        return parse_targets(await _send_targets(protocol), reached)
    except SessionFailed as error:
        raise ConnectionFailed(str(error)) from None
    finally:
        await _leave(protocol)


async def _send_targets(protocol: InitiatorProtocol) -> list[Pair]:
    request = TextNegotiation([("SendTargets", "All")])
    future = protocol.begin(request, None)
    protocol.core.negotiate(request)
    await future
    return request.answers


async def _leave(protocol: InitiatorProtocol) -> None:
    """Log out if that is possible, close in any case."""
    try:
        if not protocol.core.closing:
            request = Logout()
            future = protocol.begin(request, None)
            protocol.core.logout(request)
            await future
    except ISCSIError as error:
        logger.info("%s: %s", protocol.core.label, error)
    finally:
        protocol.close()
    await protocol.closed


def parse_targets(pairs: list[Pair], asked: Portal) -> list[DiscoveredTarget]:
    """Targets from TargetName and TargetAddress pairs (RFC 7143 Appendix C).

    A target without an address is at the portal that was asked, one told twice has the portals of both.
    Keys we do not know are passed over, addresses that are none are logged, and so are names that would be
    something else where they are shown, or made a path of.

    Raises:
        ConnectionFailed: an address before the first name.
    """
    targets: dict[
        str, dict[Portal, None]
    ] = {}  # a dict, as a target may tell more than a list can look through
    current: dict[Portal, None] | None = None
    for key, value in pairs:
        if key == "TargetName":
            name, current = value, targets.setdefault(value, {}) if _is_name(value) else {}
        elif key == "TargetAddress":
            if current is None:
                raise ConnectionFailed(f"{asked} answered SendTargets with an address of no target")
            _add_portal(name, current, value)
    return [DiscoveredTarget(name, list(portals) or [asked]) for name, portals in targets.items()]


def _is_name(name: str) -> bool:
    """Looser than RFC 3722, as are the targets there are."""
    if len(name) <= MAX_NAME_LENGTH and name.isprintable() and not set(name) & {" ", "/"} and name:
        return True
    logger.warning("TargetName %s is none", shown(name))
    return False


def _add_portal(name: str, portals: dict[Portal, None], address: str) -> None:
    try:
        portals[parse_portal(address)] = None
    except ConfigError:
        logger.warning("%s: TargetAddress %s is none", shown(name), shown(address))
