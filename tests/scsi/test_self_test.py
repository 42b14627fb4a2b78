import pytest

from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.sense import FieldPointer
from iscsim.scsi.store import MemoryStore


class Worn(MemoryStore):
    worn = -1
    reads: list[int]

    def read(self, lba, blocks):
        self.reads = [*getattr(self, "reads", []), lba]
        if lba == self.worn:
            raise OSError("bad block")
        return super().read(lba, blocks)


def send_diagnostic(code=0, selftest=False, length=0):
    flags = code << 5 | selftest << 2
    return layouts.SEND_DIAGNOSTIC.build(opcode=0x1D, flags=flags, parameter_list_length=length)


def test_the_default_self_test_reads_the_first_and_the_last_block(make_rig):
    rig = make_rig(Worn(2048))
    rig.good(send_diagnostic(selftest=True))
    assert rig.unit.store.reads == [0, 2047]


@pytest.mark.parametrize("code, reads", [(0b001, 2), (0b010, 64), (0b101, 2), (0b110, 64)])
def test_short_and_extended_self_tests(make_rig, code, reads):
    rig = make_rig(Worn(2048))
    rig.good(send_diagnostic(code))
    assert len(rig.unit.store.reads) == reads


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_unit_of_few_blocks_is_tested_too(make_rig, blocks):
    make_rig(MemoryStore(blocks)).good(send_diagnostic(0b110))


def test_a_self_test_fails_with_the_store(make_rig):
    rig = make_rig(Worn(2048))
    rig.unit.store.worn = 2047
    assert rig.fault(send_diagnostic(selftest=True)) == "04/3e/03"


def test_nothing_is_asked_for_and_nothing_is_done(make_rig):
    rig = make_rig(Worn(2048))
    rig.good(send_diagnostic())
    assert not hasattr(rig.unit.store, "reads")


def test_without_a_medium_there_is_none_to_test(make_rig):
    rig = make_rig(Worn(2048), removable=True)
    rig.unit.eject()
    rig.good(send_diagnostic(selftest=True))
    assert not hasattr(rig.unit.store, "reads")


@pytest.mark.parametrize(
    "command, pointer",
    [
        (send_diagnostic(0b011), FieldPointer(1, 7)),
        (send_diagnostic(0b100), FieldPointer(1, 7)),  # nothing runs in the background to be aborted
        (send_diagnostic(0b111), FieldPointer(1, 7)),
        (send_diagnostic(0b001, selftest=True), FieldPointer(1, 7)),
        (send_diagnostic(length=4), FieldPointer(3)),
        (send_diagnostic(selftest=True, length=4), FieldPointer(3)),
    ],
)
def test_what_is_refused(rig, command, pointer):
    sense = rig.sense(command)
    assert (str(sense)[-9:-1], sense.field_pointer) == ("05/24/00", pointer)
