"""Cinder's ``connection_info``: which target, through which portals, under which LUN.

What os-initialize_connection returns and os-brick's ``connect_volume`` takes (see
``tests/golden/seeds`` for real ones).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iscsim.errors import ConfigError
from iscsim.initiator.device_names import by_path_name
from iscsim.session.chap import ChapConfig, ChapCredential
from iscsim.session.names import format_portal


@dataclass(frozen=True, slots=True, order=True)
class PathSpec:
    """One way to the volume: a portal, the target behind it, the volume's LUN there."""

    host: str
    port: int
    target_name: str
    lun: int

    @property
    def portal(self) -> str:
        """``host:port``, IPv6 in brackets."""
        return format_portal(self.host, self.port)

    @property
    def by_path(self) -> str:
        """What udev calls the disk of this path."""
        return by_path_name(self.portal, self.target_name, self.lun)


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """An iSCSI volume's connection: its paths in cinder's order, and the CHAP to log in with."""

    paths: tuple[PathSpec, ...]
    volume_id: str = ""
    read_only: bool = False
    chap: ChapConfig | None = field(default=None)


def read_connection_info(path: Path) -> ConnectionInfo:
    """Read a JSON file.

    Raises:
        ConfigError: it cannot be read, is not JSON, or is not an iSCSI connection.
    """
    try:
        return parse_connection_info(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_connection_info(document: Any) -> ConnectionInfo:
    """Take the REST answer, the ``connection_info`` in it, the flat attachment form, or the bare data.

    Raises:
        ConfigError: a field is missing or of the wrong form; the message names it.
    """
    data = _data(document)
    if "target_portals" in data:
        columns = [_list(data, key) for key in ("target_portals", "target_iqns", "target_luns")]
        if len({len(column) for column in columns}) != 1 or not columns[0]:
            raise ConfigError(
                "target_portals, target_iqns and target_luns must be equally long, and not empty"
            )
        rows = list(zip(*columns, strict=True))
    else:
        rows = [tuple(_value(data, key) for key in ("target_portal", "target_iqn", "target_lun"))]
    return ConnectionInfo(
        paths=tuple(dict.fromkeys(_path(*row) for row in rows)),
        volume_id=str(data.get("volume_id") or ""),
        read_only=data.get("access_mode") == "ro",
        chap=_chap(data),
    )


def _data(document: Any) -> dict[str, Any]:
    if isinstance(document, dict):
        document = document.get("connection_info", document)
    if isinstance(document, dict):
        kind = document.get("driver_volume_type", "iscsi")
        if kind != "iscsi":
            raise ConfigError(f"driver_volume_type is {kind!r}, expected 'iscsi'")
        document = document.get("data", document)
    if not isinstance(document, dict):
        raise ConfigError("a connection_info must be a JSON object")
    return document


def _value(data: dict[str, Any], key: str) -> Any:
    if data.get(key) is None:
        raise ConfigError(f"{key} is missing")
    return data[key]


def _list(data: dict[str, Any], key: str) -> list[Any]:
    value = _value(data, key)
    if not isinstance(value, list):
        raise ConfigError(f"{key} must be a list")
    return value


def _path(portal: Any, target_name: Any, lun: Any) -> PathSpec:
    # Newton logs show "10.245.47.95: 3260", with a blank
    host, _, port = str(portal).replace(" ", "").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise ConfigError(f"not a portal: {portal!r} (expected ADDRESS:PORT)")
    if not isinstance(lun, int) or isinstance(lun, bool) or not 0 <= lun < 1 << 24:
        raise ConfigError(f"not a LUN: {lun!r}")
    if not isinstance(target_name, str) or not target_name:
        raise ConfigError(f"not a target name: {target_name!r}")
    return PathSpec(host.strip("[]"), int(port), target_name, lun)


def _chap(data: dict[str, Any]) -> ChapConfig | None:
    if not data.get("auth_method"):
        return None
    if data["auth_method"] != "CHAP":
        raise ConfigError(f"auth_method is {data['auth_method']!r}, expected 'CHAP'")
    user, password = (str(_value(data, key)) for key in ("auth_username", "auth_password"))
    return ChapConfig(outgoing=ChapCredential(user, password.encode()))
