"""What both ends of a connection share: dispatch by phase, the tap, sending, timers, the end."""

import pytest

from iscsim.errors import RemoteProtocolError
from iscsim.pdu import LoginRequest, LogoutRequest, NOPIn, NOPOut, RawPDU, decode
from iscsim.session.connection import FULL_FEATURE, LOGIN, Connection, Phase
from iscsim.session.events import ConnectionEnded


class Echo(Connection):
    """Answers pings once a login has come, and ends at a logout."""

    def _receive_login(self, pdu: LoginRequest) -> None:
        self._enter(Phase.FULL_FEATURE)

    def _receive_nop_out(self, pdu: NOPOut) -> None:
        self.send(NOPIn(initiator_task_tag=pdu.initiator_task_tag, data=pdu.data))

    def _receive_logout(self, pdu: LogoutRequest) -> None:
        if pdu.reason:
            raise RemoteProtocolError("logout for a reason", "11.14.1")
        self.end()

    handlers = {
        LoginRequest: (_receive_login, LOGIN),
        NOPOut: (_receive_nop_out, FULL_FEATURE),
        LogoutRequest: (_receive_logout, FULL_FEATURE),
    }


class CountingTap:
    """Swallows pings without data, doubles the others; answers get another tag."""

    def incoming(self, pdu):
        return [] if isinstance(pdu, NOPOut) and not pdu.data else [pdu, pdu][: 1 + isinstance(pdu, NOPOut)]

    def outgoing(self, pdu):
        return [RawPDU(b"hello"), pdu]


def wire(pdu) -> bytes:
    return b"".join(pdu.encode())


def sent(connection: Connection) -> list:
    data, pdus = b"".join(connection.data_to_send()), []
    while data:
        pdu, length = decode(data, connection.send_header_digest, connection.send_data_digest)
        pdus.append(pdu)
        data = data[length:]
    return pdus


@pytest.fixture
def connection() -> Echo:
    echo = Echo()
    echo.receive_data(wire(LoginRequest()), 0.0)
    return echo


def test_a_handler_is_chosen_by_type_and_phase(connection):
    connection.receive_data(wire(NOPOut(initiator_task_tag=1)), 1.5)
    assert [pdu.initiator_task_tag for pdu in sent(connection)] == [1]
    assert (connection.now, connection.data_to_send(), connection.events()) == (1.5, [], [])


class Debtor(Echo):
    """Owes a byte for each byte of a ping."""

    def _receive_nop_out(self, pdu: NOPOut) -> None:
        super()._receive_nop_out(pdu)
        self.owed += len(pdu.data)

    handlers = {**Echo.handlers, NOPOut: (_receive_nop_out, FULL_FEATURE)}


def test_what_comes_while_too_much_is_owed_waits_in_its_order():
    connection = Debtor()
    connection.most_owed = 6
    pings = [wire(NOPOut(initiator_task_tag=tag, data=b"four")) for tag in range(5)]
    connection.receive_data(wire(LoginRequest()) + b"".join(pings[:4]), 0.0)
    connection.receive_data(pings[4], 0.5)
    assert connection.has_more
    assert [pdu.initiator_task_tag for pdu in sent(connection)] == [0, 1]
    connection.go_on(1.0)
    assert [pdu.initiator_task_tag for pdu in sent(connection)] == [2, 3]
    connection.go_on(1.5)
    assert [pdu.initiator_task_tag for pdu in sent(connection)] == [4]
    assert (connection.has_more, connection.now) == (False, 1.5)


def test_what_waits_is_forgotten_when_the_connection_ends():
    connection = Debtor()
    connection.most_owed = 0
    ping = wire(NOPOut(data=b"four"))
    connection.receive_data(wire(LoginRequest()) + ping + ping, 0.0)
    connection.end("enough")
    connection.data_to_send()
    connection.go_on(1.0)
    assert (connection.data_to_send(), connection.has_more) == ([], False)


@pytest.mark.parametrize("pdu", [NOPOut(), RawPDU(b"\x1d" + bytes(47))])
def test_a_pdu_that_is_illegal_in_its_phase_ends_the_connection(pdu):
    connection = Echo()
    connection.receive_data(wire(pdu), 0.0)
    assert connection.closing
    message = f"{type(pdu).__name__} in phase LOGIN (RFC 7143 section 6.3)"
    assert connection.events() == [ConnectionEnded(message)]


def test_a_broken_rule_ends_the_connection_with_its_message(connection):
    connection.receive_data(wire(LogoutRequest(reason=1)), 0.0)
    assert connection.events() == [ConnectionEnded("logout for a reason (RFC 7143 section 11.14.1)")]


def test_nothing_is_handled_after_the_end(connection):
    connection.receive_data(wire(LogoutRequest()) + wire(NOPOut()), 0.0)
    connection.receive_data(wire(NOPOut()), 0.0)
    assert (connection.closing, sent(connection)) == (True, [])
    assert connection.events() == [ConnectionEnded("")]


def test_it_ends_once(connection):
    connection.end("first")
    connection.end("second")
    assert connection.events() == [ConnectionEnded("first")]


def test_digests_are_sent_when_asked_for(connection):
    connection.send_header_digest = connection.send_data_digest = True
    connection.receive_data(wire(NOPOut(data=b"abc")), 0.0)
    assert bytes(sent(connection)[0].data) == b"abc"


def test_a_tap_sees_and_replaces_both_directions(connection):
    connection.use_tap(CountingTap())
    connection.receive_data(wire(NOPOut(data=b"abc")) + wire(NOPOut()), 0.0)
    out = b"".join(connection.data_to_send())
    answer = wire(NOPIn(data=b"abc"))
    assert out == (b"hello" + answer) * 2
    connection.use_tap(None)
    connection.receive_data(wire(NOPOut()), 0.0)
    assert b"".join(connection.data_to_send()) == wire(NOPIn())


def test_a_tap_may_bring_in_what_is_illegal(connection):
    connection.use_tap(CountingTap())
    connection.receive_data(wire(LoginRequest()), 0.0)
    assert connection.events() == [
        ConnectionEnded("LoginRequest in phase FULL_FEATURE (RFC 7143 section 6.3)")
    ]


# -- timers ----------------------------------------------------------------------------------------


class Clock(Connection):
    def __init__(self) -> None:
        super().__init__()
        self.rung: list[tuple[str, float]] = []

    def early(self) -> None:
        self.rung.append(("early", self.now))

    def late(self) -> None:
        self.rung.append(("late", self.now))

    def postpone(self) -> None:
        self.set_timer(self.late, self.now + 10)


def test_timers_ring_in_the_order_of_their_deadlines():
    clock = Clock()
    clock.set_timer(clock.late, 2.0)
    clock.set_timer(clock.early, 1.0)
    assert clock.next_deadline() == 1.0
    clock.handle_timer(0.5)
    assert clock.rung == []
    clock.handle_timer(3.0)
    assert (clock.rung, clock.next_deadline()) == ([("early", 3.0), ("late", 3.0)], None)


def test_an_action_has_one_deadline_and_may_lose_it():
    clock = Clock()
    clock.set_timer(clock.late, 1.0)
    clock.set_timer(clock.late, 5.0)
    assert clock.next_deadline() == 5.0
    clock.cancel_timer(clock.late)
    clock.cancel_timer(clock.late)
    assert clock.next_deadline() is None


def test_an_action_that_postpones_another_one_keeps_it_from_ringing():
    clock = Clock()
    clock.set_timer(clock.postpone, 1.0)
    clock.set_timer(clock.late, 2.0)
    clock.handle_timer(3.0)
    assert (clock.rung, clock.next_deadline()) == ([], 13.0)


def test_an_action_that_ends_the_connection_silences_the_others():
    clock = Clock()
    clock.set_timer(clock.end, 1.0)
    clock.set_timer(clock.late, 2.0)
    clock.handle_timer(3.0)
    assert (clock.rung, clock.closing, clock.next_deadline()) == ([], True, None)


def test_put_sends_past_the_tap(connection: Echo) -> None:
    connection.use_tap(CountingTap())
    connection.put(NOPIn(initiator_task_tag=7))
    assert [pdu.initiator_task_tag for pdu in sent(connection)] == [7]


def test_take_late_handles_past_the_tap_and_answers_a_broken_rule(connection: Echo) -> None:
    connection.use_tap(CountingTap())
    connection.take_late(LogoutRequest(reason=1))
    assert connection.closing
    assert "logout for a reason" in connection.events()[-1].message
    connection.take_late(NOPOut(initiator_task_tag=7))  # too late
    assert sent(connection) == []


def test_comments_say_which_piece_they_are_about(connection: Echo) -> None:
    connection.comment("what came", received=True)
    connection.comment("first")
    connection.send(NOPIn(data=b"1234"))
    connection.comment("second")
    assert [tuple(each) for each in connection.comments] == [(-1, "what came"), (0, "first"), (2, "second")]
