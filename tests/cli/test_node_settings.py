"""``--set NAME=VALUE``, with open-iscsi's and multipath-tools' own names."""

import pytest

from iscsim.cli.node_settings import map_settings, nearest, node_settings, parse_pairs
from iscsim.errors import ConfigError


def test_pairs_are_names_and_values() -> None:
    assert parse_pairs(["a.b=1", "c=x=y", " d = 2"]) == {"a.b": "1", "c": "x=y", "d": "2"}


@pytest.mark.parametrize("text", ["a", "=1", " =1", ""])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected NAME=VALUE"):
        parse_pairs([text])


def test_settings_are_those_of_open_iscsi_with_our_chap() -> None:
    settings = node_settings({"node.session.cmds_max": "64"}, user="me", password="a-secret-of-12+")
    assert (settings.cmds_max, settings.authmethod, settings.username) == (64, "CHAP", "me")
    assert node_settings({}).chap is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("node.session.timeo.replacement_timout", "node.session.timeo.replacement_timeout"),
        ("replacement_timeout", "node.session.timeo.replacement_timeout"),
        ("node.conn[0].timeo.noop_out_intervall", "node.conn[0].timeo.noop_out_interval"),
    ],
)
def test_nearest_name_is_told_for_a_typo(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match="no such setting") as caught:
        node_settings({name: "5"})
    assert str(caught.value).endswith(f"did you mean {meant}?")


def test_name_like_no_other_has_no_nearest() -> None:
    assert nearest("zzz", ["node.session.cmds_max"]) == ""


@pytest.mark.parametrize("value", ["x", "-3"])
def test_value_that_is_none_of_the_setting_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"node\.session\.cmds_max must be"):
        node_settings({"node.session.cmds_max": value})


def test_settings_of_maps_are_read_by_their_kind() -> None:
    record = {"no_path_retry": "queue", "polling_interval": "2", "detect_prio": "no", "failback": "5"}
    assert map_settings(record) == {
        "no_path_retry": "queue",
        "polling_interval": 2,
        "detect_prio": False,
        "failback": 5,
    }


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("no_path_retyr", "5", "did you mean no_path_retry?"),
        ("detect_prio", "maybe", "expected yes or no"),
        ("path_grouping_policy", "multibuss", "expected one of"),
        ("polling_interval", "soon", "expected a number"),
    ],
)
def test_wrong_setting_of_a_map_is_refused(name: str, value: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        map_settings({name: value})
    assert why in str(caught.value)
