"""The sorted set's structure against a naive model: a dict, sorted at each question."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.worker.values import sorted_set
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.sorted_set import FLAT_MAX, MAP_ABOVE, SortedSet
from shoal.worker.values.table import Table

Model = dict[bytes, float]
SCORES = (0.0, -0.0, 1.0, 1.5, -2.0, 1e300, math.inf, -math.inf, 5e-324)


def in_order(model: Model) -> list[tuple[bytes, float]]:
    return sorted(model.items(), key=lambda element: (element[1], element[0]))


def agree(zset: SortedSet, model: Model) -> None:
    zset.check()
    expected = in_order(model)
    assert list(zset.items()) == expected
    assert len(zset) == len(expected)
    assert list(zset) == [member for member, _ in expected]


def ask(zset: SortedSet, model: Model, random: Random, names: int) -> None:
    """Compare the answers to one random question of each kind."""
    expected = in_order(model)
    size = len(expected)
    member = b"%d" % random.randrange(names)
    assert zset.score(member) == model.get(member)
    assert (member in zset) == (member in model)
    position = next((at for at, (name, _) in enumerate(expected) if name == member), None)
    assert zset.rank(member) == position
    start, stop = sorted(random.randint(0, size) for _ in range(2))
    assert zset.elements_at(start, stop) == expected[start:stop]
    assert zset.members_at(start, stop) == [name for name, _ in expected[start:stop]]
    low, high = random.choice([*SCORES, 3.0, 7.0]), random.choice([*SCORES, 3.0, 7.0])
    open_low, open_high = random.random() < 0.5, random.random() < 0.5
    found = zset.elements_at(*zset.ranks_by_score(low, high, open_low, open_high))
    assert found == [
        (name, score)
        for name, score in expected
        if (low < score if open_low else low <= score)
        and (score < high if open_high else score <= high)
    ]
    offset, limit = random.choice([0, 1, 5, 40, 2**63]), random.choice([-1, 0, 1, 10, 2**63])
    end = len(found) if limit < 0 else offset + limit
    ends = (low, high, open_low, open_high)
    names_found = [name for name, _ in found[offset:end]]
    assert zset.members_between(ends, offset, limit) == names_found
    met = [
        element
        for members, scores, first, last in zset.between([(low, high)])
        for element in zip(members[first:last], scores[first:last], strict=True)
    ]
    assert met == [(name, score) for name, score in expected if low <= score < high]
    if size:
        chosen, score = zset.random_element(random)
        assert model[chosen] == score


def change(zset: SortedSet, model: Model, random: Random, names: int, scores: list[float]) -> None:
    """Change both in the same way."""
    member = b"%d" % random.randrange(names)
    kind = random.random()
    if kind < 0.6:
        score = random.choice(scores)
        assert zset.add(member, score) == (member not in model)
        if member not in model or model[member] != score:
            model[member] = score
    elif kind < 0.9:
        assert zset.remove(member) == (model.pop(member, None) is not None)
    elif kind < 0.97:
        if model:
            highest = random.random() < 0.5
            element = in_order(model)[-1 if highest else 0]
            assert zset.pop_end(highest) == element
            del model[element[0]]
    else:
        expected = in_order(model)
        most = random.choice([1, 3, 30, 300, 3000])
        start = random.randint(0, len(expected))
        stop = min(len(expected), start + random.randrange(most))
        members, removed = zset.pop_at(start, stop)
        assert list(zip(members, removed, strict=True)) == expected[start:stop]
        for name, _ in expected[start:stop]:
            del model[name]


@pytest.mark.parametrize("names", [8, 40, 700])
@pytest.mark.parametrize("spread", [1, 3, 100_000])
@pytest.mark.parametrize("seed", range(2))
def test_random_programs(names: int, spread: int, seed: int) -> None:
    random = Random(f"{names} {spread} {seed}")
    scores = [float(random.randint(-spread, spread)) for _ in range(spread)]
    scores += [] if spread == 1 else SCORES
    zset = SortedSet()
    model: Model = {}
    for _ in range(600):
        change(zset, model, random, names, scores)
        zset.check()
        ask(zset, model, random, names)
    agree(zset, model)


@pytest.mark.parametrize("seed", range(4))
def test_random_programs_in_small_blocks(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_set, "FLAT_MAX", 20)
    monkeypatch.setattr(sorted_set, "BLOCK_MAX", 8)
    monkeypatch.setattr(sorted_set, "BLOCK_MIN", 3)
    monkeypatch.setattr(sorted_set, "GROUP", 4)
    monkeypatch.setattr(sorted_set, "_GROUP_BITS", 2)
    random = Random(seed)
    names = 400
    scores = [float(random.randint(-9, 9)) for _ in range(5)] if seed % 2 else list(SCORES)
    zset = SortedSet()
    model: Model = {}
    for _ in range(3000):
        change(zset, model, random, names, scores)
        zset.check()
        ask(zset, model, random, names)
    agree(zset, model)


@given(st.dictionaries(st.binary(max_size=3), st.sampled_from(SCORES), max_size=60))
def test_built_at_once_as_one_by_one(model: Model) -> None:
    zset = SortedSet()
    for member, score in model.items():
        zset.add(member, score)
    agree(zset, model)
    whole = SortedSet(model.items())
    agree(whole, model)
    assert whole.encoding == zset.encoding


@pytest.mark.parametrize("size", [0, 1, MAP_ABOVE, MAP_ABOVE + 1, FLAT_MAX, FLAT_MAX + 1, 9000])
def test_each_size(size: int) -> None:
    model = {b"%d" % at: float(at % 77) for at in range(size)}
    zset = SortedSet(model.items())
    agree(zset, model)
    twin = zset.copy()
    again = SortedSet()
    for name, key, *words in zset.commands(b"k"):
        assert (name, key) == (b"ZADD", b"k")
        assert len(words) <= 2 * 64
        for score, member in zip(words[::2], words[1::2], strict=True):
            assert again.add(member, float(score))
    agree(again, model)
    assert zset.memory_bytes(0) >= 8 * size
    assert zset.memory_bytes(5) == pytest.approx(zset.memory_bytes(0), rel=0.1)
    if size:
        twin.add(b"new", 1.0)
        assert zset.score(b"new") is None
        zset.remove(b"0")
        assert twin.score(b"0") == 0.0
    freed = calls = 0
    while len(twin):
        step = twin.free(100)
        assert step
        freed += step
        calls += 1
    assert freed == (size + 1 if size else 0)
    assert calls >= freed // 700


def test_emptied_and_filled_again() -> None:
    model: Model = {}
    zset = SortedSet()
    for _ in range(2):
        for at in range(3000):
            zset.add(b"%d" % at, float(at))
            model[b"%d" % at] = float(at)
        agree(zset, model)
        while model:
            [member], [score] = zset.pop_at(0, 1)
            assert model.pop(member) == score
            if not len(model) % 100:
                agree(zset, model)
    for at in range(3000):
        zset.add(b"%d" % at, 1.0)
    zset.pop_at(0, 3000)
    agree(zset, {})


def test_a_member_is_one_object_in_map_and_order() -> None:
    zset = SortedSet((b"%d" % at, 1.0) for at in range(2000))
    for at in range(2000):
        zset.add(b"%d" % at, float(-at))  # an equal member, but another object
    zset.check()


def test_zeros_of_both_signs_are_equal() -> None:
    zset = SortedSet([(b"b", 0.0), (b"a", -0.0), (b"c", -0.0)], listpack=False)
    assert list(zset) == [b"a", b"b", b"c"]
    assert not zset.add(b"b", -0.0)
    assert repr([score for _, score in zset.items()]) == "[-0.0, 0.0, -0.0]"  # as they came


def test_a_listpack_knows_one_zero() -> None:
    zset = SortedSet([(b"a", -0.0), (b"b", 1.0)])
    zset.add(b"b", -0.0)
    zset.add(b"c", -0.0)
    assert repr(list(zset.items())) == "[(b'a', 0.0), (b'b', 0.0), (b'c', 0.0)]"
    assert repr(zset.score(b"c")) == "0.0"
    zset.add(b"x" * 100, -0.0)
    assert repr(zset.score(b"x" * 100)) == "-0.0"


def naive_lex(
    members: list[bytes], low: tuple[bytes | None, bool], high: tuple[bytes | None, bool]
) -> list[bytes]:
    def reaches(member: bytes) -> bool:
        return low[0] is not None and (member > low[0] or (member == low[0] and not low[1]))

    def within(member: bytes) -> bool:
        return high[0] is None or member < high[0] or (member == high[0] and high[1])

    return [member for member in members if reaches(member) and within(member)]


@pytest.mark.parametrize("size", [0, 5, 100, 2000])
def test_ranges_by_member(size: int) -> None:
    random = Random(size)
    zset = SortedSet((b"%d" % at, 7.0) for at in range(size))
    members = list(zset)
    names = [None, b"", b"zz", *(b"%d" % random.randrange(3000) for _ in range(30))]
    for _ in range(300):
        low = random.choice(names), random.random() < 0.5
        high = random.choice(names), random.random() < 0.5
        expected = naive_lex(members, low, high)
        for backwards in (False, True):
            ranks = zset.ranks_by_member(low, high, backwards=backwards)
            assert zset.members_at(*ranks) == expected


def test_encoding() -> None:
    entries, longest = LIMITS.zset_max_listpack_entries, LIMITS.zset_max_listpack_value
    zset = SortedSet((b"%d" % at, 1.0) for at in range(entries))
    assert zset.encoding == b"listpack"
    zset.add(b"0", 2.0)
    assert zset.encoding == b"listpack"
    zset.add(b"new", 2.0)
    assert zset.encoding == b"skiplist"
    zset.pop_at(1, len(zset))
    assert zset.encoding == b"skiplist", "it never goes back"
    assert zset.copy().encoding == b"skiplist"
    assert SortedSet([(b"x" * longest, 1.0)]).encoding == b"listpack"
    assert SortedSet([(b"x" * (longest + 1), 1.0)]).encoding == b"skiplist"
    assert SortedSet([(b"x", 1.0)], listpack=False).encoding == b"skiplist"
    zset = SortedSet()
    zset.add(b"x" * (longest + 1), 1.0)
    assert zset.encoding == b"skiplist"


@pytest.mark.parametrize("size", [10, 300, 3000])
def test_a_scan_meets_every_member(size: int) -> None:
    model = {b"%d" % at: float(at) for at in range(size)}
    zset = SortedSet(model.items())
    position, found = 0, []
    while True:
        position, some = zset.scan(position, 10)
        found += some
        if not position:
            break
    assert sorted(found) == sorted(model.items())


@pytest.mark.parametrize("size", [10, 3000])
def test_random_elements_are_all_equally_likely(size: int) -> None:
    zset = SortedSet((b"%d" % at, float(at)) for at in range(size))
    random = Random(size)
    counts = Counter(zset.random_element(random)[1] * 10 // size for _ in range(10_000))
    assert len(counts) == 10
    assert max(counts.values()) < 1200
    assert min(counts.values()) > 800


def test_a_million_members_stay_small() -> None:
    # Redis takes about 133 bytes for each; twice that is the bound, without the members here.
    size = 50_000
    zset = SortedSet()
    random = Random(1)
    for at in range(size):
        zset.add(b"member:%08d" % at, random.random())
    assert zset.memory_bytes(0) / size < 200
    assert isinstance(zset._map, Table)
    assert isinstance(zset._order, sorted_set._Blocks)
    assert all(isinstance(block, array) for block in zset._order._scores)
