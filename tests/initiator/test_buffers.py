"""Receive buffers: used again once nobody looks at them, and not before."""

from __future__ import annotations

from iscsim.initiator.buffers import BUFFER_LENGTH, ReceiveBuffers


def test_a_buffer_given_back_is_used_again() -> None:
    pool = ReceiveBuffers()
    buffer = pool.take()
    assert len(buffer) == BUFFER_LENGTH
    pool.give_back(buffer, lent=False)
    assert pool.take() is buffer
    assert pool.take() is not buffer


def test_a_lent_buffer_waits_for_its_last_view() -> None:
    pool = ReceiveBuffers()
    buffer = pool.take()
    views = [memoryview(buffer)[:10], memoryview(buffer)[10:20]]
    pool.give_back(buffer, lent=True)
    views.pop()
    assert pool.take() is not buffer
    views.pop()
    assert pool.take() is buffer
    assert len(buffer) == BUFFER_LENGTH


def test_a_slice_of_a_slice_keeps_the_buffer_too() -> None:
    pool = ReceiveBuffers()
    buffer = pool.take()
    root = memoryview(buffer)
    kept = root[100:200][10:20]
    root.release()
    pool.give_back(buffer, lent=True)
    assert pool.take() is not buffer
    kept.release()
    assert pool.take() is buffer


def test_a_longer_buffer_is_made_for_the_purpose_and_not_kept() -> None:
    pool = ReceiveBuffers()
    buffer = pool.take(BUFFER_LENGTH + 1)
    assert len(buffer) == BUFFER_LENGTH + 1
    pool.give_back(buffer, lent=False)
    assert pool.take() is not buffer


def test_only_so_many_are_kept() -> None:
    pool = ReceiveBuffers()
    buffers = [pool.take() for _ in range(40)]
    for buffer in buffers:
        pool.give_back(buffer, lent=False)
    again = {id(pool.take()) for _ in range(40)}
    assert 0 < len(again & {id(buffer) for buffer in buffers}) < 40
