"""One worker of the simulation: an owner of keys, a home of clients, with its real segment.

Real are the `Participant` and the `Segment`; the keyspace is a dict for each database. A worker is
told one message after the other (`take`), then its turn ends (`write_log`); what it has to say then
is in `outbox` and `replies`, for `support/simulation.py` to deliver, or not.
"""

from __future__ import annotations

import marshal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shoal.proto.aof_format import Command as Argv
from shoal.proto.messages import (
    ANSWER,
    DISK,
    DONE,
    LOCK,
    REFUSE,
    RELEASE,
    RELEASED,
    SERVE,
    SPAN,
    SUPERVISOR,
    Message,
)
from shoal.supervisor.recovery import SegmentPlan
from shoal.worker.aof import Source, load, open_segment
from shoal.worker.participant import Part
from support.disk import FakeSyncer
from support.simulated_store import (
    READS,
    Command,
    empty_tables,
    execute,
    from_argv,
    merge,
    run_part,
    split,
    to_argv,
    touched,
)

if TYPE_CHECKING:
    from support.simulation import Simulation

DIRECTORY: Final = "/aof"

# Messages of the simulated workers among themselves and with the simulated supervisor.
HOP, REPLY, END, PEER, READY = 101, 102, 103, 104, 105


class SimulationError(AssertionError):
    """The run ended, or stopped, in a state that must not be."""


# -- what happened --------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Op:
    """One command of one client, and its outcome.

    Attributes:
        parts: how many workers have one.
        logged: those whose log has made theirs known to others, a write's.
        logged_at: when the last of them did, 0 before.
    """

    client: int
    command: Command
    after: list[Op]
    called: int
    parts: int
    returned: int = 0
    outcome: str = "none"  # then "answered", "refused" (it never ran) or "unknown"
    reply: object = None
    logged: set[int] = field(default_factory=set)
    logged_at: int = 0


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


# -- a worker -------------------------------------------------------------------------------------


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


Answer = Callable[[str, object], None]  # outcome, reply


class Worker:
    """One life of one worker: owner of keys, home of clients."""

    def __init__(
        self, world: Simulation, index: int, life: int, peers: dict[int, int], plan: SegmentPlan
    ) -> None:
        self.world = world
        self.index = index
        self.life = life
        self.peers = peers  # worker -> the life that our pipe leads to; missing: down
        self.serving = False
        self.tables = empty_tables()
        disk, files = world.disks[index], world.manifest.workers[index]
        self._loading_db = 0
        source = Source(files, plan.end, plan.skip)
        load(disk, DIRECTORY, source, self._replay, now_ms=world.now_ms)
        self.syncer = FakeSyncer(disk)
        self.segment = open_segment(
            disk, DIRECTORY, files, world.policy, self.syncer, open_tickets=plan.logged
        )
        self.acknowledged_bytes = self.log_bytes
        self.disk_ok = True
        self.gate = world.variant.gate()
        self.participant = world.variant.participant(
            self.run_part, self.gate, world.variant.release_of(self.segment)
        )
        self.turn_log: list[Command] = []  # what was logged and is not acknowledged
        self.outbox: list[tuple[int, int, Message]] = []  # receiver, its life, message
        self.replies: list[tuple[Op, str, object]] = []
        self.held_messages: list[tuple[int, int, Message]] = []  # until the log lets them go
        self.held_replies: list[tuple[Op, str, object]] = []
        self.early: list[tuple[int, int, int, Command]] = []  # hops that came before SERVE
        self.waiting: dict[int, list[tuple[int, Command]]] = {}  # hops to peers that are down
        self.next_ref = 0
        self.hops: dict[int, tuple[int, Session, Op]] = {}
        self.spans: dict[int, tuple[Session, Op]] = {}

    # Its log.

    def _replay(self, argv: Argv) -> None:
        if argv[0] == b"SELECT":
            self._loading_db = int(argv[1])
            return
        command = from_argv(argv, self._loading_db)
        self.world.on_replay(self.index, command, touched(self.tables, command))
        execute(self.tables, command)

    @property
    def log_bytes(self) -> int:
        return int(self.segment.info()["aof_current_size"])

    @property
    def may_die_alone(self) -> bool:
        """Whether no acknowledged byte of the log is in this process only.

        A write that everysec postpones, or that a failing disk does not take, is acknowledged all
        the same; who loses such a worker loses it, as in Redis, and the history would show it.
        """
        unwritten = int(self.segment.info()["aof_buffer_length"])
        return self.acknowledged_bytes <= self.log_bytes - unwritten

    @property
    def needs_time(self) -> bool:
        segment = self.segment
        behind = int(segment.info()["aof_buffer_length"])
        return bool(behind or self.held_replies or self.held_messages) or not segment.last_write_ok

    # As a participant.

    def run_part(self, part: Part, ticket: int, participants: tuple[int, ...]) -> object:
        command = part.command
        assert isinstance(command, Command)
        assert self.index in participants
        self.world.on_run(self.index, command, touched(self.tables, command))
        reply = run_part(self.tables, command, self.world.random)
        if part.write:
            self.segment.log_ticket(ticket, participants, reply, command.db, [to_argv(command)])
            self.turn_log.append(command)
        return reply

    def send_done(self, done: list[tuple[int, object]]) -> None:
        for ticket, reply in done:
            self.outbox.append((SUPERVISOR, 0, (DONE, ticket, reply)))

    # As an owner.

    def run_ordinary(self, command: Command, answer: Answer) -> None:
        write = command.name not in READS

        def run() -> None:
            if write and not self.segment.last_write_ok:
                answer("refused", "MISCONF")
                return
            self.world.on_run(self.index, command, touched(self.tables, command))
            reply = execute(self.tables, command)
            if write:
                self.segment.log(command.db, to_argv(command))
                self.turn_log.append(command)
            answer("answered", reply)

        participant = self.participant
        fused = self.gate.lets(command.db, command.keys, write)
        admitted = not participant.busy or participant.admit(command.db, command.keys, write, run)
        if fused != admitted:
            raise SimulationError(f"gate says {fused}, locks {admitted}: {command}")
        if admitted:
            run()

    def run_hop(self, peer: int, life: int, ref: int, command: Command) -> None:
        def answer(outcome: str, reply: object) -> None:
            self.outbox.append((peer, life, (REPLY, ref, outcome, reply)))

        self.run_ordinary(command, answer)

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

    def answer_later(self, session: Session, op: Op) -> Answer:
        return lambda outcome, reply: self.finish(session, op, outcome, reply)

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
                self.segment.release(ticket)
        elif kind == SERVE:
            self.serve()
        elif kind in (ANSWER, REFUSE):
            session, op = self.spans.pop(message[1])
            if kind == REFUSE:
                self.finish(session, op, "refused", message[2])
            else:
                reply = merge(op.command, message[2], self.world.workers, self.world.random)
                self.finish(session, op, "answered", reply)
        elif kind == HOP:
            if self.serving:
                self.run_hop(sender, life, message[1], message[2])
            else:
                self.early.append((sender, life, message[1], message[2]))
        elif kind == REPLY:
            if message[1] in self.hops:
                _, session, op = self.hops.pop(message[1])
                self.finish(session, op, message[2], message[3])
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

    # The end of a turn.

    def write_log(self) -> None:
        """Write the log, as far as the disk lets us, and hold back what that does not cover."""
        segment, now_ms = self.segment, self.world.now_ms
        if self.syncer.running is not None and self.world.random.random() < 0.3:
            self.syncer.finish()
        if self.world.variant.hold(segment.flush(now_ms)):
            self.held_replies += self.replies
            self.replies = []
            held = [item for item in self.outbox if item[2][0] in (REPLY, DONE)]
            self.outbox = [item for item in self.outbox if item[2][0] not in (REPLY, DONE)]
            self.held_messages += held
        else:
            self.replies = self.held_replies + self.replies
            self.outbox = self.held_messages + self.outbox
            self.held_replies, self.held_messages = [], []
            self.acknowledged_bytes = self.log_bytes
            for command in self.turn_log:
                self.world.on_logged(self.index, command)
            self.turn_log.clear()
        if segment.last_write_ok != self.disk_ok:
            self.disk_ok = segment.last_write_ok
            text = (segment.error_text or "").encode()
            self.outbox.append((SUPERVISOR, 0, (DISK, self.disk_ok, text)))


def _plain(part: Part) -> tuple[Any, ...]:
    assert isinstance(part.command, Command)
    return (part.db, part.keys, part.write, tuple(part.command))
