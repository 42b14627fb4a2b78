"""Who has to go when every place is taken."""

from dataclasses import dataclass
from typing import Any

import pytest
from exchanges.ladder import connect, discover, log_in, make_entity

from iscsim.target.places import who_gives_way


@dataclass(eq=False)
class Visitor:
    core: Any
    peer: tuple[str, int]


@pytest.fixture
def visit():
    entity = make_entity()

    def make(kind, address="192.0.2.50"):
        start = {"logged in": log_in, "discovering": discover}.get(kind, connect)
        isid = {} if start is connect else {"isid": bytes([make.count]) + bytes(5)}
        make.count += 1
        core = start(entity, **isid).connection
        if kind == "lingering":
            core.end()
        return Visitor(core, (address, make.count))

    make.count = 0
    return make


def test_who_has_logged_in_stays(visit):
    assert who_gives_way([visit("logged in"), visit("logged in")]) is None
    assert who_gives_way([]) is None


@pytest.mark.parametrize(
    "kinds, goes",
    [
        (["logged in", "new", "new"], 1),
        (["discovering", "new", "logged in"], 1),
        (["discovering", "logged in", "discovering"], 0),
        (["new", "discovering", "lingering", "lingering"], 2),
    ],
)
def test_the_oldest_of_those_needed_least_goes(visit, kinds, goes):
    visitors = [visit(kind) for kind in kinds]
    assert who_gives_way(visitors) is visitors[goes]


def test_an_address_with_many_gives_way_to_one_with_few(visit):
    few, *many = visit("new", "192.0.2.50"), visit("new", "192.0.2.66"), visit("new", "192.0.2.66")
    assert who_gives_way([few, *many]) is many[0]
