"""The clock of the log's stamps."""

import hypothesis.strategies as st
from hypothesis import given, settings
from shoal.proto.clock import StampClock, first_stamp

WALL_MS = 1_794_000_005_042

_ns = st.integers(0, 1 << 62)


def test_milliseconds_are_whole_and_passed() -> None:
    clock = StampClock(WALL_MS, 5_999_999)
    at = {5_999_999: 0, 6_999_998: 0, 6_999_999: 1, 7_999_998: 1, 3_600_005_999_999: 3_600_000}
    assert {ns: clock.now_ms(ns) - WALL_MS for ns in at} == at


@given(st.integers(0, 1 << 50), _ns, _ns, _ns)
@settings(max_examples=100, deadline=None)
def test_it_only_rises_and_keeps_pace(wall_ms: int, base_ns: int, first: int, second: int) -> None:
    clock = StampClock(wall_ms, base_ns)
    early, late = sorted((first, second))
    passed = clock.now_ms(base_ns + late) - clock.now_ms(base_ns + early)
    assert passed >= 0
    assert abs(passed - (late - early) // 1_000_000) <= 1
    assert clock.now_ms(base_ns) == wall_ms


@given(_ns, st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_workers_forked_later_count_alike(base_ns: int, later_ms: int) -> None:
    # All they share is the base.
    one, other = StampClock(WALL_MS, base_ns), StampClock(WALL_MS, base_ns)
    now_ns = base_ns + later_ms * 1_000_000
    assert one.now_ms(now_ns) == other.now_ms(now_ns) == WALL_MS + later_ms


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 50))
@settings(max_examples=100, deadline=None)
def test_stamps_follow_those_of_the_last_start(wall_ms: int, last_ms: int) -> None:
    base_ms = first_stamp(wall_ms, last_ms)
    assert base_ms > last_ms
    assert base_ms >= wall_ms
    assert base_ms in (wall_ms, last_ms + 1), "no further into the future than it has to be"


def test_a_wall_clock_that_was_set_back() -> None:
    assert first_stamp(WALL_MS, 0) == WALL_MS
    assert first_stamp(WALL_MS, WALL_MS) == WALL_MS + 1
    assert first_stamp(WALL_MS, WALL_MS + 3_600_000) == WALL_MS + 3_600_001
