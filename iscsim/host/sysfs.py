"""/sys as far as storage is concerned: SCSI hosts, sessions, devices, disks and maps, out of the model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from iscsim.host.kernel import SECTOR_SIZE, Disk, SCSIAdapter
from iscsim.host.tree import Directory, Entry, File, Link
from iscsim.host.udev import DEVICE_MAPPER_MAJOR

if TYPE_CHECKING:
    from iscsim.host.iscsid import HostSession
    from iscsim.host.model import Host
    from iscsim.initiator.multipath import MultipathDevice

__all__ = ["Sysfs"]

Item = tuple[str, Entry]
_NULL = "(null)"
_VPD_FILES = {0x00: "vpd_pg0", 0x80: "vpd_pg80", 0x83: "vpd_pg83"}
_VPD_FILES |= {0x89: "vpd_pg89", 0xB0: "vpd_pgb0", 0xB1: "vpd_pgb1", 0xB2: "vpd_pgb2"}


def _line(text: object) -> File:
    """An attribute: a line of text."""
    return File(lambda: f"{text}\n".encode())


def _asked(tell: Callable[[], object]) -> File:
    """An attribute that is looked up when it is read."""
    return File(lambda: f"{tell()}\n".encode())


class Sysfs:
    """Entries of /sys for one host; what is written to them does what it does in Linux."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def entries(self) -> Iterator[Item]:
        """All of them."""
        for path in ("/sys/class/iscsi_host", "/sys/class/iscsi_session", "/sys/class/iscsi_connection"):
            yield path, Directory()
        for path in ("/sys/class/scsi_host", "/sys/class/fc_host", "/sys/class/block", "/sys/block"):
            yield path, Directory()
        yield "/sys/bus/scsi/drivers/sd", Directory()
        sessions = {each.sid: each for each in self._host.iscsid.sessions.values()}
        for adapter in self._host.kernel.adapters.values():
            yield from self._adapter(adapter)
            if adapter.sid in sessions:
                yield from self._session(adapter, sessions[adapter.sid])
        for disk in self._host.kernel.disks.values():
            yield from self._disk(disk)
        for device in self._host.multipathd.maps.values():
            yield from self._map(device)

    # -- hosts and sessions ------------------------------------------------------------------------

    def _adapter(self, adapter: SCSIAdapter) -> Iterator[Item]:
        name = f"host{adapter.number}"
        here = f"/sys/devices/platform/{name}"
        for kind in ("scsi_host", "iscsi_host"):
            yield f"{here}/{kind}/{name}/device", Link(f"../../../{name}")
            yield f"/sys/class/{kind}/{name}", Link(f"../../devices/platform/{name}/{kind}/{name}")
        yield f"{here}/scsi_host/{name}/scan", File(write=self._scan(adapter), mode=0o200)
        yield f"{here}/scsi_host/{name}/state", _line("running")
        yield f"{here}/scsi_host/{name}/proc_name", _line("iscsi_tcp")
        yield f"{here}/iscsi_host/{name}/initiatorname", _line(self._host.initiator_name)
        yield f"{here}/iscsi_host/{name}/ipaddress", _line(self._host.address)

    def _scan(self, adapter: SCSIAdapter) -> Callable[[bytes], Awaitable[object]]:
        async def scan(data: bytes) -> None:
            words = data.decode(errors="replace").split()
            if len(words) != 3 or not all(word == "-" or word.isdecimal() for word in words):
                raise OSError(22, "Invalid argument")
            channel, target, lun = (word if word == "-" else int(word) for word in words)
            await self._host.kernel.scan(adapter.number, channel, target, lun)  # type: ignore[arg-type]

        return scan

    def _session(self, adapter: SCSIAdapter, session: HostSession) -> Iterator[Item]:
        name, connection = f"session{session.sid}", f"connection{session.sid}:0"
        parent = f"devices/platform/host{adapter.number}/{name}"
        here = f"/sys/{parent}/iscsi_session/{name}"
        for attribute, value in self._session_attributes(session).items():
            yield f"{here}/{attribute}", value
        yield f"{here}/device", Link(f"../../../{name}")
        yield f"/sys/class/iscsi_session/{name}", Link(f"../../{parent}/iscsi_session/{name}")
        where = f"{parent}/{connection}/iscsi_connection/{connection}"
        for attribute, value in _connection_attributes(session).items():
            yield f"/sys/{where}/{attribute}", value
        yield f"/sys/class/iscsi_connection/{connection}", Link(f"../../{where}")

    def _session_attributes(self, session: HostSession) -> dict[str, File]:
        settings = session.settings
        found: dict[str, object] = {
            "abort_tmo": int(settings.abort_timeout),
            "creator": 400,
            "data_pdu_in_order": 1,
            "data_seq_in_order": 1,
            "erl": settings.erl,
            "fast_abort": int(settings.fast_abort),
            "ifacename": session.record.interface,
            "initiatorname": self._host.initiator_name,
            "lu_reset_tmo": int(settings.lu_reset_timeout),
            "password": settings.password or _NULL,
            "password_in": settings.password_in or _NULL,
            "recovery_tmo": int(
                session.session.settings.replacement_timeout
                if session.session
                else settings.replacement_timeout
            ),
            "target_id": 0,
            "target_state": "SCANNED" if session.is_up else "ALLOCATED",
            "targetname": session.record.target_name,
            "tgt_reset_tmo": int(settings.tgt_reset_timeout),
            "tpgt": session.portal_group_tag,
            "username": settings.username or _NULL,
            "username_in": settings.username_in or _NULL,
        }
        files = {name: _line(value) for name, value in found.items()}
        files["state"] = _asked(lambda: session.session.state if session.session else "FREE")
        return files | _negotiated(session)

    # -- devices and disks -------------------------------------------------------------------------

    def _disk(self, disk: Disk) -> Iterator[Item]:
        hctl, adapter = disk.hctl, disk.adapter
        target = f"target{hctl.host}:{hctl.channel}:{hctl.target}"
        device = f"devices/platform/host{adapter.number}/session{adapter.sid}/{target}/{hctl}"
        for attribute, value in self._device_attributes(disk).items():
            yield f"/sys/{device}/{attribute}", value
        block = f"{device}/block/{disk.name}"
        for attribute, value in _block_attributes(disk.size, disk.read_only, disk.device_number).items():
            yield f"/sys/{block}/{attribute}", value
        yield f"/sys/{block}/device", Link(f"../../../{hctl}")
        yield f"/sys/{block}/queue/logical_block_size", _line(disk.block_size)
        for directory in ("holders", "slaves"):
            yield f"/sys/{block}/{directory}", Directory()
        for map_ in self._maps_of(disk):
            link = f"../../../../../../../../virtual/block/dm-{map_.minor}"
            yield f"/sys/{block}/holders/dm-{map_.minor}", Link(link)
        yield f"/sys/block/{disk.name}", Link(f"../{block}")
        yield f"/sys/class/block/{disk.name}", Link(f"../../{block}")
        for path in (f"bus/scsi/drivers/sd/{hctl}", f"bus/scsi/devices/{hctl}"):
            yield f"/sys/{path}", Link("../" * path.count("/") + device)
        yield f"/sys/{device}/scsi_device/{hctl}/device", Link(f"../../../{hctl}")
        yield f"/sys/class/scsi_device/{hctl}", Link(f"../../{device}/scsi_device/{hctl}")

    def _device_attributes(self, disk: Disk) -> dict[str, File]:
        identity = disk.identity
        standard = identity.standard

        async def delete(data: bytes) -> None:
            await self._host.kernel.delete(disk)

        async def rescan(data: bytes) -> None:
            await self._host.kernel.rescan(disk)

        files = {
            "delete": File(write=delete, mode=0o200),
            "rescan": File(write=rescan, mode=0o200),
            "state": _asked(lambda: disk.device.state.value),
            "vendor": _line(f"{standard.vendor:<8}"),
            "model": _line(f"{standard.product:<16}"),
            "rev": _line(f"{standard.revision:<4}"),
            "type": _line(int(standard.device_type)),
            "scsi_level": _line(int(identity.level)),
            "queue_depth": _asked(lambda: disk.device.queue_depth),
            "timeout": _line(30),
            "wwid": _line(identity.names.wwid),
            "inquiry": File(lambda: identity.inquiry),
        }
        for code, name in _VPD_FILES.items():
            if code in identity.pages:
                files[name] = File(lambda page=identity.pages[code]: page, mode=0o444)  # type: ignore[misc]
        for counter in ("iorequest_cnt", "iodone_cnt", "ioerr_cnt", "iotmo_cnt"):
            files[counter] = _asked(lambda name=counter: f"{disk.device.counters()[name]:#x}")  # type: ignore[misc]
        return files

    def _maps_of(self, disk: Disk) -> list[MultipathDevice]:
        maps = self._host.multipathd.maps.values()
        return [device for device in maps if any(path.name == disk.name for path in device.paths)]

    # -- maps --------------------------------------------------------------------------------------

    def _map(self, device: MultipathDevice) -> Iterator[Item]:
        name = f"dm-{device.minor}"
        here = f"devices/virtual/block/{name}"
        number = f"{DEVICE_MAPPER_MAJOR}:{device.minor}"
        for attribute, value in _block_attributes(device.size, device.unit.read_only, number).items():
            yield f"/sys/{here}/{attribute}", value
        yield f"/sys/{here}/dm/uuid", _line(f"mpath-{device.wwn}")
        yield f"/sys/{here}/dm/name", _line(device.alias)
        yield f"/sys/{here}/dm/suspended", _line(0)
        for directory in ("holders", "slaves"):
            yield f"/sys/{here}/{directory}", Directory()
        for path in device.paths:
            disk = self._host.kernel.disks.get(path.name)
            if disk is not None:
                hctl, adapter = disk.hctl, disk.adapter
                target = f"target{hctl.host}:{hctl.channel}:{hctl.target}"
                where = (
                    f"platform/host{adapter.number}/session{adapter.sid}/{target}/{hctl}/block/{disk.name}"
                )
                yield f"/sys/{here}/slaves/{path.name}", Link(f"../../../../{where}")
        yield f"/sys/block/{name}", Link(f"../{here}")
        yield f"/sys/class/block/{name}", Link(f"../../{here}")


def _block_attributes(size: int, read_only: bool, number: str) -> dict[str, File]:
    return {
        "size": _line(size // SECTOR_SIZE),
        "ro": _line(int(read_only)),
        "dev": _line(number),
        "removable": _line(0),
        "range": _line(16),
    }


def _connection_attributes(session: HostSession) -> dict[str, File]:
    record = session.record
    portal = session.session.portal if session.session else None
    return {
        "address": _line(portal.address if portal else record.address),
        "port": _line(portal.port if portal else record.port),
        "persistent_address": _line(record.address),
        "persistent_port": _line(record.port),
        "state": _asked(lambda: "up" if session.session and session.session.session else "failed"),
    }


def _negotiated(session: HostSession) -> dict[str, File]:
    """What the last login has brought; what was asked for while there is none."""
    inner = session.session.session if session.session else None
    settings = session.settings
    values: dict[str, object] = {
        "first_burst_len": settings.first_burst_length,
        "max_burst_len": settings.max_burst_length,
        "immediate_data": int(settings.immediate_data),
        "initial_r2t": int(settings.initial_r2t),
        "max_outstanding_r2t": settings.max_outstanding_r2t,
    }
    if inner is not None:
        parameters = inner.parameters
        values = {
            "first_burst_len": parameters.first_burst_length,
            "max_burst_len": parameters.max_burst_length,
            "immediate_data": int(parameters.immediate_data),
            "initial_r2t": int(parameters.initial_r2t),
            "max_outstanding_r2t": parameters.max_outstanding_r2t,
        }
    return {name: _line(value) for name, value in values.items()}
