"""What ``iscsim demo`` shows: the whole datapath on this machine, step by step.

The cast is that of the logs iscsim was made from (``tests/golden/seeds``): a VNX volume, LUN 197, attached
over the portals of two storage processors by a Nova compute host.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from iscsim.cli.recording import open_recorder
from iscsim.errors import ISCSIError, LoginFailed
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.store import MemoryStore
from iscsim.session.chap import ChapConfig, ChapCredential
from iscsim.session.names import DEFAULT_PORT
from iscsim.target.node import NetworkEntity, Portal, TargetNode
from iscsim.target.server import TargetServer

if TYPE_CHECKING:
    from iscsim.initiator.multipath import MultipathDevice
    from iscsim.initiator.session import Session

TARGET = "iqn.1992-04.com.emc:cx.fnm00150600267.a0"
INITIATOR = "iqn.1993-08.org.debian:01:7cc8838d1c0"
STRANGER = "iqn.1993-08.org.debian:01:a-stranger"
WWN = "6006016015e03a00ab2df25bb82d0ea9"
LUN, SECOND_LUN = 197, 198
_SIZE = 64 << 20
_BLOCK_SIZE = 512
_PIECE_BLOCKS = 256
_SHOWN = ("10.245.47.95", "10.245.47.96")
"""The portals' addresses in the capture, as in the logs."""
_SHOWN_HOST = "10.245.47.10"
_STEPS = 13


class DemoFailed(ISCSIError):
    """A step of the demo did not give what it should."""


class Steps:
    """Numbers the steps and prints each with the time since the start."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._count = 0

    def __call__(self, what: str, *details: str) -> None:
        """One step is done."""
        self._count += 1
        elapsed_ms = (time.perf_counter() - self._start) * 1000
        print(f"[{self._count:2}/{_STEPS}] {elapsed_ms:6.1f} ms  {what}", flush=True)
        for line in details:
            print(f"{'':20}{line}", flush=True)


def make_target() -> tuple[NetworkEntity, TargetNode, ChapConfig]:
    """The array: one volume behind two portals, open to one host that must do CHAP."""
    entity = NetworkEntity()
    node = entity.add_target(TARGET, alias="VNX5400")
    for tag in (2, 1):  # the tags of SP A and SP B in the logs
        node.add_portal(Portal("127.0.0.1", 0), tag)
    store = MemoryStore(_SIZE // _BLOCK_SIZE, _BLOCK_SIZE)
    node.add_lun(
        LUN,
        LogicalUnit(store, serial="FNM00150600267", wwn=WWN, vendor="DGC", product="VRAID", revision="0533"),
    )
    credential = ChapCredential("compute1", secrets.token_hex(16).encode())
    node.add_acl(INITIATOR, chap=ChapConfig(incoming=(credential,)))
    return entity, node, ChapConfig(outgoing=credential)


async def walk(pcap: Path | None) -> None:
    """Do it all, and print each step; with ``pcap`` the connections are captured there.

    Raises:
        ISCSIError: a step did not give what it should.
        ConfigError: the capture cannot be written.
    """
    entity, node, chap = make_target()
    async with AsyncExitStack() as stack:
        recorder = None
        shown: dict[int, str] = {}
        if pcap is not None:
            recorder = stack.enter_context(
                open_recorder(
                    pcap,
                    show=lambda address: (
                        (shown[address[1]], DEFAULT_PORT)
                        if address[1] in shown
                        else (_SHOWN_HOST, address[1])
                    ),
                )
            )
        await stack.enter_async_context(TargetServer(entity, recorder=recorder))
        portals = [portal for group in node.portal_groups.values() for portal in group.portals]
        if pcap is not None:
            shown.update({portal.port: address for portal, address in zip(portals, _SHOWN, strict=True)})
        steps = Steps()
        steps("a target with two portals", *(f"{portal},{tag}  {TARGET}" for portal, tag in _tagged(node)))
        await _datapath(steps, node, [str(portal) for portal in portals], chap)
    if pcap is not None:
        print(f"capture: {pcap}  (open it in Wireshark, or: tshark -r {pcap})")
        for portal in portals:
            print(f"{'':9}{portal} is {shown[portal.port]}:{DEFAULT_PORT} there, we are {_SHOWN_HOST}")


def _tagged(node: TargetNode) -> list[tuple[Portal, int]]:
    return [(portal, tag) for tag, group in node.portal_groups.items() for portal in group.portals]


async def _datapath(steps: Steps, node: TargetNode, portals: list[str], chap: ChapConfig) -> None:
    from iscsim.initiator import discover, group_paths

    await _refuse_stranger(steps, portals[0])
    found = await discover(portals[0], initiator_name=INITIATOR)
    steps(
        "discovery by SendTargets",
        *(f"{target.name} at {portal}" for target in found for portal in target.portals),
    )
    async with AsyncExitStack() as stack:
        sessions = [await _login(stack, portal, chap) for portal in portals]
        steps(f"login on both paths, with CHAP, as {INITIATOR}", *(f"path to {portal}" for portal in portals))
        units = await sessions[0].scan()
        await sessions[1].scan()
        steps(
            "scan of both paths",
            *(f"LUN {unit.number}  {unit.vendor} {unit.product}  {unit.size >> 20} MiB" for unit in units),
        )
        steps(
            "the same WWN through both portals",
            *(f"{portal}  {session.units[0].wwn}" for portal, session in zip(portals, sessions, strict=True)),
        )
        _check({session.units[0].wwn for session in sessions} == {f"3{WWN}"}, "the WWNs differ")
        await _rescan(steps, node, sessions[0])
        (device,) = await group_paths(sessions)
        steps("one multipath device", *str(device).splitlines())
        await _use(steps, device)
        await device.flush()
        steps("cache flushed: the volume can be detached")
    steps("logout from both portals")
    _check(not node.sessions, "a session was left behind")
    steps("no session is left at the target")


async def _refuse_stranger(steps: Steps, portal: str) -> None:
    from iscsim.initiator import connect

    try:
        async with connect(portal, TARGET, initiator_name=STRANGER):
            raise DemoFailed("a stranger was let in")
    except LoginFailed as refused:
        steps("the ACL refuses a stranger", str(refused))


async def _login(stack: AsyncExitStack, portal: str, chap: ChapConfig) -> Session:
    from iscsim.initiator import connect

    return await stack.enter_async_context(connect(portal, TARGET, initiator_name=INITIATOR, chap=chap))


async def _rescan(steps: Steps, node: TargetNode, session: Session) -> None:
    """Map one more LUN and take it away again while the session lives."""
    store = MemoryStore(_SIZE // _BLOCK_SIZE, _BLOCK_SIZE)
    node.add_lun(SECOND_LUN, LogicalUnit(store, serial="FNM00150600268", vendor="DGC", product="VRAID"))
    added, _ = await session.rescan()
    node.lun_map.remove(SECOND_LUN)
    _, removed = await session.rescan()
    _check(
        [unit.number for unit in added] == [SECOND_LUN] == [unit.number for unit in removed], "rescan failed"
    )
    steps("rescan", f"LUN {SECOND_LUN} mapped: found", f"LUN {SECOND_LUN} unmapped: gone")


async def _use(steps: Steps, device: MultipathDevice) -> None:
    """Write the whole device, read it back, compare."""
    pattern = secrets.token_bytes(_PIECE_BLOCKS * _BLOCK_SIZE)
    pieces = range(0, 16 * _PIECE_BLOCKS, _PIECE_BLOCKS)
    await asyncio.gather(*(device.write(lba, pattern) for lba in pieces))
    length = len(pieces) * len(pattern)
    steps(f"wrote {length >> 20} MiB over both paths")
    answers = await asyncio.gather(*(device.read(lba, _PIECE_BLOCKS) for lba in pieces))
    _check(all(bytes(answer) == pattern for answer in answers), "what was read is not what was written")
    steps(f"read {length >> 20} MiB back over both paths: every byte is right")


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoFailed(otherwise)
