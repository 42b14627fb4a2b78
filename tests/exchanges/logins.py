"""The two machines of a login, a node for the target's, and how they are made to talk."""

import random
from dataclasses import dataclass, field, replace

from iscsim.errors import NegotiationError
from iscsim.pdu import LoginRequest, LoginStatus, Stage
from iscsim.pdu.text import encode_text, parse_text
from iscsim.session.chap import ChapConfig, ChapCredential
from iscsim.session.login import InitiatorLogin, LoginConfig, TargetLogin, login_error
from iscsim.session.parameters import Wishes

SECURITY, OPERATIONAL, FULL_FEATURE = Stage
INITIATOR_NAME = "iqn.1993-08.org.debian:01:7cc8838d1c0"
TARGET_NAME = "iqn.1992-04.com.emc:cx.fnm00150600267.a0"
ISID = bytes.fromhex("00023d000001")
USER = ChapCredential("chapuser", b"chapsecret12")
TARGET_USER = ChapCredential("tgtuser", b"tgtsecret1234")
TARGET_CHAP = ChapConfig(incoming=(USER,), outgoing=TARGET_USER)
INITIATOR_CHAP = ChapConfig(outgoing=USER)
MUTUAL_CHAP = ChapConfig(outgoing=USER, incoming=(TARGET_USER,))
NAMES = [("InitiatorName", INITIATOR_NAME), ("TargetName", TARGET_NAME), ("SessionType", "Normal")]


@dataclass
class Disk:
    name: str = TARGET_NAME
    alias: str | None = "LIO Target"


@dataclass
class Policy:
    """A target node with one target."""

    chap: ChapConfig | None = None
    wish: Wishes = field(default_factory=Wishes)
    portal_group_tag: int = 1
    disk: Disk = field(default_factory=Disk)
    refusal: NegotiationError | None = None
    admitted: list = field(default_factory=list)
    sessions: dict = field(default_factory=dict)

    def find_target(self, initiator_name, target_name):
        if target_name != self.disk.name:
            raise login_error(LoginStatus.NOT_FOUND, f"no target {target_name}")
        return self.disk

    def find_session(self, initiator_name, target, isid, tsih, cid):
        if tsih not in self.sessions:
            raise login_error(LoginStatus.SESSION_DOES_NOT_EXIST, f"no session {tsih}")
        return self.sessions[tsih]

    def authentication(self, initiator_name, session_type, target):
        return self.chap

    def wishes(self, target):
        return self.wish

    def admit(self, result):
        if self.refusal is not None:
            raise self.refusal
        self.admitted.append(result)
        return result.tsih or 7


def target_login(policy=None, **options):
    return TargetLogin(policy or Policy(**options), rng=random.Random(1))


def initiator_login(rng=None, joins=None, **options):
    config = {"initiator_name": INITIATOR_NAME, "target_name": TARGET_NAME} | options
    return InitiatorLogin(LoginConfig(**config), rng=rng or random.Random(2), isid=ISID, **(joins or {}))


def request(pairs=(), stage=SECURITY, to=None, **fields):
    """A Login Request; ``to`` is the stage asked for with the T bit."""
    fields = {"isid": ISID, "data": encode_text(pairs)} | fields
    return LoginRequest(current_stage=stage, transit=to is not None, next_stage=to or 0, **fields)


def pairs_of(pdu):
    return dict(parse_text(pdu.data))


def status_of(response):
    return response.status_class << 8 | response.status_detail


def refused(login, *requests):
    """Send all requests, the last of which must be refused: the status."""
    *accepted, last = requests
    for each in accepted:
        assert status_of(login.receive(each)) == 0
    response = login.receive(last)
    assert login.error is not None
    assert not login.complete
    assert (response.transit, response.continuation) == (False, False)
    assert response.initiator_task_tag == last.initiator_task_tag
    return status_of(response)


def run(initiator, target):
    """Let the two talk to the end; every response they exchanged."""
    responses, stat_sn = [], 0xFFFFFFFE
    next_request = initiator.start()
    while next_request is not None:
        assert next_request.exp_stat_sn == (stat_sn if responses else 0)
        response = replace(target.receive(next_request), stat_sn=stat_sn)
        stat_sn = (stat_sn + 1) & 0xFFFFFFFF
        responses.append(response)
        next_request = initiator.receive(response)
    return responses
