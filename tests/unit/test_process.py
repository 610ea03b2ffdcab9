"""A worker's process from the supervisor's side, over real pipes; the far ends are the test's."""

import errno
import marshal
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from shoal.proto.frames import FrameReader, encode_frame
from shoal.proto.messages import Message
from shoal.supervisor.lifecycle import Event, State
from shoal.supervisor.loop import Loop
from shoal.supervisor.process import WorkerProcess
from shoal.supervisor.spawn import Child, close_ends, pipe_pair


class World:
    """One worker's place, and the far ends of what leads to its process.

    Attributes:
        heard: the messages that have come from it.
    """

    def __init__(self) -> None:
        self.loop = Loop()
        self.heard: list[Message] = []
        self.process = WorkerProcess(3, self.loop, lambda _, messages: self.heard.extend(messages))
        self.reader = FrameReader()
        self.start()

    def start(self, now_ms: int = 0) -> None:
        ours, self.far = pipe_pair()
        channel, self.far_channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (channel, self.far_channel):
            end.setblocking(False)
        self.process.start(Child(os.getpid(), ours, channel), now_ms)

    def say(self, *messages: Message) -> None:
        """Let the worker send a frame."""
        frame = encode_frame((1, 0, list(messages)))
        assert os.write(self.far[1], frame) == len(frame)

    def frames(self) -> list[Any]:
        """Return what the worker has been sent."""
        found: list[Any] = []
        try:
            while data := os.read(self.far[0], 1 << 20):
                found += self.reader.feed(data)
        except BlockingIOError:
            pass
        return found

    def handed(self) -> list[tuple[bytes, int]]:
        """Take descriptors at the far end of the channel: the data, and how many came with it."""
        found: list[tuple[bytes, int]] = []
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.far_channel, 100, 2)
            except BlockingIOError:
                return found
            found.append((data, len(fds)))
            for fd in fds:
                os.close(fd)

    def die(self) -> None:
        close_ends(self.far)
        self.far_channel.close()

    def end(self) -> None:
        self.die()
        if self.process.pid:
            self.process.bury(0)
        self.loop.close()


@pytest.fixture
def world() -> Iterator[World]:
    found = World()
    yield found
    found.end()


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_a_process_that_starts(world: World) -> None:
    process = world.process
    assert (process.pid, process.life.state, process.serving) == (
        os.getpid(),
        State.STARTING,
        False,
    )
    process.life.on(Event.SCANNED, 0)
    process.life.on(Event.LOADED, 0)
    assert process.serving


def test_messages_of_a_turn_are_one_frame(world: World) -> None:
    process = world.process
    process.flush(7)
    assert world.frames() == []  # nothing to say
    process.messages += [(1, b"a"), (2, b"b")]
    process.flush(8)
    process.flush(9)
    assert world.frames() == [(8, 0, [(1, b"a"), (2, b"b")])]


def test_what_the_pipe_does_not_take_follows(world: World) -> None:
    process = world.process
    blob = b"x" * 3_000_000
    for number in range(3):
        process.messages.append((number, blob))
        process.flush(number)
    got: list[Any] = []
    while len(got) < 3:
        world.loop.wait(0)
        got += world.frames()
    assert got == [(number, 0, [(number, blob)]) for number in range(3)]
    assert world.loop._poll.poll(0) == []  # room is not waited for any longer


def test_what_it_says_is_heard_in_order(world: World) -> None:
    world.say((1,), (2,))
    world.say((3,))
    world.loop.wait(0)
    assert world.heard == [(1,), (2,), (3,)]


def test_its_end_is_not_told_again_and_again(world: World) -> None:
    world.say((1,))
    close_ends(world.far)
    for _ in range(2):
        world.loop.wait(0)
    assert world.heard == [(1,)]
    assert world.loop._poll.poll(0) == []
    world.far = pipe_pair()[0]  # for the end of the test to close


def test_descriptors_are_handed_over_and_closed_here(world: World) -> None:
    before = descriptors()
    for number in range(3):
        world.process.hand_over(b"%d" % number, tuple(pipe_pair()[0]))
    left = descriptors() - before
    assert world.handed() == [(b"0", 2), (b"1", 2), (b"2", 2)]
    assert len(left) == 2 * 3  # the test's halves of the pairs
    for fd in map(int, left):
        os.close(fd)


def test_descriptors_wait_for_room_and_stay_in_order(world: World) -> None:
    process = world.process
    before = descriptors()
    count = 0
    while not process.unsent:
        process.hand_over(b"%d" % count, (os.dup(0),))
        count += 1
    for _ in range(5):
        process.hand_over(b"%d" % count, (os.dup(0),))
        count += 1
    assert len(process.unsent) == 6
    got: list[tuple[bytes, int]] = []
    while len(got) < count:
        got += world.handed()
        world.loop.wait(0)
    assert got == [(b"%d" % number, 1) for number in range(count)]
    assert descriptors() == before
    assert world.loop._poll.poll(0) == []


def test_a_death_closes_all_that_led_to_it() -> None:
    before = descriptors()
    world = World()
    process = world.process
    process.life.on(Event.SCANNED, 0)
    process.life.on(Event.LOADED, 0)
    process.clients = 9
    process.messages.append((1,))
    while not process.unsent:
        process.hand_over(b"x", (os.dup(0),))
    world.say((5,))
    world.say((6,))
    world.die()
    process.bury(1234)
    assert world.heard == [(5,), (6,)]  # what it had still sent
    assert (process.pid, process.clients, process.messages) == (0, 0, [])
    assert (process.life.state, process.down_since_ms) == (State.DOWN, 1234)
    assert not process.unsent
    world.loop.close()
    assert descriptors() == before


def test_the_next_process_begins_afresh(world: World) -> None:
    world.process.messages.append((1,))
    world.say((5,))
    world.die()
    world.process.bury(10)
    world.reader = FrameReader()
    world.start(20)
    assert (world.process.life.state, world.process.life.restarts) == (State.STARTING, 1)
    world.process.messages.append((2,))
    world.process.flush(30)
    assert world.frames() == [(30, 0, [(2,)])]
    world.say((6,))
    world.loop.wait(0)
    assert world.heard == [(5,), (6,)]


def test_descriptors_that_the_system_refuses_go_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ETOOMANYREFS, "Too many references")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "send_fds", refuse)
        world.process.hand_over(b"first", (os.dup(0),))
        world.process.hand_over(b"second", (os.dup(0),))
        world.process.flush(1)
    assert len(world.process.unsent) == 2
    world.process.flush(2)
    assert world.handed() == [(b"first", 1), (b"second", 1)]
    assert not world.process.unsent


def test_descriptors_for_the_dead_are_closed_by_its_burial() -> None:
    before = descriptors()
    world = World()
    world.far_channel.close()
    world.process.hand_over(marshal.dumps((1,)), (os.dup(0),))
    assert len(world.process.unsent) == 1
    world.process.bury(0)
    close_ends(world.far)
    world.loop.close()
    assert descriptors() == before
