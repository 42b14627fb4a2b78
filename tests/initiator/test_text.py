"""Text negotiations from the initiator's side: long texts both ways, tags, and targets that break off."""

from typing import Any

import pytest
from marks import rfc

from iscsim.errors import ISCSIError
from iscsim.initiator.task import TextNegotiation
from iscsim.initiator.text import MAX_ANSWER_LENGTH
from iscsim.pdu import RESERVED_TAG, TextRequest, TextResponse
from iscsim.pdu.text import encode_text

LUN = bytes.fromhex("0001000000000000")
ALL = [("SendTargets", "All")]


def ask(ladder: Any, pairs: list[tuple[str, str]] = ALL) -> tuple[TextNegotiation, TextRequest]:
    negotiation = TextNegotiation(pairs)
    negotiation.done = ladder.ended.append
    ladder.core.negotiate(negotiation)
    (request,) = ladder.sent()
    return negotiation, request


@pytest.fixture
def discovery(new_ladder: Any) -> Any:
    return new_ladder(discovery=True)


def test_question_and_answer(discovery: Any) -> None:
    negotiation, request = ask(discovery)
    assert (request.data, request.final, request.target_transfer_tag) == (
        b"SendTargets=All\0",
        True,
        RESERVED_TAG,
    )
    assert request.immediate
    discovery >> TextResponse(initiator_task_tag=request.initiator_task_tag, data=b"TargetName=a\0")
    assert negotiation.answers == [("TargetName", "a")]
    assert discovery.ended == [negotiation]


@rfc("7143", "6.2", "6.4", "11.10.4", row=(30, 60))
@pytest.mark.parametrize("continuation", [True, False], ids=["with C", "as tgt does it"])
def test_long_answer_is_asked_for_piece_by_piece(discovery: Any, continuation: bool) -> None:
    negotiation, request = ask(discovery)
    tag = request.initiator_task_tag
    for transfer_tag, data in ((5, b"TargetName=iqn.2001-0"), (6, b"4.com.example\0Targ")):
        discovery >> TextResponse(
            final=False,
            continuation=continuation,
            lun=LUN,
            initiator_task_tag=tag,
            target_transfer_tag=transfer_tag,
            data=data,
        )
        (more,) = discovery.sent()
        assert (more.initiator_task_tag, more.target_transfer_tag, more.lun) == (tag, transfer_tag, LUN)
        assert (more.data, more.final, more.continuation) == (b"", True, False)
    discovery >> TextResponse(initiator_task_tag=tag, data=b"etAddress=10.0.0.1:3260,1\0")
    assert negotiation.answers == [
        ("TargetName", "iqn.2001-04.com.example"),
        ("TargetAddress", "10.0.0.1:3260,1"),
    ]


def test_answer_longer_than_64_kib(discovery: Any) -> None:
    expected = [("TargetName", f"iqn.2001-04.com.example:disk{number:06}") for number in range(3000)]
    text = encode_text(expected)
    negotiation, request = ask(discovery)
    tag = request.initiator_task_tag
    for start in range(0, len(text), 8000):
        last = start + 8000 >= len(text)
        discovery >> TextResponse(
            final=last,
            continuation=not last,
            initiator_task_tag=tag,
            target_transfer_tag=RESERVED_TAG if last else 1,
            data=text[start : start + 8000],
        )
    assert negotiation.answers == expected


@rfc("7143", "6.2", "13.12", row=(30, 47))
def test_long_question_is_sent_piece_by_piece(new_ladder: Any) -> None:
    ladder = new_ladder({"MaxRecvDataSegmentLength": "512"})
    pairs = [(f"X-key{number}", "v" * 200) for number in range(4)]
    _, request = ask(ladder, pairs)
    pieces = [request]
    while pieces[-1].continuation:
        assert not pieces[-1].final
        ladder >> TextResponse(
            final=False, initiator_task_tag=request.initiator_task_tag, target_transfer_tag=3
        )
        pieces += ladder.sent()
    assert b"".join(bytes(piece.data) for piece in pieces) == encode_text(pairs)
    assert pieces[-1].final
    assert all(len(piece.data) <= 512 for piece in pieces)


def test_an_answer_before_the_question_is_whole_ends_the_connection(new_ladder: Any) -> None:
    ladder = new_ladder({"MaxRecvDataSegmentLength": "512"})
    _, request = ask(ladder, [(f"X-key{number}", "v" * 200) for number in range(4)])
    assert not request.final
    ladder >> TextResponse(initiator_task_tag=request.initiator_task_tag)
    assert "F in the middle of a text" in ladder.failure


def test_one_negotiation_at_a_time(ladder: Any) -> None:
    first, request = ask(ladder, [("X-one", "1")])
    second = TextNegotiation([("X-two", "2")])
    second.done = ladder.ended.append
    ladder.core.negotiate(second)
    assert ladder.sent() == []
    ladder >> TextResponse(initiator_task_tag=request.initiator_task_tag)
    (request,) = ladder.sent()
    assert request.data == b"X-two=2\0"
    ladder >> TextResponse(initiator_task_tag=request.initiator_task_tag)
    assert ladder.ended == [first, second]


def test_waiting_negotiation_ends_with_the_connection(ladder: Any) -> None:
    ask(ladder)
    waiting = TextNegotiation(ALL)
    ladder.core.negotiate(waiting)
    ladder.core.connection_lost()
    assert isinstance(waiting.error, ISCSIError)


@rfc("7143", "6.1", "6.4", row=(29, 60))
@pytest.mark.parametrize(
    "fields,message",
    [
        pytest.param({"initiator_task_tag": 99}, "for tag 0x63", id="another task"),
        pytest.param({"final": False}, "without F and without a transfer tag", id="no F, no transfer tag"),
        pytest.param({"continuation": True}, "F in the middle", id="F and C"),
        pytest.param({"data": b"no pair"}, "NUL", id="no pair"),
    ],
)
def test_response_that_breaks_a_rule_ends_the_connection(discovery: Any, fields: Any, message: str) -> None:
    _, request = ask(discovery)
    discovery >> TextResponse(**({"initiator_task_tag": request.initiator_task_tag} | fields))
    assert message in discovery.failure


def test_transfer_tag_of_a_final_response_says_nothing(discovery: Any) -> None:
    negotiation, request = ask(discovery)
    discovery >> TextResponse(
        initiator_task_tag=request.initiator_task_tag, target_transfer_tag=7, data=b"X-a=b\0"
    )
    assert discovery.ended == [negotiation]
    assert not discovery.core.closing


def test_answer_without_an_end_ends_the_connection(discovery: Any) -> None:
    _, request = ask(discovery)
    piece = b"TargetName=a\0" * 15000
    for _ in range(MAX_ANSWER_LENGTH // len(piece) + 1):
        assert not discovery.core.closing
        discovery >> TextResponse(
            final=False,
            initiator_task_tag=request.initiator_task_tag,
            target_transfer_tag=1,
            data=piece,
        )
    assert "no end of text" in discovery.failure
