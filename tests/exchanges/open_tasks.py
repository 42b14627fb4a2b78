"""Sessions with tasks under way, and the task management that ends them."""

from exchanges.ladder import Exchange, like, log_in, lun, unit_of, write_10

from iscsim.pdu import TaskManagementFunction, TaskManagementResponse, TaskManagementResponseCode
from iscsim.scsi.unit_attention import UnitAttention

Function = TaskManagementFunction
Code = TaskManagementResponseCode
R2T_ONLY = {"InitialR2T": "Yes", "ImmediateData": "No"}
SETS = [Function.ABORT_TASK_SET, Function.CLEAR_TASK_SET]
ON_A_UNIT = [*SETS, Function.LOGICAL_UNIT_RESET]
RESETS = [Function.TARGET_WARM_RESET, Function.TARGET_COLD_RESET]


def done(code: int = Code.FUNCTION_COMPLETE, **fields: object) -> object:
    return like(TaskManagementResponse, response=code, **fields)


def writing(entity=None, units: tuple[int, ...] = (0,), **options) -> tuple[Exchange, list[int]]:
    """A session with one write under way on each of ``units``, and the transfer tags of their R2Ts."""
    exchange = log_in(entity, R2T_ONLY, **options)
    tags = [(exchange >> write_10(blocks=2, lun=lun(unit))).next().target_transfer_tag for unit in units]
    return exchange, tags


def attentions(exchange: Exchange, number: int = 0) -> list[UnitAttention]:
    unit = unit_of(exchange.session.entity, number)
    return exchange.session.nexus.unit_attentions.get(unit, [])
