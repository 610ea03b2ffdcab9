"""The real turn of several workers, preempted at every system call by a seeded scheduler.

Real are `Loop`, `Dispatcher`, `Connection`, `Peer` and what they stand on; made are the system
calls (`support/machine.py`), and in front of each the scheduler may let another worker, or a
client, go first, and for as long as it likes. Each worker runs on a thread of its own, but only the
one that holds the baton moves, so a seed decides everything.

A client is a generator that yields pipelines (the number of one of its connections, and commands)
and is sent their replies; or a condition, until which it does nothing. Several connections of one
client stand for whatever lets one client know what another has seen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final, cast
from unittest.mock import patch

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
from shoal.worker.loop import Loop
from shoal.worker.peers import Peer, Uplink
from shoal.worker.server import Facts, Server
from support.machine import Epoll, Machine, Pipe, Socket

load_all()

Pipeline = list[list[bytes]]
Replies = list[Any]
Condition = Callable[[], bool]
Script = Generator[tuple[int, Pipeline] | Condition, Replies, None]

MAX_CHOICES: Final = 200_000  # of the scheduler in one run, which takes some thousand
CALLS: Final = ("poll", "read", "write", "recv", "send", "clock", "page")
SHORT_S: Final = 0.002  # who polls for less is looking again for something that is due


class _Over(BaseException):
    """The run has ended: unwind the worker's thread."""


class Actor:
    """A client: its script, its connections, and what it waits for."""

    def __init__(self, script: Script, endless: bool) -> None:
        self.endless = endless
        self.sockets: list[Socket] = []
        self.done = False
        self._script = script
        self._waits_on: Socket | None = None
        self._wanted = 0
        self._until: Condition | None = None

    @property
    def can_act(self) -> bool:
        if self.done or (self._until is not None and not self._until()):
            return False
        on = self._waits_on
        return on is None or len(on.replies) >= self._wanted

    def act(self) -> None:
        """Take the replies and send the next pipeline."""
        on = self._waits_on
        try:
            if on is None:
                wish = next(self._script)
            else:
                replies, on.replies = on.replies, []
                wish = self._script.send(replies)
        except StopIteration:
            self.done = True
            return
        if not isinstance(wish, tuple):
            self._until, self._wanted = wish, 0
            return
        self._until = None
        at, commands = wish
        self._waits_on = on = self.sockets[at]
        self._wanted = len(commands)
        on.received += b"".join(map(encode_command, commands))


class World(Machine):
    """One run: workers that share nothing but pipes and the page, and clients.

    Args:
        seed: decides everything.
        workers: how many.
        small_pipes: pipes take few bytes, so that frames wait in outboxes.
    """

    def __init__(self, seed: int, workers: int, *, small_pipes: bool = False) -> None:
        super().__init__(Random(seed))
        self.workers = workers
        self.failure: BaseException | None = None
        self._actors: list[Actor] = []
        self._threads: list[threading.Thread] = []
        self._batons = [threading.Semaphore(0) for _ in range(workers)]
        self._waits: list[tuple[Epoll, float] | None] = [None] * workers
        self._asleep: set[int] = set()
        self._drowsy = self.random.choice(CALLS)  # where workers like to fall asleep
        self._holder = -1  # of the baton; -1 before the first
        self._over = False
        self._ended = threading.Semaphore(0)
        self._choices = 0
        self._small_pipes = small_pipes
        with self._system():
            self._loops = self._make_workers()

    # -- setting up -------------------------------------------------------------------------------

    def _pipe(self) -> Pipe:
        if self._small_pipes:
            return self.new_pipe(self.random.choice((16, 64, 200)))
        return self.new_pipe()

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
            cast(Any, self.page),
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
            sock = self.new_socket()
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


class ClientsFirst(Loop):
    """A loop with a rule missing: clients' commands run before the peers' requests."""

    def _drain(self) -> None:
        pass  # as if nothing had come yet

    def _end_turn(self, started_ns: int) -> None:
        super()._drain()
        super()._end_turn(started_ns)


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
