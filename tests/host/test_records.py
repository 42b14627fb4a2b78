"""A node record has open-iscsi's settings, and refuses what cannot be."""

from __future__ import annotations

import pytest

from iscsim.errors import ConfigError
from iscsim.host.records import NodeRecord, render

NAME = "iqn.2026-11.org.iscsim:array"


def test_new_record_is_static_and_manual() -> None:
    record = NodeRecord(NAME, "10.0.0.1", 3260)
    assert record.key == (NAME, "10.0.0.1", 3260, "default")
    assert (record.portal_group_tag, record.values["node.discovery_type"]) == (-1, "static")
    assert record.values["node.startup"] == "manual"


def test_discovered_record_knows_where() -> None:
    record = NodeRecord(NAME, "10.0.0.1", 3260, portal_group_tag=2, discovered_at=("10.0.0.9", 3261))
    assert record.values["node.discovery_address"] == "10.0.0.9"
    assert record.values["node.discovery_port"] == "3261"
    assert record.portal_group_tag == 2


def test_update_is_what_the_next_login_uses() -> None:
    record = NodeRecord(NAME, "10.0.0.1", 3260)
    record.update("node.session.nr_sessions", "2")
    record.update("node.session.auth.username", "me")
    record.update("node.session.auth.username", "")
    assert record.settings.nr_sessions == 2
    assert record.values["node.session.auth.username"] == "<empty>"


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("node.nothing", "1", KeyError),
        ("node.startup", "sometimes", ConfigError),
        ("node.session.nr_sessions", "many", ConfigError),
        ("node.session.timeo.replacement_timeout", "nan", ConfigError),
        ("node.conn[0].port", "x", ConfigError),
        ("node.conn[0].port", "70000", ConfigError),
        ("node.tpgt", "x", ConfigError),
    ],
)
def test_update_that_cannot_be_changes_nothing(name: str, value: str, error: type[Exception]) -> None:
    record = NodeRecord(NAME, "10.0.0.1", 3260)
    before = dict(record.values)
    with pytest.raises(error):
        record.update(name, value)
    assert record.values == before


def test_passwords_are_stars_unless_they_are_asked_for() -> None:
    record = NodeRecord(NAME, "10.0.0.1", 3260)
    record.update("node.session.auth.password", "secret")
    assert "node.session.auth.password = ********" in list(render(record.values, "2.1.8"))
    assert "node.session.auth.password = secret" in list(render(record.values, "2.1.8", secrets=True))
    assert "node.session.auth.password_in = <empty>" in list(render(record.values, "2.1.8"))
