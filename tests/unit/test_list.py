"""List and Quicklist against a Python list: random programs, encodings, memory."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.worker.values import quicklist
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.list import List
from shoal.worker.values.quicklist import Node, entry_size

KEY = b"k"


@pytest.fixture(autouse=True)
def _default_limits() -> Iterator[None]:
    before = LIMITS.list_max_listpack_size
    yield
    LIMITS.list_max_listpack_size = before


def make(*elements: bytes) -> List:
    value = List()
    value.push(elements, left=False)
    return value


def flat(value: List, start: int, end: int) -> list[bytes]:
    return [element for part in value.range(start, end) for element in part]


# Bytes in a listpack, read off DEBUG OBJECT of redis-server 8.2 (ql_uncompressed_size less 7).
SIZES = {
    b"0": 2,
    b"127": 2,
    b"128": 3,
    b"-1": 3,
    b"4095": 3,
    b"-4096": 3,
    b"4096": 4,
    b"-4097": 4,
    b"32767": 4,
    b"-32768": 4,
    b"32768": 5,
    b"-32769": 5,
    b"8388607": 5,
    b"-8388608": 5,
    b"8388608": 6,
    b"-8388609": 6,
    b"2147483647": 6,
    b"-2147483648": 6,
    b"2147483648": 10,
    b"-2147483649": 10,
    b"9223372036854775807": 10,
    b"-9223372036854775808": 10,
    b"9223372036854775808": 21,
    b"-9223372036854775809": 22,
    b"": 2,
    b"-": 3,
    b"-0": 4,
    b"01": 4,
    b"+1": 4,
    b" 1": 4,
    b"1 ": 4,
    b"-01": 5,
    b"1.0": 5,
    b"9" * 20: 22,
    b"9" * 21: 23,
    b"\xd9\xa1": 4,
    b"1_0": 5,
    b"0x1": 5,
    **{b"x" * n: n + 2 for n in (1, 62, 63)},
    **{b"x" * n: n + 3 for n in (64, 65, 125)},
    **{b"x" * n: n + 4 for n in (126, 127, 4095)},
    **{b"x" * n: n + 7 for n in (4096, 16_377)},
    **{b"x" * n: n + 8 for n in (16_378, 60_000)},
}


@pytest.mark.parametrize("element", SIZES, ids=lambda e: f"{e[:24]!r} of {len(e)}")
def test_entry_size(element: bytes) -> None:
    assert entry_size(element) == SIZES[element]


@given(st.integers(-(1 << 64), 1 << 64))
def test_an_integer_takes_no_more_than_its_digits(number: int) -> None:
    text = b"%d" % number
    assert entry_size(text) <= len(text) + 2
    assert entry_size(b"0" + text) == len(text) + 3


# -- programs --------------------------------------------------------------------------------------


class Program:
    """Random steps on a List and on a plain list, compared after each."""

    def __init__(self, seed: int, fill: int, elements: list[bytes]) -> None:
        self.random = Random(seed)
        LIMITS.list_max_listpack_size = fill
        self.elements = elements
        self.value = List()
        self.model: list[bytes] = []

    def element(self) -> bytes:
        if self.model and self.random.random() < 0.5:
            return self.random.choice(self.model)
        return self.random.choice(self.elements)

    def index(self) -> int:
        if self.random.random() < 0.4:
            return self.random.choice([0, len(self.model) - 1])
        return self.random.randrange(len(self.model))

    def step(self, growing: bool) -> None:
        names = ["push", "push", "insert", "set", "moved"] if growing else ["pop", "cut", "remove"]
        name = self.random.choice([*names, "set", "move", "range", "get", "matches"])
        if name in ("push", "moved") or self.model:
            getattr(self, name)()
        self.value.check()
        assert len(self.value) == len(self.model)

    def push(self) -> None:
        left = self.random.random() < 0.5
        added = [self.element() for _ in range(self.random.choice([1, 1, 2, 40]))]
        self.value.push(tuple(added), left)
        if left:
            self.model[:0] = added[::-1]
        else:
            self.model += added

    def move(self) -> None:
        from_left, to_left = self.random.choices([True, False], k=2)
        element = self.value.move(self.value, from_left, to_left)
        assert element == self.model.pop(0 if from_left else -1)
        self.model.insert(0 if to_left else len(self.model), element)

    def moved(self) -> None:
        left, element = self.random.random() < 0.5, self.element()
        other = make(b"x", element)
        assert other.move(self.value, from_left=False, to_left=left) == element
        assert list(other) == [b"x"]
        self.model.insert(0 if left else len(self.model), element)

    def pop(self) -> None:
        left = self.random.random() < 0.5
        assert self.value.pop(left) == self.model.pop(0 if left else -1)
        self.value.shrunk()

    def cut(self) -> None:
        left = self.random.random() < 0.5
        count = min(len(self.model), self.random.choice([0, 1, 3, 30, 200]))
        self.value.cut(count, left)
        self.value.shrunk()
        keep = len(self.model) - count
        self.model = self.model[count:] if left else self.model[:keep]

    def set(self) -> None:
        index, element = self.index(), self.element()
        self.value.make_room(len(element), 1)
        self.value.set(index, element)
        self.value.shrunk()
        self.model[index] = element

    def insert(self) -> None:
        index, element, after = self.index(), self.element(), self.random.random() < 0.5
        self.value.make_room(len(element), 1)
        self.value.insert(index, element, after=after)
        self.model.insert(index + after, element)

    def remove(self) -> None:
        element, most = self.element(), self.random.choice([0, 0, 1, 2, 20])
        backwards = self.random.random() < 0.5
        removed = self.value.remove(element, most, backwards)
        self.value.shrunk()
        model = self.model[::-1] if backwards else self.model[:]
        kept = []
        for item in model:
            if item == element and (not most or removed > 0):
                removed -= 1
            else:
                kept.append(item)
        assert removed == 0
        assert not most or self.model.count(element) - kept.count(element) <= most
        self.model = kept[::-1] if backwards else kept

    def range(self) -> None:
        start, last = sorted([self.index(), self.index()])
        assert flat(self.value, start, last + 1) == self.model[start : last + 1]

    def get(self) -> None:
        index = self.index()
        assert self.value.get(index) == self.model[index]

    def matches(self) -> None:
        element, limit = self.element(), self.random.choice([0, 1, 7, 10**9])
        backwards = self.random.random() < 0.5
        found = [at for at, item in enumerate(self.model) if item == element]
        size = len(self.model)
        if backwards:
            found = [at for at in reversed(found) if not limit or size - 1 - at < limit]
        else:
            found = [at for at in found if not limit or at < limit]
        assert list(self.value.matches(element, backwards, limit)) == found

    def everything(self) -> None:
        assert list(self.value) == self.model
        twin = self.value.copy()
        twin.check()
        assert list(twin) == self.model
        assert twin.encoding == self.value.encoding
        rebuilt = []
        for name, key, *elements in self.value.commands(KEY):
            assert (name, key) == (b"RPUSH", KEY)
            assert 1 <= len(elements) <= 64
            rebuilt += elements
        assert rebuilt == self.model
        assert self.value.memory_bytes(5) > 0
        twin.push((b"more",), left=True)
        twin.push((b"more",), left=False)
        if self.model:
            twin.set(len(twin) // 2, b"other")
        self.value.check()
        assert list(self.value) == self.model


WORDS = [b"%d" % (n * n * n - 500) for n in range(60)] + [b"a" * n for n in (0, 1, 9, 40, 63, 64)]
LINES = [b"one\ntwo", b"\xff\x00", b"\n", b"\0", b"\xff", b"\xfe" * 30]
LARGE = [b"L" * n for n in (200, 1000, 4000, 4097, 5000, 8193, 20_000)]
ALPHABETS = {
    "short": WORDS,
    "any bytes": WORDS + LINES + [b"\n\0\xff"],
    "some large": WORDS + LINES + LARGE,
    "few": [b"a", b"b", b"7"],
}


@pytest.mark.parametrize("fill", [-1, -2, -5, 0, 1, 2, 7, 128, 100_000])
@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_random_programs(fill: int, alphabet: str) -> None:
    program = Program(fill, fill, ALPHABETS[alphabet])
    growing = True
    for step in range(400):
        if step % 50 == 0:
            growing = program.random.random() < 0.65 or not program.model
        program.step(growing)
    program.everything()
    while program.model:
        program.pop()
        program.cut()
        program.value.check()


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=60), st.integers(1, 59))
def test_packed_nodes_give_back_any_bytes(elements: list[bytes], at: int) -> None:
    node = Node(list(elements))
    node.pack()
    assert node.elements() == elements
    wanted = elements[at % len(elements)]
    assert not node.lacks(wanted)


# -- encoding --------------------------------------------------------------------------------------


def test_becomes_a_quicklist_above_the_limit_and_a_listpack_below_half_of_it() -> None:
    LIMITS.list_max_listpack_size = 10
    value = make(*[b"%d" % i for i in range(10)])
    assert value.encoding == b"listpack"
    value.push((b"x",), left=True)
    assert value.encoding == b"quicklist"
    value.pop(left=True)  # its node has gone, ten are left in the other one
    for _ in range(5):
        value.shrunk()
        assert value.encoding == b"quicklist"
        value.pop(left=False)
    value.shrunk()
    assert value.encoding == b"listpack"
    value.check()


def test_several_nodes_are_no_listpack_however_small() -> None:
    LIMITS.list_max_listpack_size = 4
    value = make(*[b"%d" % i for i in range(8)])
    for element in (b"1", b"2", b"5", b"6", b"7"):
        value.remove(element, 0, backwards=False)
        value.shrunk()
    assert list(value) == [b"0", b"3", b"4"]
    assert value.encoding == b"quicklist"
    value.pop(left=False)
    value.shrunk()
    assert value.encoding == b"listpack"


@pytest.mark.parametrize(
    ("element", "others", "encoding"),
    [
        (b"12345", b"z" * 5000, b"listpack"),
        (b"1234x", b"z" * 5000, b"quicklist"),
        (b"12345", b"z", b"quicklist"),
    ],
)
def test_an_integer_moved_out_of_a_quicklist_counts_nothing(
    element: bytes, others: bytes, encoding: bytes
) -> None:
    LIMITS.list_max_listpack_size = -1
    source, value = make(others, element), make(b"x" * (4096 - 7 - 4))
    assert value.encoding == b"listpack"
    assert source.move(value, from_left=False, to_left=True) == element
    assert value.encoding == encoding
    value.check()


def test_a_stored_result_is_a_listpack_if_it_fits() -> None:
    LIMITS.list_max_listpack_size = 5
    assert List.stored([b"x"] * 5).encoding == b"listpack"
    stored = List.stored([b"x"] * 6)
    stored.check()
    assert stored.encoding == b"quicklist"
    assert list(stored) == [b"x"] * 6
    assert len(List.stored([])) == 0


# -- cost ------------------------------------------------------------------------------------------


def test_a_long_list_takes_few_bytes_an_element() -> None:
    random = Random(1)
    value = List()
    for _ in range(200_000):
        value.push((b"%010x" % random.getrandbits(40),), left=False)
    assert value.memory_bytes(0) < 14 * len(value)  # redis-server 7.0.15: 12 to 17
    for _ in range(50):  # what is looked at is packed again
        value.get(random.randrange(len(value)))
        value.set(random.randrange(len(value)), b"0123456789")
    value.check()
    assert value.memory_bytes(0) < 14 * len(value)


def test_neighbours_of_what_was_looked_at_are_not_unpacked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value = make(*[b"%010d" % i for i in range(20_000)])
    unpacked = 0
    elements = Node.elements

    def counted(node: Node) -> list[bytes]:
        nonlocal unpacked
        unpacked += node.items is None
        return elements(node)

    monkeypatch.setattr(Node, "elements", counted)
    for index in range(9000, 12_000):
        assert value.get(index) == b"%010d" % index
        assert flat(value, index, index + 10)[0] == b"%010d" % index
    assert 4 <= unpacked <= 8
    value.check()


def test_ends_of_a_long_list_are_never_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    value = make(*[b"%d" % i for i in range(20_000)])
    monkeypatch.setattr(quicklist, "accumulate", None)  # calling it would raise
    for _ in range(3000):
        value.push((b"x",), left=True)
        value.pop(left=False)
        value.get(0)
        value.get(len(value) - 1)
    value.check()


def test_free_lets_go_in_slices() -> None:
    value = make(*[b"%d" % i for i in range(20_000)])
    total = slices = 0
    while len(value):
        total += value.free(1000)
        slices += 1
    assert total == 20_000
    assert 5 < slices <= 20
    small = make(b"a", b"b", b"c")
    assert [small.free(2), small.free(2)] == [2, 1]
    assert len(small) == 0
