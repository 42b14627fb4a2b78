"""Persistent reservations against a model of SPC-4 that shares only the numbers on the wire with the code.

Four I_T nexuses (one initiator through two ports, two others through one), any service action with any key, a
power loss and sessions that come and go. After every step the keys, the reservation, the generation, what was
heard and who may read and write are what the model says.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from iscsim.scsi import cdb
from iscsim.scsi.transport_id import encode_transport_id

NEXUSES = [("iqn.a", 1), ("iqn.a", 2), ("iqn.b", 1), ("iqn.c", 1)]
PORTS = (1, 2)
WE, EA, WERO, EARO, WEAR, EAAR = TYPES = (1, 3, 5, 6, 7, 8)
REGISTRANTS, ALL = {WERO, EARO, WEAR, EAAR}, {WEAR, EAAR}
GOOD, CONFLICT, BAD_CDB, BAD_LIST, BAD_RELEASE = "good", "conflict", "05/24/00", "05/26/00", "05/26/04"
PREEMPTED, RELEASED, GONE = 0x2A03, 0x2A04, 0x2A05


@dataclass(frozen=True)
class State:
    """``keys``: nexus -> key; ``holders``: nexuses, of which there are several only where all hold it."""

    keys: dict = field(default_factory=dict)
    kind: int = 0
    holder: tuple | None = None
    generation: int = 0
    lasting: bool = False

    @property
    def holders(self):
        return set(self.keys) if self.kind in ALL else {self.holder} - {None}

    def may(self, nexus, reading):
        if not self.kind or nexus in self.holders or (self.kind in REGISTRANTS and nexus in self.keys):
            return True
        return reading and self.kind in (WE, WERO, WEAR)

    def without(self, nexuses):
        return replace(self, keys={nexus: key for nexus, key in self.keys.items() if nexus not in nexuses})

    def unreserved(self):
        return replace(self, kind=0, holder=None)


def told(state, code, nexuses, asking):
    return {(nexus, code) for nexus in nexuses if nexus != asking}


def unregister(state, nexus, asking):
    """SPC-4, unregistering: the reservation goes with its holder, or with the last of all registrants."""
    after = state.without({nexus})
    if nexus in state.holders and (state.kind not in ALL or not after.keys):
        heard = told(after, RELEASED, after.keys, asking) if state.kind in REGISTRANTS else set()
        return after.unreserved(), heard
    return after, set()


def register(state, asking, key, action_key, ignore, everywhere, lasting, others=None):
    initiator = asking[0]
    own = [asking, *((initiator, port) for port in PORTS if everywhere and port != asking[1])]
    if not ignore and any(state.keys.get(nexus, 0) != key for nexus in own):
        return CONFLICT, state, set()
    if others is not None and asking in state.keys:
        return BAD_LIST, state, set()
    if not action_key and not any(nexus in state.keys for nexus in own):
        return GOOD, state, set()
    state, heard = replace(state, lasting=lasting), set()
    if action_key:
        for other in others or ():
            for port in PORTS if everywhere else (asking[1],):
                if (other, port) not in state.keys and (other, port) not in own:
                    own.append((other, port))
        return GOOD, replace(state, keys=state.keys | dict.fromkeys(own, action_key)), heard
    for nexus in own:
        if nexus in state.keys:
            state, more = unregister(state, nexus, asking)
            heard |= more
    return GOOD, state, heard


def reserve(state, asking, kind):
    if not state.kind:
        return GOOD, replace(state, kind=kind, holder=None if kind in ALL else asking), set()
    same = asking in state.holders and kind == state.kind
    return GOOD if same else CONFLICT, state, set()


def release(state, asking, kind):
    if asking not in state.holders:
        return GOOD, state, set()
    if kind != state.kind:
        return BAD_RELEASE, state, set()
    heard = told(state, RELEASED, state.keys, asking) if kind in REGISTRANTS else set()
    return GOOD, state.unreserved(), heard


def preempt(state, asking, action_key, kind):
    if not action_key and state.kind not in ALL:
        return BAD_LIST, state, set()
    reserved = 0 if state.kind in ALL else state.keys.get(state.holder)
    if state.kind and action_key == reserved:
        gone = {one for one, key in state.keys.items() if action_key in (0, key)} - {asking}
        after = state.without(gone)
        heard = told(state, GONE, gone, asking)
        if kind != state.kind:
            heard |= told(state, RELEASED, after.keys, asking)
        return GOOD, replace(after, kind=kind, holder=None if kind in ALL else asking), heard
    gone = {one for one, key in state.keys.items() if key == action_key}
    if not gone:
        return CONFLICT, state, set()
    after = state.without(gone)
    return GOOD, after if after.keys else after.unreserved(), told(state, GONE, gone, asking)


def move(state, asking, action_key, receiving, leave):
    if not state.kind:
        return BAD_CDB, state, set()
    if state.kind in ALL or asking != state.holder:
        return CONFLICT, state, set()
    if not action_key or receiving[0] == asking[0]:
        return BAD_LIST, state, set()
    after = replace(state, keys=state.keys | {receiving: action_key}, holder=receiving)
    return GOOD, after.without({asking}) if leave else after, set()


class Memory:
    state = None

    def load(self):
        return self.state

    def save(self, state):
        self.state = state


def flags(everywhere=False, lasting=False, specified=False):
    return specified << 3 | everywhere << 2 | lasting


KEYS = st.sampled_from([0, 1, 2, 3])
NEXUS = st.sampled_from(NEXUSES)
MOSTLY = st.sampled_from([True, True, True, False])


class Reservations(RuleBasedStateMachine):
    make_rig: ClassVar = None

    def __init__(self):
        super().__init__()
        self.store, self.model = Memory(), State()
        self.power_on()

    def power_on(self):
        self.rig = self.make_rig(serial="disk")
        self.rig.unit.keep_registrations(self.store)
        self.rig.server.nexus_lost(self.rig.nexus)
        self.nexuses = {}
        for nexus in NEXUSES:
            self.log_in(nexus)

    def log_in(self, nexus):
        self.nexuses[nexus] = self.rig.other(*nexus)

    def port(self, initiator):
        return f"{initiator},i,0x00023d000001"

    def key(self, asking, honest):
        """Its own key, most of the time."""
        return self.model.keys.get(asking, 0) if honest else 2

    def registrant(self, asking):
        """Who asks, or somebody registered, so that most of what is asked for happens."""
        mine = [nexus for nexus in NEXUSES if nexus in self.model.keys]
        return mine[NEXUSES.index(asking) % len(mine)] if mine else asking

    def ask(self, asking, action, key, action_key=0, kind=0, bits=0, more=b"", tail=None):
        tail = bytes([0, 0, 0, 0, bits, 0, 0, 0]) if tail is None else tail
        data = key.to_bytes(8, "big") + action_key.to_bytes(8, "big") + tail + more
        block = cdb.persistent_reserve_out(action, reservation_type=kind, parameter_list_length=len(data))
        if asking not in self.nexuses:
            self.log_in(asking)
        nexus = self.nexuses[asking]
        status = self.rig.execute(block, data, nexus=nexus).status
        if status == 0x02:
            return self.rig.fault(block, data, nexus=nexus)
        return {0x00: GOOD, 0x18: CONFLICT}[status]

    def compare(self, outcome, expected, *, counted=True):
        wanted, after, heard = expected
        assert outcome == wanted
        if wanted == GOOD:
            self.model = replace(after, generation=after.generation + counted)
        found = set()
        for nexus, real in self.nexuses.items():
            while (attention := real.take(self.rig.unit)) is not None:
                found.add((nexus, int(attention.value)))
        assert found == {(nexus, code) for nexus, code in heard if nexus in self.nexuses}

    def of_registered(self, asking, key, model):
        """The actions that only a registrant may ask for, with its key."""
        if asking not in self.model.keys or self.model.keys[asking] != key:
            return CONFLICT, self.model, set()
        return model

    @initialize(lasting=st.booleans(), kind=st.none() | st.sampled_from(TYPES))
    def begin(self, lasting, kind):
        for key, nexus in enumerate(NEXUSES, 1):
            self.register_and_ignore(nexus, 0, min(key, 3), False, lasting)
        if kind:
            self.reserve(NEXUSES[0], True, kind)

    @rule(
        asking=NEXUS,
        honest=MOSTLY,
        action_key=KEYS,
        everywhere=st.booleans(),
        lasting=st.booleans(),
        others=st.none() | st.lists(st.sampled_from(["iqn.a", "iqn.b", "iqn.d"]), max_size=2),
    )
    def register(self, asking, honest, action_key, everywhere, lasting, others):
        key = self.key(asking, honest)
        ids = b"".join(encode_transport_id(self.port(other)) for other in others or ())
        more = b"" if others is None else len(ids).to_bytes(4, "big") + ids
        outcome = self.ask(
            asking, 0, key, action_key, bits=flags(everywhere, lasting, others is not None), more=more
        )
        model = register(self.model, asking, key, action_key, False, everywhere, lasting, others)
        self.compare(outcome, model)

    @rule(asking=NEXUS, key=KEYS, action_key=KEYS, everywhere=st.booleans(), lasting=st.booleans())
    def register_and_ignore(self, asking, key, action_key, everywhere, lasting):
        outcome = self.ask(asking, 6, key, action_key, bits=flags(everywhere, lasting))
        self.compare(outcome, register(self.model, asking, key, action_key, True, everywhere, lasting))

    @rule(asking=NEXUS, honest=MOSTLY, kind=st.sampled_from(TYPES))
    def reserve(self, asking, honest, kind):
        asking = self.registrant(asking)
        key = self.key(asking, honest)
        model = self.of_registered(asking, key, reserve(self.model, asking, kind))
        self.compare(self.ask(asking, 1, key, kind=kind), model, counted=False)

    @rule(asking=NEXUS, honest=MOSTLY, kind=st.none() | st.sampled_from(TYPES))
    def release(self, asking, honest, kind):
        asking = self.registrant(asking)
        key, kind = self.key(asking, honest), kind or self.model.kind or WE
        model = self.of_registered(asking, key, release(self.model, asking, kind))
        self.compare(self.ask(asking, 2, key, kind=kind), model, counted=False)

    @precondition(lambda self: self.model.kind)
    @rule(asking=NEXUS, honest=MOSTLY)
    def clear(self, asking, honest):
        asking = self.registrant(asking)
        key = self.key(asking, honest)
        heard = told(self.model, PREEMPTED, self.model.keys, asking)
        after = replace(self.model, keys={}).unreserved()
        self.compare(self.ask(asking, 3, key), self.of_registered(asking, key, (GOOD, after, heard)))

    @rule(
        asking=NEXUS,
        honest=MOSTLY,
        action_key=KEYS,
        kind=st.sampled_from(TYPES),
        action=st.sampled_from([4, 5]),
    )
    def preempt(self, asking, honest, action_key, kind, action):
        asking = self.registrant(asking)
        key = self.key(asking, honest)
        model = self.of_registered(asking, key, preempt(self.model, asking, action_key, kind))
        self.compare(self.ask(asking, action, key, action_key, kind), model)

    @rule(
        asking=NEXUS,
        by_holder=MOSTLY,
        action_key=KEYS,
        receiving=NEXUS,
        leave=st.booleans(),
        lasting=st.booleans(),
    )
    def register_and_move(self, asking, by_holder, action_key, receiving, leave, lasting):
        asking = self.model.holder if by_holder and self.model.holder in NEXUSES else self.registrant(asking)
        key = self.key(asking, True)
        transport_id = encode_transport_id(self.port(receiving[0]))
        tail = bytes([0, leave << 1 | lasting, 0, receiving[1]]) + len(transport_id).to_bytes(4, "big")
        outcome = self.ask(asking, 7, key, action_key, tail=tail, more=transport_id)
        expected = self.of_registered(asking, key, move(self.model, asking, action_key, receiving, leave))
        wanted, after, heard = expected
        self.compare(outcome, (wanted, replace(after, lasting=lasting) if wanted == GOOD else after, heard))

    @rule(nexus=NEXUS)
    def log_out(self, nexus):
        if nexus in self.nexuses:
            self.rig.server.nexus_lost(self.nexuses.pop(nexus))

    @precondition(lambda self: self.model.kind)
    @rule()
    def lose_power(self):
        kept = self.model if self.model.lasting else State()
        self.model = replace(kept, generation=0)
        self.power_on()

    @invariant()
    def the_holder_is_registered(self):
        assert self.model.holders <= set(self.model.keys)
        reservations = self.rig.unit.reservations
        held = reservations.reservation
        assert held is None or (
            reservations.registrations if held.holder is None else reservations.get(held.holder)
        )

    @invariant()
    def what_is_reported_is_so(self):
        """READ KEYS and READ RESERVATION, through a nexus that has no part in it."""
        asking = self.rig.other("iqn.watcher")
        data = self.rig.good(cdb.persistent_reserve_in(0), nexus=asking)
        keys = sorted(int.from_bytes(data[at : at + 8], "big") for at in range(8, len(data), 8))
        assert (int.from_bytes(data[:4], "big"), keys) == (
            self.model.generation,
            sorted(self.model.keys.values()),
        )
        data = self.rig.good(cdb.persistent_reserve_in(1), nexus=asking)
        reported = (data[21] & 0x0F, int.from_bytes(data[8:16], "big")) if len(data) > 8 else (0, 0)
        assert reported == (self.model.kind, self.model.keys.get(self.model.holder, 0))
        self.rig.server.nexus_lost(asking)

    @invariant()
    def who_may_read_and_write_may(self):
        for nexus, real in self.nexuses.items():
            assert self.rig.conflicts(cdb.read_10(0, 1), nexus=real) != self.model.may(nexus, True)
            assert self.rig.conflicts(cdb.write_10(0, 1), bytes(512), nexus=real) != self.model.may(
                nexus, False
            )


@pytest.mark.timeout(120)
def test_reservations_are_those_of_the_model(make_rig):
    machine = type("Machine", (Reservations,), {"make_rig": make_rig})
    settings_ = settings(max_examples=100, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(machine, settings=settings_)
