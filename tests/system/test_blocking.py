"""Blocked clients of real processes: over workers, with disconnects, restarts and kill -9."""

import os
import re
import signal
import threading
from collections import Counter
from random import Random

import pytest
from shoal.proto.slots import key_slot, owner_of
from support.raw import RawClient, bulk_text, pack, split_reply
from support.servers import Shoal, wait_until

ALWAYS = ("--appendfsync", "always")
WORKERS = 3


def figure(shoal: Shoal, name: str) -> int:
    """Return a number of INFO."""
    with shoal.client() as client:
        found = re.search(rb"\r\n%b:(\d+)\r\n" % name.encode(), client.call(b"INFO"))
    assert found is not None
    return int(found[1])


def blocked(shoal: Shoal, count: int) -> None:
    """Wait until so many clients are blocked."""
    wait_until(lambda: figure(shoal, "blocked_clients") == count, f"{count} clients are blocked")


def test_who_came_first_is_served_first_from_any_home(shoal: Shoal) -> None:
    clients = [shoal.client() for _ in range(8)]
    for number, client in enumerate(clients):
        client.send(pack(b"BLPOP", b"queue", b"0"))
        blocked(shoal, number + 1)
    assert figure(shoal, "total_blocking_keys") == 1
    with shoal.client() as pusher:
        assert pusher.call(b"RPUSH", b"queue", *b"0 1 2 3 4 5 6 7 8".split()) == b":9\r\n"
        for number, client in enumerate(clients):
            assert split_reply(client.read_reply())[1][1] == b"$1\r\n%d\r\n" % number
        assert pusher.call(b"LRANGE", b"queue", b"0", b"-1") == b"*1\r\n$1\r\n8\r\n"
    assert figure(shoal, "blocked_clients") == 0
    for client in clients:
        client.close()


def test_client_unblock_and_kill(shoal: Shoal) -> None:
    with shoal.client() as admin:
        for end, reply in (
            (b"UNBLOCK %d", b"*-1\r\n"),
            (b"UNBLOCK %d TIMEOUT", b"*-1\r\n"),
            (b"UNBLOCK %d ERROR", b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"),
            (b"KILL ID %d", b""),
        ):
            for _ in range(4):  # at the key's worker, and at another
                with shoal.client() as client:
                    number = int(client.call(b"CLIENT", b"ID")[1:-2])
                    client.send(pack(b"BLPOP", b"nothing", b"0"))
                    blocked(shoal, 1)
                    line = bulk_text(admin.call(b"CLIENT", b"LIST", b"ID", b"%d" % number))
                    assert b" flags=b " in line
                    assert admin.call(b"CLIENT", *(end % number).split()) == b":1\r\n"
                    got = client.read_reply() if reply else client.read_until_closed()
                    assert got == reply
                    blocked(shoal, 0)
        assert figure(shoal, "total_blocking_keys") == 0


def test_no_element_is_lost_among_clients_that_come_and_go() -> None:
    """Consumers block and disconnect while producers push; every element is got, or still there."""
    with Shoal(*ALWAYS, workers=WORKERS) as shoal:
        keys = [b"queue:%d" % number for number in range(6)]
        got: Counter[bytes] = Counter()
        guard = threading.Lock()
        stop = threading.Event()
        failures: list[BaseException] = []

        def consume(seed: int) -> None:
            random = Random(seed)
            while not stop.is_set():
                with shoal.client() as client:
                    for _ in range(random.randrange(1, 8)):
                        name = random.choice([b"BLPOP", b"BRPOP"])
                        reply = client.call(name, random.choice(keys), b"0.02")
                        _, items = split_reply(reply)
                        if items:
                            with guard:
                                got[bulk_text(items[1])] += 1

        def produce(number: int) -> None:
            random = Random(number)
            with shoal.client() as client:
                for at in range(400):
                    element = b"%d:%d" % (number, at)
                    assert client.call(b"RPUSH", random.choice(keys), element)[:1] == b":"

        def guarded(task, argument: int) -> None:  # type: ignore[no-untyped-def]
            try:
                task(argument)
            except BaseException as error:
                failures.append(error)
                raise

        consumers = [threading.Thread(target=guarded, args=(consume, n)) for n in range(6)]
        producers = [threading.Thread(target=guarded, args=(produce, n)) for n in range(3)]
        for thread in (*consumers, *producers):
            thread.start()
        for thread in producers:
            thread.join()
        stop.set()
        for thread in consumers:
            thread.join()
        assert not failures
        with shoal.client() as client:
            for key in keys:
                left = split_reply(client.call(b"LRANGE", key, b"0", b"-1"))[1]
                got.update(map(bulk_text, left))
        assert got == Counter(b"%d:%d" % (n, at) for n in range(3) for at in range(400))
        assert figure(shoal, "total_blocking_keys") == 0


def worker_of(client: RawClient, key: bytes) -> bool:
    """Tell whether a client's own worker has the key: then reading it makes no hop."""
    before = re.search(rb"\r\nhops:(\d+)", client.call(b"INFO", b"stats"))
    client.call(b"LLEN", key)
    after = re.search(rb"\r\nhops:(\d+)", client.call(b"INFO", b"stats"))
    assert before is not None
    assert after is not None
    return before[1] == after[1]


@pytest.mark.parametrize("how", ["kill -9", "restart"])
def test_a_blocked_client_outlives_the_keys_worker(how: str) -> None:
    """What it waits for is asked of the successor; clients of the lost worker see a closed
    connection.
    """
    with Shoal(*ALWAYS, workers=2) as shoal:
        clients = [shoal.client() for _ in range(4)]
        there = [client for client in clients if not worker_of(client, b"queue")]
        assert len(there) == 2
        for client in there:
            client.send(pack(b"BLPOP", b"queue", b"0"))
        blocked(shoal, 2)
        number = owner_of(key_slot(b"queue"), 2)
        owner = shoal.status()["workers"][number]
        if how == "restart":
            shoal.ctl("restart-worker", str(number))
        else:
            os.kill(owner["pid"], signal.SIGKILL)
        wait_until(lambda: shoal.status()["workers"][number]["restarts"] == 1, "a successor serves")
        with shoal.client() as pusher:
            assert pusher.call(b"RPUSH", b"queue", b"x", b"y", b"z") == b":3\r\n"
            replies = sorted(client.read_reply() for client in there)
            element = b"*2\r\n$5\r\nqueue\r\n$1\r\n%b\r\n"
            assert replies == [element % b"x", element % b"y"]
            assert pusher.call(b"LLEN", b"queue") == b":1\r\n"
        for client in clients:
            client.close()
