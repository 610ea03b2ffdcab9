"""Programs of others, as they come from the package index, with a Shoal of three workers."""

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import celery
import celery.exceptions
import dramatiq
import limits
import limits.strategies
import pytest
import redis
import redis.asyncio
import rq
from limits.storage import RedisStorage
from redis.exceptions import LockError, LockNotOwnedError
from rq.command import send_shutdown_command, send_stop_job_command
from rq.job import JobStatus
from support.programs import URL, Program, load, rq_jobs
from support.servers import Shoal, wait_until

WORKERS = 3
HANG_S = 60.0
KEYS = [f"key:{number}" for number in range(30)]


@pytest.fixture(scope="module")
def shared() -> Iterator[Shoal]:
    with Shoal(workers=WORKERS) as server:
        yield server


@pytest.fixture
def server(shared: Shoal) -> Shoal:
    """A Shoal without keys."""
    with shared.client() as client:
        assert client.call(b"FLUSHALL") == b"+OK\r\n"
    return shared


@pytest.fixture
def url(server: Shoal) -> str:
    return f"redis://127.0.0.1:{server.port}"


@pytest.fixture
def client(server: Shoal) -> Iterator[Any]:
    """A redis.Redis; Any, for its types say nothing of what a pipeline's methods return."""
    with redis.Redis(port=server.port, decode_responses=True) as client:
        yield client


def in_threads(work: Callable[[int], object], count: int) -> list[Any]:
    """Return what `work(0)`, `work(1)`, ... give, each called in a thread of its own."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count), timeout=HANG_S))


# -- redis-py -------------------------------------------------------------------------------------


def test_lock(client: Any) -> None:
    for key in KEYS:
        lock = client.lock(f"lock:{key}", timeout=100)
        assert lock.acquire()
        other = client.lock(f"lock:{key}", timeout=100, blocking_timeout=0.02, sleep=0.01)
        assert not other.acquire()
        assert not other.acquire(blocking=False)
        assert lock.locked()
        assert lock.owned()
        assert not other.owned()
        assert lock.extend(50)
        assert 140 <= client.ttl(f"lock:{key}") <= 150
        assert lock.extend(50, replace_ttl=True)
        assert 40 <= client.ttl(f"lock:{key}") <= 50
        assert lock.reacquire()
        assert 90 <= client.ttl(f"lock:{key}") <= 100
        lock.release()
        with pytest.raises(LockError):
            lock.release()


def test_lock_of_another_owner(client: Any) -> None:
    lock = client.lock("lock", timeout=100)
    assert lock.acquire()
    client.set("lock", "token of somebody else")
    with pytest.raises(LockNotOwnedError):
        lock.extend(5)
    with pytest.raises(LockNotOwnedError):
        lock.reacquire()
    with pytest.raises(LockNotOwnedError):
        lock.release()
    assert client.get("lock") == "token of somebody else"


def test_lock_lets_in_one_thread_at_a_time(client: Any) -> None:
    inside = 0
    total = 0

    def work(_: int) -> None:
        nonlocal inside, total
        for _ in range(10):
            with client.lock("lock", timeout=HANG_S, sleep=0.001):
                inside += 1
                assert inside == 1
                total += client.incr("counter")
                inside -= 1

    in_threads(work, 6)
    assert total == sum(range(61))


def test_transactional_pipeline_with_keys_all_over(client: Any) -> None:
    with client.pipeline(transaction=True) as pipe:
        for number, key in enumerate(KEYS):
            pipe.set(key, number).incr(key).rpush(f"list:{key}", number, key)
        pipe.mget(KEYS)
        replies = pipe.execute()
    expected: list[object] = []
    for number in range(len(KEYS)):
        expected += [True, number + 1, 2]
    assert replies == [*expected, [str(number + 1) for number in range(len(KEYS))]]
    with client.pipeline(transaction=True) as pipe:
        pipe.incr(KEYS[0]).incr(f"list:{KEYS[1]}").incr(KEYS[2])
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            pipe.execute()
    assert client.mget(KEYS[0], KEYS[2]) == ["2", "4"]


def test_transaction_with_watched_keys_all_over(client: Any) -> None:
    """Threads move amounts between accounts; none is lost."""
    accounts = KEYS[:6]
    client.mset(dict.fromkeys(accounts, 100))

    def work(thread: int) -> None:
        for turn in range(15):
            source, target = accounts[(thread + turn) % 6], accounts[(2 * turn + 1) % 6]

            def move(pipe: Any, source: str = source, target: str = target) -> None:
                left, right = int(pipe.get(source)), int(pipe.get(target))
                pipe.multi()
                pipe.set(source, left - 1)
                pipe.set(target, (right if source != target else left - 1) + 1)

            assert client.transaction(move, source, target) == [True, True]

    in_threads(work, 6)
    assert sum(map(int, client.mget(accounts))) == 600


def test_watch_error(client: Any) -> None:
    for key in KEYS[:6]:
        with client.pipeline() as pipe:
            pipe.watch(*KEYS[:6])
            client.set(key, "changed")
            pipe.multi()
            pipe.set("never", 1).set(KEYS[7], 1)
            with pytest.raises(redis.WatchError):
                pipe.execute()
    assert client.exists("never", KEYS[7]) == 0


def test_registered_script(client: Any) -> None:
    move = client.register_script(
        "local v = redis.call('GET', KEYS[1]) "
        "if not v then return redis.error_reply('NOVALUE nothing to move') end "
        "redis.call('SET', KEYS[2], v .. ARGV[1]) redis.call('DEL', KEYS[1]) return v"
    )
    for number, key in enumerate(KEYS):
        client.set(key, number)
        assert move(keys=[key, f"to:{key}"], args=["!"]) == str(number)
        with pytest.raises(redis.ResponseError, match="NOVALUE"):
            move(keys=[key, f"to:{key}"], args=["!"])
    client.script_flush()
    with client.pipeline(transaction=True) as pipe:
        for key in KEYS:
            move(keys=[f"to:{key}", key], args=["?"], client=pipe)
        assert pipe.execute() == [f"{number}!" for number in range(len(KEYS))]
    assert client.mget(KEYS) == [f"{number}!?" for number in range(len(KEYS))]


def test_pubsub_in_a_thread(client: Any) -> None:
    heard: list[str] = []
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(news=lambda message: heard.append(message["data"]))
        pubsub.psubscribe(**{"weather.*": lambda message: heard.append(message["channel"])})
        thread = pubsub.run_in_thread(sleep_time=0.01, daemon=True)
        wait_until(lambda: client.pubsub_numsub("news") == [("news", 1)], "the subscription")
        wait_until(lambda: client.pubsub_numpat() == 1, "the pattern")
        for number in range(100):
            assert client.publish("news", number) == 1
        assert client.publish("weather.today", "rain") == 1
        wait_until(lambda: len(heard) == 101, "all messages")
        thread.stop()
        thread.join(HANG_S)
        assert not thread.is_alive()
    assert heard == [*map(str, range(100)), "weather.today"]


def test_sixteen_threads_share_a_pool(server: Shoal) -> None:
    pool = redis.BlockingConnectionPool(
        host="127.0.0.1", port=server.port, max_connections=8, timeout=HANG_S
    )
    client: Any = redis.Redis(connection_pool=pool)

    def work(thread: int) -> None:
        for turn in range(30):
            client.incr("counter")
            with client.pipeline(transaction=True) as pipe:
                pipe.hincrby(f"hash:{turn}", f"f{thread}", 1).incr("pairs").incr(f"mine:{thread}")
                *_, mine = pipe.execute()
                assert mine == turn + 1
            assert client.hget(f"hash:{turn}", f"f{thread}") == b"1"

    in_threads(work, 16)
    assert client.mget("counter", "pairs") == [b"480", b"480"]
    assert all(client.hlen(f"hash:{turn}") == 16 for turn in range(30))
    client.close()
    pool.disconnect()


def test_redis_asyncio(server: Shoal) -> None:
    async def run() -> None:
        opened: Any = redis.asyncio.Redis(port=server.port, decode_responses=True)
        async with opened as client:
            inside = 0

            async def work(task: int) -> None:
                nonlocal inside
                async with client.pipeline(transaction=True) as pipe:
                    for key in KEYS:
                        pipe.incr(key).rpush(f"list:{key}", task)
                    assert len(await pipe.execute()) == 2 * len(KEYS)
                async with client.lock("lock", timeout=HANG_S, sleep=0.001):
                    inside += 1
                    assert inside == 1
                    await client.incr("locked")
                    inside -= 1

            await asyncio.wait_for(asyncio.gather(*map(work, range(12))), HANG_S)
            assert await client.mget("locked", *KEYS) == ["12"] * (1 + len(KEYS))
            # Each transaction was one step: all the lists have one order.
            orders = {tuple(await client.lrange(f"list:{key}", 0, -1)) for key in KEYS}
            assert len(orders) == 1

            async def add_one(pipe: Any) -> None:
                before = int(await pipe.get(KEYS[0]))
                pipe.multi()
                pipe.set(KEYS[0], before + 1).set(KEYS[1], before + 1)

            for _ in range(5):
                assert await client.transaction(add_one, KEYS[0], KEYS[1]) == [True, True]
            assert await client.mget(KEYS[:2]) == ["17", "17"]

            async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
                await pubsub.subscribe("news")
                while await client.pubsub_numsub("news") != [("news", 1)]:
                    await asyncio.sleep(0.001)  # between two looks
                for number in range(50):
                    assert await client.publish("news", number) == 1
                heard: list[str] = []
                while len(heard) < 50:
                    message = await pubsub.get_message(timeout=HANG_S)
                    if message is not None:
                        heard.append(message["data"])
                assert heard == [str(number) for number in range(50)]

    asyncio.run(run())


# -- RQ -------------------------------------------------------------------------------------------


def run_rq(url: str, *arguments: str) -> str:
    """Run `rq worker ARGUMENTS` until it ends by itself; return what it printed."""
    with Program("rq.cli", "worker", "--url", url, *arguments) as worker:
        assert worker.wait_exit(HANG_S) == 0, worker.output
        return worker.output


def test_rq_burst(server: Shoal, url: str) -> None:
    """Two queues: in burst mode they are asked one after the other and nothing blocks on both."""
    with redis.Redis(port=server.port) as connection:
        queue, other = (rq.Queue(name, connection=connection) for name in ("default", "other"))
        squares = [queue.enqueue(rq_jobs.square, number) for number in range(20)]
        total = other.enqueue(rq_jobs.total_of_dependencies, depends_on=squares)
        on_total = queue.enqueue(rq_jobs.total_of_dependencies, depends_on=total)
        flaky = queue.enqueue(rq_jobs.succeeds_at_the_third_try, retry=rq.Retry(max=3))
        failing = queue.enqueue(rq_jobs.fails, retry=rq.Retry(max=1))
        waits_for_it = queue.enqueue(rq_jobs.square, 2, depends_on=failing)
        many = queue.enqueue_many([rq.Queue.prepare_data(rq_jobs.square, (9,)) for _ in range(5)])
        assert total.get_status() == JobStatus.DEFERRED
        run_rq(url, "--burst", "--worker-class", "rq.SimpleWorker", "default", "other")
        assert [job.return_value(refresh=True) for job in squares] == [n * n for n in range(20)]
        assert total.return_value(refresh=True) == sum(n * n for n in range(20))
        assert on_total.return_value(refresh=True) == total.return_value()
        assert flaky.return_value(refresh=True) == 3
        assert [job.return_value(refresh=True) for job in many] == [81] * 5
        assert failing.get_status() == JobStatus.FAILED
        assert waits_for_it.get_status() == JobStatus.DEFERRED
        assert queue.failed_job_registry.get_job_ids() == [failing.id]
        assert len(queue) == len(other) == 0
        result = failing.latest_result()
        assert result is not None
        assert result.exc_string is not None
        assert "this job always fails" in result.exc_string


@pytest.mark.parametrize("names", [("default", "default"), ("high", "low")])
def test_rq_scheduled_jobs(server: Shoal, url: str, names: tuple[str, str]) -> None:
    """A forking worker that waits for its queues, with the scheduler's process.

    It waits for one with BLMOVE, for several with BLPOP.
    """
    with redis.Redis(port=server.port) as connection:
        queue, other = (rq.Queue(name, connection=connection) for name in names)
        jobs = [other.enqueue_in(timedelta(seconds=n), rq_jobs.square, n) for n in range(3)]
        retry = rq.Retry(max=2, interval=1)
        flaky = queue.enqueue(rq_jobs.succeeds_at_the_third_try, retry=retry)
        run_rq(url, "--with-scheduler", "--max-jobs", "6", *dict.fromkeys(names))
        assert [job.return_value(refresh=True) for job in jobs] == [0, 1, 4]
        assert flaky.return_value(refresh=True) == 3
        assert queue.scheduled_job_registry.count == other.scheduled_job_registry.count == 0


def test_rq_commands(server: Shoal, url: str) -> None:
    """A worker is told over pub/sub to stop a job, and to shut down."""
    with redis.Redis(port=server.port) as connection:
        queue = rq.Queue("default", connection=connection)
        job = queue.enqueue(rq_jobs.never_ends)
        arguments = ["--url", url, "--name", "the worker", "--job-monitoring-interval", "1"]
        with Program("rq.cli", "worker", *arguments, "default") as worker:
            wait_until(lambda: job.get_status() == JobStatus.STARTED, "the job runs")
            job.refresh()
            started = job.last_heartbeat
            assert started is not None

            def is_watched() -> bool:
                job.refresh()
                assert job.last_heartbeat is not None
                return job.last_heartbeat > started

            # The worker knows the process that it has forked: before, it could not stop it.
            wait_until(is_watched, "the worker looks at the job")
            subscribers = ("rq:pubsub:the worker",)
            wait_until(lambda: connection.pubsub_numsub(*subscribers)[0][1] == 1, "it listens")
            send_stop_job_command(connection, job.id)
            wait_until(lambda: job.get_status() == JobStatus.STOPPED, "the job was stopped")
            send_shutdown_command(connection, "the worker")
            assert worker.wait_exit(HANG_S) == 0
        assert rq.Worker.count(connection) == 0


# -- Celery ---------------------------------------------------------------------------------------

# A worker waits for its queues with one BRPOP, for each of them with a key for each priority step;
# with the tag they lie in one partition (docs/programs.md).
CELERY = {
    "queues all over": ("threads", "default,other", {}),
    "queues in one partition": ("solo", "default,other", {"global_keyprefix": "{celery}"}),
}


@pytest.mark.parametrize(("pool", "queues", "options"), CELERY.values(), ids=CELERY.keys())
def test_celery(url: str, pool: str, queues: str, options: dict[str, object]) -> None:
    module = "support.programs.celery_tasks"
    variables = {URL: url, "SHOAL_TEST_TRANSPORT": json.dumps(options)}
    arguments = ["worker", "--pool", pool, "--concurrency", "4", "--queues", queues]
    tasks = load(module, **variables)
    add, total, fails, app = tasks.add, tasks.total, tasks.fails, tasks.app
    with Program("celery", "--app", module, *arguments, **variables) as worker:
        assert add.delay(2, 3).get(HANG_S) == 5
        many = celery.group(add.s(number, number) for number in range(20))()
        assert many.get(HANG_S) == [2 * number for number in range(20)]
        assert celery.chain(add.s(1, 2), add.s(3), add.s(4))().get(HANG_S) == 10
        header = [add.s(number, 1) for number in range(10)]
        assert celery.chord(header)(total.s()).get(HANG_S) == 55
        groups = celery.group(add.s(1, 1), add.s(2, 2))
        assert celery.chain(groups, total.s(), add.s(100))().get(HANG_S) == 106
        assert tasks.succeeds_at_the_third_try.delay().get(HANG_S) == 2
        later = [add.apply_async((number, number), countdown=0.2) for number in range(3)]
        assert [result.get(HANG_S) for result in later] == [0, 2, 4]
        to = queues.rpartition(",")[2]
        assert add.apply_async((7, 8), queue=to, priority=6).get(HANG_S) == 15
        with pytest.raises(ValueError, match="always fails"):
            fails.delay().get(HANG_S)
        of_failed = celery.chord([add.s(1, 1), fails.s()])(total.s())
        assert isinstance(of_failed.get(HANG_S, propagate=False), celery.exceptions.ChordError)
        (pong,) = app.control.ping(timeout=HANG_S, limit=1)
        assert list(pong.values()) == [{"ok": "pong"}]
        worker.stop()
        assert "CRITICAL" not in worker.output
        assert "redis.exceptions" not in worker.output
    app.close()


# -- Huey -----------------------------------------------------------------------------------------


def test_huey(client: Any, url: str) -> None:
    module = "support.programs.huey_tasks"
    tasks = load(module, **{URL: url})
    arguments = [f"{module}.huey", "--workers", "4", "--graceful-signal", "TERM"]
    with Program("huey.bin.huey_consumer", *arguments, **{URL: url}) as consumer:
        sums = [tasks.add(number, 1) for number in range(20)]
        later = [tasks.add.schedule((number, 1), delay=1) for number in range(3)]
        tasks.succeeds_at_the_third_try()
        alone = tasks.alone(7)
        steps = tasks.huey.enqueue(tasks.add.s(1, 2).then(tasks.add, 10).then(tasks.add, 100))
        assert [result.get(True, timeout=HANG_S) for result in sums] == list(range(1, 21))
        # Not through its result: Huey keeps that of each try there, failed ones too.
        left = tasks.TRIES_LEFT
        wait_until(lambda: client.lrange(left, 0, -1) == ["2", "1", "0"], "the third try")
        assert alone.get(True, timeout=HANG_S) == 7
        assert steps.get(True, timeout=HANG_S) == [3, 13, 113]
        assert [result.get(True, timeout=HANG_S) for result in later] == [1, 2, 3]
        consumer.wait_for("Huey consumer started")
    assert tasks.huey.pending_count() == tasks.huey.scheduled_count() == 0
    tasks.huey.storage.pool.disconnect()


def test_huey_priorities(client: Any, url: str) -> None:
    """The queue is a sorted set, taken from by BZPOPMIN."""
    module = "support.programs.huey_tasks"
    tasks = load(module, **{URL: url})
    for word, priority in (("third", 1), ("first", 9), ("second", 5), ("last", None)):
        tasks.append(word, priority=priority)
    arguments = [f"{module}.by_priority", "--workers", "1", "--graceful-signal", "TERM"]
    with Program("huey.bin.huey_consumer", *arguments, **{URL: url}):
        wait_until(lambda: client.llen("words") == 4, "all tasks have run")
    assert client.lrange("words", 0, -1) == ["first", "second", "third", "last"]
    tasks.by_priority.storage.pool.disconnect()


# -- Dramatiq -------------------------------------------------------------------------------------


def test_dramatiq(client: Any, url: str) -> None:
    module = "support.programs.dramatiq_actors"
    actors = load(module, **{URL: url})
    heartbeats = "dramatiq:__heartbeats__"
    actors.square.send(7)  # and a worker has taken it and died
    taken = client.lpop("dramatiq:default")
    client.sadd("dramatiq:__acks__.dead.default", taken)
    client.zadd(heartbeats, {"dead": 1})
    with Program("dramatiq", module, "--processes", "1", "--threads", "4", **{URL: url}):
        squares = [actors.square.send(number) for number in range(20)]
        later = [actors.square.send_with_options(args=(n,), delay=100 * n) for n in range(4)]
        third = actors.succeeds_at_the_third_try.send()
        actors.fails.send()
        wait = {"block": True, "timeout": round(1000 * HANG_S)}
        assert [message.get_result(**wait) for message in squares] == [n * n for n in range(20)]
        assert [message.get_result(**wait) for message in later] == [0, 1, 4, 9]
        assert third.get_result(**wait) == 2
        many = dramatiq.group(actors.square.message(number) for number in range(5)).run()
        assert list(many.get_results(**wait)) == [0, 1, 4, 9, 16]
        steps = dramatiq.pipeline([actors.square.message(2), actors.square.message()]).run()
        assert steps.get_result(**wait) == 16
        for queue in ("default", "other"):
            actors.broker.join(queue, timeout=round(1000 * HANG_S))
        assert client.zscore(heartbeats, "dead") is None
        assert not client.keys("dramatiq:__acks__.*")
    assert client.zcard("dramatiq:other.XQ") == 1  # the dead letter of the one that fails
    assert client.zcard("dramatiq:default.XQ") == 0
    actors.broker.close()


# -- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "strategy",
    [
        limits.strategies.FixedWindowRateLimiter,
        limits.strategies.MovingWindowRateLimiter,
        limits.strategies.SlidingWindowCounterRateLimiter,
    ],
)
def test_limits(url: str, strategy: type[limits.strategies.RateLimiter]) -> None:
    """Sixteen threads ask for more than there is, for several users; each gets what is due."""
    storage = RedisStorage(url)
    limiter = strategy(storage)
    limit = limits.parse("50/day")
    users = [f"user {number}" for number in range(4)]

    def work(_: int) -> list[bool]:
        return [limiter.hit(limit, user) for _ in range(5) for user in users]

    assert limiter.test(limit, users[0])
    hits = in_threads(work, 16)
    for number, user in enumerate(users):
        assert sum(sum(given[number::4]) for given in hits) == 50
        assert limiter.get_window_stats(limit, user).remaining == 0
        assert not limiter.test(limit, user)
    limiter.clear(limit, users[0])
    assert limiter.hit(limit, users[0], cost=49)
    assert limiter.hit(limit, users[0])
    assert not limiter.hit(limit, users[0])
    storage.storage.close()


def test_limits_are_forgotten(client: Any, url: str) -> None:
    """The script of `reset` lists keys, of all partitions."""
    storage = RedisStorage(url)
    limiter = limits.strategies.FixedWindowRateLimiter(storage)
    limit = limits.parse("1/day")
    users = [f"user {number}" for number in range(20)]
    assert all(limiter.hit(limit, user) for user in users)
    assert storage.reset() == len(users)
    assert client.dbsize() == 0
    assert all(limiter.hit(limit, user) for user in users)
    storage.storage.close()
