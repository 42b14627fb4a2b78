"""One ``host exec``: everything it needs comes up, the program runs, everything goes away."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from iscsim.host.exec.devices import DeviceFiles
from iscsim.host.exec.export import Export
from iscsim.host.exec.layout import Layout
from iscsim.host.exec.namespaces import WAYS, choose_way
from iscsim.host.exec.program import Signals, run_program
from iscsim.host.exec.server import ShimServer
from iscsim.host.nbd import Blocks, NBDServer
from iscsim.host.shell import commands

if TYPE_CHECKING:
    from iscsim.host.model import Host

__all__ = ["Execution", "execute_program"]

logger = logging.getLogger("iscsim.host")

_LOOK_S = 0.02
"""How often files are looked at that programs may open or write."""
_LOOKS_TO_UPDATE = 25
"""After so many looks attributes that change by themselves are written anew: states, counters."""
_PATIENCE_S = 1.0
"""How long a command waits for what others have begun: writes to attributes, udev, multipathd."""


async def execute_program(host: Host, argv: Sequence[str], *, ways: Sequence[str] = tuple(WAYS)) -> int:
    """Run an unmodified program on ``host``, in real time; its exit code.

    Raises:
        NoNamespace: this machine does not allow it.
        ConfigError: the directory for temporary files has too long a path.
        OSError: the directory or its sockets cannot be made.
    """
    layout = Layout(host.name)
    with Signals() as signals:
        try:
            async with Execution(host, layout).running() as execution:
                command = [*await choose_way(layout, ways), *argv]
                return await run_program(command, execution.environment(os.environ), signals)
        except asyncio.CancelledError:
            if signals.number is None:
                raise
            return 128 + signals.number
        finally:
            layout.remove()


class Execution:
    """The tree, the shims and the sockets of ``host`` in ``layout``, and what keeps them up to date."""

    def __init__(self, host: Host, layout: Layout) -> None:
        self.host, self.layout = host, layout
        self.export = Export(host, layout.tree, layout.quick)
        self.devices = DeviceFiles(host, layout.tree / "dev")
        self._busy = asyncio.Lock()
        self._generation = -1
        self._writing: dict[asyncio.Task[None], None] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Execution]:
        """While this lasts programs can use it."""
        names = [name for name in commands() if name not in self.host.missing_commands]
        self.layout.add_shims(names, manual_scan=self.host.settings.manual_scan)
        self.layout.add_devices()
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            for server in (
                ShimServer(self.host, str(self.layout.socket), before=self.look, after=self.show),
                NBDServer(str(self.layout.nbd), self.exports),
            ):
                await server.start()
                stack.push_async_callback(server.close)
            stack.push_async_callback(self.devices.close)
            wake = asyncio.Event()
            loop.add_signal_handler(signal.SIGIO, wake.set)  # sent for a lease somebody waits for
            stack.callback(loop.remove_signal_handler, signal.SIGIO)
            await self.show()
            watcher = loop.create_task(self._watch(wake))
            watcher.add_done_callback(_tell)
            try:
                yield self
            finally:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)
                await self.look()
                for writing in list(self._writing):
                    writing.cancel()

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """``given`` with the shims in front of the PATH, and where the sockets are."""
        path = f"{self.layout.shims}:{given.get('PATH', os.defpath)}"
        return dict(given) | {"PATH": path, "ISCSIM_NBD": str(self.layout.nbd)}

    def exports(self) -> dict[str, Blocks]:
        """What NBD has: disks by name, maps by name, alias and WWN; maps first."""
        found: dict[str, Blocks] = {}
        for device in self.host.multipathd.maps.values():
            blocks = self.host.device(f"dm-{device.minor}")
            if blocks is not None:
                found |= {name: blocks for name in (device.alias, f"dm-{device.minor}", device.wwn)}
        return found | dict(self.host.kernel.disks)

    # -- keeping up to date ------------------------------------------------------------------------

    async def _watch(self, wake: asyncio.Event) -> None:
        for number in itertools.count():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await wake.wait()
            wake.clear()
            await self.look()
            if self.host.generation != self._generation or not number % _LOOKS_TO_UPDATE:
                self._update()

    async def look(self) -> None:
        """Do what programs have asked for by opening, closing and writing files."""
        async with self._busy:
            await self.devices.poll()
            for path, content in self.export.written():
                self._take(path, content)
            if self._writing:
                await asyncio.wait(list(self._writing), timeout=_PATIENCE_S)

    def _take(self, path: str, content: bytes) -> None:
        if path in self.host.files:
            self.host.files[path] = content
            self.host.changed()
            return
        writing = asyncio.get_running_loop().create_task(self._write(path, content))
        self._writing[writing] = None
        writing.add_done_callback(self._writing.pop)

    async def _write(self, path: str, content: bytes) -> None:
        """What Linux does when that is written to an attribute."""
        self.export.restore(path)
        result = await self.host.execute("tee", path, stdin=content)
        if result.exit_code:
            logger.warning("%s", result.error.strip())

    async def show(self) -> None:
        """Show the host as it is, with all that udev and multipathd do at once."""
        settings = self.host.settings
        if not settings.udev_delay_s and not settings.multipathd_delay_s:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self.host.settle()
            except TimeoutError:
                logger.info("udev or multipathd waits for a disk that does not answer")
        self._update()

    def _update(self) -> None:
        self._generation = self.host.generation
        self.export.update()
        self.devices.sync(self.export.devices)


def _tell(watcher: asyncio.Task[None]) -> None:
    """A watcher that has failed must not do so in silence."""
    if not watcher.cancelled() and (error := watcher.exception()) is not None:
        logger.error("files are no longer looked at", exc_info=error)
