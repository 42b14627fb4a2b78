"""Where the seconds of error handling come from."""

from iscsim.initiator.error_settings import ErrorHandlingSettings
from iscsim.initiator.settings import NodeSettings


def test_the_defaults_are_those_of_open_iscsi() -> None:
    assert ErrorHandlingSettings.of(NodeSettings()) == ErrorHandlingSettings()


def test_the_settings_of_a_node_are_taken() -> None:
    node = NodeSettings.from_mapping(
        {
            "node.session.err_timeo.abort_timeout": "1",
            "node.session.err_timeo.lu_reset_timeout": "2",
            "node.session.err_timeo.tgt_reset_timeout": "3",
            "node.session.err_timeo.host_reset_timeout": "4",
            "node.session.cmds_max": "64",
        }
    )
    settings = ErrorHandlingSettings.of(node, command_timeout_s=5)
    assert (settings.abort_timeout_s, settings.lu_reset_timeout_s) == (1, 2)
    assert (settings.target_reset_timeout_s, settings.host_reset_timeout_s) == (3, 4)
    assert (settings.command_timeout_s, settings.commands_max) == (5, 64)


def test_linux_drops_on_silence_and_asks_the_connection() -> None:
    linux = ErrorHandlingSettings.like_linux(NodeSettings())
    assert (linux.drops_on_silence, linux.checks_connection) == (True, True)


def test_without_pings_linux_asks_nobody() -> None:
    linux = ErrorHandlingSettings.like_linux(NodeSettings(noop_out_interval=0, noop_out_timeout=0))
    assert (linux.drops_on_silence, linux.checks_connection) == (True, False)
