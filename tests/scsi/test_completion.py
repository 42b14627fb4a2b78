from iscsim.scsi.completion import Completion, PreemptAndAbortCompletion


def test_a_bare_completion_is_good():
    completion = Completion()
    assert (completion.status, completion.data_in, completion.sense, completion.ready_at) == (
        0,
        b"",
        b"",
        None,
    )


def test_repr_names_the_status():
    assert repr(Completion(2, sense=b"\x70")) == "Completion(CHECK CONDITION, 0 bytes, sense 70)"
    assert repr(Completion(0x11, b"abc")) == "Completion(status 0x11, 3 bytes)"


def test_preempt_and_abort_is_good_and_names_the_nexuses():
    nexus = object()
    completion = PreemptAndAbortCompletion([nexus])
    assert (completion.status, completion.preempted) == (0, [nexus])
