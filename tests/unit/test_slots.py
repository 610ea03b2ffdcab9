"""Slots of keys, and their owners."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from shoal.proto.limits import MAX_WORKERS
from shoal.proto.slots import SLOTS, key_slot, owner_of, slot_range

# What CLUSTER KEYSLOT answers; 0x31C3 is the check value of CRC-16/XMODEM.
KEYS = {
    b"123456789": 0x31C3,
    b"foo": 12182,
    b"": 0,
    b"\0": 0,
    b"\xff\xfe": 3374,
    b"{foo}": 12182,
    b"{foo}bar": 12182,
    b"bar{foo}": 12182,
    b"a{foo}b{bar}c": 12182,
    b"{foo}{bar}": 12182,
    b"foo}{foo": 8603,
    b"}{foo}": 12182,
    b"{}": 15257,
    b"{}foo": 9500,
    b"{}{foo}": 2263,
    b"{": 4092,
    b"}": 12090,
    b"{foo": 13308,
    b"foo}": 15679,
    b"{{foo}}": 13308,
    b"{ }": 9314,
    b"{\0}x": 0,
}


def crc16(data: bytes) -> int:
    """Calculate CRC-16/XMODEM, polynomial 0x1021, bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


@pytest.mark.parametrize("key", KEYS)
def test_known_keys(key: bytes) -> None:
    assert key_slot(key) == KEYS[key]


@given(st.lists(st.sampled_from(b"{}ab\0\xff"), max_size=12).map(bytes))
@settings(max_examples=500, deadline=None)
def test_any_key(key: bytes) -> None:
    tag = key.partition(b"{")[2].partition(b"}")
    hashed = tag[0] if tag[0] and tag[1] else key
    assert key_slot(key) == crc16(hashed) % SLOTS


@pytest.mark.parametrize("workers", range(1, MAX_WORKERS + 1))
def test_owners_and_ranges_are_inverse(workers: int) -> None:
    ranges = [slot_range(worker, workers) for worker in range(workers)]
    owners = [worker for worker, slots in enumerate(ranges) for _ in slots]
    assert [slot for slots in ranges for slot in slots] == list(range(SLOTS))
    assert [owner_of(slot, workers) for slot in range(SLOTS)] == owners
    assert max(map(len, ranges)) - min(map(len, ranges)) <= 1
