"""HyperLogLog beside naive models: of the hash, the registers, the sparse opcodes and the estimate.

That the strings are those of Redis is shown by tests/differential/test_hyperloglog.py.
"""

from __future__ import annotations

import math
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.proto.errors import ReplyError
from shoal.worker.values import hyperloglog
from shoal.worker.values.hyperloglog import (
    DENSE_BYTES,
    EMPTY,
    HEADER_BYTES,
    REGISTERS,
    HyperLogLog,
    check_string,
    estimate,
    merge,
    murmur_hash,
    place,
    registers_of,
    self_test,
)
from shoal.worker.values.limits import LIMITS

MASK = (1 << 64) - 1
FACTOR = 0xC6A4A7935BD1E995


def naive_hash(data: bytes) -> int:
    """MurmurHash64A as it is written down, word by word."""
    value = 0xADC83B19 ^ (len(data) * FACTOR & MASK)
    whole = len(data) // 8 * 8
    for at in range(0, whole, 8):
        word = int.from_bytes(data[at : at + 8], "little") * FACTOR & MASK
        word = (word ^ word >> 47) * FACTOR & MASK
        value = (value ^ word) * FACTOR & MASK
    if len(data) > whole:
        value = (value ^ int.from_bytes(data[whole:], "little")) * FACTOR & MASK
    value = (value ^ value >> 47) * FACTOR & MASK
    return value ^ value >> 47


class Model:
    """A HyperLogLog that cannot be wrong: runs of registers in a list, and each register again."""

    def __init__(self) -> None:
        self.registers = bytearray(REGISTERS)
        self.runs = [(0, REGISTERS)]  # value, count
        self.dense = False

    def add(self, element: bytes) -> bool:
        index, count = place(element)
        old = self.registers[index]
        self.registers[index] = max(old, count)
        if self.dense or (count <= 32 and old >= count):
            return count > old
        self.dense = count > 32 or not self._replace(index, count)
        return True

    def _replace(self, index: int, count: int) -> bool:
        """Change a register in the runs; False if they would become too long."""
        at, first = 0, 0
        while first + self.runs[at][1] <= index:
            first += self.runs[at][1]
            at += 1
        value, length = self.runs[at]
        pieces = [(value, index - first), (count, 1), (value, first + length - 1 - index)]
        changed = list(self.runs)
        changed[at : at + 1] = [piece for piece in pieces if piece[1]]
        grows = len(encode(changed)) > len(encode(self.runs))
        if grows and HEADER_BYTES + len(encode(changed)) > LIMITS.hll_sparse_max_bytes:
            return False
        at, steps = max(at - 1, 0), 5
        while at + 1 < len(changed) and steps:
            (value, length), (following, more) = changed[at : at + 2]
            if value == following != 0 and length + more <= 4:
                changed[at : at + 2] = [(value, length + more)]
            else:
                at += 1
            steps -= 1
        self.runs = changed
        return True

    def string(self) -> bytes:
        """The bytes after the header."""
        if self.dense:
            bits = sum(value << 6 * at for at, value in enumerate(self.registers) if value)
            return bits.to_bytes(REGISTERS * 6 // 8, "little")
        return encode(self.runs)


def encode(runs: list[tuple[int, int]]) -> bytes:
    return b"".join([encode_run(value, count) for value, count in runs])


def encode_run(value: int, count: int) -> bytes:
    if value:
        return bytes([0x80 + (value - 1) * 4 + count - 1])
    return bytes([count - 1]) if count <= 64 else (0x4000 + count - 1).to_bytes(2, "big")


@given(st.binary(max_size=80) | st.binary(min_size=200, max_size=300))
def test_the_hash(data: bytes) -> None:
    assert murmur_hash(data) == naive_hash(data)


def test_the_place() -> None:
    random = Random(1)
    for _ in range(1000):
        element = random.randbytes(random.randrange(20))
        bits = f"{naive_hash(element):064b}"[::-1]  # the lowest first
        index, count = place(element)
        assert index == int(bits[:14][::-1], 2)
        assert count == (bits[14:] + "1").index("1") + 1


@pytest.mark.parametrize("limit", [0, 18, 40, 200, 3000, 20_000])
def test_adding(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LIMITS, "hll_sparse_max_bytes", limit)
    random = Random(limit)
    value, model = HyperLogLog(), Model()
    assert bytes(value) == EMPTY
    for step in range(4000):
        element = b"%d" % random.randrange(5000)
        assert value.add(element) == model.add(element), step
        if step < 300 or step % 50 == 0:
            assert value.dense == model.dense
            assert value[HEADER_BYTES:] == model.string(), step
            assert registers_of(value) == model.registers
            value.check()
    assert value.dense == model.dense == (limit < 5000)


@pytest.mark.parametrize("above", [0, 10**6], ids=["always an index", "never an index"])
def test_the_index_changes_nothing(above: int, monkeypatch: pytest.MonkeyPatch) -> None:
    elements = [Random(seed).randbytes(6) for seed in range(2000)]
    usual, other = HyperLogLog(), HyperLogLog()
    for element in elements:
        changed = usual.add(element)
        with monkeypatch.context() as patch:
            patch.setattr(hyperloglog, "_INDEX_ABOVE", above)
            assert other.add(element) == changed
        if len(other) < 200 or len(other) % 40 == 0:
            other.check()
        assert other == usual


def test_registers_of_the_highest_counts_make_it_dense() -> None:
    value = HyperLogLog()
    index, _ = place(b"")
    value.raise_to(bytes(index) + b"\x20" + bytes(REGISTERS - index - 1), dense=False)
    assert not value.dense
    value.raise_to(bytes(index) + b"\x21" + bytes(REGISTERS - index - 1), dense=False)
    assert value.dense
    assert registers_of(value)[index] == 33


def test_dense_registers() -> None:
    random = Random(1)
    for _ in range(20):
        registers = bytes(random.choices(range(64), k=REGISTERS))
        value = HyperLogLog()
        value.raise_to(registers, dense=True)
        bits = int.from_bytes(value[HEADER_BYTES:], "little")
        for at in [0, 1, 2, 3, REGISTERS - 1, *random.choices(range(REGISTERS), k=50)]:
            assert bits >> 6 * at & 63 == registers[at], at
        assert registers_of(value) == registers
        assert len(value) == DENSE_BYTES


@pytest.mark.parametrize("top", [0, 1, 2, 5, 32, 50, 51, 63])
def test_what_a_dense_one_has(top: int) -> None:
    random = Random(top)
    value = HyperLogLog()
    value.raise_to(bytes([top]) * REGISTERS, dense=True)
    for _ in range(300):
        element = random.randbytes(random.randrange(40))
        assert value.has(element) == (place(element)[1] <= top)
        changes = HyperLogLog(value).add(element)
        assert changes != value.has(element)
    assert not HyperLogLog().has(b"sparse")


def test_to_dense_keeps_the_header() -> None:
    value = HyperLogLog()
    value.add(b"a")
    value.remember(0x0123456789)
    value[5:8] = b"abc"
    registers = registers_of(value)
    assert value.to_dense()
    assert not value.to_dense()
    assert value[:HEADER_BYTES] == b"HYLL\0abc\x89\x67\x45\x23\x01\0\0\0"
    assert registers_of(value) == registers


def test_the_estimate_that_is_kept() -> None:
    value = HyperLogLog()
    assert value.cached == 0
    value.remember(12345)
    assert value.cached == 12345
    value.forget()
    assert value.cached is None
    value.remember(2**63)  # what no registers of ours give: marked as out of date by its own bit
    assert value.cached is None


@pytest.mark.parametrize("dense", [False, True])
def test_merging_is_adding_all(dense: bool) -> None:
    random = Random(1)
    for size in (0, 1, 30, 600, 3000):
        elements = [[random.randbytes(5) for _ in range(size)] for _ in range(2)]
        parts = []
        for some in elements:
            parts.append(HyperLogLog())
            for element in some:
                parts[-1].add(element)
        union = merge(*[registers_of(part) for part in parts])
        assert union == bytes(map(max, *[registers_of(part) for part in parts]))
        for element in elements[1]:
            parts[0].add(element)
        assert union == registers_of(parts[0])
        target = HyperLogLog()
        target.raise_to(union, dense=dense)
        target.check()
        assert registers_of(target) == union
        assert target.dense == (dense or parts[0].dense)


def test_the_estimate() -> None:
    random = Random(1)
    value = HyperLogLog()
    assert estimate(registers_of(value)) == 0
    size, error = 0, 1.04 / math.sqrt(REGISTERS)
    for checkpoint in (1, 2, 10, 100, 1000, 3000, 10_000, 30_000, 100_000):
        while size < checkpoint:
            value.add(random.randbytes(8))
            size += 1
        assert abs(estimate(registers_of(value)) - size) <= 4 * error * size + 1, size


def test_estimates_of_impossible_registers() -> None:
    assert estimate(b"\x3f" * REGISTERS) == 1 << 63
    assert estimate(b"\x33" * REGISTERS) == estimate(bytes([51]) * REGISTERS)
    assert estimate(b"\1" * REGISTERS) < estimate(b"\2" * REGISTERS)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"HYLL", EMPTY[:15], b"HYLK" + EMPTY[4:], b"HYLL\2" + EMPTY[5:], b"x" * 12304),
        *(b"HYLL" + bytes(DENSE_BYTES - 5), b"HYLL" + bytes(DENSE_BYTES - 3)),
    ],
)
def test_other_strings(data: bytes) -> None:
    with pytest.raises(ReplyError, match="WRONGTYPE Key is not a valid HyperLogLog"):
        check_string(data)
    with pytest.raises(ReplyError, match="WRONGTYPE"):
        HyperLogLog(data)
    with pytest.raises(ReplyError, match="WRONGTYPE"):
        registers_of(data)


@pytest.mark.parametrize(
    "opcodes",
    [b"", b"\x3f", b"\x7f", b"\x7f\xfe", b"\x7f\xff\x00", b"\x7f\xfd\x87", b"\x7f" * 100_000],
)
def test_damaged_strings(opcodes: bytes) -> None:
    value = HyperLogLog(EMPTY[:HEADER_BYTES] + opcodes)
    with pytest.raises(ReplyError, match="INVALIDOBJ"):
        registers_of(value)
    with pytest.raises(ReplyError, match="INVALIDOBJ"):
        value.to_dense()
    assert bytes(value) == EMPTY[:HEADER_BYTES] + opcodes


@given(st.binary(max_size=90), st.lists(st.integers(0, 10**6), max_size=20))
def test_any_opcodes_are_taken_or_refused(opcodes: bytes, elements: list[int]) -> None:
    value = HyperLogLog(EMPTY[:HEADER_BYTES] + opcodes)
    value.opcodes()
    for element in elements:
        try:
            value.add(b"%d" % element)
        except ReplyError as error:
            assert error.text.startswith(b"INVALIDOBJ")  # noqa: PT017, most opcodes are fine
    check_string(value)


def test_the_index_counts_as_memory() -> None:
    small, large = HyperLogLog(), HyperLogLog()
    for number in range(1000):
        large.add(b"%d" % number)
    plain = sys.getsizeof(bytearray(large))
    assert not large.dense
    assert sys.getsizeof(small) < 200
    assert plain + 2 * len(large) < sys.getsizeof(large) < plain + 4 * len(large) + 200
    large.to_dense()
    assert sys.getsizeof(large) < DENSE_BYTES + 200


def test_the_self_test_finds_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert self_test(Random(1)) == ""
    for name, wrong, message in [
        ("murmur_hash", lambda data: 1, "hash"),
        ("_pack", lambda header, registers: bytes(DENSE_BYTES), "dense registers"),
        ("merge", lambda first, second: bytes(first), "merged"),
        ("place", lambda element: (1, 1), "register"),
        ("estimate", lambda registers: 500, "estimate"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(hyperloglog, name, wrong)
            assert message in self_test(Random(1)), name
