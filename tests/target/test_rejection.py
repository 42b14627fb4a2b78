"""How a request is rejected, and for which reasons."""

from collections import deque

import pytest
from exchanges.ladder import log_in, login_request, nop_out, read_10, rejected, write_10

from iscsim.pdu import RESERVED_TAG, RejectReason, SNACKRequest
from iscsim.target.rejection import RequestRejected


def test_a_rejection_has_a_reason_and_a_message():
    rejection = RequestRejected(RejectReason.PROTOCOL_ERROR, "not now")
    assert (rejection.reason, str(rejection)) == (RejectReason.PROTOCOL_ERROR, "not now")


# -- the reasons of RFC 7143 section 11.17.1 -------------------------------------------------------


def _write_in_progress(exchange):
    exchange >> write_10(blocks=8, initiator_task_tag=50)
    exchange.next()
    return write_10(blocks=8, initiator_task_tag=50)


def _many_immediate(exchange):
    exchange.send(*(nop_out(immediate=True) for _ in range(32)), request := nop_out(immediate=True))
    exchange.answers = deque([exchange.answers.pop()])
    return request


def _asked_to_leave(exchange):
    exchange.connection.notices.request_logout(5, exchange.now)
    exchange.collect().next()
    return read_10()


REASONS = {
    RejectReason.PROTOCOL_ERROR: lambda exchange: login_request(cmd_sn=1),
    RejectReason.COMMAND_NOT_SUPPORTED: lambda exchange: SNACKRequest(initiator_task_tag=5),
    RejectReason.IMMEDIATE_COMMAND_REJECT: _many_immediate,
    RejectReason.TASK_IN_PROGRESS: _write_in_progress,
    RejectReason.INVALID_PDU_FIELD: lambda exchange: read_10(initiator_task_tag=RESERVED_TAG),
    RejectReason.WAITING_FOR_LOGOUT: _asked_to_leave,
}
"""Reason -> a request that is rejected for it, once it is prepared (RFC 7143 section 11.17.1).

0x02 is tested with the digests. 0x03 and 0x08 answer a SNACK, which ErrorRecoveryLevel 0 does not support;
0x0a is for a target that runs out of transfer tags, which ours does not; 0x0b must not be used.
"""


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_carries_the_header_and_leaves_the_cmd_sn_open(reason):
    exchange = log_in()
    request = REASONS[reason](exchange)
    if not exchange.answers:
        exchange >> request
    exp_cmd_sn, stat_sn = exchange.session.window.exp_cmd_sn, exchange.connection.stat_sn
    expected = rejected(reason, data=request.header()[:48], stat_sn=stat_sn - 1, exp_cmd_sn=exp_cmd_sn)
    assert exchange << expected
    assert not exchange.connection.closing
    assert getattr(request, "immediate", True) or exp_cmd_sn == request.cmd_sn
