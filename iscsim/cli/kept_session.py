"""A session the keeper keeps: it lives through lost connections, and has a SCSI host with its devices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from iscsim.initiator.multipath import Path
from iscsim.initiator.session_state import SessionState, SessionStateChanged
from iscsim.scsi.inquiry import DeviceType

if TYPE_CHECKING:
    from iscsim.initiator.recovering_session import RecoveringSession
    from iscsim.initiator.scsi_host import SCSIHost
    from iscsim.initiator.session import Session
    from iscsim.session.parameters import Parameters


@dataclass(slots=True)
class KeptSession:
    """A session that outlives the command that made it, and its connections.

    ``paths`` are its disks, as they are in multipath maps.
    """

    sid: int
    portal: str
    target: str
    session: RecoveringSession
    host: SCSIHost
    paths: list[Path] = field(default_factory=list)
    reason: str | None = None
    """Why it is not logged in."""

    def __post_init__(self) -> None:
        self.session.listeners.append(self._heard)

    def _heard(self, event: object) -> None:
        if isinstance(event, SessionStateChanged):
            self.reason = None if event.state is SessionState.LOGGED_IN else event.reason

    @property
    def is_logged_in(self) -> bool:
        """Whether it has a connection now."""
        return self.session.state is SessionState.LOGGED_IN

    def row(self) -> dict[str, Any]:
        """For ``iscsim sessions``."""
        where = {"sid": self.sid, "portal": self.portal, "target": self.target}
        return where | {"state": str(self.session.state), "reason": self.reason}

    async def scan(self) -> list[Path]:
        """Have the host find devices that are new: the disks among them as paths."""
        added = await self.host.scan()
        units = {unit.lun: unit for unit in self.session.units}
        paths = [
            Path(device, units[device.lun], hctl=str(device.hctl), name=device.name)
            for device in added
            if device.name and device.lun in units
        ]
        self.paths += paths
        return paths

    async def close(self) -> None:
        """Log out. Written data is flushed first where that is possible."""
        if self.is_logged_in:
            await self.host.close()
        await self.session.close()
        await self.host.close()

    def detail(self) -> dict[str, Any]:
        """What ``iscsiadm -m session -P 3`` shows, ready for JSON."""
        session, settings = self.session, self.session.settings
        connection = session.session
        return self.row() | {
            "current_portal": _portal(session.portal, connection),
            "persistent_portal": _portal(session.home, connection),
            "initiator_name": session.initiator_name,
            "local_address": connection.local_address if connection is not None else None,
            "isid": session.isid.hex(),
            "timeouts": {
                "recovery_timeout": settings.replacement_timeout,
                "target_reset_timeout": settings.tgt_reset_timeout,
                "lun_reset_timeout": settings.lu_reset_timeout,
                "abort_timeout": settings.abort_timeout,
                "noop_out_interval": settings.noop_out_interval,
                "noop_out_timeout": settings.noop_out_timeout,
            },
            "chap_username": settings.username or None,
            "parameters": _parameters(connection.parameters) if connection is not None else None,
            "host": self.host.number,
            "devices": [self._device(device) for device in self.host.devices.values()],
        }

    def _device(self, device: Any) -> dict[str, Any]:
        kind = self.host.kernel_identity(device.hctl).standard.device_type
        return {
            "hctl": str(device.hctl),
            "lun": device.hctl.lun,
            "type": "disk" if kind == DeviceType.DISK else f"type {kind}",
            "name": device.name or None,
            "state": str(device.state),
            "queue_depth": device.queue_depth,
        }


def _portal(portal: Any, session: Session | None) -> str:
    tag = session.parameters.target_portal_group_tag if session is not None else None
    return f"{portal}{'' if tag is None else f',{tag}'}"


def _parameters(agreed: Parameters) -> dict[str, Any]:
    """What was negotiated, under the names and in the order of iscsiadm."""
    return {
        "HeaderDigest": "CRC32C" if agreed.header_digest else "None",
        "DataDigest": "CRC32C" if agreed.data_digest else "None",
        "MaxRecvDataSegmentLength": agreed.max_recv_data_segment_length,
        "MaxXmitDataSegmentLength": agreed.max_send_data_segment_length,
        "FirstBurstLength": agreed.first_burst_length,
        "MaxBurstLength": agreed.max_burst_length,
        "ImmediateData": agreed.immediate_data,
        "InitialR2T": agreed.initial_r2t,
        "MaxOutstandingR2T": agreed.max_outstanding_r2t,
    }


def detail_text(detail: dict[str, Any]) -> str:
    """One session in the form of ``iscsiadm -m session -P 3``."""
    logged_in = detail["state"] == str(SessionState.LOGGED_IN)
    timeouts, parameters = detail["timeouts"], detail["parameters"]
    lines = [
        f"Target: {detail['target']}",
        f"\tCurrent Portal: {detail['current_portal']}",
        f"\tPersistent Portal: {detail['persistent_portal']}",
        *_heading("Interface:"),
        f"\t\tIface Initiatorname: {detail['initiator_name']}",
        f"\t\tIface IPaddress: {detail['local_address'] or '<empty>'}",
        f"\t\tSID: {detail['sid']}",
        f"\t\tiSCSI Connection State: {'LOGGED IN' if logged_in else 'TRANSPORT WAIT'}",
        f"\t\tiSCSI Session State: {detail['state']}",
        *_heading("Timeouts:"),
        f"\t\tRecovery Timeout: {timeouts['recovery_timeout']:g}",
        f"\t\tTarget Reset Timeout: {timeouts['target_reset_timeout']:g}",
        f"\t\tLUN Reset Timeout: {timeouts['lun_reset_timeout']:g}",
        f"\t\tAbort Timeout: {timeouts['abort_timeout']:g}",
        *_heading("CHAP:"),
        f"\t\tusername: {detail['chap_username'] or '<empty>'}",
        "\t\tpassword: ********",
        *_heading("Negotiated iSCSI params:"),
        *(f"\t\t{name}: {_yes_or_no(value)}" for name, value in (parameters or {}).items()),
        *_heading("Attached SCSI devices:"),
        f"\t\tHost Number: {detail['host']}\tState: running",
    ]
    for device in detail["devices"]:
        lines.append(f"\t\tscsi{detail['host']} Channel 00 Id 0 Lun: {device['lun']}")
        if device["name"]:
            lines.append(f"\t\t\tAttached scsi disk {device['name']}\t\tState: {device['state']}")
    return "\n".join(lines)


def _heading(text: str) -> list[str]:
    stars = "\t\t" + "*" * (24 if len(text) > 20 else len(text))  # as iscsiadm counts them
    return [stars, f"\t\t{text}", stars]


def _yes_or_no(value: Any) -> Any:
    return {True: "Yes", False: "No"}[value] if isinstance(value, bool) else value
