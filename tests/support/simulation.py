"""A whole Shoal in one process under a seeded scheduler: workers, coordinator, clients, faults.

Real are the coordinator, the participants, the segments of the log, and what a start makes of them
(`recovery.decide` and `decide_live`). Around them everything is as small as it can be and still
fail like the real thing: a keyspace is a dict for each database, a disk `support/disk.py`, a pipe a
deque that the scheduler empties when it likes. What is modelled:

- Channels are FIFO, and delayed against each other; some are slow for a whole run.
- A worker takes turns: messages in, log written, messages out, replies to clients. What its log
  does not let it acknowledge yet it holds back. It dies between turns or inside one: before the
  log, or after it with a part of what it had to say sent. Its memory is gone; what it had written
  stays; of what it sent a part arrives, then the end of the pipe; what was sent to it is lost.
- Its successor loads the log, reports to the supervisor, and serves when it is told SERVE. Hops
  that were on their way to the dead have an unknown outcome; later ones wait for the successor.
- The server crashes as a whole, its processes killed or the power lost; then the segments keep what
  was synced and perhaps more, and all start again.
- Clients pipeline, lose their home, vanish with commands under way.
- Disks fail (writes refused, acknowledgements held back), deadlines pass (commands refused).

`Simulation(seed).run()` returns the history, one epoch for each start of the server, or raises
`SimulationError`: when a command of a client that stayed has no outcome, when a lock, waiter, gate
or ticket is left, when a log does not lead to what is in memory, holds half of a command after a
start, or breaks the rule that the recovery relies on (nothing that a ticket locks changes between
its part and its `#REL`). Whether the history is strictly serializable is the caller's to check:
`failure` does all of that.
"""

from __future__ import annotations

import errno
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple

from shoal.proto.aof_format import Part as LoggedPart
from shoal.proto.aof_format import Release, SegmentReader
from shoal.proto.manifest import POLICIES, Manifest, WorkerFiles, incr_name
from shoal.proto.messages import DISK, DONE, LOCK, SPAN, SUPERVISOR, Message
from shoal.supervisor import recovery
from shoal.supervisor.coordinator import Coordinator
from shoal.supervisor.recovery import SegmentPlan
from shoal.supervisor.steps import Outgoing
from shoal.worker.aof import Segment, scan
from shoal.worker.participant import Participant
from support.disk import FakeDisk
from support.linearizability import ANYTHING, Operation, check
from support.simulated_store import (
    DATABASES,
    KEYS,
    MANY_KEYS,
    READS,
    WHOLE_DB,
    WHOLE_STORE,
    Command,
    State,
    StoreModel,
    Tables,
    empty_tables,
    execute,
    from_argv,
    overlap,
    owner,
    split,
    state_of,
)
from support.simulated_worker import (
    DIRECTORY,
    END,
    HOP,
    PEER,
    READY,
    Client,
    CountingGate,
    Op,
    Session,
    SimulationError,
    Worker,
)

MAX_STEPS: Final = 50_000  # a run takes about a thousand
TICK_MS: Final = 20  # so that everysec, postponed writes and retries happen within a run


class Epoch(NamedTuple):
    """What happened between two starts of the server."""

    initial: State
    operations: list[Operation]


def _held(acknowledged: bool) -> bool:
    return not acknowledged


def _release_of(segment: Segment) -> Callable[[int], None]:
    return segment.release


@dataclass(frozen=True)
class Variant:
    """What a run is made of; the tests of the tests replace one thing by a broken one."""

    coordinator: type[Coordinator] = Coordinator
    participant: type[Participant] = Participant
    gate: type[CountingGate] = CountingGate
    hold: Callable[[bool], bool] = _held  # flush's answer -> whether to hold acknowledgements back
    release_of: Callable[[Segment], Callable[[int], None]] = _release_of  # logs a #REL
    trust_logs: bool = False  # do not look for broken rules in them at the end
    shuffle_locks: bool = False  # LOCKs overtake each other
    serve_early: bool = False  # a worker serves as soon as it has loaded


class Simulation:
    """One run, all of it decided by the seed."""

    def __init__(
        self, seed: int, variant: Variant | None = None, clients: int = 6, ops: int = 6
    ) -> None:
        self.random = random = Random(seed)
        self.variant = variant or Variant()
        self.workers = random.randint(2, 4)
        self.now = 0
        self.policy = random.choice(POLICIES)
        self.disks = [FakeDisk(seed * 8 + index) for index in range(self.workers)]
        self.manifest = self._new_manifest()
        self.coordinator = self.variant.coordinator(self.workers, 1)
        self.lives = [0] * self.workers
        self.living: dict[int, Worker] = {}
        self.noticed_dead: set[int] = set()  # by the supervisor
        self.channels: dict[tuple[int, int], deque[tuple[int, int, Message]]] = {}
        self.pace: dict[tuple[int, int], float] = {}
        for sender in range(SUPERVISOR, self.workers):
            for receiver in range(SUPERVISOR, self.workers):
                if sender != receiver:
                    self.channels[sender, receiver] = deque()
                    self.pace[sender, receiver] = random.choice((1.0, 1.0, 0.3, 0.03))
        self.clients = [Client(number, ops) for number in range(clients)]
        self.ops: list[Op] = []  # all of them: the tag of a command is its place, from 1
        self.epochs: list[Epoch] = []
        self.epoch_start = 0  # where in ops
        self.initial = state_of([])  # of the running epoch
        self.found: dict[tuple[int, int], Any] = {}  # worker, tag -> what it found when it ran
        self.replayed: dict[int, set[int]] = {}  # tag -> workers, in the running start
        self.deaths_left = random.choice((0, 0, 1, 2, 4, 8))
        self.death_rate = random.choice((0.01, 0.03, 0.1))
        self.crashes_left = random.choice((0, 0, 1, 2))
        self.faults = True
        self.next_value = 0
        # Few keys and one database make conflicts; the other runs are for the rest.
        self.keys = KEYS[: random.choice((2, 3, 4, 6))]
        self.databases = random.choice((1, 1, DATABASES))
        self.menu = random.choices(_MENUS, weights=(3, 2, 2, 2))[0]

    def _new_manifest(self) -> Manifest:
        files = []
        for index, disk in enumerate(self.disks):
            name = incr_name(index, 1)
            disk.put(f"{DIRECTORY}/{name}", b"")
            files.append(WorkerFiles((), None, (name,)))
        return Manifest(tuple(files), self.policy)

    def tick(self) -> int:
        """Return the next logical time."""
        self.now += 1
        return self.now

    @property
    def now_ms(self) -> int:
        """The same as the clock of the segments."""
        return self.now * TICK_MS

    def run(self) -> list[Epoch]:
        """Run to the end and return the history. Raises: SimulationError."""
        self.start_all()
        for _ in range(MAX_STEPS):
            if not any(client.todo for client in self.clients):
                self.stop_faults()
            if self.faults and self.random.random() < 0.05:
                self.fault()
            elif not self.step():
                if not self.faults:
                    break
                self.stop_faults()
        else:
            raise SimulationError(f"still busy after {MAX_STEPS} steps")
        self.check_idle()
        if not self.variant.trust_logs:
            self.check_logs()
        self.end_epoch([self.living[index].tables for index in range(self.workers)])
        return self.epochs

    # The scheduler.

    def step(self) -> bool:
        """Do one thing out of those that can be done; False if there is none."""
        random = self.random
        things: list[Callable[[], None]] = []
        weights: list[float] = []
        for route, queue in self.channels.items():
            if queue:
                things.append(lambda route=route: self.deliver(*route))  # type: ignore[misc]
                weights.append(self.pace[route])
        for client in self.clients:
            if client.todo and not client.open:
                things.append(lambda client=client: self.act(client))  # type: ignore[misc]
                weights.append(0.3)
        for index in sorted(self.noticed_dead):
            things.append(lambda index=index: self.spawn(index))  # type: ignore[misc]
            weights.append(0.3)
        for worker in self.living.values():
            if worker.needs_time:
                things.append(lambda worker=worker: self.end_turn(worker))  # type: ignore[misc]
                weights.append(0.1)
        if not things:
            return False
        self.tick()
        random.choices(things, weights)[0]()
        return True

    def deliver(self, sender: int, receiver: int) -> None:
        """Let the receiver take a turn that begins with the head of this channel."""
        if receiver == SUPERVISOR:
            self.supervise(sender, *self.channels[sender, receiver].popleft())
            return
        worker = self.living.get(receiver)
        source: int | None = sender
        while source is not None:
            life, to_life, message = self.channels[source, receiver].popleft()
            if worker is not None and worker.life == to_life:
                current = source == SUPERVISOR or worker.peers.get(source) == life
                if current or message[0] == HOP:
                    worker.take(source, life, message)
            source = None
            if self.random.random() < 0.4:
                ready = [
                    other
                    for other in range(SUPERVISOR, self.workers)
                    if other != receiver and self.channels[other, receiver]
                ]
                source = self.random.choice(ready) if ready else None
        if worker is not None:
            self.end_turn(worker)

    def end_turn(self, worker: Worker) -> None:
        """Write the log, send to processes, send to clients; or die in between."""
        rate = self.death_rate * (3 if worker.turn_log else 1)
        dies = self.faults and self.deaths_left > 0 and self.random.random() < rate
        if dies and worker.may_die_alone and self.random.random() < 0.3:
            self.die(worker)
            return
        worker.write_log()
        dies = dies and worker.may_die_alone
        outbox, worker.outbox = worker.outbox, []
        if dies:
            del outbox[self.random.randint(0, len(outbox)) :]
        for receiver, life, message in outbox:
            self.send(worker.index, worker.life, receiver, life, message)
        if dies:
            self.die(worker)
            return
        for op, outcome, reply in worker.replies:
            self.conclude(op, outcome, reply)
        worker.replies.clear()

    def send(self, sender: int, life: int, receiver: int, its_life: int, message: Message) -> None:
        """Put a message into a pipe, unless nobody holds its other end."""
        if receiver != SUPERVISOR:
            worker = self.living.get(receiver)
            if worker is None or worker.life != its_life:
                return
        queue = self.channels[sender, receiver]
        if self.variant.shuffle_locks and message[0] == LOCK:
            locks = 0
            while locks < len(queue) and queue[-1 - locks][2][0] == LOCK:
                locks += 1
            queue.insert(len(queue) - self.random.randint(0, locks), (life, its_life, message))
        else:
            queue.append((life, its_life, message))

    # The supervisor.

    def supervise(self, sender: int, life: int, _: int, message: Message) -> None:
        coordinator = self.coordinator
        kind = message[0]
        if kind == SPAN:
            self.emit(coordinator.on_span(sender, *message[1:]))
        elif kind == DONE:
            self.emit(coordinator.on_done(sender, *message[1:]))
        elif kind == DISK:
            self.emit(coordinator.on_disk_state(sender, *message[1:]))
        elif kind == READY:
            self.emit(coordinator.on_worker_ready(sender, message[1]))
        else:
            assert kind == END
            self.noticed_dead.add(sender)
            self.emit(coordinator.on_worker_lost(sender))

    def emit(self, outgoing: Outgoing) -> None:
        for receiver, message in outgoing:
            self.send(SUPERVISOR, 0, receiver, self.lives[receiver], message)

    def spawn(self, index: int) -> None:
        """Start a worker that has died alone."""
        disk = self.disks[index]
        disk.repair()
        report = scan(disk, DIRECTORY, self.manifest.workers[index])
        plan = recovery.decide_live(index, report, self.manifest.skipped)
        self.replayed = {}
        self.start(index, plan)
        self.note_replayed()

    def start(self, index: int, plan: SegmentPlan) -> None:
        """Let the next life of a worker load, and hand the others their pipe ends to it."""
        self.noticed_dead.remove(index)
        self.lives[index] += 1
        life = self.lives[index]
        others = [
            other
            for other in range(self.workers)
            if other != index and other not in self.noticed_dead
        ]
        peers = {other: self.lives[other] for other in others}
        worker = Worker(self, index, life, peers, plan)
        self.living[index] = worker
        for other in others:
            self.emit([(other, (PEER, index, life))])
        if self.variant.serve_early:
            worker.serve()
        self.send(index, life, SUPERVISOR, 0, (READY, plan.logged))

    def start_all(self) -> None:
        """Start the server: scan, decide, load; the power may fail in between."""
        self.living.clear()
        self.noticed_dead = set(range(self.workers))
        while True:
            reports = [
                scan(disk, DIRECTORY, files)
                for disk, files in zip(self.disks, self.manifest.workers, strict=True)
            ]
            plan = recovery.decide(reports, self.manifest.skipped)
            self.replayed = {}
            for index in range(self.workers):
                self.start(index, plan.segments[index])
            if not self.faults or self.random.random() < 0.8:
                break
            self.kill_all(power=True)
        self.coordinator = self.variant.coordinator(
            self.workers, recovery.next_ticket(self.manifest, plan)
        )
        self.manifest = recovery.settle(self.manifest, plan, self.policy)
        for tag, workers in self.replayed.items():
            if len(workers) < self.ops[tag - 1].parts:
                raise SimulationError(f"half of {self.ops[tag - 1]} is there after a start")

    # What the workers tell.

    def on_run(self, index: int, command: Command, found: object) -> None:
        """Note what a command found, for the replays."""
        if command.name not in READS:
            self.found[index, command.tag] = found

    def on_replay(self, index: int, command: Command, found: object) -> None:
        """Hold a replay to what the command found when it ran."""
        if self.found[index, command.tag] != found:
            was = self.found[index, command.tag]
            raise SimulationError(
                f"worker {index} replays {command} on {found}, it ran on {was}: it depends on what"
                " was lost"
            )
        self.replayed.setdefault(command.tag, set()).add(index)

    def on_logged(self, index: int, command: Command) -> None:
        """Note that others may hear of a write from now on."""
        op = self.ops[command.tag - 1]
        op.logged.add(index)
        if len(op.logged) == op.parts and not op.logged_at:
            op.logged_at = self.tick()

    def note_replayed(self) -> None:
        """Note what a start found in a log that nobody had acknowledged."""
        for tag, workers in self.replayed.items():
            for index in workers:
                self.on_logged(index, self.ops[tag - 1].command)

    # Faults.

    def fault(self) -> None:
        """Let something go wrong, or come right."""
        random = self.random
        what = random.random()
        if what < 0.3:
            mortal = [index for index in sorted(self.living) if self.living[index].may_die_alone]
            if self.deaths_left and mortal:
                self.die(self.living[random.choice(mortal)])
        elif what < 0.5:
            client = random.choice(self.clients)
            if client.open and random.random() < 0.3:
                self.hang_up(client)
        elif what < 0.6:
            for index in sorted(self.noticed_dead):
                self.emit(self.coordinator.on_deadline(index))
        elif what < 0.68:
            disk = self.disks[random.randrange(self.workers)]
            broken = [other for other in self.disks if other.broken]
            if broken:
                random.choice(broken).repair()
            else:
                disk.shorten(*random.choices((3, 30, 300), k=random.randint(0, 2)))
                disk.broken[random.choice(("pwrite", "fdatasync"))] = errno.EIO
        elif what < 0.78 and self.crashes_left:
            self.crash(power=random.random() < 0.7)

    def stop_faults(self) -> None:
        """From now on nothing breaks, and what is broken is repaired."""
        self.faults = False
        for disk in self.disks:
            disk.repair()

    def die(self, worker: Worker) -> None:
        """Kill a process: of what it sent a part arrives, what it was sent is lost."""
        self.deaths_left -= 1
        index = worker.index
        del self.living[index]
        self.disks[index].kill()
        for other in range(SUPERVISOR, self.workers):
            if other == index:
                continue
            self.channels[other, index].clear()
            queue = self.channels[index, other]
            fate = self.random.randint(0, len(queue))
            while len(queue) > fate and queue[-1][2][0] != END:
                queue.pop()
            its_life = 0 if other == SUPERVISOR else self.lives[other]
            queue.append((worker.life, its_life, (END,)))
        for client in self.clients:
            if client.home == index:
                self.hang_up(client)

    def crash(self, power: bool) -> None:
        """Kill the whole server, with the machine or without, and start it again.

        Nothing acknowledged is lost under always, nor when the processes alone died and no log was
        behind. Otherwise the epoch is what the clients saw, and the next begins with what is left.
        """
        self.crashes_left -= 1
        lossless = self.policy == "always" or (
            not power and all(worker.may_die_alone for worker in self.living.values())
        )
        for client in self.clients:
            self.hang_up(client)
        self.kill_all(power)
        if not lossless:
            self.end_epoch(None)
        self.start_all()
        left = [self.living[index].tables for index in range(self.workers)]
        if not lossless:
            self.initial = state_of(left)
            return
        for op in self.ops[self.epoch_start :]:
            survived = op.command.tag in self.replayed
            if op.logged_at and not survived:
                raise SimulationError(f"acknowledged and lost: {op}")
        self.note_replayed()
        self.end_epoch(left)
        self.initial = state_of(left)

    def kill_all(self, power: bool) -> None:
        """End all processes, and perhaps lose what is not on the disks."""
        for queue in self.channels.values():
            queue.clear()
        self.living.clear()
        self.noticed_dead = set(range(self.workers))
        for disk in self.disks:
            disk.repair()
            if power:
                disk.crash()
            else:
                disk.kill()

    def hang_up(self, client: Client) -> None:
        """End a client's connection; what it had under way has no known outcome. It may come
        back.
        """
        for op in list(client.open):
            self.conclude(op, "unknown", None)
        if client.session is not None:
            client.session.queue.clear()
        client.home = client.session = None

    # Clients.

    def act(self, client: Client) -> None:
        """Let a client connect if it must, and send a command or a pipeline of some."""
        if client.session is None:
            serving = [index for index, worker in sorted(self.living.items()) if worker.serving]
            if not serving:
                return
            client.home = self.random.choice(serving)
            client.session = Session(client)
        assert client.home is not None
        size = min(client.todo, self.random.choice((1, 1, 1, 2, 3)))
        client.todo -= size
        for _ in range(size):
            command = self.invent()._replace(tag=len(self.ops) + 1)
            after = [op for op in client.open if self.ordered(op.command, command)]
            parts = len(split(command, self.workers))
            op = Op(client.number, command, after, self.tick(), parts)
            self.ops.append(op)
            client.open.append(op)
            client.session.queue.append(op)
        worker = self.living[client.home]
        worker.pump(client.session)
        self.end_turn(worker)

    def invent(self) -> Command:
        """Make up a command; each value written is a new one."""
        random = self.random
        name = random.choice(self.menu)
        db = random.randrange(self.databases)
        if name in WHOLE_DB or name in WHOLE_STORE:
            return Command(name, db)
        count = random.randint(1, len(self.keys)) if name in MANY_KEYS else 1
        if name != "MSET" and random.random() < 0.1:
            keys = tuple(random.choices(self.keys, k=count))  # a key may be named twice
        else:
            keys = tuple(random.sample(self.keys, count))
        if name not in {"SET", "MSET"}:
            return Command(name, db, keys)
        self.next_value += 100
        return Command(name, db, keys, tuple(self.next_value + at for at in range(count)))

    def ordered(self, first: Command, second: Command) -> bool:
        """Tell whether two commands of one pipeline must take effect in order."""
        if any(len(split(command, self.workers)) > 1 for command in (first, second)):
            return True
        return first.db == second.db and not set(first.keys).isdisjoint(second.keys)

    def conclude(self, op: Op, outcome: str, reply: object) -> None:
        if op.outcome == "none":
            op.outcome, op.reply, op.returned = outcome, reply, self.tick()
            self.clients[op.client].open.remove(op)

    # The end.

    def check_idle(self) -> None:
        """Everything was answered, and nothing is left behind."""
        open_ops = [op for op in self.ops if op.outcome == "none"]
        if open_ops:
            raise SimulationError(f"no outcome: {open_ops}\n{self.coordinator.in_flight} tickets")
        if self.coordinator.in_flight or self.coordinator.in_flight_bytes:
            raise SimulationError(f"{self.coordinator.in_flight} tickets are left")
        for index in range(self.workers):
            worker = self.living[index]
            locks = worker.participant
            left = locks.busy or locks.waiters or locks.locked_tickets() or worker.gate.closed
            if left or not locks.idle() or worker.hops or worker.spans or not worker.serving:
                raise SimulationError(f"worker {index} is left with {left or vars(worker)}")

    def check_logs(self) -> None:
        """Replay gives what is in memory, and what a ticket locks does not change before its
        #REL.
        """
        for index, disk in enumerate(self.disks):
            (name,) = self.manifest.workers[index].incrs
            data = disk.data(f"{DIRECTORY}/{name}")
            tables = empty_tables()
            locked: dict[int, list[Command]] = {}
            db = 0
            for event in SegmentReader(
                lambda offset, size, data=data: data[offset : offset + size],  # type: ignore[misc]
                len(data),
            ):
                if isinstance(event, Release):
                    locked.pop(event.ticket, None)
                    continue
                argvs = event.commands if isinstance(event, LoggedPart) else event
                ticket = event.ticket if isinstance(event, LoggedPart) else 0
                for argv in argvs:
                    if argv[0] == b"SELECT":
                        db = int(argv[1])
                    elif ticket not in self.manifest.skipped:
                        command = from_argv(argv, db)
                        execute(tables, command)
                        self._check_unlocked(index, command, locked)
                        if ticket:
                            locked.setdefault(ticket, []).append(command)
            if locked:
                raise SimulationError(f"worker {index} lacks the #REL of {locked}")
            if tables != self.living[index].tables:
                raise SimulationError(f"worker {index} holds not what it logged")

    def _check_unlocked(
        self, index: int, command: Command, locked: dict[int, list[Command]]
    ) -> None:
        for ticket, others in locked.items():
            if any(overlap(other, command) for other in others):
                raise SimulationError(
                    f"worker {index} logs {command} before #REL {ticket} of {others}"
                )

    def end_epoch(self, final: list[Tables] | None) -> None:
        """Add an epoch to the history, ended by a look at all the keys if there is one to take.

        Refused commands never happened. Of those whose outcome the client does not know, we do: a
        write that is not logged as a whole never happened either (nobody can have seen it), and one
        that is took effect before it was logged.
        """
        ops = []
        for op in self.ops[self.epoch_start :]:
            if op.outcome == "refused" and op.logged_at:
                raise SimulationError(f"refused and logged: {op}")
            if op.outcome == "unknown" and op.logged_at:
                op.reply, op.returned = ANYTHING, op.logged_at
            if op.outcome == "answered" or op.logged_at:
                ops.append(op)
        numbers = {id(op): number for number, op in enumerate(ops)}
        history = [
            Operation(
                op.client,
                command,
                op.called,
                op.returned,
                reply,
                tuple(numbers[id(other)] for other in op.after if id(other) in numbers),
            )
            for op in ops
            for command, reply in [_as_model_runs(op)]
        ]
        if final is not None:
            for db in range(DATABASES):
                held = [final[owner(key, self.workers)][db].get(key) for key in KEYS]
                called, returned = self.tick(), self.tick()
                history.append(Operation(-1, Command("MGET", db, KEYS), called, returned, held))
        self.epochs.append(Epoch(self.initial, history))
        self.epoch_start = len(self.ops)


def _as_model_runs(op: Op) -> tuple[Command, object]:
    """Return the command and the reply as `StoreModel` has them."""
    command = op.command._replace(tag=0)
    if command.name == "RANDOMKEY" and op.reply is not ANYTHING:
        assert op.reply is None or isinstance(op.reply, bytes)
        return command._replace(keys=() if op.reply is None else (op.reply,)), True
    return command, op.reply


# What the clients of a run like: everything; counters and deletes; hot keys; halves of an MSET.
_MENUS: Final = (
    (
        *("GET", "SET", "MGET", "MSET", "GET", "SET", "MGET", "MSET", "INCR", "DEL", "UNLINK"),
        *("EXISTS", "TOUCH", "DBSIZE", "KEYS", "RANDOMKEY", "FLUSHDB", "FLUSHALL", "SWAPDB"),
    ),
    ("INCR", "INCR", "GET", "DEL", "UNLINK", "MSET", "MGET", "EXISTS", "DBSIZE"),
    ("GET", "SET", "MGET", "MSET"),
    ("GET", "GET", "MSET"),
)


def failure(seed: int, variant: Variant | None = None) -> str | None:
    """Run a seed and check its history; return what is wrong, None if nothing is."""
    try:
        epochs = Simulation(seed, variant).run()
    except SimulationError as error:
        return str(error)
    except Exception:  # the code under test has died of it; the caller says of which seed
        return traceback.format_exc()
    for number, (initial, history) in enumerate(epochs):
        verdict = check(history, StoreModel(initial))
        if not verdict:
            begin = [dict(sorted(table)) for table in initial]
            return (
                f"epoch {number} is not strictly serializable; it began with {begin}\n"
                f"{verdict.explain(history)}"
            )
    return None
