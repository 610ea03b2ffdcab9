"""Replies in RESP2 and RESP3: every builder, read back by a parser that knows nothing of them."""

import io
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from shoal.proto.replies import (
    EMPTY_ARRAY,
    NULL,
    NULL_ARRAY,
    OK,
    ONE,
    PONG,
    QUEUED,
    ZERO,
    Array,
    MapTemplate,
    Node,
    Reply,
    array,
    boolean,
    bulk,
    bulk_array,
    bulk_list,
    double,
    encode,
    integer,
    map_reply,
    member_and_score,
    push,
    scored,
    set_reply,
    simple,
    verbatim,
)
from support.raw import read_reply

LONG = b"x" * 4096

# reply -> its bytes in RESP2 and in RESP3 (None: the same)
REPLIES: list[tuple[Reply, bytes, bytes | None]] = [
    (OK, b"+OK\r\n", None),
    (PONG, b"+PONG\r\n", None),
    (QUEUED, b"+QUEUED\r\n", None),
    (ZERO, b":0\r\n", None),
    (ONE, b":1\r\n", None),
    (EMPTY_ARRAY, b"*0\r\n", None),
    (NULL, b"$-1\r\n", b"_\r\n"),
    (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
    (simple(b"Background saving started"), b"+Background saving started\r\n", None),
    (integer(0), b":0\r\n", None),
    (integer(-1), b":-1\r\n", None),
    (integer(4095), b":4095\r\n", None),
    (integer(4096), b":4096\r\n", None),
    (integer(-(2**63)), b":-9223372036854775808\r\n", None),
    (bulk(b""), b"$0\r\n\r\n", None),
    (bulk(b"a\r\nb\0"), b"$5\r\na\r\nb\0\r\n", None),
    (bulk(bytearray(b"abc")), b"$3\r\nabc\r\n", None),
    (bulk(LONG[1:]), b"$4095\r\n%b\r\n" % LONG[1:], None),
    (bulk(LONG), b"$4096\r\n%b\r\n" % LONG, None),
    (bulk(bytearray(LONG)), b"$4096\r\n%b\r\n" % LONG, None),
    (array([]), b"*0\r\n", None),
    (array([ONE, bulk(b"a")]), b"*2\r\n:1\r\n$1\r\na\r\n", None),
    (array((ONE,)), b"*1\r\n:1\r\n", None),
    (array(iter([ONE, ZERO])), b"*2\r\n:1\r\n:0\r\n", None),
    (array([NULL, NULL_ARRAY]), b"*2\r\n$-1\r\n*-1\r\n", b"*2\r\n_\r\n_\r\n"),
    (array([array([NULL])]), b"*1\r\n*1\r\n$-1\r\n", b"*1\r\n*1\r\n_\r\n"),
    (bulk_array([]), b"*0\r\n", None),
    (bulk_array([b"a", b""]), b"*2\r\n$1\r\na\r\n$0\r\n\r\n", None),
    (map_reply([]), b"*0\r\n", b"%0\r\n"),
    (
        member_and_score(b"m", 1.5),
        b"*2\r\n$1\r\nm\r\n$3\r\n1.5\r\n",
        b"*2\r\n$1\r\nm\r\n,1.5\r\n",
    ),
    (
        map_reply([(bulk(b"a"), ONE), (bulk(b"b"), NULL)]),
        b"*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n$-1\r\n",
        b"%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n_\r\n",
    ),
    (set_reply([]), b"*0\r\n", b"~0\r\n"),
    (set_reply([bulk(b"a"), NULL]), b"*2\r\n$1\r\na\r\n$-1\r\n", b"~2\r\n$1\r\na\r\n_\r\n"),
    (
        push([bulk(b"message"), bulk(b"c"), bulk(b"m")]),
        b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n",
        b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n",
    ),
    (double(1.5), b"$3\r\n1.5\r\n", b",1.5\r\n"),
    (double(3.0), b"$1\r\n3\r\n", b",3\r\n"),
    (double(-0.0), b"$2\r\n-0\r\n", b",-0\r\n"),
    (double(float("inf")), b"$3\r\ninf\r\n", b",inf\r\n"),
    (double(float("-inf")), b"$4\r\n-inf\r\n", b",-inf\r\n"),
    (double(float("nan")), b"$3\r\nnan\r\n", b",nan\r\n"),
    (scored([], []), b"*0\r\n", b"*0\r\n"),
    (
        scored([b"a", b"bc"], [1.0, -0.5]),
        b"*4\r\n$1\r\na\r\n$1\r\n1\r\n$2\r\nbc\r\n$4\r\n-0.5\r\n",
        b"*2\r\n*2\r\n$1\r\na\r\n,1\r\n*2\r\n$2\r\nbc\r\n,-0.5\r\n",
    ),
    (
        scored([b"a"], [2.0], nested=True),
        b"*1\r\n*2\r\n$1\r\na\r\n$1\r\n2\r\n",
        b"*1\r\n*2\r\n$1\r\na\r\n,2\r\n",
    ),
    (boolean(True), b":1\r\n", b"#t\r\n"),
    (boolean(False), b":0\r\n", b"#f\r\n"),
    (verbatim(b""), b"$0\r\n\r\n", b"=4\r\ntxt:\r\n"),
    (verbatim(b"a\nb"), b"$3\r\na\nb\r\n", b"=7\r\ntxt:a\nb\r\n"),
    (verbatim(b"# a", b"mkd"), b"$3\r\n# a\r\n", b"=7\r\nmkd:# a\r\n"),
]


@pytest.mark.parametrize(("reply", "resp2", "resp3"), REPLIES, ids=range(len(REPLIES)))
def test_encodings(reply: Reply, resp2: bytes, resp3: bytes | None) -> None:
    assert encode(reply, 2) == resp2
    assert encode(reply, 3) == (resp2 if resp3 is None else resp3)
    assert (resp3 is None) or isinstance(reply, Node), "bytes are the same in both"


@pytest.mark.parametrize("count", [0, 1, 15, 16, 40])
@pytest.mark.parametrize("sizes", [(3,), (0,), (3, 3, 4, 3), (1, 4095), (4096,), (5000, 2)])
def test_many_bulks(count: int, sizes: tuple[int, ...]) -> None:
    items = [bytes([65 + n]) * sizes[n % len(sizes)] for n in range(count)]
    assert bulk_list(items) == b"*%d\r\n" % count + b"".join(map(bulk, items))


def test_a_map_template_is_a_map() -> None:
    keys = [b"plain", b"", b"100%b", LONG, b"\r\n"]
    template = MapTemplate(keys)
    values = [(b"v" * size, b"%d", b"", b"\xff" * (size % 3), b"x") for size in range(20)]
    values.append((LONG, b"", LONG + LONG, b"a", b"b"))
    for row in values * 2:  # known lengths, and too many of them
        pairs = [(bulk(key), bulk(value)) for key, value in zip(keys, row, strict=True)]
        for resp in (2, 3):
            assert encode(template.fill(row), resp) == encode(map_reply(pairs), resp)


def test_a_bulk_does_not_alias_a_buffer() -> None:
    for size in (3, 5000):
        buffer = bytearray(b"a" * size)
        reply = bulk(buffer)
        buffer[0] = ord("b")
        assert type(reply) is bytes
        assert reply == b"$%d\r\n%b\r\n" % (size, b"a" * size)


def test_a_node_can_be_encoded_again() -> None:
    reply = map_reply((bulk(b"%d" % n), set_reply(iter([ONE]))) for n in range(2))
    for resp in (2, 3):
        assert encode(reply, resp) == encode(reply, resp)


def test_an_array_stays_open() -> None:
    reply = array([ONE, NULL])
    assert isinstance(reply, Array)
    assert list(reply.items) == [ONE, NULL]


_leaves = st.one_of(
    st.binary(max_size=8).map(bulk),
    st.integers(-(2**63), 2**63 - 1).map(integer),
    st.floats().map(double),
    st.booleans().map(boolean),
    st.binary(max_size=8).map(verbatim),
    st.sampled_from([NULL, NULL_ARRAY, OK, EMPTY_ARRAY]),
)
_replies: st.SearchStrategy[Any] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(array),
        st.lists(inner, max_size=3).map(set_reply),
        st.lists(inner, max_size=3).map(push),
        st.lists(st.tuples(inner, inner), max_size=2).map(map_reply),
    ),
    max_leaves=10,
)


@given(_replies)
@settings(max_examples=200, deadline=None)
def test_any_reply_is_one_whole_reply(reply: Reply) -> None:
    for resp in (2, 3):
        data = encode(reply, resp)
        stream = io.BytesIO(data)
        assert read_reply(stream) == data
        assert stream.read() == b""
    assert encode(reply, 2)[:1] in (b"+", b":", b"$", b"*"), "RESP2 has no other types"
