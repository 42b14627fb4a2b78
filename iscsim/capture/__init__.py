"""Floor 3: captures of iSCSI connections, written as pcapng, read back, and shown as text.

Nothing here imports scapy until a capture is read.
"""

from iscsim.capture.describe import describe
from iscsim.capture.ladder import LadderEvent, ladder, pcap_events, pcap_ladder, stream_events
from iscsim.capture.pcapng import Packet, PcapngWriter, read_packets
from iscsim.capture.recorder import (
    ConnectionTap,
    RecordedConnection,
    Recorder,
    epoch_offset_s,
    real_time_recorder,
)
from iscsim.capture.streams import Chunk, Direction, Stream, reassemble, tcp_streams
from iscsim.capture.tcp import ISCSI_PORT, TCPConversation
from iscsim.capture.wire import WireRecorder

__all__ = [
    "ISCSI_PORT",
    "Chunk",
    "ConnectionTap",
    "Direction",
    "LadderEvent",
    "Packet",
    "PcapngWriter",
    "RecordedConnection",
    "Recorder",
    "Stream",
    "TCPConversation",
    "WireRecorder",
    "describe",
    "epoch_offset_s",
    "ladder",
    "pcap_events",
    "pcap_ladder",
    "read_packets",
    "real_time_recorder",
    "reassemble",
    "stream_events",
    "tcp_streams",
]
