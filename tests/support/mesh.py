"""Dispatchers of several workers in one process: real handlers, locks and coordinator, pipes in
memory whose frames arrive when the test lets them.
"""

from __future__ import annotations

import marshal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from random import Random
from typing import Any, Final, cast

from shoal.proto import messages as m
from shoal.proto.directives import Config
from shoal.proto.frames import MARSHAL_VERSION
from shoal.proto.resp_reader import RequestReader
from shoal.proto.slots import key_slot, owner_of, slot_range
from shoal.supervisor.coordinator import Coordinator
from shoal.supervisor.steps import Outgoing
from shoal.worker.client import Client
from shoal.worker.commands import load_all
from shoal.worker.connection import Block, Connection
from shoal.worker.dispatch import Dispatcher
from shoal.worker.keyspace import Store
from shoal.worker.peers import Peer, Uplink
from shoal.worker.server import Facts, Server

load_all()

NOW_MS = 1_700_000_000_000
NOBODY = cast(Any, None)
FACTS = Facts(
    run_id="0" * 40,
    supervisor_pid=1,
    start_ms=NOW_MS,
    config_file="",
    executable="",
    version="0",
    port=0,
    listeners=[],
)


class MemoryPeer(Peer):
    """A link whose frames wait in a deque.

    Attributes:
        wire: what is on its way to the other side.
        full: the pipe takes nothing: frames count as outbox.
    """

    def __init__(self, worker: int) -> None:
        super().__init__(worker, -1, -1)
        self.wire: deque[bytes] = deque()
        self.full = False

    def send(self, message: Any) -> None:
        frame = marshal.dumps(message, MARSHAL_VERSION)
        self.wire.append(frame)
        if self.full:
            self.outbox_bytes += len(frame)


class Socket:
    """A client's socket that takes everything, or nothing while it is full."""

    def __init__(self) -> None:
        self.got = b""
        self.full = False

    def fileno(self) -> int:
        return 99

    def send(self, data: bytes) -> int:
        if self.full:
            raise BlockingIOError
        self.got += data
        return len(data)

    def recv(self, size: int) -> bytes:
        raise BlockingIOError

    def sendmsg(self, pieces: Sequence[bytes]) -> int:
        return self.send(b"".join(pieces))

    def close(self) -> None:
        pass


class Log:
    """Stands in for the segment of a worker."""

    def __init__(self) -> None:
        self.records: list[tuple[int, tuple[bytes, ...]]] = []
        self.tickets: list[int] = []
        self.pieces: list[bytes] = []
        self.db = -1

    def log(self, db: int, argv: Sequence[bytes]) -> None:
        self.records.append((db, tuple(argv)))

    def log_all(self, db: int, effects: Sequence[Sequence[bytes]]) -> None:
        self.records += [(db, tuple(argv)) for argv in effects]

    def begin_ticket(self, ticket: int, participants: object) -> None:
        self.tickets.append(ticket)

    def end_ticket(self, reply: object) -> None:
        pass

    def log_ticket(
        self, ticket: int, participants: object, reply: object, db: int, effects: Any
    ) -> None:
        self.tickets.append(ticket)
        self.log_all(db, effects)


class Node:
    """One worker."""

    def __init__(self, index: int, workers: int, client_ids: Iterator[int]) -> None:
        self.index = index
        self.client_ids = client_ids
        self.store = Store(slot_range(index, workers), 16, Random(index))
        self.store.now_ms = NOW_MS
        self.server = Server(index, workers, Config(), self.store, FACTS, 1)
        self.peers = [None if i == index else MemoryPeer(i) for i in range(workers)]
        self.uplink = Uplink(-1, -1)
        self.dispatcher = Dispatcher(
            self.server, cast(list[Peer | None], self.peers), self.uplink, lambda: 0
        )
        self.generations: dict[int, int] = {}
        self.dispatcher.start(lambda ticket: None, self.generations)
        self.participant = self.dispatcher.participant
        self.server.on_pause_changed = self.dispatcher.pause_changed
        self.down: deque[tuple[Any, ...]] = deque()  # messages of the coordinator

    def peer(self, index: int) -> MemoryPeer:
        peer = self.peers[index]
        assert peer is not None
        return peer


class Mesh:
    """All the workers; nothing moves unless the test says so."""

    def __init__(self, workers: int, coordinator: type[Coordinator] = Coordinator) -> None:
        client_ids = count(1)
        self.nodes = [Node(index, workers, client_ids) for index in range(workers)]
        self.coordinator = coordinator(workers, 1)
        for node in self.nodes:
            self.coordinator.on_worker_ready(node.index, {})

    def connect(self, home: int = 0) -> Caller:
        return Caller(self.nodes[home])

    # -- steps

    def turn(self, node: Node) -> None:
        """Do what ends a turn: commands that had to wait, frames, replies."""
        node.dispatcher.run_resumable()
        node.dispatcher.end_blocking()
        self.write_log(node)
        for peer in node.peers:
            if peer is not None and peer.has_news() and peer.up:
                peer.send_turn(0, 0)
        messages, node.uplink.messages = node.uplink.messages, []
        for kind, *rest in messages:
            self.send(coordinated(self.coordinator, node.index, kind, rest))
        flushable, node.dispatcher.flushable = node.dispatcher.flushable, []
        for conn in flushable:
            conn.flush(head=conn.blocked is Block.KEYS)

    def write_log(self, node: Node) -> None:
        """Write what the turn has logged: before anything leaves the worker."""

    def send(self, messages: Outgoing) -> None:
        """Put the coordinator's messages on their way; the supervisor's own part is done here."""
        for worker, message in messages:
            if worker != m.SUPERVISOR:
                self.nodes[worker].down.append(message)
            elif message[0] == m.LOCK:
                self.send(self.coordinator.on_done(worker, message[1], b"{}"))

    def carry(self, source: Node, target: Node) -> bool:
        """Let one frame arrive."""
        wire = source.peer(target.index).wire
        if not wire:
            return False
        _, _, requests, replies, late, notes = marshal.loads(wire.popleft())
        back = target.peer(source.index)
        target.dispatcher.take_replies(back, replies, late)
        target.dispatcher.take_notes(back, notes)
        while requests:
            requests = target.dispatcher.run_requests(back, requests)
            if requests:
                self.turn(target)
        return True

    def hear(self, node: Node) -> bool:
        """Let one message of the coordinator arrive."""
        if not node.down:
            return False
        message = node.down.popleft()
        if message[0] != m.SERVE:
            assert node.dispatcher.on_message(message), message
        return True

    def steps(self) -> list[Callable[[], object]]:
        """Return what could happen next."""
        found: list[Callable[[], object]] = []
        for node in filter(self.is_alive, self.nodes):
            dispatcher = node.dispatcher
            news = any(peer is not None and peer.has_news() and peer.up for peer in node.peers)
            pushes = dispatcher.broker.pushes or dispatcher.tracking.due
            ours = dispatcher.flushable or dispatcher.resumable or pushes
            if news or node.uplink.messages or ours:
                found.append(lambda node=node: self.turn(node))  # type: ignore[misc]
            if node.down:
                found.append(lambda node=node: self.hear(node))  # type: ignore[misc]
            found += [
                lambda a=node, b=other: self.carry(a, b)  # type: ignore[misc]
                for other in self.nodes
                if other is not node and self.can_carry(node, other)
            ]
        return found

    def is_alive(self, node: Node) -> bool:
        """Tell whether a worker has a process."""
        return True

    def can_carry(self, source: Node, target: Node) -> bool:
        """Tell whether something from one worker is on its way to another."""
        return bool(source.peer(target.index).wire)

    def settle(self, random: Random | None = None) -> None:
        """Do everything there is to do, in an order that `random` chooses."""
        for _ in range(100_000):
            steps = self.steps()
            if not steps:
                return
            (steps[0] if random is None else random.choice(steps))()
        raise AssertionError("it does not come to an end")


def check_nothing_is_left(mesh: Mesh) -> None:
    """Assert that no worker, nor the coordinator, keeps anything of what clients have asked for: a
    lock, a ticket, one who waits, a reply that is due.
    """
    assert not mesh.coordinator.in_flight
    assert not mesh.coordinator.in_flight_bytes
    for node in mesh.nodes:
        dispatcher, blocking = node.dispatcher, node.dispatcher.blocking
        assert node.participant.idle()
        assert blocking.key_counts() == (0, 0)
        assert not blocking.offers
        assert node.store.on_change is None
        assert node.store.on_flush is None
        for database in node.store.databases():
            assert database.read == database.write == database.tables
        for peer in node.peers:
            if peer is not None:
                left = [peer.waiters, peer.deferred, peer.pending, peer.parked, peer.stalled]
                assert not any(left)
        entered, parts = dispatcher._entered, dispatcher.borrower.parts
        assert not any([dispatcher.spread_waits, entered, parts])
        assert not any([dispatcher._refs, dispatcher._paused])


ON_MESSAGE: Final[dict[int, Callable[[Coordinator, int, list[Any]], Outgoing | None]]] = {
    m.SPAN: lambda coordinator, worker, rest: coordinator.on_span(worker, *rest),
    m.DONE: lambda coordinator, worker, rest: coordinator.on_done(worker, *rest),
    m.LENT: lambda coordinator, worker, rest: coordinator.on_lent(worker, *rest),
    m.EFFECT: lambda coordinator, worker, rest: coordinator.on_effect(worker, *rest),
    m.RAN: lambda coordinator, worker, rest: coordinator.on_ran(worker, *rest),
    m.NEEDS: lambda coordinator, worker, rest: coordinator.on_needs(worker, *rest),
    m.FORGET: lambda coordinator, worker, rest: coordinator.on_forget(worker, *rest),
    m.HELD: lambda coordinator, worker, rest: coordinator.on_held(worker, *rest),
    m.SETTLED: lambda coordinator, worker, rest: coordinator.on_settled(worker, *rest),
    m.ABORT: lambda coordinator, worker, rest: coordinator.on_abort(*rest),
    m.TOOK: lambda coordinator, worker, rest: coordinator.on_took(*rest),
    m.APPLY_MORE: lambda coordinator, worker, rest: coordinator.on_apply_more(worker, *rest),
    m.DISK: lambda coordinator, worker, rest: coordinator.on_disk_state(worker, *rest),
}
"""How the coordinator takes the messages of workers, by their kind."""


def coordinated(coordinator: Coordinator, worker: int, kind: int, rest: list[Any]) -> Outgoing:
    """Let the coordinator take a worker's message, if it is for it; return what it sends."""
    take = ON_MESSAGE.get(kind)
    return (take(coordinator, worker, rest) or []) if take is not None else []


class Caller:
    """A client, from its own side."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.sock = Socket()
        number = next(node.client_ids)
        self.client = Client(node.server, number, b"a", b"b", 99)
        self.conn = Connection(
            cast(Any, self.sock),
            self.client,
            RequestReader(),
            node.dispatcher,
            lambda fd, events: None,
            self._gone,
        )
        self.conn.reader.authenticated = self.client.authenticated
        node.server.clients[number] = self.client

    def _gone(self, conn: Connection) -> None:
        del self.node.server.clients[conn.client.id]

    def send(self, *lines: str) -> None:
        """Send commands in one piece."""
        self.conn.accept_input(b"".join(map(request, lines)))

    def take(self) -> bytes:
        """Return what has been received since the last call."""
        got, self.sock.got = self.sock.got, b""
        return got


def request(line: str) -> bytes:
    words = line.encode().split(b" ")
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


def keys_of(worker: int, workers: int, count: int = 3) -> list[str]:
    """Return keys that a worker owns."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        if owner_of(key_slot(b"k%d" % number), workers) == worker:
            found.append(f"k{number}")
        number += 1
    return found


def lock(node: Node, ticket: int, key: str, *, write: bool = True, db: int = 0) -> None:
    """Lock a key as a part of a spanning command does, without running anything."""
    part = m_part(key, write, db)
    node.participant.on_lock(ticket, part, (0, 1), m.RELOCK)


def m_part(key: str, write: bool, db: int = 0) -> Any:
    blob = marshal.dumps((db, (key.encode(),), write, [b"DEL", key.encode()], 2, 0), 2)
    return Dispatcher.decode_part(NOBODY, blob)
