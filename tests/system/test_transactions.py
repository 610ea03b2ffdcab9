"""Transactions of real processes: the log beside redis-server's, torn ends, kill -9, redis-py."""

import contextlib
import os
import re
import signal
import threading
from pathlib import Path

import pytest
import redis
from shoal.proto.aof_format import EXEC, MULTI
from support.raw import RawClient, bulk_text, pack
from support.servers import Oracle, Server, Shoal, wait_until

LOGGED = ("--appendonly", "yes", "--appendfsync", "always")
WORKERS = 3
CLIENTS = 6
DEATHS = 4

# Each line is sent to both servers; what they log must be the same.
LINES = (
    *("MULTI", "SET a 1", "EXEC"),
    *("MULTI", "SET a 1", "GET a", "DEL nokey", "EXEC"),
    *("MULTI", "SET b 1", "INCR b", "EXEC"),
    *("MULTI", "SELECT 3", "SET x 1", "SELECT 0", "SET y 1", "EXEC"),
    *("MULTI", "GET a", "EXEC"),
    *("MULTI", "MSET p 1 q 2", "EXEC"),
    *("MULTI", "SADD s 1", "SPOP s", "INCR b", "EXEC"),
    *("MULTI", "INCR s x", "INCR b", "EXEC"),
    *("MULTI", "LPUSH b 1", "INCR b", "LPUSH l 1", "EXEC"),
    *("MULTI", "FLUSHALL", "SET a 1", "EXEC"),
    *("WATCH a", "SET a 2", "MULTI", "SET a 3", "EXEC"),
    *("MULTI", "BLPOP l 0", "RPUSH l 1 2", "BLPOP l 0", "EXEC"),
    *("MULTI", "SET a 5", "DISCARD"),
)


def log_of(server: Server) -> bytes:
    """Return what a server's incremental files hold, without annotations."""
    files = sorted(Path(server.directory).rglob("*.incr.aof"))
    text = b"".join(file.read_bytes() for file in files)
    return re.sub(rb"(?m)^#.*\r\n", b"", text)


def test_the_log_is_that_of_redis() -> None:
    logs = []
    for server in (Oracle(*LOGGED), Shoal(*LOGGED, workers=1)):
        with server, server.client() as client:
            for line in LINES:
                client.call_line(line)
            logs.append(log_of(server))
    assert logs[0] == logs[1]


def test_a_torn_transaction_is_dropped_whole() -> None:
    with Shoal(*LOGGED, workers=1) as server:
        with server.client() as client:
            client.call_line("SET before 1")
            client.send(b"".join(map(pack, (b"MULTI",))))
            for argv in ((b"SET", b"a", b"1"), (b"SELECT", b"2"), (b"SET", b"b", b"1")):
                client.send(pack(*argv))
            client.send(pack(b"EXEC"))
            replies = [client.read_reply() for _ in range(5)]
            assert replies[-1] == b"*3\r\n+OK\r\n+OK\r\n+OK\r\n"
        server.kill()
        (file,) = [f for f in Path(server.directory).rglob("*.aof") if MULTI in f.read_bytes()]
        whole = file.read_bytes()
        begin, end = whole.index(MULTI), whole.index(EXEC) + len(EXEC)
        for cut in (begin + 1, begin + len(MULTI), end - len(EXEC), end - 1, end):
            file.write_bytes(whole[:cut])
            server.start()
            with server.client() as client:
                there = b":1\r\n" if cut == end else b":0\r\n"
                assert client.call(b"EXISTS", b"before") == b":1\r\n"
                assert client.call(b"EXISTS", b"a") == there
                client.call(b"SELECT", b"2")
                assert client.call(b"EXISTS", b"b") == there
            server.kill()


def test_redis_py() -> None:
    with Shoal(workers=WORKERS) as server, redis.Redis(port=server.port, protocol=3) as client:
        with client.pipeline(transaction=True) as pipe:
            pipe.set("{t}a", 1).incr("{t}a").hset("{t}h", "f", "v").hgetall("{t}h")
            assert pipe.execute() == [True, 2, 1, {b"f": b"v"}]
        assert client.transaction(
            lambda pipe: (pipe.multi(), pipe.incr("{t}a"), pipe.get("{t}a")), "{t}a"
        ) == [3, b"3"]
        with client.pipeline() as pipe:
            pipe.watch("{t}a")
            client.set("{t}a", 9)
            pipe.multi()
            pipe.get("{t}a")
            with pytest.raises(redis.WatchError):
                pipe.execute()


def add_one(client: RawClient, tag: bytes, tally: dict[str, int]) -> None:
    """Add one to two keys, by WATCH and MULTI; count what becomes of it."""
    if client.call(b"WATCH", tag + b"n") != b"+OK\r\n":
        return
    value = client.call(b"GET", tag + b"n")
    if value[:1] != b"$":
        return
    number = 1 + (0 if value == b"$-1\r\n" else int(bulk_text(value)))
    client.call(b"MULTI")
    client.call(b"SET", tag + b"n", b"%d" % number)
    client.call(b"INCR", tag + b"twin")
    tally["unknown"] += 1  # until it is answered
    reply = client.call(b"EXEC")
    if reply[:2] == b"*2":
        tally["done"] += 1
    if b"may have been executed" not in reply:
        tally["unknown"] -= 1


def go_on(server: Shoal, tag: bytes, stop: threading.Event, tally: dict[str, int]) -> None:
    """Add ones until told to stop, over a new connection when one breaks."""
    while not stop.is_set():
        with contextlib.suppress(OSError, EOFError), server.client() as client:
            while not stop.is_set():
                add_one(client, tag, tally)


def test_no_acknowledged_increment_is_lost_or_doubled_when_workers_die() -> None:
    with Shoal(*LOGGED, workers=WORKERS) as server:
        stop = threading.Event()
        tags = [b"{t}", b"{u}", b"{v}"]
        tallies = [dict.fromkeys(("done", "unknown"), 0) for _ in range(CLIENTS)]
        threads = [
            threading.Thread(target=go_on, args=(server, tags[i % 3], stop, tallies[i]))
            for i in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        try:
            for death in range(DEATHS):
                before = sum(tally["done"] for tally in tallies)
                wait_until(
                    lambda before=before: sum(t["done"] for t in tallies) > before + 50,  # type: ignore[misc]
                    "increments go on",
                )
                pids = server.worker_pids()
                os.kill(pids[death % WORKERS], signal.SIGKILL)
                wait_until(
                    lambda pids=pids: len({*server.worker_pids()} - {*pids}) == 1,  # type: ignore[misc]
                    "the worker has a successor",
                )
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        with server.client() as client:
            for at, tag in enumerate(tags):
                of_tag = tallies[at::3]
                done = sum(tally["done"] for tally in of_tag)
                unknown = sum(tally["unknown"] for tally in of_tag)
                values = [
                    int(client.call(b"INCRBY", tag + name, b"0")[1:-2]) for name in (b"n", b"twin")
                ]
                assert values[0] == values[1], "half of a transaction"
                assert done <= values[0] <= done + unknown, (tag, of_tag)
