"""``root``: all there is, saved and restored."""

from __future__ import annotations

import os
from collections.abc import Iterator

from iscsim.openstack.rtstool.rtslib.objects import BlockStorageObject, FabricModule, Target
from iscsim.openstack.rtstool.rtslib.utils import client, raising

__all__ = ["RTSRoot", "default_save_file"]

default_save_file = os.environ.get("ISCSIM_SAVECONFIG") or "/etc/target/saveconfig.json"


class RTSRoot:
    """The root. Raises RTSLibError when there is no target."""

    def __init__(self) -> None:
        self._client = client()

    @property
    def storage_objects(self) -> Iterator[BlockStorageObject]:
        """Every backstore."""
        with raising():
            rows = self._client.list_backstores()
        return (BlockStorageObject(row["name"]) for row in rows)

    @property
    def targets(self) -> Iterator[Target]:
        """Every target."""
        with raising():
            names = self._client.list_targets()
        return (Target(FabricModule("iscsi"), name, mode="lookup") for name in names)

    def save_to_file(self, save_file: str | None = None) -> None:
        """Write saveconfig.json. Raises OSError when the target cannot."""
        from iscsim.net.control_client import ControlError

        try:
            self._client.save(save_file or default_save_file)
        except ControlError as error:
            raise OSError(str(error)) from None

    def restore_from_file(self, restore_file: str | None = None) -> list[str]:
        """In the place of all there is. Raises OSError for a file that cannot be restored."""
        from iscsim.net.control_client import ControlError

        try:
            self._client.restore(restore_file or default_save_file)
        except ControlError as error:
            raise OSError(str(error)) from None
        return []
