"""Pub/sub of real processes: redis-py in threads and asyncio, kill -9, a subscriber that sleeps."""

import asyncio
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
import redis.asyncio
from support.raw import RawClient, pack
from support.servers import Shoal, wait_until

WORKERS = 3
HANG_S = 60.0


@pytest.fixture
def server() -> Iterator[Shoal]:
    with Shoal("--save", "", "--appendonly", "no", workers=WORKERS) as shoal:
        yield shoal


@contextmanager
def clients(shoal: Shoal, count: int) -> Iterator[list[RawClient]]:
    """Give connections, one of each worker next to each other."""
    opened = [shoal.client() for _ in range(count)]
    try:
        yield opened
    finally:
        for client in opened:
            client.close()


def number(reply: bytes) -> int:
    assert reply[:1] == b":", reply
    return int(reply[1:])


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_from_threads(server: Shoal, protocol: int) -> None:
    """Five threads publish, four listen; nothing is lost, or comes twice, or out of order."""
    per_thread = 300
    opened = [redis.Redis(port=server.port, protocol=protocol) for _ in range(10)]
    heard: list[list[tuple[str, int]]] = [[] for _ in range(4)]
    counts: Counter[int] = Counter()

    def listen(at: int) -> None:
        with opened[at].pubsub() as pubsub:  # type: ignore[no-untyped-call]
            pubsub.subscribe("news")
            if at % 2:
                pubsub.psubscribe("n?ws.*")
            for message in pubsub.listen():
                if message["type"] in ("message", "pmessage"):
                    sender, _, text = message["data"].decode().partition(":")
                    if sender == "end":
                        return
                    heard[at].append((sender, int(text)))

    def publish(at: int) -> None:
        channel = "news.x" if at % 2 else "news"
        for text in range(per_thread):
            counts[opened[at].publish(channel, f"{at}:{text}")] += 1

    listeners = [threading.Thread(target=listen, args=(at,)) for at in range(4)]
    for thread in listeners:
        thread.start()
    first = opened[9]
    wait_until(lambda: first.pubsub_numsub("news") == [(b"news", 4)], "four have subscribed")
    wait_until(lambda: first.info()["pubsub_clients"] == 4, "four subscribers")
    wait_until(lambda: first.pubsub_numpat() == 1, "the pattern")
    wait_until(lambda: first.publish("news.y", "0:-1") == 2, "two have the pattern")
    publishers = [threading.Thread(target=publish, args=(at,)) for at in range(4, 9)]
    for thread in publishers:
        thread.start()
    for thread in publishers:
        thread.join(HANG_S)
    assert first.publish("news", "end:") == 4
    for thread in listeners:
        thread.join(HANG_S)
        assert not thread.is_alive()
    assert counts == {4: 3 * per_thread, 2: 2 * per_thread}
    for at, messages in enumerate(heard):
        senders = {"4", "6", "8"} | ({"5", "7"} if at % 2 else set())
        for sender in senders:
            assert [text for by, text in messages if by == sender] == list(range(per_thread))
    for client in opened:
        client.close()


def test_redis_py_asyncio(server: Shoal) -> None:
    async def run() -> None:
        client = redis.asyncio.Redis(port=server.port, protocol=3)
        pubsubs = [client.pubsub() for _ in range(6)]
        for pubsub in pubsubs:
            await pubsub.subscribe("a", "b")
            for _ in range(2):
                message = await pubsub.get_message(timeout=HANG_S)
                assert message["type"] == "subscribe"
        for text in range(50):
            assert await client.publish("ab"[text % 2], str(text)) == len(pubsubs)
        for pubsub in pubsubs:
            got: list[Any] = []
            while len(got) < 50:
                message = await pubsub.get_message(timeout=HANG_S)
                assert message is not None
                got.append(int(message["data"]))
            assert got == list(range(50))
            await pubsub.unsubscribe()
            await pubsub.aclose()  # type: ignore[no-untyped-call]
        await client.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("how", ["kill", "restart"])
def test_a_worker_that_ends_takes_its_subscribers_along_and_no_other(
    server: Shoal, how: str
) -> None:
    with clients(server, 2 * WORKERS) as opened:
        for client in opened:
            assert b":1\r\n" in client.call(b"SUBSCRIBE", b"c")
        with server.client() as publisher:
            assert number(publisher.call(b"PUBLISH", b"c", b"0")) == len(opened)
        for client in opened:
            assert client.read_reply().endswith(b"$1\r\n0\r\n")
        victim = server.status()["workers"][1]
        if how == "kill":
            os.kill(victim["pid"], signal.SIGKILL)
        else:
            server.ctl("restart-worker", "1")
        wait_until(lambda: len(alive(opened)) < len(opened), "its clients are cut")

        def serves_again() -> bool:
            workers = server.status()["workers"]
            return (
                all(w["state"] == "serving" for w in workers) and workers[1]["pid"] != victim["pid"]
            )

        wait_until(serves_again, "the worker serves again")
        left = alive(opened)
        assert len(left) == len(opened) - 2
        # From every worker, the new one too, which was told of the others' subscriptions.
        with clients(server, 2 * WORKERS) as publishers:
            for text, publisher in enumerate(publishers):
                assert number(publisher.call(b"PUBLISH", b"c", b"%d" % text)) == len(left)
                for client in left:
                    assert client.read_reply().endswith(b"$1\r\n%d\r\n" % text)
            late = publishers[-1]
            assert b":1\r\n" in late.call(b"SUBSCRIBE", b"c")
            assert number(publishers[0].call(b"PUBLISH", b"c", b"x")) == len(left) + 1


def alive(opened: list[RawClient]) -> list[RawClient]:
    """Return the connections that are open: PING of a subscriber is answered."""
    found = []
    for client in opened:
        try:
            client.send(pack(b"PING"))
            client.read_reply()
        except (OSError, EOFError):
            continue
        found.append(client)
    return found


def test_a_subscriber_that_sleeps_is_cut_and_slows_nobody(server: Shoal) -> None:
    with clients(server, 4) as (slow, quick, publisher, admin):
        admin.call(b"CONFIG", b"SET", b"client-output-buffer-limit", b"pubsub 2mb 1mb 60")
        for client in (slow, quick):
            client.call(b"SUBSCRIBE", b"c")
        text = b"x" * 100_000
        cut = False
        for _ in range(500):
            count = number(publisher.call(b"PUBLISH", b"c", text))
            assert quick.read_reply().endswith(text + b"\r\n")
            cut = count == 1
            if cut:
                break
        assert cut
        assert b"output buffer limits" in server.output.encode()
        assert admin.call(b"PUBSUB", b"NUMSUB", b"c") == b"*2\r\n$1\r\nc\r\n:1\r\n"
        read = slow.read_until_closed()
        assert read.startswith(b"*3\r\n$7\r\nmessage\r\n")


def test_a_subscriber_is_not_idle(server: Shoal) -> None:
    with clients(server, 3) as (listener, idle, publisher):
        listener.call(b"SUBSCRIBE", b"c")
        publisher.call(b"CONFIG", b"SET", b"timeout", b"1")
        assert idle.read_until_closed() == b""
        with server.client() as again:
            assert again.call(b"PUBLISH", b"c", b"x") == b":1\r\n"
        assert listener.read_reply().endswith(b"$1\r\nx\r\n")


def test_events_and_monitor_over_workers(server: Shoal) -> None:
    with clients(server, 5) as (setter, listener, monitor, one, other):
        setter.call(b"CONFIG", b"SET", b"notify-keyspace-events", b"Eg$x")
        listener.call(b"PSUBSCRIBE", b"__keyevent@*__:*")
        assert monitor.call(b"MONITOR") == b"+OK\r\n"
        keys = [b"k%d" % n for n in range(30)]
        for key in keys:
            one.call(b"SET", key, b"v")
            other.call(b"DEL", key)
        for key in keys:
            assert listener.read_reply().endswith(b":set\r\n$%d\r\n%b\r\n" % (len(key), key))
            assert listener.read_reply().endswith(b":del\r\n$%d\r\n%b\r\n" % (len(key), key))
        shown = Counter(monitor.read_reply().split(b'"')[1] for _ in range(2 * len(keys)))
        assert shown == {b"SET": len(keys), b"DEL": len(keys)}
