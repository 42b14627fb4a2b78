"""CHAP: the recorded exchanges of open-iscsi and LIO, both machines together, and every attack of A3."""

import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import ConfigError, NegotiationError
from iscsim.pdu.text import encode_base64, encode_hex
from iscsim.session.chap import (
    ALL_ALGORITHMS,
    ChapAlgorithm,
    ChapConfig,
    ChapCredential,
    ChapInitiator,
    ChapReflected,
    ChapTarget,
    chap_response,
)

USER = ChapCredential("chapuser", b"chapsecret12")
TARGET = ChapCredential("tgtuser", b"tgtsecret1234")
ONE_WAY = ChapConfig(incoming=(USER,))
MUTUAL = ChapConfig(incoming=(USER,), outgoing=TARGET)
INITIATOR = ChapConfig(outgoing=USER)
MUTUAL_INITIATOR = ChapConfig(outgoing=USER, incoming=(TARGET,))

# lio-chap-digests-reset-pr.pcap: identifier, challenge, response; the secrets are those of its log.
RECORDED = [
    (USER, 1, "f8755a1a6576d546052d4ac4e04fd4c6", "26af69b96b2832c19fc270b86840dee6"),
    (TARGET, 74, "2d65364f7e92ed383bfff5080b9a7b55", "06194a6941ca6b43d1118fb9cab4a165"),
    (USER, 2, "0390799797a2ac7bde29d8adca17a6f0", "56147f550e548d3bf57b32659f701eb0"),
    (TARGET, 44, "1746e4e669d5041914ffa542289e3e1e", "e1139bfbaf481feb27103a06502584e4"),
]


def chap_target(config=ONE_WAY, seed=1):
    return ChapTarget(config, rng=random.Random(seed))


def challenged(config=ONE_WAY):
    """A target that has sent its challenge: the machine, CHAP_I and CHAP_C as sent."""
    target = chap_target(config)
    answer = dict(target.receive([("CHAP_A", "5")]))
    return target, int(answer["CHAP_I"]), bytes.fromhex(answer["CHAP_C"][2:])


def proof(identifier, challenge, credential=USER):
    response = chap_response(ChapAlgorithm.MD5, identifier, credential.secret, challenge)
    return [("CHAP_N", credential.name), ("CHAP_R", encode_hex(response))]


def refusal(target, pairs):
    with pytest.raises(NegotiationError) as caught:
        target.receive(pairs)
    assert not target.complete
    return caught.value.status_class << 8 | caught.value.status_detail


def run(initiator_config, target_config, seed=1):
    initiator = ChapInitiator(initiator_config, rng=random.Random(seed))
    target = ChapTarget(target_config, rng=random.Random(seed))
    pairs = initiator.start()
    while not (target.complete and initiator.complete):
        answer = target.receive(pairs)
        if answer:
            pairs = initiator.receive(answer)
    return initiator, target


@pytest.mark.parametrize("credential, identifier, challenge, response", RECORDED)
def test_recorded_responses_are_computed_again(credential, identifier, challenge, response):
    result = chap_response(ChapAlgorithm.MD5, identifier, credential.secret, bytes.fromhex(challenge))
    assert result.hex() == response


@pytest.mark.parametrize("algorithm, length", [*zip(ALL_ALGORITHMS, (16, 20, 32, 32), strict=True)])
def test_each_algorithm_authenticates_both_ways_with_challenges_as_long_as_its_digest(algorithm, length):
    assert len(chap_response(algorithm, 1, b"s", b"c")) == length
    initiator = ChapConfig(outgoing=USER, incoming=(TARGET,), offered=(algorithm, ChapAlgorithm.MD5))
    end, target = run(initiator, MUTUAL)
    assert end.complete
    assert target.identity == "chapuser"
    answer = dict(chap_target().receive([("CHAP_A", str(int(algorithm)))]))
    assert len(answer["CHAP_C"]) == 2 + 2 * length


def test_one_way_chap_asks_nothing_of_the_target():
    _, target = run(INITIATOR, MUTUAL)
    assert target.complete


def test_the_first_algorithm_of_the_initiator_that_is_supported_is_chosen():
    config = ChapConfig(incoming=(USER,), algorithms=(ChapAlgorithm.MD5, ChapAlgorithm.SHA256))
    assert ("CHAP_A", "7") in ChapTarget(config, rng=random.Random(1)).receive([("CHAP_A", "8,7,6,5")])


def test_an_unsupported_algorithm_is_an_authentication_failure():
    assert refusal(chap_target(), [("CHAP_A", "1,2,99")]) == 0x0201


@pytest.mark.parametrize("value", ["", "MD5", "0x", "-5", "5, 6"])
def test_a_malformed_algorithm_list_is_refused(value):
    assert refusal(chap_target(), [("CHAP_A", value)]) in (0x0200, 0x0201)


def test_a_wrong_secret_is_an_authentication_failure():
    target, identifier, challenge = challenged()
    assert refusal(target, proof(identifier, challenge, ChapCredential("chapuser", b"wrong"))) == 0x0201


def test_a_right_secret_with_another_name_is_an_authentication_failure():
    target, identifier, challenge = challenged()
    assert refusal(target, proof(identifier, challenge, ChapCredential("other", USER.secret))) == 0x0201


def test_one_of_several_credentials_is_enough():
    config = ChapConfig(incoming=(USER, ChapCredential("second", b"another secret")))
    target, identifier, challenge = challenged(config)
    target.receive(proof(identifier, challenge, config.incoming[1]))
    assert target.identity == "second"


@pytest.mark.parametrize("missing", ["CHAP_N", "CHAP_R"])
def test_a_missing_key_of_the_response_is_a_missing_parameter(missing):
    target, identifier, challenge = challenged()
    pairs = [pair for pair in proof(identifier, challenge) if pair[0] != missing]
    assert refusal(target, pairs) == 0x0207


def test_reflection_by_leaving_out_chap_r_is_a_missing_parameter():
    target, identifier, challenge = challenged(MUTUAL)
    pairs = [("CHAP_N", "chapuser"), ("CHAP_I", str(identifier)), ("CHAP_C", encode_hex(challenge))]
    assert refusal(target, pairs) == 0x0207


@pytest.mark.parametrize("alone", [("CHAP_I", "1"), ("CHAP_C", "0xab")])
def test_half_a_challenge_is_a_missing_parameter(alone):
    target, identifier, challenge = challenged(MUTUAL)
    assert refusal(target, [*proof(identifier, challenge), alone]) == 0x0207


@pytest.mark.parametrize("first", [[], [("CHAP_N", "chapuser")]])
def test_the_first_step_must_have_chap_a(first):
    assert refusal(chap_target(), first) == 0x0207


def test_a_key_of_another_step_is_an_initiator_error():
    assert refusal(chap_target(), [("CHAP_A", "5"), ("CHAP_N", "chapuser")]) == 0x0200
    target, identifier, challenge = challenged()
    assert refusal(target, [*proof(identifier, challenge), ("CHAP_A", "5")]) == 0x0200


def test_our_own_challenge_sent_back_closes_the_connection():
    target, identifier, challenge = challenged(MUTUAL)
    pairs = [*proof(identifier, challenge), ("CHAP_I", "9"), ("CHAP_C", encode_base64(challenge))]
    with pytest.raises(ChapReflected):
        target.receive(pairs)
    assert not target.complete


def test_our_own_response_sent_back_is_an_authentication_failure():
    target, identifier, challenge = challenged(MUTUAL)
    assert refusal(target, proof(identifier, challenge, ChapCredential("chapuser", TARGET.secret))) == 0x0201


def test_an_initiator_does_not_take_its_own_response_for_the_targets():
    initiator = ChapInitiator(MUTUAL_INITIATOR, rng=random.Random(1))
    initiator.receive([("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", "0x" + "ab" * 16)])
    sent = dict(initiator._challenge.pairs())
    challenge = bytes.fromhex(sent["CHAP_C"][2:])
    with pytest.raises(NegotiationError):
        initiator.receive(proof(int(sent["CHAP_I"]), challenge, ChapCredential("tgtuser", USER.secret)))
    assert not initiator.complete


def test_ends_seeded_alike_do_not_send_the_same_challenge():
    initiator, target = run(MUTUAL_INITIATOR, MUTUAL, seed=7)
    assert initiator.complete
    assert target.complete


def test_mutual_chap_that_is_not_set_up_is_an_authentication_failure():
    target, identifier, challenge = challenged(ONE_WAY)
    pairs = [*proof(identifier, challenge), ("CHAP_I", "9"), ("CHAP_C", "0x" + "ab" * 16)]
    assert refusal(target, pairs) == 0x0201


def test_hex_and_base64_responses_are_accepted():
    for encode in (encode_hex, encode_base64):
        target, identifier, challenge = challenged()
        response = chap_response(ChapAlgorithm.MD5, identifier, USER.secret, challenge)
        target.receive([("CHAP_N", "chapuser"), ("CHAP_R", encode(response))])
        assert target.complete


@pytest.mark.parametrize("length", [*range(0, 20), 127, 128, 255, 256, 1023, 1024, 1025, 2047, 2048, 2049])
@pytest.mark.parametrize("encode", [encode_hex, encode_base64])
@pytest.mark.parametrize("key", ["CHAP_R", "CHAP_C"])
def test_no_length_of_a_binary_value_does_harm(length, encode, key):
    target, identifier, challenge = challenged(MUTUAL)
    keys = dict([*proof(identifier, challenge), ("CHAP_I", "9"), ("CHAP_C", "0x" + "ab" * 16)])
    keys[key] = encode(bytes(length))
    if key == "CHAP_C" and 1 <= length <= 1024:
        target.receive(list(keys.items()))
        assert target.complete
    else:
        # A response that cannot be read is an error of format, one that can is a wrong one.
        assert refusal(target, list(keys.items())) == (0x0201 if 1 <= length <= 1024 else 0x0200)


@pytest.mark.parametrize("identifier", ["256", "-1", "0x100", ""])
def test_an_identifier_is_one_byte(identifier):
    target, sent, challenge = challenged(MUTUAL)
    pairs = [*proof(sent, challenge), ("CHAP_I", identifier), ("CHAP_C", "0x" + "ab" * 16)]
    assert refusal(target, pairs) == 0x0200


def test_nothing_follows_a_completed_exchange():
    target, identifier, challenge = challenged()
    target.receive(proof(identifier, challenge))
    with pytest.raises(NegotiationError):
        target.receive([("CHAP_A", "5")])


def test_an_initiator_expects_nothing_after_a_completed_exchange():
    initiator = ChapInitiator(INITIATOR, rng=random.Random(1))
    initiator.receive([("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", "0xab")])
    assert initiator.complete
    with pytest.raises(NegotiationError):
        initiator.receive([("CHAP_N", "tgtuser"), ("CHAP_R", "0xab")])


def test_an_initiator_refuses_an_algorithm_it_did_not_offer():
    initiator = ChapInitiator(INITIATOR, rng=random.Random(1))
    with pytest.raises(NegotiationError):
        initiator.receive([("CHAP_A", "7"), ("CHAP_I", "1"), ("CHAP_C", "0xab")])


def test_an_initiator_refuses_another_target_than_the_one_it_knows():
    initiator = ChapInitiator(MUTUAL_INITIATOR, rng=random.Random(1))
    initiator.receive([("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", "0xab")])
    with pytest.raises(NegotiationError):
        initiator.receive([("CHAP_N", "tgtuser"), ("CHAP_R", "0x" + "00" * 16)])


def test_a_fresh_challenge_is_drawn_for_each_exchange():
    rng = random.Random(1)
    first = ChapTarget(ONE_WAY, rng=rng).receive([("CHAP_A", "5")])
    assert first != ChapTarget(ONE_WAY, rng=rng).receive([("CHAP_A", "5")])


def test_the_same_secret_both_ways_is_no_configuration():
    with pytest.raises(ConfigError):
        ChapConfig(incoming=(USER,), outgoing=ChapCredential("tgtuser", USER.secret))


def test_an_offer_must_have_md5():
    with pytest.raises(ConfigError):
        ChapConfig(outgoing=USER, offered=(ChapAlgorithm.SHA256,))


@pytest.mark.parametrize("name, secret", [("", b"s"), ("n" * 256, b"s"), ("n\0", b"s"), ("n", b"")])
def test_a_credential_must_fit_the_wire(name, secret):
    with pytest.raises(ConfigError):
        ChapCredential(name, secret)


def test_an_initiator_needs_a_credential_of_its_own():
    with pytest.raises(ConfigError):
        ChapInitiator(ONE_WAY, rng=random.Random(1))


def test_secrets_below_96_bits_are_told_and_refused_when_strict():
    weak = ChapCredential("weak", b"x" * 11)
    assert ONE_WAY.warnings() == ()
    assert len(ChapConfig(incoming=(weak,), outgoing=TARGET).warnings()) == 1
    with pytest.raises(ConfigError):
        ChapConfig(incoming=(weak,), strict=True)


def test_a_secret_is_never_shown():
    assert "secret" not in repr(MUTUAL).replace("secret=", "")


KEY = st.sampled_from(["CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"])
VALUE = st.text(max_size=40) | st.sampled_from(["5", "0xab", "0bq6ur", "chapuser", "0x", "256"])


@given(st.lists(st.lists(st.tuples(KEY, VALUE), max_size=5), max_size=4))
def test_hostile_chap_keys_end_in_a_negotiation_error(requests):
    for machine in (chap_target(MUTUAL), ChapInitiator(MUTUAL_INITIATOR, rng=random.Random(1))):
        with suppress(NegotiationError):
            for pairs in requests:
                machine.receive(pairs)
        assert not machine.complete
