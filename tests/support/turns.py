"""The real turn of several workers, preempted at every system call by a seeded scheduler.

Real are `Loop`, `Dispatcher`, `Connection`, `Peer` and what they stand on; made here are the system
calls (epoll, pipes, sockets, clocks, the page of counters), and in front of each the scheduler may
let another worker, or a client, go first, and for as long as it likes. Each worker runs on a thread
of its own, but only the one that holds the baton moves, so a seed decides everything.

Pipes take few bytes in some runs, so that frames wait in outboxes; the clock moves at every look.

Clients know nothing of workers: a client is a generator that yields pipelines (lists of commands)
and is sent their replies.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final, cast
from unittest.mock import patch

import hiredis
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
from shoal.worker.participant import Participant
from shoal.worker.peers import Peer, Uplink
from shoal.worker.server import Facts, Server

load_all()

Pipeline = list[list[bytes]]
Replies = list[Any]
Script = Generator[Pipeline, Replies, None]

MAX_CHOICES: Final = 200_000  # of the scheduler in one run, which takes some thousand
SHORT_S: Final = 0.002  # who polls for less is looking again for something that is due


class _Over(BaseException):
    """The run has ended: unwind the worker's thread."""


class Pipe:
    """One direction between two workers; the writer's end is `fd + 1`."""

    def __init__(self, fd: int, room: int) -> None:
        self.fd = fd
        self.room = room
        self.data = bytearray()


class Socket:
    """A client's connection as its home has it, and the client at the other end."""

    def __init__(self, world: World, fd: int, home: int, script: Script) -> None:
        self.world = world
        self.fd = fd
        self.home = home
        self.received = bytearray()  # by the worker, not read yet
        self.done = False
        self._script = script
        self._parser = hiredis.Reader()
        self._wanted = 0
        self._replies: Replies = []
        self._begun = False

    # What the client does.

    @property
    def can_act(self) -> bool:
        return not self.done and len(self._replies) >= self._wanted

    def act(self) -> None:
        """Take the replies and send the next pipeline."""
        replies, self._replies = self._replies, []
        try:
            commands = self._script.send(replies) if self._begun else next(self._script)
        except StopIteration:
            self.done = True
            return
        self._begun = True
        self._wanted = len(commands)
        self.received += b"".join(hiredis.pack_command(tuple(argv)) for argv in commands)

    # What the worker calls.

    def fileno(self) -> int:
        return self.fd

    def recv(self, size: int) -> bytes:
        self.world.point()
        data = bytes(self.received[:size])
        if not data:
            raise BlockingIOError
        del self.received[:size]
        return data

    def send(self, data: bytes) -> int:
        self.world.point()
        self._parser.feed(bytes(data))
        while (reply := self._parser.gets()) is not False:
            self._replies.append(reply)
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
            world.point()
        events = self.ready()
        world.random.shuffle(events)
        return events


class Page:
    """The shared page of counters; the scheduler may come in before each access."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.counters: dict[int, int] = {}

    def __getitem__(self, at: int) -> int:
        self.world.point()
        return self.counters.get(at, 0)

    def __setitem__(self, at: int, value: int) -> None:
        self.world.point()
        assert value >= self.counters.get(at, 0)
        self.counters[at] = value


class World:
    """One run: workers that share nothing but pipes and the page, and clients.

    Args:
        seed: decides everything.
        workers: how many.
    """

    def __init__(self, seed: int, workers: int) -> None:
        self.random = Random(seed)
        self.workers = workers
        self.now_ns = 1_000_000_000_000
        self.epolls: dict[int, Epoll] = {}
        self.failure: BaseException | None = None
        self._last_fd = 2
        self._pipes: dict[int, Pipe] = {}  # by both ends
        self._sockets: dict[int, Socket] = {}
        self._threads: list[threading.Thread] = []
        self._batons = [threading.Semaphore(0) for _ in range(workers)]
        self._waits: list[tuple[Epoll, float] | None] = [None] * workers
        self._speeds = [1.0] * workers
        self._holder = -1  # whose turn it is; -1 before the first
        self._over = False
        self._ended = threading.Semaphore(0)
        self._page = Page(self)
        self._choices = 0
        self._small_pipes = self.random.random() < 0.3
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
        dispatcher.participant = Participant(dispatcher.execute_part, store.gate, _nothing)
        channel = Socket(self, self.new_fd(), index, _silent())
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

    def connect(self, home: int, script: Script) -> None:
        """Let a client run a script on a connection to a worker."""
        sock = Socket(self, self.new_fd(), home, script)
        self._sockets[sock.fd] = sock
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
            self._guarded(self._hand_on)
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

    def point(self) -> None:
        """Let somebody else go first, or not."""
        if self._holder < 0:
            return  # the world is being made
        if self._over:
            raise _Over
        me = self._holder
        self._guarded(self._hand_on)
        if self._holder != me:
            self._batons[me].acquire()
        if self._over:
            raise _Over

    def wait(self, epoll: Epoll, timeout_s: float) -> None:
        """Be no candidate until the epoll has something, or time has passed."""
        me = self._holder
        self._waits[me] = epoll, timeout_s
        self.point()
        self._waits[me] = None

    def _guarded(self, step: Any) -> None:
        try:
            step()
        except BaseException as error:
            self._end(error)

    def _hand_on(self) -> None:
        """Let clients act, and choose the worker that moves next."""
        before = self._holder
        chosen = self._choose()
        if chosen < 0:
            self._end(None)
        elif chosen != before:
            self._holder = chosen
            self._batons[chosen].release()

    def _choose(self) -> int:
        random = self.random
        if random.random() < 0.02:
            self._speeds[random.randrange(self.workers)] = random.choice((1.0, 1.0, 0.1, 0.005))
        while True:
            self._choices += 1
            if self._choices > MAX_CHOICES:
                raise AssertionError("the run does not end")
            clients = [sock for sock in self._sockets.values() if sock.can_act]
            if clients and random.random() < 0.3:
                random.choice(clients).act()
                continue
            weights = [self._weight(index) for index in range(self.workers)]
            if any(weights):
                return random.choices(range(self.workers), weights)[0]
            if clients:
                random.choice(clients).act()
            elif all(sock.done for sock in self._sockets.values()):
                return -1
            else:  # everybody waits for time to pass
                self.now_ns += 5_000_000
                return random.randrange(self.workers)

    def _weight(self, index: int) -> float:
        wait = self._waits[index]
        if wait is None or wait[0].ready():
            return self._speeds[index]
        return self._speeds[index] * 0.05 if wait[1] < SHORT_S else 0.0

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
        self.point()
        self.now_ns += self.random.randint(1, 2000)
        return self.now_ns

    def time_ns(self) -> int:
        return self.now_ns

    def time(self) -> float:
        return self.now_ns / 1e9

    def read(self, fd: int, size: int) -> bytes:
        self.point()
        pipe = self._pipes[fd]
        data = bytes(pipe.data[:size])
        if not data:
            raise BlockingIOError
        del pipe.data[:size]
        return data

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self.point()
        pipe = self._pipes[fd]
        taken = min(len(data), pipe.room - len(pipe.data))
        if not taken:
            raise BlockingIOError
        pipe.data += data[:taken]
        return taken

    def close(self, fd: int) -> None:
        raise AssertionError("a worker closed a pipe")


def key_of(worker: int, workers: int, prefix: str = "k") -> bytes:
    """Return a key that a worker owns."""
    names = (f"{prefix}{number}".encode() for number in range(10_000))
    return next(name for name in names if owner_of(key_slot(name), workers) == worker)


def _silent() -> Script:
    yield []


def _nothing(_: int) -> None:
    pass


def _nothing_more(_: int) -> bool:
    return False


def _unexpected(message: object) -> None:
    raise AssertionError(f"from the supervisor: {message}")
