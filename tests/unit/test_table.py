"""The bucketed table against a dict, and what only it can: scans, uniform picks, freeing."""

from collections import Counter
from random import Random

import pytest
from shoal.worker.values.table import BUCKET_MAX, Table


def key(number: int) -> bytes:
    return b"k%d" % number


@pytest.mark.parametrize("seed", range(20))
def test_as_a_dict(seed: int) -> None:
    random = Random(seed)
    table, model = Table(), dict[bytes, int]()
    for step in range(4000):
        # It grows to some thousand entries and shrinks to nothing several times.
        growing = (step // 800) % 2 == 0
        name = key(random.randrange(1500))
        if random.random() < (0.9 if growing else 0.2):
            table[name] = model[name] = step
        elif random.random() < 0.9 or not model:
            assert table.pop(name, -1) == model.pop(name, -1)
        else:
            del model[table.pop_random(random)]
        probe = key(random.randrange(1500))
        assert table.get(probe) == model.get(probe)
        assert (probe in table) == (probe in model)
        if step % 97 == 0:
            table.check()
            assert len(table) == len(model)
            assert dict(table.items()) == model
            assert sorted(table) == sorted(model)
            assert Counter(table.values()) == Counter(model.values())
    for name in list(model):
        table.pop(name)
    table.check()
    assert len(table) == 0
    assert len(list(table.buckets())) == 1, "an empty table keeps no buckets"


@pytest.mark.parametrize("step", [1, -1])
def test_entries_may_come_in_the_order_of_their_places(step: int) -> None:
    """As out of another table: then all of a full bucket fall into one half of it."""
    names = list(Table((key(n), n) for n in range(20_000)))[::step]
    table = Table()
    for name in names:
        table[name] = None
    table.check()
    assert sorted(table) == sorted(names)


def test_a_full_bucket_is_split_after_a_random_pick_too() -> None:
    table, random = Table(), Random(3)
    for n in range(3000):
        table[key(n)] = n
        if n % 10 == 0:
            table.random_item(random)
        table.check()


def test_a_copy_is_another_table() -> None:
    table = Table((key(n), n) for n in range(5000))
    twin = table.copy()
    for n in range(4000):
        table.pop(key(n))
    twin.check()
    table.check()
    assert dict(twin.items()) == {key(n): n for n in range(5000)}


@pytest.mark.parametrize("seed", range(20))
def test_a_scan_gives_what_stays(seed: int) -> None:
    random = Random(seed)
    stay = {b"stay%d" % n for n in range(random.choice([0, 10, 700, 3000]))}
    table = Table((name, None) for name in stay)
    passing = [key(n) for n in range(20_000)]
    shrinks = random.random() < 0.5  # meanwhile, else it grows
    if shrinks:
        for name in passing:
            table[name] = None
    seen: set[bytes] = set()
    position = 0
    while True:
        position, found = table.scan(position, random.choice([1, 10, 100]))
        seen |= {name for name, _ in found}
        if not position:
            break
        for _ in range(min(200, len(passing))):
            if shrinks:
                table.pop(passing.pop())
            else:
                table[passing.pop()] = None
    table.check()
    assert stay <= seen


def test_a_scan_costs_what_the_table_holds() -> None:
    table = Table((key(n), n) for n in range(100_000))
    calls = given = position = 0
    while True:
        position, found = table.scan(position, 10)
        assert len(found) <= 10 + BUCKET_MAX
        calls += 1
        given += len(found)
        if not position:
            break
    assert given == 100_000
    assert calls <= 100_000 / 10 + 1


def test_any_cursor_is_answered() -> None:
    table = Table((key(n), n) for n in range(1000))
    for position in (1, 1 << 47, (1 << 48) - 1, 1 << 48, (1 << 64) - 1):
        table.scan(position, 10)


@pytest.mark.parametrize("history", ["grown", "shrunk", "grown again", "grown before any pick"])
def test_random_picks_are_uniform(history: str) -> None:
    count, picks = 300, 60_000
    random = Random(7)
    table = Table((key(n), n) for n in range(count if "grown" in history else 9 * count))
    if history == "grown again":  # after the bound was found for fewer
        table = Table((key(n), n) for n in range(count - count // 8))
        table.random_item(random)
        for n in range(len(table), count):
            table[key(n)] = n
    for n in range(count, len(table)):
        table.pop(key(n))
    if history != "grown before any pick":
        table.random_item(random)
    table.check()
    counts = Counter(table.random_item(random)[1] for _ in range(picks))
    # chi-squared with 299 degrees of freedom: mean 299, standard deviation 24.5
    expected = picks / count
    chi = sum((counts[n] - expected) ** 2 / expected for n in range(count))
    assert 299 - 6 * 24.5 < chi < 299 + 6 * 24.5


def test_popping_at_random_is_uniform() -> None:
    count, rounds = 300, 4000
    whole = Table((key(n), n) for n in range(count))
    random = Random(8)
    counts: Counter[bytes] = Counter()
    for _ in range(rounds):
        table = whole.copy()
        counts.update(table.pop_random(random) for _ in range(20))
        assert len(table) == count - 20
    table.check()
    expected = rounds * 20 / count
    chi = sum((counts[key(n)] - expected) ** 2 / expected for n in range(count))
    assert chi < 299 + 6 * 24.5  # without putting back it varies a little less


def test_freeing_goes_in_slices() -> None:
    table = Table((key(n), n) for n in range(10_000))
    slices = []
    while len(table):
        slices.append(table.free(500))
    assert sum(slices) == 10_000
    assert max(slices) < 500 + BUCKET_MAX


def test_directory_of_a_shrunk_table_is_small() -> None:
    table = Table((key(n), n) for n in range(50_000))
    big = table.memory_bytes()
    for n in range(49_990):
        table.pop(key(n))
    assert table.memory_bytes() < big / 100
