"""The capture of a network in memory, which knows of every segment: those that were lost, too.

Implements `iscsim.net.network.WireRecorder`. What was lost has the same sequence number when it comes again,
and the peer acknowledges only what it got, so Wireshark finds the retransmissions by itself.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, BinaryIO

from iscsim.capture.frames import Address
from iscsim.capture.output import CaptureFile
from iscsim.capture.packets import icmp_unreachable, udp_datagram
from iscsim.capture.tcp import TCPConversation
from iscsim.errors import ConfigError

__all__ = ["RecordedWire", "WireRecorder"]

_log = logging.getLogger("iscsim.capture")


class RecordedWire:
    """One connection, or attempt to make one; see `iscsim.net.network.WireRecord`."""

    def __init__(self, recorder: WireRecorder, conversation: TCPConversation, interface: str) -> None:
        self._recorder = recorder
        self._conversation = conversation
        self._interface = interface
        self._finished = {True: False, False: False}

    def attempted(self, now: float, comment: str | None = None) -> None:
        """See `WireRecord.attempted`."""
        self._recorder.write(self._conversation.attempt, now, comment)

    def accepted(self, now: float) -> None:
        """See `WireRecord.accepted`."""
        self._recorder.write(self._conversation.accept, now)

    def refused(self, now: float) -> None:
        """See `WireRecord.refused`."""
        self._recorder.write(self._conversation.refuse, now)

    def unreachable(self, now: float, code: int) -> None:
        """See `WireRecord.unreachable`."""
        conversation = self._conversation
        frame = icmp_unreachable(conversation.client, conversation.syn(), code)
        self._recorder.packet(self._interface, now, frame, None)

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
        """See `WireRecord.sent`. Data behind a FIN somebody else has put in has no place in the stream."""
        if not self._finished[by_client]:
            write = self._conversation.data
            self._recorder.write(write, by_client, data, now, comment=comment, delivered=delivered)

    def copied(
        self, by_client: bool, data: bytes, now: float, comment: str | None = None, *, behind: int
    ) -> None:
        """See `WireRecord.copied`."""
        if not self._finished[by_client]:
            write = self._conversation.copy
            self._recorder.write(write, by_client, data, now, comment=comment, behind=behind)

    def finished(
        self, by_client: bool, now: float, comment: str | None = None, *, delivered: bool = True
    ) -> None:
        """See `WireRecord.finished`."""
        self._finished[by_client] |= delivered
        self._recorder.write(self._conversation.fin, by_client, now, comment=comment, delivered=delivered)

    def reset(self, by_client: bool, now: float, comment: str | None = None) -> None:
        """See `WireRecord.reset`."""
        self._finished = {True: True, False: True}
        self._recorder.write(self._conversation.rst, by_client, now, comment=comment)


class _NotRecorded:
    """The record of what cannot be shown in a capture."""

    def _ignore(self, *args: Any, **options: Any) -> None:
        """It was logged once."""

    attempted = accepted = refused = unreachable = sent = copied = finished = reset = _ignore


class WireRecorder(CaptureFile):
    """Records what a `MemoryNetwork` carries to one pcapng file; a context manager.

    Addresses and ports are those of the network. ``epoch_offset_s`` is the time of day, in seconds since
    1970, at which virtual time began. The file is complete after every packet.

    Raises:
        ConfigError: the file cannot be created.
    """

    def __init__(
        self,
        path_or_file: str | Path | BinaryIO,
        *,
        epoch_offset_s: float = 0.0,
        max_segment_length: int | None = None,
    ) -> None:
        super().__init__(path_or_file, epoch_offset_s=epoch_offset_s)
        self._max_segment_length = max_segment_length
        self._conversations = 0

    def connection(self, client: Address, server: Address, *, interface: str) -> RecordedWire | _NotRecorded:
        """See `iscsim.net.network.WireRecorder`."""
        if self._writer is None:
            return _NotRecorded()
        self._conversations += 1
        try:
            conversation = TCPConversation(
                self._writer,
                client,
                server,
                interface=interface,
                portal_port=None,
                max_segment_length=self._max_segment_length,
                number=self._conversations,
            )
        except ConfigError as error:
            _log.warning("capture %s: connection not recorded: %s", self.name, error)
            return _NotRecorded()
        except OSError as error:
            self._fail(error)
            return _NotRecorded()
        return RecordedWire(self, conversation, interface)

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
        """See `iscsim.net.network.WireRecorder`."""
        self.packet(interface, now, udp_datagram(source, destination, data), comment)

    def packet(self, interface: str, now: float, frame: bytes, comment: str | None) -> None:
        """One whole frame."""

        def write() -> None:
            assert self._writer is not None
            self._writer.packet(self._writer.interface(interface), now, (frame,), comment=comment)

        self.write(write)
