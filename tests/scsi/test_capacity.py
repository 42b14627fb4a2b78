from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.scsi.capacity import Capacity

capacities = st.builds(
    Capacity,
    blocks=st.integers(1, 1 << 64),
    block_size=st.sampled_from([512, 4096]),
    physical_block_exponent=st.integers(0, 15),
    provisioning_managed=st.booleans(),
    reads_zeros=st.booleans(),
)


@pytest.mark.parametrize("peer, exponent", [("tgt", 3), ("LIO", 0)])
def test_parse_16_reads_the_targets_of_the_captures(recorded, peer, exponent):
    for row in recorded("9e10", peer):
        expected = Capacity(blocks=131072, block_size=512, physical_block_exponent=exponent)
        assert Capacity.parse_16(row.data) == expected
        assert expected.encode_16() == row.data


@given(capacities)
def test_long_form_round_trip(capacity):
    assert Capacity.parse_16(capacity.encode_16()) == capacity


def test_short_form_of_a_small_unit():
    capacity = Capacity(blocks=2048, block_size=512)
    assert capacity.encode_10().hex() == "000007ff00000200"
    assert Capacity.parse_10(capacity.encode_10()) == capacity


@pytest.mark.parametrize("blocks", [1 << 32, 1 << 40])
def test_short_form_of_a_large_unit_sends_to_the_long_one(blocks):
    data = Capacity(blocks=blocks, block_size=512).encode_10()
    assert data[:4] == b"\xff\xff\xff\xff"
    assert Capacity.parse_10(data) is None


@pytest.mark.parametrize("data", ["", "000007ff", "000007ff00000000", "000007ffffffffff"])
def test_parse_10_refuses_nonsense(data):
    with pytest.raises(ValueError, match=r"bytes"):
        Capacity.parse_10(bytes.fromhex(data))


@pytest.mark.parametrize("block_size", [0, (1 << 16) + 1, 1 << 24, (1 << 32) - 1])
def test_block_sizes_no_disk_has_are_refused(block_size):
    with pytest.raises(ValueError, match=f"block size of {block_size} bytes"):
        Capacity.parse_16(bytes(7) + b"\xff" + block_size.to_bytes(4, "big"))


@given(st.binary(max_size=40))
def test_parse_16_survives_anything(data):
    with suppress(ValueError):
        assert Capacity.parse_16(data).size > 0


def test_size_is_in_bytes():
    assert Capacity(blocks=8, block_size=4096).size == 32768
