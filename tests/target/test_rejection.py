"""A rejection says why."""

from iscsim.pdu import RejectReason
from iscsim.target.rejection import RequestRejected


def test_a_rejection_has_a_reason_and_a_message():
    rejection = RequestRejected(RejectReason.PROTOCOL_ERROR, "not now")
    assert (rejection.reason, str(rejection)) == (RejectReason.PROTOCOL_ERROR, "not now")
