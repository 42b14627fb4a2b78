"""Logging in to a node: who gets in, to what, and what becomes of the sessions there were."""

from dataclasses import replace

import pytest
from exchanges.ladder import (
    INITIATOR,
    ISID,
    TARGET,
    connect,
    discover,
    ended,
    like,
    log_in,
    login_request,
    make_entity,
    node_of,
    read_10,
    write_10,
)
from marks import rfc

from iscsim.errors import FormatError
from iscsim.pdu import LoginResponse, LoginStatus, NOPOut, ReadyToTransfer, SCSIDataIn, Stage
from iscsim.pdu.text import encode_hex, encode_text, parse_text
from iscsim.scsi.nexus import LUNMap
from iscsim.session.chap import ChapAlgorithm, ChapConfig, ChapCredential, chap_response
from iscsim.session.events import ConnectionEnded, LoginCompleted, LoginRefused
from iscsim.target.node import Portal, Redirect
from iscsim.target.policy import LIO, RFC, TGT

SECURITY, OPERATIONAL = Stage.SECURITY_NEGOTIATION, Stage.OPERATIONAL_NEGOTIATION
CHAP = ChapConfig(incoming=(ChapCredential("user", b"secretsecret"),))


def refused(status: LoginStatus) -> object:
    return like(
        LoginResponse,
        status_class=status >> 8,
        status_detail=status & 0xFF,
        transit=False,
        continuation=False,
        stat_sn=0,
    )


def prove(exchange, secret: bytes = b"secretsecret", **fields):
    """The three requests of a CHAP login with MD5; returns the exchange before the answer to the last."""
    exchange >> login_request({"AuthMethod": "CHAP"}, transit=False, current_stage=SECURITY, **fields)
    exchange << like(LoginResponse, status_class=0)
    step = {"transit": False, "current_stage": SECURITY, "isid": ISID, "cmd_sn": 1} | fields
    exchange >> login_request(**step | {"data": encode_text([("CHAP_A", "5")])})
    asked = dict(parse_text(exchange.next().data))
    response = chap_response(
        ChapAlgorithm.MD5, int(asked["CHAP_I"]), secret, bytes.fromhex(asked["CHAP_C"][2:])
    )
    pairs = [("CHAP_N", "user"), ("CHAP_R", encode_hex(response))]
    last = {"transit": True, "next_stage": Stage.FULL_FEATURE, "data": encode_text(pairs)}
    return exchange >> login_request(**step | last)


# -- success ---------------------------------------------------------------------------------------


@rfc("7143", "11.13.3", "13.9", row=(39, 40))
def test_a_login_without_acl_makes_a_session_with_a_handle():
    entity = make_entity()
    exchange = connect(entity) >> login_request()
    response = exchange.next()
    (session,) = entity.sessions
    assert response.tsih == session.tsih != 0
    assert dict(parse_text(response.data))["TargetPortalGroupTag"] == "1"
    assert exchange.events() == [LoginCompleted(INITIATOR, "Normal")]


def test_the_alias_is_told():
    entity = make_entity()
    node_of(entity).alias = "A disk"
    response = (connect(entity) >> login_request()).next()
    assert dict(parse_text(response.data))["TargetAlias"] == "A disk"


def test_the_window_of_the_first_command_is_in_the_login_response():
    exchange = connect() >> login_request(cmd_sn=500)
    assert exchange << like(LoginResponse, exp_cmd_sn=500, max_cmd_sn=500 + RFC.command_window - 1)


@rfc("7143", "6.3", "11.13.3", row=(36, 39))
def test_a_login_in_two_stages():
    exchange = connect() >> login_request(current_stage=SECURITY, next_stage=OPERATIONAL)
    exchange << like(LoginResponse, transit=True, next_stage=OPERATIONAL, tsih=0)
    exchange >> login_request(data=encode_text([("MaxRecvDataSegmentLength", "4096")]))
    assert exchange << like(LoginResponse, transit=True, next_stage=Stage.FULL_FEATURE)
    assert exchange.session.parameters.max_send_data_segment_length == 4096


def test_tsih_are_drawn_at_random_and_never_twice():
    entity = make_entity()
    for number in range(20):
        log_in(entity, isid=bytes(5) + bytes([number]), seed=7)  # the same draw every time
    handles = {session.tsih for session in entity.sessions}
    assert len(handles) == 20


def test_a_discovery_session_needs_no_target_name():
    exchange = connect() >> login_request({"SessionType": "Discovery", "TargetName": ""})
    exchange << like(LoginResponse, status_class=0, transit=True)
    assert exchange.events() == [LoginCompleted(INITIATOR, "Discovery")]


def test_a_named_discovery_session():
    exchange = log_in(keys={"SessionType": "Discovery"})
    assert exchange.session.is_discovery


# -- refusals --------------------------------------------------------------------------------------


@rfc("7143", "11.13.5", row=42)
def test_an_unknown_target():
    exchange = connect() >> login_request({"TargetName": "iqn.2026-11.org.iscsim:other"})
    assert exchange << refused(LoginStatus.NOT_FOUND) << ended("login refused with 0x0203: no target iqn")
    assert exchange.refusal == 0x0203


def test_a_target_that_is_not_at_this_portal():
    exchange = connect(make_entity(), Portal("192.0.2.9")) >> login_request()
    assert exchange << refused(LoginStatus.NOT_FOUND)


# -- every status of RFC 7143 section 11.13.5 ------------------------------------------------------


def _redirected(permanent):
    def prepare(entity):
        node_of(entity).redirect_to = Redirect("192.0.2.9", permanent)

    return prepare


def _disabled(entity):
    node_of(entity).portal_groups[1].enabled = False


def _broken(entity):
    node_of(entity).login_refusal = LoginStatus.TARGET_ERROR


def _closing(entity):
    entity.closing = True


def _full(entity):
    entity.policy = replace(RFC, max_sessions=1)
    log_in(entity, isid=bytes(6))


def _removed(entity):
    entity.remove_target(TARGET)


def _closed_to_us(entity):
    node_of(entity).add_acl("iqn.2026-11.org.example:somebody")


def _chap(entity):
    node_of(entity).chap = CHAP


def _nothing(entity):
    pass


STATUSES = [
    (0x0000, _nothing, {}, {}, ""),
    (0x0101, _redirected(False), {}, {}, "the target has moved temporarily, to 192.0.2.9:3260"),
    (0x0102, _redirected(True), {}, {}, "the target has moved permanently, to 192.0.2.9:3260"),
    (0x0200, _nothing, {}, {"current_stage": 2}, "a login cannot begin in stage 2"),
    (0x0201, _chap, {}, {}, "authentication was skipped"),
    (0x0202, _closed_to_us, {}, {}, "iqn.2026-11.org.example:host may not use iqn"),
    (0x0203, _nothing, {"TargetName": f"{TARGET}:other"}, {}, "no target iqn"),
    (0x0204, _removed, {}, {}, f"target {TARGET} was removed"),
    (0x0205, _nothing, {}, {"version_min": 1, "version_max": 1}, "version 1"),
    (0x0206, log_in, {}, {"tsih": -1, "cid": 1}, "MaxConnections is 1"),
    (0x0207, _nothing, {"InitiatorName": ""}, {}, "InitiatorName is missing"),
    (0x0207, _nothing, {"TargetName": ""}, {}, "TargetName is missing"),
    (0x0209, _nothing, {"SessionType": "Other"}, {}, "SessionType='Other'"),
    (0x020A, _nothing, {}, {"tsih": 77}, "no session 0x004d"),
    (0x0300, _broken, {}, {}, f"{TARGET} refuses every login"),
    (0x0301, _disabled, {}, {}, "portal group 1 is disabled"),
    (0x0301, _closing, {}, {}, "the target is shutting down"),
    (0x0302, _full, {}, {}, "all 1 sessions are in use"),
]
"""Status, what is prepared, keys, header fields (a TSIH of -1 is that of the session there is), log line."""


@pytest.mark.parametrize(
    "status, prepare, keys, fields, message", STATUSES, ids=[f"{row[0]:#06x} {row[4]}" for row in STATUSES]
)
def test_every_status(status, prepare, keys, fields, message):
    entity = make_entity()
    portal = entity.portals[0]
    prepare(entity)
    if fields.get("tsih") == -1:
        fields = fields | {"tsih": entity.sessions[0].tsih}
    sessions = entity.sessions
    exchange = connect(entity, portal) >> login_request(keys, **fields)
    if status == 0:
        assert exchange << like(LoginResponse, status_class=0, status_detail=0)
        return
    assert exchange << refused(LoginStatus(status)) << ended(f"login refused with {status:#06x}: {message}")
    assert "RFC 7143 section" in exchange.ended
    assert (exchange.refusal, entity.sessions) == (status, sessions)


def test_another_portal_group_cannot_be_included():
    """0x0208; the other two of the table, 0x020b and what ends without a status, are further down."""
    entity = make_entity()
    portal = Portal("192.0.2.2")
    node_of(entity).add_portal(portal)
    tsih = log_in(entity).session.tsih
    exchange = connect(entity, portal) >> login_request(tsih=tsih)
    assert exchange << refused(LoginStatus.CANNOT_INCLUDE_IN_SESSION) << ended("in portal group 1, not 2")


def test_a_server_that_closes_refuses_discovery_too():
    entity = make_entity()
    entity.closing = True
    keys = {"SessionType": "Discovery", "TargetName": ""}
    assert connect(entity) >> login_request(keys) << refused(LoginStatus.SERVICE_UNAVAILABLE)


def test_a_limit_of_sessions_lets_them_be_reinstated():
    entity = make_entity(replace(RFC, max_sessions=1))
    old, discovering = log_in(entity), discover(entity)
    assert log_in(entity).session in entity.sessions
    assert old << ended("session reinstated")
    assert discover(entity).session in entity.sessions
    assert discovering << ended("session reinstated")
    assert connect(entity) >> login_request(isid=bytes(6)) << refused(LoginStatus.OUT_OF_RESOURCES)


# -- redirection (RFC 7143 section 13.8) -----------------------------------------------------------


@pytest.mark.parametrize("permanent", [False, True])
def test_a_redirection_names_an_address_without_a_tag(permanent):
    entity = make_entity()
    entity.portals[0].redirect_to = Redirect("[2001:db8::1]:3261", permanent)
    exchange = connect(entity) >> login_request()
    response = exchange.next()
    assert (response.status_class, response.status_detail) == (1, 2 if permanent else 1)
    assert parse_text(response.data) == [("TargetAddress", "[2001:db8::1]:3261")]
    assert exchange.connection.closing


def test_discovery_goes_on_at_a_portal_that_redirects():
    entity = make_entity()
    entity.portals[0].redirect_to = Redirect("192.0.2.9")
    assert discover(entity).session.is_discovery


def test_strangers_are_not_told_where_a_target_is():
    entity = make_entity()
    node_of(entity).redirect_to = Redirect("192.0.2.9")
    _closed_to_us(entity)
    assert connect(entity) >> login_request() << refused(LoginStatus.AUTHORIZATION_FAILURE)


def test_a_wildcard_portal_is_redirected_to_as_it_is_reached():
    entity = make_entity()
    entity.portals[0].redirect_to = Redirect(Portal("0.0.0.0", 3262))
    exchange = connect(entity) >> login_request()
    assert parse_text(exchange.next().data) == [("TargetAddress", "192.0.2.1:3262")]


@pytest.mark.parametrize(
    "policy, unknown, forbidden",
    [(RFC, 0x0203, 0x0202), (LIO, 0x0301, 0x0202), (TGT, 0x0203, 0x0203)],
    ids=lambda value: getattr(value, "name", None),
)
def test_personalities_answer_their_own_status(policy, unknown, forbidden):
    entity = make_entity(policy)
    exchange = connect(entity) >> login_request({"TargetName": "iqn.2026-11.org.iscsim:other"})
    assert exchange.refusal == unknown
    node_of(entity).add_acl("iqn.2026-11.org.example:somebody")
    assert (connect(entity) >> login_request()).refusal == forbidden


def test_an_acl_opens_the_door_to_one_and_closes_it_to_others():
    entity = make_entity()
    lun_map = LUNMap()
    node_of(entity).add_acl(INITIATOR, lun_map=lun_map)
    assert log_in(entity).session.nexus.lun_map is lun_map
    exchange = connect(entity) >> login_request({"InitiatorName": "iqn.2026-11.org.example:other"})
    assert exchange << refused(LoginStatus.AUTHORIZATION_FAILURE)
    assert exchange << ended("iqn.2026-11.org.example:other may not use iqn.2026-11.org.iscsim:disk")


@rfc("7143", "4.2.7.1", row=61)
def test_an_acl_holds_for_a_name_however_it_is_spelt():
    entity = make_entity()
    node_of(entity).add_acl(INITIATOR)
    assert log_in(entity, keys={"InitiatorName": INITIATOR.upper()}).session


def test_a_personality_limits_the_algorithms_of_chap():
    entity = make_entity(TGT)
    node_of(entity).chap = CHAP
    exchange = connect(entity) >> login_request({"AuthMethod": "CHAP"}, transit=False, current_stage=SECURITY)
    exchange << like(LoginResponse, status_class=0)
    exchange >> login_request(transit=False, current_stage=SECURITY, data=encode_text([("CHAP_A", "7,5")]))
    assert dict(parse_text(exchange.next().data))["CHAP_A"] == "5"


@rfc("7143", "6.3.1", row=38)
def test_a_session_that_does_not_exist():
    entity = make_entity()
    log_in(entity)
    exchange = connect(entity) >> login_request(tsih=77)
    assert exchange << refused(LoginStatus.SESSION_DOES_NOT_EXIST) << ended("no session 0x004d")


@rfc("7143", "6.3.1", row=38)
def test_a_second_connection_is_one_too_many():
    entity = make_entity()
    first = log_in(entity)
    exchange = connect(entity) >> login_request(tsih=first.session.tsih, cid=1)
    assert exchange << refused(LoginStatus.TOO_MANY_CONNECTIONS)
    assert first >> read_10() << like(SCSIDataIn)


@pytest.mark.parametrize("known", [True, False])
def test_who_has_not_proven_itself_does_not_learn_which_sessions_there_are(known):
    entity = make_entity()
    tsih = log_in(entity).session.tsih if known else 77
    node_of(entity).chap = CHAP
    step = {"tsih": tsih, "cid": 1, "transit": False, "current_stage": SECURITY}
    exchange = connect(entity) >> login_request({"AuthMethod": "CHAP"}, **step)
    exchange << like(LoginResponse, status_class=0)
    (
        exchange
        >> login_request(data=encode_text([("CHAP_A", "5")]), **step)
        << like(LoginResponse, status_class=0)
    )
    wrong = encode_text([("CHAP_N", "user"), ("CHAP_R", "0x" + "00" * 16)])
    exchange >> login_request(data=wrong, **step | {"transit": True})
    assert exchange << refused(LoginStatus.AUTHENTICATION_FAILURE)
    skipped = connect(entity) >> login_request(tsih=tsih, cid=1)
    assert skipped << refused(LoginStatus.AUTHENTICATION_FAILURE)


@pytest.mark.parametrize("tsih, status", [(-1, 0x0206), (77, 0x020A)])
def test_who_has_proven_itself_is_told(tsih, status):
    entity = make_entity()
    tsih = log_in(entity).session.tsih if tsih == -1 else tsih
    node_of(entity).chap = CHAP
    exchange = prove(connect(entity), tsih=tsih, cid=1)
    assert exchange << refused(LoginStatus(status))


def test_a_discovery_login_does_not_get_into_a_normal_session():
    """It may have been asked for less CHAP."""
    entity = make_entity()
    tsih = log_in(entity).session.tsih
    exchange = connect(entity) >> login_request({"SessionType": "Discovery"}, tsih=tsih)
    assert exchange << refused(LoginStatus.SESSION_DOES_NOT_EXIST)


@pytest.mark.parametrize("difference", [{"isid": bytes(6)}, {"name": "iqn.2026-11.org.example:other"}])
def test_the_handle_of_somebody_else_is_worth_nothing(difference):
    entity = make_entity()
    tsih = log_in(entity).session.tsih
    keys = {"InitiatorName": difference["name"]} if "name" in difference else {}
    fields = {name: value for name, value in difference.items() if name != "name"}
    exchange = connect(entity) >> login_request(keys, tsih=tsih, **fields)
    assert exchange << refused(LoginStatus.SESSION_DOES_NOT_EXIST)


def test_an_authenticated_connection_is_reinstated():
    entity = make_entity()
    node_of(entity).chap = CHAP
    first = prove(connect(entity))
    first << like(LoginResponse, status_class=0)
    again = prove(connect(entity, seed=2), tsih=first.session.tsih)
    again << like(LoginResponse, status_class=0, tsih=first.session.tsih)
    assert first << ended("connection reinstated")


def test_all_handles_in_use_is_out_of_resources(monkeypatch):
    entity = make_entity()
    log_in(entity)
    entity.discovery_sessions += [replace_tsih(entity.sessions[0], tsih) for tsih in range(1, 65536)]
    exchange = connect(entity) >> login_request({"SessionType": "Discovery"}, isid=bytes(6))
    assert exchange << refused(LoginStatus.OUT_OF_RESOURCES) << ended("all 65535 session handles are in use")


class replace_tsih:
    """A session of which only the handle matters."""

    def __init__(self, session, tsih):
        self.tsih, self.initiator_name, self.isid, self.discovers_at = tsih, "", b"", None
        self.identity, self.portal_group_tag = ("", b"", 0), 0


def test_unnamed_discovery_is_told_the_tag_of_its_portal():
    """RFC 7143 section 6.3.1."""
    entity = make_entity()
    portal = Portal("192.0.2.2")
    node_of(entity).add_portal(portal, tag=7)
    keys = {"SessionType": "Discovery", "TargetName": ""}
    exchange = connect(entity, portal) >> login_request(keys)
    assert dict(parse_text(exchange.next().data))["TargetPortalGroupTag"] == "7"


def test_a_named_discovery_session_reinstates_only_its_like():
    """RFC 7143 section 7.4.2."""
    entity = make_entity()
    unnamed, named = discover(entity), log_in(entity, {"SessionType": "Discovery"})
    assert not unnamed.connection.closing
    log_in(entity, {"SessionType": "Discovery"})
    assert named << ended("session reinstated by a new login")
    assert not unnamed.connection.closing


# -- authentication --------------------------------------------------------------------------------


@rfc("7143", "12.1.3", row=59)
def test_chap_of_an_acl():
    entity = make_entity()
    node_of(entity).add_acl(INITIATOR, chap=CHAP)
    assert prove(connect(entity)) << like(LoginResponse, status_class=0, next_stage=Stage.FULL_FEATURE)


def test_chap_of_the_node_is_for_those_without_acl():
    entity = make_entity()
    node_of(entity).chap = CHAP
    assert prove(connect(entity)) << like(LoginResponse, status_class=0, next_stage=Stage.FULL_FEATURE)


@rfc("7143", "12.1.3", row=59)
def test_a_wrong_secret_is_refused_and_not_shown():
    entity = make_entity()
    node_of(entity).chap = CHAP
    exchange = prove(connect(entity), b"anothersecret") << refused(LoginStatus.AUTHENTICATION_FAILURE)
    assert exchange << ended("login refused with 0x0201")
    assert "secret" not in exchange.ended
    assert not entity.sessions


def test_skipping_authentication_is_refused():
    entity = make_entity()
    node_of(entity).chap = CHAP
    assert connect(entity) >> login_request() << refused(LoginStatus.AUTHENTICATION_FAILURE)


def test_discovery_has_its_own_chap():
    entity = make_entity()
    node_of(entity).chap = CHAP
    assert discover(entity)
    entity.discovery_chap = CHAP
    exchange = connect(entity) >> login_request({"SessionType": "Discovery", "TargetName": ""})
    assert exchange << refused(LoginStatus.AUTHENTICATION_FAILURE)


@rfc("7143", "9.2.1", row=58)
def test_a_reflected_challenge_closes_the_connection_without_an_answer():
    entity = make_entity()
    node_of(entity).chap = CHAP
    exchange = connect(entity)
    exchange >> login_request({"AuthMethod": "CHAP"}, transit=False, current_stage=SECURITY)
    exchange.next()
    step = {"transit": False, "current_stage": SECURITY}
    exchange >> login_request(data=encode_text([("CHAP_A", "5")]), **step)
    asked = dict(parse_text(exchange.next().data))
    back = [("CHAP_N", "user"), ("CHAP_R", "0x" + "00" * 16), ("CHAP_I", "1"), ("CHAP_C", asked["CHAP_C"])]
    assert exchange >> login_request(data=encode_text(back), **step) << ended("reflects the challenge")


# -- reinstatement (RFC 7143 section 6.3.5) --------------------------------------------------------


@rfc("7143", "6.3.5", row=(38, 41))
def test_the_same_nexus_logs_its_old_session_out():
    entity = make_entity()
    old = log_in(entity) >> write_10(blocks=2000)
    old << like(ReadyToTransfer)
    new = log_in(entity, seed=2)
    assert old << ended("session reinstated by a new login")
    assert entity.sessions == [new.session]
    assert not old.session.tasks
    old.connection.connection_lost()  # later, when its TCP connection goes
    assert entity.sessions == [new.session]
    assert new >> read_10() << like(SCSIDataIn)


@rfc("7143", "6.3.1", row=38)
@pytest.mark.parametrize("difference", ["isid", "name", "portal group"])
def test_another_nexus_leaves_it_alone(difference):
    entity = make_entity()
    portal = Portal("192.0.2.2")
    node_of(entity).add_portal(portal)
    log_in(entity)
    keys = {"InitiatorName": "iqn.2026-11.org.example:other"} if difference == "name" else None
    log_in(
        entity,
        keys,
        isid=bytes(6) if difference == "isid" else ISID,
        portal=portal if difference == "portal group" else None,
    )
    assert len(entity.sessions) == 2


@rfc("7143", "6.3.5", row=41)
def test_a_login_that_fails_reinstates_nothing():
    entity = make_entity()
    old = log_in(entity)
    node_of(entity).chap = CHAP
    prove(connect(entity), b"anothersecret")
    connect(entity) >> login_request()
    connect(entity) >> login_request(transit=False)
    assert old >> read_10() << like(SCSIDataIn)


def test_a_storm_of_reinstatements_leaves_one_session():
    entity = make_entity()
    exchanges = [log_in(entity, seed=number) for number in range(50)]
    assert [exchange.connection.closing for exchange in exchanges] == [True] * 49 + [False]
    for exchange in exchanges[:-1]:
        exchange.connection.connection_lost()
    assert entity.sessions == [exchanges[-1].session]


def test_a_discovery_session_is_reinstated_by_name_isid_and_portal():
    """RFC 7143 section 7.4.2.1."""
    entity = make_entity()
    portal = Portal("192.0.2.2")
    node_of(entity).add_portal(portal)
    normal, old, elsewhere = log_in(entity), discover(entity), discover(entity, portal=portal)
    other = discover(entity, isid=bytes(6))
    new = discover(entity)
    assert old << ended("session reinstated by a new login")
    assert [each.connection.closing for each in (normal, elsewhere, other, new)] == [False] * 4


# -- what is no login ------------------------------------------------------------------------------


def test_another_pdu_before_the_login_closes_the_connection():
    """RFC 7143 section 6.3: immediately, without an answer."""
    assert connect() >> NOPOut() << ended("NOPOut during login .RFC 7143 section 11.13.5.")


def test_another_pdu_during_the_login_is_answered_and_closes_it():
    exchange = connect() >> login_request(transit=False)
    exchange.next()
    assert exchange >> NOPOut() << refused(LoginStatus.INVALID_DURING_LOGIN) << ended("NOPOut during login")


def test_a_format_error_during_the_login_is_answered_and_closes_it():
    exchange = connect() >> login_request(transit=False)
    exchange.next()
    wire = b"\x43\x00\x00\x00\x00\xff\xff\xff" + bytes(40)
    assert (
        exchange >> wire << refused(LoginStatus.INITIATOR_ERROR) << ended("LoginRequest with a data segment")
    )


def test_a_refused_login_is_not_refused_twice():
    exchange = connect() >> login_request({"TargetName": "iqn.2026-11.org.iscsim:other"})
    exchange.connection.fail(FormatError("late", "7.7"))
    assert exchange.collect() << refused(LoginStatus.NOT_FOUND)
    assert [type(event) for event in exchange.events()] == [LoginRefused, ConnectionEnded]


def test_commands_in_the_piece_that_ended_the_login_are_carried_out():
    exchange = connect()
    exchange.send(login_request(), read_10())
    exchange << like(LoginResponse, status_class=0)
    assert exchange.next().status == 2  # the unit attention
    assert TARGET in exchange.session.node.name


def test_limits_and_digests_hold_from_the_next_pdu_on():
    entity = make_entity(replace(RFC))
    exchange = log_in(entity, {"HeaderDigest": "CRC32C", "DataDigest": "None"})
    framer = exchange.connection.framer
    assert (framer.header_digest, framer.data_digest) == (True, False)
    assert framer.max_data_segment_length == RFC.wishes.max_recv_data_segment_length
