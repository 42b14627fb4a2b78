"""The device a load is put on, and what each path to it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from iscsim.errors import ISCSIError, SessionFailed
from iscsim.initiator.load.statistics import Meter, PathStatistics
from iscsim.pdu import Buffer

Answer = TypeVar("Answer")
Clock = Callable[[], float]


class LoadDevice(Protocol):
    """What takes the load: a ``MultipathDevice``, or :class:`UnitOfPath` for one unit of a session."""

    def read(self, lba: int, blocks: int) -> Awaitable[bytes | bytearray | memoryview]:
        """``blocks`` blocks from ``lba`` on."""
        ...

    def write(self, lba: int, data: Buffer) -> Awaitable[object]:
        """Write whole blocks."""
        ...

    def flush(self) -> Awaitable[object]:
        """Have everything written go to the medium."""
        ...


class UnitOfPath:
    """One logical unit of anything with SCSI verbs, as a device."""

    def __init__(self, session: Any, lun: Any) -> None:
        # no coroutine of our own around those of the session: each would cost a tenth of a small read
        self.read = partial(session.read, lun)
        self.write = partial(session.write, lun)
        self.flush = partial(session.flush, lun)


class UnitOfRecoveringSession(UnitOfPath):
    """The same for a session that lives: while it is logged in, reads take the short way of its `Session`.

    What that loses is sent again the long way, which waits for the next login.
    """

    def __init__(self, session: Any, lun: Any, block_size: int) -> None:
        super().__init__(session, lun)
        self._session, self._lun, self._block_size = session, lun, block_size
        self._known: Any = None
        self._long_read, self.read = self.read, self._read  # type: ignore[assignment]

    async def _read(self, lba: int, blocks: int) -> bytes | bytearray | memoryview:
        session = self._session.session
        data: bytes | bytearray | memoryview
        if session is not None:
            if session is not self._known:
                self._prepare(session)
            try:
                data = await session.read(self._lun, lba, blocks)
                return data
            except SessionFailed:
                pass  # it was lost under the command
        data = await self._long_read(lba, blocks)
        return data

    def _prepare(self, session: Any) -> None:
        session.learn_block_size(self._lun, self._block_size)
        session.command_timeout_s = self._session.command_timeout_s
        self._known = session


class MeasuredPath:
    """Stands before the session of a path: counts its reads and writes, and is the session in all else.

    ``served`` is told which request (by its first LBA) this path has brought to a good end.
    """

    def __init__(
        self, session: Any, statistics: PathStatistics, clock: Clock, served: Callable[[int, str], None]
    ) -> None:
        self._session = session
        self._clock, self._served = clock, served
        self.statistics = statistics

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def read(self, lun: Any, lba: int, blocks: int) -> bytes | bytearray | memoryview:
        """Read, and count it."""
        return await self._measured(self._session.read(lun, lba, blocks), self.statistics.read, lba)

    async def write(self, lun: Any, lba: int, data: Buffer) -> None:
        """Write, and count it."""
        await self._measured(self._session.write(lun, lba, data), self.statistics.write, lba, len(data))

    async def _measured(self, answer: Awaitable[Answer], meter: Meter, lba: int, length: int = 0) -> Answer:
        start = self._clock()
        try:
            result = await answer
        except ISCSIError:
            meter.count_error()
            raise
        meter.count(self._clock() - start, length or len(result))  # type: ignore[arg-type]
        self._served(lba, self.statistics.name)
        return result
