"""A disk that takes no more bytes: RLIMIT_FSIZE of a worker makes its pwrite fail with EFBIG.

Python ignores the signal that comes with it. A segment at its limit is what a full disk is: one
write is cut short, the next refused.
"""

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest
from shoal.proto.slots import key_slot, owner_of
from support.raw import RawClient, bulk_text, pack, split_reply
from support.servers import Shoal, wait_until

OK = b"+OK\r\n"
MISCONF = b"-MISCONF Errors writing to the AOF file: File too large\r\n"
ROOM_BYTES = 1000  # until the disk is full
TAGS = [
    next(b"{%d}" % n for n in range(100) if owner_of(key_slot(b"%d" % n), 2) == worker)
    for worker in (0, 1)
]

Entries = dict[bytes, bytes]


@contextmanager
def full_disk(shoal: Shoal) -> Iterator[None]:
    """Let the segment of worker 0 grow by no more than some bytes."""
    worker = psutil.Process(shoal.status()["workers"][0]["pid"])
    (segment,) = shoal.directory.glob("appendonlydir/appendonly.0.*.incr.aof")
    soft, hard = worker.rlimit(psutil.RLIMIT_FSIZE)
    worker.rlimit(psutil.RLIMIT_FSIZE, (segment.stat().st_size + ROOM_BYTES, hard))
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            worker.rlimit(psutil.RLIMIT_FSIZE, (soft, hard))


def one_key(number: int) -> Entries:
    return {b"key:%b:%d" % (TAGS[0], number): b"%d" % number}


def both_workers(number: int) -> Entries:
    return {b"key:%b:%d:%d" % (tag, n, number): b"%d" % number for tag in TAGS for n in (1, 2)}


def mset(entries: Entries) -> bytes:
    return pack(b"MSET", *(word for entry in entries.items() for word in entry))


def readable(client: RawClient) -> bool:
    return bool(select.select([client.socket], [], [], 0)[0])


def write_until_refused(
    shoal: Shoal, client: RawClient, entries: Callable[[int], Entries]
) -> tuple[int, bool]:
    """Write one after the other until the disk is full.

    Returns: how many were acknowledged, and whether there is one more that has no answer yet.
    """
    seen = len(shoal.lines)

    def refused() -> bool:
        return any("refusing writes" in line for line in shoal.lines[seen:])

    for number in range(ROOM_BYTES):
        client.send(mset(entries(number)))
        wait_until(lambda: readable(client) or refused(), "an answer, or a full disk")
        if not readable(client):
            return number, True
        reply = client.read_reply()
        if reply == MISCONF:
            return number, False
        assert reply == OK
    raise AssertionError("the disk is never full")


def last_answer(client: RawClient) -> int:
    """Read the answer to the last write: 1 if it was acknowledged."""
    reply = client.read_reply()
    assert reply in (OK, MISCONF)
    return int(reply == OK)


def stored(client: RawClient, entries: Entries) -> list[bool]:
    """Tell of each entry whether it is stored; nothing else may be."""
    found = split_reply(client.call(b"MGET", *entries))[1]
    told = []
    for reply, value in zip(found, entries.values(), strict=True):
        assert reply == b"$-1\r\n" or bulk_text(reply) == value
        told.append(reply != b"$-1\r\n")
    return told


def check(shoal: Shoal, entries: Callable[[int], Entries], acknowledged: int) -> None:
    """Insist on all that was acknowledged, and on all or nothing of what was not."""
    with shoal.client() as client:
        for number in range(acknowledged):
            assert all(stored(client, entries(number))), number
        for number in range(acknowledged, acknowledged + 3):
            assert len(set(stored(client, entries(number)))) == 1, number


WRITES = {
    "fused": [b"SET", TAGS[0], b"v"],
    "plain": [b"APPEND", TAGS[0], b"v"],
    "over both workers": [b"MSET", TAGS[0], b"v", TAGS[1], b"v"],
    "of everything": [b"FLUSHALL"],
}


@pytest.mark.parametrize("entries", [one_key, both_workers])
@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_a_full_disk_refuses_writes_until_it_has_room(
    policy: str, entries: Callable[[int], Entries]
) -> None:
    with Shoal("--appendfsync", policy, workers=2) as shoal:
        with shoal.client() as writer, shoal.client() as other:
            with full_disk(shoal):
                acknowledged, is_open = write_until_refused(shoal, writer, entries)
                assert acknowledged
                for name, argv in WRITES.items():
                    assert other.call(*argv) == MISCONF, name
                # Reads go on, but not of the keys that the last write still has locked.
                for number in range(acknowledged):
                    assert all(stored(other, entries(number))), number
                info = other.call(b"INFO", b"persistence")
                assert b"\r\naof_last_write_status:err\r\n" in info
            if is_open:
                acknowledged += last_answer(writer)
            wait_until(lambda: other.call(b"SET", TAGS[0], b"v") == OK, "writes are accepted")
            for name, argv in WRITES.items():
                if name != "of everything":
                    assert not other.call(*argv).startswith(b"-"), name
            info = other.call(b"INFO", b"persistence")
            assert b"\r\naof_last_write_status:ok\r\n" in info
        check(shoal, entries, acknowledged)
        shoal.kill()
        shoal.start()
        check(shoal, entries, acknowledged)
        with shoal.client() as client:
            assert stored(client, {TAGS[0]: b"v", TAGS[1]: b"v"}) == [True, True]


@pytest.mark.parametrize("entries", [one_key, both_workers])
def test_what_was_acknowledged_survives_a_kill_while_the_disk_is_full(
    entries: Callable[[int], Entries],
) -> None:
    with Shoal("--appendfsync", "always", workers=2) as shoal:
        with shoal.client() as writer, full_disk(shoal):
            acknowledged, _ = write_until_refused(shoal, writer, entries)
            assert acknowledged
            shoal.kill()
        shoal.start()
        check(shoal, entries, acknowledged)


def test_a_full_disk_concerns_its_worker_alone() -> None:
    """The other one's keys are written; what spans both is refused."""
    with Shoal("--appendfsync", "everysec", workers=2) as shoal:
        with shoal.client() as writer, shoal.client() as other, full_disk(shoal):
            write_until_refused(shoal, writer, one_key)
            for number in range(100):
                assert other.call(b"SET", b"%b:%d" % (TAGS[1], number), b"v") == OK
                assert other.call(b"SET", b"%b:%d" % (TAGS[0], number), b"v") == MISCONF
        shoal.stop()
        shoal.start()
        with shoal.client() as client:
            assert all(stored(client, {b"%b:%d" % (TAGS[1], n): b"v" for n in range(100)}))
            assert not any(stored(client, {b"%b:%d" % (TAGS[0], n): b"v" for n in range(100)}))
