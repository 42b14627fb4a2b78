"""An array of straw: two service processors that own a LUN in turn, as a VNX's do, and paths to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from iscsim.initiator.multipath import MapSettings, MultipathDevice, Path
from iscsim.initiator.portal import Portal
from iscsim.initiator.scan import LogicalUnitInfo
from iscsim.initiator.task import CommandTask
from iscsim.initiator.verbs import SCSIVerbs
from iscsim.scsi.asc import ASC
from iscsim.scsi.asymmetric_access import AccessState
from iscsim.scsi.capacity import Capacity
from iscsim.scsi.designator import target_port_group_designator
from iscsim.scsi.inquiry import StandardInquiry
from iscsim.scsi.opcode import Opcode
from iscsim.scsi.sense import Sense, SenseKey
from iscsim.scsi.status import Status
from iscsim.scsi.target_port_groups import TargetPortGroup
from iscsim.scsi.vpd import VPDPage, encode_device_identification

WWN = "36006016015e03a00ab2df25bb82d0ea9"
LUN = bytes.fromhex("00c5000000000000")
STANDBY = Sense.of(SenseKey.NOT_READY, ASC.TARGET_PORT_STANDBY)
ATTENTION = Sense.of(SenseKey.UNIT_ATTENTION, ASC.POWER_ON_RESET_OR_BUS_DEVICE_RESET)


@dataclass
class Array:
    """One LUN, used through its owner unless ``both_active``. ``report`` are bytes of page C0h by offset."""

    owner: int = 0
    default_owner: int = 0
    tpgs: int = 0
    states: dict[int, AccessState] = field(default_factory=dict)
    preferred: int | None = None
    both_active: bool = False
    block_size: int = 512
    blocks: int = 6 << 20
    report: dict[int, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    content: dict[int, bytes] = field(default_factory=dict)

    def paths(self, *names: str, wwn: str = WWN, **unit: Any) -> list[Path]:
        """A path to each service processor in turn, under these names: ``"2:0:0:197 sdd"``."""
        made = []
        for index, name in enumerate(names):
            hctl, _, device = name.partition(" ")
            fields = {"vendor": "DGC", "product": "VRAID", "revision": "0533"} | unit
            size = {"blocks": self.blocks, "block_size": self.block_size}
            info = LogicalUnitInfo(number=197, lun=LUN, wwn=wwn, **(size | fields))
            made.append(Path(StrawPath(self, index % 2, index), info, hctl=hctl, name=device))
        return made

    def unit_report(self, service_processor: int) -> bytes:
        """VPD page C0h."""
        page = bytearray(128)
        page[1], page[3] = 0xC0, 124
        page[4] = 2 if service_processor == self.owner else 1
        page[5], page[7], page[8] = self.default_owner, 0, service_processor
        page[10:26] = bytes.fromhex(WWN[1:])
        page[27], page[28], page[30] = 0x03, 0x06 if self.tpgs else 0x04, 0x04
        for offset, value in self.report.items():
            page[offset] = value
        return bytes(page)

    def port_groups(self) -> bytes:
        """REPORT TARGET PORT GROUPS: group 1 is SP A's, group 2 SP B's."""
        groups = b"".join(
            TargetPortGroup(
                group=number, ports=(number,), state=self.state(number), preferred=number == self.preferred
            ).encode()
            for number in (1, 2)
        )
        return len(groups).to_bytes(4, "big") + groups

    def state(self, group: int) -> AccessState:
        """As was set, or by ownership."""
        by_owner = (
            AccessState.ACTIVE_OPTIMIZED if group == self.owner + 1 else AccessState.ACTIVE_NON_OPTIMIZED
        )
        return self.states.get(group, by_owner)


class StrawPath(SCSIVerbs):
    """A session with one of them. ``error`` is raised instead of an answer; ``answers`` come first."""

    def __init__(self, array: Array, service_processor: int, number: int) -> None:
        super().__init__()
        self.array, self.service_processor = array, service_processor
        self.portal = Portal(f"10.0.0.{number + 1}")
        self.target_name = f"iqn.1992-04.com.emc:cx.test.{'ab'[service_processor]}{number // 2}"
        self.error: Exception | None = None
        self.answers: list[Sense | Status] = []
        self.only: int | None = None
        self.state = "running"

    async def run(self, task: CommandTask, timeout_s: float | None = None) -> CommandTask:
        """Answer at once."""
        if self.error is not None:
            raise self.error
        if self.answers and self.only in (None, task.cdb[0]):
            return self._refuse(task, self.answers.pop(0))
        try:
            answer = self._answer(task)
        except _Refused as refused:
            return self._refuse(task, refused.sense)
        task.data_in = answer[: task.data_in_length]
        task.asked = len(task.data_out)
        return task

    def _refuse(self, task: CommandTask, answer: Sense | Status) -> CommandTask:
        if isinstance(answer, Sense):
            task.status, task.sense_data = Status.CHECK_CONDITION, answer.encode()
        else:
            task.status = answer
        return task

    def _answer(self, task: CommandTask) -> bytes:
        array, cdb = self.array, task.cdb
        match Opcode(cdb[0]):
            case Opcode.INQUIRY if cdb[1] & 1:
                return self._page(cdb[2])
            case Opcode.INQUIRY:
                return StandardInquiry(vendor="DGC", product="VRAID", tpgs=array.tpgs).encode()
            case Opcode.SERVICE_ACTION_IN_16:
                return Capacity(blocks=array.blocks, block_size=array.block_size).encode_16()
            case Opcode.MAINTENANCE_IN:
                return array.port_groups()
            case Opcode.MAINTENANCE_OUT:
                return self._set_groups(bytes(task.data_out))
            case Opcode.MODE_SELECT_10:
                return self._trespass(bytes(task.data_out))
        self._check_access()
        if cdb[0] == Opcode.WRITE_10:
            array.content[int.from_bytes(cdb[2:6], "big")] = bytes(task.data_out)
        if cdb[0] == Opcode.READ_10:
            array.log.append(f"read through {self.service_processor}")
            return array.content.get(int.from_bytes(cdb[2:6], "big"), bytes(task.data_in_length))
        return b""

    def _page(self, page: int) -> bytes:
        if page == 0xC0:
            return self.array.unit_report(self.service_processor)
        if page == VPDPage.DEVICE_IDENTIFICATION:
            return encode_device_identification([target_port_group_designator(self.service_processor + 1)])
        raise _Refused(Sense.of(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB))

    def _check_access(self) -> None:
        array, group = self.array, self.service_processor + 1
        refusals = {
            AccessState.STANDBY: ASC.TARGET_PORT_STANDBY,
            AccessState.UNAVAILABLE: ASC.TARGET_PORT_UNAVAILABLE,
            AccessState.TRANSITIONING: ASC.ALUA_TRANSITION,
        }
        if array.tpgs and array.state(group) in refusals:
            raise _Refused(Sense.of(SenseKey.NOT_READY, refusals[array.state(group)]))
        if not array.tpgs and not array.both_active and self.service_processor != array.owner:
            raise _Refused(Sense.of(SenseKey.NOT_READY, ASC.MANUAL_INTERVENTION_REQUIRED))

    def _set_groups(self, parameters: bytes) -> bytes:
        state, group = parameters[4] & 0x0F, int.from_bytes(parameters[6:8], "big")
        self.array.log.append(f"group {group} is to be {AccessState(state).text}")
        self.array.states[group] = AccessState(state)
        return b""

    def _trespass(self, parameters: bytes) -> bytes:
        self.array.log.append(f"trespass to {self.service_processor}: {parameters.hex()}")
        self.array.owner = self.service_processor
        return b""


class _Refused(Exception):
    def __init__(self, sense: Sense) -> None:
        self.sense = sense


def device(array: Array, *names: str, **settings: Any) -> MultipathDevice:
    """A map of paths to the array's service processors in turn."""
    return MultipathDevice(array.paths(*names), settings=MapSettings(**settings), minor=0)
