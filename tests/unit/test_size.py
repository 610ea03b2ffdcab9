"""What an operation costs must not depend on how large the value is: counted, not timed.

Three things are counted. The interpreter's steps (opcodes), which a loop over the elements makes
many; the memory that a call asks for at once, which a copy of them makes much; and the length of
each container of which a value is made, which bounds what else one step may do, as moving all that
is behind the place where a list grows.
"""

import gc
import sys
import tracemalloc
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any, TypeVar

import pytest
from shoal.worker.values.limits import LIMITS
from support.keyspace import NOW_MS, check_store
from support.size_cases import (
    AT_ONCE,
    CASES,
    GROUP,
    TYPES,
    Argv,
    Case,
    Sized,
    bulks_of,
    call,
    fill,
    prepare,
)

SMALL, BIG = 1000, 20_000
CALLS = 40

# A loop over all elements takes several steps for each of them: 100,000 and more.
MORE_STEPS = 4000
# A list of all elements takes 160,000 bytes; a node of a quicklist is half of that at most.
MORE_BYTES = 100_000
# The longest containers are blocks of IdMap, which may have 1024.
LONGEST = 1200
# Bytes of the elements that are packed together: a node of a quicklist.
LARGEST = 8192
# Calls that are watched while a value grows up to BIG: a list would be copied at least once.
WATCHED = 5000

T = TypeVar("T")


def steps_of(function: Callable[[], T]) -> tuple[int, T]:
    """Return how many steps the interpreter makes, and what the function returns."""
    count = 0

    def step(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += 1
        return step

    def enter(frame: Any, event: str, arg: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return step(frame, event, arg)

    before = sys.gettrace()  # coverage, maybe
    sys.settrace(enter)
    try:
        result = function()
    finally:
        sys.settrace(before)
    return count, result


def peak_of(function: Callable[[], T]) -> tuple[int, T]:
    """Return how many bytes are in use at once for what the function does."""
    tracemalloc.start()
    try:
        result = function()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def caller(at: Sized, argv: Argv) -> Callable[[], bytes]:
    """Prepare a command: what is returned runs it, and nothing else."""
    handler, args = prepare(argv)
    at.store.dirty, at.store.effects = 0, None
    return lambda: call(handler, at.ks, args)


def cost(at: Sized, case: Case) -> tuple[int, int]:
    """Return the mean of the steps of a case, and the most memory."""
    calls = case.calls(at)
    argv = next(calls)
    steps = peak = 0
    for _ in range(CALLS):
        more, reply = steps_of(caller(at, argv))
        steps += more
        argv = calls.send(reply)
        used, reply = peak_of(caller(at, argv))
        peak = max(peak, used)
        argv = calls.send(reply)
    return steps // CALLS, peak


def made(size: int) -> Sized:
    """Make a value of each kind."""
    at = Sized(size)
    for kind in TYPES:
        at.fill(kind)
    return at


@pytest.fixture(scope="module")
def small() -> Sized:
    return made(SMALL)


@pytest.fixture(scope="module")
def big() -> Sized:
    return made(BIG)


def test_what_is_counted() -> None:
    """The counters see what they are to see."""
    items = list(range(BIG))

    def loop() -> int:
        total = 0
        for item in items:
            total += item
        return total

    assert steps_of(loop)[0] > 4 * BIG
    assert steps_of(lambda: [item for item in items if item < 0])[0] > 4 * BIG
    assert steps_of(lambda: len(items))[0] < 10
    assert peak_of(items.copy)[0] >= 8 * BIG
    assert peak_of(lambda: items[-1])[0] < 1000
    assert longest_in(items) == (BIG, 0)
    assert longest_in({b"k": [b"x" * 100, array("d", [1.0] * 50)]}) == (50, 100)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.kind}: {case.name}" for case in CASES])
def test_a_call_costs_the_same(case: Case, small: Sized, big: Sized) -> None:
    few, little = cost(small, case)
    many, much = cost(big, case)
    assert many <= 2 * few + MORE_STEPS
    assert much <= little + MORE_BYTES
    for at in (small, big):
        at.value(case.kind).check()


def longest_in(value: Any) -> tuple[int, int]:
    """Return the length of the longest container, and of the longest string, in a value."""
    longest = largest = 0
    seen = set()
    left = [value]
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, type):
            continue
        seen.add(id(one))
        if isinstance(one, bytes | bytearray):
            largest = max(largest, len(one))
        elif isinstance(one, list | dict | tuple | deque | set | frozenset | array):
            longest = max(longest, len(one))
        left += gc.get_referents(one)
    return longest, largest


@pytest.mark.parametrize("kind", TYPES)
def test_nothing_in_a_value_is_long(kind: str) -> None:
    at = Sized(BIG)
    at.fill(kind)
    longest, largest = longest_in(at.value(kind))
    assert 0 < longest <= LONGEST
    assert largest <= LARGEST


# -- random elements -------------------------------------------------------------------------------


def test_a_random_element_costs_the_same_in_what_has_become_small() -> None:
    at = Sized(BIG)
    for kind in ("set", "hash", "zset"):
        at.fill(kind)
    for left in range(BIG - 1, 0, -1):
        at.run(b"SPOP", b"set")
        at.run(b"HDEL", b"hash", b"field:%07d" % left)
        at.run(b"ZREM", b"zset", b"member:%07d" % left)
        if left % 500:
            continue
        for argv in ([b"SRANDMEMBER", b"set"], [b"HRANDFIELD", b"hash"], [b"ZRANDMEMBER", b"zset"]):
            # 220 steps and 50 for each try; a try hits with a chance of a quarter or so.
            steps = sum(steps_of(caller(at, argv))[0] for _ in range(CALLS))
            assert steps < CALLS * 1000, (argv, left)
    assert [len(at.value(kind)) for kind in ("set", "hash", "zset")] == [1, 1, 1]


# -- scans -----------------------------------------------------------------------------------------

Name = Callable[[str, int], bytes]


def _text(who: str, number: int) -> bytes:
    return b"%b:%d" % (who.encode(), number)


def _integer(who: str, number: int) -> bytes:
    return b"%d" % (number if who == "stay" else -1 - number)


def _add(command: bytes, key: bytes, names: Sequence[bytes]) -> Argv:
    words: dict[bytes, Callable[[bytes], Argv]] = {
        b"HSCAN": lambda name: [name, b"value"],
        b"SSCAN": lambda name: [name],
        b"ZSCAN": lambda name: [b"%d" % (len(name) % 7), name],
    }
    add = {b"HSCAN": b"HSET", b"SSCAN": b"SADD", b"ZSCAN": b"ZADD"}[command]
    return [add, key, *[word for name in names for word in words[command](name)]]


def _remove(command: bytes, key: bytes, names: Sequence[bytes]) -> Argv:
    return [{b"HSCAN": b"HDEL", b"SSCAN": b"SREM", b"ZSCAN": b"ZREM"}[command], key, *names]


@pytest.mark.parametrize("phases", [(1, 0), (0, 1), (1, 0, 1), (0, 1, 0)], ids=str)
@pytest.mark.parametrize("stays", [1, 12, 100, 300, 600, 2000])
@pytest.mark.parametrize(
    ("command", "name"),
    [(b"HSCAN", _text), (b"SSCAN", _text), (b"SSCAN", _integer), (b"ZSCAN", _text)],
    ids=["HSCAN", "SSCAN", "SSCAN of integers", "ZSCAN"],
)
def test_a_scan_gives_what_stays(
    command: bytes, name: Name, stays: int, phases: tuple[int, ...]
) -> None:
    """While 3000 others come (1) and go (0), so that encodings and forms change."""
    random = Random(stays)
    at = Sized(0)
    key = b"k"
    stay = [name("stay", number) for number in range(stays)]
    others = [name("other", number) for number in range(3000)]
    at.run(*_add(command, key, stay))
    if not phases[0]:
        at.run(*_add(command, key, others))
    # A batch comes or goes between two calls; a scan that is done begins anew, until all have.
    batches = [
        (comes, others[start : start + 150]) for comes in phases for start in range(0, 3000, 150)
    ]
    while batches:
        seen: set[bytes] = set()
        cursor = b"0"
        for _ in range(1000):
            count = random.choice((1, 10, 100))
            reply = at.run(command, key, cursor, b"COUNT", b"%d" % count)
            cursor, *found = bulks_of(reply)
            seen.update(found if command == b"SSCAN" else found[::2])
            if cursor == b"0":
                break
            for comes, some in batches[: random.choice((0, 1, 1, 2))]:
                at.run(*(_add if comes else _remove)(command, key, some))
                del batches[0]
        assert cursor == b"0", "it does not end"
        assert seen >= set(stay)
        assert seen <= {*stay, *others}
        for comes, some in batches[:1]:  # what is given at once leaves no other occasion
            at.run(*(_add if comes else _remove)(command, key, some))
            del batches[0]
    value = at.ks.find(key)
    assert value is not None
    value.check()


# -- freeing ---------------------------------------------------------------------------------------


def _with_times(at: Sized) -> None:
    for start in range(0, at.size, AT_ONCE):
        fields = [b"field:%07d" % n for n in range(start, start + AT_ONCE)]
        count = b"%d" % AT_ONCE
        at.run(b"HPEXPIREAT", b"hash", b"%d" % (NOW_MS + 1 + start), b"FIELDS", count, *fields)


def _large_elements(at: Sized) -> None:
    at.run(b"DEL", b"list")
    at.store.free_some(sys.maxsize)
    for number in range(2000):
        at.run(b"RPUSH", b"list", b"%09000d" % number)


def _without_entries(at: Sized) -> None:
    at.run(b"XTRIM", b"stream", b"MAXLEN", b"0")
    assert len(at.value("stream")) == 0


def _with_consumers(at: Sized) -> None:
    for number, entry_id in enumerate(at.ids):
        consumer = b"c%d" % (number % 500)
        at.run(b"XCLAIM", b"stream", GROUP, consumer, b"0", entry_id, b"JUSTID")


# Objects that an element may be: itself, its score or value, its place in a block.
FREED: dict[str, tuple[str, Callable[[Sized], None] | None]] = {
    **{kind: (kind, None) for kind in TYPES},
    "hash, its fields with times": ("hash", _with_times),
    "list of large elements": ("list", _large_elements),
    "stream without entries": ("stream", _without_entries),
    "stream of many consumers": ("stream", _with_consumers),
}


@pytest.mark.parametrize(("size", "steps"), [(100, 1), (500, 100), (BIG, 1), (BIG, 512)])
@pytest.mark.parametrize("what", FREED)
def test_a_value_is_freed_in_slices(what: str, size: int, steps: int) -> None:
    kind, change = FREED[what]
    at = Sized(size)
    at.fill(kind)
    if change is not None:
        change(at)
    at.value(kind).check()
    at.ids.clear()
    at.store.effects = None

    def freed_by(function: Callable[[], object]) -> int:
        before = sys.getallocatedblocks()
        function()
        return before - sys.getallocatedblocks()

    # A slice ends with the node, block or bucket that it has begun, or with a value that is flat;
    # an element is four objects at most: of a stream, ID, delivery, and a part of two blocks.
    most = 4 * (steps + LONGEST)
    assert freed_by(lambda: at.run(b"DEL", kind.encode())) < 100
    assert at.store.garbage, "it was freed at once"
    slices = 0
    while at.store.garbage:
        assert freed_by(lambda: at.store.free_some(steps)) <= most
        slices += 1
        assert slices <= 4 * size + 4000, "it does not end"
    if size == BIG:
        assert slices > 3
    check_store(at.store)


@pytest.mark.parametrize("what", FREED)
def test_free_goes_on_until_nothing_is_left(what: str) -> None:
    kind, change = FREED[what]
    at = Sized(BIG)
    at.fill(kind)
    if change is not None:
        change(at)
    value = at.value(kind)
    while True:
        freed = value.free(100)
        assert freed <= 100 + 2 * LONGEST
        if not len(value):
            break
        assert freed > 0, "it does not end"


def test_values_at_a_form_s_limit_are_freed_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thresholds may be set so high that a large value keeps a small one's encoding."""
    for name in ("set_max_intset_entries", "set_max_listpack_entries", "zset_max_listpack_entries"):
        monkeypatch.setattr(LIMITS, name, BIG)
    monkeypatch.setattr(LIMITS, "hash_max_listpack_entries", BIG)
    for kind in ("hash", "set", "zset"):
        at = Sized(BIG)
        at.fill(kind)
        value = at.value(kind)
        assert value.encoding == b"listpack"
        assert longest_in(value)[0] <= LONGEST
        assert value.free(100) <= 100 + LONGEST
        assert len(value) > 0


# -- making and emptying ---------------------------------------------------------------------------


def _emptying(kind: str) -> Iterator[Argv]:
    key = kind.encode()
    if kind == "list":
        return iter([[b"LPOP", key]] * BIG)
    if kind == "hash":
        return ([b"HDEL", key, b"field:%07d" % at] for at in range(BIG))
    if kind == "set":
        return ([b"SREM", key, b"member:%07d" % at] for at in range(BIG))
    if kind == "stream":
        return ([b"XTRIM", key, b"MAXLEN", b"%d" % at] for at in reversed(range(BIG)))
    return ([b"ZREM", key, b"member:%07d" % at] for at in range(BIG))


@pytest.mark.parametrize("kind", TYPES)
def test_no_single_call_is_long_while_it_grows_and_shrinks(kind: str) -> None:
    """No growth: what a call asks for at once stays small, whatever the size."""
    at = Sized(BIG)
    grows, shrinks = fill(kind, BIG, at_once=1), _emptying(kind)
    for argv in islice(grows, BIG - WATCHED):
        at.run(*argv)
    tracemalloc.start()
    try:
        for argv in [*islice(grows, WATCHED), *islice(shrinks, WATCHED)]:
            run = caller(at, argv)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            run()
            assert tracemalloc.get_traced_memory()[1] - before <= MORE_BYTES, argv
    finally:
        tracemalloc.stop()
    for argv in [*grows, *shrinks]:  # the rest
        at.run(*argv)
    value = at.value(kind)
    assert value is None or not len(value)
