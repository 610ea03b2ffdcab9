"""The set against a naive model, its encodings, its random picks, and what they cost."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from math import sqrt
from random import Random

import pytest
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.set import (
    HASHTABLE,
    INTSET,
    LIST_MAX,
    LISTPACK,
    TABLE_ABOVE,
    TABLE_BELOW,
    Set,
)
from shoal.worker.values.table import Table


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    """Put the thresholds back that a test changes."""
    names = ("set_max_intset_entries", "set_max_listpack_entries", "set_max_listpack_value")
    before = [getattr(LIMITS, name) for name in names]
    yield
    for name, value in zip(names, before, strict=True):
        setattr(LIMITS, name, value)


def is_integer(member: bytes) -> bool:
    try:
        number = int(member)
    except ValueError:
        return False
    return b"%d" % number == member and -(1 << 63) <= number < 1 << 63


class Model:
    """A set as Redis has it: a list of members and the name of the encoding."""

    def __init__(self, first: bytes, size: int) -> None:
        self.members: list[bytes] = []
        self.peak = 0  # the most members it had
        if is_integer(first) and size <= LIMITS.set_max_intset_entries:
            self.encoding = b"intset"
        else:
            packed = size <= LIMITS.set_max_listpack_entries
            self.encoding = b"listpack" if packed else b"hashtable"

    def expect(self, count: int) -> None:
        most = {
            b"intset": LIMITS.set_max_intset_entries,
            b"listpack": LIMITS.set_max_listpack_entries,
        }
        if self.encoding in most and count > most[self.encoding]:
            self.encoding = b"hashtable"

    def add(self, member: bytes) -> bool:
        if member in self.members:
            return False
        size = len(self.members)
        if self.encoding == b"intset" and is_integer(member):
            if size + 1 > LIMITS.set_max_intset_entries:
                self.encoding = b"hashtable"
        elif self.encoding != b"hashtable":
            longest = len(member)
            if self.encoding == b"intset":
                longest = max(map(len, [member, *sorted(self.members, key=int)[:: size - 1 or 1]]))
            room = size < LIMITS.set_max_listpack_entries
            if room and longest <= LIMITS.set_max_listpack_value:
                if self.encoding == b"intset":
                    self.members.sort(key=int)
                self.encoding = b"listpack"
            else:
                self.encoding = b"hashtable"
        self.members.append(member)
        self.peak = max(self.peak, len(self.members))
        return True

    def remove(self, member: bytes) -> bool:
        there = member in self.members
        if there:
            self.members.remove(member)
        return there


def agree(value: Set, model: Model) -> None:
    value.check()
    assert value.encoding == model.encoding
    assert len(value) == len(model.members)
    found = value.members()
    assert list(value) == found
    if model.encoding == b"intset":
        assert found == sorted(model.members, key=int)
    elif model.encoding == b"listpack" and model.peak <= TABLE_ABOVE:
        assert found == model.members
    else:
        assert sorted(found) == sorted(model.members)


MEMBERS: dict[str, Callable[[Random], bytes]] = {
    "integers": lambda random: b"%d" % random.randint(-30, 900),
    "wide integers": lambda random: b"%d" % random.choice([-1, 1]) + b"%d" % random.getrandbits(58),
    "texts": lambda random: b"m%d" % random.randrange(900),
    "both": lambda random: random.choice([b"%d", b"%d", b"%d", b"x%d"]) % random.randrange(400),
    "few": lambda random: b"%x" % random.randrange(24),
    "long": lambda random: b"y" * random.choice([1, 2, 64, 65]) + b"%d" % random.randrange(20),
    "odd": lambda random: random.choice(
        [b"", b"\0", b"01", b"+1", b"-0", b"1 ", b" 1", b"1_0", b"\xd9\xa1", b"\r\n", b"1.0"]
        + [b"%d" % n for n in (0, 1, -1, (1 << 63) - 1, -(1 << 63), 1 << 63, -(1 << 63) - 1)]
    ),
}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", MEMBERS)
def test_as_redis_has_it(kind: str, seed: int) -> None:
    random = Random(f"{kind} {seed}")
    make = MEMBERS[kind]
    if seed % 2:
        LIMITS.set_max_intset_entries = random.choice([0, 1, 5, 20, 512, 2000])
        LIMITS.set_max_listpack_entries = random.choice([0, 1, 5, 20, 128, 2000])
        LIMITS.set_max_listpack_value = random.choice([0, 1, 2, 3, 64])
    first = make(random)
    size = random.choice([1, 2, 6, 129, 513])
    value, model = Set.sized(first, size), Model(first, size)
    steps = 2500
    for step in range(steps):
        growing = step < steps // 2 or random.random() < 0.2
        chance = random.random()
        member = make(random)
        if chance < 0.02:
            count = random.choice([1, 1, 1, 6, 130, 600])
            value.expect(count)
            model.expect(count)
        elif chance < 0.1:
            members = [make(random) for _ in range(random.randrange(40))]
            assert value.update(members) == sum(map(model.add, members))
        elif growing:
            assert value.add(member) == model.add(member)
        else:
            gone = random.choice(model.members) if model.members else member
            assert value.remove(member) == model.remove(member)
            assert value.remove(gone) == model.remove(gone)
        probe = make(random)
        assert (probe in value) == (probe in value.lookup) == (probe in model.members)
        if step % 25 == 0 or len(model.members) < 20:
            agree(value, model)
    agree(value, model)


def filled(size: int, encoding: bytes) -> Set:
    """Return a set of so many members with this encoding, whatever the limits say of it."""
    LIMITS.set_max_intset_entries = LIMITS.set_max_listpack_entries = 1 << 30
    value = Set(encoding)
    value.update(b"%d" % n for n in range(size))
    value.check()
    assert value.encoding == encoding
    return value


SIZES = (1, 2, LIST_MAX, LIST_MAX + 1, 100, TABLE_ABOVE, TABLE_ABOVE + 1, 3000)
ENCODINGS = (INTSET, LISTPACK, HASHTABLE)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", SIZES)
def test_a_copy_is_another_set(size: int, encoding: bytes) -> None:
    value = filled(size, encoding)
    value.expire_ms = 7
    twin = value.copy()
    assert (twin.encoding, twin.expire_ms) == (encoding, 0)
    assert twin.members() == value.members()
    for n in range(size):
        assert value.remove(b"%d" % n)
    value.add(b"x")
    twin.check()
    assert sorted(map(int, twin)) == list(range(size))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", SIZES)
def test_its_commands_make_it_again(size: int, encoding: bytes) -> None:
    value = filled(size, encoding)
    twin = Set.sized(b"0", 1)
    for name, key, *members in value.commands(b"k"):
        assert (name, key) == (b"SADD", b"k")
        assert 0 < len(members) <= 64
        assert twin.update(members) == len(members)
    assert sorted(twin) == sorted(value)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", SIZES)
def test_it_is_freed_in_slices(size: int, encoding: bytes) -> None:
    value = filled(size, encoding)
    freed = slices = 0
    while len(value):
        gone = value.free(100)
        assert gone > 0
        freed += gone
        slices += 1
    assert freed == size
    if encoding != INTSET and size == 3000:
        assert slices > 10


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", SIZES)
def test_the_memory_is_estimated_from_some_of_its_members(size: int, encoding: bytes) -> None:
    value = filled(size, encoding)
    whole = value.memory_bytes(0)
    assert whole > size * 8
    assert abs(value.memory_bytes(5) - whole) <= whole // 10


def test_many_small_sets_are_small() -> None:
    five = Set(LISTPACK)
    five.update(b"member:%d" % n for n in range(5))
    members = 5 * (33 + 8)
    assert five.memory_bytes(0) - members < 200
    integers = Set()
    integers.update(b"%d" % n for n in range(500))
    assert integers.memory_bytes(0) < 500 * 9 + 200


def test_a_shrunken_table_becomes_a_dict_again() -> None:
    value = filled(TABLE_ABOVE + 1, HASHTABLE)
    assert isinstance(value.lookup, Table)
    while len(value) > TABLE_BELOW:
        value.pop_random(Random(1))
        value.check()
    assert isinstance(value.lookup, dict)


@pytest.mark.parametrize("seed", range(10))
def test_a_scan_gives_what_stays(seed: int) -> None:
    random = Random(seed)
    stay = {b"stay%d" % n for n in range(random.choice([0, 10, 100, 700, 3000]))}
    passing = [b"%d" % n for n in range(5000)]
    value = Set(HASHTABLE)
    value.update(stay)
    shrinks = random.random() < 0.5  # else it grows
    if shrinks:
        value.update(passing)
    found: Counter[bytes] = Counter()
    position, calls = 0, 0
    while True:
        position, some = value.scan(position, random.choice([1, 10, 100]))
        found.update(some)
        calls += 1
        if not position:
            break
        for _ in range(random.choice([0, 50, 500])):
            if passing:
                member = passing.pop()
                assert value.remove(member) if shrinks else value.add(member)
    assert stay <= set(found)
    assert calls > 3 or len(stay) <= TABLE_ABOVE


# -- random picks ----------------------------------------------------------------------------------


def assert_uniform(counts: Counter[object], outcomes: int) -> None:
    """Assert by chi-squared that all outcomes are equally likely. The bound is six standard
    deviations (Wilson and Hilferty): it is exceeded by chance once in a billion runs.
    """
    assert len(counts) <= outcomes
    expected = counts.total() / outcomes
    assert expected >= 5, "too few draws to say anything"
    chi2 = sum((n - expected) ** 2 / expected for n in counts.values())
    chi2 += (outcomes - len(counts)) * expected
    freedom = outcomes - 1
    bound = freedom * (1 - 2 / (9 * freedom) + 6 * sqrt(2 / (9 * freedom))) ** 3
    assert chi2 < bound, f"{chi2:.0f} at {freedom} degrees of freedom, bound {bound:.0f}"


KINDS = [(30, INTSET), (12, LISTPACK), (100, LISTPACK), (100, HASHTABLE), (900, HASHTABLE)]


@pytest.mark.parametrize(("size", "encoding"), KINDS)
def test_a_random_member_is_any_of_them(size: int, encoding: bytes) -> None:
    value, random = filled(size, encoding), Random(1)
    assert_uniform(Counter(value.random_member(random) for _ in range(size * 60)), size)


@pytest.mark.parametrize(("size", "encoding"), KINDS)
def test_a_random_member_of_what_is_left_is_any_of_them(size: int, encoding: bytes) -> None:
    value, random = filled(size * 2, encoding), Random(2)
    for n in range(0, size * 2, 2):  # leaves holes in dicts, and thin buckets
        value.remove(b"%d" % n)
    assert_uniform(Counter(value.random_member(random) for _ in range(size * 60)), size)


@pytest.mark.parametrize(("size", "encoding"), KINDS)
@pytest.mark.parametrize("share", [0.1, 1, 2.5])
def test_draws_are_independent(size: int, encoding: bytes, share: float) -> None:
    value, random = filled(size, encoding), Random(3)
    counts: Counter[object] = Counter()
    count = int(size * share)
    for _ in range(60 * size // count + 1):
        drawn = value.draw(random, count)
        assert len(drawn) == count
        counts.update(drawn)
    assert_uniform(counts, size)
    assert len(set(value.draw(random, 3 * size))) < 3 * size


@pytest.mark.parametrize(("size", "encoding"), KINDS)
@pytest.mark.parametrize("share", [0.1, 0.4, 0.5, 0.6, 0.95])
def test_every_member_is_as_often_in_a_sample(size: int, encoding: bytes, share: float) -> None:
    value, random = filled(size, encoding), Random(4)
    counts: Counter[object] = Counter()
    count = int(size * share)
    for _ in range(60 * size // count + 1):
        sample = value.sample(random, count)
        assert len(sample) == len(set(sample)) == count
        counts.update(sample)
    assert counts.keys() <= set(value)
    # A sample never has a member twice, so the counts vary less than independent ones do.
    assert_uniform(counts, size)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_sample_is_as_likely(encoding: bytes, count: int) -> None:
    value, random = filled(6, encoding), Random(5)
    if encoding == HASHTABLE:  # the way of the large ones
        value._members = Table((member, None) for member in value)
    all_samples = list(combinations(sorted(value), count))
    drawn: Counter[object] = Counter(
        tuple(sorted(value.sample(random, count))) for _ in range(100 * len(all_samples))
    )
    assert_uniform(drawn, len(all_samples))


class CountingRandom(Random):
    """Counts how often it is asked."""

    asked = 0

    def random(self) -> float:
        self.asked += 1
        return super().random()

    def getrandbits(self, bits: int) -> int:
        self.asked += 1
        return super().getrandbits(bits)


MILLION = 1_000_000


@pytest.fixture(scope="module")
def million() -> Set:
    value = Set(HASHTABLE)
    value.update(b"%d" % n for n in range(MILLION))
    return value


def _never(*_: object) -> Iterator[bytes]:
    raise AssertionError("goes through all members")


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_few_of_a_million_cost_as_much_as_they_are(
    million: Set, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("__iter__", "items", "keys", "buckets", "copy"):
        monkeypatch.setattr(Table, name, _never)
    random = CountingRandom(6)
    popped = million.sample(random, count)
    assert len(set(popped)) == count
    assert all(map(million.remove, popped))
    assert len(million.draw(random, count)) == count
    million.update(popped)
    # Two numbers for each try, of which one in two or three hits.
    assert random.asked < 16 * count + 200
    assert len(million) == MILLION
