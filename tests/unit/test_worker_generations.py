"""What a worker makes of news of a peer's processes, in whatever order they and the pipes come."""

import marshal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from shoal.proto import messages as m
from shoal.supervisor.spawn import close_ends, pipe_pair
from shoal.worker.main import Worker
from shoal.worker.peers import Peer


def nothing(*_: object) -> None:
    """Stand in for what these tests do not look at."""


class World:
    """Worker 0 and what it knows of worker 1, of which it has the pipes of process number 4."""

    def __init__(self) -> None:
        worker = self.worker = Worker.__new__(Worker)
        ends, self.far = pipe_pair()
        self.peer = Peer(1, *ends)
        worker._peers = [None, self.peer]
        worker._generations = {1: 4}
        worker._awaited = {}
        worker._loop = cast(Any, SimpleNamespace(watch=nothing, unwatch=nothing))
        worker._dispatcher = cast(
            Any,
            SimpleNamespace(
                peer_up=nothing,
                peer_lost=nothing,
                peer_drained=nothing,
                forget_entered=nothing,
                broker=SimpleNamespace(peer_up=nothing, peer_gone=nothing),
                tracking=SimpleNamespace(owner_lost=nothing),
            ),
        )

    def pipes(self, generation: int) -> None:
        """Let the pipes to a later process come."""
        close_ends(self.far)
        ends, self.far = pipe_pair()
        self.worker._on_pipes(self.peer, generation, *ends)

    def hear(self, state: int, generation: int) -> None:
        self.worker._on_peer(1, state, generation)

    @property
    def seen(self) -> tuple[bool, bool, bool]:
        """Whether it is up, loads, and is owed our last frame."""
        return self.peer.up, self.peer.loading, self.peer.leaving


@pytest.fixture
def world() -> Any:
    found = World()
    yield found
    found.peer.close()
    close_ends(found.far)


def test_nothing_is_sent_to_a_peer_that_loads(world: World) -> None:
    """Who was forked after the peer has its pipes, but the peer does not hold its locks yet."""
    world.hear(m.LOADING, 4)
    assert world.seen == (False, True, False)
    assert not world.peer.open
    world.hear(m.UP, 4)
    assert world.seen == (True, False, False)


def test_the_last_frame_is_for_the_process_that_leaves(world: World) -> None:
    world.hear(m.LEAVING, 4)
    assert world.seen == (False, False, True)
    world.hear(m.DOWN, 4)
    world.pipes(5)
    world.hear(m.UP, 5)
    assert world.seen == (True, False, False)


def test_the_next_process_does_not_get_the_last_frame_of_the_one_before(world: World) -> None:
    world.pipes(5)
    world.hear(m.LEAVING, 4)
    world.hear(m.DOWN, 4)
    assert world.peer.read_fd >= 0
    world.hear(m.LOADING, 5)
    world.hear(m.UP, 5)
    assert world.seen == (True, False, False)


def test_up_may_come_before_the_pipes(world: World) -> None:
    world.hear(m.DOWN, 4)
    world.hear(m.UP, 5)
    assert not world.peer.up
    world.pipes(5)
    assert world.peer.up


def test_the_pipes_of_a_process_that_has_died_since_make_nobody_up(world: World) -> None:
    world.hear(m.DOWN, 4)
    world.hear(m.UP, 5)
    world.hear(m.DOWN, 5)
    world.pipes(5)
    assert not world.peer.up
    world.pipes(6)
    world.hear(m.UP, 6)
    assert world.peer.up


def test_a_client_whose_descriptor_was_dropped_is_counted_as_gone() -> None:
    worker = Worker.__new__(Worker)
    worker._log = cast(Any, SimpleNamespace(warning=nothing))
    worker._uplink = cast(Any, SimpleNamespace(messages=[]))
    worker._on_descriptors(marshal.dumps((m.CLIENT, 7, b"a:1", b"b:2", False)), [])
    assert worker._uplink.messages == [(m.CLOSED, 1)]
