"""Wishes are checked against the ranges of the keys; Parameters start at the RFC's defaults."""

import pytest

from iscsim.errors import ConfigError
from iscsim.session.keys import KEYS
from iscsim.session.parameters import BOOLEAN_ATTRIBUTES, NUMBER_ATTRIBUTES, Parameters, Wishes


@pytest.mark.parametrize(
    "wish",
    [
        {"max_recv_data_segment_length": 511},
        {"max_recv_data_segment_length": 1 << 24},
        {"max_burst_length": 0},
        {"max_outstanding_r2t": 65536},
        {"max_connections": 0},
        {"default_time2wait": 3601},
        {"error_recovery_level": 3},
        {"header_digest": ()},
        {"data_digest": ("CRC32",)},
        {"task_reporting": ("None",)},
        {"first_burst_length": 8192, "max_burst_length": 4096},
    ],
)
def test_a_wish_outside_the_range_of_its_key_is_a_config_error(wish):
    with pytest.raises(ConfigError):
        Wishes(**wish)


def test_parameters_default_to_what_the_table_says():
    parameters = Parameters()
    for name, attribute in BOOLEAN_ATTRIBUTES.items():
        assert getattr(parameters, attribute) is (KEYS[name].default == "Yes")
    for name, attribute in NUMBER_ATTRIBUTES.items():
        assert str(getattr(parameters, attribute)) == KEYS[name].default
