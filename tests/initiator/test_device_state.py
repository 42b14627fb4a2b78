"""Names and states, as sysfs writes them."""

from iscsim.initiator.device_state import HCTL, DeviceState


def test_an_address_is_written_as_linux_does() -> None:
    assert str(HCTL(3, 0, 0, 16385)) == "3:0:0:16385"
    assert HCTL(2, 0, 0, 1) < HCTL(3, 0, 0, 0)


def test_states_are_the_words_of_sysfs() -> None:
    assert [str(state) for state in DeviceState] == [
        "running",
        "blocked",
        "offline",
        "transport-offline",
        "deleted",
    ]
