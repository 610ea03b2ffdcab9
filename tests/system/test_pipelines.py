"""Pipelines that are sent as a whole before the first reply is read, as libraries do it."""

from collections.abc import Iterator

import psutil
import pytest
import redis
from shoal.proto.slots import key_slot, owner_of
from support.raw import pack
from support.servers import Shoal

MB = 1 << 20
TAGS = [  # of two workers, if there are two
    next(b"%d" % n for n in range(100) if owner_of(key_slot(b"%d" % n), 2) == worker)
    for worker in (0, 1)
]


@pytest.fixture(scope="module", params=[1, 2], ids=["1 worker", "2 workers"])
def server(request: pytest.FixtureRequest) -> Iterator[Shoal]:
    with Shoal("--appendonly", "no", workers=request.param) as shoal:
        yield shoal


def memory_of(shoal: Shoal) -> int:
    """Return the resident memory of all workers, in bytes."""
    return sum(psutil.Process(pid).memory_info().rss for pid in shoal.worker_pids())


def test_redis_py_sends_all_before_it_reads(server: Shoal) -> None:
    """200 MB of replies to 7 MB of commands: far more than sockets hold."""
    keys = [b"k%d" % n for n in range(16)]
    with redis.Redis(port=server.port, socket_timeout=120) as client:
        for number, key in enumerate(keys):
            client.set(key, b"%03d:" % number + b"v" * 1020)
        pipeline = client.pipeline(transaction=False)
        for number in range(200_000):
            pipeline.get(keys[number % 16])
        replies = pipeline.execute()
    assert len(replies) == 200_000
    assert [int(reply[:3]) for reply in replies] == [number % 16 for number in range(200_000)]
    assert {len(reply) for reply in replies} == {1024}


def test_a_hundred_megabytes_of_commands_before_the_first_read(server: Shoal) -> None:
    """What is kept is what was sent, not the four times as large replies to it."""
    size = 100 * MB
    keys = [b"{%b}" % tag + b"k" * 1000 for tag in TAGS]
    values = [b"%d" % n * 4000 for n in range(2)]
    commands = b"".join(pack(b"GET", key) for key in keys)
    expected = b"".join(b"$4000\r\n%b\r\n" % value for value in values)
    count = size // len(commands)
    with server.client() as client, server.client() as other:
        for key, value in zip(keys, values, strict=True):
            assert client.call(b"SET", key, value) == b"+OK\r\n"
        before = memory_of(server)
        piece = commands * 100
        for _ in range(count // 100):
            client.send(piece)  # a timeout here means that it is not read on
        assert other.call(b"PING") == b"+PONG\r\n"
        grown = memory_of(server) - before
        assert grown < 1.2 * size + 50 * MB
        for number in range(count // 100 * 100):
            assert client.stream.read(len(expected)) == expected, number
        assert client.call(b"PING") == b"+PONG\r\n"
