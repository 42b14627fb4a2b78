import errno

import pytest

from iscsim.scsi import cdb
from iscsim.scsi import cdb_layouts as layouts
from iscsim.scsi.sense import FieldPointer
from iscsim.scsi.store import MemoryStore
from iscsim.scsi.vpd import BlockDeviceCharacteristics

OVERWRITE, BLOCK_ERASE, CRYPTOGRAPHIC_ERASE, EXIT_FAILURE_MODE = 0x01, 0x02, 0x03, 0x1F
AUSE, IMMED = 0x20, 0x80


def sanitize(action, length=0, options=0):
    return layouts.SANITIZE.build(opcode=0x48, options=options | action, parameter_list_length=length)


def overwrite(pattern, options=0x01, given=None):
    """The CDB and its parameter list."""
    header = layouts.OVERWRITE.build(options=options, pattern_length=len(pattern) if given is None else given)
    return sanitize(OVERWRITE, 4 + len(pattern)), header + pattern


def pointer(sense):
    return str(sense)[-9:-1], sense.field_pointer


def in_cdb(byte, bit=None):
    return "05/24/00", FieldPointer(byte, bit)


def in_parameters(byte, bit=None):
    return "05/26/00", FieldPointer(byte, bit, in_cdb=False)


@pytest.fixture
def thin(make_rig):
    rig = make_rig(MemoryStore(8192), thin=True)
    rig.good(cdb.write_10(0, 8192), b"x" * 8192 * 512)
    return rig


@pytest.mark.parametrize("size", [1, 4, 256, 511, 512])
def test_overwrite_fills_every_block_from_its_first_byte(thin, size):
    pattern = bytes(range(1, 252))[: size % 251 or 251] * 3
    command, parameters = overwrite(pattern[:size].ljust(size, b"z"))
    assert thin.server.data_out_length(thin.nexus, thin.lun, command) == 4 + size
    thin.good(command, parameters)
    block = (parameters[4:] * 512)[:512]
    assert thin.good(cdb.read_10(0, 8192)) == block * 8192


@pytest.mark.parametrize("options", [0x02, 0x1F, 0x81, 0x82])
def test_overwrite_ends_with_the_pattern_however_many_passes_and_inverted_or_not(thin, options):
    thin.good(*overwrite(b"\xa5", options=options))
    assert thin.good(cdb.read_10(0, 1)) == b"\xa5" * 512


@pytest.mark.parametrize("action", [BLOCK_ERASE, CRYPTOGRAPHIC_ERASE])
def test_an_erasure_leaves_zeros_and_no_memory(thin, action):
    thin.good(sanitize(action))
    assert thin.good(cdb.read_10(0, 8192)) == bytes(8192 * 512)
    assert thin.unit.store.allocated_size == 0


@pytest.mark.parametrize("action", [BLOCK_ERASE, CRYPTOGRAPHIC_ERASE])
def test_erasing_is_for_thin_units_as_page_b1_says(make_rig, rig, action):
    def page(of):
        return BlockDeviceCharacteristics.parse(of.good(cdb.inquiry(0xB1)))

    assert pointer(rig.sense(sanitize(action))) == in_cdb(1, 4)
    for unit, reads in ((rig, 0), (make_rig(thin=True), 1)):
        assert page(unit).reads_after_block_erase == page(unit).reads_after_cryptographic_erase == reads


@pytest.mark.parametrize("action", sorted(set(range(32)) - {1, 2, 3, 31}))
def test_other_service_actions_are_reserved(rig, action):
    assert pointer(rig.sense(sanitize(action))) == in_cdb(1, 4)


@pytest.mark.parametrize("action", [OVERWRITE, BLOCK_ERASE, CRYPTOGRAPHIC_ERASE, EXIT_FAILURE_MODE])
@pytest.mark.parametrize("byte, value, bit", [(1, 0x40, 6), *((byte, 1, None) for byte in range(2, 7))])
def test_reserved_bits_are_refused(thin, action, byte, value, bit):
    command = bytearray(sanitize(action, 5 if action == OVERWRITE else 0))
    command[byte] |= value
    assert pointer(thin.sense(bytes(command), b"\x01\0\0\x01z")) == in_cdb(byte, bit)
    assert thin.good(cdb.read_10(0, 1)) == b"x" * 512


@pytest.mark.parametrize("action", [BLOCK_ERASE, CRYPTOGRAPHIC_ERASE, EXIT_FAILURE_MODE])
def test_only_overwrite_has_a_parameter_list(thin, action):
    assert pointer(thin.sense(sanitize(action, 8), bytes(8))) == in_cdb(7)
    assert thin.server.data_out_length(thin.nexus, thin.lun, sanitize(action, 8)) == 0


@pytest.mark.parametrize("length", [0, 1, 4, 517, 65535])
def test_the_parameter_list_holds_a_header_and_up_to_a_block(thin, length):
    assert pointer(thin.sense(sanitize(OVERWRITE, length), bytes(length))) == in_cdb(7)
    assert thin.server.data_out_length(thin.nexus, thin.lun, sanitize(OVERWRITE, length)) == 0


@pytest.mark.parametrize(
    "command, expected",
    [
        (overwrite(b"zzzz", options=0x00), in_parameters(0, 4)),
        (overwrite(b"zzzz", options=0x21), in_parameters(0, 6)),
        (overwrite(b"zzzz", given=0), in_parameters(2)),
        (overwrite(b"zzzz", given=513), in_parameters(2)),
        ((sanitize(OVERWRITE, 5), b"\x01\x01\0\x01z"), in_parameters(1)),
        (overwrite(b"zzzz", given=5), ("05/1a/00", None)),
        (overwrite(b"zzzz", given=3), ("05/1a/00", None)),
        ((sanitize(OVERWRITE, 8), b"\x01\0\0\x04zzz"), ("05/1a/00", None)),
    ],
)
def test_a_parameter_list_that_is_wrong_changes_nothing(thin, command, expected):
    assert pointer(thin.sense(*command)) == expected
    assert thin.good(cdb.read_10(0, 1)) == b"x" * 512


@pytest.mark.parametrize("options", [{"read_only": True}, {"read_only_map": True}])
def test_write_protection_is_looked_at_after_the_cdb(make_rig, options):
    rig = make_rig(thin=True, **options)
    commands = [overwrite(b"z"), (sanitize(BLOCK_ERASE),), (sanitize(CRYPTOGRAPHIC_ERASE),)]
    assert {rig.fault(*command) for command in commands} == {"07/27/00"}
    assert rig.server.data_out_length(rig.nexus, rig.lun, overwrite(b"z")[0]) == 0
    assert rig.fault(sanitize(BLOCK_ERASE, 8)) == "05/24/00"


def test_sanitize_needs_a_medium(make_rig):
    rig = make_rig(thin=True, removable=True)
    rig.unit.eject()
    assert rig.fault(sanitize(BLOCK_ERASE)) == "02/3a/02"


@pytest.mark.parametrize("kind, conflict", [(1, True), (3, True), (5, True), (8, True)])
def test_sanitize_conflicts_with_every_reservation_of_somebody_else(thin, kind, conflict):
    holder = thin.other()
    key = bytes(8) + (1).to_bytes(8, "big") + bytes(8)
    thin.good(cdb.persistent_reserve_out(0), key, nexus=holder)
    thin.good(cdb.persistent_reserve_out(1, reservation_type=kind), key[8:16] + bytes(16), nexus=holder)
    assert thin.conflicts(sanitize(BLOCK_ERASE)) is conflict
    assert not thin.conflicts(sanitize(BLOCK_ERASE), nexus=holder)


# Time, and failure


class Failing(MemoryStore):
    fails = True

    def unmap(self, lba, blocks):
        if self.fails:
            raise OSError(errno.EIO, "broken")
        super().unmap(lba, blocks)


@pytest.fixture
def failing(make_rig):
    return make_rig(Failing(2048), thin=True)


@pytest.mark.parametrize("options, ready_at", [(0, 7.0), (IMMED, None)])
def test_the_answer_comes_when_it_is_done_or_with_immed_at_once(make_rig, options, ready_at):
    rig = make_rig(thin=True, erase_time_s=5.0)
    rig.nexus.clock = lambda: 2.0
    assert rig.execute(sanitize(BLOCK_ERASE, options=options)).ready_at == ready_at
    assert rig.fault(cdb.test_unit_ready()) == "02/04/1b"
    assert rig.fault(sanitize(BLOCK_ERASE)) == "02/04/1b"


def test_a_failure_ends_with_another_sanitize_without_ause_only(failing):
    assert failing.fault(sanitize(BLOCK_ERASE)) == "03/31/03"
    assert failing.fault(cdb.read_10(0, 1)) == "03/31/03"
    assert pointer(failing.sense(sanitize(EXIT_FAILURE_MODE))) == in_cdb(1, 4)
    assert pointer(failing.sense(sanitize(BLOCK_ERASE, options=AUSE))) == in_cdb(1, 5)
    failing.unit.store.fails = False
    failing.good(sanitize(BLOCK_ERASE))
    failing.good(cdb.read_10(0, 1))


def test_a_failure_with_ause_ends_with_exit_failure_mode(failing):
    assert failing.fault(sanitize(BLOCK_ERASE, options=AUSE)) == "03/31/03"
    assert failing.fault(cdb.test_unit_ready()) == "03/31/03"
    failing.good(sanitize(EXIT_FAILURE_MODE))
    failing.good(cdb.read_10(0, 1))


def test_with_immed_a_failure_is_told_by_the_commands_after_it(failing):
    failing.good(sanitize(BLOCK_ERASE, options=IMMED))
    assert failing.fault(cdb.test_unit_ready()) == "03/31/03"
    failing.server.logical_unit_reset(failing.nexus, failing.lun)
    failing.nexus.take(failing.unit)
    assert failing.fault(cdb.test_unit_ready()) == "03/31/03"


def test_exit_failure_mode_without_a_failure_is_good(thin):
    thin.good(sanitize(EXIT_FAILURE_MODE))
    assert thin.good(cdb.read_10(0, 1)) == b"x" * 512
