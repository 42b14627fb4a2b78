import pytest

from iscsim.scsi.target_ports import TargetPorts


def test_ports_are_those_of_the_moment():
    groups = {2: [3], 1: [2, 1]}
    ports = TargetPorts(lambda: groups)
    assert (dict(ports), ports.count, len(ports)) == ({1: (1, 2), 2: (3,)}, 3, 2)
    groups[4] = [9]
    del groups[1]
    assert (list(ports.items()), ports.count) == ([(2, (3,)), (4, (9,))], 2)


def test_two_devices_are_never_equal():
    one, other = TargetPorts(lambda: {1: [1]}), TargetPorts(lambda: {1: [1]})
    assert one != other
    assert len({one: 1, other: 2}) == 2


def test_scsi_cannot_change_the_device():
    ports = TargetPorts(lambda: {1: [1]})
    with pytest.raises(TypeError):
        ports[2] = (2,)  # type: ignore[index]
    assert repr(ports) == "TargetPorts({1: (1,)})"
