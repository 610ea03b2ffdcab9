"""redis-py, the client most Python programs use: sync and asyncio, each parser, each protocol."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import redis
import redis.asyncio
from redis import _parsers as parsers
from support.servers import Shoal

# (protocol, parser of redis-py, parser of redis.asyncio). A RESP3 connection picks the RESP3
# parser itself when it is given the pure one.
FLAVOURS = {
    "resp2 pure": (2, parsers._RESP2Parser, parsers._AsyncRESP2Parser),
    "resp3 pure": (3, parsers._RESP3Parser, parsers._AsyncRESP3Parser),
    "resp2 hiredis": (2, parsers._HiredisParser, parsers._AsyncHiredisParser),
    "resp3 hiredis": (3, parsers._HiredisParser, parsers._AsyncHiredisParser),
}

Connect = Callable[[], Any]


@pytest.fixture(params=FLAVOURS.values(), ids=list(FLAVOURS))
def connect(request: pytest.FixtureRequest, shoal: Shoal) -> Connect:
    """Make a context of a new redis.Redis of one flavour."""
    protocol, parser, _ = request.param

    @contextmanager
    def opened() -> Iterator[redis.Redis]:
        pool = redis.ConnectionPool(
            host="127.0.0.1", port=shoal.port, protocol=protocol, parser_class=parser
        )
        with redis.Redis(connection_pool=pool) as client:
            yield client
        pool.disconnect()

    return opened


@pytest.fixture(params=FLAVOURS.values(), ids=list(FLAVOURS))
def connect_async(request: pytest.FixtureRequest, shoal: Shoal) -> Connect:
    """Make an async context of a new redis.asyncio.Redis of one flavour."""
    protocol, _, parser = request.param

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        pool = redis.asyncio.ConnectionPool(
            host="127.0.0.1", port=shoal.port, protocol=protocol, parser_class=parser
        )
        async with redis.asyncio.Redis(connection_pool=pool) as client:
            yield client
        await pool.disconnect()

    return opened


def test_strings_and_keys(connect: Connect) -> None:
    with connect() as r:
        assert r.ping() is True
        assert r.set("k", b"a\x00\r\nb") is True
        assert r.get("k") == b"a\x00\r\nb"
        assert r.get("missing") is None
        assert r.set("k", "v", nx=True) is None
        assert r.set("k", "v", get=True) == b"a\x00\r\nb"
        assert r.getset("k", "w") == b"v"
        assert r.append("k", "xyz") == 4
        assert r.strlen("k") == 4
        assert r.setrange("k", 1, "--") == 4
        assert r.getrange("k", 0, 2) == b"w--"
        assert r.incrby("n", 40) == 40
        assert r.decr("n") == 39
        assert r.incrbyfloat("n", 0.5) == 39.5
        assert r.type("n") == b"string"
        assert r.exists("k", "n", "missing") == 2
        assert r.rename("k", "{k}moved") is True
        assert sorted(r.keys("*")) == [b"n", b"{k}moved"]
        assert r.delete("{k}moved", "n", "missing") == 2
        assert r.dbsize() == 0


def test_many_keys_of_several_workers(connect: Connect) -> None:
    with connect() as r:
        values = {f"key:{i}".encode(): b"%d" % i for i in range(300)}
        assert r.mset(values) is True
        assert r.mget(*values, "missing") == [*values.values(), None]
        assert r.msetnx({"key:1": "x", "{key:1}new": "y"}) == 0
        assert r.get("{key:1}new") is None
        assert r.exists(*values) == 300
        assert r.touch(*values) == 300
        assert r.unlink(*values) == 300
        assert r.randomkey() is None


def test_errors_are_those_of_redis(connect: Connect) -> None:
    with connect() as r:
        r.set("k", "text")
        with pytest.raises(redis.ResponseError, match="value is not an integer or out of range"):
            r.incr("k")
        with pytest.raises(redis.ResponseError, match="unknown command 'NOSUCH'"):
            r.execute_command("NOSUCH", "a")
        with pytest.raises(
            redis.ResponseError, match="wrong number of arguments for 'get' command"
        ):
            r.execute_command("GET")
        assert r.ping() is True


def test_pipelines_answer_in_order(connect: Connect) -> None:
    with connect() as r:
        pipeline = r.pipeline(transaction=False)
        for i in range(500):
            pipeline.set(f"key:{i}", i).get(f"key:{i}").incr("n")
        expected = [answer for i in range(500) for answer in (True, b"%d" % i, i + 1)]
        assert pipeline.execute() == expected


def test_an_error_in_a_pipeline_spoils_nothing_else(connect: Connect) -> None:
    with connect() as r:
        r.set("k", "text")
        pipeline = r.pipeline(transaction=False)
        pipeline.incr("n").incr("k").incr("n")
        first, error, last = pipeline.execute(raise_on_error=False)
        assert (first, last) == (1, 2)
        assert isinstance(error, redis.ResponseError)


def test_scan_iter_finds_every_key_once_it_stays(connect: Connect) -> None:
    with connect() as r:
        names = {b"key:%d" % i for i in range(2000)}
        r.mset(dict.fromkeys(names, "v"))
        r.mset({f"other:{i}": "v" for i in range(100)})
        assert set(r.scan_iter(match="key:*", count=37)) == names
        assert len(set(r.scan_iter())) == 2100
        assert set(r.scan_iter(match="key:1??", _type="string")) == {
            b"key:%d" % i for i in range(100, 200)
        }


def test_expiry(connect: Connect) -> None:
    with connect() as r:
        assert r.set("k", "v", px=100_000) is True
        assert 90_000 < r.pttl("k") <= 100_000
        assert r.persist("k") == 1
        assert r.ttl("k") == -1
        assert r.expireat("k", 4_000_000_000) == 1
        assert r.expiretime("k") == 4_000_000_000
        assert r.expire("k", 10, nx=True) == 0
        assert r.getex("k", persist=True) == b"v"
        assert r.pexpire("k", -1) == 1
        assert r.get("k") is None
        assert r.ttl("k") == -2


def test_databases_are_apart(connect: Connect) -> None:
    with connect() as r:
        r.set("k", "zero")
        r.execute_command("SELECT", 3)
        assert r.get("k") is None
        r.set("k", "three")
        assert r.flushdb() is True
        r.execute_command("SELECT", 0)
        assert r.get("k") == b"zero"


def test_client_names_list_and_kill(connect: Connect) -> None:
    with connect() as a, connect() as b:
        assert a.client_setname("alpha") is True
        assert b.client_setname("beta") is True
        assert a.client_getname() in ("alpha", b"alpha")
        ids = {client["name"]: client["id"] for client in a.client_list() if client["name"]}
        assert ids == {"alpha": str(a.client_id()), "beta": str(b.client_id())}
        assert a.client_kill_filter(_id=ids["beta"]) == 1
        assert b.client_id() > int(ids["beta"])  # redis-py has connected anew
        assert [c["name"] for c in a.client_list() if c["name"]] == ["alpha"]


def test_info_and_config(connect: Connect) -> None:
    with connect() as r:
        r.mset({"a": 1, "b": 2, "c": 3})
        info = r.info()
        assert info["db0"]["keys"] == 3
        assert info["connected_clients"] >= 1
        assert r.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert r.config_set("timeout", 0) is True
        assert r.command_count() > 50
        assert r.echo("x") == b"x"
        assert len(r.time()) == 2


def test_threads_share_a_pool(connect: Connect) -> None:
    with connect() as r:

        def work(name: str) -> None:
            for _ in range(200):
                r.incr(name)
                r.incr("all")

        threads = [threading.Thread(target=work, args=(f"n{i}",)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert r.mget("all", *(f"n{i}" for i in range(8))) == [b"1600"] + [b"200"] * 8


def test_asyncio(connect_async: Connect) -> None:
    async def run() -> None:
        async with connect_async() as r:
            assert await r.set("k", "v", ex=100) is True
            assert await r.get("k") == b"v"
            assert 0 < await r.ttl("k") <= 100
            pipeline = r.pipeline(transaction=False)
            for i in range(300):
                pipeline.set(f"key:{i}", i).get(f"key:{i}")
            assert await pipeline.execute() == [x for i in range(300) for x in (True, b"%d" % i)]
            assert len({key async for key in r.scan_iter(match="key:*", count=50)}) == 300
            assert await r.client_setname("gamma") is True
            assert [c["name"] for c in await r.client_list() if c["name"]] == ["gamma"]
            with pytest.raises(redis.ResponseError, match="unknown command"):
                await r.execute_command("NOSUCH")

    asyncio.run(run())


def test_asyncio_with_many_tasks(connect_async: Connect) -> None:
    async def run() -> None:
        async with connect_async() as r:

            async def work(name: str) -> None:
                for i in range(20):
                    assert await r.incr(name) == i + 1

            await asyncio.gather(*(work(f"n{i}") for i in range(50)))
            assert await r.mget(*(f"n{i}" for i in range(50))) == [b"20"] * 50

    asyncio.run(run())
