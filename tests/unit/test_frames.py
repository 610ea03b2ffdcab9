"""Frames between processes, however the pipe cuts them."""

import marshal
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from shoal.proto import frames
from shoal.proto.errors import FrameError
from shoal.proto.frames import HEADER, FrameReader, encode_frame
from shoal.proto.limits import MAX_FRAME_BYTES

_messages: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.binary(max_size=40), st.integers(), st.none(), st.booleans(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.integers(), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(st.lists(_messages, max_size=8), st.lists(st.integers(0, 1 << 16), max_size=12))
@settings(max_examples=300, deadline=None)
def test_frames_survive_any_cut(sent: list[Any], places: list[int]) -> None:
    data = b"".join(map(encode_frame, sent))
    ends = [*sorted(place % (len(data) + 1) for place in places), len(data)]
    reader = FrameReader()
    got: list[Any] = []
    for start, end in zip([0, *ends], ends, strict=False):
        got += reader.feed(data[start:end])
        whole = 0  # what is complete is given at once, not when the next piece comes
        size = 0
        for message in sent:
            size += len(encode_frame(message))
            whole += size <= end
        assert len(got) == whole
    assert got == sent
    assert [type(one) for one in got] == [type(one) for one in sent]


@given(st.lists(_messages, max_size=5), st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_frames_survive_steps(sent: list[Any], step: int) -> None:
    data = b"".join(map(encode_frame, sent))
    reader = FrameReader()
    got = [one for at in range(0, len(data), step) for one in reader.feed(data[at : at + step])]
    assert got == sent


def test_a_frame_is_its_size_and_its_payload() -> None:
    message = [b"GET", b"k", 7, (0, 2)]
    payload = marshal.dumps(message, 2)
    assert encode_frame(message) == HEADER.pack(len(payload)) + payload
    assert HEADER.pack(258) == b"\0\0\1\2"


def test_an_empty_read_changes_nothing() -> None:
    reader = FrameReader()
    frame = encode_frame(b"x")
    assert reader.feed(b"") == []
    assert reader.feed(frame[:3]) == reader.feed(b"") == []
    assert reader.feed(frame[3:] + frame) == [b"x", b"x"]


def test_a_big_frame_is_joined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = encode_frame(b"x" * (1 << 20))
    reader = FrameReader()
    unpacked = 0

    class Counting:
        size = HEADER.size

        @staticmethod
        def unpack_from(data: bytes, at: int) -> tuple[int]:
            nonlocal unpacked
            unpacked += 1
            return HEADER.unpack_from(data, at)

    monkeypatch.setattr(frames, "HEADER", Counting)
    step = 1000
    got = [one for at in range(0, len(frame), step) for one in reader.feed(frame[at : at + step])]
    assert [len(one) for one in got] == [1 << 20]
    assert unpacked == 2, "once when it began, once when all of it was there"


def test_oversize(monkeypatch: pytest.MonkeyPatch) -> None:
    # A u32 cannot say more than the bound that is set, so the test sets another.
    assert MAX_FRAME_BYTES == 0xFFFFFFFF
    monkeypatch.setattr(frames, "MAX_FRAME_BYTES", 100)
    fits, over = b"x" * 95, b"x" * 96
    assert FrameReader().feed(encode_frame(fits)) == [fits]
    with pytest.raises(FrameError, match="frame of 101 bytes, limit 100"):
        encode_frame(over)
    reader = FrameReader()
    assert reader.feed(encode_frame(b"a") + HEADER.pack(101)[:3]) == [b"a"]
    with pytest.raises(FrameError, match="frame of 101 bytes, limit 100"):
        reader.feed(HEADER.pack(101)[3:])  # the size alone: nothing is waited for
