"""The initiator: sessions with targets, discovery, scanning, multipath.

The names below are loaded when they are first used, so that the core without I/O stays without asyncio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iscsim.initiator.client import DEFAULT_INITIATOR_NAME as DEFAULT_INITIATOR_NAME
    from iscsim.initiator.client import connect as connect
    from iscsim.initiator.device_names import DiskNames as DiskNames
    from iscsim.initiator.device_names import by_path_name as by_path_name
    from iscsim.initiator.device_state import HCTL as HCTL
    from iscsim.initiator.device_state import DeviceEvent as DeviceEvent
    from iscsim.initiator.device_state import DeviceOffline as DeviceOffline
    from iscsim.initiator.device_state import DeviceState as DeviceState
    from iscsim.initiator.device_state import DeviceStateChanged as DeviceStateChanged
    from iscsim.initiator.discovery import DiscoveredTarget as DiscoveredTarget
    from iscsim.initiator.discovery import discover as discover
    from iscsim.initiator.disposition import BlockStatus as BlockStatus
    from iscsim.initiator.disposition import DeviceEventKind as DeviceEventKind
    from iscsim.initiator.disposition import block_status_of as block_status_of
    from iscsim.initiator.error_handling import ErrorHandler as ErrorHandler
    from iscsim.initiator.error_handling import RecoveryStep as RecoveryStep
    from iscsim.initiator.error_settings import ErrorHandlingSettings as ErrorHandlingSettings
    from iscsim.initiator.events import AsyncMessageReceived as AsyncMessageReceived
    from iscsim.initiator.exit_codes import IscsiadmExitCode as IscsiadmExitCode
    from iscsim.initiator.identity import Identity as Identity
    from iscsim.initiator.identity import identify as identify
    from iscsim.initiator.initial_login import InitialLoginFailed as InitialLoginFailed
    from iscsim.initiator.initial_login import InitialLoginSettings as InitialLoginSettings
    from iscsim.initiator.initial_login import LoginAttempt as LoginAttempt
    from iscsim.initiator.initial_login import exit_code_of as exit_code_of
    from iscsim.initiator.multipath import MultipathDevice as MultipathDevice
    from iscsim.initiator.multipath import Path as Path
    from iscsim.initiator.multipath import PathState as PathState
    from iscsim.initiator.multipath import group_paths as group_paths
    from iscsim.initiator.portal import Portal as Portal
    from iscsim.initiator.recovering_session import RecoveringSession as RecoveringSession
    from iscsim.initiator.recovering_session import log_in as log_in
    from iscsim.initiator.scan import LogicalUnitInfo as LogicalUnitInfo
    from iscsim.initiator.scsi_device import SCSIDevice as SCSIDevice
    from iscsim.initiator.scsi_host import SCSIHost as SCSIHost
    from iscsim.initiator.scsi_scan import UnitIdentity as UnitIdentity
    from iscsim.initiator.session import Result as Result
    from iscsim.initiator.session import Session as Session
    from iscsim.initiator.session_state import SessionState as SessionState
    from iscsim.initiator.session_state import SessionStateChanged as SessionStateChanged
    from iscsim.initiator.session_state import TransportDisrupted as TransportDisrupted
    from iscsim.initiator.session_state import TransportFailed as TransportFailed
    from iscsim.initiator.settings import NodeSettings as NodeSettings
    from iscsim.initiator.task import CommandAborted as CommandAborted
    from iscsim.initiator.task import CommandTask as CommandTask
    from iscsim.initiator.task import CommandTimedOut as CommandTimedOut
    from iscsim.initiator.task import TargetFailure as TargetFailure
    from iscsim.initiator.task import TransferIncomplete as TransferIncomplete
    from iscsim.initiator.verbs import SCSIVerbs as SCSIVerbs

_HOMES = {
    "client": ("DEFAULT_INITIATOR_NAME", "connect"),
    "device_names": ("DiskNames", "by_path_name"),
    "device_state": ("HCTL", "DeviceEvent", "DeviceOffline", "DeviceState", "DeviceStateChanged"),
    "discovery": ("DiscoveredTarget", "discover"),
    "disposition": ("BlockStatus", "DeviceEventKind", "block_status_of"),
    "error_handling": ("ErrorHandler", "RecoveryStep"),
    "error_settings": ("ErrorHandlingSettings",),
    "events": ("AsyncMessageReceived",),
    "exit_codes": ("IscsiadmExitCode",),
    "identity": ("Identity", "identify"),
    "initial_login": ("InitialLoginFailed", "InitialLoginSettings", "LoginAttempt", "exit_code_of"),
    "multipath": ("MultipathDevice", "Path", "PathState", "group_paths"),
    "portal": ("Portal",),
    "recovering_session": ("RecoveringSession", "log_in"),
    "scan": ("LogicalUnitInfo",),
    "scsi_device": ("SCSIDevice",),
    "scsi_host": ("SCSIHost",),
    "scsi_scan": ("UnitIdentity",),
    "session": ("Result", "Session"),
    "session_state": ("SessionState", "SessionStateChanged", "TransportDisrupted", "TransportFailed"),
    "settings": ("NodeSettings",),
    "task": ("CommandAborted", "CommandTask", "CommandTimedOut", "TargetFailure", "TransferIncomplete"),
    "verbs": ("SCSIVerbs",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    try:
        module = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module 'iscsim.initiator' has no attribute {name!r}") from None
    return getattr(import_module(f"iscsim.initiator.{module}"), name)


def __dir__() -> list[str]:
    return __all__
