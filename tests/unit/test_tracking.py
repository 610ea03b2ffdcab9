"""Clients that cache, on three workers: once all is quiet, none of them has a stale value.

The handlers, locks and coordinator are the real ones; frames arrive in an order that a seed decides
(`support/mesh.py`). A client here does what a library does: it caches what it reads, and drops what
it is told to.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any
from unittest.mock import patch

import hiredis
import pytest
from shoal.proto.slots import key_slot, owner_of
from shoal.worker.connection import Connection
from shoal.worker.dispatch import Dispatcher
from shoal.worker.expire import ExpireCycle
from shoal.worker.peers import Peer
from shoal.worker.tracking import Tracking
from support.mesh import Caller, Mesh, keys_of
from support.seeds import blocks, repeat

WORKERS = 3
KEYS = [key for worker in range(WORKERS) for key in keys_of(worker, WORKERS, 3)]
MODES = ("", "OPTIN", "OPTOUT", "NOLOOP", "BCAST", "BCAST PREFIX k NOLOOP", "REDIRECT", "EAR")
MUTANT_SEEDS = 300


class Cacher:
    """A client that caches.

    Attributes:
        cache: key -> the value that was read.
        hits: how many values were cached in all.
    """

    def __init__(self, mesh: Mesh, random: Random, mode: str) -> None:
        self.mode = mode
        self.cache: dict[bytes, object] = {}
        self.hits = 0
        # Where invalidations come to another connection, a reply may be overtaken by one: what is
        # told while a key is being read makes that reply worthless.
        self.by_ear = mode in ("REDIRECT", "EAR")
        self._under_way: dict[bytes, int] = {}
        self._asked: deque[tuple[str, list[bytes], int]] = deque()
        self._number = 0
        self.data = mesh.connect(random.randrange(WORKERS))
        self.ear = mesh.connect(random.randrange(WORKERS)) if self.by_ear else self.data
        self._readers = {id(one): hiredis.Reader() for one in (self.data, self.ear)}
        for one in dict.fromkeys((self.data, self.ear)):
            one.send("HELLO 3")
        self._ask("PING", [])
        if mode == "EAR":
            self.ear.send("CLIENT TRACKING ON BCAST")
        elif mode == "REDIRECT":
            self._ask(f"CLIENT TRACKING ON REDIRECT {self.ear.client.id}", [])
        else:
            self._ask(f"CLIENT TRACKING ON {mode}".strip(), [])

    def _ask(self, line: str, reads: list[bytes]) -> str:
        self._number += 1
        for key in reads:
            self._under_way[key] = self._number
        self._asked.append((line, reads, self._number))
        self.data.send(line)
        return line

    def act(self, random: Random, value: int) -> None:
        """Send a few commands."""
        for _ in range(random.randint(1, 3)):
            key = random.choice(KEYS)
            others = random.sample(KEYS, 2)
            if self.mode == "OPTIN" and random.random() < 0.8:
                self._ask("CLIENT CACHING YES", [])
                self._ask(f"GET {key}", [key.encode()])
                continue
            if self.mode == "OPTIN" or (self.mode == "OPTOUT" and random.random() < 0.2):
                self._ask("CLIENT CACHING NO" if self.mode == "OPTOUT" else "PING", [])
                self._ask(f"GET {key}", [])
                continue
            way = random.random()
            if way < 0.5:
                self._ask(f"GET {key}", [key.encode()])
            elif way < 0.75:
                self._ask(f"MGET {' '.join(others)}", [other.encode() for other in others])
            elif way < 0.85:
                script = "return{redis.call('get',KEYS[1]),redis.call('get',KEYS[2])}"
                line = f"EVAL {script} 2 {others[0]} {others[1]}"
                self._ask(line, [other.encode() for other in others])
            elif way < 0.93:
                self._ask(f"SET {key} {value}", [])
            else:
                for line in ("MULTI", f"GET {others[0]}", f"GET {others[1]}"):
                    self._ask(line, [])
                self._ask("EXEC", [other.encode() for other in others])

    def hear(self) -> None:
        """Take what has come."""
        for one in dict.fromkeys((self.data, self.ear)):
            reader = self._readers[id(one)]
            reader.feed(one.take())
            while (reply := reader.gets()) is not False:
                if isinstance(reply, hiredis.PushNotification):
                    self._forget(reply)
                elif one is self.data and isinstance(reply, dict):
                    continue  # HELLO
                elif one is self.data:
                    self._answered(reply)

    def _forget(self, push: Any) -> None:
        assert push[0] == b"invalidate", push
        if push[1] is None:
            self.cache.clear()
            self._under_way.clear()
            return
        for key in push[1]:
            self.cache.pop(key, None)
            self._under_way.pop(key, None)

    def _answered(self, reply: Any) -> None:
        line, reads, number = self._asked.popleft()
        assert not isinstance(reply, hiredis.HiredisError), (line, reply)
        words = line.split()
        if words[0] == "SET" and "NOLOOP" in self.mode:
            self.cache.pop(words[1].encode(), None)  # its own change, of which nobody tells it
        values = reply if isinstance(reply, list) else [reply]
        for key, value in zip(reads, values, strict=True) if reads else ():
            if not self.by_ear or self._under_way.get(key) == number:
                self.cache[key] = value
                self.hits += 1


def change(caller: Caller, random: Random, value: int, now_ms: int) -> None:
    """Change keys in any way."""
    key, other, third = random.sample(KEYS, 3)
    caller.send(
        *random.choice(
            [
                (f"SET {key} {value}",),
                (f"SET {key} {value}",),
                (f"SET {key} {value}", f"GET {key}", f"SET {other} {value}"),
                (f"SET {key} {value} PXAT {now_ms + random.randint(1, 30)}",),
                (f"MSET {key} {value} {other} {value}",),
                (f"DEL {key} {other}",),
                (f"APPEND {key} x",),
                (f"COPY {key} {other} REPLACE",),
                (f"BITOP OR {key} {other} {third}",),
                ("MULTI", f"SET {key} {value}", f"APPEND {other} x", f"DEL {third}", "EXEC"),
                (f"EVAL redis.call('set',KEYS[1],{value}) 2 {key} {other}",),
                (random.choice(("FLUSHALL", "FLUSHDB")),),
                (f"GETDEL {key}",),
                ("CLIENT TRACKING ON", f"GET {key}", "CLIENT TRACKING OFF"),
            ]
        )
    )


def run(seed: int) -> int:
    """Play a game and return how many values were cached. Raises: AssertionError."""
    random = Random(seed)
    mesh = Mesh(WORKERS)
    cachers = [Cacher(mesh, random, random.choice(MODES)) for _ in range(random.randint(1, 5))]
    writers = [mesh.connect(random.randrange(WORKERS)) for _ in range(3)]
    mesh.settle(random)
    for value in range(1, random.randint(6, 41)):
        now_ms = mesh.nodes[0].store.now_ms
        way = random.random()
        if way < 0.45:
            random.choice(cachers).act(random, value)
        elif way < 0.8:
            change(random.choice(writers), random, value, now_ms)
        elif way < 0.85:
            for node in mesh.nodes:
                node.store.now_ms = now_ms + 7
        for _ in range(random.randrange(6)):
            steps = mesh.steps()
            if steps:
                random.choice(steps)()
    mesh.settle(random)
    for node in mesh.nodes:
        node.store.now_ms += 1000
        ExpireCycle(node.store, lambda: 0).run(1)
    mesh.settle(random)
    for cacher in cachers:
        cacher.hear()
        assert not cacher._asked
        for key, cached in cacher.cache.items():
            owner = mesh.nodes[owner_of(key_slot(key), WORKERS)]
            stored = owner.store.view(0).find(key)
            found = stored if stored is None or isinstance(stored, bytes) else bytes(stored.data)
            assert cached == found, f"{cacher.mode}: {key!r} is {found!r}, cached is {cached!r}"
    return sum(cacher.hits for cacher in cachers)


@pytest.mark.parametrize("seeds", blocks("0-199"))
def test_nobody_keeps_a_stale_value(seeds: range) -> None:
    hits = 0
    for seed in seeds:
        with repeat(seed):
            hits += run(seed)
    assert hits


def _in_front(self: Connection, data: bytes, *, ahead: bool = False) -> None:
    self.push(data)


def _notes_first(self: Peer, stamp_ns: int, seq: int) -> None:
    self.send((stamp_ns, seq, self.requests, [], [], self.notes))
    self.send((stamp_ns, seq, [], self.replies, self.late, []))
    self.requests, self.replies, self.late, self.notes = [], [], [], []
    self.context = None


def _forgets_what_was_lent(self: Tracking) -> list[bytes]:
    self.away.clear()
    return []


def _keeps_fused_writes(self: Dispatcher) -> None:
    pass


def _ignores_flush(self: Tracking, worker: int, ticket: int) -> None:
    pass


def _tells_flush_at_once(self: Tracking, worker: int, ticket: int) -> None:
    if worker == self._index:
        self.forget_all()


MUTANTS: dict[str, tuple[type, str, Any]] = {
    "pushes in front of replies": (Connection, "push_behind", _in_front),
    "notes before replies": (Peer, "send_turn", _notes_first),
    "what was lent is not tracked": (Tracking, "take_away", _forgets_what_was_lent),
    "fused writes": (Dispatcher, "_choose_fused", _keeps_fused_writes),
    "flushes are not told": (Tracking, "_hear_flush", _ignores_flush),
    "a flush is told when it was done at home": (Tracking, "_hear_flush", _tells_flush_at_once),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_rule_shows(mutant: str) -> None:
    owner, name, function = MUTANTS[mutant]
    with patch.object(owner, name, function):
        for seed in range(MUTANT_SEEDS):
            try:
                run(seed)
            except AssertionError:
                return
    raise AssertionError(f"{mutant}: shows in no seed")
