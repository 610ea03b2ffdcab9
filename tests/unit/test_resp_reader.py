"""Requests, however they are cut and whatever is hidden in them.

The error texts are those redis-server 8.2.3 answers (behind `-ERR Protocol error: `); the
differential tests compare whole servers over the same kinds of bytes.
"""

import re
import tracemalloc
from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings
from shoal.proto import resp_reader
from shoal.proto.limits import MAX_REQUEST_LINE_BYTES
from shoal.proto.quoting import split_args
from shoal.proto.resp_reader import RequestReader
from support.raw import pack

Argv = list[bytes]

BULK_LIMIT = 512 * 1024 * 1024
PING = pack(b"PING")


class Parsed(NamedTuple):
    """What bytes amount to: the commands, and the protocol error behind them, if any."""

    commands: list[Argv]
    error: bytes | None


# -- the reference: no speed, no state, all the bytes at once --------------------------------------


class _BadRequestError(Exception):
    """A protocol error; its argument is the text."""


class _MoreError(Exception):
    """The last command is incomplete."""


_NUMBER = re.compile(rb"0|-?[1-9][0-9]*")


def reference(data: bytes, *, authenticated: bool = True) -> Parsed:
    """Parse as Redis documents it; lines of over 64 kB are not its business."""
    commands: list[Argv] = []
    try:
        for argv in _commands(data, authenticated):
            commands += [argv] if argv else []
    except _BadRequestError as error:
        return Parsed(commands, b"Protocol error: " + error.args[0])
    except _MoreError:
        pass
    return Parsed(commands, None)


def _commands(data: bytes, authenticated: bool) -> Iterator[Argv]:
    at = 0
    while at < len(data):
        if data[at : at + 1] != b"*":
            line, at = _line(data, at, b"\n")
            words = split_args(line.removesuffix(b"\r"))
            if words is None:
                raise _BadRequestError(b"unbalanced quotes in request")
            yield words
            continue
        line, at = _line(data, at, b"\r")
        count = _number(line[1:])
        if count is None or count > 2**31 - 1:
            raise _BadRequestError(b"invalid multibulk length")
        if count > 10 and not authenticated:
            raise _BadRequestError(b"unauthenticated multibulk length")
        argv = []
        for _ in range(count):
            line, at = _line(data, at, b"\r")
            if line[:1] != b"$":
                found = line[:1].strip(b"\n") or b" "
                raise _BadRequestError(b"expected '$', got '%b'" % found)
            size = _number(line[1:])
            if size is None or not 0 <= size <= BULK_LIMIT:
                raise _BadRequestError(b"invalid bulk length")
            if size > 16384 and not authenticated:
                raise _BadRequestError(b"unauthenticated bulk length")
            if at + size + 2 > len(data):
                raise _MoreError
            argv.append(data[at : at + size])
            at += size + 2
        yield argv


def _line(data: bytes, at: int, end: bytes) -> tuple[bytes, int]:
    """Return the line up to `end`, and the position behind: a CR takes the next byte with it."""
    stop = data.find(end, at)
    behind = stop + (2 if end == b"\r" else 1)
    if stop < 0 or behind > len(data) or b"\0" in data[at:stop]:
        raise _MoreError
    return data[at:stop], behind


def _number(text: bytes) -> int | None:
    if _NUMBER.fullmatch(text) is None or len(text) > 20:
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def parse(pieces: list[bytes], *, authenticated: bool = True) -> Parsed:
    """Feed the pieces to a RequestReader."""
    reader = RequestReader(authenticated)
    commands = []
    for piece in pieces:
        commands += reader.feed(piece)
    return Parsed(commands, reader.error)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut data at the places, each taken modulo its length."""
    ends = [*sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def assert_all_ways_agree(data: bytes, places: list[int]) -> Parsed:
    """Check whole, cut in pieces and byte by byte against the reference; return its answer."""
    expected = reference(data)
    assert parse([data]) == expected
    assert parse(cut(data, places)) == expected
    assert parse([data[at : at + 1] for at in range(len(data))]) == expected
    return expected


# -- valid requests --------------------------------------------------------------------------------

# Bytes that mean something to RESP, and that way 2 therefore has to look at twice.
_TELLING = b"*$+-:_,#(%~>|=!\r\n01239 \0ax"
_words = st.one_of(
    st.binary(max_size=12),
    st.lists(st.sampled_from(_TELLING), max_size=12).map(bytes),
    st.sampled_from([b"", b"*1\r\n$4\r\nPING\r\n", b">0\r\n", b"\r\n*2\r\n$", b"*", b"x" * 1030]),
    st.sampled_from([b"*", b">", b"~", b"=", b"+", b"$", b"a*", b"=\r\n", b"*\r\n*"]),
)
_argvs = st.lists(st.lists(_words, min_size=1, max_size=11), max_size=9)
_places = st.lists(st.integers(0, 1 << 16), max_size=9)


@given(_argvs, _places)
@settings(max_examples=300, deadline=None)
@example([[b"SET", b"k", b"*"], [b"GET", b"k"]], [])
@example([[b"*", b"**"], [b"*"] * 11], [3])
@example([[b""], [b"", b""]], [1])
@example([[b">0\r\n" * 3, b"*9\r\n*9\r\n"]], [])
def test_commands_come_back_however_they_are_cut(argvs: list[Argv], places: list[int]) -> None:
    data = b"".join(pack(*argv) for argv in argvs)
    assert assert_all_ways_agree(data, places) == Parsed(argvs, None)


@given(_argvs, st.integers(0, 1 << 16), st.integers(0, 1 << 16))
@settings(max_examples=100, deadline=None)
def test_an_end_in_the_middle_is_no_error(argvs: list[Argv], end: int, place: int) -> None:
    data = b"".join(pack(*argv) for argv in argvs)
    data = data[: end % (len(data) + 1)]
    assert assert_all_ways_agree(data, [place]).error is None


def test_a_reader_goes_on_in_each_way_after_each_other() -> None:
    # Way 1, way 2, way 3 (inline), and a command over the border of two pieces.
    reader = RequestReader()
    long = [b"SET", b"k", b"v" * 5000]
    assert reader.feed(PING) == [[b"PING"]]
    assert reader.feed(PING * 3 + pack(*long)[:9]) == [[b"PING"]] * 3
    assert reader.pending_bytes > 0
    assert reader.feed(pack(*long)[9:] + PING * 2 + b"ECHO 'a b'\r\n" + PING) == [
        long,
        [b"PING"],
        [b"PING"],
        [b"ECHO", b"a b"],
        [b"PING"],
    ]
    assert reader.pending_bytes == 0


INLINE: dict[bytes, list[Argv]] = {
    b"PING\r\n": [[b"PING"]],
    b"PING\n": [[b"PING"]],
    b"  SET \t k  'a b' \r\n": [[b"SET", b"k", b"a b"]],
    b'ECHO "\\x00\\r\\n\\"\\q"\r\n': [[b"ECHO", b'\0\r\n"q']],
    b"\r\n\n   \r\nPING\r\n": [[b"PING"]],
    b'""\r\n': [[b""]],
    b"a\rb\n": [[b"a", b"b"]],
    b"PING\r\n" + PING + b"PING\n": [[b"PING"]] * 3,
    b"%1\r\n~1\r\n": [[b"%1"], [b"~1"]],
    b"$4\r\nPING\r\n": [[b"$4"], [b"PING"]],
    b"PING": [],
    b"PING\r": [],
}


@pytest.mark.parametrize(("data", "commands"), INLINE.items())
def test_inline(data: bytes, commands: list[Argv]) -> None:
    assert assert_all_ways_agree(data, [1, 3, 7]) == Parsed(commands, None)


LENIENT: dict[bytes, list[Argv]] = {
    b"*0\r\n*-1\r\n*-7\r\n" + PING: [[b"PING"]],
    b"*1\rX$4\rXPINGXX" + PING: [[b"PING"], [b"PING"]],
    b"*1\r\n$0\r\n\r\n": [[b""]],
    b"*1\r\n$4\r\nPING": [],
    b"*1\r\n$4\r\nPING\r": [],
    b"*1\r": [],
    # A NUL hides the end of its line.
    b"*1\0\r\n$4\r\nPING\r\n": [],
    b"*1\r\n$4\0\r\nPING\r\n": [],
    b"PI\0NG\r\nPING\r\n": [],
    # Behind the end of a line it is an ordinary byte.
    b"*1\r\0$4\r\nPING\0\0" + PING: [[b"PING"], [b"PING"]],
}


@pytest.mark.parametrize(("data", "commands"), LENIENT.items())
def test_where_redis_is_lenient(data: bytes, commands: list[Argv]) -> None:
    assert assert_all_ways_agree(data, [2, 5, 9]) == Parsed(commands, None)


# -- protocol errors -------------------------------------------------------------------------------

MULTIBULK = b"invalid multibulk length"
BULK = b"invalid bulk length"


def _got(char: bytes) -> bytes:
    return b"expected '$', got '%b'" % char


ERRORS: dict[bytes, bytes] = {
    b"*x\r\n": MULTIBULK,
    b"*\r\n": MULTIBULK,
    b"*+1\r\n": MULTIBULK,
    b"*01\r\n": MULTIBULK,
    b"*-0\r\n": MULTIBULK,
    b"* 1\r\n": MULTIBULK,
    b"*1 \r\n": MULTIBULK,
    b"*1.0\r\n": MULTIBULK,
    b"*0x1\r\n": MULTIBULK,
    b"*1_0\r\n": MULTIBULK,
    b"*2147483648\r\n": MULTIBULK,
    b"*9223372036854775808\r\n": MULTIBULK,
    b"*-9223372036854775809\r\n": MULTIBULK,
    b"*18446744073709551617\r\n": MULTIBULK,
    b"*" + b"1" * 5000 + b"\r\n": MULTIBULK,
    b"*1\n$4\r\nPING\r\n": MULTIBULK,
    b"*1\r\n$x\r\n": BULK,
    b"*1\r\n$\r\n": BULK,
    b"*1\r\n$+4\r\n": BULK,
    b"*1\r\n$04\r\n": BULK,
    b"*1\r\n$-0\r\n": BULK,
    b"*1\r\n$-1\r\n": BULK,
    b"*1\r\n$-4\r\n": BULK,
    b"*1\r\n$4 \r\n": BULK,
    b"*1\r\n$536870913\r\n": BULK,
    b"*1\r\n$9223372036854775808\r\n": BULK,
    b"*1\r\n$18446744073709551620\r\nPING\r\n": BULK,
    b"*2\r\n$4\r\nECHO\r\n$-1\r\n": BULK,
    b"*1\r\nPING\r\n": _got(b"P"),
    b"*1\r\n\r\n": _got(b" "),
    b"*1\r\n\n\r\n": _got(b" "),
    b"*1\r\n\xff\r\n": _got(b"\xff"),
    b"*1\r\n$4\r\nPING\r\n*1\r\n:1\r\n": _got(b":"),
    b"*2\r\n$4\r\nECHO\r\n:1\r\n": _got(b":"),
    b"*2\r\n$4\r\nECHO\r\n+OK\r\n": _got(b"+"),
    b"*2\r\n$4\r\nECHO\r\n-ERR\r\n": _got(b"-"),
    b"*2\r\n$4\r\nECHO\r\n_\r\n": _got(b"_"),
    b"*2\r\n$4\r\nECHO\r\n#t\r\n": _got(b"#"),
    b"*2\r\n$4\r\nECHO\r\n,1.5\r\n": _got(b","),
    b"*2\r\n$4\r\nECHO\r\n(1\r\n": _got(b"("),
    b"*2\r\n$4\r\nECHO\r\n!1\r\nx\r\n": _got(b"!"),
    b"*2\r\n$4\r\nECHO\r\n=5\r\ntxt:x\r\n": _got(b"="),
    b"*2\r\n$4\r\nECHO\r\n*1\r\n$1\r\nx\r\n": _got(b"*"),
    b"*2\r\n$4\r\nECHO\r\n*-1\r\n": _got(b"*"),
    b"*2\r\n$4\r\nECHO\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n": _got(b"%"),
    b"*2\r\n$4\r\nECHO\r\n~1\r\n$1\r\na\r\n": _got(b"~"),
    b"*2\r\n$4\r\nECHO\r\n>1\r\n$1\r\na\r\n": _got(b">"),
    b"*2\r\n$4\r\nECHO\r\n>0\r\n": _got(b">"),
    b"*2\r\n$4\r\nECHO\r\n|1\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n": _got(b"|"),
    b'SET k "v\r\n': b"unbalanced quotes in request",
    b"SET k 'v\r\n": b"unbalanced quotes in request",
    b'SET k "v"x\r\n': b"unbalanced quotes in request",
}


@pytest.mark.parametrize(("data", "text"), ERRORS.items())
@pytest.mark.parametrize("before", [0, 1, 3], ids=["alone", "behind a command", "in a pipeline"])
def test_protocol_error(data: bytes, text: bytes, before: int) -> None:
    found = assert_all_ways_agree(PING * before + data + PING, [4, 15, 30])
    assert found.error == b"Protocol error: " + text
    assert found.commands[:before] == [[b"PING"]] * before


@pytest.mark.parametrize("data", ERRORS)
def test_nothing_more_comes_behind_an_error(data: bytes) -> None:
    reader = RequestReader()
    reader.feed(data)
    error = reader.error
    assert error is not None
    for piece in (b"", PING, PING * 3, b"PING\r\n", b"*x\r\n"):
        assert reader.feed(piece) == []
        assert reader.error == error


TOO_BIG = {
    "inline": (b"x", b"inline request"),
    "count": (b"*1", b"mbulk count string"),
    "length": (b"*1\r\n$1", b"bulk count string"),
    "inline with a NUL": (b"\0\n", b"inline request"),
    "count with a NUL": (b"*1\0\r\n", b"mbulk count string"),
    "length with a NUL": (b"*1\r\n$1\0\r\n", b"bulk count string"),
}


@pytest.mark.parametrize(("start", "what"), TOO_BIG.values(), ids=TOO_BIG.keys())
@pytest.mark.parametrize("step", [1000, 1 << 16, 1 << 20])
def test_a_line_without_an_end(start: bytes, what: bytes, step: int) -> None:
    line_at = start.rfind(b"$") if b"$" in start else 0
    fits = start + b"1" * (MAX_REQUEST_LINE_BYTES - (len(start) - line_at))
    reader = RequestReader()
    for at in range(0, len(fits), step):
        assert reader.feed(fits[at : at + step]) == []
    assert reader.error is None
    assert reader.pending_bytes >= MAX_REQUEST_LINE_BYTES
    assert reader.feed(b"1") == []
    assert reader.error == b"Protocol error: too big " + what


def test_a_long_line_that_has_ended_is_not_too_big() -> None:
    word = b"x" * (MAX_REQUEST_LINE_BYTES + 100)
    assert parse([word + b"\r\n"]) == Parsed([[word]], None)
    # A CR ends a count, though the byte behind it has not come.
    for data, text in ((b"*" + word, MULTIBULK), (b"*1\r\n$" + word, BULK)):
        assert parse([data + b"\r\n"]).error == b"Protocol error: " + text
        assert parse([data + b"\r", b"\n"]).error == b"Protocol error: " + text


def test_proto_max_bulk_len_counts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = RequestReader()
    monkeypatch.setattr(RequestReader, "proto_max_bulk_len", 1 << 20)
    value = b"v" * (1 << 20)
    assert reader.feed(pack(b"ECHO", value)) == [[b"ECHO", value]]
    assert reader.feed(PING * 2 + b"*2\r\n$4\r\nECHO\r\n$1048577\r\n") == [[b"PING"]] * 2
    assert reader.error == b"Protocol error: " + BULK


# -- before AUTH -----------------------------------------------------------------------------------

AUTH = pack(b"AUTH", b"secret")
LOCKED: dict[bytes, bytes | None] = {
    pack(*[b"x"] * 10): None,
    b"*11\r\n": b"unauthenticated multibulk length",
    b"*2147483648\r\n": MULTIBULK,
    pack(b"ECHO", b"x" * 16384): None,
    b"*2\r\n$4\r\nECHO\r\n$16385\r\n": b"unauthenticated bulk length",
    b"*1\r\n$536870913\r\n": BULK,
    b"PING a b c d e f g h i j k l\r\n": None,
}


@pytest.mark.parametrize(("data", "text"), LOCKED.items(), ids=[repr(key[:40]) for key in LOCKED])
def test_limits_before_authentication(data: bytes, text: bytes | None) -> None:
    error = None if text is None else b"Protocol error: " + text
    assert parse([data], authenticated=False) == reference(data, authenticated=False)
    assert parse([data], authenticated=False).error == error
    pieces = [data[at : at + 7] for at in range(0, len(data), 7)]
    assert parse(pieces, authenticated=False).error == error


BEHIND_AUTH = {
    "many arguments": pack(*[b"x"] * 11),
    "a long argument": pack(b"ECHO", b"x" * 16385),
}


@pytest.mark.parametrize("large", BEHIND_AUTH.values(), ids=BEHIND_AUTH.keys())
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "begun"])
def test_what_waits_behind_auth(large: bytes, whole: bool) -> None:
    data = AUTH + PING + large + PING
    held = len(data) if whole else len(AUTH + PING) + 30
    reader = RequestReader(authenticated=False)
    assert reader.feed(data[:held]) == [[b"AUTH", b"secret"], [b"PING"]]
    assert (reader.deferred, reader.error) == (True, None)
    assert reader.pending_bytes > 0
    reader.authenticated = True
    assert reader.feed(b"") + reader.feed(data[held:]) == reference(large + PING).commands
    assert (reader.deferred, reader.error) == (False, None)


@pytest.mark.parametrize("large", BEHIND_AUTH.values(), ids=BEHIND_AUTH.keys())
def test_a_failed_auth_does_not_let_it_through(large: bytes) -> None:
    reader = RequestReader(authenticated=False)
    assert reader.feed(AUTH + large + PING) == [[b"AUTH", b"secret"]]
    assert reader.feed(b"") == []
    assert (reader.deferred, reader.error) == (False, reference(large, authenticated=False).error)


# -- hostile pipelines: way 2 must not take what is no command -------------------------------------

# Every type of reply, alone and as an element: hiredis reads them all.
_REPLIES = [
    b"+OK\r\n",
    b"-ERR x\r\n",
    b":1\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",1.5\r\n",
    b",inf\r\n",
    b"(123\r\n",
    b"=5\r\ntxt:a\r\n",
    b"$-1\r\n",
    b"$0\r\n\r\n",
    b"$1\r\na\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"~0\r\n",
    b"%0\r\n",
    b">0\r\n",
    b"|0\r\n",
    b"*1\r\n$1\r\na\r\n",
    b"~1\r\n$1\r\na\r\n",
    b"%1\r\n$1\r\na\r\n$1\r\nb\r\n",
    b">1\r\n$1\r\na\r\n",
    b">2\r\n$7\r\nmessage\r\n$1\r\na\r\n",
    b"|1\r\n$1\r\na\r\n$1\r\nb\r\n",
    b"%1\r\n*1\r\n$1\r\na\r\n$1\r\nb\r\n",  # a key that cannot be hashed
    b"*2\r\n$1\r\na\r\n",
    b"*3\r\n",
    b"*1000000000\r\n",
    b"%1000000000\r\n",
    b"~1000000000\r\n",
    b">1000000000\r\n",
    b"\r\n",
]
_pieces = st.one_of(
    st.sampled_from(_REPLIES), st.lists(_words, min_size=1, max_size=3).map(lambda a: pack(*a))
)


@pytest.mark.parametrize("hidden", _REPLIES)
def test_other_types_among_commands(hidden: bytes) -> None:
    star = pack(b"SET", b"k", b"*")
    for data in (
        PING + hidden + PING,
        hidden + PING,
        b"*1\r\n" + hidden + PING,
        b"*2\r\n$4\r\nECHO\r\n" + hidden + PING,
        b"*2\r\n" + hidden + b"$1\r\na\r\n" + PING,
        PING + b"*2\r\n$1\r\na\r\n" + hidden,
        star + hidden + PING,
        star + PING + b"*2\r\n$1\r\na\r\n" + hidden,
        star * 3 + b"*1\r\n" + hidden,
    ):
        assert_all_ways_agree(data, [4, 16, 21])


@pytest.mark.parametrize("missing", range(20))
def test_an_unfinished_value_is_not_finished_by_the_reader(missing: int) -> None:
    # Way 2 completes an array that hiredis waits for; what it adds must not get into a value.
    data = pack(b"SET", b"k", b"***") + PING * 3 + b"*1\r\n$%d\r\nab\r\n" % (2 + missing)
    assert len(assert_all_ways_agree(data, [50]).commands) == (5 if missing == 0 else 4)
    assert_all_ways_agree(data + b"x" * missing + b"\r\n" + PING, [50])


@given(st.lists(_pieces, max_size=8), _places)
@settings(max_examples=300, deadline=None)
def test_replies_among_commands(pieces: list[bytes], places: list[int]) -> None:
    assert_all_ways_agree(b"".join(pieces), places)


_edits = st.lists(
    st.tuples(
        st.integers(0, 1 << 16),
        st.integers(0, 2),
        st.one_of(
            st.sampled_from([bytes((byte,)) for byte in _TELLING]), st.sampled_from(_REPLIES)
        ),
    ),
    min_size=1,
    max_size=4,
)


@given(_argvs, _edits, _places)
@settings(max_examples=500, deadline=None)
def test_damaged_pipelines(
    argvs: list[Argv], edits: list[tuple[int, int, bytes]], places: list[int]
) -> None:
    data = b"".join(pack(*argv) for argv in argvs)
    for place, removed, added in edits:
        at = place % (len(data) + 1)
        data = data[:at] + added + data[at + removed :]
    assert_all_ways_agree(data, places)


@given(st.lists(st.sampled_from(_TELLING), min_size=1, max_size=40).map(bytes), _places)
@settings(max_examples=300, deadline=None)
def test_noise(data: bytes, places: list[int]) -> None:
    assert_all_ways_agree(data, places)


def test_pipelines_do_take_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    # Else the tests above would show nothing of it.
    def never(*_: object) -> int:
        raise AssertionError("the state machine was asked")

    monkeypatch.setattr(RequestReader, "_feed_any", never)
    for argvs in (
        [[b"PING"]],
        [[b"SET", b"k", b"v" * 2000]],
        [[b"SET", b"k", b"v"], [b"GET", b"k"]] * 50,
        [[b"SET", b"k*", b"***"], [b"KEYS", b"*"]] * 5,
        [[b"SET", b"k", b"+=(%~>|"]] * 5,
        [[b"SET", b"*", b">0\r\n"]] * 3,
        [[b"XADD", b"k", b"MAXLEN", b"~", b"9", b"*", b"f", b"=" * 70]] * 5,
        [[b"XADD", b"k", b"*", b"f*", b"**"], [b"XTRIM", b"k", b"MAXLEN", b"=", b"*"]] * 5,
        [[b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", b"k", b">"]] * 5,
        [[b"MGET", *[b"k"] * 200]] * 3,
    ):
        assert RequestReader().feed(b"".join(pack(*argv) for argv in argvs)) == argvs


def test_lone_stars_are_counted_from_the_second_time_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fill_up = resp_reader._Pipeline._fill_up
    filled = []

    def note(self: resp_reader._Pipeline, stars: int) -> list[list[bytes]] | bool:
        filled.append(stars)
        return fill_up(self, stars)

    monkeypatch.setattr(resp_reader._Pipeline, "_fill_up", note)
    adds, sets = [[b"XADD", b"k", b"*", b"f", b"v" * 300]] * 5, [[b"SET", b"k", b"v" * 600]] * 5
    read = RequestReader().feed
    for argvs in (sets, adds, adds, adds, sets, sets):
        assert read(b"".join(pack(*argv) for argv in argvs)) == argvs
    assert filled == [10]


# -- memory and work -------------------------------------------------------------------------------

BILLION = {
    "alone": b"*1000000000\r\n",
    "with its first arguments": b"*1000000000\r\n" + b"$1\r\na\r\n" * 20,
    "in a pipeline": PING * 50 + b"*1000000000\r\n$1\r\na\r\n",
    "in front of a pipeline": b"*1000000000\r\n" + PING * 50,
    "many": b"*100000000\r\n" * 50,
    "nested, each below what is looked at": b"*1\r\n" + b"*99\r\n" * 3000,
    "a set": PING + b"~1000000000\r\n" + PING,
    "a map": PING + b"%1000000000\r\n" + PING,
    "a push": PING + b">1000000000\r\n" + PING,
    "an attribute": PING + b"|1000000000\r\n" + PING,
    "a set as an element": b"*1\r\n~1000000000\r\n" + PING,
    "a long value": b"*1\r\n$500000000\r\nx",
    "a long value in a pipeline": PING * 50 + b"*1\r\n$500000000\r\nx\r\n",
}


@pytest.mark.parametrize("data", BILLION.values(), ids=BILLION.keys())
def test_what_is_announced_takes_no_memory(data: bytes) -> None:
    expected = reference(data)
    reader = RequestReader()
    tracemalloc.start()
    try:
        found = reader.feed(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert Parsed(found, reader.error) == expected
    assert peak < 1 << 20, f"{peak} bytes for {len(data)}"


def test_a_large_value_in_small_pieces_is_copied_once() -> None:
    # Counted, not timed: every byte goes into a buffer by one write, and nothing is searched.
    size, step = 1 << 22, 1000
    reader = RequestReader()
    assert reader.feed(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % size) == []
    written = 0

    class Counting(BytesIO):
        def write(self, data: Any) -> int:
            nonlocal written
            written += len(data)
            return super().write(data)

        def getvalue(self) -> bytes:
            assert self.tell() >= size, "looked at before it was whole"
            return super().getvalue()

    reader._bulk = Counting()
    piece = b"*" * step
    for _ in range(size // step):
        assert reader.feed(piece) == []
    assert 0 <= reader.pending_bytes - size // step * step <= 200
    found = reader.feed(b"*" * (size % step) + b"\r\n" + PING)
    assert [[len(arg) for arg in argv] for argv in found] == [[3, 1, size], [4]]
    assert written == size + 2


def test_pending_bytes_counts_what_is_kept() -> None:
    reader = RequestReader()
    reader.feed(b"*100000\r\n")
    empty = b"$0\r\n\r\n" * 1000
    reader.feed(empty)
    assert reader.pending_bytes >= 1000 * 40, "an empty argument takes memory, too"
    before = reader.pending_bytes
    reader.feed(b"$5000\r\n" + b"x" * 3000)
    assert reader.pending_bytes == before + 3000
