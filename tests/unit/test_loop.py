"""What the loop does at the seams of a turn: a peer's end, held replies, the announcement."""

import marshal
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any, cast

import pytest
from shoal.proto import messages as m
from shoal.proto.directives import Config
from shoal.proto.frames import encode_frame
from shoal.proto.limits import CLIENT_READ_BYTES, MAX_UNSENT_REPLY_BYTES
from shoal.proto.messages import COUNTER_STRIDE
from shoal.proto.resp_reader import RequestReader
from shoal.proto.slots import key_slot, slot_range
from shoal.worker.aof import Segment
from shoal.worker.broker import TRACKING
from shoal.worker.client import Client
from shoal.worker.commands import load_all
from shoal.worker.dispatch import Dispatcher
from shoal.worker.keyspace import Store
from shoal.worker.loop import HEAD_WAIT_NS, Loop
from shoal.worker.peers import Peer, Uplink
from shoal.worker.server import Server
from shoal.worker.tracking import INVALIDATED, REMEMBER

load_all()

NOBODY = cast(Any, None)
WORKERS = 3
KEYS = [
    next(b"k%d" % n for n in range(1000) if key_slot(b"k%d" % n) in slot_range(worker, WORKERS))
    for worker in range(WORKERS)
]


class Disk:
    """Takes everything and syncs nothing while `broken`."""

    def __init__(self) -> None:
        self.broken = False

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        return len(data)

    def fdatasync(self, fd: int) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")

    def close(self, fd: int) -> None:
        pass


class Syncer:
    """None is needed under always."""

    def close(self) -> None:
        pass


class World:
    """The loop of worker 0, and the far ends of its pipes."""

    def __init__(self) -> None:
        self.store = Store(slot_range(0, WORKERS), 16, Random(1))
        self.server = Server(0, WORKERS, Config(), self.store, NOBODY, 1)
        self.disk = Disk()
        self.segment = Segment(cast(Any, self.disk), 9, 0, "always", cast(Any, Syncer()))
        self.server.segment = self.segment
        self.store.log = self.segment.log
        self.peers: list[Peer | None] = [None]
        self.far: list[tuple[int, int]] = [(-1, -1)]
        for worker in (1, 2):
            ours, theirs = self._pipes()
            self.peers.append(Peer(worker, *ours))
            self.far.append(theirs)
        ours, self.supervisor = self._pipes()
        self.uplink = Uplink(*ours)
        self.channel, self.far_channel = socket.socketpair()
        self.channel.setblocking(False)
        self.page = memoryview(bytearray(8 * COUNTER_STRIDE * WORKERS)).cast("Q")
        self.dispatcher = Dispatcher(self.server, self.peers, self.uplink, lambda: 0)
        self.dispatcher.start(self.segment.release, {})
        self.participant = self.dispatcher.participant
        self.loop = Loop(
            self.server,
            self.dispatcher,
            self.peers,
            self.uplink,
            self.channel,
            self.page,
            lambda ns: ns // 1_000_000,
        )
        self.heard: list[tuple[Any, ...]] = []
        self.loop.on_message = self.heard.append
        self.loop.on_disk = lambda text: None
        self.loop.cron = lambda now_ms: False
        self.loop.serve()
        self.clients: list[socket.socket] = []

    @staticmethod
    def _pipes() -> tuple[tuple[int, int], tuple[int, int]]:
        there, back = os.pipe2(os.O_NONBLOCK), os.pipe2(os.O_NONBLOCK)
        return (back[0], there[1]), (there[0], back[1])

    def peer(self, worker: int) -> Peer:
        peer = self.peers[worker]
        assert peer is not None
        return peer

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(30)
        client = Client(self.server, len(self.clients) + 1, b"a", b"b", ours.fileno())
        self.loop.add_client(ours, client, RequestReader())
        self.clients.append(theirs)
        return theirs

    def say(self, worker: int, requests: Any, replies: Any = (), late: Any = ()) -> None:
        """Let a peer send a frame."""
        frame = encode_frame((1, 0, list(requests), list(replies), list(late), []))
        assert os.write(self.far[worker][1], frame) == len(frame)

    def told(self) -> list[Any]:
        """Return the DONEs that the supervisor has been sent."""
        frames = self._read(self.supervisor[0])
        return [message for frame in frames for message in frame[2] if message[0] == m.DONE]

    def frames(self, worker: int) -> list[Any]:
        """Return what a peer has been sent."""
        return self._read(self.far[worker][0])

    @staticmethod
    def _read(fd: int) -> list[Any]:
        try:
            data = os.read(fd, 1 << 20)
        except BlockingIOError:
            return []
        found = []
        while data:
            size = int.from_bytes(data[:4], "big")
            found.append(marshal.loads(data[4 : 4 + size]))
            data = data[4 + size :]
        return found

    def turn(self) -> None:
        self.loop.turn(0)

    def die(self, worker: int) -> None:
        """Close a peer's ends."""
        for fd in self.far[worker]:
            if fd >= 0:
                os.close(fd)
        self.far[worker] = (-1, -1)

    def close(self) -> None:
        for conn in list(self.loop._conns.values()):
            conn.close("end of the test")
        for client in self.clients:
            client.close()
        for worker in (1, 2):
            self.die(worker)
            self.peer(worker).close()
        for fd in self.supervisor:
            os.close(fd)
        self.uplink.close()
        self.channel.close()
        self.far_channel.close()
        self.loop._poller.close()
        self.loop._pipes.close()


@pytest.fixture
def world() -> Iterator[World]:
    found = World()
    yield found
    found.close()


CONTEXT = (0, 2)
OK = b"+OK\r\n"


def test_a_peers_end_does_not_take_the_other_frames_along(world: World) -> None:
    """Whatever order epoll names them in: the frames read after the end was found are run."""
    frame = encode_frame((1, 0, [(20, 1, b"x")]))
    os.write(world.supervisor[1], frame)
    world.die(1)
    world.say(2, [CONTEXT, [b"SET", KEYS[0], b"v"]])
    world.turn()
    assert [frame[3] for frame in world.frames(2)] == [[b"+OK\r\n"]]
    assert world.heard == [(20, 1, b"x")]

    world.die(2)
    os.write(world.supervisor[1], frame)
    world.turn()
    assert world.heard == [(20, 1, b"x")] * 2


def test_frames_of_the_dead_are_not_run(world: World) -> None:
    world.page[COUNTER_STRIDE] = 4
    frame = encode_frame((1, 5, [CONTEXT, [b"SET", KEYS[0], b"v"]], [], [], []))
    os.write(world.far[1][1], frame)  # not announced
    world.turn()
    world.die(1)
    world.turn()
    world.page[COUNTER_STRIDE] = 5
    world.turn()
    assert world.store.database(0).size == 0


def test_bytes_for_the_dead_do_not_hold_up_what_is_announced(world: World) -> None:
    """Its pipe was full when it died; nobody will ever take the rest."""
    world.peer(1).send((1, 0, [], [b"x" * (1 << 20)], []))
    world.loop._wait_for_room(world.peer(1))
    assert world.peer(1).outbox_bytes
    os.close(world.far[1][1])  # its writing end alone: of the reading end there may be a copy
    world.far[1] = (world.far[1][0], -1)
    world.turn()
    client = world.connect()
    client.sendall(b"SET %b 1\r\nSET %b 2\r\n" % (KEYS[1], KEYS[2]))
    world.turn()
    assert world.page[0] == 1
    world.turn()
    assert world.loop._poller.poll(0) == []  # and nobody is told again and again
    assert world.loop._writers == set()


def test_replies_are_held_until_the_log_is_durable(world: World) -> None:
    writer = world.connect()
    world.disk.broken = True
    writer.sendall(b"SET %b 1\r\n" % KEYS[0])
    world.say(1, [CONTEXT, [b"APPEND", KEYS[0], b"x"], [b"GET", KEYS[0]]])
    world.turn()
    world.turn()
    writer.setblocking(False)
    with pytest.raises(BlockingIOError):
        writer.recv(100)
    writer.settimeout(30)
    (frame,) = world.frames(1)
    handles = frame[3]
    assert all(isinstance(handle, int) and handle < 0 for handle in handles)

    writer.sendall(b"PING\r\n" * 100)  # does not pile up behind what is held
    world.turn()
    (conn,) = [conn for conn in world.loop._conns.values() if conn.client.id == 1]
    assert len(conn.out) == 1

    world.disk.broken = False
    world.segment._retry_at_ms = 0
    world.turn()
    world.turn()
    assert writer.recv(5) == b"+OK\r\n"
    assert writer.recv(700, socket.MSG_WAITALL) == b"+PONG\r\n" * 100
    late = [pair for frame in world.frames(1) for pair in frame[4]]
    assert [handle for handle, _ in late] == handles


def test_reads_and_refusals_go_on_while_the_disk_fails(world: World) -> None:
    world.loop.on_disk = world.dispatcher.set_disk_error
    writer, other = world.connect(), world.connect()
    world.disk.broken = True
    writer.sendall(b"SET %b 1\r\n" % KEYS[0])
    world.turn()
    writer.sendall(b"SET %b 2\r\n" % KEYS[0])
    other.sendall(b"SET %b 2\r\nGET %b\r\n" % (KEYS[0], KEYS[0]))
    set_, get = [b"SET", KEYS[0], b"2"], [b"GET", KEYS[0]]
    world.say(1, [CONTEXT, set_, get, set_])
    world.turn()
    refusal = b"-MISCONF Errors writing to the AOF file: Input/output error\r\n"
    assert other.recv(200) == refusal + b"$1\r\n1\r\n"
    ((*_, replies, _, _),) = world.frames(1)
    assert replies == [refusal, b"$1\r\n1\r\n", refusal]
    writer.setblocking(False)
    with pytest.raises(BlockingIOError):
        writer.recv(100)
    writer.settimeout(30)

    world.disk.broken = False
    world.segment._retry_at_ms = 0
    for _ in range(3):
        world.turn()
    assert writer.recv(5) == OK
    assert writer.recv(100) == OK  # it waited, and was run when the disk was back


def test_a_logged_part_is_held_while_the_disk_fails_and_a_read_is_not(world: World) -> None:
    world.loop.on_disk = world.dispatcher.set_disk_error
    writer = world.connect()
    world.disk.broken = True
    writer.sendall(b"SET %b 1\r\n" % KEYS[0])
    world.turn()

    def part(ticket: int, argv: list[bytes], write: bool) -> None:
        blob = marshal.dumps((0, (KEYS[0],), write, argv, 2, 0), 2)
        done = world.participant.on_lock(ticket, world.dispatcher.decode_part(blob), (0, 1), m.RUN)
        world.uplink.messages += [(m.DONE, number, reply) for number, reply in done]
        world.participant.on_release(ticket)

    part(1, [b"EXISTS", KEYS[0]], False)
    part(2, [b"MSET", KEYS[0], b"2"], True)
    world.turn()
    assert world.told() == [(m.DONE, 1, b":1\r\n")]
    world.disk.broken = False
    world.segment._retry_at_ms = 0
    for _ in range(2):
        world.turn()
    assert world.told() == [(m.DONE, 2, OK)]


def test_no_invalidation_overtakes_a_held_reply(world: World) -> None:
    world.disk.broken = True
    world.say(2, [(TRACKING, 0, (True, ()))])
    tracks = (CONTEXT, (2, 7, REMEMBER))
    world.say(2, [tracks, [b"GET", KEYS[0]], CONTEXT, [b"SET", KEYS[0], b"1"]])
    world.turn()
    (frame,) = world.frames(2)
    assert all(isinstance(reply, int) for reply in frame[3])
    assert frame[5] == []
    world.say(2, [tracks, [b"GET", KEYS[0]]])
    world.turn()
    world.store.view(0).delete(KEYS[0])  # as expiry does, which goes on
    world.turn()
    assert not any(frame[5] for frame in world.frames(2))

    world.disk.broken = False
    world.segment._retry_at_ms = 0
    world.turn()
    world.turn()
    (frame,) = [frame for frame in world.frames(2) if frame[4]]
    assert [reply for _, reply in frame[4]] == [b"$-1\r\n", OK]
    assert frame[5] == [((KEYS[0], (7,)), INVALIDATED)] * 2


def test_what_waits_for_a_lock_is_not_given_a_second_handle(world: World) -> None:
    blob = marshal.dumps((0, (KEYS[0],), True, [b"DEL", KEYS[0]], 2, 0), 2)
    part = world.dispatcher.decode_part(blob)
    world.participant.on_lock(1, part, (0, 1), m.RELOCK)
    world.disk.broken = True
    other = next(b"x%d" % n for n in range(1000) if key_slot(b"x%d" % n) in world.store.slots)
    world.say(1, [CONTEXT, [b"SET", KEYS[0], b"1"], [b"SET", other, b"1"]])
    world.turn()
    (frame,) = world.frames(1)
    waiting, held = frame[3]
    assert (waiting, held) == (1, -1)
    world.participant.on_release(1)
    world.disk.broken = False
    world.segment._retry_at_ms = 0
    world.turn()
    late = dict(pair for frame in world.frames(1) for pair in frame[4])
    assert late == {1: b"+OK\r\n", -1: b"+OK\r\n"}


def test_held_replies_to_the_dead_are_forgotten(world: World) -> None:
    world.disk.broken = True
    world.say(1, [CONTEXT, [b"SET", KEYS[0], b"1"]])
    world.turn()
    world.die(1)
    world.turn()
    assert world.loop._held_late == []


def test_replies_are_sent_while_a_later_one_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that itself came too late for the first look."""
    now = [0]
    monkeypatch.setattr("shoal.worker.loop.time.monotonic_ns", lambda: now[0])
    client = world.connect()
    client.sendall(b"GET %b\r\nGET %b\r\n" % (KEYS[1], KEYS[2]))
    world.turn()
    now[0] += HEAD_WAIT_NS
    world.turn()  # there is no head yet
    now[0] += HEAD_WAIT_NS // 2
    world.say(1, [], [b"+1\r\n"])
    world.turn()
    now[0] += HEAD_WAIT_NS
    world.turn()
    assert client.recv(100) == b"+1\r\n"
    world.say(2, [], [b"+2\r\n"])
    world.turn()
    assert client.recv(100) == b"+2\r\n"
    world.turn()
    assert not world.loop._heads


def test_the_end_of_a_pause_is_no_busy_wait(world: World) -> None:
    world.server.on_pause_changed = world.dispatcher.pause_changed
    world.loop._cron_due_ms = 1 << 60
    world.server.set_pause(1, False)  # over since 1970
    assert world.loop._timeout_s() == 0
    world.turn()
    assert world.server.pause.until_ms == 0


# -- what a client sends while its earlier commands are under way ----------------------------------


def get_of(key: bytes) -> bytes:
    return b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key)


def answer_span(world: World) -> None:
    """Let the coordinator answer the MSET that worker 0 has asked for."""
    data = os.read(world.supervisor[0], 1 << 20)
    _, _, messages = marshal.loads(data[4:])
    ((kind, ref, parts, write, steps),) = messages
    assert (kind, sorted(parts), write, steps) == (m.SPAN, [0, 1], True, ())
    world.loop.on_message = lambda message: world.dispatcher.on_answer(*message[1:])
    replies = dict.fromkeys(parts, OK)
    os.write(world.supervisor[1], encode_frame((1, 0, [(m.ANSWER, ref, replies)])))


def test_input_of_the_turn_that_unblocks_comes_behind_what_is_parked(world: World) -> None:
    client = world.connect()
    client.sendall(b"MSET %b 1 %b 1\r\nAPPEND %b b\r\n" % (KEYS[0], KEYS[1], KEYS[0]))
    world.turn()
    client.sendall(b"APPEND %b c\r\n" % KEYS[0])
    world.turn()
    answer_span(world)
    client.sendall(b"APPEND %b d\r\nGET %b\r\n" % (KEYS[0], KEYS[0]))
    world.turn()
    assert client.recv(100) == OK + b":1\r\n:2\r\n:3\r\n$3\r\nbcd\r\n"
    assert not world.dispatcher.resumable


def test_parked_input_goes_on_without_more_input_and_nobody_else_waits(world: World) -> None:
    client, other = world.connect(), world.connect()
    client.sendall(b"MSET %b 1 %b 1\r\n" % (KEYS[0], KEYS[1]))
    world.turn()
    incr = b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
    name = next(b"%d" % n for n in range(10) if key_slot(b"%d" % n) in world.store.slots)
    incr = incr.replace(b"$1\r\nn", b"$1\r\n%b" % name)
    count = 8 * CLIENT_READ_BYTES // len(incr)
    view = memoryview(incr * count)
    client.setblocking(False)
    (conn,) = [conn for conn in world.loop._conns.values() if conn.blocked]
    while view or conn._parked_bytes < count * len(incr):
        with suppress(BlockingIOError):
            view = view[client.send(view) :]
        world.turn()
    answer_span(world)
    turns = 0
    while world.dispatcher.resumable or not turns:
        other.sendall(b"PING\r\n")
        world.turn()
        turns += 1
        assert other.recv(100) == b"+PONG\r\n"
        assert (world.loop._timeout_s() == 0) == bool(world.dispatcher.resumable)
        with suppress(BlockingIOError):
            client.recv(1 << 20)
    assert turns >= 8
    assert world.store.view(0).lookup_read(name) == b"%d" % count


def test_who_sends_all_before_he_reads_comes_to_the_end(world: World) -> None:
    """Its replies, several times as large, are made as it reads; its input is all that is kept."""
    key = KEYS[0]
    world.store.view(0).set(key, b"x" * 4000)
    client = world.connect()
    count = 20_000
    request = get_of(key)
    reply = b"$4000\r\n%b\r\n" % (b"x" * 4000)
    of_a_read = CLIENT_READ_BYTES // len(request) * len(reply)
    (conn,) = world.loop._conns.values()

    def turn() -> None:
        world.turn()
        assert conn.output_queue()[1] <= MAX_UNSENT_REPLY_BYTES + of_a_read

    client.setblocking(False)
    view = memoryview(request * count)
    while view:
        with suppress(BlockingIOError):
            view = view[client.send(view) :]
        turn()
    assert conn.query_bytes() > len(request) * count // 2
    got = bytearray()
    while len(got) < count * len(reply):
        with suppress(BlockingIOError):
            got += client.recv(1 << 20)
        turn()
    assert got == reply * count
    assert (conn.query_bytes(), int(conn.blocked), conn.output_queue()) == (0, 0, (0, 0))
