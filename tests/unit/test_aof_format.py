"""Segments: written, cut anywhere, damaged anywhere, read by the fast walk and by the plain one."""

import marshal
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from shoal.proto import aof_format, limits
from shoal.proto.aof_format import (
    EXEC,
    MULTI,
    Event,
    Part,
    Release,
    ScanReport,
    SegmentError,
    SegmentReader,
    decode_numbers,
    encode_command,
    encode_numbers,
    encode_release,
    encode_select,
    encode_stamp,
    encode_ticket,
)

# What a value may contain to be mistaken for something else.
NASTY = [
    b"",
    b"\r\n",
    b"\r\n#TS:1\r\n",
    b"#TS:1732288888000\r\n*1\r\n$4\r\nPING\r\n",
    b"\r\n#TICKET:9:0-1:+OK\r\n",
    b"\r\n#REL:9\r\n",
    b"*1\r\n$5\r\nMULTI\r\n",
    b"x\n#",
    b"\0\0\0",
    b"\r\n#" + b"n" * 1100,
    b"v" * 70_000,
]
values = st.one_of(st.sampled_from(NASTY), st.binary(max_size=40))
commands = st.builds(lambda key, value: [b"SET", key, value], values, values)
stamps = st.builds(encode_stamp, st.integers(1, 2**48))


def block(argvs: list[list[bytes]]) -> bytes:
    return MULTI + b"".join(map(encode_command, argvs)) + EXEC


# A record: its bytes, and what a reader makes of it.
records = st.one_of(
    commands.map(lambda argv: (encode_command(argv), [argv])),
    st.just((encode_command([b"FLUSHALL"]), [[b"FLUSHALL"]])),
    st.integers(0, 15).map(lambda db: (encode_select(db), [[b"SELECT", b"%d" % db]])),
    st.lists(commands, max_size=3).map(lambda argvs: (block(argvs), argvs)),
    st.builds(
        lambda ticket, who, reply, argvs: (
            encode_ticket(ticket, who, reply) + block(argvs),
            [(ticket, tuple(sorted(who)), reply.rstrip(b"\r\n"), argvs)],
        ),
        st.integers(1, 99),
        st.sets(st.integers(0, 9), min_size=1),
        st.sampled_from([b"+OK\r\n", b":3\r\n", b""]),
        st.lists(commands, max_size=3),
    ),
    st.integers(1, 99).map(lambda ticket: (encode_release(ticket), [ticket])),
    stamps.map(lambda line: (line, [])),
    st.just((b"#unknown annotation\r\n", [])),
)
segments = st.lists(records, max_size=12)


class PlainReader(SegmentReader):
    """Only the plain walk."""

    def _fast(self) -> Iterator[Event]:
        self._reached = self.size
        return
        yield


def flat(events: list[Event]) -> list[object]:
    """Make one list of commands, parts and releases, whatever the runs were."""
    made: list[object] = []
    for event in events:
        if isinstance(event, Part):
            made.append((event.ticket, event.participants, event.reply, event.commands))
        elif isinstance(event, Release):
            made.append(event.ticket)
        else:
            made += event
    return made


Outcome = tuple[list[object], int, int, tuple[int, str] | None]


def walk(data: bytes, reader: type[SegmentReader] = SegmentReader) -> Outcome:
    """Return the events, the end, the last stamp and the damage."""
    walker = reader(lambda offset, size: data[offset : offset + size], len(data))
    events: list[Event] = []
    try:
        events.extend(walker)
    except SegmentError as error:
        return flat(events), -1, -1, (error.offset, error.reason)
    return flat(events), walker.end, walker.last_stamp_ms, None


def small_windows(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(aof_format, "LOG_READ_BYTES", size)


@given(segments)
def test_what_was_written_is_read(written: list[tuple[bytes, list[object]]]) -> None:
    data = b"".join(record for record, _ in written)
    expected = [item for _, items in written for item in items]
    assert walk(data)[:2] == (expected, len(data))
    assert walk(data, PlainReader) == walk(data)


@given(segments, st.integers(1, 3000))
@example([(encode_release(7), [7])] * 400, 1030)
def test_windows_of_any_size(written: list[tuple[bytes, list[object]]], size: int) -> None:
    # From 1026 bytes on a window holds any annotation; below, the fast walk just hands over.
    data = b"".join(record for record, _ in written)
    expected = [item for _, items in written for item in items]
    with pytest.MonkeyPatch.context() as patch:
        small_windows(patch, size)
        assert walk(data)[:2] == (expected, len(data))


@given(segments, st.integers(0), st.sampled_from([b"", b"\0", b"\0" * 70_000]))
def test_any_cut_leaves_a_prefix_of_whole_records(
    written: list[tuple[bytes, list[object]]], at: int, zeros: bytes
) -> None:
    data = b"".join(record for record, _ in written)
    at %= len(data) + 1
    expected: list[object] = []
    end = 0
    for record, items in written:
        if end + len(record) > at:
            break
        expected += items
        end += len(record)
    # Not always a record's end: before #TICKET + MULTI, after an #unknown, anything goes.
    for walked in (walk(data[:at] + zeros), walk(data[:at] + zeros, PlainReader)):
        assert walked[:2] == (expected, end)
        assert walked[3] is None


@given(segments, st.integers(0), st.sampled_from(b"#*$\r\n\0013:x"))
def test_both_walks_say_the_same_of_damage(
    written: list[tuple[bytes, list[object]]], at: int, byte: int
) -> None:
    data = bytearray(b"".join(record for record, _ in written))
    if data:
        data[at % len(data)] = byte
    assert walk(bytes(data)) == walk(bytes(data), PlainReader)


@given(
    st.lists(
        st.sampled_from([b"*1\r\n", b"$1\r\n", b"a\r\n", b"#TS:1\r\n", b"#REL:2\r\n", MULTI, EXEC])
    )
)
def test_both_walks_say_the_same_of_shreds(shreds: list[bytes]) -> None:
    data = b"".join(shreds)
    assert walk(data) == walk(data, PlainReader)


SET = encode_command([b"SET", b"k", b"v"])
TICKET = encode_ticket(5, (0, 1), b"+OK\r\n")
DAMAGE = {
    "not a command": (SET + b"hello\r\n" + SET, len(SET), "expected '*', found b'h'"),
    "RESP3": (SET + b"#t\r\n*1\r\n#t\r\n" + SET, len(SET) + 8, "expected '$', found b'#'"),
    "status": (SET + b"+OK\r\n" + SET, len(SET), "expected '*', found b'+'"),
    "a push is an array, too": (b">1\r\n$1\r\na\r\n" + SET, 0, "expected '*', found b'>'"),
    "no arguments": (SET + b"*0\r\n" + SET, len(SET), "a command without a name"),
    "count": (b"*x\r\n" + SET, 1, "bad number of arguments b'x'"),
    "endless count": (b"*" + b"1" * 99 + SET, 1, "number of arguments without end"),
    "length": (b"*1\r\n$-1\r\n" + SET, 5, "bad length b'-1'"),
    "huge length": (b"*1\r\n$9999999999999\r\n" + SET, 5, "length 9999999999999, limit 4294967296"),
    "zeros inside": (SET + b"\0" * 99 + SET, len(SET), r"expected '*', found b'\x00'"),
    "stamp": (b"#TS:1x\r\n" + SET, 0, r"malformed annotation b'#TS:1x\r\n'"),
    "release": (SET + b"#REL:0\r\n" + SET, len(SET), r"malformed annotation b'#REL:0\r\n'"),
    "participants": (
        b"#TICKET:5:1,1:\r\n" + SET,
        0,
        "malformed annotation: '1,1' is no ascending list of numbers below 128",
    ),
    "endless annotation": (b"#" + b"x" * 2000 + SET, 0, "an annotation without end"),
    "EXEC": (SET + EXEC + SET, len(SET), "EXEC without MULTI"),
    "MULTI": (MULTI + SET + MULTI + SET + EXEC, len(MULTI + SET), "MULTI inside MULTI"),
    "ticket alone": (TICKET + SET, len(TICKET), "#TICKET without MULTI"),
    "ticket twice": (TICKET + TICKET + MULTI + EXEC, len(TICKET), "#TICKET inside MULTI"),
    "ticket in MULTI": (MULTI + TICKET + EXEC, len(MULTI), "#TICKET inside MULTI"),
    "release in MULTI": (MULTI + encode_release(5) + EXEC, len(MULTI), "#REL inside MULTI"),
    "annotation in a command": (
        b"*2\r\n$1\r\na\r\n#TS:1\r\n$1\r\nb\r\n" + SET,
        11,
        "expected '$', found b'#'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "offset", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("stamped", [False, True])
def test_damage_has_an_offset_and_a_reason(
    data: bytes, offset: int, reason: str, stamped: bool
) -> None:
    before = encode_stamp(7) + SET if stamped else b""
    for reader in (SegmentReader, PlainReader):
        events, _, _, damage = walk(before + data, reader)
        assert damage == (len(before) + offset, reason)
        assert events[: int(stamped)] == [[b"SET", b"k", b"v"]] * int(stamped)


def test_a_last_bulk_without_its_crlf_is_truncated() -> None:
    assert walk(SET + SET[:-2] + b"xx")[1] == len(SET)


def test_the_fast_walk_goes_on_after_large_values(monkeypatch: pytest.MonkeyPatch) -> None:
    plain: list[int] = []
    walk_plainly = SegmentReader._plain

    def count(reader: SegmentReader) -> Iterator[Event]:
        plain.append(1)
        return walk_plainly(reader)

    monkeypatch.setattr(SegmentReader, "_plain", count)
    turn = encode_stamp(1) + SET * 100
    large = encode_stamp(1) + encode_command([b"SET", b"k", b"x" * 3_000_000])
    data = (turn * 300 + large) * 2 + turn * 300
    events, end, _, _ = walk(data)
    assert end == len(data)
    assert len(events) == 3 * 30_000 + 2
    assert len(plain) == 2


def test_only_the_first_bytes_are_read() -> None:
    reader = SegmentReader(lambda offset, size: (SET * 9)[offset : offset + size], 2 * len(SET))
    assert flat(list(reader)) == [[b"SET", b"k", b"v"]] * 2
    with pytest.raises(EOFError):
        list(SegmentReader(lambda offset, size: SET[offset : offset + size], 2 * len(SET)))


@given(st.sets(st.integers(0, 127)))
def test_numbers(numbers: set[int]) -> None:
    ordered = tuple(sorted(numbers))
    assert decode_numbers(encode_numbers(ordered), 128) == ordered


@pytest.mark.parametrize("text", ["1,", ",1", "01", "2-1", "3,2", "1,1", "-1", "1-", "8", "٣"])
def test_numbers_have_one_form(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        decode_numbers(text, 8)


def test_an_annotation_is_short_enough_for_redis() -> None:
    everyone = tuple(range(0, limits.MAX_WORKERS, 2))
    longest = b"+" + b"x" * (limits.MAX_LOGGED_REPLY_BYTES - 1)
    assert len(encode_ticket(10**17, everyone, longest)) <= limits.MAX_ANNOTATION_BYTES
    with pytest.raises(ValueError, match="limit 1023"):
        encode_ticket(1, range(0, 2000, 2), b"")


@pytest.mark.parametrize(
    "reply",
    [b"$1\r\na\r\n", b"-ERR no\r\n", b"*0\r\n", b"+" + b"x" * 200, b"+a\nb\r\n", b"+a\rb\r\n"],
)
def test_other_replies_are_not_kept(reply: bytes) -> None:
    assert encode_ticket(1, (0,), reply) == b"#TICKET:1:0:\r\n"


def test_a_report_travels() -> None:
    report = ScanReport(size=100, end=90, last_stamp_ms=5, damage=("f", 3, "why"), base_ticket=2)
    report.add_part(3, (0, 1), b"+OK", 10)
    report.add_part(4, (0, 2), b"", 20)
    report.add_part(6, (0, 1), b"", 30)
    report.add_release(3, 40)
    assert report.participants == [(0, 1), (0, 2)]
    assert report.open_replies == {4: b"", 6: b""}
    assert report.last_ticket == 6
    assert ScanReport.from_wire(marshal.loads(marshal.dumps(report.to_wire()))) == report
