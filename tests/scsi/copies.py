"""Parameter lists for EXTENDED COPY, well formed unless a test asks for something else."""

from iscsim.scsi import cdb
from iscsim.scsi.copy_parameters import (
    BLOCK_TO_BLOCK,
    BLOCK_TO_BLOCK_WITH_OFFSETS,
    HEADER,
    IDENTIFICATION,
)
from iscsim.scsi.designator import naa_designator


def cscd(unit, *, pad=False, **fields):
    """A CSCD descriptor that names ``unit``; ``fields`` replace what it says."""
    values = {
        "type": 0xE4,
        "designator": naa_designator(unit.wwn).encode().ljust(24, b"\0"),
        "block_device": 0x04 if pad else 0,
        "block_length_low": unit.block_size,
    }
    return IDENTIFICATION.build(**(values | fields))


def blocks(count, source_lba=0, destination_lba=0, source=0, destination=0, **fields):
    """A segment of type 02h; ``flags`` are DC (2) and CAT (1)."""
    values = {"type": 0x02, "length": 0x18, "source": source, "destination": destination}
    values |= {"count": count, "source_lba": source_lba, "destination_lba": destination_lba}
    return BLOCK_TO_BLOCK.build(**(values | fields))


def offsets(count, source=(0, 0), destination=(0, 0), to=0, **fields):
    """A segment of type 0Ah; ``source`` and ``destination`` are (lba, byte in it), ``to`` a CSCD."""
    values = {"type": 0x0A, "length": 0x1C, "count": count, "destination": to}
    values |= {"source_lba": source[0], "source_offset": source[1]}
    values |= {"destination_lba": destination[0], "destination_offset": destination[1]}
    return BLOCK_TO_BLOCK_WITH_OFFSETS.build(**(values | fields))


def parameters(cscds, segments, *, identifier=1, usage=0, **fields):
    """The whole list."""
    values = {"list_identifier": identifier, "flags": usage << 3}
    values |= {"cscd_length": len(b"".join(cscds)), "segment_length": len(b"".join(segments))}
    return HEADER.build(**(values | fields)) + b"".join(cscds) + b"".join(segments)


def command(*args, **fields):
    """CDB and Data-Out."""
    data = parameters(*args, **fields)
    return cdb.extended_copy(data), data
