"""The settings of a node as open-iscsi has them: one table of names, defaults, types and units."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Self

from iscsim.errors import ConfigError
from iscsim.initiator.connection import Timeouts
from iscsim.initiator.initial_login import InitialLoginSettings
from iscsim.session.chap import ChapAlgorithm, ChapConfig, ChapCredential
from iscsim.session.parameters import Wishes

__all__ = ["NodeSettings"]

_EMPTY = "<empty>"
_STARS = "********"
_DIGESTS = {
    "None": ("None",),
    "CRC32C": ("CRC32C",),
    "CRC32C,None": ("CRC32C", "None"),
    "None,CRC32C": ("None", "CRC32C"),
}
_ALGORITHMS = {
    "MD5": ChapAlgorithm.MD5,
    "SHA1": ChapAlgorithm.SHA1,
    "SHA256": ChapAlgorithm.SHA256,
    "SHA3-256": ChapAlgorithm.SHA3_256,
}


def _number(text: str) -> int:
    return int(text)


def _switch(text: str) -> bool:
    return {"Yes": True, "No": False}[text]


def _text(text: str) -> str:
    return "" if text == _EMPTY else text


def _choice(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(text)
        return text

    read.__doc__ = f"one of {', '.join(choices)}"
    return read


_number.__doc__, _switch.__doc__, _text.__doc__ = "a whole number", "Yes or No", "text"


def _setting(
    name: str,
    default: Any,
    unit: str = "",
    *,
    read: Callable[[str], Any] | None = None,
    minimum: float = 0,
    used: bool = True,
) -> Any:
    """A row of the table. ``used`` is False for what is kept and shown, and changes nothing here."""
    kinds = {int: _number, bool: _switch, str: _text}
    row = {"name": name, "unit": unit, "read": read or kinds[type(default)], "minimum": minimum, "used": used}
    return field(default=default, metadata=row)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """Every ``node.session`` and ``node.conn[0]`` setting of open-iscsi 2.1.8, in the order it shows them.

    A field is called as the setting is, in small letters; ``NodeSettings.rows()`` is the table. The defaults
    are those of the ``iscsid.conf`` it comes with; without that file ``initial_login_retry_max`` is 4 and
    ``login_timeout`` 30. ``others`` are settings about which node this is (``node.name``, ``iface.mtu``,
    ``node.conn[0].address``), kept as they are. Lengths in bytes, times in seconds.

    Raises:
        ConfigError: a value is outside the range of its setting.
    """

    initial_cmdsn: int = _setting("node.session.initial_cmdsn", 0, used=False)
    initial_login_retry_max: int = _setting("node.session.initial_login_retry_max", 8)
    xmit_thread_priority: int = _setting("node.session.xmit_thread_priority", -20, minimum=-20, used=False)
    cmds_max: int = _setting("node.session.cmds_max", 128, "commands", minimum=2)
    queue_depth: int = _setting("node.session.queue_depth", 32, "commands", minimum=1)
    nr_sessions: int = _setting("node.session.nr_sessions", 1, used=False)
    authmethod: str = _setting("node.session.auth.authmethod", "None", read=_choice("None", "CHAP"))
    username: str = _setting("node.session.auth.username", "")
    password: str = _setting("node.session.auth.password", "")
    username_in: str = _setting("node.session.auth.username_in", "")
    password_in: str = _setting("node.session.auth.password_in", "")
    chap_algs: str = _setting("node.session.auth.chap_algs", "MD5")
    replacement_timeout: float = _setting(
        "node.session.timeo.replacement_timeout", 120, "s", minimum=-math.inf
    )
    """How long commands wait for a new login; 0: not at all, less: for ever."""
    abort_timeout: float = _setting("node.session.err_timeo.abort_timeout", 15, "s")
    lu_reset_timeout: float = _setting("node.session.err_timeo.lu_reset_timeout", 30, "s")
    tgt_reset_timeout: float = _setting("node.session.err_timeo.tgt_reset_timeout", 30, "s")
    host_reset_timeout: float = _setting("node.session.err_timeo.host_reset_timeout", 60, "s")
    fast_abort: bool = _setting("node.session.iscsi.FastAbort", True, used=False)
    initial_r2t: bool = _setting("node.session.iscsi.InitialR2T", False)
    immediate_data: bool = _setting("node.session.iscsi.ImmediateData", True)
    first_burst_length: int = _setting("node.session.iscsi.FirstBurstLength", 262144, "bytes")
    max_burst_length: int = _setting("node.session.iscsi.MaxBurstLength", 16776192, "bytes")
    default_time2retain: int = _setting("node.session.iscsi.DefaultTime2Retain", 0, "s")
    default_time2wait: int = _setting("node.session.iscsi.DefaultTime2Wait", 2, "s")
    max_connections: int = _setting("node.session.iscsi.MaxConnections", 1, used=False)
    max_outstanding_r2t: int = _setting("node.session.iscsi.MaxOutstandingR2T", 1)
    erl: int = _setting("node.session.iscsi.ERL", 0, used=False)
    scan: str = _setting("node.session.scan", "auto", read=_choice("auto", "manual"))
    reopen_max: int = _setting("node.session.reopen_max", 0, "logins")
    """After so many failed logins in a row the session is given up; 0: never."""
    conn_startup: str = _setting(
        "node.conn[0].startup", "manual", read=_choice("manual", "automatic", "onboot"), used=False
    )
    window_size: int = _setting("node.conn[0].tcp.window_size", 524288, "bytes", used=False)
    type_of_service: int = _setting("node.conn[0].tcp.type_of_service", 0, used=False)
    logout_timeout: float = _setting("node.conn[0].timeo.logout_timeout", 15, "s")
    login_timeout: float = _setting("node.conn[0].timeo.login_timeout", 15, "s")
    auth_timeout: float = _setting("node.conn[0].timeo.auth_timeout", 45, "s", used=False)
    noop_out_interval: float = _setting("node.conn[0].timeo.noop_out_interval", 5, "s")
    noop_out_timeout: float = _setting("node.conn[0].timeo.noop_out_timeout", 5, "s")
    max_xmit_data_segment_length: int = _setting(
        "node.conn[0].iscsi.MaxXmitDataSegmentLength", 0, "bytes", used=False
    )
    max_recv_data_segment_length: int = _setting(
        "node.conn[0].iscsi.MaxRecvDataSegmentLength", 262144, "bytes"
    )
    header_digest: str = _setting("node.conn[0].iscsi.HeaderDigest", "None", read=_choice(*_DIGESTS))
    data_digest: str = _setting("node.conn[0].iscsi.DataDigest", "None", read=_choice(*_DIGESTS))
    if_marker: bool = _setting("node.conn[0].iscsi.IFMarker", False, used=False)
    of_marker: bool = _setting("node.conn[0].iscsi.OFMarker", False, used=False)
    others: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    def __post_init__(self) -> None:
        for row in self.rows():
            _check(row, getattr(self, row.name))

    # -- the table ---------------------------------------------------------------------------------

    @classmethod
    def rows(cls) -> tuple[Field[Any], ...]:
        """The table: ``metadata`` has ``name``, ``unit``, ``minimum`` and ``used`` of each field."""
        return tuple(each for each in fields(cls) if each.metadata)

    @classmethod
    def from_mapping(cls, record: Mapping[str, Any]) -> Self:
        """From the names and values ``iscsiadm -m node`` shows; what is missing is the default.

        Raises:
            ConfigError: there is no such setting, or the value is not one of it.
        """
        table = {row.metadata["name"]: row for row in cls.rows()}
        given: dict[str, Any] = {}
        others: dict[str, str] = {}
        for name, value in record.items():
            if row := table.get(name):
                given[row.name] = _read(row, str(value).strip())
            elif name in OTHER_NAMES or name.startswith("iface."):
                others[name] = str(value)
            else:
                raise ConfigError(f"{name[:80]} is no setting of a node")
        return cls(**given, others=MappingProxyType(others))

    def to_mapping(self, *, secrets: bool = True) -> dict[str, str]:
        """As ``iscsiadm -m node`` shows it: every setting by its name, ``<empty>`` for no text.

        Without ``secrets`` passwords are stars.
        """
        shown = dict(self.others) | {
            row.metadata["name"]: _shown(getattr(self, row.name)) for row in self.rows()
        }
        if not secrets:
            shown |= {name: _STARS for name, text in shown.items() if _is_secret(name) and text != _EMPTY}
        return dict(sorted(shown.items(), key=lambda item: item[0].startswith("node.conn")))

    # -- what is made of it ------------------------------------------------------------------------

    @property
    def initial_login(self) -> InitialLoginSettings:
        """How long the first login is tried."""
        return InitialLoginSettings(
            login_timeout=self.login_timeout,
            initial_login_retry_max=self.initial_login_retry_max,
            default_time2wait=self.default_time2wait,
        )

    @property
    def timeouts(self) -> Timeouts:
        """The times of one connection.

        One of the two of the ping without the other gets its default, as iscsid has it.
        """
        interval, timeout = self.noop_out_interval, self.noop_out_timeout
        return Timeouts(
            ping_interval_s=interval or (5.0 if timeout else 0.0),
            ping_timeout_s=timeout or (5.0 if interval else 0.0),
            request_s=self.logout_timeout,
            login_s=self.login_timeout,
        )

    @property
    def wishes(self) -> Wishes:
        """What the login asks for."""
        return Wishes(
            header_digest=_DIGESTS[self.header_digest],
            data_digest=_DIGESTS[self.data_digest],
            initial_r2t=self.initial_r2t,
            immediate_data=self.immediate_data,
            max_recv_data_segment_length=self.max_recv_data_segment_length,
            max_burst_length=self.max_burst_length,
            first_burst_length=self.first_burst_length,
            default_time2wait=self.default_time2wait,
            default_time2retain=self.default_time2retain,
            max_outstanding_r2t=self.max_outstanding_r2t,
        )

    @property
    def chap(self) -> ChapConfig | None:
        """The credentials, None without CHAP. Raises ConfigError when they are unfit."""
        if self.authmethod != "CHAP":
            return None
        incoming: tuple[ChapCredential, ...] = ()
        if self.password_in:
            incoming = (ChapCredential(self.username_in, self.password_in.encode()),)
        return ChapConfig(
            incoming=incoming,
            outgoing=ChapCredential(self.username, self.password.encode()),
            offered=self._algorithms(),
        )

    def _algorithms(self) -> tuple[ChapAlgorithm, ...]:
        try:
            return tuple(_ALGORITHMS[name.strip()] for name in self.chap_algs.split(","))
        except KeyError as error:
            known = ", ".join(_ALGORITHMS)
            raise ConfigError(f"node.session.auth.chap_algs has {error}, not some of {known}") from None


OTHER_NAMES = (
    "node.name",
    "node.tpgt",
    "node.startup",
    "node.leading_login",
    "node.discovery_address",
    "node.discovery_port",
    "node.discovery_type",
    "node.conn[0].address",
    "node.conn[0].port",
)
"""What a record says of the node itself; with every ``iface.`` setting."""


def _read(row: Field[Any], text: str) -> Any:
    meta = row.metadata
    try:
        return meta["read"](text)
    except (ValueError, KeyError):
        raise ConfigError(f"{meta['name']} must be {meta['read'].__doc__}, not {text[:60]!r}") from None


def _check(row: Field[Any], value: Any) -> None:
    meta = row.metadata
    if isinstance(value, str):
        _read(row, value or _EMPTY)
    elif not isinstance(value, (bool, int, float)) or not math.isfinite(value):
        raise ConfigError(f"{meta['name']} must be {meta['read'].__doc__}, not {value!r}")
    elif value < meta["minimum"]:
        unit = f" {meta['unit']}" if meta["unit"] else ""
        raise ConfigError(f"{meta['name']} must be at least {meta['minimum']}{unit}, not {value}")


def _is_secret(name: str) -> bool:
    return name.startswith("node.session.auth.password")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, str):
        return value or _EMPTY
    return f"{value:g}" if isinstance(value, float) else str(value)
