import pytest

from iscsim.scsi import cdb
from iscsim.scsi.transport_id import encode_transport_id

REGISTER, RESERVE = 0, 1
KEYS, RESERVATION, CAPABILITIES, FULL_STATUS = range(4)
WE, WERO, WEAR = 1, 5, 7
PORT, RECEIVER = "iqn.1993-08.org.debian:01:host,i,0x00023d000001", "iqn.other,i,0x00023d000001"


def parameters(key=0, action_key=0, flags=0):
    return key.to_bytes(8, "big") + action_key.to_bytes(8, "big") + bytes([0, 0, 0, 0, flags, 0, 0, 0])


def out(action, kind=0, data=b""):
    return cdb.persistent_reserve_out(action, reservation_type=kind, parameter_list_length=len(data)), data


@pytest.fixture
def registered(rig):
    rig.good(*out(REGISTER, data=parameters(0, 0xABC)))
    return rig


@pytest.fixture
def held(registered):
    registered.good(*out(RESERVE, WE, parameters(0xABC)))
    return registered


def test_keys_of_several_nexuses_are_told_each_though_they_are_the_same(registered):
    registered.good(*out(REGISTER, data=parameters(0, 0xABC)), nexus=registered.other())
    assert (
        registered.good(cdb.persistent_reserve_in(KEYS)).hex() == "0000000200000010" + "0000000000000abc" * 2
    )


def test_read_reservation(held):
    assert held.good(cdb.persistent_reserve_in(RESERVATION)).hex() == (
        "00000001" + "00000010" + "0000000000000abc" + "00000000" + "00" + "01" + "0000"
    )


def test_read_reservation_without_one(registered):
    assert registered.good(cdb.persistent_reserve_in(RESERVATION)).hex() == "0000000100000000"


def test_read_reservation_of_all_registrants_has_no_key(registered):
    registered.good(*out(RESERVE, WEAR, parameters(0xABC)))
    assert registered.good(cdb.persistent_reserve_in(RESERVATION))[8:].hex() == "00" * 13 + "07" + "0000"


def test_report_capabilities(rig):
    """CRH, SIP_C, ATP_C, TMV, TEST UNIT READY under every type, and all six types; no PTPL_C."""
    assert rig.good(cdb.persistent_reserve_in(CAPABILITIES)).hex() == "0008" + "1c90ea01" + "0000"


class Nowhere:
    """A `RegistrationStore` that keeps nothing."""

    def load(self):
        return None

    def save(self, state):
        pass


def test_report_capabilities_of_a_unit_that_survives_a_power_loss(rig):
    rig.unit.keep_registrations(Nowhere())
    assert rig.good(cdb.persistent_reserve_in(CAPABILITIES))[2:4].hex() == "1d90"
    rig.good(*out(REGISTER, data=parameters(0, 1, 0x01)))
    assert rig.good(cdb.persistent_reserve_in(CAPABILITIES))[2:4].hex() == "1d91"
    rig.good(*out(REGISTER, data=parameters(1, 2)))
    assert rig.good(cdb.persistent_reserve_in(CAPABILITIES))[2:4].hex() == "1d90"


def statuses(rig):
    """(key, flags, type, relative target port) of each descriptor."""
    data, found = rig.good(cdb.persistent_reserve_in(FULL_STATUS))[8:], []
    while data:
        found.append((data[7], data[12], data[13], int.from_bytes(data[18:20], "big")))
        data = data[24 + int.from_bytes(data[20:24], "big") :]
    return found


ALL_TG_PT, R_HOLDER = 2, 1


def test_a_registration_through_all_ports_is_told_once(rig):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x04)))
    rig.good(*out(REGISTER, data=parameters(0, 9)), nexus=rig.other())
    assert statuses(rig) == [(7, ALL_TG_PT, 0, 0), (9, 0, 0, 1)]
    rig.good(*out(RESERVE, WEAR, parameters(7)))
    assert statuses(rig) == [(7, ALL_TG_PT | R_HOLDER, WEAR, 0), (9, R_HOLDER, WEAR, 1)]


def test_the_holder_among_them_is_told_apart(rig):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x04)))
    rig.good(*out(RESERVE, WERO, parameters(7)))
    assert statuses(rig) == [(7, R_HOLDER, WERO, 1), (7, 0, 0, 2)]


def test_ports_that_do_not_share_the_registration_any_more_are_told_apart(rig):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x04)))
    rig.good(*out(REGISTER, data=parameters(7, 7)), nexus=rig.nexus)
    assert statuses(rig) == [(7, 0, 0, 1), (7, 0, 0, 2)]


def test_a_port_that_is_new_has_no_part_in_it(rig):
    rig.good(*out(REGISTER, data=parameters(0, 7, 0x04)))
    rig.port_numbers.append(3)
    assert statuses(rig) == [(7, 0, 0, 1), (7, 0, 0, 2)]


def test_read_full_status(held):
    held.good(*out(REGISTER, data=parameters(0, 2)), nexus=held.other(port=2))
    data = held.good(cdb.persistent_reserve_in(FULL_STATUS))
    descriptors = ""
    for head, number, port in (
        ("0abc0000000001010000", "0001", PORT),
        ("00020000000000000000", "0002", RECEIVER),
    ):
        transport_id = encode_transport_id(port)
        descriptors += f"{'00' * 6}{head}0000{number}{len(transport_id):08x}{transport_id.hex()}"
    assert data[8:].hex() == descriptors
    assert int.from_bytes(data[4:8], "big") == len(data) - 8


@pytest.mark.parametrize("action", range(4))
@pytest.mark.parametrize("length", [0, 4, 9])
def test_a_report_is_cut_and_says_its_whole_length(held, action, length):
    whole = held.good(cdb.persistent_reserve_in(action))
    assert held.good(cdb.persistent_reserve_in(action, allocation_length=length)) == whole[:length]
