"""MEMORY USAGE beside what the interpreter has allocated; STATS and DOCTOR of many workers."""

from __future__ import annotations

import gc
import json
import tracemalloc
from random import Random

import pytest
from shoal.proto.replies import encode
from shoal.worker.commands import load_all
from shoal.worker.commands.memory import _merge_doctor, _merge_stats
from shoal.worker.registry import PartAnswer
from support.keyspace import Partition

load_all()

COUNT = 3000


def _many(name: bytes, *, per: int = 1) -> list[list[bytes]]:
    random = Random(1)
    words = [b"%020d" % random.randrange(10**15) for _ in range(COUNT * per)]
    return [[name, b"k", *words[at : at + 100 * per]] for at in range(0, len(words), 100 * per)]


FILL: dict[str, list[list[bytes]]] = {
    "string": [[b"SET", b"k", b"x" * 50_000]],
    "volatile string": [[b"SET", b"k", b"x" * 50_000, b"EX", b"100"]],
    "grown string": [[b"APPEND", b"k", b"x" * 100] for _ in range(500)],
    "bits": [[b"SETBIT", b"k", b"400000", b"1"]],
    "sparse HyperLogLog": [[b"PFADD", b"k", b"%d" % n] for n in range(1000)],
    "dense HyperLogLog": _many(b"PFADD"),
    "list": _many(b"RPUSH"),
    "set": _many(b"SADD"),
    "hash": _many(b"HSET", per=2),
    "sorted set": [
        [
            b"ZADD",
            b"k",
            *[word for n, member in enumerate(line[2:]) for word in (b"%d" % n, member)],
        ]
        for line in _many(b"x")
    ],
    "stream": [[b"XADD", b"k", b"%d-1" % n, b"field", b"value:%012d" % n] for n in range(1, COUNT)],
}


def _usage(partition: Partition, samples: int) -> int:
    reply = partition.run([b"MEMORY", b"USAGE", b"k", b"SAMPLES", b"%d" % samples])
    assert reply[:1] == b":", reply
    return int(reply[1:-2])


@pytest.mark.parametrize("kind", FILL)
def test_usage_is_what_was_allocated(kind: str) -> None:
    partition = Partition()
    assert partition.run([b"EXISTS", b"k"]) == b":0\r\n"  # makes the database
    gc.collect()
    tracemalloc.start()
    try:
        for argv in FILL[kind]:
            # Objects of its own, as what comes from a connection.
            reply = partition.run([bytes(bytearray(word)) for word in argv])
            assert reply[:1] != b"-", reply
        partition.logged.clear()
        gc.collect()
        allocated = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert _usage(partition, 0) == pytest.approx(allocated, rel=0.15)
    for samples in (5, 100):
        assert _usage(partition, samples) == pytest.approx(allocated, rel=0.5), samples


def test_usage_counts_the_key_and_its_place() -> None:
    partition = Partition()
    partition.run([b"SET", b"k", b"v"])
    small = _usage(partition, 0)
    assert 100 < small < 400
    partition.run([b"RENAME", b"k", b"k" * 10_000])
    reply = partition.run([b"MEMORY", b"USAGE", b"k" * 10_000])
    assert int(reply[1:-2]) == small + 9_999


def test_a_slots_dict_is_shared_by_its_keys() -> None:
    partition = Partition()
    for number in range(1000):
        partition.run([b"SET", b"{t}%d" % number, b"v"])
    reply = partition.run([b"MEMORY", b"USAGE", b"{t}7"])
    assert int(reply[1:-2]) < 180


def _answers(*figures: tuple[int, int, list[tuple[int, int, int]]]) -> list[PartAnswer]:
    return [PartAnswer(at, (), json.dumps(part).encode()) for at, part in enumerate(figures)]


def test_stats_add_up() -> None:
    answers = _answers((100, 150, [(0, 3, 30), (5, 1, 10)]), (60, 170, [(0, 2, 20)]), (40, 80, []))
    assert encode(_merge_stats(answers), 3) == (
        b"%7\r\n$14\r\npeak.allocated\r\n:400\r\n$15\r\ntotal.allocated\r\n:200\r\n"
        b"$4\r\ndb.0\r\n%2\r\n$23\r\noverhead.hashtable.main\r\n:50\r\n"
        b"$26\r\noverhead.hashtable.expires\r\n:0\r\n"
        b"$4\r\ndb.5\r\n%2\r\n$23\r\noverhead.hashtable.main\r\n:10\r\n"
        b"$26\r\noverhead.hashtable.expires\r\n:0\r\n"
        b"$14\r\noverhead.total\r\n:60\r\n$10\r\nkeys.count\r\n:6\r\n"
        b"$15\r\npeak.percentage\r\n,50\r\n"
    )


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (_answers((100, 900, [])), b"is empty or is using very little memory"),
        (_answers((100, 150, [(0, 1, 9)])), b"I can't find any memory issue"),
        (_answers((100, 151, [(0, 1, 9)])), b"Peak memory"),
        (_answers((100, 140, []), (100, 150, [(0, 1, 9)])), b"I can't find any memory issue"),
    ],
)
def test_the_doctor(answers: list[PartAnswer], text: bytes) -> None:
    assert text in encode(_merge_doctor(answers), 2)
