"""A whole Shoal in one process under a seeded scheduler: workers, coordinator, clients, faults.

The real parts are `Coordinator` and `Participant`. Around them everything is as small as it can be
and still fail like the real thing: a keyspace is a dict for each database, a log a list, a pipe a
deque that the scheduler empties when it likes. What is modelled:

- Channels are FIFO, and delayed against each other; some are slow for a whole run.
- A worker takes turns: messages in, log written, messages out, replies to clients. It dies between
  turns or inside one: before the log, or after it with a part of what it had to say sent. Its
  memory is gone; its log stays; of what it sent a part arrives, then the end of the pipe; what was
  sent to it is lost.
- Its successor loads the log, reports to the supervisor, and serves when it is told SERVE. Hops
  that were on their way to the dead have an unknown outcome; later ones wait for the successor.
- Clients pipeline, lose their home, vanish with commands under way.
- Disks fail (writes refused), deadlines pass (commands refused).

`Simulation(seed).run()` returns the history, or raises `SimulationError`: when a command of a
client that stayed has no outcome, when a lock, waiter, gate or ticket is left, when a log breaks
the rule recovery relies on (nothing that a ticket locks changes between its part and its `#REL`).
"""

from __future__ import annotations

import marshal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any, Final, NamedTuple

from shoal.proto.messages import (
    ANSWER,
    DONE,
    LOCK,
    REFUSE,
    RELEASE,
    RELEASED,
    SERVE,
    SPAN,
    Message,
)
from shoal.supervisor.coordinator import Coordinator, Outgoing
from shoal.worker.participant import Part, Participant
from support.linearizability import ANYTHING, Operation

DATABASES: Final = 2
KEYS: Final = tuple(b"%d" % number for number in range(6))
SUPERVISOR: Final = -1
MAX_STEPS: Final = 50_000  # a run takes about a thousand

# Messages of the simulated workers among themselves and with the simulated supervisor.
HOP, REPLY, END, PEER, READY = 101, 102, 103, 104, 105


class SimulationError(AssertionError):
    """The run ended, or stopped, in a state that must not be."""


# -- commands
# ---------------------------------------------------------------------------------------


class Command(NamedTuple):
    """A command of the simulated store; values are ints, tags tell equal commands apart in the
    logs.
    """

    name: str
    db: int
    keys: tuple[bytes, ...] = ()
    values: tuple[int, ...] = ()
    tag: int = 0


Tables = list[dict[bytes, int]]

READS: Final = frozenset({"GET", "MGET", "EXISTS", "DBSIZE", "KEYS"})
WHOLE_DB: Final = frozenset({"DBSIZE", "KEYS", "FLUSHDB"})
WHOLE_STORE: Final = frozenset({"FLUSHALL", "SWAPDB"})


def execute(tables: Tables, command: Command) -> Any:
    """Run a command on the databases, which it changes; on one partition or on all keys."""
    name, db, keys, values, _ = command
    table = tables[db]
    if name in {"GET", "MGET"}:
        return [table.get(key) for key in keys]
    if name in {"SET", "MSET"}:
        table.update(zip(keys, values, strict=True))
        return None
    if name == "INCR":
        table[keys[0]] = value = table.get(keys[0], 0) + 1
        return value
    if name == "DEL":
        return sum(table.pop(key, None) is not None for key in keys)
    if name == "EXISTS":
        return sum(key in table for key in keys)
    if name == "DBSIZE":
        return len(table)
    if name == "KEYS":
        return sorted(table)
    if name == "FLUSHDB":
        table.clear()
    elif name == "FLUSHALL":
        for each in tables:
            each.clear()
    else:
        assert name == "SWAPDB"
        tables[0], tables[1] = tables[1], tables[0]
    return None


def owner(key: bytes, workers: int) -> int:
    """Return the worker that owns a key."""
    return int(key) % workers


def split(command: Command, workers: int) -> dict[int, Part]:
    """Return each worker's part."""
    name, db, keys, values, tag = command
    write = name not in READS
    if name in WHOLE_STORE:
        return {worker: Part(None, None, write, command) for worker in range(workers)}
    if name in WHOLE_DB:
        return {worker: Part(db, None, write, command) for worker in range(workers)}
    positions: dict[int, list[int]] = {}
    for position, key in enumerate(keys):
        positions.setdefault(owner(key, workers), []).append(position)
    parts = {}
    for worker, some in positions.items():
        mine = tuple(keys[position] for position in some)
        args = tuple(values[position] for position in some) if values else ()
        parts[worker] = Part(db, mine, write, Command(name, db, mine, args, tag))
    return parts


def merge(command: Command, replies: dict[int, Any], workers: int) -> Any:
    """Merge the parts' replies into the command's."""
    if command.name in {"DEL", "EXISTS", "DBSIZE"}:
        return sum(replies.values())
    if command.name == "KEYS":
        return sorted(key for some in replies.values() for key in some)
    if command.name == "MGET":
        left = {worker: iter(some) for worker, some in replies.items()}
        return [next(left[owner(key, workers)]) for key in command.keys]
    return None


class StoreModel:
    """The whole store as one object: what one Redis would answer."""

    def initial(self) -> tuple[frozenset[tuple[bytes, int]], ...]:
        """Return the empty store."""
        return (frozenset(),) * DATABASES

    @staticmethod
    @lru_cache(maxsize=100_000)
    def step(state: Any, command: Command) -> tuple[Any, Any]:
        """Run a command."""
        tables = [dict(table) for table in state]
        reply = execute(tables, command)
        return tuple(frozenset(table.items()) for table in tables), reply

    def reads(self, command: Command) -> bool:
        """Tell whether a command never changes anything."""
        return command.name in READS


# -- what happened
# ------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Op:
    """One command of one client, and its outcome."""

    client: int
    command: Command
    after: list[Op]
    called: int
    returned: int = 0
    outcome: str = "none"  # then "answered", "refused" (it never ran) or "unknown"
    reply: object = None


@dataclass(slots=True, eq=False)
class Session:
    """A client's connection at its home."""

    client: Client
    queue: deque[Op] = field(default_factory=deque)
    running: int = 0
    barrier: bool = False


@dataclass(slots=True, eq=False)
class Client:
    """A client and what it still wants to do."""

    number: int
    todo: int
    home: int | None = None
    session: Session | None = None
    open: list[Op] = field(default_factory=list)


# -- a worker
# -----------------------------------------------------------------------------------------


class CountingGate:
    """What is closed, key by key; a pairing that breaks is noticed at once."""

    def __init__(self) -> None:
        self.closed: dict[tuple[int | None, bytes | None, bool], int] = {}

    def close(self, db: int | None, key: bytes | None, write_only: bool) -> None:
        where = (db, key, write_only)
        self.closed[where] = self.closed.get(where, 0) + 1

    def open(self, db: int | None, key: bytes | None, write_only: bool) -> None:
        where = (db, key, write_only)
        count = self.closed.pop(where, 0) - 1
        if count < 0:
            raise SimulationError(f"gate {where} opened, and was not closed")
        if count:
            self.closed[where] = count

    def lets(self, db: int, keys: tuple[bytes, ...], write: bool) -> bool:
        """Tell whether a fused command would run now."""
        closed = self.closed
        return not any(
            (at, key, write_only) in closed
            for write_only in ((False, True) if write else (False,))
            for at, key in ((None, None), (db, None), *((db, key) for key in keys))
        )


class Worker:
    """One life of one worker: owner of keys, home of clients. Logs are the world's, they outlive
    it.
    """

    def __init__(self, world: Simulation, index: int, life: int, peers: dict[int, int]) -> None:
        self.world = world
        self.index = index
        self.life = life
        self.peers = peers  # worker -> the life that our pipe leads to; missing: down
        self.serving = False
        self.tables: Tables = [{} for _ in range(DATABASES)]
        self.logged: dict[int, object] = {}
        for entry in world.logs[index]:
            if entry[0] == "release":
                del self.logged[entry[1]]
                continue
            execute(self.tables, entry[1])
            if entry[0] == "part":
                self.logged[entry[2]] = entry[3]
        self.gate = world.variant.gate()
        self.participant = world.variant.participant(self.run_part, self.gate, self.log_release)
        self.turn_log: list[tuple[Any, ...]] = []
        self.outbox: list[tuple[int, int, Message]] = []  # receiver, its life, message
        self.replies: list[tuple[Op, str, object]] = []
        self.early: list[tuple[int, int, int, Command]] = []  # hops that came before SERVE
        self.waiting: dict[int, list[tuple[int, Command]]] = {}  # hops to peers that are down
        self.next_ref = 0
        self.hops: dict[int, tuple[int, Session, Op]] = {}
        self.spans: dict[int, tuple[Session, Op]] = {}

    # As a participant.

    def run_part(self, part: Part, ticket: int, participants: tuple[int, ...]) -> object:
        assert isinstance(part.command, Command)
        assert self.index in participants
        reply = execute(self.tables, part.command)
        if part.write:
            self.turn_log.append(("part", part.command, ticket, reply))
        return reply

    def log_release(self, ticket: int) -> None:
        self.turn_log.append(("release", ticket))

    def send_done(self, done: list[tuple[int, object]]) -> None:
        for ticket, reply in done:
            self.outbox.append((SUPERVISOR, 0, (DONE, ticket, reply)))

    # As an owner.

    def run_ordinary(self, command: Command, answer: Callable[[object], None]) -> None:
        write = command.name not in READS

        def run() -> None:
            reply = execute(self.tables, command)
            if write:
                self.turn_log.append(("command", command))
            answer(reply)

        participant = self.participant
        fused = self.gate.lets(command.db, command.keys, write)
        admitted = not participant.busy or participant.admit(command.db, command.keys, write, run)
        if fused != admitted:
            raise SimulationError(f"gate says {fused}, locks {admitted}: {command}")
        if admitted:
            run()

    def run_hop(self, peer: int, life: int, ref: int, command: Command) -> None:
        self.run_ordinary(
            command, lambda reply: self.outbox.append((peer, life, (REPLY, ref, reply)))
        )

    # As a home.

    def pump(self, session: Session) -> None:
        """Start what may start: a spanning command is a barrier for its own client."""
        workers = self.world.workers
        while session.queue and not session.barrier:
            op = session.queue[0]
            parts = split(op.command, workers)
            if len(parts) > 1:
                if session.running:
                    return
                session.barrier = True
            session.queue.popleft()
            session.running += 1
            self.next_ref += 1
            if len(parts) > 1:
                self.spans[self.next_ref] = session, op
                write = op.command.name not in READS
                blobs = {worker: marshal.dumps(_plain(part)) for worker, part in parts.items()}
                self.outbox.append((SUPERVISOR, 0, (SPAN, self.next_ref, blobs, write)))
                return
            (target,) = parts
            if target == self.index:
                self.run_ordinary(op.command, self.answer_later(session, op))
            else:
                self.hops[self.next_ref] = target, session, op
                self.hop(target, self.next_ref, op.command)

    def answer_later(self, session: Session, op: Op) -> Callable[[object], None]:
        return lambda reply: self.finish(session, op, "answered", reply)

    def hop(self, target: int, ref: int, command: Command) -> None:
        life = self.peers.get(target)
        if life is None:
            self.waiting.setdefault(target, []).append((ref, command))
        else:
            self.outbox.append((target, life, (HOP, ref, command)))

    def finish(self, session: Session, op: Op, outcome: str, reply: object) -> None:
        self.replies.append((op, outcome, reply))
        session.running -= 1
        session.barrier = False
        self.pump(session)

    def peer_lost(self, peer: int) -> None:
        """Answer the hops that were under way to a peer: nobody knows whether they ran."""
        if self.peers.pop(peer, None) is None:
            return
        waiting = {ref for ref, _ in self.waiting.get(peer, ())}
        for ref, (target, session, op) in list(self.hops.items()):
            if target == peer and ref not in waiting:
                del self.hops[ref]
                self.finish(session, op, "unknown", None)

    # Messages.

    def take(self, sender: int, life: int, message: Message) -> None:
        """Take one message; what it causes goes out at the end of the turn."""
        kind = message[0]
        participant = self.participant
        if kind == LOCK:
            _, ticket, blob, participants, mode = message
            db, keys, write, command = marshal.loads(blob)
            part = Part(db, keys, write, Command(*command))
            self.send_done(participant.on_lock(ticket, part, participants, mode))
        elif kind == RELEASE:
            self.send_done(participant.on_release(message[1]))
        elif kind == RELEASED:
            for ticket in message[1]:
                self.log_release(ticket)
        elif kind == SERVE:
            self.serve()
        elif kind in (ANSWER, REFUSE):
            session, op = self.spans.pop(message[1])
            if kind == REFUSE:
                self.finish(session, op, "refused", message[2])
            else:
                reply = merge(op.command, message[2], self.world.workers)
                self.finish(session, op, "answered", reply)
        elif kind == HOP:
            if self.serving:
                self.run_hop(sender, life, message[1], message[2])
            else:
                self.early.append((sender, life, message[1], message[2]))
        elif kind == REPLY:
            if message[1] in self.hops:
                _, session, op = self.hops.pop(message[1])
                self.finish(session, op, "answered", message[2])
        elif kind == END:
            self.peer_lost(sender)
        else:
            assert kind == PEER
            _, peer, its_life = message
            self.peer_lost(peer)
            self.peers[peer] = its_life
            for ref, command in self.waiting.pop(peer, ()):
                self.hop(peer, ref, command)

    def serve(self) -> None:
        self.serving = True
        early, self.early = self.early, []
        for hop in early:
            self.run_hop(*hop)


def _plain(part: Part) -> tuple[Any, ...]:
    return (part.db, part.keys, part.write, tuple(part.command))  # type: ignore[arg-type]


# -- the world
# ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """What a run is made of; the tests of the tests replace one thing by a broken one."""

    coordinator: type[Coordinator] = Coordinator
    participant: type[Participant] = Participant
    gate: type[CountingGate] = CountingGate
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
        self.logs: list[list[tuple[Any, ...]]] = [[] for _ in range(self.workers)]
        self.coordinator = self.variant.coordinator(self.workers, 1)
        self.lives = [0] * self.workers
        self.living: dict[int, Worker] = {}
        self.noticed_dead: set[int] = set()  # by the supervisor
        self.failed_disks: set[int] = set()
        self.channels: dict[tuple[int, int], deque[tuple[int, int, Message]]] = {}
        self.pace: dict[tuple[int, int], float] = {}
        for sender in range(SUPERVISOR, self.workers):
            for receiver in range(SUPERVISOR, self.workers):
                if sender != receiver:
                    self.channels[sender, receiver] = deque()
                    self.pace[sender, receiver] = random.choice((1.0, 1.0, 0.3, 0.03))
        self.clients = [Client(number, ops) for number in range(clients)]
        self.history: list[Op] = []
        self.logged_at: dict[int, int] = {}  # tag -> when a write was logged, its last part
        self.deaths_left = random.choice((0, 0, 1, 2, 4))
        self.death_rate = random.choice((0.01, 0.03, 0.1))
        self.faults = True
        self.next_value = 0
        # Few keys and one database make conflicts; the other runs are for the rest.
        self.keys = KEYS[: random.choice((2, 3, 4, 6))]
        self.databases = random.choice((1, 1, DATABASES))
        self.menu = random.choices(_MENUS, weights=(3, 2, 2))[0]

    def tick(self) -> int:
        """Return the next logical time."""
        self.now += 1
        return self.now

    def run(self) -> list[Operation]:
        """Run to the end and return the history. Raises: SimulationError."""
        for index in range(self.workers):
            self.noticed_dead.add(index)
        while self.noticed_dead:
            self.spawn(min(self.noticed_dead))
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
        self.check_logs()
        return self.recorded()

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
            weights.append(0.1)
        if not things:
            return False
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
        dies = self.faults and self.deaths_left > 0 and self.random.random() < self.death_rate
        if dies and self.random.random() < 0.3:
            self.die(worker)
            return
        log = self.logs[worker.index]
        for entry in worker.turn_log:
            log.append(entry)
            if entry[0] != "release":
                self.logged_at[entry[1].tag] = self.tick()
        worker.turn_log.clear()
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
        elif kind == READY:
            self.emit(coordinator.on_worker_ready(sender, message[1]))
        else:
            assert kind == END
            self.noticed_dead.add(sender)
            self.failed_disks.discard(sender)
            self.emit(coordinator.on_worker_lost(sender))

    def emit(self, outgoing: Outgoing) -> None:
        for receiver, message in outgoing:
            self.send(SUPERVISOR, 0, receiver, self.lives[receiver], message)

    def spawn(self, index: int) -> None:
        """Start the next life of a worker, and hand the others their pipe ends to it."""
        self.noticed_dead.remove(index)
        self.lives[index] += 1
        life = self.lives[index]
        others = [
            other
            for other in range(self.workers)
            if other != index and other not in self.noticed_dead
        ]
        worker = Worker(self, index, life, {other: self.lives[other] for other in others})
        self.living[index] = worker
        for other in others:
            self.emit([(other, (PEER, index, life))])
        if self.variant.serve_early:
            worker.serve()
        self.send(index, life, SUPERVISOR, 0, (READY, worker.logged))

    # Faults.

    def fault(self) -> None:
        """Let something go wrong, or come right."""
        random = self.random
        what = random.random()
        if what < 0.3:
            if self.deaths_left and self.living:
                self.die(self.living[random.choice(sorted(self.living))])
        elif what < 0.5:
            client = random.choice(self.clients)
            if client.open and random.random() < 0.3:
                self.hang_up(client)
        elif what < 0.6:
            for index in sorted(self.noticed_dead):
                self.emit(self.coordinator.on_deadline(index))
        elif what < 0.65:
            index = random.randrange(self.workers)
            if index not in self.noticed_dead:
                self.failed_disks ^= {index}
                ok = index not in self.failed_disks
                self.emit(self.coordinator.on_disk_state(index, ok, b"MISCONF disk"))

    def stop_faults(self) -> None:
        """From now on nothing breaks, and what is broken is repaired."""
        self.faults = False
        for index in sorted(self.failed_disks):
            self.emit(self.coordinator.on_disk_state(index, True, b""))
        self.failed_disks.clear()

    def die(self, worker: Worker) -> None:
        """Kill a process: of what it sent a part arrives, what it was sent is lost."""
        self.deaths_left -= 1
        index = worker.index
        del self.living[index]
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
            command = self.invent()._replace(tag=len(self.history) + 1)
            after = [op for op in client.open if self.ordered(op.command, command)]
            op = Op(client.number, command, after, self.tick())
            self.history.append(op)
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
        many = name in {"MGET", "MSET", "DEL", "EXISTS"}
        count = random.randint(1, len(self.keys)) if many else 1
        if name in {"MGET", "DEL", "EXISTS"} and random.random() < 0.1:
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
        open_ops = [op for op in self.history if op.outcome == "none"]
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
        for index, log in enumerate(self.logs):
            tables: Tables = [{} for _ in range(DATABASES)]
            locked: dict[int, Command] = {}
            for entry in log:
                if entry[0] == "release":
                    locked.pop(entry[1], None)
                    continue
                execute(tables, entry[1])
                for ticket, command in locked.items():
                    if _overlap(command, entry[1]):
                        raise SimulationError(
                            f"worker {index} logs {entry} before #REL {ticket} of {command}"
                        )
                if entry[0] == "part":
                    locked[entry[2]] = entry[1]
            if locked:
                raise SimulationError(f"worker {index} lacks the #REL of {locked}")
            if tables != self.living[index].tables:
                raise SimulationError(f"worker {index} holds not what it logged")

    def recorded(self) -> list[Operation]:
        """Return the history, ended by a look at all the keys.

        Refused commands never happened. Of those whose outcome the client does not know, we do: a
        write that is in no log never happened either, and one that is took effect before it was
        logged.
        """
        ops = []
        for op in self.history:
            at = self.logged_at.get(op.command.tag)
            if op.outcome == "refused" and at is not None:
                raise SimulationError(f"refused and logged: {op}")
            if op.outcome == "unknown" and at is not None:
                op.reply, op.returned = ANYTHING, at
            if op.outcome == "answered" or at is not None:
                ops.append(op)
        numbers = {id(op): number for number, op in enumerate(ops)}
        history = [
            Operation(
                op.client,
                op.command._replace(tag=0),
                op.called,
                op.returned,
                op.reply,
                tuple(numbers[id(other)] for other in op.after if id(other) in numbers),
            )
            for op in ops
        ]
        for db in range(DATABASES):
            held = [self.living[owner(key, self.workers)].tables[db].get(key) for key in KEYS]
            called, returned = self.tick(), self.tick()
            history.append(Operation(-1, Command("MGET", db, KEYS), called, returned, held))
        return history


def _overlap(one: Command, other: Command) -> bool:
    if one.name in WHOLE_STORE or other.name in WHOLE_STORE:
        return True
    if one.db != other.db:
        return False
    if one.name in WHOLE_DB or other.name in WHOLE_DB:
        return True
    return not set(one.keys).isdisjoint(other.keys)


_WIDE: Final = ("DBSIZE", "KEYS", "FLUSHDB", "FLUSHALL", "SWAPDB")
# What the clients of a run like: everything; counters and deletes; hot keys.
_MENUS: Final = (
    (*["GET", "SET", "MGET", "MSET"] * 2, "INCR", "DEL", "EXISTS", *_WIDE),
    ("INCR", "INCR", "GET", "DEL", "DEL", "MSET", "MGET", "EXISTS", "DBSIZE"),
    ("GET", "SET", "MGET", "MSET"),
)
