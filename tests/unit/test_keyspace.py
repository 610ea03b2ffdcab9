"""The keyspace beside a dict: any sequence of changes, two databases, time that passes, locks that
come and go.
"""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)
from shoal.proto.errors import ReplyError
from shoal.proto.slots import key_slot
from shoal.worker.keyspace import NO_EXPIRE, NO_KEY, Keyspace, Store
from shoal.worker.values.string import String
from support.keyspace import NOW_MS, Partition, check_store

# A partition of a few slots: keys that share one, keys alone, and their neighbours.
SLOTS = range(key_slot(b"t") - 2, key_slot(b"t") + 3)
TAGS = [
    next(b"%d" % i for i in range(200_000) if key_slot(b"%d" % i) == slot)
    for slot in (SLOTS[0], SLOTS[3])
]
KEYS = [b"{t}%d" % i for i in range(4)] + [b"t", *TAGS]

keys = st.sampled_from(KEYS)
datas = st.binary(max_size=3)
dbs = st.integers(0, 1)
in_ms = st.integers(1, 30)


class KeyspaceMachine(RuleBasedStateMachine):
    """`model` maps (db, key) to (data, expire time or 0); what has expired stays in it until it is
    met.
    """

    def __init__(self) -> None:
        super().__init__()
        self.partition = Partition(SLOTS, 2)
        self.store = self.partition.store
        self.model: dict[tuple[int, bytes], tuple[bytes, int]] = {}
        self.changed: list[tuple[int, bytes]] = []
        self.store.on_change = lambda db, key: self.changed.append((db, key))
        self.closed: list[tuple[int | None, bytes | None, bool]] = []

    def ks(self, db: int) -> Keyspace:
        self.changed.clear()
        return self.store.view(db)

    def there(self, db: int, key: bytes) -> tuple[bytes, int] | None:
        found = self.model.get((db, key))
        if found is not None and 0 < found[1] <= self.store.now_ms:
            del self.model[db, key]
            return None
        return found

    @rule(db=dbs, key=keys, data=datas, ms=st.none() | in_ms, grown=st.booleans())
    def put(self, db: int, key: bytes, data: bytes, ms: int | None, grown: bool) -> None:
        expire_ms = 0 if ms is None else self.store.now_ms + ms
        self.ks(db).set(key, bytearray(data) if grown else data, expire_ms)
        self.model[db, key] = (data, expire_ms)
        assert self.changed == [(db, key)]

    @rule(db=dbs, key=keys, ms=st.none() | in_ms)
    def put_the_same_object(self, db: int, key: bytes, ms: int | None) -> None:
        found = self.there(db, key)
        value = self.ks(db).find(key)
        assert (value is None) == (found is None)
        if found is not None:
            expire_ms = 0 if ms is None else self.store.now_ms + ms
            self.store.view(db).set(key, value, expire_ms)
            self.model[db, key] = (found[0], expire_ms)

    @rule(db=dbs, key=keys, data=datas, grown=st.booleans())
    def update(self, db: int, key: bytes, data: bytes, grown: bool) -> None:
        found = self.there(db, key)
        self.ks(db).lookup_write(key)
        self.store.view(db).update(key, bytearray(data) if grown else data)
        self.model[db, key] = (data, found[1] if found else 0)

    @rule(db=dbs, key=keys)
    def delete(self, db: int, key: bytes) -> None:
        found = self.there(db, key)
        assert self.ks(db).delete(key) == (found is not None)
        self.model.pop((db, key), None)

    @rule(db=dbs, key=keys, ms=in_ms)
    def set_expire(self, db: int, key: bytes, ms: int) -> None:
        found = self.there(db, key)
        if self.ks(db).exists(key):
            assert found is not None
            self.store.view(db).set_expire(key, self.store.now_ms + ms)
            self.model[db, key] = (found[0], self.store.now_ms + ms)

    @rule(db=dbs, key=keys)
    def persist(self, db: int, key: bytes) -> None:
        found = self.there(db, key)
        assert self.ks(db).persist(key) == bool(found and found[1])
        if found is not None:
            self.model[db, key] = (found[0], 0)

    @rule(db=dbs, key=keys)
    def read(self, db: int, key: bytes) -> None:
        found = self.there(db, key)
        ks, hits, misses = self.ks(db), self.store.hits, self.store.misses
        data = ks.lookup_read(key, bytes)
        assert (None if data is None else bytes(data)) == (None if found is None else found[0])
        assert (self.store.hits - hits, self.store.misses - misses) == (
            (0, 1) if found is None else (1, 0)
        )
        assert ks.expire_at(key) == (NO_KEY if found is None else found[1] or NO_EXPIRE)

    @rule(db=dbs, key=keys)
    def another_type(self, db: int, key: bytes) -> None:
        found = self.there(db, key)
        if found is None:
            assert self.ks(db).lookup_write(key, list) is None
        else:
            with pytest.raises(ReplyError, match="WRONGTYPE"):
                self.ks(db).lookup_read(key, list)

    @rule(db=dbs)
    def random_key(self, db: int) -> None:
        live = {key for at, key in list(self.model) if at == db and self.there(db, key)}
        key = self.ks(db).random_key()
        assert key in live if live else key is None

    @rule(db=dbs)
    def flush(self, db: int) -> None:
        before = len(self.store.view(db))
        assert self.ks(db).flush() == before
        self.model = {where: found for where, found in self.model.items() if where[0] != db}
        assert len(self.store.view(db)) == 0

    @rule(first=dbs, second=dbs)
    def swap(self, first: int, second: int) -> None:
        self.store.swap(first, second)
        if first != second:
            self.model = {(1 - db, key): found for (db, key), found in self.model.items()}

    @rule(ms=in_ms)
    def pass_time(self, ms: int) -> None:
        self.store.now_ms += ms

    @rule(steps=st.integers(0, 3))
    def free(self, steps: int) -> None:
        self.store.free_some(steps)

    @rule(db=st.none() | dbs, key=st.none() | keys, write_only=st.booleans())
    def close(self, db: int | None, key: bytes | None, write_only: bool) -> None:
        lock = (db, None if db is None else key, write_only)
        self.store.gate.close(*lock)
        self.closed.append(lock)

    @precondition(lambda self: self.closed)
    @rule(data=st.data())
    def open(self, data: st.DataObject) -> None:
        self.store.gate.open(*self.closed.pop(data.draw(st.integers(0, len(self.closed) - 1))))

    @invariant()
    def as_the_model(self) -> None:
        check_store(self.store)
        now_ms = self.store.now_ms
        live = {at: found for at, found in self.model.items() if not 0 < found[1] <= now_ms}
        assert self.partition.live() == live
        for db in (0, 1):
            shut = [
                write_only for at, key, write_only in self.closed if at in (None, db) and not key
            ]
            for slot in SLOTS:
                of_slot = [
                    write_only
                    for at, key, write_only in self.closed
                    if at == db and key and key_slot(key) == slot
                ]
                database = self.store.database(db)
                assert (database.write[slot] is None) == bool(shut + of_slot)
                assert (database.read[slot] is None) == (not all(shut + of_slot))

    def teardown(self) -> None:
        for lock in self.closed:
            self.store.gate.open(*lock)
        check_store(self.store)
        while self.store.garbage:
            self.store.free_some(2)


KeyspaceMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestKeyspace = KeyspaceMachine.TestCase


@given(st.lists(st.sampled_from([1, 2, 60, 300]), min_size=1, max_size=6), st.integers(1, 200))
def test_garbage_is_freed_in_steps(sizes: list[int], steps: int) -> None:
    store = Store(SLOTS, 1, Random(1))
    tables = [{b"%d" % i: b"" for i in range(size)} for size in sizes]
    store.garbage.extend(tables)
    left = sum(sizes)
    while store.garbage:
        store.free_some(steps)
        now_left = sum(len(item) for item in store.garbage)
        assert left - now_left <= steps
        left = now_left
    assert left == 0


def test_the_expired_key_is_logged_and_announced() -> None:
    partition = Partition()
    ks = partition.ks
    ks.set(b"k", b"v", NOW_MS + 5)
    partition.events.clear()
    partition.store.now_ms += 5
    assert ks.find(b"k") is None
    assert partition.logged == [(0, (b"DEL", b"k"))]
    assert partition.events == ["0 x:expired k"]
    assert partition.store.expired_keys == 1


def test_every_key_has_the_same_chance_to_be_the_random_one() -> None:
    ks = Partition(seed=7).ks
    for i in range(40):  # one slot with half of the keys, and some alone in theirs
        ks.set(b"{t}%d" % i if i % 2 else b"%d" % i, b"v")
    drawn = Counter(ks.random_key() for _ in range(8000))  # 200 each; the seed is fixed
    assert len(drawn) == 40
    assert min(drawn.values()) > 130
    assert max(drawn.values()) < 270


def test_a_random_key_is_found_among_expired_ones() -> None:
    partition = Partition()
    for i in range(2000):
        partition.ks.set(b"%d" % i, b"v", NOW_MS + 1)
    partition.ks.set(b"live", b"v")
    partition.store.now_ms += 1
    assert partition.ks.random_key() == b"live"
    partition.ks.delete(b"live")
    assert partition.ks.random_key() is None
    assert len(partition.ks) == 0


def test_a_string_keeps_its_buffer_when_it_is_moved() -> None:
    ks = Partition().ks
    ks.set(b"k", bytearray(b"v"), NOW_MS + 9)
    value = ks.find(b"k")
    assert isinstance(value, String)
    ks.persist(b"k")
    kept: object = ks.find(b"k")
    assert kept is value
    assert value.data.__class__ is bytearray
