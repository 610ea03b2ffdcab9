"""A whole Shoal in one process under a seeded scheduler: workers, coordinator, clients, faults.

Real are the workers (`worker/main.py`: loop, dispatcher, locks, borrowing, blocking, WATCH,
scripts, segment of the log), the coordinator, and what a start makes of the logs (`recovery.decide`
and `decide_live`). Made are the machine under them (`support/machine.py`), a disk that forgets what
was not synced (`support/disk.py`), and a supervisor that is as small as it can be. What happens:

- Channels are FIFO, and delayed against each other; some are slow for a whole run.
- A worker takes turns; it dies in front of any system call of one. Its memory is gone, what it had
  written stays, what it had sent arrives, what was sent to it is lost.
- Its successor loads the log, and serves when it is told so.
- The server dies as a whole, its processes killed or the power lost, between turns or in one; then
  the segments keep what was synced and perhaps more, and all start again.
- Clients pipeline, block, lose their home, vanish with commands under way.
- Disks fail (writes refused, acknowledgements held back), deadlines pass (commands refused).

`Simulation(plan, seed).run()` returns the history, one epoch for each start of the server, or
raises `SimulationError`: when a command of a client that stayed has no outcome, or waits although
it could be served; when anything is left behind in a worker or the coordinator; when a log does not
lead to what is in memory, holds half of a command after a start, or breaks the rule that recovery
relies on (nothing that a ticket locks changes between its part and its `#REL`). `failure` also
checks whether the history is strictly serializable.
"""

from __future__ import annotations

import errno
import marshal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast
from unittest.mock import patch

import hiredis
from shoal.proto import messages as m
from shoal.proto.aof_format import Part as LoggedPart
from shoal.proto.aof_format import Release, SegmentReader, encode_command
from shoal.proto.directives import Config
from shoal.proto.manifest import Manifest, WorkerFiles, incr_name
from shoal.proto.pipes import Link
from shoal.proto.resp_reader import RequestReader
from shoal.proto.slots import key_slot, slot_range
from shoal.supervisor import recovery
from shoal.supervisor.coordinator import Coordinator
from shoal.supervisor.recovery import SegmentPlan
from shoal.supervisor.startup import wire_load
from shoal.supervisor.steps import Outgoing
from shoal.worker import aof
from shoal.worker import loop as loop_module
from shoal.worker import main as main_module
from shoal.worker import peers as peers_module
from shoal.worker.client import Client as ServedClient
from shoal.worker.keyspace import Store
from shoal.worker.loop import IN, Loop
from shoal.worker.registry import resolve
from shoal.worker.replay import Replayer
from shoal.worker.values import rebuild
from support.disk import FakeDisk, FakeSyncer
from support.linearizability import Operation, check
from support.machine import Epoll, Machine, Pipe, Socket
from support.mesh import ON_MESSAGE, coordinated
from support.simulated_plan import (
    BLOCKING,
    Plan,
    Words,
    all_keys,
    is_wide,
    keys_in,
    make_plan,
    owner,
)
from support.simulated_store import (
    DATABASES,
    EMPTY,
    READS,
    SCRIPTS,
    Command,
    Error,
    State,
    StoreModel,
)

MAX_STATES: Final = 4000  # of the search for an order; most runs need less than a hundred
MAX_STEPS: Final = 10_000  # a run takes about a thousand
TICK_NS: Final = 20_000_000  # so that everysec, postponed writes and retries happen within a run
QUIET_TICKS: Final = 60  # of 200 ms, after which nothing is expected to happen any more
DIRECTORY: Final = "/aof"
UNCERTAIN: Final = "worker that owns the key died"
# Errors that say that nothing was done.
REFUSALS: Final = frozenset({"TRYAGAIN", "LOADING", "MISCONF", "EXECABORT", "CROSSSLOT"})


class SimulationError(AssertionError):
    """The run ended, or stopped, in a state that must not be."""


class Epoch(NamedTuple):
    """What happened between two starts of the server."""

    initial: State
    operations: list[Operation]


class Died(BaseException):
    """The process is gone; no `except` of the code under test may swallow it."""


@dataclass(frozen=True)
class Variant:
    """What a run is made of; the tests of the tests replace one thing by a broken one.

    Attributes:
        coordinator: its class.
        patches: owner, name, and what stands there instead.
        trust_logs: do not look for broken rules in them.
        shuffle_locks: LOCKs overtake each other.
        serve_early: a worker serves as soon as it has loaded.
    """

    coordinator: type[Coordinator] = Coordinator
    patches: tuple[tuple[object, str, object], ...] = ()
    trust_logs: bool = False
    shuffle_locks: bool = False
    serve_early: bool = False


# -- what happened --------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Op:
    """One command of one client, and its outcome.

    Attributes:
        replies: how many it has.
        got: those that have come.
        outcome: then "answered", "refused" (it never ran) or "unknown".
    """

    client: int
    db: int
    words: Words
    after: list[Op]
    called: int
    replies: int
    returned: int = 0
    outcome: str = "none"
    reply: object = None

    def __str__(self) -> str:
        return f"client {self.client}: {Command(self.db, self.words)}"


@dataclass(slots=True, eq=False)
class Client:
    """A client: what it still wants to do, and its connection.

    Attributes:
        open: what it waits for, in order.
        watched: keys that it watches, None if it watches nothing; reads: what it has read of them.
    """

    number: int
    db: int
    todo: deque[tuple[Words, ...]]
    home: int | None = None
    sock: Socket | None = None
    open: deque[Op] = None  # type: ignore[assignment]
    watched: frozenset[bytes] | None = None
    reads: dict[bytes, object] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.open = deque()
        self.reads = {}


# -- the machine ---------------------------------------------------------------------------------


class Channel:
    """The supervisor's socketpair: messages with descriptors, from its side."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.queue: deque[tuple[bytes, list[int]]] = deque()

    def fileno(self) -> int:
        return self.fd

    def status(self) -> int:
        return IN if self.queue else 0


class SimulatedDisk(FakeDisk):
    """A disk whose calls a process may not survive."""

    machine: Simulation

    def _call(self, name: str, *, changes: bool = False) -> None:
        self.machine.point(name)
        super()._call(name, changes=changes)


class SimulatedLoop(Loop):
    """The loop, whose turns the simulation takes."""

    def run(self) -> None:
        pass


class Quiet:
    """A log that nobody reads."""

    level = 0

    def of_process(self, pid: int, role: str) -> Quiet:
        return self

    def write(self, *_: object) -> None:
        pass

    notice = warning = verbose = write


class Process:
    """One life of one worker."""

    def __init__(self, index: int, life: int, channel: Channel, syncer: FakeSyncer) -> None:
        self.index = index
        self.life = life
        self.channel = channel
        self.syncer = syncer
        self.worker: main_module.Worker
        self.fds: list[int] = []
        self.due_ns = 0

    @property
    def loop(self) -> Loop:
        return self.worker._loop

    @property
    def segment(self) -> Segment:
        segment = self.worker._segment
        assert isinstance(segment, Segment)
        return segment

    @property
    def poller(self) -> Epoll:
        return cast(Epoll, self.loop._poller)

    @property
    def may_die(self) -> bool:
        """Whether all that anybody may know of is in the file.

        A write that everysec postpones is acknowledged all the same; who loses such a worker loses
        it, as in Redis, and the history would show it. And while a failing disk holds replies back,
        reads may tell of what is not durable yet.
        """
        return self.segment.acked <= self.segment._written and not self.loop._holding


class Segment(aof.Segment):
    """A segment that knows how much of it was acknowledged."""

    acked = 0

    def flush(self, now_ms: int) -> bool:
        return self._note(super().flush(now_ms))

    def on_time(self, now_ms: int) -> bool:
        return self._note(super().on_time(now_ms))

    def _note(self, acknowledged: bool) -> bool:
        if acknowledged:
            self.acked = self._total
        return acknowledged


class Simulation(Machine):
    """One run of a plan; the seed decides what happens when."""

    def __init__(self, plan: Plan, seed: int, variant: Variant | None = None) -> None:
        super().__init__(Random(seed), delays=True)
        random = self.random
        self.plan = plan
        self.variant = variant or Variant()
        self.workers = plan.workers
        self.instant = 0  # logical: of the history
        self.disks = [self._new_disk(seed * 8 + index) for index in range(plan.workers)]
        self.manifest = self._new_manifest()
        self.config = Config()
        self.coordinator = self.variant.coordinator(plan.workers, 1)
        self.lives = [0] * plan.workers
        self.living: dict[int, Process] = {}
        self.unnoticed: set[int] = set()  # dead, and the supervisor does not know
        self.down: set[int] = set()  # dead, and it knows
        self.overdue: set[int] = set()
        self.serving: set[int] = set()
        self.links: dict[int, Link] = {}
        self.outboxes: dict[int, list[m.Message]] = {}
        self.logged: dict[int, Any] = {}
        self.first_start = True
        self.paces: dict[Pipe, float] = {}
        self.readers: dict[Pipe, int] = {}
        self.clients = [
            Client(number, client.db, deque(client.pipelines))
            for number, client in enumerate(plan.clients)
        ]
        self.ops: list[Op] = []
        self.homes: dict[Socket, Process] = {}
        self.epochs: list[Epoch] = []
        self.epoch_start = 0  # where in ops
        self.initial = EMPTY  # of the running epoch
        self.deaths_left = plan.deaths
        self.crashes_left = plan.crashes
        self.faults = True
        self.turning: Process | None = None
        self.fuse = 0  # calls until the process whose turn it is dies, 0: it does not
        self.fuse_is_crash = False
        self.events: list[str] = []  # what happened, for the eye
        self.next_client = 1
        self.random = random

    def _new_disk(self, seed: int) -> SimulatedDisk:
        disk = SimulatedDisk(seed)
        disk.machine = self
        return disk

    def _new_manifest(self) -> Manifest:
        files = []
        for index, disk in enumerate(self.disks):
            name = incr_name(index, 1)
            disk.put(f"{DIRECTORY}/{name}", b"")
            files.append(WorkerFiles((), None, (name,)))
        return Manifest(tuple(files), self.plan.policy)

    def tick(self) -> int:
        """Return the next logical time."""
        self.instant += 1
        return self.instant

    def note(self, text: str) -> None:
        """Keep what happened for who wants to follow a run."""
        self.events.append(f"{self.instant:5} {text}")

    # -- under the names of modules ---------------------------------------------------------------

    @contextmanager
    def _system(self) -> Iterator[None]:
        """Put this machine under the modules that make system calls."""
        random = self.random
        with ExitStack() as stack:
            for module, name, stand_in in (
                (loop_module, "select", self),
                (loop_module, "time", self),
                (loop_module, "socket", SimpleNamespace(recv_fds=self._recv_fds)),
                (peers_module, "os", self),
                (main_module, "time", self),
                (main_module, "os", SimpleNamespace(urandom=random.randbytes, getpid=_pid)),
                (main_module, "psutil", SimpleNamespace(Process=_Process)),
                (main_module, "Loop", SimulatedLoop),
                (main_module, "FIGURES_EVERY_MS", 1 << 60),
                (aof, "Segment", Segment),
                (aof, "SyncThread", FakeSyncer),
            ):
                stack.enter_context(patch.object(module, name, stand_in))
            for where, name, broken in self.variant.patches:
                stack.enter_context(patch.object(where, name, broken))
            yield

    def monotonic(self) -> float:
        return self.now_ns / 1e9

    def sleep(self, _: float) -> None:
        raise AssertionError("a worker sleeps")

    def _recv_fds(
        self, channel: Channel, size: int, count: int
    ) -> tuple[bytes, list[int], int, Any]:
        self.point("recv_fds")
        if not channel.queue:
            raise BlockingIOError
        return (*channel.queue.popleft(), 0, None)

    def point(self, call: str) -> None:
        """Let the process that calls die, if its time has come."""
        if self.fuse and self.turning is not None:
            self.fuse -= 1
            if not self.fuse:
                if self.fuse_is_crash or self.turning.may_die:
                    self.note(f"worker {self.turning.index} dies in front of {call}")
                    raise Died
                self.fuse = 1

    # -- the run ----------------------------------------------------------------------------------

    def run(self) -> list[Epoch]:
        """Run to the end and return the history. Raises: SimulationError."""
        with self._system():
            self.start_all()
            for _ in range(MAX_STEPS):
                if not any(client.todo for client in self.clients):
                    self.stop_faults()
                if self.faults and self.random.random() < 0.05:
                    self.fault()
                elif not self.step():
                    if not self.faults and self.is_quiet():
                        break
                    self.stop_faults()
            else:
                raise SimulationError(f"still busy after {MAX_STEPS} steps: {self.open_ops()}")
            self.check_waiting()
            state = self.state()
            for client in self.clients:
                self.hang_up(client)
            while self.step() or not self.is_quiet():
                pass
            self.check_idle()
            if state != self.state():
                raise SimulationError("clients that wait no more have changed something")
            if not self.variant.trust_logs:
                self.check_logs()
            self.end_epoch(state, self.all_logs())
        return self.epochs

    def is_quiet(self) -> bool:
        """Let time pass, and tell whether nothing came of it."""
        for _ in range(QUIET_TICKS):
            self.now_ns += 200_000_000
            for process in list(self.living.values()):
                self.turn(process)
            if any(pipe.on_way for pipe in self.paces) or not self.settled():
                return False
        return True

    def settled(self) -> bool:
        return not (
            self.unnoticed
            or self.down
            or any(client.todo and not client.open for client in self.clients)
            or any(self.is_restless(process) for process in self.living.values())
        )

    def open_ops(self) -> str:
        return "; ".join(str(op) for client in self.clients for op in client.open)

    # -- the scheduler ----------------------------------------------------------------------------

    def step(self) -> bool:
        """Do one thing out of those that can be done; False if there is none."""
        things: list[Callable[[], object]] = []
        weights: list[float] = []

        def add(weight: float, thing: Callable[..., object], *args: Any) -> None:
            things.append(lambda: thing(*args))
            weights.append(weight)

        for pipe, pace in self.paces.items():
            if pipe.on_way:
                add(pace, self.deliver, pipe)
        for client in self.clients:
            if client.todo and not client.open:
                add(0.3, self.act, client)
        for index in sorted(self.unnoticed):
            add(0.3, self.notice, index)
        for index in sorted(self.down):
            add(0.3, self.spawn, index)
        for process in self.living.values():
            if self.is_restless(process):
                add(0.3, self.turn, process)
        if not things:
            return False
        self.now_ns += TICK_NS
        self.random.choices(things, weights)[0]()
        return True

    def is_restless(self, process: Process) -> bool:
        """Tell whether a turn of a worker would do something."""
        return bool(process.poller.ready()) or (
            self.faults and self.now_ns >= process.due_ns and self.random.random() < 0.2
        )

    def deliver(self, pipe: Pipe) -> None:
        """Let what comes first in a pipe arrive, and perhaps what is in others for the same
        reader.
        """
        reader = self.readers[pipe]
        while True:
            pipe.data += pipe.on_way.popleft()
            if self.random.random() < 0.6:
                break
            more = [other for other in self.paces if other.on_way and self.readers[other] == reader]
            if not more:
                break
            pipe = self.random.choice(more)
        if reader == m.SUPERVISOR:
            self.supervise()
        elif reader in self.living and self.random.random() < 0.9:
            self.turn(self.living[reader])

    def turn(self, process: Process) -> None:
        """Let a worker take a turn, in which it may die."""
        random = self.random
        segment = process.segment
        if process.syncer.running is not None and random.random() < 0.3:
            process.syncer.finish()
        self.fuse = 0
        if self.faults:
            rate = self.plan.death_rate * (3 if segment.pieces or process.poller.ready() else 1)
            if self.deaths_left and random.random() < rate:
                self.fuse, self.fuse_is_crash = random.randint(1, 25), False
            elif self.crashes_left and random.random() < 0.003:
                self.fuse, self.fuse_is_crash = random.randint(1, 25), True
        self.turning = process
        try:
            process.loop.turn(0)
        except Died:
            self.turning = None
            self.hear()
            if self.fuse_is_crash:
                self.crash(power=random.random() < self.plan.power)
            else:
                self.die(process)
            return
        finally:
            self.turning = None
        self.fuse = 0
        process.due_ns = self.now_ns + int(process.loop._timeout_s() * 1e9)
        self.hear()

    # -- the supervisor ---------------------------------------------------------------------------

    def supervise(self) -> None:
        """Do what the workers have said, and send what comes of it."""
        for index, link in list(self.links.items()):
            self.listen(index, link)
        self.flush()

    def listen(self, index: int, link: Link) -> None:
        for _, _, messages in link.receive() or ():
            for message in messages:
                self.on_message(index, message)

    def on_message(self, index: int, message: m.Message) -> None:
        kind, *rest = message
        if kind == m.LOADED:
            self.let_serve(index)
        elif kind == m.FAILED:
            raise SimulationError(f"worker {index} could not load: {rest}")
        elif kind in ON_MESSAGE:
            self.emit(coordinated(self.coordinator, index, kind, rest))
        else:
            assert kind in (m.FIGURES, m.CLOSED), message

    def emit(self, outgoing: Outgoing) -> None:
        for receiver, message in outgoing:
            self.tell(receiver, message)

    def tell(self, index: int, message: m.Message) -> None:
        if index in self.outboxes:
            self.outboxes[index].append(message)

    def flush(self) -> None:
        for index, messages in self.outboxes.items():
            if messages:
                self.outboxes[index] = []
                if self.variant.shuffle_locks:
                    locks = [message for message in messages if message[0] == m.LOCK]
                    self.random.shuffle(locks)
                    messages = [locks.pop() if one[0] == m.LOCK else one for one in messages]
                self.links[index].send((self.now_ns, 0, messages))

    def notice(self, index: int) -> None:
        """Let the supervisor hear of a death, behind all that the worker had sent."""
        self.unnoticed.remove(index)
        link = self.links.pop(index)
        pipe = self.pipes[link.read_fd]
        pipe.data += b"".join(pipe.on_way)
        pipe.on_way.clear()
        while pipe.data:
            self.listen(index, link)
        link.close()
        del self.outboxes[index]
        self.down.add(index)
        self.serving.discard(index)
        self.overdue.discard(index)
        self.emit(self.coordinator.on_worker_lost(index))
        for other in self.living:
            self.tell(other, (m.PEER, index, m.DOWN, self.lives[index]))
        self.forget_pipes()
        self.flush()

    def forget_pipes(self) -> None:
        """Forget the pipes that nobody reads any more."""
        for pipe in [pipe for pipe in self.paces if not pipe.read]:
            del self.paces[pipe]
            del self.readers[pipe]

    def pipe_to(self, reader: int) -> Pipe:
        pipe = self.new_pipe(1 << 20)
        self.readers[pipe] = reader
        self.paces[pipe] = self.random.choice((1.0, 1.0, 0.3, self.plan.slow))
        return pipe

    def spawn(self, index: int) -> None:
        """Start a worker that has died alone."""
        self.note(f"worker {index} starts again")
        disk = self.disks[index]
        disk.repair()
        report = aof.scan(disk, DIRECTORY, self.manifest.workers[index])
        plan = recovery.decide_live(index, report, self.manifest.skipped)
        self.start(index, plan)
        self.flush()

    def start(self, index: int, plan: SegmentPlan) -> None:
        """Let the next life of a worker load, and hand the others their ends of the pipes to it."""
        self.down.remove(index)
        self.lives[index] += not self.first_start
        life = self.lives[index]
        channel = Channel(self.new_fd())
        self.others[channel.fd] = channel
        process = Process(index, life, channel, cast(Any, None))
        mesh: dict[int, tuple[int, int]] = {}
        for other in self.living.values():
            to, fro = self.pipe_to(other.index), self.pipe_to(index)
            mesh[other.index] = fro.fd, to.fd + 1
            process.fds += mesh[other.index]
            other.fds += (to.fd, fro.fd + 1)
            if self.first_start:
                peer = other.worker._peer(index)
                peer.read_fd, peer.write_fd = to.fd, fro.fd + 1
                peer.up = peer.open = True
                other.worker._generations[index] = life
            else:
                data = marshal.dumps((m.PIPES, index, life))
                other.channel.queue.append((data, [to.fd, fro.fd + 1]))
                self.tell(other.index, (m.PEER, index, m.LOADING, life))
        down, up = self.pipe_to(index), self.pipe_to(m.SUPERVISOR)
        process.fds += (down.fd, up.fd + 1)
        self.links[index] = Link(up.fd, down.fd + 1, cast(Any, self))
        self.outboxes[index] = []
        self.logged[index] = plan.logged
        self.living[index] = process
        process.worker = worker = main_module.Worker(
            index,
            mesh,
            (down.fd, up.fd + 1),
            cast(Any, channel),
            workers=self.workers,
            config=self.config,
            log=cast(Any, Quiet()),
            page=cast(Any, self.page),
            generations={**{peer: self.lives[peer] for peer in mesh}, index: life},
            facts=dict(FACTS),
        )
        worker._disk = self.disks[index]
        worker._directory = DIRECTORY
        files = self.manifest.workers[index]
        worker._load(wire_load(files, plan, self.plan.policy))
        process.syncer = cast(Any, process.segment._syncer)
        worker.serve()
        if self.variant.serve_early:
            worker._on_message((m.CLOCK, *self.clock))
            worker._on_message((m.SERVE,))
            self.serving.add(index)

    @property
    def clock(self) -> tuple[int, int]:
        """The base of the stamps, which are those of the machine."""
        return 0, 0

    def let_serve(self, index: int) -> None:
        """A worker has loaded."""
        if not self.first_start:
            for other in range(self.workers):
                if other != index and other not in self.serving:
                    state = m.LOADING if other in self.living else m.DOWN
                    self.tell(index, (m.PEER, other, state, self.lives[other]))
        self.tell(index, (m.CLOCK, *self.clock))
        self.emit(self.coordinator.on_worker_ready(index, self.logged[index]))
        self.serving.add(index)
        if not self.first_start:
            for other in self.living:
                if other != index:
                    self.tell(other, (m.PEER, index, m.UP, self.lives[index]))

    def start_all(self) -> None:
        """Start the server: scan, decide, load; the power may fail in between."""
        while True:
            self.clear()
            reports = [
                aof.scan(disk, DIRECTORY, files)
                for disk, files in zip(self.disks, self.manifest.workers, strict=True)
            ]
            plan = recovery.decide(reports, self.manifest.skipped)
            self.first_start = True
            self.lives = [0] * self.workers
            for index in range(self.workers):
                self.start(index, plan.segments[index])
            if not self.faults or self.random.random() < 0.8:
                break
            self.kill_all(power=True)
        if not self.variant.trust_logs:
            self.check_start(plan)
        self.coordinator = self.variant.coordinator(
            self.workers, recovery.next_ticket(self.manifest, plan)
        )
        self.manifest = recovery.settle(self.manifest, plan, self.plan.policy)
        for link in self.links.values():  # LOADED, of each
            pipe = self.pipes[link.read_fd]
            pipe.data += b"".join(pipe.on_way)
            pipe.on_way.clear()
        self.supervise()
        self.first_start = False

    def clear(self) -> None:
        """Forget all processes and what led from one to another."""
        self.living.clear()
        self.links.clear()
        self.outboxes.clear()
        self.serving.clear()
        self.overdue.clear()
        self.unnoticed.clear()
        self.down = set(range(self.workers))
        self.paces.clear()
        self.readers.clear()
        self.pipes.clear()
        self.sockets.clear()
        self.epolls.clear()
        self.others.clear()
        self.page.counters.clear()

    # -- faults -----------------------------------------------------------------------------------

    def fault(self) -> None:
        """Let something go wrong, or come right."""
        random = self.random
        what = random.random()
        if what < 0.3:
            mortal = [process for process in self.living.values() if process.may_die]
            if self.deaths_left and mortal:
                process = random.choice(mortal)
                self.note(f"worker {process.index} dies")
                self.die(process)
        elif what < 0.5:
            client = random.choice(self.clients)
            if self.plan.hang_ups and client.open and random.random() < 0.3:
                self.note(f"client {client.number} hangs up")
                self.hang_up(client)
        elif what < 0.6:
            for index in sorted(self.down - self.overdue) if self.plan.deadlines else ():
                self.overdue.add(index)
                self.emit(self.coordinator.on_deadline(index))
        elif what < 0.68:
            disk = self.disks[random.randrange(self.workers)]
            broken = [other for other in self.disks if other.broken]
            if broken:
                random.choice(broken).repair()
            elif self.plan.disks:
                disk.shorten(*random.choices((3, 30, 300), k=random.randint(0, 2)))
                call = random.choice(("pwrite", "fdatasync"))
                self.note(f"disk {self.disks.index(disk)} fails in {call}")
                disk.broken[call] = errno.EIO
        elif what < 0.78 and self.crashes_left:
            self.crash(power=random.random() < self.plan.power)

    def stop_faults(self) -> None:
        """From now on nothing breaks, and what is broken is repaired."""
        self.faults = False
        for disk in self.disks:
            disk.repair()

    def die(self, process: Process) -> None:
        """Kill a process: what it was sent is lost."""
        self.deaths_left -= 1
        index = process.index
        del self.living[index]
        self.unnoticed.add(index)
        self.disks[index].kill()
        for fd in process.fds:
            self.close(fd)
            pipe = self.pipes[fd]
            if fd == pipe.fd:
                pipe.on_way.clear()
        for client in self.clients:
            if client.home == index:
                self.lose(client)

    def crash(self, power: bool) -> None:
        """Kill the whole server, with the machine or without, and start it again.

        Nothing acknowledged is lost under always, nor when the processes alone died and no log was
        behind. Otherwise the epoch is what the clients saw, and the next begins with what is left.
        """
        self.crashes_left -= 1
        self.note("the power fails" if power else "all processes die")
        processes = self.living.values()
        if power:
            lossless = self.plan.policy == "always" and not any(
                process.loop._holding for process in processes
            )
        else:
            lossless = all(process.may_die for process in processes)
        for client in self.clients:
            self.lose(client)
        known = self.all_logs()
        self.kill_all(power)
        self.start_all()
        if self.manifest.skipped and self.plan.deaths:
            self.deaths_left += 2  # who restarts alone has to skip the same
        left = self.state()
        self.end_epoch(left if lossless else None, known)
        self.initial = left

    def kill_all(self, power: bool) -> None:
        """End all processes, and perhaps lose what is not on the disks."""
        self.living.clear()
        for disk in self.disks:
            disk.repair()
            if power:
                disk.crash()
            else:
                disk.kill()

    def hang_up(self, client: Client) -> None:
        """Let a client end its connection; it may come back."""
        if client.sock is not None:
            client.sock.eof = True
        self.lose(client)

    def lose(self, client: Client) -> None:
        """A connection has ended; what was under way on it has no known outcome, but for what its
        home had not begun to look at.
        """
        begun = len(client.open)
        if client.sock is not None:
            left = len(client.sock.take_received()) + len(self.put_aside(client))
            while begun and left >= client.open[begun - 1].replies:
                begun -= 1
                left -= client.open[begun].replies
        while client.open:
            begun -= 1
            self.conclude(client, "unknown" if begun >= 0 else "refused", None)
        client.home = client.sock = None
        client.watched = None
        client.reads.clear()

    def put_aside(self, client: Client) -> list[list[bytes]]:
        """Return the commands that a client's home has received and that wait for others of it."""
        assert client.sock is not None
        process = self.homes.get(client.sock)
        conn = None if process is None else process.loop._conns.get(client.sock.fd)
        if conn is None:
            return []
        todo, conn.todo = conn.todo, []
        return todo

    # -- clients ----------------------------------------------------------------------------------

    def act(self, client: Client) -> None:
        """Let a client connect if it must, and send its next pipeline."""
        random = self.random
        if client.sock is None:
            homes = sorted(self.serving.intersection(self.living))
            if not homes:
                return
            client.home = random.choice(homes)
            client.sock = self.new_socket()
            self.homes[client.sock] = self.living[client.home]
            process = self.living[client.home]
            served = ServedClient(
                process.worker._server, self.next_client, b"127.0.0.1:1", b"127.0.0.1:2", 0
            )
            self.next_client += 1
            process.loop.add_client(cast(Any, client.sock), served, RequestReader())
            if client.db:
                self.call(client, ("SELECT", client.db))
        for words in client.todo.popleft():
            self.call(client, words)
        assert client.home is not None
        if random.random() < 0.7:
            self.turn(self.living[client.home])

    def call(self, client: Client, words: Words) -> None:
        lines = lines_of(words)
        assert client.sock is not None
        client.sock.received += b"".join(map(encode_command, lines))
        after = [op for op in client.open if self.ordered(op.words, words)]
        op = Op(client.number, client.db, words, after, self.tick(), len(lines))
        self.note(f"{op}")
        client.open.append(op)
        if words[0] == "SELECT":
            return
        self.ops.append(op)

    def ordered(self, first: Words, second: Words) -> bool:
        """Tell whether two commands of one pipeline must take effect in order."""
        if self.spans(first) or self.spans(second):
            return True
        if first[0] in BLOCKING or first[0] in ("EVAL", "EXEC", "WATCH"):
            return True
        workers = self.workers
        return not keys_in(first, workers).isdisjoint(keys_in(second, workers))

    def spans(self, words: Words) -> bool:
        keys = keys_in(words, self.workers)
        return is_wide(words) or len({owner(key, self.workers) for key in keys}) > 1

    def hear(self) -> None:
        """Let the clients take the replies that have come."""
        for client in self.clients:
            while client.sock is not None and client.open:
                op, replies = client.open[0], client.sock.replies
                if len(replies) < op.replies:
                    break
                *before, reply = replies[: op.replies]
                del replies[: op.replies]
                self.take(client, op, before, reply)
            if client.sock is not None and not client.open and client.sock.replies:
                raise SimulationError(f"{client.sock.replies} is answered to nothing")

    def take(self, client: Client, op: Op, before: list[Any], reply: Any) -> None:
        """Take the replies to one command, of which the last says what came of it."""
        name = op.words[0]
        failed = [one for one in before if isinstance(one, hiredis.ReplyError)]
        if any(plain(one).code not in REFUSALS for one in failed):
            raise SimulationError(f"{op}: {failed}")
        reply = plain(reply)
        if name == "WATCH" and reply == b"OK":
            client.watched = (client.watched or frozenset()).union(op.words[1])
        if name == "EXEC":
            watched, client.watched = client.watched, None
            reads, client.reads = client.reads, {}
            if reply is None:
                if watched is None:
                    raise SimulationError(f"{op} answers null, and nothing was watched")
                self.conclude(client, "refused", None)
                return
            op.words = ("EXEC", tuple(reads.items()), op.words[2])
        watched = client.watched if name == "GET" else None
        if watched is not None and op.words[1] in watched and not isinstance(reply, Error):
            client.reads.setdefault(op.words[1], reply)
        if name == "RANDOMKEY" and not isinstance(reply, Error):
            op.words = ("RANDOMKEY", *([] if reply is None else [reply]))
            reply = True
        if name == "KEYS" and isinstance(reply, list):
            reply.sort()
        if isinstance(reply, Error) and reply.code in REFUSALS:
            self.conclude(client, "refused", None)
        elif isinstance(reply, Error) and reply.code == UNCERTAIN:
            self.conclude(client, "unknown", None)
        else:
            self.conclude(client, "answered", reply)

    def conclude(self, client: Client, outcome: str, reply: object) -> None:
        op = client.open.popleft()
        op.outcome, op.reply, op.returned = outcome, reply, self.tick()
        self.note(f"    {op} -> {reply if outcome == 'answered' else outcome}")

    # -- the end ----------------------------------------------------------------------------------

    def state(self) -> State:
        """Return what the workers hold."""
        return state_of([process.worker._store for process in self.living.values()])

    def check_waiting(self) -> None:
        """Who has no answer waits for keys at which there is nothing."""
        state = self.state()
        for client in self.clients:
            client.todo.clear()
            if not client.open:
                continue
            op = client.open.popleft()
            table = dict(state[op.db])
            keys = op.words[1:2] if op.words[0] == "BLMOVE" else op.words[1:-1]
            waits = op.words[0] in BLOCKING and op.words[-1] == b"0"
            if not waits or any(isinstance(table.get(key), tuple) for key in keys):
                raise SimulationError(f"no outcome: {op}; {self.coordinator.in_flight} tickets")
            for other in (op, *client.open):
                other.outcome = "refused"  # it has not run
            client.open.clear()

    def check_idle(self) -> None:
        """Nothing is left behind."""
        if self.coordinator.in_flight or self.coordinator.in_flight_bytes:
            raise SimulationError(f"{self.coordinator.in_flight} tickets are left")
        for index in range(self.workers):
            dispatcher = self.living[index].worker._dispatcher
            blocking, transactions = dispatcher.blocking, dispatcher.transactions
            left: dict[str, Any] = {
                "locks": not dispatcher.participant.idle(),
                "parts": dispatcher.borrower.parts,
                "blocked": blocking.key_counts() != (0, 0) or blocking.offers,
                "waits": dispatcher._entered or dispatcher.spread_waits,
                "refs": dispatcher._refs,
                "watches": len(transactions.watches),
                "clients": self.living[index].loop._conns,
                "gate": any(
                    database.read != database.tables or database.write != database.tables
                    for database in dispatcher.store.databases()
                ),
            }
            for peer in filter(None, dispatcher.peers):
                left[f"peer {peer.worker}"] = (
                    peer.pending or peer.deferred or peer.waiters or peer.parked
                )
            if any(left.values()):
                found = {name: value for name, value in left.items() if value}
                raise SimulationError(f"worker {index} is left with {found}")

    def check_logs(self) -> None:
        """Replay gives what is in memory, and what a ticket locks does not change before its
        #REL.
        """
        for index, disk in enumerate(self.disks):
            worker = self.living[index].worker
            held = state_of([worker._store])
            if self.replayed(index, disk) != held:
                raise SimulationError(f"worker {index} holds not what it logged")
            locked: dict[int, list[Touched]] = {}
            for ticket, _, argvs in self.records(index):
                if argvs is None:
                    locked.pop(ticket, None)
                    continue
                if ticket in self.manifest.skipped:
                    continue
                for touched in argvs:
                    for other, theirs in locked.items():
                        if any(overlap(one, touched) for one in theirs):
                            raise SimulationError(
                                f"worker {index} logs {touched} before #REL {other} of {theirs}"
                            )
                if ticket:
                    locked.setdefault(ticket, []).extend(argvs)
            if locked:
                raise SimulationError(f"worker {index} lacks the #REL of {locked}")

    def replayed(self, index: int, disk: FakeDisk) -> State:
        """Return what a worker's log leads to."""
        store = Store(slot_range(index, self.workers), self.config.databases, Random(0))
        replayer = Replayer(store)
        skip = frozenset(self.manifest.skipped)
        source = aof.Source(self.manifest.workers[index], 1 << 62, skip)
        aof.replay(disk, DIRECTORY, source, replayer.apply)
        if replayer.failed:
            raise SimulationError(f"worker {index}: {replayer.first_failure}")
        return state_of([store])

    def check_start(self, plan: recovery.Plan) -> None:
        """Of each command that a start keeps all parts are there; nothing that it keeps depends on
        what it does not.
        """
        holders: dict[int, set[int]] = {}
        wanted: dict[int, tuple[int, ...]] = {}
        fresh = set(plan.skipped).difference(self.manifest.skipped)
        for index, segment in enumerate(plan.segments):
            lost: list[Touched] = []
            for ticket, participants, argvs in self.records(index, segment.end):
                if ticket in fresh:
                    if argvs is None:
                        raise SimulationError(f"#REL {ticket} stays, though it is skipped")
                    lost += argvs
                    continue
                if argvs is None:
                    continue
                if ticket and ticket not in plan.skipped:
                    holders.setdefault(ticket, set()).add(index)
                    wanted[ticket] = participants
                for touched in argvs:
                    if any(overlap(one, touched) for one in lost):
                        raise SimulationError(
                            f"worker {index} keeps {touched}: it depends on what was lost"
                        )
        for ticket, participants in wanted.items():
            if not holders[ticket].issuperset(participants):
                raise SimulationError(f"half of ticket {ticket} is there after a start")

    def records(
        self, index: int, end: int | None = None
    ) -> Iterator[tuple[int, tuple[int, ...], list[Touched] | None]]:
        """Yield the records of a log: ticket or 0, participants, what is touched; None for a
        #REL.
        """
        (name,) = self.manifest.workers[index].incrs
        data = self.disks[index].data(f"{DIRECTORY}/{name}")[:end]
        db = 0
        for event in SegmentReader(lambda at, size: data[at : at + size], len(data)):
            if isinstance(event, Release):
                yield event.ticket, (), None
                continue
            parted = isinstance(event, LoggedPart)
            argvs = event.commands if isinstance(event, LoggedPart) else event
            touched: list[Touched] = []
            for argv in argvs:
                if argv[0] == b"SELECT":
                    db = int(argv[1])
                else:
                    touched.append(touched_by(db, argv))
            if isinstance(event, LoggedPart):
                yield event.ticket, event.participants, touched
            else:
                assert not parted
                yield 0, (), touched

    def all_logs(self) -> bytes:
        """Return all that was logged, written or not."""
        found: list[bytes] = []
        for process in self.living.values():
            found += (*process.segment._unwritten, *process.segment.pieces)
        for index, disk in enumerate(self.disks):
            (name,) = self.manifest.workers[index].incrs
            found.append(disk.data(f"{DIRECTORY}/{name}"))
        return b"".join(found)

    def end_epoch(self, final: State | None, logs: bytes) -> None:
        """Add an epoch to the history, ended by a look at all the keys if there is one to take.

        What was refused never happened. Neither did what has no known outcome and would have
        written a value that no log has.
        """
        ops = [op for op in self.ops[self.epoch_start :] if op.outcome != "refused"]
        ops = [op for op in ops if op.words[0] != "WATCH"]
        ops = [op for op in ops if op.outcome == "answered" or not only_reads(op.words)]
        ops = [op for op in ops if op.outcome == "answered" or may_have_run(op.words, logs)]
        numbers = {id(op): number for number, op in enumerate(ops)}
        history = [
            Operation(
                op.client,
                Command(op.db, op.words),
                op.called,
                op.returned if op.outcome == "answered" else None,
                op.reply,
                tuple(numbers[id(other)] for other in op.after if id(other) in numbers),
            )
            for op in ops
        ]
        if final is not None:
            called, returned = self.tick(), self.tick()
            held = [sorted(table) for table in final]
            history.append(Operation(-1, Command(0, ("DUMP",)), called, returned, held))
        self.epochs.append(Epoch(self.initial, history))
        self.epoch_start = len(self.ops)


# Of all keys that there can be: to look at all slots takes its time.
_SLOTS: Final = {key: key_slot(key) for workers in (2, 3, 4) for key in all_keys(workers)}

FACTS: Final = {
    "run_id": "0" * 40,
    "supervisor_pid": 1,
    "start_ms": 0,
    "config_file": "",
    "executable": "",
    "version": "",
    "port": 0,
    "listeners": [],
}


def _pid() -> int:
    return 1


class _Process:
    """Stands in for psutil's."""

    def memory_info(self) -> Any:
        return SimpleNamespace(rss=0)


def lines_of(words: Words) -> list[list[bytes]]:
    """Return a command as it is sent."""
    name, *rest = words
    if name == "EXEC":
        return [[b"MULTI"], *(line for one in rest[1] for line in lines_of(one)), [b"EXEC"]]
    if name == "EVAL":
        script, keys, args = rest
        return [[b"EVAL", SCRIPTS[script].lua, b"%d" % len(keys), *keys, *args]]
    if name == "WATCH":
        return [[b"WATCH", *rest[0]]]
    if name == "SELECT":
        return [[b"SELECT", b"%d" % rest[0]]]
    return [[name.encode(), *rest]]


def only_reads(words: Words) -> bool:
    """Tell whether a command never changes anything, so that it does not matter whether it ran."""
    if words[0] == "EXEC":
        return all(map(only_reads, words[2]))
    return words[0] in READS or words[:2] == ("EVAL", "follow")


def may_have_run(words: Words, logs: bytes) -> bool:
    """Tell whether the logs have the value that a command writes, or it writes none of its own.

    Each value is a new one, and nobody hears of a command before it is logged.
    """
    if words[0] in ("SET", "MSET", "MSETNX", "RPUSH"):
        value = words[2]
    elif words[:2] == ("EVAL", "fetch"):
        value = words[3][0]
    else:
        return True
    return b"\r\n%b\r\n" % value in logs


def plain(reply: Any) -> Any:
    """Return a reply with its errors as the model has them."""
    if isinstance(reply, list):
        return [plain(one) for one in reply]
    if isinstance(reply, hiredis.ReplyError):
        text = str(reply)
        return Error(UNCERTAIN if UNCERTAIN in text else text.split(" ", 1)[0])
    return reply


def state_of(stores: Sequence[Store]) -> State:
    """Return what the partitions hold together."""
    tables: list[dict[bytes, Any]] = [{} for _ in range(DATABASES)]
    for store in stores:
        for db in store.databases():
            found = [
                (key, db.keys_in(slot).get(key))
                for key, slot in _SLOTS.items()
                if slot in store.slots
            ]
            found = [(key, value) for key, value in found if value is not None]
            assert len(found) == db.size, "there are keys that no client has"
            for key, value in found:
                (argv,) = rebuild(key, value)
                name, _, *words = argv
                assert name in (b"SET", b"RPUSH"), argv
                tables[db.index][key] = tuple(words) if name == b"RPUSH" else words[0]
    return tuple(frozenset(table.items()) for table in tables)


class Touched(NamedTuple):
    """What a logged command concerns: a database, None for all; keys, None for all of them."""

    db: int | None
    keys: frozenset[bytes] | None
    argv: Any


def touched_by(db: int, argv: Sequence[bytes]) -> Touched:
    """Return what a logged command concerns."""
    name = argv[0].upper()
    if name in (b"FLUSHALL", b"SWAPDB"):
        return Touched(None, None, argv)
    if name == b"FLUSHDB":
        return Touched(db, None, argv)
    spec = resolve(list(argv)).spec
    return Touched(db, frozenset(argv[at] for at in spec.key_positions(argv)), argv)


def overlap(one: Touched, other: Touched) -> bool:
    """Tell whether two logged commands concern a common key."""
    if one.db is None or other.db is None:
        return True
    if one.db != other.db:
        return False
    if one.keys is None or other.keys is None:
        return True
    return not one.keys.isdisjoint(other.keys)


def failure(
    plan: Plan, seed: int, variant: Variant | None = None, events: list[str] | None = None
) -> str | None:
    """Run a plan and check its history; return what is wrong, None if nothing is.

    Args:
        events: what happened is added to it, if something is wrong.
    Raises: Undecided if too many outcomes are unknown.
    """
    simulation = Simulation(plan, seed, variant)
    found = _failure(simulation)
    if found and events is not None:
        events += simulation.events
    return found


def _failure(simulation: Simulation) -> str | None:
    try:
        epochs = simulation.run()
    except SimulationError as error:
        return str(error)
    except Exception:  # the code under test has died of it; the caller says of which seed
        return traceback.format_exc()
    for number, (initial, history) in enumerate(epochs):
        verdict = check(history, StoreModel(initial), MAX_STATES)
        if not verdict:
            begin = [dict(sorted(table)) for table in initial]
            return (
                f"epoch {number} is not strictly serializable; it began with {begin}\n"
                f"{verdict.explain(history)}"
            )
    return None


def failure_of(seed: int, variant: Variant | None = None) -> str | None:
    """Run a seed, and check it."""
    return failure(make_plan(seed), seed, variant)
