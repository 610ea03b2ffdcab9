"""Large values, and the calls whose cost must not grow with them.

A case is a generator of commands: what it yields is measured, what it does between two of them with
`Sized.run` is not. So it can put back what a command took, and the value keeps its size. Used by
tests/unit/test_size.py, which counts, and by loadtests/bench_size.py, which takes the time.
"""

import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from shoal.proto.replies import encode
from shoal.proto.slots import SLOTS
from shoal.worker.commands import load_all
from shoal.worker.keyspace import Keyspace, Store
from shoal.worker.registry import resolve
from support.keyspace import NOW_MS

load_all()

Argv = list[bytes]
# Yields a command, is sent its reply.
Calls = Generator[Argv, bytes, None]

TYPES = ("list", "hash", "set", "zset", "lex", "stream")
"""The kinds of values; `lex` is a sorted set of equal scores, its key as well as its kind."""

FIRST_MS = NOW_MS - 100_000_000
AT_ONCE = 100

GROUP, READERS = b"all", b"readers"
"""Consumer groups of the stream: everything is pending in the one; the other goes on reading."""


class Sized:
    """A partition with values of a given number of elements, the key of each being its kind.

    Attributes:
        size: number of elements.
        random: what the cases choose with.
        ids: IDs of the stream's entries, as they are now, in any order.
    """

    def __init__(self, size: int, seed: int = 1) -> None:
        self.store = Store(range(SLOTS), 16, Random(seed))
        self.store.now_ms = NOW_MS
        self.size = size
        self.random = Random(seed)
        self.ids: Argv = []

    @property
    def ks(self) -> Keyspace:
        """The view of the database."""
        return self.store.view(0)

    def value(self, kind: str) -> Any:
        """Return the value object of a kind."""
        return self.ks.find(kind.encode())

    def run(self, *argv: bytes) -> bytes:
        """Run a command; return its reply. Raises: ReplyError, which no case expects."""
        handler, args = prepare(list(argv))
        self.store.dirty, self.store.effects = 0, None
        return call(handler, self.ks, args)

    def fill(self, kind: str) -> None:
        """Make the value of a kind."""
        for argv in fill(kind, self.size):
            self.run(*argv)
        self.take_ids(kind)

    def take_ids(self, kind: str) -> None:
        """Note the IDs of a stream that was just filled."""
        if kind == "stream":
            self.ids = [_entry_id(at) for at in range(self.size)]

    def pick(self) -> int:
        """Choose one of the elements that were there at first."""
        return self.random.randrange(self.size)

    def word(self) -> bytes:
        """Return a word of 7 digits that none of the elements has."""
        return b"+%06d" % self.random.randrange(1_000_000)


def prepare(argv: Argv) -> tuple[Callable[..., Any], Argv]:
    """Return a command's handler, and its arguments."""
    command = resolve(argv)
    return command.handler, argv[command.skip :]


def call(handler: Callable[..., Any], ks: Keyspace, args: Argv) -> bytes:
    """Call a handler; return its reply, encoded."""
    reply = handler(ks, *args)
    return reply if reply.__class__ is bytes else encode(reply, 2)


def fill(kind: str, size: int, at_once: int = AT_ONCE) -> Iterator[Argv]:
    """Yield the commands that make a value of `size` elements, so many in each (a stream's entries
    come one by one).
    """
    key = kind.encode()
    if kind == "stream":
        for at in range(size):
            yield [b"XADD", key, _entry_id(at), b"field", b"value:%07d" % at]
        for group in (GROUP, READERS):
            yield [b"XGROUP", b"CREATE", key, group, b"0"]
        for _ in range(0, size, AT_ONCE):
            yield [
                *(b"XREADGROUP", b"GROUP", GROUP, b"c", b"COUNT", b"%d" % AT_ONCE),
                *(b"STREAMS", key, b">"),
            ]
        return
    name, element = _ELEMENTS[kind]
    for start in range(0, size, at_once):
        several = range(start, min(start + at_once, size))
        yield [name, key, *[word for at in several for word in element(at, size)]]


def _score(at: int, size: int) -> int:
    # In an order that is neither that of the scores nor that of the members: 7919 is prime.
    return at * 7919 % size


def _member(at: int) -> bytes:
    return b"member:%07d" % at


_ELEMENTS: dict[str, tuple[bytes, Callable[[int, int], Argv]]] = {
    "list": (b"RPUSH", lambda at, _: [b"element:%07d" % at]),
    "hash": (b"HSET", lambda at, _: [b"field:%07d" % at, b"value:%07d" % at]),
    "set": (b"SADD", lambda at, _: [_member(at)]),
    "zset": (b"ZADD", lambda at, size: [b"%d" % _score(at, size), _member(at)]),
    "lex": (b"ZADD", lambda at, _: [b"0", _member(at)]),
}


def _entry_id(at: int) -> bytes:
    return b"%d-0" % (FIRST_MS + at)


def bulks_of(reply: bytes) -> Argv:
    """Return the bulk strings of a reply; none of them has a line break."""
    return re.findall(rb"\$\d+\r\n(.*?)\r\n", reply)


@dataclass(frozen=True)
class Case:
    """One command in one situation.

    complexity: what Redis's documentation says of it, N being the size of the value and M that of
        the reply.
    """

    kind: str
    name: str
    complexity: str
    calls: Callable[[Sized], Calls]


CASES: list[Case] = []


def _case(kind: str, name: str, complexity: str) -> Callable[[Callable[[Sized], Calls]], None]:
    def add(calls: Callable[[Sized], Calls]) -> None:
        CASES.append(Case(kind, name, complexity, calls))

    return add


def _repeat(kind: str, name: str, complexity: str, *words: bytes) -> None:
    """Add a case of one and the same command."""

    def calls(at: Sized) -> Calls:
        while True:
            yield list(words)

    CASES.append(Case(kind, name, complexity, calls))


def _put_back(kind: str, name: str, complexity: str, take: Argv, *put: bytes) -> None:
    """Add a case of a command whose reply, a bulk string, goes back by another command."""

    def calls(at: Sized) -> Calls:
        while True:
            reply = yield take
            at.run(*put, *bulks_of(reply))

    CASES.append(Case(kind, name, complexity, calls))


# -- lists -----------------------------------------------------------------------------------------


@_case("list", "LPUSH", "O(1)")
def _lpush(at: Sized) -> Calls:
    while True:
        yield [b"LPUSH", b"list", b"element" + at.word()]
        at.run(b"LPOP", b"list")


@_case("list", "RPUSH", "O(1)")
def _rpush(at: Sized) -> Calls:
    while True:
        yield [b"RPUSH", b"list", b"element" + at.word()]
        at.run(b"RPOP", b"list")


_put_back("list", "LPOP", "O(1)", [b"LPOP", b"list"], b"LPUSH", b"list")
_put_back("list", "RPOP", "O(1)", [b"RPOP", b"list"], b"RPUSH", b"list")
_put_back("list", "LPOP, RPUSH elsewhere", "O(1)", [b"LPOP", b"list"], b"RPUSH", b"list")


@_case("list", "LINDEX random", "O(N)")
def _lindex(at: Sized) -> Calls:
    while True:
        yield [b"LINDEX", b"list", b"%d" % at.pick()]


@_case("list", "LSET random", "O(N)")
def _lset(at: Sized) -> Calls:
    while True:
        yield [b"LSET", b"list", b"%d" % at.pick(), b"element" + at.word()]


_repeat("list", "LRANGE 100 head", "O(S+M)", b"LRANGE", b"list", b"0", b"99")
_repeat("list", "LRANGE 100 tail", "O(S+M)", b"LRANGE", b"list", b"-100", b"-1")


@_case("list", "LRANGE 100 random", "O(S+M)")
def _lrange(at: Sized) -> Calls:
    while True:
        start = at.random.randrange(at.size - 100)
        yield [b"LRANGE", b"list", b"%d" % start, b"%d" % (start + 99)]


def _near_head(at: Sized) -> bytes:
    """Return one of the first 100 elements, which LSET may have replaced."""
    return at.random.choice(bulks_of(at.run(b"LRANGE", b"list", b"0", b"99")))


@_case("list", "LINSERT near the head", "O(N)")
def _linsert(at: Sized) -> Calls:
    while True:
        new = b"new" + at.word()
        yield [b"LINSERT", b"list", b"BEFORE", _near_head(at), new]
        at.run(b"LREM", b"list", b"1", new)


@_case("list", "LREM 1 near the head", "O(N)")
def _lrem(at: Sized) -> Calls:
    while True:
        gone = _near_head(at)
        yield [b"LREM", b"list", b"1", gone]
        at.run(b"LPUSH", b"list", gone)


@_case("list", "LPOS near the head", "O(N)")
def _lpos(at: Sized) -> Calls:
    while True:
        yield [b"LPOS", b"list", _near_head(at)]


@_case("list", "LTRIM of 100 at the head", "O(M)")
def _ltrim_head(at: Sized) -> Calls:
    while True:
        gone = bulks_of(at.run(b"LRANGE", b"list", b"0", b"99"))
        yield [b"LTRIM", b"list", b"100", b"-1"]
        at.run(b"LPUSH", b"list", *reversed(gone))


@_case("list", "LTRIM of 100 at the tail", "O(M)")
def _ltrim_tail(at: Sized) -> Calls:
    while True:
        gone = bulks_of(at.run(b"LRANGE", b"list", b"-100", b"-1"))
        yield [b"LTRIM", b"list", b"0", b"-101"]
        at.run(b"RPUSH", b"list", *gone)


# -- hashes ----------------------------------------------------------------------------------------


@_case("hash", "HSET new", "O(1)")
def _hset_new(at: Sized) -> Calls:
    while True:
        field = b"field" + at.word()
        yield [b"HSET", b"hash", field, b"value:0000000"]
        at.run(b"HDEL", b"hash", field)


@_case("hash", "HSET update", "O(1)")
def _hset(at: Sized) -> Calls:
    while True:
        yield [b"HSET", b"hash", b"field:%07d" % at.pick(), b"value" + at.word()]


@_case("hash", "HGET", "O(1)")
def _hget(at: Sized) -> Calls:
    while True:
        yield [b"HGET", b"hash", b"field:%07d" % at.pick()]


@_case("hash", "HDEL", "O(1)")
def _hdel(at: Sized) -> Calls:
    while True:
        field = b"field:%07d" % at.pick()
        yield [b"HDEL", b"hash", field]
        at.run(b"HSET", b"hash", field, b"value:0000000")


_repeat("hash", "HRANDFIELD", "O(1)", b"HRANDFIELD", b"hash")
_repeat("hash", "HRANDFIELD 10", "O(M)", b"HRANDFIELD", b"hash", b"10")
_repeat("hash", "HRANDFIELD -10", "O(M)", b"HRANDFIELD", b"hash", b"-10")


# -- sets ------------------------------------------------------------------------------------------


@_case("set", "SADD", "O(1)")
def _sadd(at: Sized) -> Calls:
    while True:
        member = b"member" + at.word()
        yield [b"SADD", b"set", member]
        at.run(b"SREM", b"set", member)


@_case("set", "SREM", "O(1)")
def _srem(at: Sized) -> Calls:
    while True:
        member = _member(at.pick())
        yield [b"SREM", b"set", member]
        at.run(b"SADD", b"set", member)


@_case("set", "SISMEMBER", "O(1)")
def _sismember(at: Sized) -> Calls:
    while True:
        yield [b"SISMEMBER", b"set", _member(at.pick())]


_put_back("set", "SPOP", "O(1)", [b"SPOP", b"set"], b"SADD", b"set")
_put_back("set", "SPOP 10", "O(M)", [b"SPOP", b"set", b"10"], b"SADD", b"set")
_repeat("set", "SRANDMEMBER", "O(1)", b"SRANDMEMBER", b"set")
_repeat("set", "SRANDMEMBER 10", "O(M)", b"SRANDMEMBER", b"set", b"10")
_repeat("set", "SRANDMEMBER -10", "O(M)", b"SRANDMEMBER", b"set", b"-10")


# -- sorted sets -----------------------------------------------------------------------------------


@_case("zset", "ZADD new", "O(log N)")
def _zadd_new(at: Sized) -> Calls:
    while True:
        member = b"member" + at.word()
        yield [b"ZADD", b"zset", b"%d" % at.pick(), member]
        at.run(b"ZREM", b"zset", member)


@_case("zset", "ZADD update", "O(log N)")
def _zadd(at: Sized) -> Calls:
    while True:
        yield [b"ZADD", b"zset", b"%d" % at.pick(), _member(at.pick())]


@_case("zset", "ZREM", "O(log N)")
def _zrem(at: Sized) -> Calls:
    while True:
        member = _member(at.pick())
        yield [b"ZREM", b"zset", member]
        at.run(b"ZADD", b"zset", b"%d" % at.pick(), member)


@_case("zset", "ZRANK", "O(log N)")
def _zrank(at: Sized) -> Calls:
    while True:
        yield [b"ZRANK", b"zset", _member(at.pick())]


@_case("zset", "ZSCORE", "O(1)")
def _zscore(at: Sized) -> Calls:
    while True:
        yield [b"ZSCORE", b"zset", _member(at.pick())]


def _ranks(at: Sized) -> Argv:
    start = at.random.randrange(at.size - 10)
    return [b"%d" % start, b"%d" % (start + 9)]


@_case("zset", "ZRANGE 10 random", "O(log N+M)")
def _zrange(at: Sized) -> Calls:
    while True:
        yield [b"ZRANGE", b"zset", *_ranks(at)]


@_case("zset", "ZRANGEBYSCORE LIMIT 0 10", "O(log N+M)")
def _zrangebyscore(at: Sized) -> Calls:
    while True:
        low = b"%d" % at.pick()
        yield [b"ZRANGEBYSCORE", b"zset", low, b"+inf", b"LIMIT", b"0", b"10"]


@_case("zset", "ZCOUNT", "O(log N)")
def _zcount(at: Sized) -> Calls:
    while True:
        yield [b"ZCOUNT", b"zset", b"%d" % at.pick(), b"+inf"]


@_case("zset", "ZPOPMIN", "O(log N)")
def _zpopmin(at: Sized) -> Calls:
    while True:
        reply = yield [b"ZPOPMIN", b"zset"]
        member, score = bulks_of(reply)
        at.run(b"ZADD", b"zset", score, member)


@_case("zset", "ZPOPMIN 10", "O(log N*M)")
def _zpopmin_10(at: Sized) -> Calls:
    while True:
        reply = yield [b"ZPOPMIN", b"zset", b"10"]
        _zadd_back(at, b"zset", bulks_of(reply))


@_case("zset", "ZREMRANGEBYRANK of 10", "O(log N+M)")
def _zremrangebyrank(at: Sized) -> Calls:
    while True:
        ranks = _ranks(at)
        gone = bulks_of(at.run(b"ZRANGE", b"zset", *ranks, b"WITHSCORES"))
        yield [b"ZREMRANGEBYRANK", b"zset", *ranks]
        _zadd_back(at, b"zset", gone)


def _zadd_back(at: Sized, key: bytes, elements: Argv) -> None:
    """Add elements again, of which member and score alternate."""
    pairs = zip(elements[1::2], elements[::2], strict=True)
    at.run(b"ZADD", key, *[word for pair in pairs for word in pair])


_repeat("zset", "ZRANDMEMBER", "O(M)", b"ZRANDMEMBER", b"zset")
_repeat("zset", "ZRANDMEMBER 10", "O(M)", b"ZRANDMEMBER", b"zset", b"10")


@_case("lex", "ZRANGEBYLEX LIMIT 0 10", "O(log N+M)")
def _zrangebylex(at: Sized) -> Calls:
    while True:
        low = b"[" + _member(at.pick())
        yield [b"ZRANGEBYLEX", b"lex", low, b"+", b"LIMIT", b"0", b"10"]


@_case("lex", "ZADD new, equal scores", "O(log N)")
def _zadd_lex(at: Sized) -> Calls:
    while True:
        member = b"member:%07d" % at.pick() + at.word()
        yield [b"ZADD", b"lex", b"0", member]
        at.run(b"ZREM", b"lex", member)


@_case("lex", "ZRANK, equal scores", "O(log N)")
def _zrank_lex(at: Sized) -> Calls:
    while True:
        yield [b"ZRANK", b"lex", _member(at.pick())]


# -- streams ---------------------------------------------------------------------------------------


@_case("stream", "XADD", "O(1)")
def _xadd(at: Sized) -> Calls:
    while True:
        reply = yield [b"XADD", b"stream", b"*", b"field", b"value" + at.word()]
        at.run(b"XDEL", b"stream", *bulks_of(reply))


@_case("stream", "XRANGE COUNT 10 random", "O(M)")
def _xrange(at: Sized) -> Calls:
    while True:
        start = at.random.choice(at.ids)
        yield [b"XRANGE", b"stream", start, b"+", b"COUNT", b"10"]


@_case("stream", "XREVRANGE COUNT 10 random", "O(M)")
def _xrevrange(at: Sized) -> Calls:
    while True:
        end = at.random.choice(at.ids)
        yield [b"XREVRANGE", b"stream", end, b"-", b"COUNT", b"10"]


@_case("stream", "XREADGROUP > COUNT 10", "O(M)")
def _xreadgroup(at: Sized) -> Calls:
    while True:
        start = at.random.choice(at.ids)
        at.run(b"XGROUP", b"SETID", b"stream", READERS, start)
        for _ in range(10):
            reply = yield [
                *(b"XREADGROUP", b"GROUP", READERS, b"c", b"COUNT", b"10"),
                *(b"STREAMS", b"stream", b">"),
            ]
            ids = [word for word in bulks_of(reply) if re.fullmatch(rb"\d+-\d+", word)]
            if ids:
                at.run(b"XACK", b"stream", READERS, *ids)


@_case("stream", "XACK", "O(1)")
def _xack(at: Sized) -> Calls:
    while True:
        entry_id = at.random.choice(at.ids)
        yield [b"XACK", b"stream", GROUP, entry_id]
        at.run(b"XCLAIM", b"stream", GROUP, b"c", b"0", entry_id, b"FORCE", b"JUSTID")


@_case("stream", "XCLAIM", "O(log N)")
def _xclaim(at: Sized) -> Calls:
    while True:
        consumer = at.random.choice((b"c", b"d"))
        yield [b"XCLAIM", b"stream", GROUP, consumer, b"0", at.random.choice(at.ids)]


@_case("stream", "XPENDING, a range of 10", "O(M)")
def _xpending(at: Sized) -> Calls:
    while True:
        yield [b"XPENDING", b"stream", GROUP, at.random.choice(at.ids), b"+", b"10"]


@_case("stream", "XAUTOCLAIM COUNT 10", "O(1)")
def _xautoclaim(at: Sized) -> Calls:
    while True:
        consumer = at.random.choice((b"c", b"d"))
        start = at.random.choice(at.ids)
        yield [b"XAUTOCLAIM", b"stream", GROUP, consumer, b"0", start, b"COUNT", b"10"]


@_case("stream", "XDEL random", "O(1)")
def _xdel(at: Sized) -> Calls:
    while True:
        place = at.random.randrange(len(at.ids))
        yield [b"XDEL", b"stream", at.ids[place]]
        (at.ids[place],) = bulks_of(at.run(b"XADD", b"stream", b"*", b"field", b"value:0000000"))


# The last one: it changes which entries there are.
@_case("stream", "XADD MAXLEN ~", "O(1) and what is trimmed")
def _xadd_maxlen(at: Sized) -> Calls:
    length = b"%d" % at.size
    while True:
        yield [b"XADD", b"stream", b"MAXLEN", b"~", length, b"*", b"field", b"value:0000000"]
