"""LIO's saveconfig.json, as rtslib and targetcli write and read it, and the model of the control socket.

Pure: `to_saveconfig` makes the document of a model (`iscsim.net.control_types.Model`, with its secrets),
`from_saveconfig` a model of a document. What LIO does not know, the personality and WWNs that do not follow
from their serial numbers, stands under a key of ours that rtslib does not look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from iscsim.errors import ConfigError
from iscsim.hints import hint
from iscsim.scsi import makes
from iscsim.session.names import normalize_name
from iscsim.target.options import normalize_wwn
from iscsim.target.policy import PERSONALITIES
from iscsim.target.saveconfig_defaults import (
    ACL_ATTRIBUTES,
    ALUA_GROUP,
    BACKSTORE_ATTRIBUTES,
    PORTAL_GROUP_ATTRIBUTES,
    PORTAL_GROUP_PARAMETERS,
    TARGET_PARAMETERS,
)

if TYPE_CHECKING:
    from iscsim.net.control_types import Model

__all__ = ["from_saveconfig", "to_saveconfig"]

OURS = "iscsim"
_ALUA = "alua_tpgs"
_CHAP = ("user", "password", "mutual_user", "mutual_password")
_LIO_CHAP = ("chap_userid", "chap_password", "chap_mutual_userid", "chap_mutual_password")


# -- out -------------------------------------------------------------------------------------------


def to_saveconfig(model: Mapping[str, Any]) -> dict[str, Any]:
    """The document of ``model``, to be written by ``json.dumps(document, sort_keys=True, indent=2)``."""
    document = {
        "fabric_modules": [],
        "storage_objects": [_storage_object(row) for row in model["backstores"]],
        "targets": [_target(row, model) for row in model["targets"]],
    }
    ours = _ours(model)
    return {**document, OURS: ours} if ours else document


def _ours(model: Mapping[str, Any]) -> dict[str, Any]:
    wwns = {
        row["name"]: row["wwn"]
        for row in model["backstores"]
        if row.get("wwn") and row["wwn"] != makes.LIO.wwn(row["serial"])
    }
    sizes = {row["name"]: 4096 for row in model["backstores"] if row.get("block_size") == 4096}
    personality = model.get("personality", "lio")
    own = {row["name"]: row["personality"] for row in model["targets"] if row.get("personality")}
    others = {name: each for name, each in own.items() if each != personality}
    found: dict[str, Any] = {} if personality == "lio" else {"personality": personality}
    return found | {
        key: value
        for key, value in (("wwns", wwns), ("block_sizes", sizes), ("personalities", others))
        if value
    }


def _storage_object(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in row.get("attributes", {}).items() if key != _ALUA}
    attributes = BACKSTORE_ATTRIBUTES[row["plugin"]] | kept
    attributes |= {
        "block_size": row["block_size"],
        "emulate_tpu": int(row["thin"]),
        "emulate_tpws": int(row["thin"]),
    }
    if row["plugin"] != "ramdisk":
        attributes["emulate_write_cache"] = int(row["write_back"])
    common = {
        _ALUA: row.get("attributes", {}).get(_ALUA, [ALUA_GROUP]),
        "attributes": attributes,
        "name": row["name"],
        "plugin": row["plugin"],
        "wwn": row["serial"],
    }
    return common | _OWN_FIELDS[row["plugin"]](row)


_OWN_FIELDS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "block": lambda row: {
        "dev": row["path"],
        "exclusive": True,
        "readonly": row["read_only"],
        "write_back": row["write_back"],
    },
    "fileio": lambda row: {
        "aio": False,
        "dev": row["path"],
        "size": row["size"],
        "write_back": row["write_back"],
    },
    "ramdisk": lambda row: {"size": row["size"]},
}


def _target(row: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    plugins = {each["name"]: each["plugin"] for each in model["backstores"]}
    groups = {
        each["name"]: each.get("attributes", {}).get(_ALUA, [ALUA_GROUP])[0]["name"]
        for each in model["backstores"]
    }
    return {
        "fabric": "iscsi",
        "parameters": TARGET_PARAMETERS | row.get("parameters", {}),
        "tpgs": [_group(each, row, plugins, groups) for each in row["tpgs"]],
        "wwn": row["name"],
    }


def _group(
    row: Mapping[str, Any], target: Mapping[str, Any], plugins: Mapping[str, str], groups: Mapping[str, str]
) -> dict[str, Any]:
    alias = {"TargetAlias": target["alias"]} if target.get("alias") else {}
    parameters = PORTAL_GROUP_PARAMETERS | row.get("parameters", {}) | alias
    attributes = PORTAL_GROUP_ATTRIBUTES | row.get("attributes", {})
    if attributes["authentication"]:
        parameters["AuthMethod"] = "CHAP"
    return {
        "attributes": attributes,
        "enable": row["enabled"],
        "luns": [
            {
                "alias": lun["alias"],
                "alua_tg_pt_gp_name": groups[lun["backstore"]],
                "index": lun["lun"],
                "storage_object": f"/backstores/{plugins[lun['backstore']]}/{lun['backstore']}",
            }
            for lun in row["luns"]
        ],
        "node_acls": [_acl(each) for each in row["acls"]],
        "parameters": parameters,
        "portals": [_portal(each) for each in row["portals"]],
        "tag": row["tag"],
    } | _lio_chap(row)


def _portal(row: Mapping[str, Any]) -> dict[str, Any]:
    bare = row["address"].strip("[]")
    address = f"[{bare}]" if ":" in bare else bare
    return {"ip_address": address, "iser": False, "offload": False, "port": row["port"]}


def _acl(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "attributes": ACL_ATTRIBUTES | row.get("attributes", {}),
        "mapped_luns": [
            {
                "alias": each["alias"],
                "index": each["lun"],
                "tpg_lun": each["tpg_lun"],
                "write_protect": each["write_protect"],
            }
            for each in row["mapped_luns"]
        ],
        "node_wwn": row["initiator"],
    } | _lio_chap(row)


def _lio_chap(row: Mapping[str, Any]) -> dict[str, str]:
    pairs = zip(_LIO_CHAP, _CHAP, strict=True)
    return {theirs: row[ours] for theirs, ours in pairs if row.get(ours)}


# -- in --------------------------------------------------------------------------------------------


class _Node:
    """A value of the document with the way to it, which messages begin with."""

    def __init__(self, value: Any, where: str = "") -> None:
        self.value, self.where = value, where

    def wrong(self, what: str) -> ConfigError:
        return ConfigError(f"saveconfig: {self.where or 'the document'}: {what}")

    def get(self, key: str, kind: type, default: Any = ...) -> Any:
        """A value of this object. Raises ConfigError when it is missing, or of another type."""
        if key not in self.value:
            if default is ...:
                raise self.wrong(f"{key!r} is missing")
            return default
        value = self.value[key]
        if kind is int and value in (0, 1) and isinstance(value, bool):
            value = int(value)
        if kind is bool and type(value) is int and value in (0, 1):
            value = bool(value)
        if type(value) is not kind:
            raise self.wrong(f"{key} is {_shown(key, value)}, not {_KINDS[kind]}")
        if isinstance(value, str) and (problem := _problem_of_text(key, value)):
            raise self.wrong(f"{key}: {problem}")
        return value

    def number(self, key: str, most: int, default: Any = ...) -> int:
        value = self.get(key, int, default)
        if not 0 <= value <= most:
            raise self.wrong(f"{key} is {value}, not 0 to {most}")
        return cast("int", value)

    def all(self, key: str) -> Iterator[_Node]:
        """The objects of a list."""
        for index, value in enumerate(self.get(key, list, [])):
            node = _Node(value, f"{self.where}{'.' if self.where else ''}{key}[{index}]")
            if not isinstance(value, dict):
                raise node.wrong("not an object")
            yield node


def _shown(key: str, value: Any) -> str:
    """What a message may show: no secret, and nothing that may have one in it."""
    if "password" in key or isinstance(value, list | dict):
        return _KINDS.get(type(value), "something else")
    return f"{value!r:.60}"


def _problem_of_text(key: str, value: str) -> str | None:
    if len(value) > _MAX_TEXT_LENGTH:
        return f"{len(value)} characters, not up to {_MAX_TEXT_LENGTH}"
    if "\0" in value or ("password" not in key and not value.isprintable()):
        return "characters that cannot be shown"
    return None


_MAX_TEXT_LENGTH = 4096
_KINDS = {str: "text", int: "a number", bool: "true or false", list: "a list", dict: "an object"}


def from_saveconfig(document: Any) -> Model:
    """The model a document describes. A WWN stays out where it follows from the serial number, and the
    personality where nothing is said of it.

    Raises:
        ConfigError: the document is none, something in it is missing, unknown, twice or of the wrong type.
            One line that says where.
    """
    root = _Node(document)
    if not isinstance(document, dict):
        raise root.wrong("not an object")
    ours = _read_ours(root)
    backstores = [_read_storage_object(node, ours) for node in root.all("storage_objects")]
    _refuse_twice(root, "backstore", [row["name"] for row in backstores])
    _refuse_twice(root, "unit serial number", [row["serial"] for row in backstores if row["serial"]])
    _refuse_twice(root, "WWN", [_wwn_of(row) for row in backstores if row["serial"] or "wwn" in row])
    plugins = {row["name"]: row["plugin"] for row in backstores}
    targets = [_read_target(node, plugins, ours) for node in root.all("targets")]
    _refuse_twice(root, "target", [row["name"] for row in targets])
    model: dict[str, Any] = {"backstores": backstores, "targets": targets}
    if "personality" in ours:
        model["personality"] = ours["personality"]
    return cast("Model", model)


def _read_ours(root: _Node) -> dict[str, Any]:
    node = _Node(root.get(OURS, dict, {}), OURS)
    found: dict[str, Any] = {key: node.get(key, dict, {}) for key in ("wwns", "block_sizes", "personalities")}
    for name in (
        *([node.get("personality", str)] if "personality" in node.value else []),
        *found["personalities"].values(),
    ):
        if not isinstance(name, str) or name not in PERSONALITIES:
            raise node.wrong(f"personality {_shown('', name)} ({hint(str(name), PERSONALITIES)})")
    return found | ({"personality": node.value["personality"]} if "personality" in node.value else {})


def _wwn_of(row: Mapping[str, Any]) -> str:
    return str(row["wwn"]) if "wwn" in row else makes.LIO.wwn(row["serial"])


def _refuse_twice(root: _Node, what: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise root.wrong(f"{what} {name} is there twice")
        seen.add(name)


def _read_storage_object(node: _Node, ours: Mapping[str, Any]) -> dict[str, Any]:
    name, plugin = node.get("name", str), node.get("plugin", str)
    if plugin not in BACKSTORE_ATTRIBUTES:
        known = ", ".join(BACKSTORE_ATTRIBUTES)
        raise node.wrong(f"plugin {plugin!r:.60} of {name} is not one of {known}")
    attributes = dict(node.get("attributes", dict, {}))
    inner = _Node(attributes, f"{node.where}.attributes")
    groups = _alua_groups(node)
    row: dict[str, Any] = {
        "name": name,
        "plugin": plugin,
        "path": None if plugin == "ramdisk" else node.get("dev", str),
        "size": 0 if plugin == "block" else node.number("size", 1 << 62),
        "block_size": inner.number("block_size", 4096, 512),
        "serial": node.get("wwn", str, "") if node.value.get("wwn") is not None else "",
        "read_only": node.get("readonly", bool, False),
        "write_back": node.get("write_back", bool, plugin == "ramdisk"),
        "thin": bool(inner.number("emulate_tpu", 1, 0)),
        "attributes": attributes | groups,
    }
    if name in ours["wwns"]:
        row["wwn"] = normalize_wwn(_Node(ours["wwns"], f"{OURS}.wwns").get(name, str))
    return row


def _alua_groups(node: _Node) -> dict[str, Any]:
    """The target port groups of LIO, kept as they are if they are not those a backstore has anyway."""
    groups = [each.value for each in node.all(_ALUA) if each.get("name", str)]
    return {_ALUA: groups} if groups and groups != [ALUA_GROUP] else {}


def _read_target(node: _Node, plugins: Mapping[str, str], ours: Mapping[str, Any]) -> dict[str, Any]:
    fabric, wwn = node.get("fabric", str), node.get("wwn", str)
    if fabric != "iscsi":
        raise node.wrong(f"fabric {fabric!r:.60} of {wwn} is not iscsi")
    name = _name(node, wwn)
    groups = [_read_group(each, plugins) for each in node.all("tpgs")]
    _refuse_twice(node, "portal group", [str(row["tag"]) for row in groups])
    aliases = [row["parameters"].get("TargetAlias", "") for row in groups]
    plain = PORTAL_GROUP_PARAMETERS["TargetAlias"]
    row: dict[str, Any] = {
        "name": name,
        "alias": next((str(alias) for alias in aliases if alias and alias != plain), ""),
        "parameters": dict(node.get("parameters", dict, {})),
        "tpgs": groups,
    }
    if name in ours["personalities"]:
        row["personality"] = ours["personalities"][name]
    return row


def _name(node: _Node, text: str) -> str:
    try:
        return normalize_name(text)
    except ConfigError as error:
        raise node.wrong(str(error)) from None


def _read_group(node: _Node, plugins: Mapping[str, str]) -> dict[str, Any]:
    luns = [_read_lun(each, plugins) for each in node.all("luns")]
    _refuse_twice(node, "LUN", [str(row["lun"]) for row in luns])
    acls = [_read_acl(each, {row["lun"] for row in luns}) for each in node.all("node_acls")]
    _refuse_twice(node, "ACL", [row["initiator"] for row in acls])
    return {
        "tag": node.number("tag", 65535),
        "enabled": node.get("enable", bool, True),
        "attributes": dict(node.get("attributes", dict, {})),
        "parameters": dict(node.get("parameters", dict, {})),
        "portals": [_read_portal(each) for each in node.all("portals")],
        "luns": luns,
        "acls": acls,
    } | _chap(node)


def _read_portal(node: _Node) -> dict[str, Any]:
    return {"address": node.get("ip_address", str).strip("[]"), "port": node.number("port", 65535)}


def _read_lun(node: _Node, plugins: Mapping[str, str]) -> dict[str, Any]:
    path = node.get("storage_object", str)
    _, _, plugin, name = [*path.split("/", 3), "", "", ""][:4]
    if not path.startswith("/backstores/") or plugins.get(name) != plugin:
        raise node.wrong(f"no storage object {path!r:.200}")
    return {"lun": node.number("index", 16383), "backstore": name, "alias": node.get("alias", str, "")}


def _read_acl(node: _Node, luns: set[int]) -> dict[str, Any]:
    mapped = [_read_mapped_lun(each, luns) for each in node.all("mapped_luns")]
    _refuse_twice(node, "mapped LUN", [str(row["lun"]) for row in mapped])
    return {
        "initiator": _name(node, node.get("node_wwn", str)),
        "attributes": dict(node.get("attributes", dict, {})),
        "mapped_luns": mapped,
    } | _chap(node)


def _read_mapped_lun(node: _Node, luns: set[int]) -> dict[str, Any]:
    tpg_lun = node.number("tpg_lun", 16383)
    if tpg_lun not in luns:
        raise node.wrong(f"the portal group has no LUN {tpg_lun}")
    return {
        "lun": node.number("index", 16383),
        "tpg_lun": tpg_lun,
        "write_protect": node.get("write_protect", bool, False),
        "alias": node.get("alias", str, ""),
    }


def _chap(node: _Node) -> dict[str, str]:
    pairs = zip(_CHAP, _LIO_CHAP, strict=True)
    return {ours: node.get(theirs, str, "") for ours, theirs in pairs}
