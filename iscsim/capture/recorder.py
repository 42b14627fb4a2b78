"""What a target server and an initiator client call, so that their connections end up in a capture.

A connection is recorded where its bytes pass the socket, by whoever holds one of its ends. When both
ends live in this process (our initiator on our target) both will offer to record it: the end that
says ``opened`` first does, the other end's taps do nothing. A capture must never break what it looks at:
when the disk is full there is one warning, and the recording, not the session, is over.

What is recorded is what was on the wire: digests, CHAP challenges and responses too, CHAP secrets never.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from iscsim.capture.allowance import Allowance
from iscsim.capture.claims import Claim, Claims
from iscsim.capture.frames import Address
from iscsim.capture.output import CaptureFile
from iscsim.capture.pcapng import PcapngWriter
from iscsim.capture.tcp import ISCSI_PORT, TCPConversation, shown_server
from iscsim.errors import ConfigError
from iscsim.pdu.digest import Buffer

_log = logging.getLogger("iscsim.capture")

WHOLE_RATE: Final = 32 << 20
WHOLE_BURST: Final = 64 << 20

Data = Buffer | Sequence[Buffer]


class ConnectionTap(Protocol):
    """What one end of a TCP connection tells a recorder; ``now`` is the running loop's time in seconds."""

    def opened(self, now: float) -> None:
        """The connection is established."""

    def from_client(self, data: Data, now: float, comment: str | None = None) -> None:
        """The client sent ``data``, in one write; ``comment`` is shown with it."""

    def from_server(self, data: Data, now: float, comment: str | None = None) -> None:
        """The server sent ``data``, in one write."""

    def takes_whole(self, length: int, now: float) -> bool:
        """Whether the next ``length`` bytes of the server can be told whole, or their headers only."""

    def headers_from_server(self, pieces: Sequence[Buffer], now: float) -> None:
        """The server sent ``pieces`` in one write, each a header or data; long data need not be recorded."""

    def closed(self, by_client: bool, now: float) -> None:
        """The connection was closed in order, by this end first."""

    def reset(self, by_client: bool, now: float) -> None:
        """This end aborted the connection."""


def epoch_offset_s(now: float) -> float:
    """What must be added to ``now``, the time of a loop that runs in real time, to get seconds since 1970."""
    return time.time() - now


class RecordedConnection:
    """The tap of one end of one connection. Methods after ``closed`` or ``reset`` do nothing."""

    def __init__(self, recorder: Recorder, client: Address, server: Address, interface: str) -> None:
        self._recorder = recorder
        self._client, self._server = client, server
        self._interface = interface
        self._conversation: TCPConversation | None = None
        self._claim: Claim | None = None
        self._is_open = False

    @property
    def is_recording(self) -> bool:
        """Whether this end is the one whose view is written."""
        return self._conversation is not None

    def opened(self, now: float) -> None:
        """See :class:`ConnectionTap`."""
        now = self._recorder.at(now)
        if not self._is_open:
            self._is_open = True
            self._claim, self._conversation = self._recorder._open(
                self._client, self._server, self._interface, now
            )
            self._record(lambda conversation: conversation.open(now))

    def from_client(self, data: Data, now: float, comment: str | None = None) -> None:
        """See :class:`ConnectionTap`."""
        now = self._recorder.at(now)
        self._record(lambda conversation: conversation.data(True, _joined(data), now, comment=comment))

    def from_server(self, data: Data, now: float, comment: str | None = None) -> None:
        """See :class:`ConnectionTap`."""
        now = self._recorder.at(now)
        self._record(lambda conversation: conversation.data(False, _joined(data), now, comment=comment))

    def takes_whole(self, length: int, now: float) -> bool:
        """See :class:`ConnectionTap`."""
        return self._conversation is None or self._recorder.takes_whole(length, now)

    def headers_from_server(self, pieces: Sequence[Buffer], now: float) -> None:
        """See :class:`ConnectionTap`."""
        now = self._recorder.at(now)
        self._record(lambda conversation: conversation.headers(False, pieces, now))

    def closed(self, by_client: bool, now: float) -> None:
        """See :class:`ConnectionTap`."""
        now = self._recorder.at(now)

        def close(conversation: TCPConversation) -> None:
            conversation.fin(by_client, now)
            conversation.fin(not by_client, now)

        self._end(close, now)

    def reset(self, by_client: bool, now: float) -> None:
        """See :class:`ConnectionTap`."""
        now = self._recorder.at(now)
        self._end(lambda conversation: conversation.rst(by_client, now), now)

    def _end(self, write: Callable[[TCPConversation], None], now: float) -> None:
        if self._is_open:
            self._is_open = False
            self._record(write)
            self._conversation = None
            if self._claim is not None:
                self._recorder._claims.release(self._claim, now)

    def _record(self, write: Callable[[TCPConversation], None]) -> None:
        if self._conversation is not None:
            self._recorder.write(write, self._conversation)


class Recorder(CaptureFile):
    """Records connections to one pcapng file; a context manager.

    ``path_or_file`` is a path (replaced when it exists, closed by :meth:`close`) or a binary file of the
    caller's. ``epoch_offset_s`` turns the ``now`` of the taps into seconds since 1970: for a loop in
    real time ``epoch_offset_s(loop.time())``, for a virtual loop any constant. ``clock`` is asked instead of
    ``now`` where a loop in real time counts in milliseconds as uvloop does; ``real_time_recorder`` has
    ``time.monotonic``. ``show`` replaces the real
    addresses by emulated ones; after it, a portal on an ephemeral port is shown on ``portal_port`` (None: as
    it is). The file is complete after every event, so it can be read while the recorder runs.
    With ``whole_rate``, in bytes a second, a target that sends more, after a burst of ``whole_burst`` bytes,
    is recorded without its long data segments where it does; the packets still say how long they were.

    Raises:
        ConfigError: the file cannot be created.
    """

    def __init__(
        self,
        path_or_file: str | Path | BinaryIO,
        *,
        epoch_offset_s: float = 0.0,
        portal_port: int | None = ISCSI_PORT,
        show: Callable[[Address], Address] | None = None,
        max_segment_length: int | None = None,
        clock: Callable[[], float] | None = None,
        whole_rate: float | None = None,
        whole_burst: int = WHOLE_BURST,
    ) -> None:
        super().__init__(path_or_file, epoch_offset_s=epoch_offset_s)
        self._clock = clock
        self._portal_port = portal_port
        self._show = show or (lambda address: address)
        self._max_segment_length = max_segment_length
        self._claims = Claims()
        self._conversations = 0
        self._allowance = None if whole_rate is None else Allowance(whole_rate, whole_burst)
        self._warned = False

    def at(self, now: float) -> float:
        """The time of an event: that of the recorder's own clock if it has one."""
        return now if self._clock is None else self._clock()

    def takes_whole(self, length: int, now: float) -> bool:
        """Whether ``length`` bytes more may be recorded; the first time they may not is logged."""
        if self._allowance is None or self._allowance.take(length, now):
            return True
        if not self._warned:
            self._warned = True
            _log.warning("capture %s: the target sends much: some data is left out, no headers", self.name)
        return False

    def connection(
        self, client: tuple[str, int], server: tuple[str, int], *, interface: str = "iscsim0"
    ) -> RecordedConnection:
        """A tap for one end of the connection from ``client`` to ``server``.

        The addresses are those of the sockets (the longer tuples of IPv6 will do). ``interface`` is the
        name of the network card that Wireshark shows.
        """
        return RecordedConnection(self, (client[0], client[1]), (server[0], server[1]), interface)

    def _open(
        self, client: Address, server: Address, interface: str, now: float
    ) -> tuple[Claim | None, TCPConversation | None]:
        """The claim of this connection and, for the end that shall record it, the conversation."""
        pair = frozenset((client, server))
        joined = self._claims.join(pair, now)
        if joined is not None or self._writer is None:
            return joined, None
        shown_to = shown_server(self._show(server), self._portal_port)
        claim = self._claims.begin(pair, self._show(client), shown_to)
        try:
            return claim, self._conversation(self._writer, claim, interface)
        except ConfigError as error:
            _log.warning("capture %s: connection not recorded: %s", self.name, error)
        except OSError as error:
            self._fail(error)
        return claim, None

    def _conversation(self, writer: PcapngWriter, claim: Claim, interface: str) -> TCPConversation:
        self._conversations += 1
        return TCPConversation(
            writer,
            claim.shown_client,
            claim.shown_server,
            interface=interface,
            portal_port=None,
            max_segment_length=self._max_segment_length,
            number=self._conversations,
        )


def real_time_recorder(path_or_file: str | Path | BinaryIO, **options: Any) -> Recorder:
    """A recorder for loops that run in real time; ``options`` are those of :class:`Recorder`.

    Unless told otherwise it lets a target be quick, with a ``whole_rate`` of 32 MiB a second: to record
    whole what a target can send takes more time than to send it, and fills a disk within the minute.

    Raises:
        ConfigError: the file cannot be created.
    """
    now = time.monotonic()
    options.setdefault("whole_rate", WHOLE_RATE)
    return Recorder(path_or_file, epoch_offset_s=epoch_offset_s(now), clock=time.monotonic, **options)


def _joined(data: Data) -> Buffer:
    if isinstance(data, bytes | bytearray | memoryview):
        return data
    return data[0] if len(data) == 1 else b"".join(data)
