"""Streams of chance by name."""

from iscsim.faults.seeds import stream_of


def test_a_name_has_its_stream_whatever_others_there_are() -> None:
    assert stream_of(7, "host", "a").random() == stream_of(7, "host", "a").random()
    values = {stream_of(seed, *names).random() for seed in (1, 2) for names in (("a",), ("b",), ("a", "b"))}
    assert len(values) == 6
