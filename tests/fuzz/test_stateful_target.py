"""Three hosts on one target, in every order Hypothesis thinks of, against a model of a disk.

A write answered GOOD is there, any other changed nothing; each command has one answer, an aborted one none.
Not part of ``make test``; ``make fuzz`` runs it (see ``fuzzing.py``).
"""

from dataclasses import dataclass

from exchanges.ladder import (
    Exchange,
    command,
    connect,
    data_out,
    login_request,
    logout,
    lun,
    make_entity,
    node_of,
    nop_out,
    read_10,
    task_management,
    write_10,
)
from fuzz.fuzzing import SEED, rounds
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from iscsim.pdu import (
    LoginResponse,
    LogoutResponse,
    NOPIn,
    ReadyToTransfer,
    SCSIDataIn,
    SCSIResponse,
    TaskManagementResponse,
)
from iscsim.scsi.logical_unit import LogicalUnit
from iscsim.scsi.store import MemoryStore

BLOCKS = 32
LUNS = 2
GOOD, CHECK_CONDITION, CONFLICT = 0x00, 0x02, 0x18
MOST_ATTENTIONS = 20
HOSTS = st.integers(0, 2)
UNITS = st.integers(0, LUNS - 1)
LBAS = st.integers(0, BLOCKS - 4)
COUNTS = st.integers(1, 4)
PATTERNS = st.integers(0, 255)


@dataclass(eq=False)
class Pending:
    """A write whose data is still to come."""

    host: int
    unit: int
    lba: int
    data: bytes
    tag: int
    transfer_tag: int


class Disks(RuleBasedStateMachine):
    """``hosts`` are the exchanges by number, ``model`` the blocks of each unit."""

    @initialize()
    def begin(self) -> None:
        self.entity = make_entity(luns=0)
        for number in range(LUNS):
            node_of(self.entity).add_lun(
                number, LogicalUnit(MemoryStore(BLOCKS), serial=f"disk {number}", thin=True)
            )
        self.hosts: dict[int, Exchange] = {}
        self.model = [bytearray(BLOCKS * 512) for _ in range(LUNS)]
        self.pending: list[Pending] = []
        self.reserved: dict[int, int] = {}

    # -- sessions ----------------------------------------------------------------------------------

    @rule(host=HOSTS, initial_r2t=st.booleans())
    def log_in(self, host: int, initial_r2t: bool) -> None:
        """A new session, or the reinstatement of the one there is."""
        self._forget(host)
        exchange = connect(self.entity, seed=host + 1)
        keys = {"InitialR2T": "Yes" if initial_r2t else "No", "ImmediateData": "Yes"}
        exchange >> login_request(keys, isid=b"\0\x02=\0\0" + bytes([host]))
        response = exchange.next()
        assert isinstance(response, LoginResponse)
        assert response.status_class == 0
        self.hosts[host] = exchange

    @precondition(lambda self: self.hosts)
    @rule(host=HOSTS, politely=st.booleans())
    def leave(self, host: int, politely: bool) -> None:
        if host in self.hosts:
            exchange = self.hosts[host]
            if politely:
                exchange >> logout()
                assert isinstance(exchange.next(), LogoutResponse)
            else:
                exchange.connection.connection_lost()
            assert exchange
            self._forget(host)

    def _forget(self, host: int) -> None:
        self.hosts.pop(host, None)
        self.pending = [write for write in self.pending if write.host != host]
        self.reserved = {unit: holder for unit, holder in self.reserved.items() if holder != host}

    # -- commands ----------------------------------------------------------------------------------

    def ask(self, host: int, make: type | object) -> tuple[int, bytes]:
        """Status and data of a command, once nothing more is to be told first."""
        exchange = self.hosts[host]
        for _ in range(MOST_ATTENTIONS):
            exchange >> make()  # type: ignore[operator]
            status, data, sense = self._answer(exchange)
            if status != CHECK_CONDITION or sense[2] & 0x0F != 6:
                return status, data
        raise AssertionError("unit attentions without end")

    def _answer(self, exchange: Exchange) -> tuple[int, bytes, bytes]:
        data = b""
        while True:
            pdu = exchange.next()
            assert isinstance(pdu, SCSIDataIn | SCSIResponse), pdu
            if isinstance(pdu, SCSIResponse):
                return pdu.status, data, bytes(pdu.sense)
            assert pdu.buffer_offset == len(data)
            data += bytes(pdu.data)
            if pdu.status_present:
                return pdu.status, data, b""

    def conflicts(self, host: int, unit: int) -> bool:
        return self.reserved.get(unit, host) != host

    @precondition(lambda self: self.hosts)
    @rule(host=HOSTS, unit=UNITS, lba=LBAS, blocks=COUNTS)
    def read(self, host: int, unit: int, lba: int, blocks: int) -> None:
        if host in self.hosts:
            status, data = self.ask(host, lambda: read_10(lba, blocks, lun=lun(unit)))
            if self.conflicts(host, unit):
                assert (status, data) == (CONFLICT, b"")
            else:
                assert (status, data) == (GOOD, self.model[unit][lba * 512 : (lba + blocks) * 512])

    @precondition(lambda self: self.hosts)
    @rule(host=HOSTS, unit=UNITS, lba=LBAS, blocks=COUNTS, pattern=PATTERNS)
    def write(self, host: int, unit: int, lba: int, blocks: int, pattern: int) -> None:
        """All of the data goes with the command."""
        if host in self.hosts:
            data = bytes([pattern]) * (blocks * 512)
            status, _ = self.ask(host, lambda: write_10(lba, blocks, data, lun=lun(unit)))
            assert status == (CONFLICT if self.conflicts(host, unit) else GOOD)
            if status == GOOD:
                self.model[unit][lba * 512 : lba * 512 + len(data)] = data

    @precondition(lambda self: self.hosts)
    @rule(host=HOSTS, unit=UNITS, lba=LBAS, blocks=COUNTS)
    def unmap(self, host: int, unit: int, lba: int, blocks: int) -> None:
        """WRITE SAME (16) with UNMAP."""
        if host in self.hosts:
            cdb = b"\x93\x08" + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + b"\0\0"
            fields = {"write": True, "expected_data_transfer_length": 512, "data": bytes(512)}
            status, _ = self.ask(host, lambda: command(cdb, lun=lun(unit), **fields))
            assert status == (CONFLICT if self.conflicts(host, unit) else GOOD)
            if status == GOOD:
                self.model[unit][lba * 512 : (lba + blocks) * 512] = bytes(blocks * 512)

    @precondition(lambda self: self.hosts)
    @rule(host=HOSTS, unit=UNITS, reserve=st.booleans())
    def reserve(self, host: int, unit: int, reserve: bool) -> None:
        if host in self.hosts:
            status, _ = self.ask(host, lambda: command(b"\x16" if reserve else b"\x17", lun=lun(unit)))
            if reserve and not self.conflicts(host, unit):
                self.reserved[unit] = host
            elif not reserve and self.reserved.get(unit) == host:
                del self.reserved[unit]
            assert status == (CONFLICT if reserve and self.conflicts(host, unit) else GOOD)

    @precondition(lambda self: self.hosts)
    @rule(host=HOSTS, length=st.integers(0, 64))
    def ping(self, host: int, length: int) -> None:
        if host in self.hosts:
            self.hosts[host] >> nop_out(bytes(length))
            answer = self.hosts[host].next()
            assert isinstance(answer, NOPIn)
            assert bytes(answer.data) == bytes(length)

    # -- writes that take their time ---------------------------------------------------------------

    @precondition(lambda self: self.hosts)
    @rule(host=HOSTS, unit=UNITS, lba=LBAS, blocks=COUNTS, pattern=PATTERNS)
    def begin_write(self, host: int, unit: int, lba: int, blocks: int, pattern: int) -> None:
        if host not in self.hosts or len(self.pending) > 20:
            return
        exchange, data = self.hosts[host], bytes([pattern]) * (blocks * 512)
        for _ in range(MOST_ATTENTIONS):
            pdu = write_10(lba, blocks, lun=lun(unit))
            exchange >> pdu
            answer = exchange.next()
            if isinstance(answer, ReadyToTransfer):
                assert answer.desired_data_transfer_length == len(data)
                transfer_tag = answer.target_transfer_tag
                self.pending.append(Pending(host, unit, lba, data, pdu.initiator_task_tag, transfer_tag))
                return
            if answer.status == CONFLICT:
                assert self.conflicts(host, unit)
                return
            assert answer.status == CHECK_CONDITION
        raise AssertionError("unit attentions without end")

    @precondition(lambda self: self.pending)
    @rule(number=st.integers(0, 20))
    def end_write(self, number: int) -> None:
        write = self.pending.pop(number % len(self.pending))
        exchange = self.hosts[write.host]
        exchange >> data_out(
            write.tag, data=write.data, target_transfer_tag=write.transfer_tag, lun=lun(write.unit)
        )
        answer = exchange.next()
        assert isinstance(answer, SCSIResponse)
        assert answer.initiator_task_tag == write.tag
        if answer.status == GOOD:
            assert not self.conflicts(write.host, write.unit)
            start = write.lba * 512
            self.model[write.unit][start : start + len(write.data)] = write.data
        elif answer.status == CONFLICT:
            assert self.conflicts(write.host, write.unit)
        else:
            assert answer.status == CHECK_CONDITION
            assert bytes(answer.sense)[2] & 0x0F == 6

    # -- task management ---------------------------------------------------------------------------

    def manage(self, host: int, function: int, **fields: object) -> int:
        exchange = self.hosts[host]
        exchange >> task_management(function, immediate=True, **fields)
        answer = exchange.next()
        assert isinstance(answer, TaskManagementResponse)
        return int(answer.response)

    @precondition(lambda self: self.pending)
    @rule(number=st.integers(0, 20), late=st.booleans())
    def abort_write(self, number: int, late: bool) -> None:
        """ABORT TASK; the data may still come, and is swallowed."""
        write = self.pending.pop(number % len(self.pending))
        response = self.manage(write.host, 1, lun=lun(write.unit), referenced_task_tag=write.tag)
        assert response == 0
        if late:
            self.hosts[write.host] >> data_out(
                write.tag, data=write.data, target_transfer_tag=write.transfer_tag, lun=lun(write.unit)
            )

    @precondition(lambda self: self.hosts)
    @rule(host=HOSTS, unit=UNITS)
    def reset_unit(self, host: int, unit: int) -> None:
        if host in self.hosts:
            assert self.manage(host, 5, lun=lun(unit)) == 0
            self.pending = [write for write in self.pending if write.unit != unit]
            self.reserved.pop(unit, None)

    @invariant()
    def nothing_is_left_over(self) -> None:
        for exchange in getattr(self, "hosts", {}).values():
            assert exchange.collect()
            assert exchange.ended is None

    @invariant()
    def the_disks_are_as_the_model(self) -> None:
        for number, blocks in enumerate(getattr(self, "model", [])):
            mapped = node_of(self.entity).lun_map.lookup(lun(number))
            assert mapped is not None
            assert bytes(mapped.logical_unit.store.read(0, BLOCKS)) == bytes(blocks)

    def teardown(self) -> None:
        for exchange in getattr(self, "hosts", {}).values():
            exchange.connection.connection_lost()
        assert not self.entity.sessions if hasattr(self, "entity") else True


SETTINGS = settings(
    max_examples=30,
    stateful_step_count=60,
    deadline=None,
    database=None,
    print_blob=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def test_three_hosts_and_a_model() -> None:
    for number, _ in enumerate(rounds("stateful")):
        machine = seed(SEED + number)(type("Disks", (Disks,), {}))
        run_state_machine_as_test(machine, settings=SETTINGS)  # type: ignore[no-untyped-call]
