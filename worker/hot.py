"""The dozen hottest commands, each fused into one bound method.

A method takes argv and does everything itself: arity, slot, owner, type, expiry, the change, the
log and the encoded reply. It returns `bytes` when it is done, the key's slot when the key is not
ours (or is closed by a lock), and None when anything is out of the ordinary; the caller then goes
the generic way, which does the same and everything else. So each method is an optimisation of the
plain command of the same name, and nothing but that; tests/unit/test_hot.py holds the two equal.

`Hot` serves one database and one protocol version. Which names a connection finds here depends on
its state: none before AUTH, no writes while the disk fails, and so on (`worker/dispatch.py`).
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from typing import Any, Final

from shoal.proto.replies import (
    BULK_HEADERS,
    CRLF,
    INTEGERS,
    NULL,
    OK,
    ONE,
    PONG,
    ZERO,
)
from shoal.proto.slots import key_slot
from shoal.worker.aof import Segment
from shoal.worker.keyspace import Store

Fused = Callable[[list[bytes]], bytes | int | None]
HotTable = dict[bytes, Fused]

_SHORT: Final = 4096

# Log pieces by length: as much as possible of what stands before a key, and before a value.
_SETS: Final = [b"*3\r\n$3\r\nSET\r\n$%d\r\n" % size for size in range(_SHORT)]
_VALUES: Final = [b"\r\n$%d\r\n" % size for size in range(_SHORT)]
_INCRS: Final = [b"*2\r\n$4\r\nINCR\r\n$%d\r\n" % size for size in range(_SHORT)]
_DECRS: Final = [b"*2\r\n$4\r\nDECR\r\n$%d\r\n" % size for size in range(_SHORT)]
_DELS: Final = [b"*2\r\n$3\r\nDEL\r\n$%d\r\n" % size for size in range(_SHORT)]

# Small counters share their strings, whose hash is known: no parsing, no formatting, less memory.
_DIGITS: Final = [b"%d" % number for number in range(_SHORT)]
_NEXT: Final = {digits: number + 1 for number, digits in enumerate(_DIGITS)}

READS: Final = (b"GET", b"EXISTS", b"TTL", b"PING", b"MGET", b"STRLEN")
WRITES: Final = (b"SET", b"INCR", b"DECR", b"DEL", b"MSET")


class Hot:
    """The fused commands over one database, for one protocol version.

    What they did is counted here and given away by `take_counts`: a sum now and then is cheaper
    than the statistics of the generic way at every call.
    """

    def __init__(self, store: Store, db: int, resp: int, segment: Segment | None) -> None:
        """Bind to the tables of a database; `segment` is the log or None."""
        database = store.database(db)
        self._store = store
        self._db = database
        self._index = db
        self._read = database.read
        self._write = database.write
        self._null = NULL.encode(resp)
        self._segment = segment
        self._pieces: Any = None if segment is None else segment.pieces
        self.gets = self.sets = self.incrs = self.decrs = self.dels = self.exists_calls = 0
        self.ttls = self.pings = self.mgets = self.msets = self.strlens = 0
        self.misses = 0
        self.mget_keys = self.mset_keys = self.vain_dels = 0

    def table(self, *, reads: bool, writes: bool) -> HotTable:
        """Return the methods by command name, upper and lower case."""
        names = (READS if reads else ()) + (WRITES if writes else ())
        table: HotTable = {}
        for name in names:
            method = "delete" if name == b"DEL" else name.decode().lower()
            table[name] = table[name.lower()] = getattr(self, method)
        return table

    def take_counts(self) -> dict[bytes, int]:
        """Return the calls of each command since the last time, and start again at zero."""
        counts = {
            b"get": self.gets,
            b"set": self.sets,
            b"incr": self.incrs,
            b"decr": self.decrs,
            b"del": self.dels,
            b"exists": self.exists_calls,
            b"ttl": self.ttls,
            b"ping": self.pings,
            b"mget": self.mgets,
            b"mset": self.msets,
            b"strlen": self.strlens,
        }
        store = self._store
        looked_up = self.gets + self.exists_calls + self.ttls + self.strlens + self.mget_keys
        store.hits += looked_up - self.misses
        store.misses += self.misses
        deleted = self.dels - self.vain_dels
        store.dirty_total += self.sets + self.incrs + self.decrs + deleted + self.mset_keys
        self.gets = self.sets = self.incrs = self.decrs = self.dels = self.exists_calls = 0
        self.ttls = self.pings = self.mgets = self.msets = self.strlens = 0
        self.misses = self.mget_keys = self.mset_keys = self.vain_dels = 0
        return counts

    # -- reads -------------------------------------------------------------------------------------

    def ping(self, argv: list[bytes]) -> bytes | int | None:
        """PING without an argument."""
        if len(argv) != 1:
            return None
        self.pings += 1
        return PONG

    def get(self, argv: list[bytes]) -> bytes | int | None:
        """GET of a short string that never expires, or of nothing."""
        if len(argv) != 2:
            return None
        key = argv[1]
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._read[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is bytes:
            size = len(value)
            if size >= _SHORT:
                return None  # counted there, so that a client that does not read has to wait
            self.gets += 1
            return BULK_HEADERS[size] + value + CRLF
        if value is None:
            self.gets += 1
            self.misses += 1
            return self._null
        return None

    def strlen(self, argv: list[bytes]) -> bytes | int | None:
        """STRLEN of a string that never expires, or of nothing."""
        if len(argv) != 2:
            return None
        key = argv[1]
        slot = key_slot(key)
        table = self._read[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is bytes:
            self.strlens += 1
            size = len(value)
            return INTEGERS[size] if size < _SHORT else b":%d\r\n" % size
        if value is None:
            self.strlens += 1
            self.misses += 1
            return ZERO
        return None

    def exists(self, argv: list[bytes]) -> bytes | int | None:
        """EXISTS of one key without expire time."""
        if len(argv) != 2:
            return None
        key = argv[1]
        slot = key_slot(key)
        table = self._read[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is bytes:
            self.exists_calls += 1
            return ONE
        if value is None:
            self.exists_calls += 1
            self.misses += 1
            return ZERO
        return None

    def ttl(self, argv: list[bytes]) -> bytes | int | None:
        """TTL of a key with an expire time in the future, of one without, or of nothing."""
        if len(argv) != 2:
            return None
        key = argv[1]
        slot = key_slot(key)
        table = self._read[slot]
        if table is None:
            return slot
        value = table.get(key)
        if value.__class__ is bytes:
            self.ttls += 1
            return b":-1\r\n"
        if value is None:
            self.ttls += 1
            self.misses += 1
            return b":-2\r\n"
        expire_ms = value.expire_ms
        if not expire_ms:
            self.ttls += 1
            return b":-1\r\n"
        left_ms = expire_ms - self._store.now_ms
        if left_ms <= 0:
            return None
        self.ttls += 1
        return b":%d\r\n" % ((left_ms + 500) // 1000)

    def mget(self, argv: list[bytes]) -> bytes | int | None:
        """MGET whose keys are all ours, open, and strings that never expire or missing."""
        count = len(argv) - 1
        if count < 1:
            return None
        read, null = self._read, self._null
        parts: list[bytes] = [b"*%d\r\n" % count]
        missing = 0
        for key in argv[1:]:
            table = read[crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)]
            if table is None:
                return None
            value = table.get(key)
            if value.__class__ is bytes:
                size = len(value)
                if size >= _SHORT:
                    return None
                parts += (BULK_HEADERS[size], value, CRLF)
            elif value is None:
                missing += 1
                parts.append(null)
            else:
                return None
        self.mgets += 1
        self.mget_keys += count
        self.misses += missing
        return b"".join(parts)

    # -- writes ------------------------------------------------------------------------------------

    def set(self, argv: list[bytes]) -> bytes | int | None:
        """SET without options over nothing or over a string that never expires."""
        if len(argv) != 3:
            return None
        key = argv[1]
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        old = table.get(key)
        if old.__class__ is not bytes:
            if old is not None:
                return None
            self._db.size += 1
        value = argv[2]
        table[key] = value
        self.sets += 1
        pieces = self._pieces
        if pieces is not None:
            if self._segment.db != self._index:  # type: ignore[union-attr]  # pieces come from it
                self._segment.select(self._index)  # type: ignore[union-attr]
            size, length = len(key), len(value)
            if size < _SHORT and length < _SHORT:
                pieces += (_SETS[size], key, _VALUES[length], value, CRLF)
            else:
                self._segment.log(self._index, (b"SET", key, value))  # type: ignore[union-attr]
        return OK

    def incr(self, argv: list[bytes]) -> bytes | int | None:
        """INCR of nothing or of a number from zero up that never expires."""
        if len(argv) != 2:
            return None
        key = argv[1]
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        old = table.get(key)
        if old.__class__ is bytes:
            number = _NEXT.get(old)
            if number is None:
                # Canonical and far from overflow; negative numbers take the generic way.
                if not old.isdigit() or old[0] == 48 or len(old) > 18:
                    return None
                number = int(old) + 1
        elif old is None:
            number = 1
            self._db.size += 1
        else:
            return None
        self.incrs += 1
        if self._pieces is not None:
            self._log(_INCRS, key)
        if number < _SHORT:
            table[key] = _DIGITS[number]
            return INTEGERS[number]
        table[key] = new = b"%d" % number
        return b":%b\r\n" % new

    def decr(self, argv: list[bytes]) -> bytes | int | None:
        """DECR of a positive number that never expires."""
        if len(argv) != 2:
            return None
        key = argv[1]
        slot = key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        old = table.get(key)
        if old.__class__ is not bytes or not old.isdigit() or old[0] == 48 or len(old) > 18:
            return None
        new = b"%d" % (int(old) - 1)
        table[key] = new
        self.decrs += 1
        if self._pieces is not None:
            self._log(_DECRS, key)
        return b":%b\r\n" % new

    def mset(self, argv: list[bytes]) -> bytes | int | None:
        """MSET whose keys are all ours, open, and missing or strings that never expire."""
        count = len(argv)
        if count < 3 or not count & 1:
            return None
        write = self._write
        keys, values = argv[1::2], argv[2::2]
        tables = []
        fresh = False
        for key in keys:
            table = write[crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)]
            if table is None:
                return None
            old = table.get(key)
            if old.__class__ is not bytes:
                if old is not None:
                    return None
                fresh = True
            tables.append(table)
        if fresh:  # counted one by one: a key may be named twice
            for table, key in zip(tables, keys, strict=True):
                if key not in table:
                    self._db.size += 1
                    table[key] = b""
        for table, key, value in zip(tables, keys, values, strict=True):
            table[key] = value
        self.msets += 1
        self.mset_keys += count >> 1
        if self._segment is not None:
            self._segment.log(self._index, argv)
        return OK

    def delete(self, argv: list[bytes]) -> bytes | int | None:
        """DEL of one key that is missing or a string that never expires."""
        if len(argv) != 2:
            return None
        key = argv[1]
        slot = key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        old = table.get(key)
        if old.__class__ is not bytes:
            if old is not None:
                return None
            self.dels += 1
            self.vain_dels += 1
            return ZERO
        del table[key]
        self._db.size -= 1
        self.dels += 1
        if self._pieces is not None:
            self._log(_DELS, key)
        return ONE

    def _log(self, heads: list[bytes], key: bytes) -> None:
        segment = self._segment
        assert segment is not None
        if segment.db != self._index:
            segment.select(self._index)
        size = len(key)
        if size < _SHORT:
            segment.pieces += (heads[size], key, CRLF)
        else:
            segment.pieces += (heads[0][:-4], b"$%d\r\n" % size, key, CRLF)
