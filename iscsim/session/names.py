"""iSCSI names: their forms, and the names SCSI makes of them (RFC 7143 sections 4.2.7 and 4.4.1)."""

from __future__ import annotations

import re

from iscsim.errors import ConfigError

MAX_NAME_LENGTH = 223
"""Bytes of an iSCSI name (RFC 7143 section 4.2.7.1)."""
DEFAULT_PORT = 3260
"""iSCSI's well-known port (RFC 7143 section 13.8)."""
_FORMS = re.compile(
    r"iqn\.\d{4}-(0[1-9]|1[0-2])\.[a-z0-9-]+(\.[a-z0-9-]+)*(:[^\s,\"'<>/]+)?"
    r"|eui\.[0-9a-f]{16}"
    r"|naa\.([0-9a-f]{32}|[0-9a-f]{16})"
)


def normalize_name(name: str) -> str:
    """The name in its one form: lower case (RFC 7143 section 4.2.7.2).

    A slash, which RFC 3722 forbids too, would make a path of what hosts name after a target.

    Raises:
        ConfigError: it is not an iqn., eui. or naa. name of at most 223 bytes.
    """
    folded = name.strip().lower()
    if not folded.isprintable():
        raise ConfigError(f"not an iSCSI name: {name!r:.80}")
    if len(folded.encode()) > MAX_NAME_LENGTH:
        raise ConfigError(
            f"name of {len(folded.encode())} bytes, at most {MAX_NAME_LENGTH} are allowed: {folded[:40]!r}..."
        )
    if not _FORMS.fullmatch(folded):
        raise ConfigError(
            f"not an iSCSI name: {name!r} (expected iqn.YYYY-MM.reversed.domain[:anything], eui. or naa.)"
        )
    return folded


def initiator_port_name(initiator_name: str, isid: bytes) -> str:
    """The SCSI initiator port of a session: name, ",i,", ISID (RFC 7143 section 4.4.1)."""
    return f"{initiator_name},i,0x{isid.hex()}"


def target_port_name(target_name: str, portal_group_tag: int) -> str:
    """The SCSI target port of a portal group: name, ",t,", tag (RFC 7143 section 4.4.1)."""
    return f"{target_name},t,0x{portal_group_tag:04x}"


def format_portal(address: str, port: int) -> str:
    """``address:port``, IPv6 in brackets (RFC 7143 section 13.8)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def parse_portal(text: str, *, default_port: int | None = DEFAULT_PORT) -> tuple[str, int]:
    """(host, port) of ``host:port``, ``[ipv6]:port`` or ``host``. Raises ConfigError."""
    match = re.fullmatch(
        r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^\s:\[\]/]+))(?::\s*(?P<port>\d+))?", text.strip()
    )
    if match is None or (match["port"] is None and default_port is None):
        raise ConfigError(f"not a portal: {text[:60]!r} (expected HOST:PORT, IPv6 as [ADDRESS]:PORT)")
    if (match["host"] or "").isdecimal():
        raise ConfigError(f"not a portal: {text[:60]!r} has no host (expected HOST:PORT, as 127.0.0.1:3260)")
    port = int(match["port"]) if match["port"] else (default_port or 0)
    if port > 65535:
        raise ConfigError(f"not a portal: port {port} of {text[:60]!r} is not one of 0 to 65535")
    return _host(match["v6"] or match["host"]), port


def _host(host: str) -> str:
    """Refuse what no resolver takes: parts of more than 63 bytes, or none between two dots."""
    try:
        host.encode("idna")
    except UnicodeError:
        raise ConfigError(f"not a portal: {host[:60]!r} is no name of a host") from None
    return host
