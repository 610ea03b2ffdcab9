"""Scripts and functions through redis-py, over restarts, and in logs that Redis reads."""

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import redis
from support.raw import RawClient, pack
from support.servers import Oracle, Shoal, wait_until

COUNTER = """#!lua name=counter
redis.register_function('add', function(keys, args)
  redis.call('incrby', keys[1], args[1])
  redis.call('rpush', keys[1] .. ':log', args[1])
  return redis.call('get', keys[1])
end)"""

KEYS = [f"key:{number}" for number in range(12)]


@pytest.fixture
def durable() -> Iterator[Shoal]:
    with Shoal("--appendfsync", "always", workers=3) as server:
        yield server


def connected(server: Shoal) -> redis.Redis:
    return redis.Redis(port=server.port, decode_responses=True)


def test_registered_scripts_from_any_client(durable: Shoal) -> None:
    """Each client's home is another worker, and each key's owner: EVALSHA finds the script."""
    clients = [connected(durable) for _ in range(4)]
    text = "return redis.call('incrby', KEYS[1], ARGV[1])"
    sha = clients[0].eval("return redis.sha1hex(ARGV[1])", 0, text)
    clients[0].eval(text, 1, KEYS[0], 1)
    for client in clients:
        for key in KEYS:
            client.evalsha(sha, 1, key, 1)
    assert [int(clients[0].get(key) or 0) for key in KEYS] == [5] + [4] * 11
    assert clients[1].script_exists(sha, "0" * 40) == [True, False]
    clients[2].script_flush()
    for client in clients:
        with pytest.raises(redis.exceptions.NoScriptError):
            client.evalsha(sha, 1, KEYS[0], 1)
        with pytest.raises(redis.exceptions.NoScriptError):
            client.evalsha(sha, 0)
    script = clients[3].register_script(text)
    assert [script(keys=[key], args=[1], client=client) for key in KEYS for client in clients]
    for client in clients:
        client.close()


def test_pipelines_of_unknown_scripts(durable: Shoal) -> None:
    """What is asked for elsewhere keeps its place among the replies."""
    with connected(durable) as client, connected(durable) as other:
        sha = other.script_load("return {KEYS[1], ARGV[1]}")
        pipeline = client.pipeline(transaction=False)
        for number, key in enumerate(KEYS):
            pipeline.set(key, number)
            pipeline.evalsha(sha, 1, key, number)
            pipeline.evalsha("1" * 40, 1, key, number)
            pipeline.get(key)
        replies = pipeline.execute(raise_on_error=False)
        for number, key in enumerate(KEYS):
            ok, listed, missing, value = replies[4 * number : 4 * number + 4]
            assert (ok, listed, value) == (True, [key, str(number)], str(number))
            assert isinstance(missing, redis.exceptions.NoScriptError)


def test_locks(shoal: Shoal) -> None:
    """redis-py's Lock releases and extends by scripts."""
    with connected(shoal) as client:
        total = 0

        def work() -> None:
            nonlocal total
            with connected(shoal) as mine:
                for _ in range(20):
                    with mine.lock("the lock", timeout=20, sleep=0.001):
                        seen = total
                        mine.ping()
                        total = seen + 1

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert total == 80
        lock = client.lock("another", timeout=20)
        assert lock.acquire()
        assert lock.extend(5)
        assert lock.reacquire()
        assert not client.lock("another", timeout=20).acquire(blocking=False)
        lock.release()
        with pytest.raises(redis.exceptions.LockError):
            lock.release()


def is_restarted(server: Shoal, worker: int, before: int) -> bool:
    state = server.status()["workers"][worker]
    return bool(state["state"] == "serving" and state["pid"] != before)


def test_functions_outlive_workers_and_servers(durable: Shoal) -> None:
    with connected(durable) as client:
        assert client.function_load(COUNTER) == "counter"
        for key in KEYS:
            assert client.fcall("add", 1, f"{{{key}}}", 3) == "3"
    for worker, pid in enumerate(durable.worker_pids()):
        os.kill(pid, signal.SIGKILL)
        wait_until(partial(is_restarted, durable, worker, pid), f"worker {worker} serves again")
    with connected(durable) as client:
        for key in KEYS:
            assert client.fcall("add", 1, f"{{{key}}}", 4) == "7"
    durable.kill()
    durable.start()
    with connected(durable) as client:
        for key in KEYS:
            assert client.fcall("add", 1, f"{{{key}}}", 5) == "12"
            assert client.lrange(f"{{{key}}}:log", 0, -1) == ["3", "4", "5"]
        client.function_load(COUNTER.replace("=counter", "=other").replace("'add'", "'more'"))
        client.function_delete("counter")
    durable.stop()
    durable.workers = 2  # new bases, of new partitions
    durable.start()
    with connected(durable) as client:
        for key in KEYS:
            assert client.fcall("more", 1, f"{{{key}}}", 1) == "13"
        with pytest.raises(redis.exceptions.ResponseError, match="Function not found"):
            client.fcall("add", 1, "x", 1)
        client.function_flush()
    durable.stop()
    durable.start()
    with connected(durable) as client:
        assert client.function_list() == []
        assert client.get("{key:1}") == "13"


EFFECTS = """redis.call('set', KEYS[1], ARGV[1], 'EX', 1000)
redis.call('spop', KEYS[2])
redis.call('select', 3)
redis.call('set', KEYS[1], 'in 3')
redis.call('select', 0)
redis.call('append', KEYS[1], redis.call('time')[1])"""


def test_redis_reads_the_log(tmp_path: Path) -> None:
    with Shoal("--appendfsync", "always", workers=1) as server:
        with connected(server) as client:
            client.sadd("{k}s", *range(50))
            client.eval(EFFECTS, 2, "k", "{k}s", "v")
            client.function_load(COUNTER)
            client.fcall("add", 1, "n", 5)
            with pytest.raises(redis.exceptions.ResponseError):
                client.eval("redis.call('set', KEYS[1], 'half') error('no more')", 1, "half")
            client.eval("redis.call('set', KEYS[1], 'x', 'PX', 1)", 1, "gone")
            members, value = client.smembers("{k}s"), client.get("k")
        server.stop()
        (log,) = server.directory.glob("appendonlydir*/*.incr.aof")
        shutil.copy(log, tmp_path / "appendonly.aof")
    with (
        Oracle("--appendonly", "yes", "--aof-use-rdb-preamble", "no", directory=tmp_path) as oracle,
        redis.Redis(port=oracle.port, decode_responses=True) as reader,
    ):
        assert reader.smembers("{k}s") == members
        assert len(members) == 49
        assert reader.get("k") == value
        assert 900 < reader.ttl("k") <= 1000
        assert reader.get("half") == "half"
        assert reader.fcall("add", 1, "n", 1) == "6"
        reader.select(3)
        assert reader.get("k") == "in 3"


# -- slow scripts ----------------------------------------------------------------------------------

ENDLESS = b"while true do pcall(function() while true do end end) end"
BUSY = (
    b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n"
)
LOOP = b"#!lua name=l\nredis.register_function('loop', function() while true do end end)"


@pytest.fixture(params=[1, 3], ids=["1 worker", "3 workers"])
def impatient(request: pytest.FixtureRequest) -> Iterator[Shoal]:
    with Shoal("--busy-reply-threshold", "50", workers=request.param) as server:
        yield server


def begin(runner: RawClient, clients: list[RawClient], *argv: bytes) -> RawClient:
    """Run a script that does not end; return a client of the same worker, which hears BUSY."""
    runner.send(pack(*argv))
    found: list[RawClient] = []

    def is_busy() -> bool:
        found[:] = [client for client in clients if client.call(b"PING").startswith(b"-BUSY ")]
        return bool(found)

    wait_until(is_busy, "a client hears BUSY")
    return found[0]


def clients_of(server: Shoal, stack: ExitStack) -> list[RawClient]:
    """Return clients of every worker."""
    return [stack.enter_context(server.client()) for _ in range(2 * server.workers + 2)]


def test_a_slow_script_is_killed_by_anybody(impatient: Shoal) -> None:
    with ExitStack() as stack:
        runner, *clients = clients_of(impatient, stack)
        clients[-1].call(b"FUNCTION", b"LOAD", LOOP)
        near = begin(runner, clients, b"EVAL", ENDLESS, b"0")
        far = clients[0] if clients[0] is not near else clients[1]
        assert near.call(b"GET", b"x") == BUSY
        assert near.call(b"FUNCTION", b"KILL") == BUSY
        assert near.call(b"SHUTDOWN") == BUSY
        assert near.call(b"NOSUCH").startswith(b"-ERR unknown command")
        for killer in (far, near):
            assert killer.call(b"SCRIPT", b"KILL") == b"+OK\r\n"
            reply = runner.read_reply()
            assert reply.startswith(b"-ERR Script killed by user with SCRIPT KILL... script: ")
            assert reply.endswith(b", on @user_script:1.\r\n")
            assert runner.call(b"PING") == near.call(b"PING") == b"+PONG\r\n"
            if killer is far:
                near = begin(runner, clients, b"EVAL", ENDLESS, b"0")
        assert near.call(b"SCRIPT", b"KILL").startswith(b"-NOTBUSY ")
        near = begin(runner, clients, b"FCALL", b"loop", b"0")
        assert near.call(b"SCRIPT", b"KILL").startswith(b"-BUSY ")
        assert b"duration_ms" in near.call(b"FUNCTION", b"STATS")
        assert near.call(b"FUNCTION", b"KILL") == b"+OK\r\n"
        assert b"script: loop, on @user_function:" in runner.read_reply()


def test_a_slow_script_that_has_written_ends_with_the_server_only(impatient: Shoal) -> None:
    with ExitStack() as stack:
        runner, *clients = clients_of(impatient, stack)
        text = b"redis.call('set', KEYS[1], 'v') while true do end"
        near = begin(runner, clients, b"EVAL", text, b"1", b"k")
        assert near.call(b"SCRIPT", b"KILL").startswith(b"-UNKILLABLE ")
        near.send(pack(b"SHUTDOWN", b"NOSAVE"))
        assert impatient.wait_exit() == 0
    impatient.start()
    with impatient.client() as client:
        assert client.call(b"GET", b"k") == b"$-1\r\n"


def test_what_others_have_sent_meanwhile_is_run(impatient: Shoal) -> None:
    """Also what a transaction over partitions asks of the busy worker."""
    with ExitStack() as stack:
        runner, *clients = clients_of(impatient, stack)
        near = begin(runner, clients, b"EVAL", ENDLESS, b"0")
        others = [client for client in clients if client is not near]
        for client in others:
            client.send(pack(b"MSET", *[word for key in KEYS for word in (key.encode(), b"v")]))
        assert near.call(b"SCRIPT", b"KILL") == b"+OK\r\n"
        assert runner.read_reply().startswith(b"-ERR Script killed")
        replies = {client.read_reply() for client in others}
        assert replies <= {b"+OK\r\n", BUSY}
        assert near.call(b"MSET", b"a", b"1", b"b", b"2") == b"+OK\r\n"


def test_a_client_that_comes_meanwhile_can_end_it(impatient: Shoal) -> None:
    with ExitStack() as stack:
        runner, *clients = clients_of(impatient, stack)
        begin(runner, clients, b"EVAL", ENDLESS, b"0")
        late = clients_of(impatient, stack)
        assert BUSY in {client.call(b"PING") for client in late}
        assert late[-1].call(b"SCRIPT", b"KILL") == b"+OK\r\n"
        assert runner.read_reply().startswith(b"-ERR Script killed")
