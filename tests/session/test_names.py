"""Names: what is one, and the port names SCSI makes of them."""

import pytest

from iscsim.errors import ConfigError
from iscsim.session.names import (
    format_portal,
    initiator_port_name,
    normalize_name,
    parse_portal,
    target_port_name,
)


@pytest.mark.parametrize(
    "name",
    [
        "iqn.1992-04.com.emc:cx.fnm00150600267.a0",
        "iqn.1993-08.org.debian:01:7cc8838d1c0",
        "iqn.2026-11.org",
        "eui.02004567a425678d",
        "naa.52004567ba64678d",
        "naa.62004567ba64678d0123456789abcdef",
        "iqn.2026-11.org.example:" + "x" * 199,
    ],
)
def test_names_of_the_three_types(name):
    assert normalize_name(name) == name


def test_a_name_is_folded_to_lower_case():
    assert normalize_name(" IQN.2026-11.org.Example:Disk ") == "iqn.2026-11.org.example:disk"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "disk",
        "iqn.2026-13.org",
        "iqn.26-11.org",
        "iqn.2026-11.",
        "iqn.2026-11.org:",
        "iqn.2026-11.org:a b",
        "iqn.2026-11.org:a\nb",
        "iqn.2026-11.org:../../etc/x",
        "iqn.2026-11.org:a\u202eb",
        "iqn.2026-11.org:\udcff",
        "iqn.2026-11.org_x",
        "eui.02004567a425678",
        "eui.02004567a425678g",
        "naa.52004567ba64678d00",
    ],
)
def test_what_is_no_name(name):
    with pytest.raises(ConfigError, match="not an iSCSI name"):
        normalize_name(name)


def test_a_name_has_223_bytes_at_most():
    with pytest.raises(ConfigError, match="name of 224 bytes, at most 223"):
        normalize_name("iqn.2026-11.org.example:" + "x" * 200)


@pytest.mark.parametrize("name", ["x\ny", "iqn.2026-11.org\n" + "x" * 300])
def test_the_message_is_one_line(name):
    with pytest.raises(ConfigError) as caught:
        normalize_name(name)
    assert "\n" not in str(caught.value)


def test_port_names():
    assert initiator_port_name("iqn.2026-11.org", bytes.fromhex("00023d000001")) == (
        "iqn.2026-11.org,i,0x00023d000001"
    )
    assert target_port_name("iqn.2026-11.org", 1) == "iqn.2026-11.org,t,0x0001"


@pytest.mark.parametrize(
    "text, address, shown",
    [
        ("192.0.2.1:3261", ("192.0.2.1", 3261), "192.0.2.1:3261"),
        ("host.example", ("host.example", 3260), "host.example:3260"),
        ("[2001:db8::1]:0", ("2001:db8::1", 0), "[2001:db8::1]:0"),
        ("[::]", ("::", 3260), "[::]:3260"),
    ],
)
def test_portals_are_read_and_shown(text, address, shown):
    assert parse_portal(text) == address
    assert format_portal(*address) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":3260",
        "2001:db8::1",
        "[2001:db8::1",
        "host:port",
        "a b:1",
        "host/3260",
        "a..b",
        "x" * 64,
        "3260",
        "3260:3260",
    ],
)
def test_what_is_no_portal(text):
    with pytest.raises(ConfigError, match="not a portal"):
        parse_portal(text)


def test_a_portal_must_say_its_port_where_there_is_no_default():
    assert parse_portal("host:1", default_port=None) == ("host", 1)
    with pytest.raises(ConfigError, match="not a portal"):
        parse_portal("host", default_port=None)


def test_a_port_is_at_most_65535():
    with pytest.raises(ConfigError, match="port 65536"):
        parse_portal("host:65536")
