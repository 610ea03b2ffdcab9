"""The real turn of several workers, preempted at every system call by a seeded scheduler.

Real are `Loop`, `Dispatcher`, `Connection`, `Peer` and what they stand on; made here are the system
calls (epoll, pipes, sockets, clocks, the page of counters), and in front of each the scheduler may
let another worker, or a client, go first, and for as long as it likes. Each worker runs on a thread
of its own, but only the one that holds the baton moves, so a seed decides everything.

The clock moves at every look.

A client is a generator that yields pipelines (the number of one of its connections, and commands)
and is sent their replies. Several connections of one client stand for whatever lets one client know
what another has seen.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final, cast
from unittest.mock import patch

import hiredis
from shoal.proto.aof_format import encode_command
from shoal.proto.directives import Config
from shoal.proto.resp_reader import RequestReader
from shoal.proto.slots import key_slot, owner_of, slot_range
from shoal.worker import loop as loop_module
from shoal.worker import peers as peers_module
from shoal.worker.client import Client
from shoal.worker.commands import load_all
from shoal.worker.dispatch import Dispatcher
from shoal.worker.keyspace import Store
from shoal.worker.loop import IN, OUT, Loop
from shoal.worker.peers import Peer, Uplink
from shoal.worker.server import Facts, Server

load_all()

Pipeline = list[list[bytes]]
Replies = list[Any]
Script = Generator[tuple[int, Pipeline], Replies, None]

MAX_CHOICES: Final = 200_000  # of the scheduler in one run, which takes some thousand
CALLS: Final = ("poll", "read", "write", "recv", "send", "clock", "page")
SHORT_S: Final = 0.002  # who polls for less is looking again for something that is due


class _Over(BaseException):
    """The run has ended: unwind the worker's thread."""


class Pipe:
    """One direction between two workers; the writer's end is `fd + 1`."""

    def __init__(self, fd: int, room: int) -> None:
        self.fd = fd
        self.room = room
        self.data = bytearray()


class Actor:
    """A client: its script, its connections, and what it waits for."""

    def __init__(self, script: Script, endless: bool) -> None:
        self.endless = endless
        self.sockets: list[Socket] = []
        self.done = False
        self._script = script
        self._waits_on: Socket | None = None
        self._wanted = 0

    @property
    def can_act(self) -> bool:
        on = self._waits_on
        return not self.done and (on is None or len(on.replies) >= self._wanted)

    def act(self) -> None:
        """Take the replies and send the next pipeline."""
        on = self._waits_on
        try:
            if on is None:
                at, commands = next(self._script)
            else:
                replies, on.replies = on.replies, []
                at, commands = self._script.send(replies)
        except StopIteration:
            self.done = True
            return
        self._waits_on = on = self.sockets[at]
        self._wanted = len(commands)
        on.received += b"".join(map(encode_command, commands))


class Socket:
    """A connection as its home has it."""

    def __init__(self, world: World, fd: int) -> None:
        self.world = world
        self.fd = fd
        self.received = bytearray()  # by the worker's end, not read yet
        self.replies: Replies = []
        self._parser = hiredis.Reader()

    def fileno(self) -> int:
        return self.fd

    def recv(self, size: int) -> bytes:
        self.world.point("recv")
        data = bytes(self.received[:size])
        if not data:
            raise BlockingIOError
        del self.received[:size]
        return data

    def send(self, data: bytes) -> int:
        self.world.point("send")
        self._parser.feed(bytes(data))
        while (reply := self._parser.gets()) is not False:
            self.replies.append(reply)
        return len(data)

    def close(self) -> None:
        raise AssertionError("a worker closed a connection")


class Epoll:
    """A set of descriptors, asked by the thread of one worker."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fd = world.new_fd()
        self.masks: dict[int, int] = {}
        world.epolls[self.fd] = self

    def fileno(self) -> int:
        return self.fd

    def register(self, fd: int, mask: int) -> None:
        assert fd not in self.masks
        self.masks[fd] = mask

    def modify(self, fd: int, mask: int) -> None:
        assert fd in self.masks
        self.masks[fd] = mask

    def unregister(self, fd: int) -> None:
        del self.masks[fd]

    def ready(self) -> list[tuple[int, int]]:
        status = self.world.status
        return [(fd, mask & status(fd)) for fd, mask in self.masks.items() if mask & status(fd)]

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        world = self.world
        if timeout_s:
            world.wait(self, timeout_s)
        else:
            world.point("poll")
        events = self.ready()
        world.random.shuffle(events)
        return events


class Page:
    """The shared page of counters; the scheduler may come in before each access."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.counters: dict[int, int] = {}

    def __getitem__(self, at: int) -> int:
        self.world.point("page")
        return self.counters.get(at, 0)

    def __setitem__(self, at: int, value: int) -> None:
        self.world.point("page")
        assert value >= self.counters.get(at, 0)
        self.counters[at] = value


class World:
    """One run: workers that share nothing but pipes and the page, and clients.

    Args:
        seed: decides everything.
        workers: how many.
        small_pipes: pipes take few bytes, so that frames wait in outboxes.
    """

    def __init__(self, seed: int, workers: int, *, small_pipes: bool = False) -> None:
        self.random = Random(seed)
        self.workers = workers
        self.now_ns = 1_000_000_000_000
        self.epolls: dict[int, Epoll] = {}
        self.failure: BaseException | None = None
        self._last_fd = 2
        self._pipes: dict[int, Pipe] = {}  # by both ends
        self._sockets: dict[int, Socket] = {}
        self._actors: list[Actor] = []
        self._threads: list[threading.Thread] = []
        self._batons = [threading.Semaphore(0) for _ in range(workers)]
        self._waits: list[tuple[Epoll, float] | None] = [None] * workers
        self._asleep: set[int] = set()
        self._drowsy = self.random.choice(CALLS)  # where workers like to fall asleep
        self._holder = -1  # of the baton; -1 before the first
        self._over = False
        self._ended = threading.Semaphore(0)
        self._page = Page(self)
        self._choices = 0
        self._small_pipes = small_pipes
        with self._system():
            self._loops = self._make_workers()

    # -- setting up -------------------------------------------------------------------------------

    def new_fd(self) -> int:
        self._last_fd += 1
        return self._last_fd

    def _pipe(self) -> Pipe:
        room = self.random.choice((16, 64, 200)) if self._small_pipes else 1 << 16
        pipe = Pipe(self.new_fd(), room)
        self.new_fd()
        self._pipes[pipe.fd] = self._pipes[pipe.fd + 1] = pipe
        return pipe

    def _make_workers(self) -> list[Loop]:
        count = self.workers
        pipes = {
            (one, other): self._pipe()
            for one in range(count)
            for other in range(count)
            if one != other
        }
        loops = []
        for index in range(count):
            peers = [
                None
                if other == index
                else Peer(other, pipes[other, index].fd, pipes[index, other].fd + 1)
                for other in range(count)
            ]
            loops.append(self._make_worker(index, peers))
        return loops

    def _make_worker(self, index: int, peers: list[Peer | None]) -> Loop:
        uplink = Uplink(self._pipe().fd, self._pipe().fd + 1)
        store = Store(slot_range(index, self.workers), 1, Random(index))
        facts = Facts("0" * 40, 1, 0, "", "", "", 0, [])
        server = Server(index, self.workers, Config(), store, facts, index + 1)
        dispatcher = Dispatcher(server, peers, uplink, lambda: self.now_ns)
        dispatcher.start(_nothing, {})
        channel = Socket(self, self.new_fd())
        loop = Loop(
            server,
            dispatcher,
            peers,
            uplink,
            cast(Any, channel),
            cast(Any, self._page),
            lambda now_ns: now_ns // 1_000_000,
        )
        loop.on_message = _unexpected
        loop.cron = _nothing_more
        loop.serve()
        return loop

    def connect(self, script: Script, *homes: int, endless: bool = False) -> None:
        """Let a client run a script, with a connection to each of the homes.

        The run ends when all scripts have, but for the endless ones.
        """
        actor = Actor(script, endless)
        self._actors.append(actor)
        for home in homes:
            sock = Socket(self, self.new_fd())
            self._sockets[sock.fd] = sock
            actor.sockets.append(sock)
            loop = self._loops[home]
            client = Client(loop._server, sock.fd, b"127.0.0.1:1", b"127.0.0.1:2", sock.fd)
            loop.add_client(cast(Any, sock), client, RequestReader())

    @contextmanager
    def _system(self) -> Iterator[None]:
        """Put this world's system calls under the modules that make them."""
        with (
            patch.object(loop_module, "select", self),
            patch.object(loop_module, "time", self),
            patch.object(peers_module, "os", self),
        ):
            yield

    def run(self) -> None:
        """Run until all scripts have ended. Raises: what a script or a worker raised."""
        with self._system():
            for index in range(self.workers):
                thread = threading.Thread(target=self._work, args=(index,), name=f"worker {index}")
                self._threads.append(thread)
                thread.start()
            self._hand_on()
            self._ended.acquire()
            for index, thread in enumerate(self._threads):
                self._batons[index].release()
                thread.join()
        if self.failure is not None:
            raise self.failure

    def _work(self, index: int) -> None:
        loop = self._loops[index]
        try:
            self._batons[index].acquire()
            while not self._over:
                loop.turn(loop._timeout_s())
        except _Over:
            pass
        except BaseException as error:
            self._end(error)

    def _end(self, failure: BaseException | None) -> None:
        if not self._over:
            self._over = True
            self.failure = failure
            self._ended.release()

    # -- the scheduler ----------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the workers take turns; the world may still be in the making."""
        return self._holder >= 0

    def point(self, call: str) -> None:
        """Let somebody else go first, or not."""
        if not self.running:
            return
        if self._over:
            raise _Over
        me = self._holder
        if self.random.random() < (0.2 if call == self._drowsy else 0.003):
            self._asleep.add(me)
        if self._hand_on():
            self._batons[me].acquire()
        if self._over:
            raise _Over

    def wait(self, epoll: Epoll, timeout_s: float) -> None:
        """Be no candidate until the epoll has something, or time has passed."""
        me = self._holder
        self._waits[me] = epoll, timeout_s
        self.point("poll")
        self._waits[me] = None

    def _hand_on(self) -> bool:
        """Let clients act, choose the worker that moves next; tell whether it is another one."""
        me = self._holder
        try:
            chosen = self._choose()
        except BaseException as error:
            self._end(error)
            return False
        if chosen < 0:
            self._end(None)
            return False
        if chosen == me:
            return False
        self._holder = chosen  # from the next line on it may hand on itself
        self._batons[chosen].release()
        return True

    def _choose(self) -> int:
        """Return the worker that moves next, -1 when all scripts have ended.

        A worker may fall asleep at any call, and for long: all that others can do is done before.
        """
        random = self.random
        if self._asleep and random.random() < 0.003:
            self._asleep.clear()
        while True:
            self._choices += 1
            if self._choices > MAX_CHOICES:
                raise AssertionError("the run does not end")
            if all(actor.done or actor.endless for actor in self._actors):
                return -1
            clients = [actor for actor in self._actors if actor.can_act]
            able = [index for index in range(self.workers) if self._able(index)]
            awake = [index for index in able if index not in self._asleep]
            if clients and (not awake or random.random() < 0.3):
                random.choice(clients).act()
            elif awake:
                return random.choice(awake)
            elif able:
                self._asleep.clear()
            else:  # everybody waits for time to pass
                self.now_ns += 5_000_000
                return random.randrange(self.workers)

    def _able(self, index: int) -> bool:
        """Tell whether a worker would not just wait on."""
        wait = self._waits[index]
        if wait is None or wait[0].ready():
            return True
        return wait[1] < SHORT_S and self.random.random() < 0.1

    # -- the system calls, under the names of select, time and os ---------------------------------

    def status(self, fd: int) -> int:
        """Return the events of a descriptor."""
        pipe = self._pipes.get(fd)
        if pipe is not None:
            if fd == pipe.fd:
                return IN if pipe.data else 0
            return OUT if len(pipe.data) < pipe.room else 0
        sock = self._sockets.get(fd)
        if sock is not None:
            return (IN if sock.received else 0) | OUT
        epoll = self.epolls.get(fd)
        return IN if epoll is not None and epoll.ready() else 0

    def epoll(self) -> Epoll:
        return Epoll(self)

    def monotonic_ns(self) -> int:
        self.point("clock")
        self.now_ns += self.random.randint(1, 2000)
        return self.now_ns

    def time_ns(self) -> int:
        return self.now_ns

    def time(self) -> float:
        return self.now_ns / 1e9

    def read(self, fd: int, size: int) -> bytes:
        self.point("read")
        pipe = self._pipes[fd]
        data = bytes(pipe.data[:size])
        if not data:
            raise BlockingIOError
        del pipe.data[:size]
        return data

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self.point("write")
        pipe = self._pipes[fd]
        taken = min(len(data), pipe.room - len(pipe.data))
        if not taken:
            raise BlockingIOError
        pipe.data += data[:taken]
        return taken

    def close(self, fd: int) -> None:
        raise AssertionError("a worker closed a pipe")


class RepliesFirst(Loop):
    """A loop with a rule missing: replies to clients go out before frames (docs/partitions.md)."""

    _ending = False

    def _end_turn(self, started_ns: int) -> None:
        self._ending = True
        super()._end_turn(started_ns)
        self._ending = False
        self._send_frames()

    def _send_frames(self) -> None:
        if not self._ending:
            super()._send_frames()


def key_of(worker: int, workers: int, prefix: str = "k") -> bytes:
    """Return a key that a worker owns."""
    names = (f"{prefix}{number}".encode() for number in range(10_000))
    return next(name for name in names if owner_of(key_slot(name), workers) == worker)


def _nothing(_: int) -> None:
    pass


def _nothing_more(_: int) -> bool:
    return False


def _unexpected(message: object) -> None:
    raise AssertionError(f"from the supervisor: {message}")
