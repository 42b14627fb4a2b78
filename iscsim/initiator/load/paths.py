"""The device a load is put on, and what each path to it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from iscsim.errors import ISCSIError
from iscsim.initiator.load.statistics import Meter, PathStatistics
from iscsim.pdu import Buffer

Answer = TypeVar("Answer")
Clock = Callable[[], float]


class LoadDevice(Protocol):
    """What takes the load: a ``MultipathDevice``, or :class:`UnitOfPath` for one unit of a session."""

    async def read(self, lba: int, blocks: int) -> bytes | bytearray | memoryview:
        """``blocks`` blocks from ``lba`` on."""
        ...

    async def write(self, lba: int, data: Buffer) -> None:
        """Write whole blocks."""
        ...

    async def flush(self) -> None:
        """Have everything written go to the medium."""
        ...


class UnitOfPath:
    """One logical unit of anything with SCSI verbs, as a device."""

    def __init__(self, session: Any, lun: Any) -> None:
        self._session, self._lun = session, lun

    async def read(self, lba: int, blocks: int) -> bytes | bytearray | memoryview:
        """See `LoadDevice.read`."""
        data: bytes | bytearray | memoryview = await self._session.read(self._lun, lba, blocks)
        return data

    async def write(self, lba: int, data: Buffer) -> None:
        """See `LoadDevice.write`."""
        await self._session.write(self._lun, lba, data)

    async def flush(self) -> None:
        """See `LoadDevice.flush`."""
        await self._session.flush(self._lun)


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
