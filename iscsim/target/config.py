"""A target as the user describes it, by options or by a TOML file, made into a network entity."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iscsim.errors import ConfigError
from iscsim.session.names import DEFAULT_PORT, parse_portal
from iscsim.target.node import NetworkEntity, Portal, Redirect, TargetNode
from iscsim.target.options import (
    ANYBODY,
    ANYWHERE,
    InitiatorSpec,
    LUNSpec,
    RedirectSpec,
    parse_initiator,
    parse_lun,
    parse_redirect,
)
from iscsim.target.policy import PERSONALITIES, TargetPolicy

if TYPE_CHECKING:
    from iscsim.scsi.logical_unit import LogicalUnit
    from iscsim.target.state import StateDirectory

DEFAULT_TARGET = "iqn.2026-11.org.iscsim:disk"
DEFAULT_LUN = "1=64M"


@dataclass(slots=True)
class TargetConfig:
    """One target: all strings in the forms of the command line."""

    name: str = DEFAULT_TARGET
    alias: str = ""
    portals: list[str] = field(default_factory=list)
    luns: list[str] = field(default_factory=list)
    initiators: list[str] = field(default_factory=list)
    redirects: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ServeConfig:
    """Everything ``iscsim serve`` serves; ``state`` is a directory, or nothing."""

    personality: str = "rfc"
    state: str = ""
    targets: list[TargetConfig] = field(default_factory=list)


def read_config(path: Path) -> ServeConfig:
    """Read a TOML file: ``personality``, ``state`` and ``[[target]]`` tables with the fields of TargetConfig.

    Raises:
        ConfigError: the file cannot be read, or holds something unknown or of the wrong type.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    _check_keys(path, document, {"personality": str, "state": str, "target": list})
    tables = document.get("target", [])
    return ServeConfig(
        personality=document.get("personality", "rfc"),
        state=document.get("state", ""),
        targets=[_target_config(path, table) for table in tables],
    )


_TYPE_NAMES: dict[type, str] = {str: "string", list: "list"}
_TARGET_LISTS = ("portals", "luns", "initiators", "redirects")
_TARGET_KEYS: dict[str, type] = {"name": str, "alias": str, **dict.fromkeys(_TARGET_LISTS, list)}


def _target_config(path: Path, table: Any) -> TargetConfig:
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: target must be written as [[target]]")
    _check_keys(path, table, _TARGET_KEYS)
    for key in _TARGET_LISTS:
        if not all(isinstance(item, str) for item in table.get(key, [])):
            raise ConfigError(f"{path}: {key} must be a list of strings")
    return TargetConfig(**table)


def _check_keys(path: Path, table: dict[str, Any], known: dict[str, type]) -> None:
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"{path}: unknown key {key!r} (known: {', '.join(known)})")
        if not isinstance(value, known[key]):
            raise ConfigError(f"{path}: {key} must be a {_TYPE_NAMES[known[key]]}")


@dataclass(slots=True)
class ServedTarget:
    """A node with what was asked for it, for the first screen.

    ``nodes`` are all that share its units: an array's has one for each portal.
    """

    node: TargetNode
    luns: list[LUNSpec]
    initiators: list[InitiatorSpec]
    nodes: list[TargetNode]


def personality(name: str) -> TargetPolicy:
    """The policy of that name. Raises ConfigError."""
    try:
        return PERSONALITIES[name]
    except KeyError:
        raise ConfigError(f"unknown personality {name!r} (known: {', '.join(PERSONALITIES)})") from None


def build(
    config: ServeConfig,
    *,
    default_port: int = DEFAULT_PORT,
    state: StateDirectory | None = None,
    empty: bool = False,
) -> tuple[NetworkEntity, list[ServedTarget]]:
    """Make the entity. A target without portals listens on 127.0.0.1, without LUNs it has one of 64 MiB.

    An ``empty`` entity has no target: they come later. In ``state``, the open directory of ``config.state``,
    the registrations of its logical units survive.

    Raises:
        ConfigError: anything in it is wrong; the message says what.
    """
    entity = NetworkEntity(personality(config.personality))
    portals: dict[tuple[str, int], Portal] = {}
    targets = [] if empty else config.targets or [TargetConfig()]
    served = [_add(entity, target, portals, default_port) for target in targets]
    if state is not None:
        keep_registrations(entity, state)
    return entity, served


def keep_registrations(entity: NetworkEntity, state: StateDirectory) -> None:
    """Let the registrations of every logical unit survive in ``state``.

    Raises:
        ConfigError: two units have the same WWN, which names their file; or a file is damaged.
    """
    units: dict[str, LogicalUnit] = {}
    for node in entity.nodes.values():
        for unit in node.units():
            if units.setdefault(unit.wwn, unit) is not unit:
                raise ConfigError(f"two logical units have the WWN {unit.wwn}: one state would be for both")
    for unit in units.values():
        state.keep(unit)


def _redirect(nodes: list[TargetNode], spec: RedirectSpec) -> None:
    """Have logins sent on. Raises ConfigError for a portal there is not, or one sent to itself."""
    node = nodes[0]
    portals = [portal for each in nodes for group in each.portal_groups.values() for portal in group.portals]
    own = _portal(portals, spec.to)
    if own is None and spec.to.isdecimal():
        raise ConfigError(f"redirection to portal {spec.to}: {node.name} has {len(portals)}")
    redirect = Redirect(own or spec.to, spec.permanent)
    if spec.origin == ANYWHERE:
        for each in nodes:
            each.redirect_to = redirect
        return
    origin = _portal(portals, spec.origin)
    if origin is None:
        raise ConfigError(f"redirection from {spec.origin}, which is no portal of {node.name}")
    if origin is own:
        raise ConfigError(f"portal {spec.origin} of {node.name} is redirected to itself")
    origin.redirect_to = redirect


def _portal(portals: list[Portal], text: str) -> Portal | None:
    """The portal with this number from 1, or with this address."""
    if text.isdecimal():
        return portals[int(text) - 1] if 1 <= int(text) <= len(portals) else None
    address = parse_portal(text)
    return next((portal for portal in portals if (portal.address, portal.port) == address), None)


def _add(
    entity: NetworkEntity, config: TargetConfig, portals: dict[tuple[str, int], Portal], default_port: int
) -> ServedTarget:
    nodes = _nodes(entity, config, _described_portals(config, portals, default_port))
    for text in config.redirects:
        _redirect(nodes, parse_redirect(text))
    luns = [parse_lun(text) for text in config.luns or [DEFAULT_LUN]]
    for spec in luns:
        unit = spec.logical_unit(entity.policy.base_name(nodes[0].name), entity.policy.device)
        nodes[0].add_lun(spec.number, unit, read_only=spec.readonly)
    initiators = [parse_initiator(text) for text in config.initiators]
    if len(initiators) > 1 and any(initiator.name == ANYBODY for initiator in initiators):
        raise ConfigError(f"initiator {ANYBODY} of {config.name} is everybody: no other may stand beside it")
    names = [initiator.name for initiator in initiators]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"initiator {twice} of {config.name} is given twice")
    for initiator in initiators:
        if initiator.name == ANYBODY:
            nodes[0].chap = initiator.chap
        else:
            nodes[0].add_acl(initiator.name, chap=initiator.chap)
    return ServedTarget(nodes[0], luns, initiators, nodes)


def _described_portals(
    config: TargetConfig, portals: dict[tuple[str, int], Portal], default_port: int
) -> list[Portal]:
    found: list[Portal] = []
    taken: set[tuple[str, int]] = set()
    for number, text in enumerate(config.portals or [f"127.0.0.1:{default_port}"]):
        address = parse_portal(text)
        if address in taken:
            raise ConfigError(f"portal {text} of {config.name} is given twice")
        taken |= {address} if address[1] else set()
        # two portals with port 0 are two portals; the same fixed one may serve several targets
        key = address if address[1] else (f"{config.name} {number}", 0)
        found.append(portals.setdefault(key, Portal(*address)))
    return found


def _nodes(entity: NetworkEntity, config: TargetConfig, portals: list[Portal]) -> list[TargetNode]:
    """One target with all portals; of an array one with each, which see the same units as one device."""
    ports = entity.policy.array_ports
    if not ports:
        node = entity.add_target(config.name, alias=config.alias)
        for portal in portals:
            node.add_portal(portal)
        return [node]
    if len(portals) > len(ports):
        raise ConfigError(f"{config.name}: an array has at most {len(ports)} portals")
    nodes = []
    for portal, port in zip(portals, ports, strict=False):
        name = entity.policy.base_name(config.name) + port.suffix
        node = entity.add_target(name, alias=config.alias)
        node.add_portal(portal, port.tag)
        nodes.append(node)
    for node in nodes:  # the same units and ACLs
        node.access = nodes[0].access
    return nodes
