"""Rules that judge one key on its own (RFC 7143 sections 6.1 to 6.3)."""

import pytest

from iscsim.errors import NegotiationError
from iscsim.session.keys import KEYS
from iscsim.session.rules import MAX_UNKNOWN_KEYS, SeenKeys, check_declaration, is_admissible


def test_no_key_is_sent_twice():
    seen = SeenKeys()
    seen.add([("HeaderDigest", "None")])
    assert "HeaderDigest" in seen
    assert "DataDigest" not in seen
    with pytest.raises(NegotiationError):
        seen.add([("HeaderDigest", "None")])


def test_target_address_may_be_sent_twice():
    SeenKeys().add([("TargetAddress", "a"), ("TargetAddress", "b")])


def test_unknown_keys_are_counted():
    seen = SeenKeys()
    seen.add([(f"X-{number}", "") for number in range(MAX_UNKNOWN_KEYS)])
    with pytest.raises(NegotiationError):
        seen.add([("X-one-more", "")])


@pytest.mark.parametrize(
    "name, value",
    [
        ("MaxRecvDataSegmentLength", "511"),
        ("MaxRecvDataSegmentLength", "16777216"),
        ("TargetPortalGroupTag", "65536"),
        ("SessionType", "normal"),
        ("InitiatorName", ""),
        ("InitiatorName", "iqn." + "x" * 220),
        ("TargetName", "iqn.2026-11.org example"),
        ("TargetName", "iqn.2026-11.org\x7f"),
    ],
)
def test_a_declaration_that_cannot_be_accepted_is_an_error(name, value):
    with pytest.raises(NegotiationError):
        check_declaration(KEYS[name], value)


@pytest.mark.parametrize(
    "name, offered, good, bad",
    [
        ("HeaderDigest", "CRC32C,None", ("CRC32C", "None"), ("CRC32", "", "CRC32C,None")),
        ("InitialR2T", "Yes", ("Yes",), ("No",)),
        ("InitialR2T", "No", ("Yes", "No"), ()),
        ("ImmediateData", "No", ("No",), ("Yes",)),
        ("ImmediateData", "Yes", ("Yes", "No"), ()),
        ("MaxBurstLength", "8192", ("8192", "512"), ("8193", "511")),
        ("DefaultTime2Wait", "2", ("2", "3600"), ("1", "3601")),
        ("SessionType", "Normal", (), ("Normal",)),
    ],
)
def test_an_acceptor_may_only_select_what_the_rule_gives(name, offered, good, bad):
    assert all(is_admissible(KEYS[name], offered, value) for value in good)
    assert not any(is_admissible(KEYS[name], offered, value) for value in bad)


def test_declaration_may_be_sent_again_with_the_same_value_where_that_is_allowed() -> None:
    seen = SeenKeys(repetition=True)
    seen.add([("InitiatorName", "iqn.2026-11.test:host"), ("MaxBurstLength", "512")])
    seen.add([("InitiatorName", "iqn.2026-11.test:host")])
    for again in [("InitiatorName", "iqn.2026-11.test:other"), ("MaxBurstLength", "512")]:
        with pytest.raises(NegotiationError, match="sent twice"):
            seen.add([again])
