"""What RFC 7143 asks of an initiator and no one module answers for: rows of conformance/checklist.toml."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from exchanges.checksum import crc32c
from marks import rfc

from iscsim.errors import ISCSIError
from iscsim.initiator.connection import InitiatorConnection
from iscsim.initiator.task import Ping
from iscsim.pdu import LoginRequest, LoginResponse, NOPIn, ReadyToTransfer, SCSIDataIn, SCSIResponse, Stage
from iscsim.pdu.text import encode_text, parse_text
from iscsim.session.chap import ChapAlgorithm, ChapConfig, ChapCredential, chap_response
from iscsim.session.login import LoginConfig

NewCore = Callable[..., InitiatorConnection]
INITIATOR, TARGET = "iqn.2026-11.test:initiator", "iqn.2026-11.test:disk"
LUN = bytes.fromhex("0001000000000000")
USER, PEER = ChapCredential("user", b"secretsecret"), ChapCredential("target", b"othersecret1")
OPERATIONAL, SECURITY = Stage.OPERATIONAL_NEGOTIATION, Stage.SECURITY_NEGOTIATION


class Login:
    """A login whose target's answers are given by the test."""

    def __init__(self, ladder: Any) -> None:
        self.ladder = ladder
        ladder.core.start()
        self.request = self._next()

    def _next(self) -> LoginRequest:
        (request,) = self.ladder.sent()
        assert isinstance(request, LoginRequest)
        return request

    def answer(self, *pairs: tuple[str, str], **fields: Any) -> Login:
        """Answer without T; the next request is in ``request``."""
        self.last(*pairs, **({"transit": False, "next_stage": 0, "tsih": 0} | fields))
        self.request = self._next()
        return self

    def last(self, *pairs: tuple[str, str], **fields: Any) -> None:
        """Answer with T, to the full feature phase."""
        defaults: dict[str, Any] = {
            "transit": True,
            "current_stage": self.request.current_stage,
            "next_stage": Stage.FULL_FEATURE,
            "isid": self.request.isid,
            "tsih": 1,
            "initiator_task_tag": self.request.initiator_task_tag,
            "data": encode_text(pairs),
        }
        self.ladder >> LoginResponse(**(defaults | fields))

    @property
    def pairs(self) -> dict[str, str]:
        return dict(parse_text(self.request.data))

    def agreed(self, **changes: str) -> list[tuple[str, str]]:
        """What accepts all that was offered in the first request, with some answers of one's own."""
        names = {"InitiatorName", "TargetName", "SessionType", "MaxRecvDataSegmentLength"}
        answers = {key: value.split(",")[0] for key, value in self.pairs.items() if key not in names}
        return list((answers | {"TargetPortalGroupTag": "1"} | changes).items())


@pytest.fixture
def log_in(new_core: NewCore, bare_ladder: Any) -> Callable[..., Login]:
    """``log_in(**as new_core)``: a login whose first request is out."""
    return lambda **options: Login(bare_ladder(new_core(**options)))


@pytest.fixture
def chap_login(log_in: Callable[..., Login]) -> Callable[..., Login]:
    """``chap_login(mutual=False)``: a login that offers CHAP."""

    def new(mutual: bool = False) -> Login:
        chap = ChapConfig(outgoing=USER, incoming=(PEER,) if mutual else ())
        return log_in(config=LoginConfig(initiator_name=INITIATOR, target_name=TARGET, chap=chap))

    return new


def under_way(ladder: Any, **fields: Any) -> int:
    """The tag of a read that was sent."""
    ladder.submit(**fields)
    return int(ladder.sent()[-1].initiator_task_tag)


# -- numbers ---------------------------------------------------------------------------------------


@rfc("7143", "4.2.2.1", row="I1")
@pytest.mark.parametrize("older, impossible", [(True, False), (False, True)])
def test_old_and_impossible_windows_are_ignored(new_ladder: Any, older: bool, impossible: bool) -> None:
    ladder = new_ladder(window=2)
    tag = under_way(ladder)
    before = ladder.exp_cmd_sn
    exp_cmd_sn, max_cmd_sn = (before - 5, before - 4) if older else (before + 50, before + 40)
    ladder >> NOPIn(exp_cmd_sn=exp_cmd_sn, max_cmd_sn=max_cmd_sn, stat_sn=ladder.stat_sn)
    ladder.submit()
    ladder.submit()
    assert len(ladder.sent()) == 1  # one place of two is taken
    ladder >> SCSIResponse(initiator_task_tag=tag)
    assert not ladder.core.closing


@rfc("7143", "4.2.2.2", row="I2")
def test_every_request_acknowledges_what_came_before_it(ladder: Any) -> None:
    tag = under_way(ladder)
    ladder >> SCSIResponse(initiator_task_tag=tag)
    ladder.submit()
    ladder.core.ping(Ping())
    assert {pdu.exp_stat_sn for pdu in ladder.sent()} == {ladder.stat_sn}


@rfc("7143", "4.2.5.1", row=11)
def test_a_write_is_answered_for_on_its_own_connection(new_ladder: Any) -> None:
    first, second = (new_ladder(initial_r2t=True, immediate_data=False) for _ in range(2))
    first.write(bytes(4096))
    (command,) = first.sent()
    r2t = {"lun": LUN, "target_transfer_tag": 7, "desired_data_transfer_length": 4096}
    first >> ReadyToTransfer(initiator_task_tag=command.initiator_task_tag, **r2t)
    assert {pdu.initiator_task_tag for pdu in first.sent()} == {command.initiator_task_tag}
    second >> ReadyToTransfer(initiator_task_tag=command.initiator_task_tag, **r2t)
    assert second.sent() == []
    assert "unknown task tag" in second.failure


@rfc("7143", "11.16", row=57)
def test_missing_data_are_not_asked_for_again_at_error_recovery_level_0(ladder: Any) -> None:
    tag = under_way(ladder)
    ladder >> SCSIDataIn(initiator_task_tag=tag, data_sn=1, buffer_offset=512, data=bytes(512))
    assert ladder.sent() == []
    assert "DataSN 1, expected 0" in ladder.failure


# -- bytes on the wire -----------------------------------------------------------------------------


@rfc("7143", "11.1", "11.2.3", "13.1", row=(24, 25))
def test_digests_are_crc32c_and_cover_the_padding(new_ladder: Any) -> None:
    core = new_ladder(header_digest=("CRC32C",), data_digest=("CRC32C",)).core
    core.ping(Ping(b"12345"))
    wire = b"".join(core.data_to_send())
    assert wire[48:52] == crc32c(wire[:48])
    assert wire[52:60] == b"12345\0\0\0"
    assert wire[60:] == crc32c(b"12345\0\0\0")
    core.ping(Ping())
    wire = b"".join(core.data_to_send())
    assert wire[48:] == crc32c(wire[:48])  # and no digest of no data


@rfc("7143", "11.1", row=25)
def test_padding_that_comes_is_ignored(ladder: Any) -> None:
    ping = Ping(b"12345")
    ladder.core.ping(ping)
    (request,) = ladder.sent()
    wire = ladder.wire(NOPIn(initiator_task_tag=request.initiator_task_tag, data=b"12345"))
    ladder.core.receive_data(wire[:-3] + b"\xff\xff\xff", 0.0)
    assert ping.data == b"12345"


# -- login -----------------------------------------------------------------------------------------


@rfc("7143", "6.3", row="I4")
def test_what_identifies_a_login_stays_the_same_to_its_end(chap_login: Any) -> None:
    login = chap_login()
    requests = [login.request]
    requests.append(login.answer(("AuthMethod", "CHAP"), ("TargetPortalGroupTag", "1")).request)
    requests.append(login.answer(*challenge(bytes(16))).request)
    requests.append(login.answer(transit=True, next_stage=OPERATIONAL).request)
    assert [request.current_stage for request in requests] == [SECURITY] * 3 + [OPERATIONAL]
    same = {(each.isid, each.cid, each.tsih, each.initiator_task_tag, each.cmd_sn) for each in requests}
    assert len(same) == 1
    assert {(each.version_min, each.version_max) for each in requests} == {(0, 0)}


@rfc("7143", "4.2.7.1", "13.5", row=61)
@pytest.mark.parametrize("discovery", [True, False])
def test_the_first_request_of_a_connection_says_who_we_are(log_in: Any, discovery: bool) -> None:
    pairs = parse_text(log_in(discovery=discovery).request.data)
    assert pairs[0] == ("InitiatorName", INITIATOR)
    assert ("TargetName" in dict(pairs)) is not discovery


@rfc("7143", "6.2", row="I3")
def test_every_key_that_is_offered_is_answered_through_six_exchanges(log_in: Any) -> None:
    login = log_in()
    login.answer(*login.agreed())
    for number in range(6):
        login.answer((f"X-org.example.{number}", "1"))
        assert login.pairs == {f"X-org.example.{number}": "NotUnderstood"}
    login.last()
    assert not login.ladder.core.closing


@rfc("7143", "6.2.1", row=(31, 33))
def test_the_first_supported_value_of_a_list_is_chosen(log_in: Any) -> None:
    login = log_in()
    login.answer(*login.agreed(), ("TaskReporting", "FastAbort,RFC3720,ResponseFence"))
    assert login.pairs == {"TaskReporting": "RFC3720"}


@rfc("7143", "6.2.1", row=33)
def test_a_value_that_was_not_in_the_offer_ends_the_login(log_in: Any) -> None:
    login = log_in(header_digest=("CRC32C",))
    login.last(*login.agreed(HeaderDigest="None"))
    assert login.ladder.core.failure is not None


@rfc("7143", "6.2", row=(32, "I3"))
@pytest.mark.parametrize("answer", ["Reject", "Irrelevant"])
def test_a_key_that_was_refused_is_not_offered_again(log_in: Any, answer: str) -> None:
    login = log_in()
    login.answer(*login.agreed(MaxOutstandingR2T=answer))
    assert login.pairs == {}
    login.last()
    assert not login.ladder.core.closing


@rfc("7143", "6.2.2", row=34)
def test_an_answer_that_the_offer_decides_may_be_missing(log_in: Any) -> None:
    login = log_in(initial_r2t=True, immediate_data=False)
    login.last(*(pair for pair in login.agreed() if pair[0] not in ("InitialR2T", "ImmediateData")))
    login.ladder.write(bytes(512))
    (command,) = login.ladder.sent()
    assert (command.data, command.final) == (b"", True)


@rfc("7143", "6.3", row=35)
def test_a_key_that_is_answered_twice_ends_the_login(log_in: Any) -> None:
    login = log_in()
    login.answer(*login.agreed())
    login.last(("MaxBurstLength", "16776192"))
    assert login.ladder.core.failure is not None


@rfc("7143", "6.1", row=29)
def test_a_key_in_capitals_is_another_key(log_in: Any) -> None:
    login = log_in()
    answers = [(key.upper() if key == "MaxBurstLength" else key, value) for key, value in login.agreed()]
    login.last(*answers)
    assert "MaxBurstLength" in login.ladder.failure


@rfc("7143", "13.13", "13.14", row=48)
def test_a_first_burst_longer_than_a_burst_ends_the_login(log_in: Any) -> None:
    login = log_in()
    login.last(*login.agreed(MaxBurstLength="65536", FirstBurstLength="131072"))
    assert login.ladder.core.failure is not None


@rfc("7143", "13.17", row=49)
@pytest.mark.parametrize("answer", ["0", "65536", "2"])
def test_an_impossible_max_outstanding_r2t_ends_the_login(log_in: Any, answer: str) -> None:
    login = log_in()
    assert login.pairs["MaxOutstandingR2T"] == "1"
    login.last(*login.agreed(MaxOutstandingR2T=answer))
    assert login.ladder.core.failure is not None


@rfc("7143", "13.23", row="I13")
def test_an_offer_of_task_reporting_has_what_everybody_knows(log_in: Any) -> None:
    login = log_in(task_reporting=("FastAbort", "ResponseFence", "RFC3720"))
    assert {"RFC3720", "ResponseFence"} <= set(login.pairs["TaskReporting"].split(","))
    assert "TaskReporting" not in log_in(task_reporting=("ResponseFence",)).pairs


@rfc("7143", "13.9", row="I7")
def test_another_portal_group_than_discovery_told_ends_the_login(log_in: Any) -> None:
    config = LoginConfig(initiator_name=INITIATOR, target_name=TARGET, portal_group_tag=1)
    login = log_in(config=config)
    login.last(*login.agreed(TargetPortalGroupTag="2"))
    assert "portal group 2 instead of 1" in login.ladder.failure


# -- CHAP ------------------------------------------------------------------------------------------


def challenge(value: bytes, base_64: bool = False) -> list[tuple[str, str]]:
    """MD5, an identifier of 3 and ``value``."""
    shown = "0b" + base64.b64encode(value).decode() if base_64 else "0x" + value.hex()
    return [("CHAP_A", "5"), ("CHAP_I", "3"), ("CHAP_C", shown)]


@rfc("7143", "12.1.3", row=59)
@pytest.mark.parametrize("base_64", [True, False])
@pytest.mark.parametrize("length", [1, 16, 1024])
def test_a_challenge_of_any_length_in_any_spelling_is_answered(
    chap_login: Any, base_64: bool, length: int
) -> None:
    login = chap_login().answer(("AuthMethod", "CHAP"), ("TargetPortalGroupTag", "1"))
    assert "5" in login.pairs["CHAP_A"].split(",")
    login.answer(*challenge(b"c" * length, base_64))
    response = chap_response(ChapAlgorithm.MD5, 3, USER.secret, b"c" * length)
    assert login.pairs == {"CHAP_N": "user", "CHAP_R": "0x" + response.hex()}


@rfc("7143", "9.2.1", row=58)
def test_a_target_that_gives_our_own_response_back_is_not_believed(chap_login: Any) -> None:
    login = chap_login(mutual=True).answer(("AuthMethod", "CHAP"), ("TargetPortalGroupTag", "1"))
    login.answer(*challenge(bytes(16)))
    ours = login.pairs
    assert ours["CHAP_C"] != "0x" + bytes(16).hex()
    step = {"transit": True, "next_stage": OPERATIONAL, "tsih": 0}
    login.last(("CHAP_N", "target"), ("CHAP_R", ours["CHAP_R"]), **step)
    assert isinstance(login.ladder.core.failure, ISCSIError)
    assert login.ladder.sent() == []
