"""Keys whose time has come, on whole servers: gone for readers, for DBSIZE, and in the log."""

import random
from functools import partial
from pathlib import Path

import pytest
from shoal.proto.slots import key_slot, owner_of
from support.raw import RawClient, pack
from support.servers import Oracle, Server, Shoal, wait_until

NULL = b"$-1\r\n"
TAGS = [
    next(b"{%d}" % n for n in range(100) if owner_of(key_slot(b"%d" % n), 2) == worker)
    for worker in (0, 1)
]


def logged(shoal: Shoal, worker: int) -> bytes:
    """Return what the segment of a worker holds."""
    (segment,) = Path(shoal.directory).glob(f"appendonlydir/appendonly.{worker}.*.incr.aof")
    return segment.read_bytes()


def missing(client: RawClient, key: bytes) -> bool:
    return client.call(b"GET", key) == NULL


@pytest.mark.parametrize("found", ["by a reader", "by the cycle", "by both"])
def test_an_expired_key_is_logged_as_deleted_once(found: str) -> None:
    with Shoal("--appendfsync", "always", "--enable-debug-command", "yes", workers=2) as shoal:
        with shoal.client() as client:
            active = b"0" if found == "by a reader" else b"1"
            assert client.call(b"DEBUG", b"SET-ACTIVE-EXPIRE", active) == b"+OK\r\n"
            for tag in TAGS:
                assert client.call(b"SET", tag, b"v", b"PX", b"30") == b"+OK\r\n"
            if found != "by the cycle":
                for tag in TAGS:
                    wait_until(partial(missing, client, tag), "it expires")
            else:
                wait_until(lambda: client.call(b"DBSIZE") == b":0\r\n", "they expire")
        for worker, tag in enumerate(TAGS):
            assert logged(shoal, worker).count(pack(b"DEL", tag)) == 1
        shoal.stop()
        for worker, tag in enumerate(TAGS):
            text = logged(shoal, worker)
            assert text.count(pack(b"DEL", tag)) == 1
            assert text.index(b"PXAT") < text.index(pack(b"DEL", tag))


def test_keys_vanish_without_being_read() -> None:
    count = 20_000
    draw = random.Random(1)
    with Shoal("--appendfsync", "always", workers=2) as shoal, shoal.client() as client:
        for start in range(0, count, 1000):
            client.send(
                b"".join(
                    pack(b"SET", b"k%d" % n, b"v", b"PX", b"%d" % draw.randint(2000, 3000))
                    for n in range(start, start + 1000)
                )
            )
            for _ in range(1000):
                assert client.read_reply() == b"+OK\r\n"
        client.call(b"SET", b"stays", b"v")
        assert client.call(b"DBSIZE") == b":%d\r\n" % (count + 1)
        wait_until(lambda: client.call(b"DBSIZE") == b":1\r\n", "all but one have expired")
        assert b"\r\nexpired_keys:%d\r\n" % count in client.call(b"INFO", b"stats")
        deleted = sum(logged(shoal, worker).count(b"$3\r\nDEL\r\n") for worker in (0, 1))
        assert deleted == count


@pytest.mark.parametrize("make", [Oracle, Shoal])
def test_a_pause_keeps_what_has_expired(make: type[Server]) -> None:
    """Missing for who asks, but not deleted: as in Redis, nothing changes in a pause."""
    with make("--appendfsync", "always") as server, server.client() as client:
        for key, px in (b"gone", b"200"), (b"read", b"200"), (b"clock", b"800"):
            assert client.call(b"SET", key, b"v", b"PX", px) == b"+OK\r\n"
        assert client.call(b"CLIENT", b"PAUSE", b"100000", b"WRITE") == b"+OK\r\n"
        wait_until(partial(missing, client, b"read"), "it expires")
        assert client.call(b"EXISTS", b"gone", b"read") == b":0\r\n"
        assert client.call(b"TTL", b"read") == b":-2\r\n"
        # Several rounds of the active cycle later:
        wait_until(partial(missing, client, b"clock"), "time passes")
        assert client.call(b"DBSIZE") == b":3\r\n"
        if isinstance(server, Shoal):
            assert b"$3\r\nDEL\r\n" not in logged(server, 0) + logged(server, 1)
        assert client.call(b"CLIENT", b"UNPAUSE") == b"+OK\r\n"
        wait_until(lambda: client.call(b"DBSIZE") == b":0\r\n", "they are deleted")
        if isinstance(server, Shoal):
            assert (logged(server, 0) + logged(server, 1)).count(b"$3\r\nDEL\r\n") == 3
