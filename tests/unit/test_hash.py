"""Hashes against a naive model, in each of their forms, and the names that they share."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from shoal.proto.limits import MAX_SHAPE_FIELDS, MAX_SHAPE_NAME_BYTES
from shoal.worker.values import hash as hash_module
from shoal.worker.values.hash import (
    FLAT_MAX,
    HASHTABLE,
    LISTPACK,
    LISTPACKEX,
    NEVER,
    TIMES_FLAT_MAX,
    Hash,
    ManyTimes,
    Shapes,
)
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.table import Table

Entry = tuple[bytes, bytes, int]


@dataclass
class Model:
    """A hash as a list of (field, value, expire time or NEVER), in the order of Redis: those that
    expire by time, a new one before those of the same time, then the others.
    """

    entries: list[Entry] = field(default_factory=list)
    encoding: bytes = LISTPACK

    def find(self, name: bytes) -> Entry | None:
        return next((entry for entry in self.entries if entry[0] == name), None)

    def put(self, name: bytes, value: bytes) -> None:
        if (
            len(name) > LIMITS.hash_max_listpack_value
            or len(value) > LIMITS.hash_max_listpack_value
        ):
            self.encoding = HASHTABLE
        entry = self.find(name)
        if entry is None:
            self.entries.append((name, value, NEVER))
        else:
            self.entries[self.entries.index(entry)] = (name, value, entry[2])
        if len(self.entries) > LIMITS.hash_max_listpack_entries:
            self.encoding = HASHTABLE

    def persist(self, name: bytes) -> bool:
        entry = self.find(name)
        if entry is None or entry[2] == NEVER:
            return False
        self.entries.remove(entry)
        self.entries.append((name, entry[1], NEVER))
        return True

    def set_expire(self, name: bytes, at_ms: int) -> None:
        entry = self.find(name)
        assert entry is not None
        self.entries.remove(entry)
        later = [at for at, other in enumerate(self.entries) if other[2] >= at_ms]
        self.entries.insert(later[0] if later else len(self.entries), (name, entry[1], at_ms))
        if self.encoding == LISTPACK:
            self.encoding = LISTPACKEX

    def remove(self, names: Sequence[bytes]) -> int:
        before = len(self.entries)
        self.entries = [entry for entry in self.entries if entry[0] not in names]
        return before - len(self.entries)


def compare(value: Hash, model: Model, now_ms: int) -> None:
    """Assert that both hold the same, in the same order where there is one."""
    value.check()
    assert len(value) == len(model.entries)
    assert value.encoding == model.encoding
    live = [entry[:2] for entry in model.entries if entry[2] > now_ms]
    if value.data.__class__ is Table:
        assert sorted(value.live_items(now_ms)) == sorted(live)
    else:
        assert list(value.live_items(now_ms)) == live
    assert list(zip(*value.live_columns(now_ms), strict=True)) == list(value.live_items(now_ms))
    assert dict(value.items()) == {name: data for name, data, _ in model.entries}
    times = {name: at_ms for name, _, at_ms in model.entries if at_ms < NEVER}
    assert value.earliest() == min(times.values(), default=NEVER)
    due = value.due(now_ms, 1000)
    assert sorted(due) == sorted(name for name, at_ms in times.items() if at_ms <= now_ms)
    assert [times[name] for name in due] == sorted(times[name] for name in due)
    assert value.due(now_ms, 2) == due[:2]
    for name, data, at_ms in model.entries[:5]:
        assert value.get(name) == data
        assert value.expire_at(name) == (0 if at_ms == NEVER else at_ms)
        assert value.has_expired(name, now_ms) == (at_ms <= now_ms)
        assert value.live(name, now_ms) == (data if at_ms > now_ms else None)
    assert value.get(b"none") is None
    assert not value.expire_at(b"none")
    assert not value.has_expired(b"none", now_ms)


def rebuilt(value: Hash) -> Hash:
    """Return what its commands lead to."""
    twin = Hash()
    for argv in value.commands(b"key"):
        assert argv[1] == b"key"
        assert len(argv) <= 2 + 128
        if argv[0] == b"HSET":
            twin.set_pairs(argv[2:])
        else:
            assert argv[0] == b"HPEXPIREAT"
            assert argv[3] == b"FIELDS"
            assert int(argv[4]) == len(argv) - 5
            for name in argv[5:]:
                twin.set_expire(name, int(argv[2]))
    return twin


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few fields be many."""
    monkeypatch.setattr(hash_module, "FLAT_MAX", 24)
    monkeypatch.setattr(hash_module, "TIMES_FLAT_MAX", 24)
    monkeypatch.setattr(hash_module, "MAX_SHAPE_FIELDS", 12)
    monkeypatch.setattr(hash_module, "MAX_SHAPE_NAME_BYTES", 10)
    monkeypatch.setattr(hash_module, "SHAPES", Shapes(16))
    monkeypatch.setattr(LIMITS, "hash_max_listpack_entries", 18)
    monkeypatch.setattr(LIMITS, "hash_max_listpack_value", 8)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("many", [4, 10, 16, 40, 120])
@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_random_programs(many: int, timed: bool, seed: int) -> None:
    random = Random(f"{many} {timed} {seed}")
    value, model, now_ms = Hash(), Model(), 1000
    names = [b"f%d" % i for i in range(many)]
    if seed % 2:
        names += [b"a long name %d" % i for i in range(2)]
    actions = ["put", "pairs", "set", "remove", "remove", "copy", "rebuild"]
    if timed:
        actions += ["expire", "expire", "expire", "persist", "time", "due"]
    for _ in range(400):
        name = random.choice(names)
        data = b"%d" % random.randrange(50) if random.random() < 0.99 else b"y" * 9
        match random.choice(actions):
            case "put":
                value.put(name, data)
                model.put(name, data)
            case "pairs" | "set" as how:
                chosen = [random.choice(names) for _ in range(random.choice([1, 2, 5]))]
                args = [side for one in chosen for side in (one, data)]
                before = len(value)
                keeps = how == "pairs"
                added = value.put_pairs(args) if keeps else value.set_pairs(args)
                assert added == len(value) - before
                for one in chosen:
                    if not keeps:
                        model.persist(one)
                    model.put(one, data)
            case "remove":
                chosen = [random.choice(names) for _ in range(random.choice([1, 1, 3, 20]))]
                assert value.remove(chosen) == model.remove(chosen)
            case "expire" if model.find(name):
                at_ms = now_ms + random.randrange(9)
                value.set_expire(name, at_ms)
                model.set_expire(name, at_ms)
            case "persist":
                assert value.persist(name) == model.persist(name)
            case "time":
                now_ms += random.randrange(4)
            case "due":
                due = value.due(now_ms, random.randrange(1, 9))
                assert value.remove(due) == model.remove(due) == len(due)
            case "copy":
                twin = value.copy()
                compare(twin, model, now_ms)
                value.put(b"f0", b"changed")
                value.remove(names[1:3])
                compare(twin, model, now_ms)
                value = twin
            case "rebuild":
                twin = rebuilt(value)
                if Table not in (twin.data.__class__, value.data.__class__):
                    assert list(twin.live_items(0)) == list(value.live_items(0))
                assert dict(twin.items()) == dict(value.items())
                assert all(twin.expire_at(one) == value.expire_at(one) for one in names)
        if not model.entries and not len(value):
            value, model = Hash(), Model()
        compare(value, model, now_ms)


def _filled(size: int) -> Hash:
    value = Hash()
    for i in range(size):
        value.put(b"field:%d" % i, b"%d" % i)
    return value


SIZES = [1, 5, MAX_SHAPE_FIELDS, MAX_SHAPE_FIELDS + 1, FLAT_MAX, FLAT_MAX + 1, 3000]


@pytest.mark.parametrize("size", SIZES)
def test_forms_by_size(size: int) -> None:
    value = _filled(size)
    if size <= MAX_SHAPE_FIELDS:
        assert value.shape is not None
    elif size <= FLAT_MAX:
        assert value.data.__class__ is dict
    else:
        assert value.data.__class__ is Table
    value.check()
    assert value.encoding == (LISTPACK if size <= LIMITS.hash_max_listpack_entries else HASHTABLE)


@pytest.mark.parametrize("size", SIZES)
def test_a_scan_gives_every_field(size: int) -> None:
    value = _filled(size)
    for i in range(0, size, 3):
        value.set_expire(b"field:%d" % i, 100)
    for now_ms in (0, 100):
        seen: dict[bytes, bytes] = {}
        position = 0
        while True:
            position, found = value.scan(position, 10, now_ms)
            seen.update(found)
            if not position:
                break
        assert seen == dict(value.live_items(now_ms))


@pytest.mark.parametrize("size", [1, 5, 100, 1000])
def test_every_field_has_the_same_chance(size: int) -> None:
    value, random = _filled(size), Random(1)
    drawn = Counter(value.random_item(random) for _ in range(60 * size))
    assert len(drawn) == size
    assert min(drawn.values()) >= 25
    assert max(drawn.values()) <= 110
    assert dict(drawn).keys() == dict.fromkeys(value.items()).keys()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("timed", [0, 1, 2000])
@pytest.mark.parametrize("steps", [1, 100, 10_000])
def test_free_lets_go_of_a_few_at_a_time(size: int, timed: int, steps: int) -> None:
    value = _filled(size)
    for i in range(min(size, timed)):
        value.set_expire(b"field:%d" % i, 1)
    runs = 0
    while len(value):
        freed = value.free(steps)
        assert 0 < freed <= max(steps + 600, MAX_SHAPE_FIELDS)
        runs += 1
    assert runs >= size // (steps + 600)


def _bytes_of(value: Hash) -> int:
    """Add up all objects of a hash but the names that it shares."""
    seen: dict[int, int] = {}

    def add(one: Any) -> None:
        if id(one) in seen or isinstance(one, (type, str, type(None))):
            return
        seen[id(one)] = sys.getsizeof(one)
        if isinstance(one, dict):
            for pair in one.items():
                add(pair[0])
                add(pair[1])
        elif isinstance(one, (list, tuple)):
            for item in one:
                add(item)
        else:
            for slot in getattr(type(one), "__slots__", ()):
                if slot not in ("shape", "encoding", "expire_ms"):
                    add(getattr(one, slot))

    add(value)
    return sum(seen.values())


@pytest.mark.parametrize("size", [1, 5, 64, 100, 600, 5000])
@pytest.mark.parametrize("timed", [0, 3, 2000])
def test_memory_is_estimated(size: int, timed: int) -> None:
    value = _filled(size)
    for i in range(min(size, timed)):
        value.set_expire(b"field:%d" % i, 5_000_000_000_000 + i)
    real = _bytes_of(value)
    for samples in (0, 5, 100):
        assert 0.85 * real - 50 <= value.memory_bytes(samples) <= 1.15 * real + 50


def test_times_of_many_fields() -> None:
    value = _filled(2000)
    for i in range(2000):
        value.set_expire(b"field:%d" % i, 10_000 - i)
    assert isinstance(value.times, ManyTimes)
    assert len(value.times) == 2000 > TIMES_FLAT_MAX
    value.check()
    assert value.earliest() == 8001
    assert value.due(8003, 10) == [b"field:1999", b"field:1998", b"field:1997"]
    assert value.persist(b"field:1999")
    assert not value.persist(b"field:1999")
    assert value.earliest() == 8002
    twin = value.copy()
    assert value.remove([b"field:%d" % i for i in range(2000)]) == 2000
    assert value.times is None
    twin.check()
    assert twin.expire_at(b"field:7") == 9993
    assert rebuilt(twin).due(NEVER, 5000) == twin.due(NEVER, 5000)


# -- shapes ----------------------------------------------------------------------------------------


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> Shapes:
    """The shapes that hashes use: four at most."""
    shapes = Shapes(4)
    monkeypatch.setattr(hash_module, "SHAPES", shapes)
    return shapes


def _of(*names: bytes) -> Hash:
    value = Hash()
    value.put_pairs([side for name in names for side in (name, b"v")])
    value.check()
    return value


def test_equal_fields_are_shared(shapes: Shapes) -> None:
    first, second = _of(b"a", b"b"), _of(b"a", b"b")
    assert first.shape is second.shape is not None
    other = _of(b"b", b"a")
    assert other.shape is not first.shape
    third = _of(b"a")
    third.put(b"b", b"v")
    assert third.shape is first.shape
    fourth = _of(b"a", b"x", b"b")
    fourth.remove([b"x"])
    assert fourth.shape is first.shape
    second.put(b"a", b"w")
    assert (first.get(b"a"), second.get(b"a")) == (b"v", b"w")


def test_their_number_is_bounded(shapes: Shapes) -> None:
    kept = [_of(b"f%d" % i) for i in range(4)]
    for i in range(100):
        assert _of(b"g%d" % i).shape is None
        assert len(shapes) == 4
    assert _of(b"f2").shape is kept[2].shape


def test_a_shape_that_no_hash_has_makes_room(shapes: Shapes) -> None:
    kept = [_of(b"f%d" % i) for i in range(4)]
    assert _of(b"g").shape is None
    del kept[1:3]
    made = [_of(b"g%d" % i) for i in range(20)]
    shared = [value for value in made if value.shape is not None]
    assert len(shared) == 2  # in place of those two, once it has looked for unused ones again
    assert len(shapes) == 4
    assert _of(b"f0").shape is kept[0].shape
    assert _of(b"f3").shape is kept[1].shape


def test_what_is_not_shared(shapes: Shapes) -> None:
    assert _of(b"x" * (MAX_SHAPE_NAME_BYTES + 1)).shape is None
    assert _of(*(b"%d" % i for i in range(MAX_SHAPE_FIELDS + 1))).shape is None
    assert shapes.find((b"a", b"a")) is None
    assert list(_of(b"a", b"a", b"b").items()) == [(b"a", b"v"), (b"b", b"v")]
    value = _of(b"a", b"b")
    assert value.shape is not None
    names = value.shape.fields
    value.set_expire(b"a", 5)
    assert value.shape is None
    assert [id(name) for name in value.data] == [id(name) for name in names]
