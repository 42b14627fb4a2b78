"""READ CAPACITY parameter data (SBC-3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from construct import Int32ub, Int64ub, Padding

from iscsim.scsi.layout import Layout, bits

__all__ = ["Capacity"]

CAPACITY_10 = Layout("last_lba" / Int32ub, "block_size" / Int32ub)
CAPACITY_16 = Layout(
    "last_lba" / Int64ub,
    "block_size" / Int32ub,
    "protection" / bits(_=4, p_type=3, prot_en=1),
    "exponents" / bits(p_i=4, physical_block=4),
    "provisioning" / bits(lbpme=1, lbprz=1, _=6),
    "alignment_low" / bits(_=8),
    Padding(16),
)
_LBPME = CAPACITY_16.masks("provisioning")["lbpme"]
_LBPRZ = CAPACITY_16.masks("provisioning")["lbprz"]
_MAXIMUM_32 = 0xFFFF_FFFF
_MAXIMUM_BLOCK_SIZE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """``blocks`` of ``block_size`` bytes, 2**``physical_block_exponent`` of them to a physical block."""

    blocks: int
    block_size: int
    physical_block_exponent: int = 0
    provisioning_managed: bool = False
    reads_zeros: bool = False

    @property
    def size(self) -> int:
        """In bytes."""
        return self.blocks * self.block_size

    def encode_10(self) -> bytes:
        """READ CAPACITY (10): a last block that does not fit is FFFFFFFFh, and the host asks again."""
        return CAPACITY_10.build(last_lba=min(self.blocks - 1, _MAXIMUM_32), block_size=self.block_size)

    def encode_16(self) -> bytes:
        """READ CAPACITY (16), 32 bytes."""
        provisioning = (_LBPME if self.provisioning_managed else 0) | (_LBPRZ if self.reads_zeros else 0)
        return CAPACITY_16.build(
            last_lba=self.blocks - 1,
            block_size=self.block_size,
            exponents=self.physical_block_exponent,
            provisioning=provisioning,
        )

    @classmethod
    def parse_10(cls, data: bytes | bytearray | memoryview) -> Self | None:
        """None when the unit is too large for the short form. Raises `ValueError` for data that cannot be."""
        fields = CAPACITY_10.parse(data)
        if fields["last_lba"] == _MAXIMUM_32:
            return None
        return cls(blocks=fields["last_lba"] + 1, block_size=_checked(fields["block_size"]))

    @classmethod
    def parse_16(cls, data: bytes | bytearray | memoryview) -> Self:
        """Accepts the 12 bytes of SBC-2 too. Raises `ValueError` for less, or for a block size of 0."""
        if len(data) < 12:
            raise ValueError(f"READ CAPACITY (16) answered {len(data)} bytes, at least 12 were expected")
        fields = CAPACITY_16.parse(bytes(data[: CAPACITY_16.size]).ljust(CAPACITY_16.size, b"\0"))
        return cls(
            blocks=fields["last_lba"] + 1,
            block_size=_checked(fields["block_size"]),
            physical_block_exponent=fields["exponents"] & 0x0F,
            provisioning_managed=bool(fields["provisioning"] & _LBPME),
            reads_zeros=bool(fields["provisioning"] & _LBPRZ),
        )


def _checked(block_size: int) -> int:
    """A target's word for how much room a block needs: no disk there is has larger ones than Linux takes."""
    if not 1 <= block_size <= _MAXIMUM_BLOCK_SIZE:
        raise ValueError(f"READ CAPACITY answered a block size of {block_size} bytes")
    return block_size
