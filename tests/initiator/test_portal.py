"""Addresses as people and targets write them."""

import pytest

from iscsim.errors import ConfigError, ConnectionFailed
from iscsim.initiator.portal import Portal, parse_portal, parse_redirect


@pytest.mark.parametrize(
    "text,portal",
    [
        ("127.0.0.1:3261", Portal("127.0.0.1", 3261)),
        ("127.0.0.1", Portal("127.0.0.1", 3260)),
        ("storage.example:860", Portal("storage.example", 860)),
        ("[::1]:3260", Portal("::1", 3260)),
        ("[fe80::1%eth0]", Portal("fe80::1%eth0", 3260)),
        ("10.0.0.1:3260,2", Portal("10.0.0.1", 3260, 2)),
        (("::1", 3260), Portal("::1", 3260)),
        (Portal("a", 1, 3), Portal("a", 1, 3)),
    ],
)
def test_portals(text: str, portal: Portal) -> None:
    assert parse_portal(text) == portal


@pytest.mark.parametrize(
    "text", ["", ":3260", "::1", "host:0", "host:65536", "host:port", "a b:1", "[::1", "h:1,x", ("h", 0)]
)
def test_what_is_no_portal(text: str) -> None:
    with pytest.raises(ConfigError, match="not a portal"):
        parse_portal(text)


@pytest.mark.parametrize("text", ["10.0.0.1:3260", "[::1]:3260"])
def test_portals_are_shown_as_they_are_written(text: str) -> None:
    assert str(parse_portal(text)) == text


def test_redirection_to_nonsense_says_who_sent_it() -> None:
    with pytest.raises(ConnectionFailed, match=r"10\.0\.0\.1:3260 redirects to nowhere"):
        parse_redirect("nowhere:at:all", Portal("10.0.0.1"))
