"""Client-side caching of real processes: a library that does it, and workers that die."""

import os
import signal
import threading
from collections.abc import Iterator
from random import Random

import pytest
import redis
from redis.cache import CacheConfig
from shoal.proto.slots import key_slot, owner_of
from support.raw import RawClient
from support.servers import Shoal, wait_until

WORKERS = 3
KEYS = [f"key{number}" for number in range(24)]
ALL = b">2\r\n$10\r\ninvalidate\r\n_\r\n"


@pytest.fixture(scope="module")
def three() -> Iterator[Shoal]:
    with Shoal("--appendonly", "no", workers=WORKERS) as shoal:
        yield shoal


def caching(shoal: Shoal) -> redis.Redis:
    return redis.Redis(port=shoal.port, protocol=3, cache_config=CacheConfig())


def test_redis_py_caches(three: Shoal) -> None:
    clients = [caching(three) for _ in range(5)]
    writer = redis.Redis(port=three.port)
    for round_ in range(5):
        writer.mset(dict.fromkeys(KEYS[:12], f"{round_}"))
        for key in KEYS[12:]:
            writer.set(key, round_)
        for client in clients:
            wait_until(
                lambda client=client: (  # type: ignore[misc]
                    {client.get(key) for key in KEYS} == {b"%d" % round_}  # noqa: B023
                ),
                "a client sees what was written",
            )
            cache = client.get_cache()
            assert cache is not None
            assert cache.size >= len(KEYS)
    gets = int(writer.info("commandstats")["cmdstat_get"]["calls"])
    assert [client.get(key) for client in clients for key in KEYS]
    assert int(writer.info("commandstats")["cmdstat_get"]["calls"]) == gets
    writer.flushall()
    for client in clients:
        wait_until(lambda client=client: client.get(KEYS[0]) is None, "the flush is heard")  # type: ignore[misc]
        client.close()
    writer.close()


def test_redis_py_keeps_nothing_stale_under_load(three: Shoal) -> None:
    """Readers and writers at once; when all is quiet, every cache has what the server has."""
    clients = [caching(three) for _ in range(4)]

    def write(seed: int) -> None:
        random = Random(seed)
        with redis.Redis(port=three.port) as writer:
            for number in range(300):
                key, other = random.sample(KEYS, 2)
                way = random.random()
                if way < 0.6:
                    writer.set(key, number)
                elif way < 0.8:
                    writer.mset({key: number, other: number})
                elif way < 0.95:
                    pipe = writer.pipeline(transaction=way < 0.9)
                    pipe.set(key, number).append(other, "x").delete(random.choice(KEYS))
                    pipe.execute()
                else:
                    writer.flushall()

    def read(client: redis.Redis, seed: int) -> None:
        random = Random(seed)
        for _ in range(400):
            client.get(random.choice(KEYS))
            client.mget(random.sample(KEYS, 3))

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(2)]
    threads += [threading.Thread(target=read, args=(one, at)) for at, one in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with redis.Redis(port=three.port) as writer:
        found = writer.mget(KEYS)
    for client in clients:
        wait_until(
            lambda client=client: [client.get(key) for key in KEYS] == found,  # type: ignore[misc]
            "nothing is stale",
        )
        client.close()


def _home_of(shoal: Shoal, client: RawClient, key: bytes) -> bool:
    """Tell whether the client's worker owns the key."""

    def hops() -> int:
        with redis.Redis(port=shoal.port) as asking:
            return int(asking.info("stats")["hops"])

    before = hops()
    client.call(b"EXISTS", key)
    return hops() == before


@pytest.mark.parametrize("how", ["kill -9", "restart"])
def test_a_worker_that_goes_takes_no_invalidation_along(how: str) -> None:
    with Shoal("--appendfsync", "always", workers=2) as shoal:
        clients = [shoal.client() for _ in range(4)]
        away = [client for client in clients if not _home_of(shoal, client, b"k")]
        assert len(away) == 2
        for client in away:
            client.call(b"HELLO", b"3")
            assert client.call(b"CLIENT", b"TRACKING", b"ON") == b"+OK\r\n"
            assert client.call(b"GET", b"k") == b"_\r\n"
        number = owner_of(key_slot(b"k"), 2)
        if how == "restart":
            shoal.ctl("restart-worker", str(number))
        else:
            os.kill(shoal.status()["workers"][number]["pid"], signal.SIGKILL)
        wait_until(lambda: shoal.status()["workers"][number]["restarts"] == 1, "a successor serves")
        for client in away:
            assert client.read_reply() == ALL
            assert client.call(b"GET", b"k") == b"_\r\n"
        with shoal.client() as writer:
            assert writer.call(b"SET", b"k", b"v") == b"+OK\r\n"
        for client in away:
            assert client.read_reply() == b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
        for client in clients:
            client.close()
