"""The active expire cycle: what it deletes and logs, that hints stay true, and that it keeps to its
budget.
"""

from dataclasses import dataclass
from typing import Any

import pytest
import shoal.worker.commands.hashes
import shoal.worker.commands.keys  # noqa: F401, declares the commands
from hypothesis import given, settings
from hypothesis import strategies as st
from shoal.proto.slots import key_slot
from shoal.worker import expire
from shoal.worker.expire import ExpireCycle
from shoal.worker.keyspace import Keyspace, Store
from shoal.worker.values.hash import Hash
from support.keyspace import NOW_MS, Partition, check_store
from support.raw import split_line


@dataclass
class SteppingClock:
    """A monotonic clock that moves on by `step_ns` at each look, as if the work in between took
    that long.
    """

    step_ns: int = 0
    now_ns: int = 0
    looks: int = 0

    def __call__(self) -> int:
        self.looks += 1
        self.now_ns += self.step_ns
        return self.now_ns


def run_out(cycle: ExpireCycle, budget_us: int = 1000, bound: int = 100_000) -> int:
    """Run until there is no more to do; return how many runs it took."""
    for runs in range(1, bound):
        if not cycle.run(budget_us):
            return runs
    raise AssertionError(f"still more to do after {bound} runs")


# A partition of a hundred slots (it is checked after each step), one of which has more keys than
# others.
SLOTS = range(key_slot(b"t") - 50, key_slot(b"t") + 50)
NUMBERS = [b"%d" % i for i in range(16_384) if key_slot(b"%d" % i) in SLOTS]
keys = st.one_of(
    st.sampled_from(NUMBERS),
    st.integers(0, 30).map(lambda i: b"{t}%d" % i),
    st.integers(0, 9).map(lambda i: b"{%b}%d" % (NUMBERS[0], i)),
)
# Expire times relative to now, 0 for never.
expiries = st.integers(-20, 20)
ops = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 1), keys, st.integers(0, 20)),
    st.tuples(st.just("delete"), st.integers(0, 1), keys),
    st.tuples(st.just("persist"), st.integers(0, 1), keys),
    st.tuples(st.just("flush"), st.integers(0, 1)),
    st.tuples(st.just("swap")),
    st.tuples(st.just("time"), st.integers(0, 10)),
    st.tuples(st.just("run")),
    st.tuples(st.just("close"), keys),
    st.tuples(st.just("open")),
)


@settings(deadline=None, max_examples=200)
@given(
    present=st.dictionaries(keys, expiries, max_size=60),
    script=st.lists(ops, max_size=30),
    slice_size=st.sampled_from([1, 3, 8, 128]),
)
def test_only_what_has_expired_goes_and_all_of_it(
    present: dict[bytes, int],
    script: list[tuple[Any, ...]],
    slice_size: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expire, "SLICE", slice_size)
        patch.setattr(expire, "GARBAGE_STEPS", slice_size)
        partition = Partition(SLOTS, databases=2)
        store = partition.store
        cycle = ExpireCycle(store, SteppingClock(step_ns=1000))
        store.now_ms = NOW_MS - 20
        for key, ms in present.items():
            store.view(0).set(key, b"v", NOW_MS + ms if ms else 0)
        store.now_ms = NOW_MS
        closed: list[bytes] = []
        for step in script:
            before = partition.live()
            match step:
                case ("set", db, key, ms):
                    ks = store.view(db)
                    ks.exists(key)
                    ks.set(key, b"v", store.now_ms + ms if ms else 0)
                case ("delete", db, key):
                    store.view(db).delete(key)
                case ("persist", db, key):
                    store.view(db).persist(key)
                case ("flush", db):
                    store.flush(db)
                case ("swap",):
                    store.swap(0, 1)
                case ("time", ms):
                    store.now_ms += ms
                case ("run",):
                    cycle.run(1)  # one step
                    assert partition.live() == before
                case ("close", key):
                    store.gate.close(0, key, True)
                    closed.append(key)
                case ("open",) if closed:
                    store.gate.open(0, closed.pop(), True)
            check_store(store, in_visit=cycle.visiting)
        for key in closed:
            store.gate.open(0, key, True)
        before = partition.live()
        run_out(cycle)  # the round that was under way
        run_out(cycle)  # and a whole one
        assert partition.live() == before
        check_store(store)
        sizes = [len(store.view(db)) for db in (0, 1)]
        assert sum(sizes) == len(before), "nothing that has expired is left"
        assert not store.garbage
        for db in store.databases():
            for slot, hint in db.next_expire.items():
                times = [getattr(v, "expire_ms", 0) for v in db.keys_in(slot).values()]
                assert hint > store.now_ms or any(times), "a slot without volatile keys is not due"


def test_each_expired_key_is_logged_and_announced_once() -> None:
    partition = Partition()
    for i in range(300):
        partition.store.view(i % 3).set(b"%d" % i, b"v", NOW_MS + 5)
    partition.store.now_ms += 5
    partition.events.clear()
    run_out(ExpireCycle(partition.store, SteppingClock()))
    assert sorted(partition.logged) == sorted((i % 3, (b"DEL", b"%d" % i)) for i in range(300))
    assert sorted(partition.events) == sorted(f"{i % 3} x:expired {i}" for i in range(300))
    assert partition.store.expired_keys == 300


def test_hints_become_exact() -> None:
    partition = Partition()
    ks = partition.ks
    slot = key_slot(b"{t}")
    for i in range(400):  # more than a slice
        ks.set(b"{t}%d" % i, b"v", NOW_MS + 1 + i)
    partition.store.now_ms += 100
    run_out(ExpireCycle(partition.store, SteppingClock()))
    assert ks.db.next_expire == {slot: NOW_MS + 101}
    assert len(ks) == 300
    partition.store.now_ms += 1000
    run_out(ExpireCycle(partition.store, SteppingClock()))
    assert ks.db.next_expire == {}


def test_a_slot_is_left_alone_until_its_time() -> None:
    partition = Partition()
    partition.ks.set(b"k", b"v", NOW_MS + 5)
    hints = dict(partition.ks.db.next_expire)
    assert not ExpireCycle(partition.store, SteppingClock()).run(1000)
    assert partition.ks.db.next_expire == hints


def test_it_stops_at_its_budget_and_goes_on_from_there() -> None:
    partition = Partition()
    for i in range(5000):
        partition.ks.set(b"%d" % i, b"v", NOW_MS + 1)
    partition.store.now_ms += 1
    clock = SteppingClock(step_ns=100_000)  # each step takes 0.1 ms
    cycle = ExpireCycle(partition.store, clock)
    left = len(partition.ks)
    runs = 0
    while True:
        began_ns, looks = clock.now_ns, clock.looks
        more = cycle.run(1000)
        runs += 1
        assert clock.now_ns - began_ns <= 1100_000 + clock.step_ns
        assert clock.looks - looks <= 12
        assert len(partition.ks) <= left
        left = len(partition.ks)
        if not more:
            break
    assert left == 0
    assert cycle.time_cap_reached == runs - 1
    assert runs > 100


def test_a_large_slot_is_done_in_slices() -> None:
    partition = Partition()
    for i in range(1000):
        partition.ks.set(b"{t}%d" % i, b"v", NOW_MS + 1)
    partition.store.now_ms += 1
    cycle = ExpireCycle(partition.store, SteppingClock(step_ns=1000))
    left = 1000
    while cycle.run(1):
        assert left - len(partition.ks) <= expire.SLICE
        left = len(partition.ks)
    assert len(partition.ks) == 0


def test_nothing_expires_when_it_is_switched_off_but_garbage_is_freed() -> None:
    partition = Partition()
    store = partition.store
    partition.ks.set(b"k", b"v", NOW_MS + 1)
    store.view(1).set(b"k", b"v")
    store.flush(1)
    store.now_ms += 1
    store.active_expire = False
    assert not ExpireCycle(store, SteppingClock()).run(1000)
    assert len(partition.ks) == 1
    assert not store.garbage


def test_neither_garbage_nor_expiry_starves_the_other() -> None:
    partition = Partition()
    store = partition.store
    for i in range(2000):
        partition.ks.set(b"%d" % i, b"v", NOW_MS + 1)
    store.garbage.extend({b"%d" % i: b"" for i in range(2000)} for _ in range(50))
    store.now_ms += 1
    cycle = ExpireCycle(store, SteppingClock(step_ns=100_000))
    for _ in range(5):
        cycle.run(1000)
    assert len(partition.ks) < 2000
    assert sum(len(item) for item in store.garbage) < 100_000


class Elements(list[int]):
    """A value of many elements."""

    type_name = b"list"
    expire_ms = 0


def test_a_big_value_is_left_to_the_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    partition = Partition()
    store, value = partition.store, Elements(range(1000))
    partition.ks.set(b"k", value, NOW_MS + 1)
    partition.ks.set(b"l", Elements(range(10)), NOW_MS + 1)
    store.now_ms += 1
    freed: list[object] = []
    monkeypatch.setattr(store, "free_some", lambda _: freed.append(store.garbage.pop()))
    run_out(ExpireCycle(store, SteppingClock()))
    assert freed == [value]
    assert len(partition.ks) == 0


def test_how_stale_the_keys_are_is_estimated() -> None:
    partition = Partition()
    ks = partition.ks
    cycle = ExpireCycle(partition.store, SteppingClock())
    for turn in range(100):
        for i in range(4):  # one of four has expired by the next run
            ks.set(b"{t}%d" % i, b"v", NOW_MS + turn + (1 if i == 0 else 1000))
        partition.store.now_ms += 1
        run_out(cycle)
    assert 24 < cycle.stale_percent <= 25


# -- fields of hashes ------------------------------------------------------------------------------


def put_hash(ks: Keyspace, key: bytes, times: dict[bytes, int], lasting: int = 0) -> Hash:
    """Store a hash with fields that expire at these times, and others."""
    value = Hash()
    value.put_pairs([side for field in times for side in (field, b"v")] or [b"lasting", b"v"])
    for i in range(lasting):
        value.put(b"lasting%d" % i, b"v")
    for field, at_ms in times.items():
        value.set_expire(field, at_ms)
    ks.set(key, value)
    return value


def live_fields(store: Store) -> dict[tuple[int, bytes], dict[bytes, bytes]]:
    """Return the fields that have not expired, of the hashes that have any."""
    found = {}
    for database in store.databases():
        for slot in database.slots:
            for key, value in store.view(database.index).live_keys(slot):
                fields = dict(value.live_items(store.now_ms))
                if fields:
                    found[database.index, key] = fields
    return found


@settings(deadline=None, max_examples=200)
@given(
    present=st.dictionaries(keys, st.tuples(expiries, st.lists(st.integers(-5, 20))), max_size=40),
    script=st.lists(st.tuples(st.integers(0, 7), keys, st.integers(0, 20)), max_size=30),
    slice_size=st.sampled_from([1, 3, 8, 128]),
)
def test_only_fields_that_have_expired_go_and_all_of_them(
    present: dict[bytes, tuple[int, list[int]]],
    script: list[tuple[int, bytes, int]],
    slice_size: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expire, "SLICE", slice_size)
        partition = Partition(SLOTS, databases=2)
        store, ks = partition.store, partition.ks
        cycle = ExpireCycle(store, SteppingClock(step_ns=1000))
        store.now_ms = NOW_MS - 20
        for key, (ms, times) in present.items():
            put_hash(ks, key, {b"%d" % i: NOW_MS + at for i, at in enumerate(times)})
            if ms:
                ks.set_expire(key, NOW_MS + ms)
        store.now_ms = NOW_MS
        closed = 0
        for action, key, number in script:
            before = live_fields(store)
            field = b"%d" % (number % 5)
            match action:
                case 0 | 1 | 2:
                    cycle.run(1)  # one step
                    assert live_fields(store) == before
                case 3:
                    store.now_ms += number // 2
                case 4:
                    partition.run(
                        [b"HSETEX", key, b"PX", b"%d" % number, b"FIELDS", b"1", field, b"w"]
                    )
                case 5:
                    partition.run([b"HSET", key, field, b"x"])
                case 6:
                    partition.run([b"HDEL", key, field])
                case 7 if number == 0:
                    store.flush(0)
                case 7 if number == 1:
                    store.swap(0, 1)
                case 7 if number < 12:
                    store.gate.close(0, NUMBERS[0], True)
                    closed += 1
            check_store(store, in_visit=cycle.visiting)
        for _ in range(closed):
            store.gate.open(0, NUMBERS[0], True)
        before = live_fields(store)
        run_out(cycle)  # the round that was under way
        run_out(cycle)  # and a whole one
        assert live_fields(store) == before
        check_store(store)
        for database in store.databases():
            for key, value in database:
                assert value.earliest() > store.now_ms, key
                assert len(value) == len(before[database.index, key])


def test_each_expired_field_is_logged_and_its_hash_announced_once() -> None:
    partition = Partition()
    store = partition.store
    put_hash(partition.ks, b"some", {b"a": NOW_MS + 2, b"b": NOW_MS + 1, b"c": NOW_MS + 3}, 1)
    put_hash(partition.ks, b"all", {b"a": NOW_MS + 1})
    partition.events.clear()
    store.now_ms += 2
    run_out(ExpireCycle(store, SteppingClock()))
    assert sorted(partition.logged) == [
        (0, (b"HDEL", b"all", b"a")),
        (0, (b"HDEL", b"some", b"a")),
        (0, (b"HDEL", b"some", b"b")),
    ]
    assert partition.logged.index((0, (b"HDEL", b"some", b"b"))) < partition.logged.index(
        (0, (b"HDEL", b"some", b"a"))
    ), "the earliest first"
    assert sorted(partition.events) == ["0 g:del all", "0 h:hexpired all", "0 h:hexpired some"]
    assert (store.expired_subkeys, store.expired_keys) == (3, 0)
    assert partition.ks.db.next_expire == {key_slot(b"some"): NOW_MS + 3}
    assert partition.ks.db.subexpiry == 1
    check_store(store)


@pytest.mark.parametrize("others", [0, 500], ids=["alone in its slot", "in a large slot"])
def test_many_expired_fields_are_deleted_in_slices(others: int) -> None:
    partition = Partition()
    store, ks = partition.store, partition.ks
    for i in range(others):
        ks.set(b"{t}%d" % i, b"v")
    value = put_hash(ks, b"{t}", {b"%d" % i: NOW_MS + 1 + i // 2000 for i in range(4000)}, 5)
    store.now_ms += 1
    cycle = ExpireCycle(store, SteppingClock(step_ns=1000))
    left = len(value)
    runs = 1
    while cycle.run(1):
        assert left - len(value) <= expire.SLICE
        left = len(value)
        runs += 1
    assert runs >= 2000 // expire.SLICE
    assert len(value) == 2005
    assert ks.db.next_expire == {key_slot(b"{t}"): NOW_MS + 2}
    check_store(store)


def test_a_hash_that_goes_between_two_slices_is_no_concern() -> None:
    partition = Partition()
    store, ks = partition.store, partition.ks
    put_hash(ks, b"{t}", {b"%d" % i: NOW_MS + 1 for i in range(1000)})
    store.now_ms += 1
    cycle = ExpireCycle(store, SteppingClock(step_ns=1000))
    for _ in range(3):
        assert cycle.run(1)
    ks.delete(b"{t}")
    put_hash(ks, b"{t}", {b"a": NOW_MS + 50})
    run_out(cycle)
    run_out(cycle)
    assert ks.db.next_expire == {key_slot(b"{t}"): NOW_MS + 50}
    check_store(store)


@pytest.mark.parametrize("line", ["RENAME {t} {t}2", "COPY {t} {t}2", "MOVE {t} 1", "SWAPDB 0 1"])
def test_fields_are_found_wherever_their_hash_went(line: str) -> None:
    partition = Partition()
    store = partition.store
    put_hash(partition.ks, b"{t}", {b"a": NOW_MS + 5}, 1)
    partition.run(split_line(line))
    check_store(store)
    store.now_ms += 5
    run_out(ExpireCycle(store, SteppingClock()))
    check_store(store)
    hashes = [value for db in store.databases() for _, value in db]
    assert hashes
    assert [len(value) for value in hashes] == [1] * len(hashes)
    assert not any(db.next_expire for db in store.databases())
