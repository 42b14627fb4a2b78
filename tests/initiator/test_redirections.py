"""Where logins go when targets send them elsewhere."""

import pytest

from iscsim.errors import ConfigError, ConnectionFailed
from iscsim.initiator.portal import Portal
from iscsim.initiator.redirections import MAX_REDIRECTIONS, Redirections
from iscsim.session.login import LoginRedirected

HOME = Portal("10.0.0.1")


def to(address: str, *, permanent: bool = False) -> LoginRedirected:
    return LoginRedirected(1, 2 if permanent else 1, address)


def test_a_temporary_redirection_holds_until_the_next_login() -> None:
    redirections = Redirections(HOME)
    assert redirections.follow(to("10.0.0.2:3261")) == Portal("10.0.0.2", 3261)
    assert redirections.here == Portal("10.0.0.2", 3261)
    assert (redirections.go_home(), redirections.here) == (HOME, HOME)


def test_a_permanent_redirection_moves_home() -> None:
    redirections = Redirections(HOME)
    redirections.follow(to("10.0.0.2", permanent=True))
    assert redirections.go_home() == Portal("10.0.0.2")


def test_so_many_in_a_row_are_followed_and_no_more() -> None:
    redirections = Redirections(HOME)
    for _ in range(2):
        for number in range(MAX_REDIRECTIONS):
            redirections.follow(to(f"10.0.1.{number}"))
        with pytest.raises(ConnectionFailed, match="more than 4 redirections"):
            redirections.follow(to("10.0.0.9"))
        redirections.go_home()


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.0.0.7", ["10.0.0.7"]),
        ("10.0.0.7:860", ["10.9.0.0/16", "10.0.0.0/24"]),
        ("[fd00::7]:3260", ["[fd00::7]"]),
        ("[fd00::7]:3260", ["fd00::/64"]),
        ("Storage.Example.org:3260", ["storage.example.ORG"]),
    ],
)
def test_what_is_allowed_is_followed(address: str, allowed: list[str]) -> None:
    assert Redirections(HOME, allowed).follow(to(address)).address in address


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.0.0.7", []),
        ("10.0.1.7", ["10.0.0.0/24", "fd00::/64"]),
        ("fd00--7.example.org", ["fd00::/64", "10.0.0.0/8"]),
        ("storage.example.org.evil.test", ["storage.example.org"]),
    ],
)
def test_what_is_not_allowed_is_not_and_changes_nothing(address: str, allowed: list[str]) -> None:
    redirections = Redirections(HOME, allowed)
    with pytest.raises(ConnectionFailed, match=r"10\.0\.0\.1:3260 redirects to .* which is not allowed"):
        redirections.follow(to(address, permanent=True))
    assert (redirections.here, redirections.home) == (HOME, HOME)


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "", "a b", "10.0.0.1:3260"])
def test_an_entry_must_be_an_address_a_network_or_a_name(entry: str) -> None:
    with pytest.raises(ConfigError, match="no address, network or host name"):
        Redirections(HOME, [entry])


def test_a_text_is_no_list() -> None:
    with pytest.raises(ConfigError, match="are a list"):
        Redirections(HOME, "10.0.0.1")
