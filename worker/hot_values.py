"""The hottest commands of the data types, fused as those of strings are.

What `worker/hot.py` says holds here too, but for one thing: what is out of the ordinary, and yet
ours, goes the short way (`worker/direct.py`), and so do both ends of a key's life: a command here
neither makes nor deletes a key. tests/unit/test_hot_values.py holds each equal to its plain twin.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from shoal.proto.numbers import parse_double
from shoal.proto.replies import BULK_HEADERS, CRLF, INTEGERS, NULL, ONE, ZERO
from shoal.proto.slots import key_slot
from shoal.worker.aof import Segment
from shoal.worker.direct import BIG_REPLY, Answer
from shoal.worker.keyspace import Database, Store
from shoal.worker.values.geohash import encode, plain_position
from shoal.worker.values.hash import Hash
from shoal.worker.values.hyperloglog import HyperLogLog
from shoal.worker.values.list import List
from shoal.worker.values.set import Set
from shoal.worker.values.sorted_set import SortedSet
from shoal.worker.values.string import String

READS: Final = (b"HGET", b"HGETALL", b"SISMEMBER", b"ZSCORE")
WRITES: Final = (
    *(b"LPUSH", b"RPUSH", b"LPOP", b"RPOP", b"SADD", b"SPOP"),
    *(b"HSET", b"ZADD", b"GEOADD", b"SETBIT", b"PFADD"),
)

# Small offsets are looked up, in half the time of reading a number.
_OFFSETS: Final = {b"%d" % offset: offset for offset in range(4096)}

Run = Callable[[list[bytes]], Answer]


class _ListEnd:
    """LPUSH and LPOP, or RPUSH and RPOP.

    Attributes:
        pushes, pops: calls of either, to be counted and reset by the owner.
    """

    __slots__ = ("_index", "_left", "_log", "_pop", "_push", "_write", "pops", "pushes")

    def __init__(
        self,
        left: bool,
        database: Database,
        log: Callable[[int, Sequence[bytes]], None] | None,
        push: Run,
        pop: Run,
    ) -> None:
        self._left = left
        self._index = database.index
        self._write = database.write
        self._log = log
        self._push, self._pop = push, pop  # the short way
        self.pushes = self.pops = 0

    def push(self, argv: list[bytes]) -> Answer:
        """Push one element to a list that never expires."""
        if len(argv) != 3:
            return self._push(argv)
        key = argv[1]
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is not List or value.expire_ms:
            return self._push(argv)
        chain = value.chain
        if chain is None:
            size = value.push_one(argv[2], self._left)
        else:
            size = chain.push(argv[2], self._left)
        self.pushes += 1
        if self._log is not None:
            self._log(self._index, argv)
        return INTEGERS[size] if size < 4096 else b":%d\r\n" % size

    def pop(self, argv: list[bytes]) -> Answer:
        """Pop one of several elements of a list that never expires."""
        if len(argv) != 2:
            return self._pop(argv)
        key = argv[1]
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is not List or value.expire_ms:
            return self._pop(argv)
        chain = value.chain
        element: bytes | None
        if chain is not None and len(chain.nodes) > 2:  # it stays one of several nodes
            element = chain.pop(self._left)
        else:
            popped = value.pop_one(self._left)
            if popped is None:
                return self._pop(argv)
            element = popped
        self.pops += 1
        if self._log is not None:
            self._log(self._index, argv)
        size = len(element)
        if size < BIG_REPLY:
            return BULK_HEADERS[size] + element + CRLF
        return (b"$%d\r\n%b\r\n" % (size, element),)


class HotValues:
    """The fused commands over one database, for one protocol version; see the module's text."""

    def __init__(
        self, store: Store, db: int, resp: int, segment: Segment | None, direct: Mapping[bytes, Run]
    ) -> None:
        """Bind to the tables of a database; `segment` is the log or None, `direct` the short way of
        each command here, by upper-case name.
        """
        database = store.database(db)
        self._store = store
        self._index = db
        self._read = database.read
        self._write = database.write
        self._resp = resp
        self._null = NULL.encode(resp)
        self._log = None if segment is None else segment.log
        left = _ListEnd(True, database, self._log, direct[b"LPUSH"], direct[b"LPOP"])
        right = _ListEnd(False, database, self._log, direct[b"RPUSH"], direct[b"RPOP"])
        self._left, self._right = left, right
        self.lpush, self.lpop, self.rpush, self.rpop = left.push, left.pop, right.push, right.pop
        self._sadd, self._spop = direct[b"SADD"], direct[b"SPOP"]
        self._sismember = direct[b"SISMEMBER"]
        self._hset, self._hget, self._hgetall = direct[b"HSET"], direct[b"HGET"], direct[b"HGETALL"]
        self._zadd, self._geoadd = direct[b"ZADD"], direct[b"GEOADD"]
        self._zscore, self._setbit = direct[b"ZSCORE"], direct[b"SETBIT"]
        self._pfadd = direct[b"PFADD"]
        self._reset_counts()

    def table(self, *, reads: bool, writes: bool) -> dict[bytes, Run]:
        """Return the methods by command name, upper and lower case."""
        table: dict[bytes, Run] = {}
        for name in (READS if reads else ()) + (WRITES if writes else ()):
            table[name] = table[name.lower()] = getattr(self, name.decode().lower())
        return table

    def take_counts(self) -> dict[bytes, int]:
        """Return the calls of each command since the last time, and start again at zero."""
        counts = {
            b"lpush": self._left.pushes,
            b"rpush": self._right.pushes,
            b"lpop": self._left.pops,
            b"rpop": self._right.pops,
            b"sadd": self._sadds,
            b"spop": self._spops,
            b"hset": self._hsets,
            b"zadd": self._zadds,
            b"geoadd": self._geoadds,
            b"setbit": self._setbits,
            b"pfadd": self._pfadds,
            b"hget": self._hgets,
            b"hgetall": self._hgetalls,
            b"sismember": self._sismembers,
            b"zscore": self._zscores,
        }
        reads = self._hgets + self._hgetalls + self._sismembers + self._zscores
        store = self._store
        store.hits += reads - self._misses
        store.misses += self._misses
        store.dirty_total += sum(counts.values()) - reads - self._vain
        for end in (self._left, self._right):
            end.pushes = end.pops = 0
        self._reset_counts()
        return counts

    def _reset_counts(self) -> None:
        self._sadds = self._spops = self._hsets = self._zadds = self._geoadds = self._setbits = 0
        self._hgets = self._hgetalls = self._sismembers = self._zscores = self._pfadds = 0
        self._vain = self._misses = 0

    # -- reads -------------------------------------------------------------------------------------

    def hget(self, argv: list[bytes]) -> Answer:
        """HGET of a hash without expire times, or of nothing."""
        if len(argv) != 3:
            return None
        _, key, field = argv
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._read[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is Hash:
            if value.expire_ms or (value.extra is not None and value.times is not None):
                return self._hget(argv)
            data = value.get(field)
            if data is not None:
                size = len(data)
                if size >= BIG_REPLY:
                    return self._hget(argv)
                self._hgets += 1
                return BULK_HEADERS[size] + data + CRLF
        elif value is None:
            self._misses += 1
        else:
            return self._hget(argv)
        self._hgets += 1
        return self._null

    def hgetall(self, argv: list[bytes]) -> Answer:
        """HGETALL of a small hash that never expires, after another one of the same fields."""
        if len(argv) != 2:
            return None
        key = argv[1]
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._read[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is not Hash or value.expire_ms:
            return self._hgetall(argv)
        shape = value.shape  # if it has one, its fields do not expire either
        if shape is None or shape.reply is None:
            return self._hgetall(argv)
        self._hgetalls += 1
        reply: bytes = shape.reply.encode(value.data, self._resp)
        return reply if len(reply) < BIG_REPLY else (reply,)

    def sismember(self, argv: list[bytes]) -> Answer:
        """SISMEMBER of a set that never expires, or of nothing."""
        if len(argv) != 3:
            return None
        _, key, member = argv
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._read[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is Set:
            if value.expire_ms:
                return self._sismember(argv)
            self._sismembers += 1
            return ONE if member in value else ZERO
        if value is None:
            self._sismembers += 1
            self._misses += 1
            return ZERO
        return self._sismember(argv)

    def zscore(self, argv: list[bytes]) -> Answer:
        """ZSCORE in RESP2 of an integer in a sorted set that never expires."""
        if len(argv) != 3:
            return None
        _, key, member = argv
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._read[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is not SortedSet or value.expire_ms or self._resp != 2:
            return self._zscore(argv)
        score = value.score(member)
        if score is None:
            self._zscores += 1
            return self._null
        if not 0 < score < 1e15 or score != int(score):
            return self._zscore(argv)
        self._zscores += 1
        digits = b"%d" % score
        return BULK_HEADERS[len(digits)] + digits + CRLF

    # -- writes ------------------------------------------------------------------------------------

    def sadd(self, argv: list[bytes]) -> Answer:
        """SADD of one member to a set that never expires."""
        if len(argv) != 3:
            return self._sadd(argv)
        key = argv[1]
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is not Set or value.expire_ms:
            return self._sadd(argv)
        self._sadds += 1
        value.expect(1)
        if not value.add(argv[2]):
            self._vain += 1
            return ZERO
        if self._log is not None:
            self._log(self._index, argv)
        return ONE

    def spop(self, argv: list[bytes]) -> Answer:
        """SPOP of one of several members of a set that never expires."""
        if len(argv) != 2:
            return self._spop(argv)
        key = argv[1]
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is not Set or value.expire_ms:
            return self._spop(argv)
        member = value.pop_one(self._store.random)
        if member is None:
            return self._spop(argv)
        self._spops += 1
        if self._log is not None:
            self._log(self._index, (b"SREM", key, member))
        size = len(member)
        if size < BIG_REPLY:
            return BULK_HEADERS[size] + member + CRLF
        return (b"$%d\r\n%b\r\n" % (size, member),)

    def hset(self, argv: list[bytes]) -> Answer:
        """HSET of one field of a hash without expire times."""
        if len(argv) != 4:
            return self._hset(argv)
        _, key, field, data = argv
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        value = table.get(key)
        if (
            value.__class__ is not Hash
            or value.expire_ms
            or (value.extra is not None and value.times is not None)
        ):
            return self._hset(argv)
        is_new = value.put(field, data)
        self._hsets += 1
        if self._log is not None:
            self._log(self._index, argv)
        return ONE if is_new else ZERO

    def zadd(self, argv: list[bytes]) -> Answer:
        """ZADD of one member to a sorted set that never expires, without options."""
        if len(argv) != 4:
            return self._zadd(argv)
        _, key, text, member = argv
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is not SortedSet or value.expire_ms:
            return self._zadd(argv)
        # Plain integers are exact; the rest of the grammar is parse_double's.
        score = float(text) if text.isdigit() and len(text) < 16 else parse_double(text)
        if score is None:
            return self._zadd(argv)
        self._zadds += 1
        old = value.put(member, score)
        if old == score:
            self._vain += 1
            return ZERO
        if self._log is not None:
            self._log(self._index, argv)
        return ONE if old is None else ZERO

    def geoadd(self, argv: list[bytes]) -> Answer:
        """GEOADD of one member to a sorted set that never expires, without options."""
        if len(argv) != 5:
            return self._geoadd(argv)
        _, key, longitude, latitude, member = argv
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is not SortedSet or value.expire_ms:
            return self._geoadd(argv)
        position = plain_position(longitude, latitude)
        if position is None:
            return self._geoadd(argv)
        score = encode(*position)
        self._geoadds += 1
        old = value.put(member, score)
        if old == score:
            self._vain += 1
            return ZERO
        if self._log is not None:
            self._log(self._index, (b"zadd", key, b"%d" % score, member))
        return ONE if old is None else ZERO

    def setbit(self, argv: list[bytes]) -> Answer:
        """SETBIT inside of a bitmap that never expires."""
        if len(argv) != 4:
            return self._setbit(argv)
        _, key, offset, bit = argv
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is not String or value.expire_ms:
            return self._setbit(argv)
        at = _OFFSETS.get(offset)
        if at is None:
            if not offset.isdigit() or len(offset) > 10 or offset[0] == 48:
                return self._setbit(argv)
            at = int(offset)
        data: Any = value.data
        byte_at = at >> 3
        if data.__class__ is not bytearray or byte_at >= len(data):
            return self._setbit(argv)
        byte = data[byte_at]
        mask = 128 >> (at & 7)
        if bit == b"1":
            new = byte | mask
        elif bit == b"0":
            new = byte & ~mask
        else:
            return self._setbit(argv)
        self._setbits += 1
        if new == byte:
            self._vain += 1
        else:
            data[byte_at] = new
            if self._log is not None:
                self._log(self._index, argv)
        return ONE if byte & mask else ZERO

    def pfadd(self, argv: list[bytes]) -> Answer:
        """PFADD of one element that changes nothing, as most do, of a string that never expires."""
        if len(argv) != 3:
            return self._pfadd(argv)
        key = argv[1]
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is not String or value.expire_ms:
            return self._pfadd(argv)
        data: Any = value.data
        if data.__class__ is not HyperLogLog or not data.has(argv[2]):
            return self._pfadd(argv)
        self._pfadds += 1
        self._vain += 1
        return ZERO
