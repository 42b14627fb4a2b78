import re
from pathlib import Path

import pytest

from iscsim.errors import ConfigError
from iscsim.initiator.connection import Timeouts
from iscsim.initiator.settings import NodeSettings
from iscsim.session.chap import ChapAlgorithm
from iscsim.session.parameters import Wishes

GOLDEN = Path(__file__).parents[1] / "golden"
RECORDED = re.compile(r"^(?:OUT: )?((?:node|iface)\.\S+) = (.*)$", re.MULTILINE)


def recorded(log: str) -> dict[str, str]:
    """The first record that is shown in a recording of open-iscsi."""
    text = (GOLDEN / log).read_text()
    return dict(RECORDED.findall(text[text.index("# BEGIN RECORD") : text.index("# END RECORD")]))


def test_the_defaults_are_those_recorded_with_an_iscsid_conf() -> None:
    record = recorded("open-iscsi-2.1.8-linux-6.1.log")
    named = {name: value for name, value in NodeSettings().to_mapping().items()}
    assert len(named) > 40
    assert named == {name: value for name, value in record.items() if name in named}
    missing = set(record) - set(named)
    assert all(
        name.startswith("iface.") or name in NodeSettings.from_mapping(record).others for name in missing
    )


def test_without_that_file_two_defaults_differ() -> None:
    record = recorded("open-iscsi-2.1.8-node-database.log")
    settings = NodeSettings.from_mapping(record)
    assert settings == NodeSettings(initial_login_retry_max=4, login_timeout=30, others=settings.others)


@pytest.mark.parametrize("log", ["open-iscsi-2.1.8-linux-6.1.log", "open-iscsi-2.1.8-node-database.log"])
def test_a_record_is_shown_as_it_was_read_in_its_order(log: str) -> None:
    record = recorded(log)
    assert list(NodeSettings.from_mapping(record).to_mapping().items()) == list(record.items())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("node.session.scanX", "manual", "node.session.scanX is no setting of a node"),
        ("node.session.scan", "now", "node.session.scan must be one of auto, manual, not 'now'"),
        ("node.session.queue_depth", "many", "node.session.queue_depth must be a whole number, not 'many'"),
        ("node.session.queue_depth", "0", "node.session.queue_depth must be at least 1 commands, not 0"),
        (
            "node.session.iscsi.ImmediateData",
            "1",
            "node.session.iscsi.ImmediateData must be Yes or No, not '1'",
        ),
        (
            "node.conn[0].timeo.noop_out_timeout",
            "-1",
            "node.conn[0].timeo.noop_out_timeout must be at least 0 s, not -1",
        ),
    ],
)
def test_what_is_no_setting_is_said_in_one_line(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as failure:
        NodeSettings.from_mapping({name: value})
    assert str(failure.value) == message


def test_values_given_in_python_are_looked_at_too() -> None:
    with pytest.raises(ConfigError, match=r"ERL must be a whole number, not inf"):
        NodeSettings(erl=float("inf"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"HeaderDigest must be one of .*, not 'MD5'"):
        NodeSettings(header_digest="MD5")


def test_replacement_timeout_may_be_negative() -> None:
    assert (
        NodeSettings.from_mapping({"node.session.timeo.replacement_timeout": "-1"}).replacement_timeout == -1
    )


def test_passwords_are_shown_as_stars_when_that_is_wanted() -> None:
    shown = NodeSettings(username="me", password="secret").to_mapping(secrets=False)
    assert shown["node.session.auth.password"] == "********"
    assert shown["node.session.auth.password_in"] == "<empty>"
    assert shown["node.session.auth.username"] == "me"


def test_the_login_and_its_times_are_made_of_the_settings() -> None:
    settings = NodeSettings(
        header_digest="CRC32C,None",
        immediate_data=False,
        login_timeout=7,
        logout_timeout=9,
        default_time2wait=3,
    )
    assert settings.wishes == Wishes(
        header_digest=("CRC32C", "None"), data_digest=("None",), immediate_data=False, default_time2wait=3
    )
    assert settings.timeouts == Timeouts(request_s=9, login_s=7)
    assert settings.initial_login.login_timeout == 7
    assert settings.initial_login.default_time2wait == 3


def test_half_of_a_ping_gets_the_other_halfs_default() -> None:
    off = NodeSettings(noop_out_interval=0, noop_out_timeout=0).timeouts
    assert (off.ping_interval_s, off.ping_timeout_s) == (0, 0)
    half = NodeSettings(noop_out_interval=0, noop_out_timeout=3).timeouts
    assert (half.ping_interval_s, half.ping_timeout_s) == (5, 3)


def test_chap_is_asked_for_by_authmethod() -> None:
    assert NodeSettings(username="me", password="secret").chap is None
    chap = NodeSettings(
        authmethod="CHAP",
        username="me",
        password="secret",
        username_in="array",
        password_in="other",
        chap_algs="SHA256,MD5",
    ).chap
    assert chap is not None
    assert chap.outgoing is not None
    assert (chap.outgoing.name, [each.name for each in chap.incoming]) == ("me", ["array"])
    assert chap.offered == (ChapAlgorithm.SHA256, ChapAlgorithm.MD5)
    with pytest.raises(ConfigError, match="chap_algs has 'MD4'"):
        assert NodeSettings(authmethod="CHAP", username="me", password="s", chap_algs="MD4").chap
