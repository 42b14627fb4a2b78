"""The host: its databases, daemons and kernel, its file system, and its commands."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iscsim.host.iscsid import Iscsid
from iscsim.host.kernel import Disk, Kernel, Map
from iscsim.host.leftovers import leftovers
from iscsim.host.multipathd import Multipathd
from iscsim.host.node_database import NodeDatabase
from iscsim.host.result import CommandResult
from iscsim.host.settings import HostSettings
from iscsim.host.shell import run
from iscsim.host.sysfs import Sysfs
from iscsim.host.tree import Directory, Entry, File, Link, Node, Source, Tree
from iscsim.host.udev import Udev

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence

    from iscsim.host.nbd import Blocks
    from iscsim.net.network import Network, Recorder
    from iscsim.session.chap import Randomness

__all__ = ["Execution", "Host"]

_DEFAULTS = HostSettings()
INITIATOR_NAME = "/etc/iscsi/initiatorname.iscsi"


@dataclass(frozen=True, slots=True)
class Execution:
    """A command that was run: when it began and ended on the loop's clock, and how it ended."""

    begun: float
    ended: float
    argv: tuple[str, ...]
    result: CommandResult


@dataclass(slots=True)
class _Failure:
    """What happens instead of a command, ``times`` times."""

    words: tuple[str, ...]
    result: CommandResult
    seconds: float
    times: int

    def is_due(self, argv: Sequence[str]) -> bool:
        """Whether it is that command, and not over."""
        name = argv[0].rpartition("/")[2]
        return self.times > 0 and all(word in (name, *argv[1:]) for word in self.words)

    async def happen(self, argv: Sequence[str]) -> CommandResult:
        """Once."""
        self.times -= 1
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return self.result


class Host:
    """One Linux host on ``network``; its sessions are real ones of our initiator.

    ``rng`` gives ISIDs and CHAP challenges: a seeded one in simulation only.
    """

    def __init__(
        self,
        network: Network,
        *,
        settings: HostSettings = _DEFAULTS,
        name: str = "compute",
        address: str = "10.245.47.10",
        rng: Randomness | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.network, self.settings, self.name, self.address = network, settings, name, address
        self.rng, self.recorder = rng, recorder
        self.history: list[Execution] = []
        self.missing_commands: set[str] = set()
        self.mounts: dict[str, str] = {}
        """Directories, by the device that is mounted there."""
        self.files: dict[str, bytes] = {
            INITIATOR_NAME: _INITIATOR_NAME.format(settings.initiator_name).encode(),
            "/proc/sys/net/ipv6/conf/default/disable_ipv6": b"0\n",
        }
        self.links: dict[str, str] = {}
        """Links somebody made, by path."""
        self.directories: dict[str, None] = {}
        """Directories somebody made."""
        self.generation = 0
        self.sources: list[Source] = [self._plain_files]
        self._tree: tuple[int, Tree] | None = None
        self.nodes = NodeDatabase(self.changed, settings.iscsid_conf)
        self.kernel = Kernel(self.changed, first_scsi_host=settings.first_scsi_host)
        self.iscsid = Iscsid(self)
        self.udev = Udev(self)
        self.multipathd = Multipathd(self)
        self.sources.append(Sysfs(self).entries)
        self._own_files = dict(self.files)
        self._failures: list[_Failure] = []

    @property
    def initiator_name(self) -> str:
        """What it logs in with: what /etc/iscsi/initiatorname.iscsi says."""
        for line in self.files.get(INITIATOR_NAME, b"").decode(errors="replace").splitlines():
            if line.startswith("InitiatorName="):
                return line.partition("=")[2].strip()
        return self.settings.initiator_name

    def changed(self) -> None:
        """Something that can be seen in the tree is not as it was."""
        self.generation += 1

    @property
    def tree(self) -> Tree:
        """The file system as it is now."""
        if self._tree is None or self._tree[0] != self.generation:
            self._tree = self.generation, Tree(self.sources)
        return self._tree[1]

    def _plain_files(self) -> Iterator[tuple[str, Entry]]:
        for path, content in self.files.items():
            yield path, File(lambda content=content: content)  # type: ignore[misc]
        for path, target in self.links.items():
            yield path, Link(target)
        for path in self.directories:
            yield path, Directory()

    def unlink(self, path: str) -> bool:
        """Remove a plain file or a link; False for what is not to be removed so."""
        for kept in (self.files, self.links):
            if path in kept:
                del kept[path]
                self.changed()
                return True
        return False

    async def execute(self, *argv: str, stdin: bytes | Awaitable[bytes] = b"") -> CommandResult:
        """Run a command as root would: ``execute("iscsiadm", "-m", "session")``.

        Input that comes later may be an awaitable, asked for once.

        Raises:
            FileNotFoundError: there is no such program.
        """
        time = asyncio.get_running_loop().time
        begun = time()
        failure = next((each for each in self._failures if each.is_due(argv)), None)
        result = await (failure.happen(argv) if failure else run(self, argv, stdin))
        self.history.append(Execution(begun, time(), tuple(argv), result))
        return result

    def fail_command(
        self,
        *words: str,
        exit_code: int = 1,
        stdout: str = "",
        stderr: str = "",
        seconds: float = 0.0,
        times: int = 1,
    ) -> None:
        """Have the next ``times`` runs of a command with all these words in it do nothing but end so.

        ``fail_command("iscsiadm", "new", exit_code=6, stderr="iscsiadm: ...")``; a run takes ``seconds``.
        """
        result = CommandResult(exit_code, stdout.encode(), stderr.encode())
        self._failures.append(_Failure(words, result, seconds, times))

    def leftovers(self) -> list[str]:
        """A line for each thing that was not there when the host was new (`iscsim.host.leftovers`)."""
        return leftovers(self, self._own_files)

    # -- devices by their paths --------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The loop's clock, in seconds."""
        return asyncio.get_running_loop().time()

    def device_name(self, path: str) -> str:
        """The kernel's name behind a path, ``"sda"`` or ``"dm-0"``; the last part of what is no device."""
        if path.startswith("/") and self.tree.exists(path):
            entry = self.tree.lookup(path)
            if isinstance(entry, Node):
                return entry.name
        return path.rpartition("/")[2]

    def disk(self, path: str) -> Disk | None:
        """The disk at a path, or of a name."""
        return self.kernel.disks.get(self.device_name(path))

    def device(self, path: str) -> Blocks | None:
        """The disk or map at a path, or of a name."""
        name = self.device_name(path)
        for device in self.multipathd.maps.values():
            if name in (f"dm-{device.minor}", device.alias):
                return Map(device)
        return self.kernel.disks.get(name)

    # -- its life ----------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Wait until udev and multipathd have dealt with every disk."""
        await self.udev.settle()
        await self.multipathd.settle()

    async def close(self) -> None:
        """End its daemons and its sessions."""
        await self.multipathd.close()
        await self.udev.close()
        await self.iscsid.close()


_INITIATOR_NAME = """\
## DO NOT EDIT OR REMOVE THIS FILE!
## If you remove this file, the iSCSI daemon will not start.
## If you change the InitiatorName, existing access control lists
## may reject this initiator.  The InitiatorName must be unique
## for each iSCSI initiator.  Do NOT duplicate iSCSI InitiatorNames.
InitiatorName={}
"""
"""As Debian's package writes it, and the seeds show it."""
