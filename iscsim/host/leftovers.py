"""What is left on a host: the oracle of every detach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from iscsim.host.multipathd import WWIDS
from iscsim.host.tree import Link
from iscsim.session.names import format_portal

if TYPE_CHECKING:
    from iscsim.host.model import Host

__all__ = ["leftovers"]

_LINKED = ("/dev/disk/by-", "/dev/mapper/")


def leftovers(host: Host, own_files: dict[str, bytes]) -> list[str]:
    """A line for each thing that was not there when the host was new; ``own_files`` are those it had then.

    The first word says what it is: session, node, discovery, adapter (a SCSI host), disk, path (of
    multipathd), map, link, wwid, mount, file, directory, or work (of a daemon that is not done).
    """
    return [
        *_of_iscsi(host),
        *_of_the_kernel(host),
        *_of_names(host),
        *_of_files(host, own_files),
        *_work(host),
    ]


def _of_iscsi(host: Host) -> Iterator[str]:
    for session in host.iscsid.sessions.values():
        record = session.record
        yield f"session {session.sid}: {format_portal(record.address, record.port)} {record.target_name}"
    for record in host.nodes:
        yield f"node {format_portal(record.address, record.port)} {record.target_name}"
    for discovery in host.nodes.discoveries.values():
        yield f"discovery {format_portal(discovery.address, discovery.port)}"


def _of_the_kernel(host: Host) -> Iterator[str]:
    for adapter in host.kernel.adapters.values():
        yield f"adapter host{adapter.number} of session {adapter.sid}"
    for disk in host.kernel.disks.values():
        yield f"disk {disk.name} at {disk.hctl}"
    for name in host.multipathd.paths:
        yield f"path {name}"
    for device in host.multipathd.maps.values():
        names = ", ".join(path.name for path in device.paths) or "no path"
        yield f"map {device.alias} (dm-{device.minor}) of {names}"


def _of_names(host: Host) -> Iterator[str]:
    for path, entry in host.tree.entries.items():
        if isinstance(entry, Link) and path.startswith(_LINKED) and path not in host.links:
            yield f"link {path}"
    yield from (f"link {path}" for path in host.links)
    yield from (f"wwid {wwid}" for wwid in host.multipathd.wwids)
    yield from (f"mount {directory} of {device}" for device, directory in host.mounts.items())


def _of_files(host: Host, own_files: dict[str, bytes]) -> Iterator[str]:
    for path, content in host.files.items():
        if path != WWIDS and own_files.get(path) != content:
            yield f"file {path}"
    yield from (f"directory {path}" for path in host.directories)


def _work(host: Host) -> Iterator[str]:
    for name, daemon in (("udev", host.udev), ("multipathd", host.multipathd)):
        if daemon.busy:
            yield f"work of {name}: {daemon.busy} disks"
