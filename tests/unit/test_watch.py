"""The watched keys of a partition, beside a naive model."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.proto.slots import key_slot
from shoal.worker.keyspace import Store
from shoal.worker.watch import Watches

NOW_MS = 1_700_000_000_000
KEYS = (b"a", b"b", b"c")
DBS = 2


class Partition:
    """A store of all slots, its watches, and whom they told."""

    def __init__(self) -> None:
        self.store = Store(range(16384), 4, Random(0))
        self.store.now_ms = NOW_MS
        self.told: list[int] = []
        self.watches = Watches(self.store, self.told.append)

    def check(self) -> None:
        """What the module's text says always holds."""
        watches, gate = self.watches, self.store.gate
        stood = {
            (db, key, number)
            for db, keys in watches._by_key.items()
            for key, numbers in keys.items()
            for number in numbers
        }
        assert stood == {
            (*at, number) for number, one in watches._watchers.items() for at in one.keys
        }
        assert not any(one.keys for one in watches._watchers.values() if one.touched)
        for db, keys in watches._by_key.items():
            for key in keys:
                slot = key_slot(key)
                assert self.store.view(db).db.write[slot] is None, "fused writes pass"
                assert not gate.is_locked(db, slot)
        assert (self.store.on_change is None) == (not watches._by_key)


Step = tuple[str, int, int, bytes]


class Model:
    """Watches as they are defined: what each watcher has seen, compared with what is."""

    def __init__(self, partition: Partition) -> None:
        self.store = partition.store
        self.version: dict[tuple[int, bytes], int] = {}
        self.seen: dict[int, dict[tuple[int, bytes], int]] = {}

    def bump(self, db: int, key: bytes) -> None:
        self.version[db, key] = self.version.get((db, key), 0) + 1

    def watch(self, number: int, db: int, key: bytes) -> None:
        keys = self.seen.setdefault(number, {})
        keys.setdefault((db, key), self.version.get((db, key), 0))

    def may_run(self, number: int) -> bool:
        keys = self.seen.pop(number, None)
        return keys is not None and all(
            self.version.get(at, 0) == version for at, version in keys.items()
        )


STEP = st.tuples(
    st.sampled_from(["watch", "set", "delete", "flush", "swap", "exec", "end"]),
    st.integers(1, 4),
    st.integers(0, DBS - 1),
    st.sampled_from(KEYS),
)


@given(st.lists(STEP, max_size=60))
def test_like_the_model(steps: list[Step]) -> None:
    partition = Partition()
    store, watches = partition.store, partition.watches
    model = Model(partition)
    for what, number, db, key in steps:
        view = store.view(db)
        if what == "watch":
            watches.watch(number, db, [key])
            model.watch(number, db, key)
        elif what == "set":
            view.set(key, b"v")
            model.bump(db, key)
        elif what == "delete":
            if view.delete(key):
                model.bump(db, key)
        elif what == "flush":
            for one in KEYS:
                if view.exists(one):
                    model.bump(db, one)
            view.flush()
        elif what == "swap":
            for one in KEYS:
                if view.exists(one) or store.view(1 - db).exists(one):
                    model.bump(0, one)
                    model.bump(1, one)
            store.swap(db, 1 - db)
        elif what == "exec":
            count = len(model.seen.get(number, {}))
            assert watches.may_run(number, count) == model.may_run(number)
        else:
            watches.end(number)
            model.seen.pop(number, None)
        partition.check()
    for number in range(1, 5):
        watches.end(number)
    partition.check()
    assert not len(watches)
    assert store.on_change is None


def test_who_is_touched_is_told_once() -> None:
    partition = Partition()
    partition.watches.watch(7, 0, [b"a", b"b"])
    partition.watches.watch(8, 0, [b"b"])
    view = partition.store.view(0)
    view.set(b"a", b"1")
    view.set(b"a", b"2")
    assert partition.told == [7]
    view.set(b"b", b"1")
    assert partition.told == [7, 8]


@pytest.mark.parametrize(("count", "may"), [(2, True), (1, False), (3, False)])
def test_a_watcher_that_lacks_a_key_may_not_run(count: int, may: bool) -> None:
    partition = Partition()
    partition.watches.watch(1, 0, [b"a"])
    partition.watches.watch(1, 1, [b"a"])
    assert partition.watches.may_run(1, count) is may


def test_an_unknown_watcher_may_not_run() -> None:
    assert not Partition().watches.may_run(1, 0)


def test_of_a_home_that_has_gone() -> None:
    partition = Partition()
    for number in (3, 4, 6):
        partition.watches.watch(number, 0, [b"a"])
    partition.watches.end_all(lambda number: number % 3 == 0)
    assert [partition.watches.may_run(number, 1) for number in (3, 4, 6)] == [False, True, False]


@pytest.mark.parametrize(
    ("when", "then", "may"),
    [
        ("before", (), True),
        ("before", ("find",), True),
        ("before", ("set",), False),
        ("before", ("find", "set"), False),
        ("before", ("flush",), True),
        ("before", ("swap",), True),
        ("after", (), False),
        ("after", ("find",), False),
        ("after", ("flush",), False),
    ],
)
def test_expiry(when: str, then: tuple[str, ...], may: bool) -> None:
    partition = Partition()
    store = partition.store
    view = store.view(0)
    view.set(b"a", b"v", NOW_MS + 10)
    if when == "before":
        store.now_ms += 20
    partition.watches.watch(1, 0, [b"a"])
    store.now_ms = NOW_MS + 20
    for what in then:
        if what == "find":
            view.find(b"a")
        elif what == "set":
            view.set(b"a", b"w")
        elif what == "flush":
            view.flush()
        else:
            store.swap(0, 1)
    assert partition.watches.may_run(1, 1) is may
