"""CRC32C: the RFC's examples, and two implementations that check each other."""

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.pdu import crc32c, digest
from iscsim.pdu.digest import Buffer, _crcmod_crc32c, _pick

# RFC 7143 Appendix A.4 (the same as RFC 3720 B.4): data, and the digest in the order of the wire.
VECTORS = [
    (bytes(32), "aa36918a"),
    (b"\xff" * 32, "43aba862"),
    (bytes(range(32)), "4e79dd46"),
    (bytes(range(31, -1, -1)), "5cdb3f11"),
    (
        bytes.fromhex(
            "01c000000000000000000000000000001400000000000400000000140000001828000000000000000200000000000000"
        ),
        "563a96d9",
    ),
]

portable = _crcmod_crc32c()
IMPLEMENTATIONS = [pytest.param(crc32c, id="picked"), pytest.param(portable, id="crcmod")]


@pytest.mark.parametrize("data,expected", VECTORS)
def test_digests_of_the_examples(data: bytes, expected: str) -> None:
    assert digest(data).hex() == expected


@pytest.mark.parametrize("function", IMPLEMENTATIONS)
@pytest.mark.parametrize("data,expected", VECTORS)
def test_both_implementations_know_the_examples(
    function: Callable[[Buffer, int], int], data: bytes, expected: str
) -> None:
    assert function(data, 0).to_bytes(4, "little").hex() == expected


@given(st.binary(max_size=300), st.integers(0, 0xFFFFFFFF))
def test_both_implementations_agree(data: bytes, value: int) -> None:
    assert crc32c(data, value) == portable(data, value)


@pytest.mark.parametrize("function", IMPLEMENTATIONS)
def test_a_value_is_carried_on(function: Callable[[Buffer, int], int]) -> None:
    assert function(b"world", function(b"hello ", 0)) == function(b"hello world", 0)


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_parts_are_one_message(parts: list[bytes]) -> None:
    assert digest(*parts) == digest(b"".join(parts))


def test_nothing_has_the_digest_zero() -> None:
    assert digest() == digest(b"") == bytes(4)


@pytest.mark.parametrize("function", IMPLEMENTATIONS)
@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_any_buffer_will_do(
    function: Callable[[Buffer, int], int], buffer: Callable[[bytes], Buffer]
) -> None:
    assert function(buffer(b"123456789"), 0) == 0xE3069283


def test_a_slice_of_a_view_will_do() -> None:
    view = memoryview(b"..123456789..")[2:-2]
    assert crc32c(view, 0) == portable(view, 0) == 0xE3069283


def test_crcmod_takes_over_where_crc32c_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crc32c", None)
    fallback = _pick()
    assert fallback is not crc32c
    assert fallback(bytes(32), 0).to_bytes(4, "little").hex() == "aa36918a"


def test_crc32c_is_used_where_it_is_there() -> None:
    module = pytest.importorskip("crc32c")
    assert _pick() is module.crc32c
