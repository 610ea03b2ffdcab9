"""The links between workers over real pipes, which take a part of a frame, or nothing, at times."""

import fcntl
import os
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shoal.worker.peers import Peer, Uplink

PIPE = 4096  # the smallest a pipe can be
NOBODY = cast(Any, None)


def make_pair() -> tuple[Peer, Peer]:
    """Return the two ends of the link between workers 0 and 1, over small pipes."""
    there, back = os.pipe2(os.O_NONBLOCK), os.pipe2(os.O_NONBLOCK)
    for read_fd, _ in (there, back):
        fcntl.fcntl(read_fd, fcntl.F_SETPIPE_SZ, PIPE)
    return Peer(1, back[0], there[1]), Peer(0, there[0], back[1])


@pytest.fixture
def pair() -> Iterator[tuple[Peer, Peer]]:
    ends = make_pair()
    yield ends
    for end in ends:
        end.close()


ARGV = st.lists(st.binary(max_size=3000), min_size=1, max_size=4)
TURN = st.tuples(
    st.lists(ARGV, max_size=4),
    st.lists(st.one_of(st.binary(max_size=3000), st.integers(1, 1 << 40)), max_size=4),
    st.lists(st.tuples(st.integers(-(1 << 40), 1 << 40), st.binary(max_size=3000)), max_size=4),
    st.lists(st.tuples(st.integers(1, 1 << 40), st.integers(0, 4)), max_size=4),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(TURN, max_size=8), st.data())
def test_frames_arrive_whole_and_in_order(turns: list[Any], data: st.DataObject) -> None:
    ours, theirs = make_pair()
    arrived: list[Any] = []
    for number, (requests, replies, late, notes) in enumerate(turns):
        ours.requests, ours.replies = list(requests), list(replies)
        ours.late, ours.notes = list(late), list(notes)
        ours.send_turn(number, number + 1)
        assert not ours.has_news()
        if data.draw(st.booleans()):
            arrived += theirs.receive() or []
        if data.draw(st.booleans()):
            ours.flush()
    while ours.outbox_bytes:
        before = ours.outbox_bytes
        arrived += theirs.receive() or []
        ours.flush()
        assert ours.outbox_bytes < before
    arrived += theirs.receive() or []
    assert arrived == [(at, at + 1, *turn) for at, turn in enumerate(turns)]
    assert theirs.receive() == []
    ours.close()
    theirs.close()


def test_a_turn_is_over_when_it_is_sent(pair: tuple[Peer, Peer]) -> None:
    ours, theirs = pair
    ours.requests, ours.context, ours.reply_bytes = [[b"GET", b"k"]], (0, 2), 9
    ours.send_turn(1, 0)
    assert not ours.has_news()
    assert ours.reply_bytes == 0
    told = ours.context
    assert told is None
    assert theirs.receive() == [(1, 0, [[b"GET", b"k"]], [], [], [])]


def test_the_end_comes_behind_what_was_sent(pair: tuple[Peer, Peer]) -> None:
    ours, theirs = pair
    ours.requests = [[b"GET", b"k"]]
    ours.send_turn(1, 0)
    ours.close()
    assert theirs.receive() == [(1, 0, [[b"GET", b"k"]], [], [], [])]
    assert theirs.receive() is None


def test_half_a_frame_before_the_end_is_none(pair: tuple[Peer, Peer]) -> None:
    ours, theirs = pair
    ours.requests = [[b"SET", b"k", b"x" * 3 * PIPE]]
    ours.send_turn(1, 0)
    assert ours.outbox_bytes > 0
    ours.close()
    assert theirs.receive() == []
    assert theirs.receive() is None


def test_nobody_reads_any_more(pair: tuple[Peer, Peer]) -> None:
    """Whoever finds that out by a write goes on: it is dealt with where the end is read."""
    ours, theirs = pair
    ours.requests = [[b"SET", b"k", b"x" * 3 * PIPE]]
    ours.send_turn(1, 0)
    assert ours.outbox_bytes > 0
    theirs.close()
    ours.flush()
    assert ours.outbox_bytes == 0
    ours.send_turn(2, 0)
    assert ours.outbox_bytes == 0
    assert ours.receive() is None


def test_reset_gives_back_the_hops_in_order_and_forgets_the_rest(pair: tuple[Peer, Peer]) -> None:
    ours, _ = pair
    hops = [(NOBODY, at, [b"GET", b"%d" % at], (0, 2)) for at in range(4)]
    ours.deferred = {7: hops[0]}
    ours.pending.extend(hops[1:3])
    ours.parked.append((1, hops[3]))
    ours.requests, ours.replies, ours.late = [[b"GET"]], [b"+OK\r\n"], [(1, b"+OK\r\n")]
    ours.send((1, 0, [], [b"x" * 3 * PIPE], []))
    life = ours.life
    assert ours.reset() == hops[:3]
    assert ours.life == life + 1
    assert not ours.has_news()
    assert (ours.pending, ours.deferred, ours.outbox_bytes) == (type(ours.pending)(), {}, 0)
    assert [hop for _, hop in ours.parked] == hops[3:]
    assert ours.read_fd == ours.write_fd == -1


def test_what_a_dead_process_began_is_not_read_into_its_successors_frames() -> None:
    ours, theirs = make_pair()
    theirs.requests = [[b"SET", b"k", b"x" * 3 * PIPE]]
    theirs.send_turn(1, 0)
    assert ours.receive() == []
    theirs.close()
    ours.reset()
    successor, end = make_pair()
    ours.read_fd, ours.write_fd = successor.read_fd, successor.write_fd
    end.requests = [[b"PING"]]
    end.send_turn(2, 0)
    assert ours.receive() == [(2, 0, [[b"PING"]], [], [], [])]
    ours.close()
    end.close()


def test_the_uplink_sends_a_turns_messages_as_one_frame() -> None:
    ours, theirs = make_pair()
    uplink = Uplink(ours.read_fd, ours.write_fd)
    uplink.messages = [(1, 2), (3, b"x")]
    uplink.send_turn(5)
    assert uplink.messages == []
    assert theirs.receive() == [(5, 0, [(1, 2), (3, b"x")])]
    uplink.close()
    theirs.close()
