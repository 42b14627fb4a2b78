import pytest

from iscsim.scsi.power import PowerCondition
from iscsim.scsi.sense import CheckCondition


def test_only_idle_and_standby_save_power():
    assert {condition for condition in PowerCondition if condition.saves} == {
        PowerCondition.IDLE,
        PowerCondition.STANDBY,
    }


def test_only_stopped_keeps_commands_from_the_medium():
    for condition in set(PowerCondition) - {PowerCondition.STOPPED}:
        condition.check()
    with pytest.raises(CheckCondition, match="initializing command required"):
        PowerCondition.STOPPED.check()


def test_a_unit_that_is_active_has_nothing_to_say():
    assert [condition for condition in PowerCondition if condition.sense is None] == [PowerCondition.ACTIVE]
