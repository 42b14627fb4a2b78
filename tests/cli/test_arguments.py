"""What several commands have in common."""

from __future__ import annotations

from typing import Any

import pytest

from iscsim.cli.arguments import chap_of
from iscsim.errors import ConfigError


def test_no_user_is_no_chap() -> None:
    assert chap_of("", "") is None


def test_user_and_password_are_what_we_prove() -> None:
    chap = chap_of("user", "secret")
    assert chap is not None
    assert chap.outgoing is not None
    assert (chap.outgoing.name, chap.outgoing.secret, chap.incoming) == ("user", b"secret", ())


@pytest.mark.parametrize("user, password", [("user", ""), ("", "secret")])
def test_one_without_the_other_is_refused(user: str, password: str) -> None:
    with pytest.raises(ConfigError, match="go together") as caught:
        chap_of(user, password)
    assert "secret" not in str(caught.value)


def test_password_that_just_lies_in_the_environment_is_no_chap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISCSIM_CHAP_PASSWORD", "secret")
    assert chap_of("", "secret") is None


def test_help_does_not_show_the_password_of_the_environment(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISCSIM_CHAP_PASSWORD", "never-to-be-shown")
    assert "never-to-be-shown" not in cli("luns", "--help").stdout
