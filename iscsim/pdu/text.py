"""Text keys as they travel: ``key=value`` pairs in UTF-8, each followed by a NUL (RFC 7143 section 6.1).

What a peer sent is parsed strictly and within limits; every violation is a NegotiationError with status
0x0200. What each key means is not known here: see ``iscsim.session.keys``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

from iscsim.errors import LocalProtocolError, NegotiationError

#: One key and its value, both decoded.
Pair = tuple[str, str]

#: Bytes of key=value text accepted in one logical text data segment.
MAX_TEXT_LENGTH = 65536
MAX_KEY_LENGTH = 63
#: Bytes of a simple value, and of each element of a list of values.
MAX_VALUE_LENGTH = 255
#: Bytes a CHAP or SRP binary value may have once decoded (RFC 7143 12.1.2 and 12.1.3).
MAX_BINARY_LENGTH = 1024

_HEX_LENGTH = 2 + 2 * MAX_BINARY_LENGTH
# The 255 bytes bind the value, not its encoded form: a binary value is longer on the wire.
_MAX_ENCODED_LENGTH = {
    **dict.fromkeys(("CHAP_C", "CHAP_R", "SRP_s", "SRP_A", "SRP_B", "SRP_M", "SRP_HM"), _HEX_LENGTH),
    **dict.fromkeys(("KRB_AP_REQ", "KRB_AP_REP"), MAX_TEXT_LENGTH),
    # RFC 7143 13.8: a domain name of 255 bytes, a port and a portal group tag.
    "TargetAddress": MAX_VALUE_LENGTH + len(":65535,65535"),
    # RFC 7143 13.26.1: the whole list, not each element.
    "X#NodeArchitecture": MAX_VALUE_LENGTH,
}

# A standard-label begins with a capital letter. Two registered keys do not look like one:
# X#NodeArchitecture (RFC 7143 13.26) and iSCSIProtocolLevel (RFC 7143 13.24).
_KEY = re.compile(r"(?:X#)?[A-Z][A-Za-z0-9.\-+@_]*|iSCSIProtocolLevel")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}")
_HEX = re.compile(r"0[xX]([0-9a-fA-F]+)")
_BASE64 = re.compile(r"0[bB]((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4}))")


def parse_text(data: bytes | bytearray | memoryview) -> list[Pair]:
    """The pairs of one whole logical text data segment, in their order.

    Raises NegotiationError (status 0x0200) for a missing NUL, a pair without ``=``, an illegal or
    overlong key, an overlong value and text that is not UTF-8 (RFC 7143 section 6.1).
    """
    if len(data) > MAX_TEXT_LENGTH:
        raise NegotiationError(f"{len(data)} bytes of text, more than {MAX_TEXT_LENGTH}", "6.1")
    raw = bytes(data)
    if not raw:
        return []
    if raw[-1] != 0:
        raise NegotiationError("the last key=value pair is not followed by a NUL", "6.1")
    return [_parse_pair(item) for item in raw[:-1].split(b"\0")]


def encode_text(pairs: Iterable[Pair]) -> bytes:
    """The wire form of ``pairs``. Raises LocalProtocolError when a pair could not be parsed again."""
    return b"".join(_encode_pair(key, value) for key, value in pairs)


def parse_number(value: str) -> int:
    """A numerical-value: decimal or hexadecimal, below 2**64, no sign, no space, no leading zero.

    Raises NegotiationError (RFC 7143 section 6.1).
    """
    if _DECIMAL.fullmatch(value):
        number = int(value)
    elif len(value) <= MAX_VALUE_LENGTH and (match := _HEX.fullmatch(value)):
        number = int(match[1], 16)
    else:
        raise NegotiationError(f"{shown(value)} is not a number", "6.1")
    if number >= 1 << 64:
        raise NegotiationError(f"the number {shown(value)} is not below 2**64", "6.1")
    return number


def parse_boolean(value: str) -> bool:
    """``Yes`` or ``No``, exactly so. Raises NegotiationError (RFC 7143 section 6.1)."""
    if value not in ("Yes", "No"):
        raise NegotiationError(f"{shown(value)} is neither Yes nor No", "6.1")
    return value == "Yes"


def parse_list(value: str) -> list[str]:
    """The elements of a list-of-values, empty ones left out (RFC 7143 section 6.1)."""
    return [element for element in value.split(",") if element]


def parse_binary(value: str, max_length: int = MAX_BINARY_LENGTH) -> bytes:
    """A binary-value given as a hex or base64 constant, at most ``max_length`` bytes and at least one.

    A decimal constant has no implicit length and is refused. Nothing is decoded before its length is
    known to fit. Raises NegotiationError (RFC 7143 section 6.1).
    """
    if len(value) > 2 + 2 * max_length:
        raise NegotiationError(f"a binary value longer than {max_length} bytes", "6.1")
    if match := _HEX.fullmatch(value):
        # An odd number of digits lacks the leading zero: n digits stand for (n + 1) / 2 bytes.
        decoded = bytes.fromhex(match[1] if len(match[1]) % 2 == 0 else "0" + match[1])
    elif match := _BASE64.fullmatch(value):
        decoded = base64.b64decode(match[1])
    else:
        raise NegotiationError(f"{shown(value)} is neither a hex nor a base64 constant", "6.1")
    if len(decoded) > max_length:
        raise NegotiationError(f"a binary value longer than {max_length} bytes", "6.1")
    return decoded


def encode_boolean(value: bool) -> str:
    return "Yes" if value else "No"


def encode_hex(data: bytes) -> str:
    """``data`` as a hex-constant, as in ``0x00ff``."""
    return "0x" + data.hex()


def encode_base64(data: bytes) -> str:
    """``data`` as a base64-constant, as in ``0bAP8=``."""
    return "0b" + base64.b64encode(data).decode("ascii")


def shown(value: str | bytes) -> str:
    """``value`` quoted for a message, cut to forty characters: a peer shall not fill the log."""
    return repr(value) if len(value) <= 40 else repr(value[:40]) + "..."


def _parse_pair(item: bytes) -> Pair:
    raw_key, equals, raw_value = item.partition(b"=")
    if not equals:
        raise NegotiationError(f"{shown(item)} has no '='", "6.1")
    if problem := _key_problem(raw_key):
        raise NegotiationError(problem, "6.1")
    key = raw_key.decode("ascii")
    try:
        value = raw_value.decode("utf-8")
    except UnicodeDecodeError:
        raise NegotiationError(f"the value of {key} is not UTF-8", "6.1") from None
    if problem := _value_problem(key, raw_value):
        raise NegotiationError(problem, "6.1")
    return key, value


def _encode_pair(key: str, value: str) -> bytes:
    raw_key, raw_value = key.encode("utf-8"), value.encode("utf-8")
    problem = _key_problem(raw_key) or _value_problem(key, raw_value)
    if problem is None and b"\0" in raw_value:
        problem = f"the value of {key} contains a NUL"
    if problem:
        raise LocalProtocolError(problem, "6.1")
    return raw_key + b"=" + raw_value + b"\0"


def _key_problem(raw_key: bytes) -> str | None:
    if len(raw_key) > MAX_KEY_LENGTH:
        return f"a key of {len(raw_key)} bytes, more than {MAX_KEY_LENGTH}"
    if not raw_key.isascii() or not _KEY.fullmatch(raw_key.decode("ascii")):
        return f"{shown(raw_key)} is not a key"
    return None


def _value_problem(key: str, raw_value: bytes) -> str | None:
    limit = _MAX_ENCODED_LENGTH.get(key)
    if limit is not None:
        longest = len(raw_value)
    else:
        # Every other value is a simple value or a list of them, and the limit is each element's.
        limit, longest = MAX_VALUE_LENGTH, max(map(len, raw_value.split(b",")))
    if longest > limit:
        return f"the value of {key} has {longest} bytes, more than {limit}"
    return None
