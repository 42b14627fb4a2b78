"""Storage objects, targets, portal groups, LUNs, ACLs and portals, as rtslib has them.

Objects are made in the target when they are constructed, and know only their names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from iscsim.openstack.rtstool.rtslib.utils import RTSLibError, client, raising

__all__ = [
    "LUN",
    "TPG",
    "BlockStorageObject",
    "FabricModule",
    "MappedLUN",
    "NetworkPortal",
    "NodeACL",
    "Target",
]


class BlockStorageObject:
    """A block device; made with ``dev``, looked up without."""

    def __init__(self, name: str, dev: str | None = None) -> None:
        self.name = name
        if dev is not None:
            with raising():
                client().create_backstore(name, plugin="block", path=os.path.abspath(dev), write_back=False)

    def delete(self) -> None:
        """With the LUNs that show it."""
        with raising():
            client().delete_backstore(self.name)


class FabricModule:
    """Only ``iscsi`` is there."""

    def __init__(self, name: str) -> None:
        if name != "iscsi":
            raise RTSLibError(f"no fabric module {name}")
        self.name = name


class Target:
    """A target; ``mode`` is create, lookup or any."""

    def __init__(self, fabric_module: FabricModule, wwn: str, mode: str = "any") -> None:
        self.fabric_module, self.wwn = fabric_module, wwn.lower()
        if mode == "create":
            with raising():
                self.wwn = client().create_target(wwn)["name"]

    @property
    def tpgs(self) -> Iterator[TPG]:
        """Its portal groups."""
        with raising():
            rows = client().show_target(self.wwn)["tpgs"]
        return (TPG(self, row["tag"], mode="lookup") for row in rows)

    def delete(self) -> None:
        """With all it has; its sessions end."""
        with raising():
            client().delete_target(self.wwn)


class TPG:
    """A portal group; without a tag, made with the first free one."""

    def __init__(self, parent_target: Target, tag: int | None = None, mode: str = "any") -> None:
        self.parent_target = parent_target
        self.tag = 1 if tag is None else tag
        if mode == "create":
            with raising():
                self.tag = client().create_tpg(parent_target.wwn, tag)["tag"]

    @property
    def _at(self) -> tuple[str, int]:
        return self.parent_target.wwn, self.tag

    def set_attribute(self, attribute: str, value: str) -> None:
        """One of LIO's attributes of portal groups, all of which are numbers."""
        with raising():
            client().set_tpg(*self._at, attributes={attribute: int(value)})

    @property
    def enable(self) -> bool:
        """Whether logins may come."""
        with raising():
            rows = client().show_target(self.parent_target.wwn)["tpgs"]
        return next(row["enabled"] for row in rows if row["tag"] == self.tag)

    @enable.setter
    def enable(self, wanted: int) -> None:
        with raising():
            (client().enable_tpg if wanted else client().disable_tpg)(*self._at)

    @property
    def node_acls(self) -> Iterator[NodeACL]:
        """Its ACLs."""
        with raising():
            rows = client().list_acls(*self._at)
        return (NodeACL(self, row["initiator"], mode="lookup") for row in rows)


class LUN:
    """A LUN of a portal group; made with the first free number unless one is given."""

    def __init__(
        self, parent_tpg: TPG, lun: int | None = None, storage_object: BlockStorageObject | None = None
    ) -> None:
        self.parent_tpg = parent_tpg
        self.lun = lun or 0
        if storage_object is not None:
            with raising():
                self.lun = client().create_lun(*parent_tpg._at, storage_object.name, lun=lun)["lun"]


class NodeACL:
    """An initiator that may log in. CHAP counts once both user and password are there."""

    def __init__(self, parent_tpg: TPG, node_wwn: str, mode: str = "any") -> None:
        self.parent_tpg, self.node_wwn = parent_tpg, node_wwn.lower()
        self._user = self._password = ""
        if mode == "create":
            with raising():
                self.node_wwn = client().create_acl(*parent_tpg._at, node_wwn)["initiator"]

    @property
    def chap_userid(self) -> str:
        """The user that was set here."""
        return self._user

    @chap_userid.setter
    def chap_userid(self, user: str) -> None:
        self._user = user
        self._set_chap()

    @property
    def chap_password(self) -> str:
        """The password that was set here."""
        return self._password

    @chap_password.setter
    def chap_password(self, password: str) -> None:
        self._password = password
        self._set_chap()

    def _set_chap(self) -> None:
        if self._user and self._password:
            with raising():
                client().set_chap(
                    *self.parent_tpg._at, self.node_wwn, user=self._user, password=self._password
                )

    def delete(self) -> None:
        """The initiator's sessions end."""
        with raising():
            client().delete_acl(*self.parent_tpg._at, self.node_wwn)


class MappedLUN:
    """A LUN as an initiator sees it."""

    def __init__(self, parent_nodeacl: NodeACL, mapped_lun: int, tpg_lun: int | None = None) -> None:
        self.parent_nodeacl, self.mapped_lun, self.tpg_lun = parent_nodeacl, mapped_lun, tpg_lun
        if tpg_lun is not None:
            at = parent_nodeacl.parent_tpg._at
            with raising():
                client().create_mapped_lun(*at, parent_nodeacl.node_wwn, mapped_lun, tpg_lun)


class NetworkPortal:
    """A portal; one that is there already is taken."""

    def __init__(self, parent_tpg: TPG, ip_address: str, port: int = 3260, mode: str = "any") -> None:
        from iscsim.net.control_client import AlreadyExists

        self.parent_tpg, self.ip_address, self.port = parent_tpg, ip_address, port
        try:
            with raising():
                client().create_portal(*parent_tpg._at, ip_address, port)
        except RTSLibError as error:
            if not (mode == "any" and isinstance(error.__context__, AlreadyExists)):
                raise

    @property
    def iser(self) -> bool:
        """There is no RDMA here."""
        return False

    @iser.setter
    def iser(self, wanted: bool) -> None:
        if wanted:
            raise RTSLibError("iSER is not supported")
