"""Faults that servers of several partitions are known for; docs/partitions.md lists them.

Real handlers, locks and coordinator of several workers (`support/mesh.py`), whose messages arrive
when the test says so, or in any order. `tests/simulation/test_faults.py` mixes all of it with
deaths.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from random import Random
from typing import Any, Final

import pytest
from shoal.proto.limits import MAX_UNSENT_REPLY_BYTES
from shoal.proto.replies import bulk
from shoal.worker.connection import Block
from support.faulty_mesh import FaultyMesh
from support.mesh import Caller, Mesh, Node, check_nothing_is_left, keys_of, lock, request
from support.seeds import repeat

HERE, THERE = keys_of(0, 2), keys_of(1, 2)
WRONG_TYPE: Final = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
TIMED_OUT: Final = b"*-1\r\n"


def say(mesh: Mesh, caller: Caller, *lines: str) -> bytes:
    """Send commands, let all happen, and return what has been received."""
    caller.send(*lines)
    mesh.settle()
    return caller.take()


# -- blocking commands over partitions -------------------------------------------------------------


@pytest.mark.parametrize("home", [0, 1])
@pytest.mark.parametrize("seed", range(5))
def test_an_error_in_the_middle_of_blmove(home: int, seed: int) -> None:
    """The destination became another type: the one who waits hears so, and the element stays."""
    mesh = Mesh(2)
    waiter, other = mesh.connect(home), mesh.connect(1 - home)
    source, target = HERE[0], THERE[0]
    waiter.send(f"BLMOVE {source} {target} LEFT RIGHT 0", "PING")
    mesh.settle(Random(seed))
    other.send(f"SET {target} string", f"RPUSH {source} e")
    mesh.settle(Random(seed))
    assert waiter.take() == WRONG_TYPE + b"+PONG\r\n"
    assert other.take() == b"+OK\r\n:1\r\n"
    lrange = say(mesh, other, f"LRANGE {source} 0 -1", f"GET {target}")
    assert lrange == request("e") + bulk(b"string")
    check_nothing_is_left(mesh)


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("seed", range(20))
def test_a_death_in_the_middle_of_blmove(victim: int, seed: int) -> None:
    """The element is in one of the lists, once, whoever dies at whatever moment."""
    with repeat(seed):
        random = Random(seed)
        mesh = FaultyMesh(3, random)
        (source, _, _), (target, _, _) = keys_of(0, 3), keys_of(1, 3)
        waiter, other = mesh.connect(2), mesh.connect(2)
        waiter.send(f"BLMOVE {source} {target} LEFT RIGHT 0", "PING")
        mesh.move(random.randrange(40))
        other.send(f"RPUSH {source} e")
        mesh.move(random.randrange(40))
        mesh.kill(victim)
        mesh.move(random.randrange(10))
        mesh.come_to_rest()
        pushed = other.take()
        if pushed != b":1\r\n":  # it was sent to the one that died
            assert victim == 0
            assert pushed.startswith(b"-ERR the worker that owns the key died")
            say(mesh, other, f"DEL {source}")
            if not waiter.conn.is_blocked():
                assert waiter.take() == bulk(b"e") + b"+PONG\r\n"
            else:
                waiter.conn.close("over")
                mesh.come_to_rest()
        else:
            assert waiter.take() == bulk(b"e") + b"+PONG\r\n"
            found = say(mesh, other, f"LRANGE {source} 0 -1", f"LRANGE {target} 0 -1")
            assert found == b"*0\r\n" + request("e")
        check_nothing_is_left(mesh)


BLOCKING: Final = [
    ("BLPOP {a} {b} 0", "RPUSH {b} e"),
    ("BLMPOP 0 2 {a} {b} LEFT", "RPUSH {b} e"),
    ("BLMOVE {b} {a} LEFT LEFT 0", "RPUSH {b} e"),
    ("BRPOPLPUSH {b} {a} 0", "RPUSH {b} e"),
    ("BZPOPMIN {a} {b} 0", "ZADD {b} 1 e"),
    ("BZMPOP 0 2 {a} {b} MIN", "ZADD {b} 1 e"),
]


@pytest.mark.parametrize("home", [0, 1])
@pytest.mark.parametrize(("command", "push"), BLOCKING)
def test_a_push_wakes_one_whose_key_became_another_type(command: str, push: str, home: int) -> None:
    """By the time the command is tried again the element has gone, and the key is a string: as if
    whoever took it had come first. Nobody must hear WRONGTYPE of that; the next push serves.
    """
    mesh = Mesh(2)
    a, b = HERE[0], THERE[0]
    waiter, other, third = mesh.connect(home), mesh.connect(1), mesh.connect(1)
    assert say(mesh, waiter, command.format(a=a, b=b)) == b""
    push = push.format(b=b)
    other.send(push)  # whose reply is held until the command has been tried
    third.send(f"DEL {b}", f"SET {b} string")
    mesh.settle()
    assert (other.take(), third.take()) == (b":1\r\n", b":1\r\n+OK\r\n")
    assert waiter.take() == b""
    assert say(mesh, other, f"DEL {b}", push) == b":1\r\n:1\r\n"
    assert b"\r\ne\r\n" in waiter.take()
    check_nothing_is_left(mesh)


@pytest.mark.parametrize("keys", [(HERE[0], HERE[1]), (HERE[0], THERE[0])], ids=["one", "spread"])
@pytest.mark.parametrize("home", [0, 1])
def test_who_waits_in_the_pushers_own_partition(keys: tuple[str, str], home: int) -> None:
    """Pusher, key and the one who waits share a worker, which has to wake its own client."""
    mesh = Mesh(2)
    waiter, pusher = mesh.connect(home), mesh.connect(0)
    waiter.send(f"BLPOP {keys[0]} {keys[1]} 0", "PING")
    mesh.settle()
    assert say(mesh, pusher, f"RPUSH {keys[0]} e f") == b":2\r\n"
    assert waiter.take() == request(f"{keys[0]} e") + b"+PONG\r\n"
    assert say(mesh, pusher, f"LRANGE {keys[0]} 0 -1") == request("f")
    check_nothing_is_left(mesh)


def tick(mesh: Mesh, ms: int) -> None:
    for node in mesh.nodes:
        node.dispatcher.now_ms += ms
        node.store.now_ms += ms
        mesh.turn(node)


@pytest.mark.parametrize("seed", range(60))
def test_a_timeout_leaves_no_reply_behind(seed: int) -> None:
    """Time passes, and an element comes, at any moment: one reply, and the next one is PING's."""
    with repeat(seed):
        random = Random(seed)
        mesh = Mesh(2)
        a = random.choice(HERE)
        b = random.choice((*HERE, *THERE))
        waiter, pusher = mesh.connect(seed % 2), mesh.connect(random.randrange(2))
        rounds = 5
        served = pushed = 0
        for number in range(rounds):
            waiter.send(f"BLPOP {a} {b} 0.010", f"ECHO {number}")
            _some(mesh, random, 12)
            if random.random() < 0.7:
                pusher.send(f"RPUSH {random.choice((a, b))} e")
                pushed += 1
                _some(mesh, random, 6)
            tick(mesh, 10)
            _some(mesh, random, 6)
            if random.random() < 0.2:
                waiter.conn.unblock(with_error=False)
            mesh.settle(random)
            tick(mesh, 10)
            mesh.settle(random)
            got, end = waiter.take(), bulk(b"%d" % number)
            assert got in (TIMED_OUT + end, request(f"{a} e") + end, request(f"{b} e") + end)
            served += not got.startswith(TIMED_OUT)
        left = say(mesh, pusher, f"LLEN {a}", f"LLEN {b}").splitlines()[-2:]
        lengths = [int(length[1:]) for length in left]
        assert pushed == served + (sum(lengths) if a != b else lengths[0])
        check_nothing_is_left(mesh)


def _some(mesh: Mesh, random: Random, count: int) -> None:
    for _ in range(random.randrange(count)):
        steps = mesh.steps()
        if steps:
            random.choice(steps)()


def test_an_exec_of_a_dead_home_is_not_taken_for_its_successors() -> None:
    """It waits for a lock, its home dies, and the successor's first client watches the same key."""
    mesh = FaultyMesh(2, Random(1))
    node, client, other = mesh.nodes[0], mesh.connect(1), mesh.connect(0)
    assert say(mesh, client, f"WATCH {HERE[0]}") == b"+OK\r\n"
    lock(node, 1, HERE[1], write=False)
    mesh.coordinator.next_ticket = 2
    client.send("MULTI", f"SET {HERE[1]} old", f"SET {THERE[0]} old", "EXEC")
    mesh.turn(mesh.nodes[1])
    other.send(f"SET {HERE[0]} touched")  # before the LOCK arrives
    mesh.settle()
    assert other.take() == b"+OK\r\n"
    mesh.kill(1)
    mesh.revive(1)
    mesh.settle()
    successor = mesh.connect(1)
    assert say(mesh, successor, f"WATCH {HERE[0]}") == b"+OK\r\n"
    node.participant.on_release(1)
    mesh.come_to_rest()
    assert say(mesh, other, f"EXISTS {HERE[1]}") == b":0\r\n"
    assert say(mesh, successor, "MULTI", f"GET {HERE[0]}", "EXEC").endswith(bulk(b"touched"))


# -- two databases ---------------------------------------------------------------------------------


@pytest.mark.parametrize("home", [0, 1])
@pytest.mark.parametrize(
    "lines",
    [
        [f"MOVE {HERE[0]} 1"],
        [f"COPY {HERE[0]} {HERE[0]} DB 1 REPLACE"],
        ["MULTI", f"MOVE {HERE[0]} 1", "EXEC"],
        ["MULTI", f"COPY {HERE[0]} {HERE[0]} DB 1 REPLACE", "EXEC"],
    ],
    ids=" ".join,
)
def test_a_key_of_another_database_is_locked_too(lines: list[str], home: int) -> None:
    """A command over partitions holds the target: its value is lent, or logged by one side only."""
    mesh = Mesh(2)
    node, caller = mesh.nodes[0], mesh.connect(home)
    assert say(mesh, caller, f"SET {HERE[0]} v") == b"+OK\r\n"
    lock(node, 1, HERE[1], db=1)  # what they do not touch
    lock(node, 2, HERE[0], db=1)
    queued = say(mesh, caller, *lines)
    assert queued in (b"", b"+OK\r\n+QUEUED\r\n")
    assert node.store.view(1).find(HERE[0].encode()) is None
    node.participant.on_release(1)
    node.participant.on_release(2)
    mesh.settle()
    assert caller.take().endswith(b":1\r\n")
    assert node.store.view(1).find(HERE[0].encode()) == b"v"
    check_nothing_is_left(mesh)


# -- CLIENT PAUSE ----------------------------------------------------------------------------------

LIST: Final = [HERE[1], THERE[1]]
A, B = HERE[2], THERE[2]
WRITES: Final = [
    [f"SET {A} {{n}}"],
    [f"SET {B} {{n}}"],
    [f"MSET {A} {{n}} {B} {{n}}"],
    ["MULTI", f"SET {A} {{n}}", "EXEC"],
    ["MULTI", f"SET {A} {{n}}", f"SET {B} {{n}}", "EXEC"],
    ["MULTI", f"SET {B} {{n}}", "DBSIZE", "EXEC"],
    [f"EVAL redis.call('set',KEYS[1],'{{n}}')redis.call('set',KEYS[2],'{{n}}') 2 {A} {B}"],
    ["MULTI", f"EVAL redis.call('set',KEYS[1],'{{n}}') 1 {B}", "EXEC"],
    [f"RENAME {A} {B}"],
    [f"BLMOVE {LIST[0]} {LIST[1]} LEFT LEFT 0"],
    [f"BLPOP {LIST[0]} {LIST[1]} 0"],
    [f"RPUSH {LIST[0]} {{n}}"],
    [f"RPUSH {LIST[1]} {{n}}"],
    ["FLUSHALL"],
]
READS: Final = [f"MGET {A} {B}", *(f"LRANGE {key} 0 -1" for key in LIST), "DBSIZE"]


@pytest.mark.parametrize("mode", ["WRITE", "ALL"])
@pytest.mark.parametrize("seed", range(40))
def test_a_pause_that_reaches_the_workers_one_by_one(seed: int, mode: str) -> None:
    """Between the OK of CLIENT PAUSE and its end nothing changes, whatever was under way or comes;
    then all of it is done, and nothing of it by half.
    """
    with repeat(seed):
        random = Random(seed)
        mesh = Mesh(2)
        writers = [mesh.connect(number % 2) for number in range(6)]
        boss, reader = mesh.connect(seed % 2), mesh.connect(random.randrange(2))
        sent = 0

        def write() -> None:
            nonlocal sent
            for _ in range(random.randrange(4)):
                writer = random.choice(writers)
                if not writer.conn.is_blocked():
                    sent += 1
                    writer.send(*(line.replace("{n}", str(sent)) for line in _write(random)))
                _some(mesh, random, 5)

        for _ in range(4):
            write()
        boss.send(f"CLIENT PAUSE 1000000 {mode}")
        while not (got := boss.take()):
            write()
            _some(mesh, random, 3)
        assert got == b"+OK\r\n"
        # What was sent before that OK runs before what comes after it: rules 1 and 2 of the loop.
        for source, target in permutations(mesh.nodes, 2):
            while mesh.carry(source, target):
                pass
        before = _contents(mesh, random, reader, mode)
        write()
        tick(mesh, 50)
        write()
        mesh.settle(random)
        assert _contents(mesh, random, reader, mode) == before
        boss.send("CLIENT UNPAUSE")
        if mode == "ALL":  # which holds even that
            for node in mesh.nodes:
                node.server.set_pause(0, False)
        mesh.settle(random)
        assert boss.take() == b"+OK\r\n"
        for writer in (*writers, reader):
            assert not writer.conn.blocked or writer.conn.is_blocked()
            writer.conn.close("over")
        mesh.settle(random)
        check_nothing_is_left(mesh)


def test_one_who_waits_over_partitions_is_not_served_in_a_pause() -> None:
    """His home is paused already when the key's owner, which is not yet, takes the push."""
    mesh = Mesh(2)
    waiter, boss, pusher = mesh.connect(0), mesh.connect(1), mesh.connect(1)
    assert say(mesh, waiter, f"BLPOP {HERE[0]} {THERE[0]} 0") == b""
    boss.send("CLIENT PAUSE 1000000 WRITE")
    mesh.turn(mesh.nodes[1])
    assert mesh.hear(mesh.nodes[0])
    pusher.send(f"RPUSH {THERE[0]} e")
    mesh.settle()
    # The push is answered when he has been tried, or after HOLD_MS.
    assert (boss.take(), pusher.take(), waiter.take()) == (b"+OK\r\n", b"", b"")
    assert say(mesh, boss, f"LRANGE {THERE[0]} 0 -1") == request("e")
    assert say(mesh, boss, "CLIENT UNPAUSE") == b"+OK\r\n"
    assert (pusher.take(), waiter.take()) == (b":1\r\n", request(f"{THERE[0]} e"))
    check_nothing_is_left(mesh)


def _write(random: Random) -> list[str]:
    return random.choice(WRITES)


def _contents(mesh: Mesh, random: Random, reader: Caller, mode: str) -> Any:
    """Return what a client reads; under PAUSE ALL, which holds it, what is there in the end."""
    if mode == "ALL":
        mesh.settle(random)
        return [
            (db.index, key, value if isinstance(value, bytes) else list(value))
            for node in mesh.nodes
            for db in node.store.databases()
            for key, value in _plain(node, db.index)
        ]
    reader.send(*READS)
    mesh.settle(random)
    return reader.take()


def _plain(node: Node, db: int) -> Iterator[tuple[bytes, Any]]:
    for key, value in node.store.database(db):
        yield key, getattr(value, "data", value)


@pytest.mark.parametrize(
    "lines",
    [
        ["PUBLISH a b"],
        ["EVAL return(1) 0"],
        [f"PFCOUNT {HERE[0]}"],
        [f"SET {HERE[0]} v"],
        [f"SET {HERE[0]} v", f"SET {THERE[0]} v"],
        [f"SET {HERE[0]} v", "NOSUCH"],
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_pause_of_writes_holds_exec(lines: list[str], workers: int) -> None:
    """Also where what is queued only may write; and a transaction that is refused in the end."""
    mesh = Mesh(workers)
    caller, boss = mesh.connect(0), mesh.connect(workers - 1)
    queued = say(mesh, caller, "MULTI", *lines)
    assert queued.startswith(b"+OK\r\n+QUEUED")
    assert say(mesh, boss, "CLIENT PAUSE 1000000 WRITE") == b"+OK\r\n"
    assert say(mesh, caller, "EXEC") == b""
    assert caller.conn.blocked is Block.PAUSED
    assert say(mesh, boss, "CLIENT UNPAUSE") == b"+OK\r\n"
    assert caller.take()[:1] in (b"*", b"-")
    check_nothing_is_left(mesh)


# -- slow readers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["reads", "vanishes", "is cut"])
@pytest.mark.parametrize("home", [0, 1])
def test_a_reader_too_slow_for_its_big_reply_of_exec(end: str, home: int) -> None:
    """Nobody waits for it: no lock is held for the reply; and it gets all of it, or is closed."""
    mesh = Mesh(2)
    slow, other = mesh.connect(home), mesh.connect(1 - home)
    value = "v" * (MAX_UNSENT_REPLY_BYTES // 3)
    assert say(mesh, other, f"SET {HERE[0]} {value}", f"SET {THERE[0]} {value}") == b"+OK\r\n" * 2
    if end == "is cut":
        config = mesh.nodes[home].server.config
        config.set_many([(b"client-output-buffer-limit", b"normal 1000 0 0")])
    slow.sock.full = True
    slow.send("MULTI", *[f"GET {HERE[0]}", f"GET {THERE[0]}"] * 3, f"RPUSH {HERE[1]} e", "EXEC")
    slow.send("PING")
    mesh.settle()
    check_nothing_is_left(mesh)
    set_both = [f"SET {HERE[0]} new", f"SET {THERE[0]} new", f"LLEN {HERE[1]}"]
    assert say(mesh, other, *set_both) == b"+OK\r\n" * 2 + b":1\r\n"
    if end == "vanishes":
        slow.conn.close("gone")
    elif end == "reads":
        slow.sock.full = False
        slow.conn.send_more()
        mesh.settle()
        queued = b"+OK\r\n" + b"+QUEUED\r\n" * 7
        expected = queued + b"*7\r\n" + bulk(value.encode()) * 6 + b":1\r\n+PONG\r\n"
        assert slow.take() == expected
    else:
        assert slow.conn.closed
    mesh.settle()
    check_nothing_is_left(mesh)
