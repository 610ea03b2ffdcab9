"""Litmus tests on a real server: many small games at once, over connections of one process.

The first game is message passing by a queue. Client A sends `SET payload:n n` and `RPUSH queue n`
in one write, and does not wait for the answers; client B gets n by BLPOP and must find the payload.
The others are the tests of the table whose outcome is forbidden, one round after the other. Keys
are new ones all the time, so they lie anywhere; the server spreads the connections over the
workers.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

import hiredis
from support.litmus import FORBIDDEN, Litmus, commands_of
from support.raw import pack
from support.servers import Shoal

QUEUES: Final = 24  # pairs of A and B
AHEAD: Final = 8  # rounds that A is ahead of B, at most
PER_QUEUE: Final = 50  # rounds until another key is the queue
IDLE_S: Final = 60.0  # without any reply: a hang
JANITOR: Final = 500  # keys that are deleted at once

Send = Callable[[bytes], None]


class Connection:
    """One client: what it sends, and who takes its replies."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.take: Callable[[Any], None]
        self._reader = hiredis.Reader()

    def send(self, data: bytes) -> None:
        """Send in one write: the replies that are due are few, so it never waits."""
        self.sock.sendall(data)

    def receive(self) -> None:
        """Take what has come."""
        data = self.sock.recv(1 << 16)
        if not data:
            raise AssertionError("the server has closed a connection")
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                raise AssertionError(f"the server says {reply}")
            self.take(reply)


class Tally:
    """What was played, over all games.

    Attributes:
        rounds: by game.
        misses: the outcomes that must not be, as text.
    """

    def __init__(self, rounds: int) -> None:
        self.rounds: Counter[str] = Counter()
        self.misses: list[str] = []
        self._left = rounds

    def start(self) -> bool:
        """Tell whether one more round may begin."""
        self._left -= 1
        return self._left >= 0


class Queue:
    """A pair of A and B; B waits for one key, or for two that lie anywhere."""

    name = "payload and queue"

    def __init__(self, number: int, a: Connection, b: Connection, tally: Tally) -> None:
        self._id = b"%d" % number
        self._a, self._b = a, b
        self._tally = tally
        self._two = number % 4 == 0
        self._sent = self._done = 0
        self._over = False
        self._popped = -1
        a.take = self._acknowledged
        b.take = self._heard
        self._go_on()

    @property
    def over(self) -> bool:
        """Whether every round is done."""
        return self._over and self._done == self._sent

    def _queue(self, n: int) -> bytes:
        return b"queue:%b:%d" % (self._id, n // PER_QUEUE)

    def _payload(self, n: int) -> bytes:
        return b"payload:%b:%d" % (self._id, n)

    def _go_on(self) -> None:
        """Let A be ahead."""
        while not self._over and self._sent - self._done < AHEAD:
            if not self._tally.start():
                self._over = True
                return
            n = b"%d" % self._sent
            payload, queue = self._payload(self._sent), self._queue(self._sent)
            self._a.send(pack(b"SET", payload, n) + pack(b"RPUSH", queue, n))
            self._sent += 1
            if self._sent == 1:
                self._b.send(self._pop())

    def _pop(self) -> bytes:
        keys = [self._queue(self._done)]
        if self._two:
            keys.append(b"never:%b:%d" % (self._id, self._done))
        return pack(b"BLPOP", *keys, b"0")

    def _acknowledged(self, reply: Any) -> None:
        """A does not care."""

    def _heard(self, reply: Any) -> None:
        if self._popped < 0:
            self._popped = int(reply[1])
            self._b.send(pack(b"GETDEL", self._payload(self._popped)))
            return
        if reply is None:
            self._tally.misses.append(f"{self.name}: {self._popped} was popped, no payload")
        elif int(reply) != self._popped or self._popped != self._done:
            raise AssertionError(f"{reply!r} for {self._popped}, round {self._done}")
        self._tally.rounds[self.name] += 1
        self._popped = -1
        self._done += 1
        self._go_on()
        if self._done < self._sent:
            self._b.send(self._pop())
        elif not self._over:
            raise AssertionError("A is not ahead")


class Rounds:
    """A test of the table."""

    def __init__(
        self,
        name: str,
        number: int,
        test: Litmus,
        connections: list[Connection],
        tally: Tally,
        done_with: Callable[[bytes], None],
    ) -> None:
        self.name = name
        self.over = False
        self._test = test
        self._connections = connections
        self._tally = tally
        self._done_with = done_with
        self._prefix = b"%d" % number
        self._round = 0
        for me, connection in enumerate(connections):
            connection.take = lambda reply, me=me: self._heard(me, reply)  # type: ignore[misc]
        self._begin()

    def _begin(self) -> None:
        if not self._tally.start():
            self.over = True
            return
        self._round += 1
        keys = {name: b"%b:%d:%b" % (self._prefix, self._round, name.encode()) for name in "xy"}
        self._keys = keys
        self._todo = [deque(commands_of(text, keys)) for text in self._test.clients]
        self._reads: list[list[int]] = [[] for _ in self._todo]
        self._due = [0] * len(self._todo)
        for me in Random(self._round).sample(range(len(self._todo)), len(self._todo)):
            self._go_on(me)

    def _go_on(self, me: int) -> None:
        todo = self._todo[me]
        if not todo or self._due[me]:
            return
        count = len(todo) if self._test.pipelined[me] else 1
        self._due[me] = count
        self._connections[me].send(b"".join(pack(*todo[at]) for at in range(count)))

    def _heard(self, me: int, reply: Any) -> None:
        argv = self._todo[me].popleft()
        self._due[me] -= 1
        if argv[0] == b"GET":
            self._reads[me].append(int(reply or 0))
        self._go_on(me)
        if any(self._todo):
            return
        self._tally.rounds[self.name] += 1
        if tuple(map(tuple, self._reads)) == self._test.outcome:
            self._tally.misses.append(f"{self.name}: {self._test.outcome}")
        for key in self._keys.values():
            self._done_with(key)
        self._begin()


class Janitor:
    """Deletes the keys of rounds that are over."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        connection.take = lambda reply: None
        self._keys: list[bytes] = []

    def done_with(self, key: bytes) -> None:
        """Delete a key soon."""
        self._keys.append(key)
        if len(self._keys) == JANITOR:
            self._connection.send(b"".join(pack(b"UNLINK", key) for key in self._keys))
            self._keys.clear()


@contextmanager
def burner() -> Iterator[None]:
    """Load a core meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def play(rounds: int, workers: int) -> Tally:
    """Play so many rounds on a new server, half of them by queues."""
    tallies = Tally(rounds - rounds // 2), Tally(rounds // 2)
    connections: list[Connection] = []
    with Shoal("--appendonly", "no", workers=workers) as shoal, burner():
        selector = selectors.DefaultSelector()

        def connect() -> Connection:
            connection = Connection(shoal.port)
            connections.append(connection)
            selector.register(connection.sock, selectors.EVENT_READ, connection)
            return connection

        try:
            janitor = Janitor(connect())
            games: list[Queue | Rounds] = [
                Rounds(
                    name,
                    number,
                    test,
                    [connect() for _ in test.clients],
                    tallies[1],
                    janitor.done_with,
                )
                for number, (name, test) in enumerate(FORBIDDEN.items())
            ]
            games += [Queue(number, connect(), connect(), tallies[0]) for number in range(QUEUES)]
            while not all(game.over for game in games):
                events = selector.select(IDLE_S)
                assert events, "no reply for a minute"
                for key, _ in events:
                    key.data.receive()
        finally:
            for connection in connections:
                connection.sock.close()
            selector.close()
    tally = tallies[0]
    tally.rounds += tallies[1].rounds
    tally.misses += tallies[1].misses
    return tally


def report(tally: Tally, workers: int, seconds: float) -> str:
    """Return what a run has found."""
    total = tally.rounds.total()
    lines = [f"{workers} workers, {total} rounds, {seconds:.0f} s, {os.cpu_count()} CPUs"]
    lines += [f"  {count:>9} {name}" for name, count in sorted(tally.rounds.items())]
    lines += [f"  misses: {len(tally.misses)}", *(f"    {miss}" for miss in tally.misses[:20])]
    return "\n".join(lines)


def run(rounds: int, workers: int) -> bool:
    """Play, print, and tell whether there was no miss."""
    started = time.monotonic()
    tally = play(rounds, workers)
    print(report(tally, workers, time.monotonic() - started), flush=True)
    return not tally.misses
