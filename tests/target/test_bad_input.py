"""Hostile bytes at a target: login, text, AHS, digests and lengths.

Each ends in an answer the RFC names, or in a closed connection and one line that names PDU and section;
nothing is raised, nothing piles up. Names say which row of the project's facts on security they are of:
A2 has them by CVE or commit, A3 by number.
"""

import tracemalloc
from dataclasses import replace

import pytest
from exchanges.ladder import (
    ISID,
    TARGET,
    Exchange,
    connect,
    data_out,
    discover,
    ended,
    inquiry,
    like,
    log_in,
    login_request,
    lun,
    make_entity,
    node_of,
    nop_out,
    read_10,
    rejected,
    test_unit_ready,
    text,
    write_10,
)
from marks import rfc

from iscsim.pdu import (
    PDU_TYPES,
    LoginRequest,
    LoginResponse,
    NOPIn,
    RejectReason,
    SCSIDataIn,
    SCSIResponse,
    Stage,
    TextResponse,
)
from iscsim.pdu.text import encode_text, parse_text
from iscsim.session.chap import ChapConfig, ChapCredential
from iscsim.session.parameters import Wishes
from iscsim.target.connection import TargetConnection
from iscsim.target.policy import RFC

SECURITY, OPERATIONAL = Stage.SECURITY_NEGOTIATION, Stage.OPERATIONAL_NEGOTIATION
DIGESTS = {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}
CHAP = ChapConfig(
    incoming=(ChapCredential("user", b"secretsecret"),), outgoing=ChapCredential("target", b"othersecret1")
)
LIMIT = 64 << 10
"""Bytes kept of a peer that has not logged in."""


def kept(connection: TargetConnection) -> int:
    """Bytes a connection keeps of what its peer sent during login."""
    exchange = connection.login._login._exchange
    return connection.framer.pending_length + len(exchange._assembler._received)


def header(opcode: int, *, ahs: int = 0, length: int = 0, flags: int = 0x80) -> bytes:
    return bytes([opcode, flags, 0, 0, ahs]) + length.to_bytes(3, "big") + bytes(40)


def raw_login(data: bytes, **fields: object) -> LoginRequest:
    return login_request(data=data, **fields)


def names() -> bytes:
    return encode_text([("InitiatorName", "iqn.2026-11.org.example:host"), ("TargetName", TARGET)])


def login_fails(exchange: Exchange, status: int = 0x0200) -> bool:
    exchange << like(LoginResponse, status_class=status >> 8, status_detail=status & 0xFF, transit=False)
    exchange << ended(rf"^login refused with {status:#06x}: .* \(RFC 7143 section \d+(\.\d+)*\)$")
    return bool(exchange)


# -- A3.1 pre-auth parsing -------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", sorted({*range(0x40)} - {0x03}))
def test_a3_1_nothing_but_a_login_is_taken_before_the_login(opcode):
    exchange = connect() >> header(opcode | 0x40)
    assert exchange << ended(r"during login \(RFC 7143 section 11.13.5\)$")


@pytest.mark.parametrize("opcode", sorted({*range(0x40)} - {0x03}))
def test_a3_1_nothing_but_a_login_is_taken_during_the_login(opcode):
    exchange = connect() >> login_request(transit=False)
    exchange.next()
    assert login_fails(exchange >> header(opcode | 0x40), 0x020B)


def test_a3_1_a_stranger_makes_us_keep_64_kib_at_most():
    exchange = connect()
    piece = exchange.wire(raw_login(b"X" * 8192, transit=False, continuation=True))
    most = 0
    while not exchange.connection.closing:
        for start in range(0, len(piece), 1000):
            exchange.connection.receive_data(piece[start : start + 1000], 0.0)
            most = max(most, kept(exchange.connection))
        exchange.collect()
    assert 56 << 10 <= most <= LIMIT
    exchange << ended("bytes of text .RFC 7143 section 6.1.")


def test_a3_1_an_idle_stranger_costs_little():
    tracemalloc.start()
    entity = make_entity()
    before = tracemalloc.get_traced_memory()[0]
    exchanges = [connect(entity) for _ in range(50)]
    cost = (tracemalloc.get_traced_memory()[0] - before) / len(exchanges)
    tracemalloc.stop()
    assert cost < LIMIT


# -- A3.2, A3.14 and tgt 093d2bf: header fields and lengths ----------------------------------------


@rfc("7143", "13.12", row=47)
@pytest.mark.parametrize("length", [8193, 65536, 0xFFFFFF])
def test_a3_14_a_login_with_too_much_data_is_refused_before_any_of_it_is_taken(length):
    exchange = connect() >> header(0x43, length=length)
    assert exchange << ended(
        rf"LoginRequest with a data segment of {length} bytes, 8192 were declared .RFC 7143 section 13.12."
    )
    assert kept(exchange.connection) < 100


@rfc("7143", "13.12", row=16)
@pytest.mark.parametrize("opcode", sorted(opcode for opcode in PDU_TYPES if opcode < 0x20))
def test_a3_14_a_data_segment_beyond_our_declaration_ends_the_session(opcode):
    exchange = log_in()
    tracemalloc.start()
    exchange >> header(opcode, length=0xFFFFFF)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert exchange << ended("with a data segment of 16777215 bytes, 262144 were declared")
    assert peak < 1 << 20
    assert not exchange.session.entity.sessions


def test_a3_14_an_unknown_opcode_has_no_more_room_than_others():
    assert log_in() >> header(0x1D, length=0xFFFFFF) << ended("RawPDU with a data segment of 16777215 bytes")


def test_a3_2_a_format_error_ends_every_connection_of_the_session_only():
    entity = make_entity()
    other = log_in(entity, isid=bytes(6))
    exchange = log_in(entity) >> header(0x00, length=0xFFFFFF)
    assert exchange.connection.closing
    assert entity.sessions == [other.session]


def test_cve_2026_53176_a_short_login_waits_for_the_rest():
    exchange = connect()
    wire = exchange.wire(login_request())
    assert exchange >> wire[:47]
    assert not exchange.connection.closing
    assert exchange >> wire[47:] << like(LoginResponse, status_class=0)


def test_one_byte_at_a_time_is_as_good_as_all_at_once():
    exchange = connect()
    for request, answer in [
        (login_request(DIGESTS), LoginResponse),
        (test_unit_ready(), SCSIResponse),
        (write_10(data=bytes(512)), SCSIResponse),
        (read_10(), SCSIDataIn),
        (text(), TextResponse),
        (nop_out(b"12345"), NOPIn),
    ]:
        for byte in exchange.wire(request):
            exchange >> bytes([byte])
        assert exchange << like(answer)


def test_cve_2021_28361_no_data_where_data_was_announced():
    exchange = log_in(keys={"InitialR2T": "No"}) >> write_10(final=False)
    exchange >> data_out(1, final=False) >> data_out(1, data_sn=1)
    assert exchange.next().sense[12:14].hex() == "0c0d"


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("continuation", [True, False])
@pytest.mark.parametrize("data", [b"", b"\0", b"SendTargets=All\0", b"SendTargets=All"])
@pytest.mark.parametrize("tag", [0xFFFFFFFF, 0, 1])
def test_spdk_21_01_flags_and_lengths_of_a_text_request(final, continuation, data, tag):
    exchange = discover() >> text(
        data=data, final=final, continuation=continuation, target_transfer_tag=tag, immediate=True
    )
    (answer,) = exchange.answers
    assert type(answer).__name__ in ("TextResponse", "Reject")
    exchange.answers.clear()
    assert exchange >> text(("SendTargets", "All"), immediate=True) << like(TextResponse, final=True)


@pytest.mark.parametrize("flags", range(0, 256, 4))
def test_every_combination_of_login_flags_is_answered_or_refused(flags):
    wire = bytearray(connect().wire(login_request()))
    for stage in range(4):
        wire[1] = flags | stage
        exchange = connect() >> bytes(wire)
        (answer,) = exchange.answers
        assert exchange.connection.closing == (answer.status_class != 0)
        assert answer.transit <= bool(flags & 0x80)


# -- A3.3 and CVE-2013-2850: keys and values -------------------------------------------------------


@pytest.mark.parametrize("length", [64, 255, 8191 - len(names()) - 2])
def test_cve_2013_2850_a_long_unknown_key_is_refused(length):
    key = b"X" * length
    assert login_fails(connect() >> raw_login(names() + key + b"=v\0"))


@rfc("7143", "6.1", row=29)
def test_a3_3_a_key_of_63_characters_is_answered():
    key = "X" * 63
    exchange = connect() >> raw_login(names() + f"{key}=v".encode() + b"\0")
    assert dict(parse_text(exchange.next().data))[key] == "NotUnderstood"


@rfc("7143", "6.1", row=29)
@pytest.mark.parametrize(
    "data",
    [
        b"=v\0",
        b"x=v\0",
        b"1=v\0",
        b"X v=v\0",
        b"Xy\0",
        b"X\xff=v\0",
        b"X=\xff\0",
        b"X=v",
        b"\0",
        b"X=" + b"v" * 256 + b"\0",
        b"HeaderDigest\0",
    ],
    ids=repr,
)
def test_a3_3_bad_text_is_refused(data):
    assert login_fails(connect() >> raw_login(names() + data))


def test_a3_3_a_name_beyond_223_bytes_is_refused():
    exchange = connect() >> login_request({"InitiatorName": "iqn.2026-11.org.example:" + "x" * 200})
    assert login_fails(exchange)


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "a b", "\u202e", "a\x00b"])
def test_names_cannot_write_a_second_line_into_the_log(name):
    data = f"InitiatorName={name}\0TargetName={TARGET}\0".encode()
    exchange = connect() >> raw_login(data)
    assert exchange.connection.closing
    assert exchange.ended
    assert exchange.ended.isprintable()


# -- A3.4 the C bit --------------------------------------------------------------------------------


@rfc("7143", "6.2", "11.12.2", row=30)
def test_a3_4_continuation_excludes_transit():
    assert login_fails(connect() >> login_request(continuation=True))


@rfc("7143", "6.2", row=30)
def test_a3_4_continuation_without_data_is_answered_and_has_an_end():
    exchange = connect()
    for _ in range(64):
        exchange >> raw_login(b"", transit=False, continuation=True)
        exchange << like(LoginResponse, data=b"", transit=False, status_class=0)
    assert login_fails(exchange >> raw_login(b"", transit=False, continuation=True))


def test_a3_4_a_continued_key_is_judged_when_it_is_whole():
    exchange = connect()
    for byte in names()[:-1]:
        exchange >> raw_login(bytes([byte]), transit=False, continuation=True)
        if exchange.connection.closing:
            break
        exchange << like(LoginResponse, data=b"")
    assert login_fails(exchange)  # after 64 exchanges


def test_lio_778c2ab142c6_text_with_digests_and_continuation():
    exchange = log_in(keys=DIGESTS)
    whole = encode_text([("X-org.example.key", "value" * 40)])
    exchange >> text(data=whole[:101], final=False, continuation=True, initiator_task_tag=4, immediate=True)
    tag = exchange.next().target_transfer_tag
    wire = exchange.wire(
        text(data=whole[101:], initiator_task_tag=4, target_transfer_tag=tag, immediate=True)
    )
    exchange >> wire[:-1] + bytes([wire[-1] ^ 1]) << rejected(RejectReason.DATA_DIGEST_ERROR)
    exchange >> wire
    assert exchange << like(TextResponse, data=b"X-org.example.key=NotUnderstood\0")


# -- A3.5 and LIO bf33e01f88388: amplification -----------------------------------------------------


def test_a3_5_a_login_is_never_answered_with_much_more_than_it_said():
    many = b"".join(b"X%d=b\0" % number for number in range(1000))
    assert login_fails(connect() >> raw_login(names() + many))


def test_lio_bf33e01f88388_the_same_key_two_thousand_times():
    assert login_fails(connect() >> raw_login(names() + b"Ab=b\0" * 1600))


def test_a3_5_as_many_unknown_keys_as_are_answered_stay_within_one_pdu():
    many = b"".join(b"X%062d=\0" % number for number in range(32))
    exchange = connect() >> raw_login(names() + many)
    response = exchange.next()
    assert response.status_class == 0
    assert len(response.data) < 8192


def test_a3_5_a_text_request_is_never_answered_with_much_more_than_it_said():
    many = b"".join(b"X%d=b\0" % number for number in range(40))
    assert log_in() >> text(data=many) << rejected(RejectReason.PROTOCOL_ERROR)


def test_a3_5_one_piece_of_questions_has_a_bounded_answer():
    entity = make_entity()
    for number in range(200):
        entity.add_target(f"iqn.2026-11.org.iscsim:{number}").add_portal(entity.portals[0])
    exchange = discover(entity)
    questions = [text(("SendTargets", "All"), immediate=number % 2 == 0) for number in range(2000)]
    exchange.connection.receive_data(b"".join(map(exchange.wire, questions)), 0.0)
    sent = sum(map(len, exchange.connection.data_to_send()))
    most = 200 * 100  # bytes of the whole list
    assert sent < (32 + 128) * most + 2000 * 96


@pytest.mark.parametrize("immediate", [True, False])
def test_one_piece_of_reads_has_a_bounded_answer(immediate):
    exchange = log_in()
    reads = [read_10(blocks=1024, immediate=immediate) for _ in range(5000)]
    exchange.connection.receive_data(b"".join(map(exchange.wire, reads)), 0.0)
    sent = sum(map(len, exchange.connection.data_to_send()))
    assert sent < 129 * (1024 * 512 + 3000) + 5000 * 96


# -- A3.6 to A3.9: negotiation ---------------------------------------------------------------------


@rfc("7143", "6.3", row=35)
@pytest.mark.parametrize("key", ["MaxBurstLength=1024", "InitiatorName=iqn.2026-11.org", "HeaderDigest=None"])
def test_a3_6_a_key_twice_is_refused(key):
    assert login_fails(connect() >> raw_login(names() + f"{key}\0{key}\0".encode()))


@rfc("7143", "6.3", row=35)
def test_a3_6_a_key_again_in_a_later_request_is_refused():
    exchange = connect() >> raw_login(names() + b"MaxBurstLength=1024\0", transit=False)
    exchange << like(LoginResponse, status_class=0)
    assert login_fails(exchange >> raw_login(b"MaxBurstLength=1024\0"))


def test_a3_7_a_login_without_end_is_ended_by_the_clock():
    exchange = connect()
    exchange >> raw_login(names(), transit=False)
    for _ in range(14):
        exchange.wait(1) >> raw_login(b"", transit=False)
        assert not exchange.connection.closing
    exchange.wait(2)
    assert exchange.connection.closing
    assert exchange.ended == "no login within 15 s"


@pytest.mark.parametrize(
    "value",
    ["", "0x", "-1", "+1", " 1", "1 ", "1.5", "1e3", "0b11", "٣", "18446744073709551616", "0x1" + "0" * 20],
)
def test_a3_8_what_is_no_number_is_refused(value):
    assert login_fails(connect() >> raw_login(names() + f"MaxBurstLength={value}".encode() + b"\0"))


@rfc("7143", "13.12", row=47)
@pytest.mark.parametrize("value", ["511", "16777216", "18446744073709551615"])
def test_a3_8_a_number_out_of_range_is_rejected_or_refused(value):
    exchange = connect() >> raw_login(names() + f"MaxBurstLength={value}".encode() + b"\0")
    assert dict(parse_text(exchange.next().data))["MaxBurstLength"] == "Reject"
    assert login_fails(connect() >> raw_login(names() + f"MaxRecvDataSegmentLength={value}".encode() + b"\0"))


def test_a3_9_skipping_security_is_an_authentication_failure():
    entity = make_entity()
    node_of(entity).chap = CHAP
    assert login_fails(connect(entity) >> login_request(), 0x0201)


# -- A3.10 to A3.12 and LIO's CHAP record ----------------------------------------------------------


def asked_for_chap() -> Exchange:
    """A login that has got its challenge."""
    entity = make_entity()
    node_of(entity).chap = CHAP
    exchange = connect(entity)
    exchange >> login_request({"AuthMethod": "CHAP"}, transit=False, current_stage=SECURITY)
    exchange.next()
    exchange >> security(b"CHAP_A=5\0")
    return exchange


def security(data: bytes) -> LoginRequest:
    return raw_login(data, transit=False, current_stage=SECURITY, isid=ISID)


@rfc("7143", "9.2.1", row=58)
def test_a3_10_a_reflected_challenge_closes_the_connection():
    exchange = asked_for_chap()
    challenge = dict(parse_text(exchange.next().data))["CHAP_C"]
    answer = f"CHAP_N=user\0CHAP_R=0x{'00' * 16}\0CHAP_I=1\0CHAP_C={challenge}\0"
    assert (
        exchange
        >> security(answer.encode())
        << ended(r"^login refused with 0x0201: CHAP_C reflects .* \(RFC 7143 section 9.2.1\)$")
    )


def test_a3_10_a_missing_response_is_a_missing_parameter():
    exchange = asked_for_chap()
    exchange.next()
    assert login_fails(exchange >> security(b"CHAP_N=user\0"), 0x0207)


def test_a3_12_challenges_differ_from_login_to_login():
    entity = make_entity()
    node_of(entity).chap = CHAP
    challenges = set()
    for seed in range(20):
        exchange = connect(entity, seed=seed)
        exchange >> login_request({"AuthMethod": "CHAP"}, transit=False, current_stage=SECURITY)
        exchange.next()
        challenges.add(bytes((exchange >> security(b"CHAP_A=5\0")).next().data))
    assert len(challenges) == 20


@pytest.mark.parametrize("length", [0, 1, 15, 17, 127, 1023, 1024, 1025, 2047, 2048, 2049])
@pytest.mark.parametrize("form", ["0x{:0<{n}}", "0b{:A<{n}}", "{:0<{n}}"])
def test_lio_chap_r_and_chap_c_of_any_length_are_refused(length, form):
    value = form.format("", n=length)
    for answer in (
        f"CHAP_N=user\0CHAP_R={value}\0",
        f"CHAP_N=user\0CHAP_R=0x{'00' * 16}\0CHAP_I=1\0CHAP_C={value}\0",
    ):
        exchange = asked_for_chap()
        exchange.next()
        exchange >> security(answer.encode())
        assert exchange.next().status_class == 2
        assert exchange << ended(r"\(RFC 7143 section ")


@pytest.mark.parametrize("key", ["CHAP_A=5", "CHAP_I=256", "CHAP_X=1", "SRP_U=u"])
def test_security_keys_out_of_place_are_refused(key):
    exchange = asked_for_chap()
    exchange.next()
    answer = f"CHAP_N=user\0CHAP_R=0x{'00' * 16}\0CHAP_C=0x00\0{key}\0"
    assert (exchange >> security(answer.encode())).next().status_class == 2
    assert exchange.connection.closing


# -- A3.13 digests ---------------------------------------------------------------------------------


def test_a3_13_a_header_digest_error_cannot_be_survived():
    exchange = log_in(keys=DIGESTS)
    wire = bytearray(exchange.wire(read_10()))
    wire[20] ^= 1
    assert (
        exchange
        >> bytes(wire)
        << ended(r"^header digest of opcode 0x01 does not match \(RFC 7143 section 7.8\)$")
    )


@pytest.mark.parametrize("position", [48 + 4, -5, -1])
def test_a3_13_a_data_digest_error_is_rejected(position):
    exchange = log_in(keys=DIGESTS)
    wire = bytearray(exchange.wire(write_10(data=b"x" * 510, expected_data_transfer_length=510)))
    wire[position] ^= 1
    exchange >> bytes(wire) << rejected(RejectReason.DATA_DIGEST_ERROR, exp_cmd_sn=1)
    assert exchange >> nop_out(cmd_sn=1) << like(NOPIn)


@pytest.mark.parametrize("offer", ["CRC32C", "CRC32C,None", "None,CRC32C", "None"])
def test_a3_13_a_required_digest_is_never_given_up(offer):
    policy = replace(RFC, wishes=Wishes(header_digest=("CRC32C",), data_digest=("CRC32C",)))
    exchange = connect(make_entity(policy)) >> login_request({"HeaderDigest": offer, "DataDigest": offer})
    agreed = dict(parse_text(exchange.answers[0].data))
    if "CRC32C" in offer:
        assert (agreed["HeaderDigest"], agreed["DataDigest"]) == ("CRC32C", "CRC32C")
    else:
        assert exchange.next().status_class == 2


# -- A3.15 and LIO's ECDB record: additional header segments ---------------------------------------


def with_ahs(ahs: bytes, total_words: int | None = None) -> bytes:
    wire = bytearray(log_in().wire(test_unit_ready())) + ahs
    wire[4] = len(ahs) // 4 if total_words is None else total_words
    return bytes(wire)


@pytest.mark.parametrize("ahs_length", [0, 6, 7, 255, 256, 32768, 65535])
@pytest.mark.parametrize("ahs_type", [1, 2])
def test_a3_15_an_ahs_length_that_does_not_fit_ends_the_session(ahs_length, ahs_type):
    ahs = ahs_length.to_bytes(2, "big") + bytes([ahs_type, 0]) + bytes(4)
    exchange = log_in() >> with_ahs(ahs)
    assert exchange << ended(r"^SCSICommand: .* \(RFC 7143 section 11\.2\.2\.\d\)$")


def test_a3_15_an_extended_cdb_without_a_cdb_ends_the_session():
    assert log_in() >> with_ahs(b"\0\1\1\0") << ended("SCSICommand: extended CDB of 16 bytes")


def test_a3_15_an_extended_cdb_beyond_260_bytes_ends_the_session():
    ahs = (1 + 248).to_bytes(2, "big") + b"\1\0" + bytes(248)
    assert log_in() >> with_ahs(ahs) << ended("SCSICommand: extended CDB of 264 bytes")


def test_a3_15_segments_shorter_than_their_total_end_the_session():
    assert (
        log_in() >> with_ahs(b"\0\5\2\0" + bytes(4) + bytes(4)) << ended("AHSLength 0 does not fit 4 bytes")
    )


def test_a3_15_as_much_ahs_as_there_can_be():
    known = b"\0\5\2\0" + bytes(4)
    assert log_in() >> with_ahs(known * 127 + b"\0\2\1\0" + bytes(0)) << ended("RFC 7143 section 11.2.2.2")
    assert log_in() >> with_ahs(known * 127) << like(SCSIResponse, status=0)


def test_a3_15_an_unknown_type_is_rejected():
    assert log_in() >> with_ahs(b"\0\5\x3f\0" + bytes(4)) << rejected(RejectReason.INVALID_PDU_FIELD)


@pytest.mark.parametrize("opcode", sorted(opcode for opcode in PDU_TYPES if opcode not in (0x01,)))
def test_a3_15_other_pdus_carry_no_ahs(opcode):
    exchange = log_in() >> header(opcode, ahs=1) + b"\0\1\1\0"
    assert exchange << ended(r"with 4 bytes of AHS, expected none \(RFC 7143 section 11.2.1.5\)$")


# -- A3.16 to A3.19: data and floods ---------------------------------------------------------------


@rfc("7143", "13.18", row=19)
@pytest.mark.parametrize("offset", [512, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a3_16_an_offset_outside_the_transfer_fails_the_write(offset):
    exchange = log_in(keys={"ImmediateData": "No"}) >> write_10()
    tag = exchange.next().target_transfer_tag
    exchange >> data_out(1, offset, bytes(512), target_transfer_tag=tag)
    assert exchange.next().sense[12:14].hex() == "4705"


@pytest.mark.parametrize("expected", [0xFFFFFFFF, 1 << 24])
def test_a3_16_an_expected_length_allocates_nothing(expected):
    exchange = log_in(keys={"InitialR2T": "No"})
    tracemalloc.start()
    exchange >> write_10(blocks=32768, expected_data_transfer_length=expected, data=b"x" * 512, final=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a3_16_many_writes_are_asked_for_as_far_as_there_is_room():
    exchange = log_in(keys={"ImmediateData": "No"})
    for _ in range(100):
        exchange >> write_10(blocks=32768)
    asked = sum(r2t.desired_data_transfer_length for r2t in exchange.answers)
    assert asked <= 64 << 20


def test_a3_18_a_flood_of_immediate_pings_is_rejected_in_part():
    exchange = log_in()
    exchange.send(*(nop_out(immediate=True) for _ in range(1000)))
    answers = [type(answer).__name__ for answer in exchange.answers]
    assert (answers.count("NOPIn"), answers.count("Reject")) == (32, 968)


def test_a3_18_stale_text_tags_are_rejected():
    exchange = discover()
    for number in range(100):
        exchange >> text(target_transfer_tag=number, immediate=True)
        exchange << rejected(RejectReason.INVALID_PDU_FIELD)
    assert exchange


def test_a3_19_numbers_outside_the_window_are_ignored_and_not_kept():
    exchange = log_in()
    for cmd_sn in [*range(130, 1000), 0, 0x80000000, 0xFFFFFFFF]:
        assert exchange >> read_10(cmd_sn=cmd_sn, data=bytes(1000))
    assert not exchange.session.held


# -- A3.20 to A3.25: who sees what -----------------------------------------------------------------


@pytest.mark.parametrize("tsih", [1, 0xFFFF])
def test_a3_20_a_session_cannot_be_guessed(tsih):
    assert login_fails(connect() >> login_request(tsih=tsih), 0x020A)


def test_a3_22_discovery_does_not_leak():
    entity = make_entity()
    node_of(entity).add_acl("iqn.2026-11.org.example:somebody")
    exchange = discover(entity) >> text(("SendTargets", "All")) >> text(("SendTargets", TARGET))
    assert exchange << like(TextResponse, data=b"") << like(TextResponse, data=b"")


@pytest.mark.parametrize("spelling", ["4009", "0009", "d2000009", "8009", "c109"])
def test_a3_24_a_unit_is_not_reached_by_another_spelling(spelling):
    entity = make_entity()
    number = bytes.fromhex(spelling).ljust(8, b"\0")
    exchange = log_in(entity) >> test_unit_ready(lun=number)
    assert exchange.next().sense[12:14].hex() == "2500"


def test_a3_25_an_unmapped_unit_answers_inquiry_only():
    exchange = log_in() >> inquiry(lun=lun(9))
    assert bytes(exchange.next().data)[0] == 0x7F


def test_cve_2014_4027_what_was_never_written_reads_as_zeros():
    assert log_in() >> read_10(lba=4096, blocks=8) << like(SCSIDataIn, data=bytes(4096))
