"""Port numbers of hosts."""

from __future__ import annotations

import pytest

from iscsim.net.ports import Ports


def test_free_ports_go_round_on_each_host() -> None:
    ports = Ports()
    assert [ports.take("a"), ports.take("a"), ports.take("b")] == [49152, 49153, 49152]
    ports.give_back("a", 49152)
    assert ports.take("a") == 49154
    for _ in range(16384 - 2):
        last = ports.take("a")
    assert last == 49152
    with pytest.raises(OSError, match="every ephemeral port of a is in use"):
        ports.take("a")


def test_port_in_use_twice_is_free_when_both_have_given_it_back() -> None:
    ports = Ports()
    assert ports.take("a", 49152) == ports.take("a", 49152) == 49152
    ports.give_back("a", 49152)
    assert ports.take("a") == 49153
    ports.give_back("a", 49152)
    ports.give_back("a", 49153)
    for _ in range(16382):
        ports.give_back("a", ports.take("a"))
    assert ports.take("a") == 49152
