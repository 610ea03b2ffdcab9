"""Transactions over a mesh of workers, frames and commands in an order that a seed decides."""

from collections.abc import Generator
from random import Random
from typing import Any

import hiredis
import pytest
from support.mesh import Caller, Mesh, keys_of, lock

WORKERS = 3
SEEDS = range(40)
STEPS = 20_000

# Yields lines to send in one piece, and is sent their replies.
Script = Generator[tuple[str, ...], list[Any], None]


class Actor:
    """A client that follows a script."""

    def __init__(self, caller: Caller, script: Script) -> None:
        self.caller = caller
        self.script = script
        self.reader = hiredis.Reader()
        self.replies: list[Any] = []
        self.wanted = 0
        self.done = False

    @property
    def can_act(self) -> bool:
        self.reader.feed(self.caller.take())
        while (reply := self.reader.gets()) is not False:
            self.replies.append(reply)
        return not self.done and len(self.replies) >= self.wanted

    def act(self) -> None:
        replies, self.replies = self.replies, []
        try:
            lines = self.script.send(replies) if self.wanted else next(self.script)
        except StopIteration:
            self.done = True
            return
        self.wanted = len(lines)
        self.caller.send(*lines)


def play(mesh: Mesh, actors: list[Actor], random: Random) -> None:
    """Let all scripts come to their end."""
    for _ in range(STEPS):
        able = [actor.act for actor in actors if actor.can_act]
        steps = [*mesh.steps(), *able]
        if not steps:
            break
        random.choice(steps)()
    assert all(actor.done for actor in actors), "it does not come to an end"
    mesh.settle()
    for node in mesh.nodes:
        assert not node.dispatcher.transactions._series
        assert not node.dispatcher.transactions.watches._watchers
        assert node.participant.idle()
        assert node.store.on_change is None


def incrementer(key: str, times: int, won: list[str], *, pipelined: bool) -> Script:
    """Add one, in the way of WATCH, GET, MULTI, SET, EXEC, until it has worked so many times."""
    for _ in range(times):
        while True:
            if pipelined:
                _, value = yield (f"WATCH {key}", f"GET {key}")
            else:
                yield (f"WATCH {key}",)
                (value,) = yield (f"GET {key}",)
            number = int(value or 0) + 1
            *_, reply = yield ("MULTI", f"SET {key} {number}", f"GET {key}", "EXEC")
            if reply is not None:
                assert reply == [b"OK", b"%d" % number]
                won.append(key)
                break


def disturber(keys: list[str], random: Random) -> Script:
    """Watch and forget, in every way there is."""
    for _ in range(20):
        yield (f"WATCH {random.choice(keys)}", f"WATCH {' '.join(keys)}")
        yield random.choice(
            [("UNWATCH",), ("MULTI", "PING", "DISCARD"), ("MULTI", "NOSUCH", "EXEC"), ("RESET",)]
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_no_increment_is_lost(seed: int) -> None:
    random = Random(seed)
    mesh = Mesh(WORKERS)
    keys = [keys_of(worker, WORKERS, 1)[0] for worker in range(WORKERS)]
    won: list[str] = []
    actors = [
        Actor(
            mesh.connect(number % WORKERS),
            incrementer(random.choice(keys[:2]), 5, won, pipelined=random.random() < 0.5),
        )
        for number in range(5)
    ]
    actors.append(Actor(mesh.connect(0), disturber(keys, random)))
    play(mesh, actors, random)
    reader = mesh.connect()
    for key in keys:
        reader.send(f"GET {key}")
        mesh.settle()
        count = won.count(key)
        value = b"%d" % count
        assert reader.take() == (b"$%d\r\n%b\r\n" % (len(value), value) if count else b"$-1\r\n")
    assert len(won) == 25


def writer(tag: str, name: int, times: int) -> Script:
    for number in range(times):
        value = f"{name}-{number}"
        sets = [f"SET {{{tag}}}{key} {value}" for key in "abc"]
        gets = [f"GET {{{tag}}}{key}" for key in "cba"]
        *_, reply = yield ("MULTI", *sets, *gets, "EXEC")
        assert reply == [b"OK"] * 3 + [value.encode()] * 3


def reader(tag: str, times: int) -> Script:
    for _ in range(times):
        *_, reply = yield ("MULTI", "ECHO x", *[f"GET {{{tag}}}{key}" for key in "abc"], "EXEC")
        assert reply[0] == b"x"
        assert len(set(reply[1:])) == 1, reply
        (reply,) = yield (f"MGET {{{tag}}}a {{{tag}}}b {{{tag}}}c",)
        assert len(set(reply)) == 1, reply


def locker(tag: str, elsewhere: str, times: int) -> Script:
    """Spanning commands, in whose queues the transactions stand."""
    for number in range(times):
        same = " ".join(f"{{{tag}}}{key} L{number}" for key in "abc")
        yield (f"MSET {same} {elsewhere} L{number}",)


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_sees_half_of_one(seed: int) -> None:
    random = Random(seed)
    mesh = Mesh(WORKERS)
    tag = keys_of(random.randrange(WORKERS), WORKERS, 3)[random.randrange(3)]
    elsewhere = keys_of(random.randrange(WORKERS), WORKERS, 1)[0]
    scripts = [
        writer(tag, 1, 10),
        writer(tag, 2, 10),
        reader(tag, 10),
        reader(tag, 10),
        locker(tag, elsewhere, 10),
    ]
    actors = [Actor(mesh.connect(random.randrange(WORKERS)), script) for script in scripts]
    play(mesh, actors, random)


def test_a_transaction_waits_for_the_lock_of_any_of_its_keys() -> None:
    mesh = Mesh(2)
    mine, theirs = keys_of(0, 2), keys_of(1, 2)
    lock(mesh.nodes[0], 1, mine[1])
    lock(mesh.nodes[1], 1, theirs[1])
    for keys in (mine, theirs):
        client = mesh.connect(0)
        client.send("MULTI", f"SET {keys[0]} 1", f"GET {keys[1]}", "EXEC", f"GET {keys[0]}")
        mesh.settle()
        assert b"*2" not in client.take()
        other = mesh.connect(1)
        other.send(f"GET {keys[0]}")
        mesh.settle()
        assert other.take() == b"", "it overtook"
        mesh.nodes[keys is theirs].participant.on_release(1)
        mesh.settle()
        assert client.take().endswith(b"*2\r\n+OK\r\n$-1\r\n$1\r\n1\r\n")
        assert other.take() == b"$1\r\n1\r\n"


def test_a_client_that_goes_watches_no_more() -> None:
    mesh = Mesh(2)
    key = keys_of(1, 2)[0]
    client = mesh.connect(0)
    client.send(f"WATCH {key}", "MULTI", f"SET {key} 1")
    mesh.settle()
    assert len(mesh.nodes[1].dispatcher.transactions.watches) == 1
    client.conn.close("gone")
    mesh.settle()
    assert len(mesh.nodes[1].dispatcher.transactions.watches) == 0


def test_an_owner_that_dies_refuses_what_it_watched() -> None:
    mesh = Mesh(2)
    node, key = mesh.nodes[0], keys_of(1, 2)[0]
    client = mesh.connect(0)
    client.send(f"WATCH {key}", "MULTI", f"GET {key}")
    mesh.settle()
    client.take()
    peer = node.peer(1)
    peer.pending.clear()
    node.dispatcher.peer_lost(peer, [])
    client.send("EXEC")
    mesh.settle()
    assert client.take() == b"*-1\r\n"


def test_a_home_that_dies_watches_no_more() -> None:
    mesh = Mesh(2)
    key = keys_of(1, 2)[0]
    mesh.connect(0).send(f"WATCH {key}")
    mesh.settle()
    owner = mesh.nodes[1]
    assert owner.store.on_change is not None
    owner.dispatcher.peer_lost(owner.peer(0), [])
    assert owner.store.on_change is None


def test_keys_of_several_partitions() -> None:
    mesh = Mesh(2)
    (mine, *_), (theirs, *_) = keys_of(0, 2), keys_of(1, 2)
    client = mesh.connect(0)
    client.send("MULTI", f"SET {mine} 1", f"SET {theirs} 1", "EXEC", "PING", f"EXISTS {mine}")
    mesh.settle()
    assert client.take().endswith(b"*2\r\n+OK\r\n+OK\r\n+PONG\r\n:1\r\n")


@pytest.mark.parametrize("touched", [0, 1, 2, None])
def test_watched_keys_of_several_partitions(touched: int | None) -> None:
    mesh = Mesh(3)
    keys = [key for key, *_ in (keys_of(worker, 3) for worker in range(3))]
    client, other = mesh.connect(0), mesh.connect(1)
    client.send(f"WATCH {' '.join(keys)}")
    mesh.settle()
    if touched is not None:
        other.send(f"SET {keys[touched]} x")
        mesh.settle()
    client.send("MULTI", f"SET {keys[0]} 1", "EXEC")
    mesh.settle()
    expected = b"*1\r\n+OK\r\n" if touched is None else b"*-1\r\n"
    assert client.take() == b"+OK\r\n+OK\r\n+QUEUED\r\n" + expected
    assert not any(len(node.dispatcher.transactions.watches) for node in mesh.nodes)
