"""What is put for an argument: by the command's name and the argument's, else by its type.

Most words are sensible, so that most calls do something; the others lie at the edges of types and
encodings, or are of the wrong type. Nothing here depends on a clock: expire times are absolute and
far away, long ago, or relative and so far that the time between two servers does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

Word = Callable[["Words"], bytes]

INT64_MAX: Final = (1 << 63) - 1
INT64_MIN: Final = -(1 << 63)

EDGE_INTEGERS: Final = tuple(
    b"%d" % (sign * number + by)
    for number in (1 << 7, 1 << 8, 1 << 15, 1 << 16, 1 << 31, 1 << 32, 1 << 53, 1 << 63, 1 << 64)
    for sign in (1, -1)
    for by in (-1, 0, 1)
)
INT64_EDGES: Final = tuple(word for word in EDGE_INTEGERS if INT64_MIN <= int(word) <= INT64_MAX)
NO_INTEGERS: Final = (
    *(b"", b" ", b"-", b"+1", b"01", b" 1", b"1 ", b"1.0", b"1e3", b"0x10", b"ten", b"-0", b"\xff"),
    *(b"1\x00", b"9" * 30, b"nan", b"inf"),
)
DOUBLES: Final = (
    *(b"0", b"1", b"-1", b"1.5", b"-2.25", b"3", b"0.1", b"100", b"1e3", b"2.5e-3", b"17"),
    *(b"3.14159265358979", b"0.30000000000000004", b"-0", b"5.", b".5", b"+2", b"0x10"),
    *(b"inf", b"-inf", b"+inf", b"Infinity", b"1e300", b"-1e300", b"1e-300", b"4.9e-324", b"1e17"),
    *(b"9007199254740993", b"12345678901234567890", b"1e308", b"-1.7976931348623157e308"),
)
NO_DOUBLES: Final = (
    *(b"nan", b"-nan", b"", b" 1", b"1 ", b"1e", b"x", b"1.5.2", b"\xff", b"1e5000", b"1,5", b"(1"),
    *(b"0x", b"--1", b"1\x00"),
)
BINARY: Final = (
    b"",
    b"\x00",
    b"\r\n",
    b"a\r\nb",
    b"\xff\xfe\x00\x80",
    b"+OK\r\n",
    b"#TS:1\r\n",
    b"\xc3",
)
LONG: Final = tuple(b"m" * size for size in (63, 64, 65, 70, 127, 300))
PATTERNS: Final = (
    *(b"*", b"*", b"{t}*", b"?", b"[a-e]*", b"[^a]*", b"*a*", b"1*", b"\\*", b"", b"a", b"*\x00*"),
    *(b"{*}?", b"[", b"[]", b"**", b"h*llo"),
)
STREAM_NAMES: Final = (b"g1", b"g2", b"g3")
CONSUMERS: Final = (b"c1", b"c2", b"c3")
NO_TIMES: Final = (
    *(b"9223372036854775807", b"-9223372036854775808", b"", b"x", b"1.5", b"9" * 30),
)
LATER_S: Final = 9_999_999_999  # in the year 2286


class Words:
    """A source of words for one script: its random numbers, and how far its streams have come.

    Attributes:
        random: the only source of chance.
        id_ms: about the greatest stream id given so far; it grows with every `next_id`.
        added: the greatest number of entries that a stream of a log is said to have had.
        payloads: serialized values for RESTORE.
        clean: whether every word is one that its command can read.
        flat: whether all scores are equal, so that ranges of members mean something.
        logged: whether the log is read again, so that nothing may be said that it cannot tell.
    """

    def __init__(self, random: Random, payloads: Sequence[bytes], *, logged: bool = False) -> None:
        self.random = random
        self.id_ms = 1
        self.added = 0
        self.payloads = payloads
        self.clean = False
        self.flat = False
        self.logged = logged

    def for_argument(self, command: str, name: str, kind: str) -> bytes:
        """Return a word for an argument; command and name in lower case, kind as in COMMAND DOCS.

        Without a word for its name, an argument of type string is a member or a value.
        """
        word = (
            BY_COMMAND.get((command, name))
            or BY_NAME.get(name)
            or BY_KIND.get(kind)
            or Words.member
        )
        return word(self)

    def chance(self, share: float) -> bool:
        """Return True in this share of the cases."""
        return self.random.random() < share

    def wrong(self, share: float = 0.2) -> bool:
        """Return True in this share of the cases, but never while words are to be clean."""
        return not self.clean and self.random.random() < share

    def choice(self, words: Sequence[bytes], wrong: Sequence[bytes]) -> bytes:
        """Return one of the words, at times one of the wrong ones."""
        return self.random.choice(wrong if self.wrong() else words)

    # -- values ------------------------------------------------------------------------------------

    def member(self) -> bytes:
        """Return an element, member, field or value: mostly one of a few."""
        random = self.random
        dice = random.random()
        if dice < 0.5:
            return random.choice(b"a b c d e f g h i j k l".split())
        if dice < 0.75:
            return b"%d" % random.randint(-3, 20)
        if dice < 0.81:
            return b"m%d" % random.randint(0, 400)
        if dice < 0.87:
            return random.choice(EDGE_INTEGERS)
        if dice < 0.91:
            return random.choice(DOUBLES)
        if dice < 0.95:
            return random.choice(BINARY)
        if dice < 0.98:
            return random.choice(LONG)
        return random.choice(NO_INTEGERS)

    def number_or_member(self) -> bytes:
        """Return a value that is often a number."""
        dice = self.random.random()
        if dice < 0.35:
            return b"%d" % self.random.randint(-20, 20)
        if dice < 0.5:
            return self.random.choice(DOUBLES[:10])
        return self.random.choice(INT64_EDGES) if dice < 0.6 else self.member()

    def bytes_value(self) -> bytes:
        """Return a string for the commands on bits and ranges of bytes."""
        random = self.random
        if random.random() < 0.4:
            return self.member()
        return random.randbytes(random.choice((1, 2, 3, 8, 9, 40)))

    # -- numbers -----------------------------------------------------------------------------------

    def integer(self) -> bytes:
        """Return an integer, small ones first."""
        if self.wrong():
            return self.random.choice(NO_INTEGERS)
        if self.chance(0.85):
            return b"%d" % self.random.randint(-5, 12)
        return self.random.choice(INT64_EDGES if self.clean else EDGE_INTEGERS)

    def index(self) -> bytes:
        """Return an index from either end."""
        if self.chance(0.5):
            return self.random.choice((b"0", b"0", b"-1", b"-1", b"1", b"2", b"-2"))
        return b"%d" % self.random.randint(-15, 15) if self.chance(0.8) else self.integer()

    def count(self) -> bytes:
        """Return how many: from none to more than there are."""
        if self.clean or self.chance(0.85):
            return b"%d" % self.random.choice((1, 1, 2, 3, 4, 5, 10, 100))
        return b"0" if self.chance(0.3) else self.integer()

    def picks(self) -> bytes:
        """Return a count of random picks, of which a negative one may repeat elements."""
        words = (b"1", b"2", b"3", b"5", b"8", b"1000000", b"0", b"-1", b"-3", b"-6")
        return self.choice(words, (b"9223372036854775807", b"-9223372036854775808", *NO_INTEGERS))

    def double(self) -> bytes:
        """Return a double: a score, an increment."""
        if self.flat:
            return b"0"
        if self.wrong():
            return self.random.choice(NO_DOUBLES)
        if self.chance(0.6):
            return b"%d" % self.random.randint(-5, 20)
        return self.random.choice(DOUBLES)

    def weight(self) -> bytes:
        """Return a weight of ZUNION and its kind."""
        return self.choice((b"1", b"2", b"0", b"-1", b"0.5", b"3", b"inf", b"-inf"), NO_DOUBLES)

    # -- offsets into strings: what Redis would accept is kept small, or every script had 512 MB ---

    def byte_offset(self) -> bytes:
        """Return an offset of SETRANGE."""
        words = (b"0", b"1", b"2", b"5", b"10", b"%d" % self.random.randint(0, 120))
        return self.choice(words, (b"-1", b"536870912", b"9223372036854775807", b"", b"x", b"1.5"))

    def bit_offset(self) -> bytes:
        """Return an offset of SETBIT and GETBIT."""
        words = (b"0", b"7", b"8", b"15", b"100", b"%d" % self.random.randint(0, 300))
        return self.choice(words, (b"-1", b"4294967296", b"9223372036854775808", b"", b"x", b"#1"))

    def field_offset(self) -> bytes:
        """Return an offset of BITFIELD, in bits or as `#` in fields."""
        if self.chance(0.3):
            return b"#%d" % self.random.randint(0, 8)
        return self.bit_offset()

    def field_type(self) -> bytes:
        """Return a type of BITFIELD."""
        if self.wrong():
            return self.random.choice(
                (b"u64", b"i65", b"i0", b"u0", b"x8", b"i", b"", b"I8", b"u8x", b"i-1")
            )
        bits = self.random.choice((1, 2, 4, 5, 8, 8, 16, 31, 32, 33, 62, 63))
        return self.random.choice((b"i64", b"i%d" % bits, b"u%d" % bits, b"u%d" % bits))

    def bit(self) -> bytes:
        """Return a bit, or what is none."""
        return self.choice((b"0", b"1"), (b"2", b"-1", b"x", b"01"))

    # -- times -------------------------------------------------------------------------------------

    def relative_s(self) -> bytes:
        """Return seconds from now: hours at least, no two alike (GT and LT compare them)."""
        return self._relative(1)

    def relative_ms(self) -> bytes:
        """Return milliseconds from now; see `relative_s`."""
        return self._relative(1000)

    def absolute_s(self) -> bytes:
        """Return a time in seconds since the epoch, far away or long ago."""
        return self._absolute(1)

    def absolute_ms(self) -> bytes:
        """Return a time in milliseconds since the epoch, far away or long ago."""
        return self._absolute(1000)

    def restore_ttl(self) -> bytes:
        """Return a ttl of RESTORE: mostly none, else far away (or long ago, with ABSTTL)."""
        return b"0" if self.chance(0.6) else self.relative_ms()

    def _relative(self, unit: int) -> bytes:
        if self.wrong():
            return self.random.choice(NO_TIMES)
        if self.chance(0.9):
            return b"%d" % (self.random.randint(50_000, 90_000_000) * unit)
        return self.random.choice((b"0", b"-1", b"-1000000"))

    def _absolute(self, unit: int) -> bytes:
        if self.wrong():
            return self.random.choice(NO_TIMES)
        if self.chance(0.9):
            return b"%d" % ((LATER_S + self.random.randint(0, 9)) * unit)
        return self.random.choice((b"1", b"0", b"-1", b"1000"))

    def timeout_s(self) -> bytes:
        """Return a timeout of a blocking command: never long, never for ever."""
        words = (b"0.001", b"0.001", b"0.002", b".005", b"0.01")
        return self.choice(words, (b"-1", b"x", b"inf", b"", b"1e300"))

    def timeout_ms(self) -> bytes:
        """Return a BLOCK of XREAD: never long, never for ever."""
        return self.choice((b"1", b"2", b"3"), (b"-1", b"x", b"1.5", b""))

    # -- ranges of sorted sets ---------------------------------------------------------------------

    def score_bound(self) -> bytes:
        """Return a bound of a range of scores."""
        if self.chance(0.3):
            return self.random.choice((b"-inf", b"+inf", b"inf"))
        return b"(" + self.double() if self.chance(0.3) else self.double()

    def lex_bound(self) -> bytes:
        """Return a bound of a range of members."""
        if self.wrong():
            return self.random.choice((b"", b"a", b"--", b"+a", b"1"))
        if self.chance(0.3):
            return self.random.choice((b"-", b"+"))
        return self.random.choice((b"[", b"(")) + self.member()

    def any_bound(self) -> bytes:
        """Return a bound of ZRANGE: which kind depends on an option."""
        return self.random.choice((Words.index, Words.index, Words.score_bound, Words.lex_bound))(
            self
        )

    # -- streams -----------------------------------------------------------------------------------

    def next_id(self) -> bytes:
        """Return an id for XADD: nearly always above those given before."""
        if self.wrong():
            return self.random.choice((b"0-0", b"x", b"1-", b"-1-1", b"5-x", b"", b"$", b"+"))
        if self.chance(0.03):
            return self.old_id()
        if self.chance(0.2):
            return b"%d-*" % self.id_ms
        self.id_ms += self.random.choice((0, 1, 1, 2))
        sequence = self.random.choice((0, 1, 2, 3, 300))
        return b"%d" % self.id_ms if sequence == 0 else b"%d-%d" % (self.id_ms, sequence)

    def old_id(self) -> bytes:
        """Return an id that may have been given."""
        if self.wrong():
            return self.random.choice(
                (b"x", b"-1-1", b"1-", b"1-1-1", b"", b"18446744073709551616-0", b"+", b"-", b"$")
            )
        ms = max(0, self.id_ms - self.random.choice((0, 0, 1, 2, 3, 5, 10, 30, 100)))
        if self.chance(0.4):
            return b"%d" % ms
        if self.chance(0.9):
            return b"%d-%d" % (ms, self.random.choice((0, 1, 1, 2, 3, 300)))
        return self.random.choice(
            (b"0", b"0-0", b"0-1", b"18446744073709551615-18446744073709551615")
        )

    def range_id(self) -> bytes:
        """Return a bound of XRANGE."""
        dice = self.random.random()
        if dice < 0.4:
            return self.random.choice((b"-", b"+"))
        if dice < 0.55:
            return b"(" + self.old_id()
        return self.old_id()

    def read_id(self) -> bytes:
        """Return an id of XREAD."""
        return self.random.choice((b"$", b"0", b"+")) if self.chance(0.4) else self.old_id()

    def group_read_id(self) -> bytes:
        """Return an id of XREADGROUP."""
        return b">" if self.chance(0.7) else self.random.choice((b"0", b"$", self.old_id()))

    def entries_added(self) -> bytes:
        """Return how many entries a stream is said to have had; Redis's counters go round at 64
        bits. In a log ever more: else a group has read more than there were, see `entries_read`.
        """
        words = [b"0", b"1", b"2", b"3", b"5", b"10", b"1000000"]
        if self.logged:
            self.added += 1_000_000
            words = [b"%d" % self.added]
        return self.choice(words, (b"-1", b"-2", b"x"))

    def entries_read(self) -> bytes:
        """Return how many of them a group is said to have read. More than there were would be less
        when it comes back from the log, as in Redis.
        """
        words = (b"0", b"-1") if self.logged else (b"0", b"-1", b"1", b"2", b"3", b"5", b"1000000")
        return self.choice(words, (b"-2", b"x", b""))

    def idle_ms(self) -> bytes:
        """Return an idle time: passed by all, or by none."""
        return self.choice((b"0", b"0", b"0", b"1000000000"), (b"-1", b"x"))

    def threshold(self) -> bytes:
        """Return what XTRIM keeps: a length or an id."""
        return self.random.choice((Words.count, Words.old_id))(self)

    def group(self) -> bytes:
        """Return the name of a consumer group."""
        return STREAM_NAMES[self.random.choice((0, 0, 0, 1, 1, 2))]

    def consumer(self) -> bytes:
        """Return the name of a consumer."""
        return self.random.choice(CONSUMERS)

    # -- others ------------------------------------------------------------------------------------

    def place(self) -> bytes:
        """Return a member of a geo index: of so few that a search by member finds it."""
        return self.random.choice(b"a b c d e f g h 1 2 3 4 -1 1.5".split())

    def longitude(self) -> bytes:
        """Return a longitude: mostly near Sicily."""
        return self._coordinate(13.361389, 180.0)

    def latitude(self) -> bytes:
        """Return a latitude: mostly near Sicily."""
        return self._coordinate(38.115556, 85.05112878)

    def _coordinate(self, near: float, edge: float) -> bytes:
        if self.wrong():
            return self.random.choice((b"%.4f" % (edge + 1), *NO_DOUBLES))
        if self.chance(0.6):
            return b"%.6f" % (near + self.random.uniform(-2, 2))
        if self.chance(0.6):
            return b"%.4f" % self.random.uniform(-edge, edge)
        return b"%.10g" % self.random.choice((0, edge, -edge, near, edge - 1e-6))

    def radius(self) -> bytes:
        """Return a radius, width or height."""
        words = (b"0", b"1", b"100", b"200", b"1000.5", b"50000", b"1e7", b"1e300")
        return self.choice(words, (b"-1", *NO_DOUBLES))

    def pattern(self) -> bytes:
        """Return a glob."""
        return self.random.choice(PATTERNS)

    def sort_by(self) -> bytes:
        """Return a BY of SORT; keys of one hash tag."""
        return self.random.choice((b"nosort", b"{t}*", b"{t}w*", b"{t}h->*", b"{t}*->a", b"#"))

    def sort_get(self) -> bytes:
        """Return a GET of SORT; keys of one hash tag."""
        return self.random.choice((b"#", b"{t}*", b"{t}w*", b"{t}h->*", b"{t}*->a", b"{t}*->"))

    def cursor(self) -> bytes:
        """Return a cursor: mostly the one a scan starts with."""
        return self.choice((b"0",), (b"5", b"x", b"-1", b"", b" 0", b"18446744073709551616", b"00"))

    def database(self) -> bytes:
        """Return the number of a database."""
        return self.choice((b"0", b"1", b"1", b"1", b"2"), (b"16", b"-1", b"x"))

    def payload(self) -> bytes:
        """Return a serialized value for RESTORE, sometimes a damaged one."""
        if not self.wrong():
            return self.random.choice(self.payloads)
        payload = self.random.choice((*self.payloads, b"", b"x", b"\x00" * 20))
        at = self.random.randint(0, len(payload))
        return payload[:at] + self.random.choice((b"", b"\x00", payload[at + 1 :]))

    def type_name(self) -> bytes:
        """Return a TYPE of SCAN."""
        return self.random.choice(
            (b"string", b"list", b"set", b"hash", b"zset", b"stream", b"STRING", b"x")
        )

    def pfdebug(self) -> bytes:
        """Return a subcommand of PFDEBUG."""
        return self.random.choice((b"getreg", b"decode", b"encoding", b"todense", b"x"))

    def junk(self) -> bytes:
        """Return a word that does not belong."""
        return self.random.choice(
            (Words.member, Words.integer, Words.double, Words.range_id, Words.lex_bound)
        )(self)


BY_KIND: Final[dict[str, Word]] = {
    "integer": Words.integer,
    "double": Words.double,
    "pattern": Words.pattern,
    "unix-time": Words.absolute_ms,
}
BY_NAME: Final[dict[str, Word]] = {
    "seconds": Words.relative_s,
    "milliseconds": Words.relative_ms,
    "unix-time-seconds": Words.absolute_s,
    "unix-time-milliseconds": Words.absolute_ms,
    "timeout": Words.timeout_s,
    "start": Words.index,
    "end": Words.index,
    "stop": Words.index,
    "index": Words.index,
    "count": Words.count,
    "limit": Words.count,
    "num-matches": Words.count,
    "len": Words.count,
    "rank": Words.index,
    "score": Words.double,
    "weight": Words.weight,
    "bit": Words.bit,
    "encoding": Words.field_type,
    "cursor": Words.cursor,
    "id": Words.old_id,
    "last-id": Words.next_id,
    "lastid": Words.old_id,
    "max-deleted-id": Words.old_id,
    "entries-added": Words.entries_added,
    "entriesread": Words.entries_read,
    "group": Words.group,
    "consumer": Words.consumer,
    "min-idle-time": Words.idle_ms,
    "ms": Words.idle_ms,
    "threshold": Words.threshold,
    "longitude": Words.longitude,
    "latitude": Words.latitude,
    "radius": Words.radius,
    "width": Words.radius,
    "height": Words.radius,
    "destination-db": Words.database,
    "db": Words.database,
    "serialized-value": Words.payload,
    "type": Words.type_name,
    "by-pattern": Words.sort_by,
    "get-pattern": Words.sort_get,
}
BY_COMMAND: Final[dict[tuple[str, str], Word]] = {
    **dict.fromkeys(
        [
            (name, "value")
            for name in ("set", "setnx", "mset", "getset", "hset", "hsetnx", "hsetex")
        ],
        Words.number_or_member,
    ),
    **dict.fromkeys(
        [
            (command, name)
            for command in (
                *("geoadd", "geodist", "geohash", "geopos", "geosearch", "geosearchstore"),
                *("georadiusbymember", "georadiusbymember_ro"),
            )
            for name in ("member", "member1", "member2")
        ],
        Words.place,
    ),
    ("append", "value"): Words.bytes_value,
    ("setrange", "offset"): Words.byte_offset,
    ("setrange", "value"): Words.bytes_value,
    ("setbit", "offset"): Words.bit_offset,
    ("setbit", "value"): Words.bit,
    ("getbit", "offset"): Words.bit_offset,
    ("bitfield", "offset"): Words.field_offset,
    ("bitfield_ro", "offset"): Words.field_offset,
    ("spop", "count"): Words.picks,
    ("srandmember", "count"): Words.picks,
    ("hrandfield", "count"): Words.picks,
    ("zrandmember", "count"): Words.picks,
    ("zincrby", "increment"): Words.double,
    ("zcount", "min"): Words.score_bound,
    ("zcount", "max"): Words.score_bound,
    ("zrangebyscore", "min"): Words.score_bound,
    ("zrangebyscore", "max"): Words.score_bound,
    ("zrevrangebyscore", "min"): Words.score_bound,
    ("zrevrangebyscore", "max"): Words.score_bound,
    ("zremrangebyscore", "min"): Words.score_bound,
    ("zremrangebyscore", "max"): Words.score_bound,
    ("zlexcount", "min"): Words.lex_bound,
    ("zlexcount", "max"): Words.lex_bound,
    ("zrangebylex", "min"): Words.lex_bound,
    ("zrangebylex", "max"): Words.lex_bound,
    ("zrevrangebylex", "min"): Words.lex_bound,
    ("zrevrangebylex", "max"): Words.lex_bound,
    ("zremrangebylex", "min"): Words.lex_bound,
    ("zremrangebylex", "max"): Words.lex_bound,
    ("zrange", "start"): Words.any_bound,
    ("zrange", "stop"): Words.any_bound,
    ("zrangestore", "min"): Words.any_bound,
    ("zrangestore", "max"): Words.any_bound,
    ("xadd", "id"): Words.next_id,
    ("xread", "id"): Words.read_id,
    ("xread", "milliseconds"): Words.timeout_ms,
    ("xreadgroup", "id"): Words.group_read_id,
    ("xreadgroup", "milliseconds"): Words.timeout_ms,
    ("xrange", "start"): Words.range_id,
    ("xrange", "end"): Words.range_id,
    ("xrevrange", "start"): Words.range_id,
    ("xrevrange", "end"): Words.range_id,
    ("xpending", "start"): Words.range_id,
    ("xpending", "end"): Words.range_id,
    ("xautoclaim", "start"): Words.old_id,
    ("xclaim", "count"): Words.count,
    ("xclaim", "unix-time-milliseconds"): Words.absolute_ms,
    ("restore", "ttl"): Words.restore_ttl,
    ("pfdebug", "subcommand"): Words.pfdebug,
}
