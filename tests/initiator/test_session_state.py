from iscsim.errors import SessionFailed
from iscsim.initiator.session_state import (
    SessionState,
    SessionStateChanged,
    TransportDisrupted,
    TransportFailed,
)


def test_states_are_written_as_linux_writes_them() -> None:
    assert [str(state) for state in SessionState] == ["LOGGED_IN", "FAILED", "FREE"]


def test_both_ways_of_losing_a_command_are_lost_sessions() -> None:
    assert issubclass(TransportDisrupted, SessionFailed)
    assert issubclass(TransportFailed, SessionFailed)
    assert not issubclass(TransportDisrupted, TransportFailed)


def test_a_change_says_from_where_to_where_and_why() -> None:
    change = SessionStateChanged(SessionState.FAILED, SessionState.LOGGED_IN, "a ping was not answered")
    assert (change.state, change.previous, change.reason) == (
        "FAILED",
        "LOGGED_IN",
        "a ping was not answered",
    )
