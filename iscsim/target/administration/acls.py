"""Initiators that may log in: let in, sent away, with another CHAP."""

from __future__ import annotations

from typing import Any

from iscsim.errors import ConfigError
from iscsim.scsi.nexus import LUNMap
from iscsim.session.names import normalize_name
from iscsim.target.access_control import ACL, AccessControl
from iscsim.target.administration.configuration import Configuration, chap_of
from iscsim.target.administration.errors import AlreadyExists, NotFound

__all__ = ["ACLs"]


class ACLs:
    """Changes the ACLs of a `Configuration`."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration

    def find(self, target: str, tag: int, initiator: str) -> ACL:
        """The ACL of an initiator, in whatever case its name is. Raises NotFound."""
        acl = self._configuration.access(target, tag).acls.get(initiator.strip().lower())
        if acl is None:
            raise NotFound(f"portal group {tag} of {target} has no ACL for {initiator}")
        return acl

    def create(
        self, target: str, tag: int, initiator: str, chap: dict[str, str], attributes: dict[str, Any]
    ) -> ACL:
        """Let an initiator in; it sees nothing yet.

        What it had as one that needed no ACL ends: it has another map now.

        Raises:
            NotFound: there is no such portal group.
            AlreadyExists: it has one, in whatever case.
            ConfigError: the name, the CHAP or an attribute cannot be.
        """
        access = self._configuration.access(target, tag)
        name = normalize_name(initiator)
        if name in access.acls:
            raise AlreadyExists(f"portal group {tag} of {target} has an ACL for {name} already")
        if attributes.get("authentication", -1) not in (-1, 0, 1):
            raise ConfigError("attribute authentication: expected -1 (as the portal group), 0 or 1")
        config = chap_of(**chap)
        acl = access.add_acl(name, lun_map=LUNMap(), chap=config)
        acl.attributes = dict(attributes)
        self._drop(access, name, "it has an ACL now")
        return acl

    def delete(self, target: str, tag: int, initiator: str) -> None:
        """Send an initiator away: its sessions end, those of others stay. Raises NotFound."""
        acl = self.find(target, tag, initiator)
        access = self._configuration.access(target, tag)
        if access.everybody is None:  # where there was an ACL the door is closed, and stays so
            access.everybody = False
        del access.acls[acl.initiator_name]
        self._drop(access, acl.initiator_name, "ACL deleted")

    def _drop(self, access: AccessControl, initiator_name: str, why: str) -> None:
        for session in self._configuration.sessions_with(access):
            if session.initiator_name == initiator_name:
                session.drop(why)

    def set_chap(self, target: str, tag: int, initiator: str, chap: dict[str, str]) -> ACL:
        """Another CHAP from the next login on. Raises NotFound, ConfigError."""
        acl = self.find(target, tag, initiator)
        acl.chap = chap_of(**chap)
        return acl
