"""The trace's eye on a memory network: each segment's length and checksum, beside what a capture writes."""

from __future__ import annotations

import zlib

from iscsim.faults.trace import Trace
from iscsim.net.network import Address, WireRecord, WireRecorder
from iscsim.session.names import format_portal

__all__ = ["TracedWire"]


class _TracedRecord:
    """One connection: every event goes into the trace, and to the capture's record if there is one."""

    def __init__(self, trace: Trace, client: str, server: str, record: WireRecord | None) -> None:
        self._trace, self._record = trace, record
        self._names = {"client": client, "server": server}

    def _add(self, event: str, **details: object) -> None:
        self._trace.add(event, **self._names, **details)

    def attempted(self, now: float, comment: str | None = None) -> None:
        """See `WireRecord.attempted`."""
        self._add("connect")
        if self._record is not None:
            self._record.attempted(now, comment)

    def accepted(self, now: float) -> None:
        """See `WireRecord.accepted`."""
        self._add("accept")
        if self._record is not None:
            self._record.accepted(now)

    def refused(self, now: float) -> None:
        """See `WireRecord.refused`."""
        self._add("refuse")
        if self._record is not None:
            self._record.refused(now)

    def unreachable(self, now: float, code: int) -> None:
        """See `WireRecord.unreachable`."""
        self._add("unreachable", code=code)
        if self._record is not None:
            self._record.unreachable(now, code)

    def sent(
        self,
        by_client: bool,
        data: bytes,
        now: float,
        comment: str | None = None,
        *,
        again: bool = False,
        delivered: bool = True,
    ) -> None:
        """See `WireRecord.sent`."""
        lost = {} if delivered else {"lost": True}
        self._add("data", by_client=by_client, length=len(data), crc32=zlib.crc32(data), **lost)
        if self._record is not None:
            self._record.sent(by_client, data, now, comment, again=again, delivered=delivered)

    def copied(
        self, by_client: bool, data: bytes, now: float, comment: str | None = None, *, behind: int
    ) -> None:
        """See `WireRecord.copied`."""
        self._add("copy", by_client=by_client, length=len(data), crc32=zlib.crc32(data))
        if self._record is not None:
            self._record.copied(by_client, data, now, comment, behind=behind)

    def finished(
        self, by_client: bool, now: float, comment: str | None = None, *, delivered: bool = True
    ) -> None:
        """See `WireRecord.finished`."""
        self._add("close", by_client=by_client)
        if self._record is not None:
            self._record.finished(by_client, now, comment, delivered=delivered)

    def reset(self, by_client: bool, now: float, comment: str | None = None) -> None:
        """See `WireRecord.reset`."""
        self._add("reset", by_client=by_client)
        if self._record is not None:
            self._record.reset(by_client, now, comment)


class TracedWire:
    """A `WireRecorder` that tells ``trace`` of everything; ``capture`` may come at any time, for new
    connections."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.capture: WireRecorder | None = None

    def connection(self, client: Address, server: Address, *, interface: str) -> WireRecord:
        """See `WireRecorder.connection`."""
        record = None
        if self.capture is not None:
            record = self.capture.connection(client, server, interface=interface)
        return _TracedRecord(self._trace, format_portal(*client), format_portal(*server), record)

    def datagram(
        self,
        source: Address,
        destination: Address,
        data: bytes,
        now: float,
        *,
        interface: str,
        comment: str | None = None,
    ) -> None:
        """See `WireRecorder.datagram`."""
        names = {"source": format_portal(*source), "destination": format_portal(*destination)}
        self._trace.add("datagram", **names, length=len(data), crc32=zlib.crc32(data))
        if self.capture is not None:
            self.capture.datagram(source, destination, data, now, interface=interface, comment=comment)
