from iscsim.scsi.unit_attention import UnitAttention


def test_resets_overtake_what_changed():
    assert UnitAttention.POWER_ON_RESET.rank < UnitAttention.BUS_DEVICE_RESET.rank
    assert UnitAttention.BUS_DEVICE_RESET.rank < UnitAttention.MODE_PARAMETERS_CHANGED.rank


def test_every_condition_has_its_own_code_and_rank():
    assert len({attention.value for attention in UnitAttention}) == len(UnitAttention)
    assert sorted(attention.rank for attention in UnitAttention) == list(range(len(UnitAttention)))


def test_the_order_of_what_began_anew():
    """SAM-5: power on, hard reset, logical unit reset, nexus loss, then everything else."""
    order = [
        UnitAttention.POWER_ON_RESET,
        UnitAttention.POWER_ON,
        UnitAttention.SCSI_BUS_RESET,
        UnitAttention.BUS_DEVICE_RESET,
        UnitAttention.DEVICE_INTERNAL_RESET,
        UnitAttention.IT_NEXUS_LOSS,
    ]
    assert sorted(UnitAttention, key=lambda attention: attention.rank)[: len(order)] == order
