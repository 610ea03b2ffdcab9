"""The hottest commands of streams, fused as those of the other collections are.

What `worker/hot_values.py` says holds here too. XREADGROUP is none of the commands that
`worker/direct.py` knows, as its key is not its first argument: what is not a plain read of new
entries goes the generic way. tests/unit/test_hot_streams.py holds each equal to its plain twin.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable, Mapping
from typing import Final

from shoal.proto.numbers import parse_int
from shoal.proto.replies import BULK_HEADERS, CRLF, NULL_ARRAY, bulk
from shoal.proto.slots import key_slot
from shoal.worker.aof import Segment
from shoal.worker.commands.consumer_groups import GROUP_WORD, read_new
from shoal.worker.commands.streams import (
    COUNT_WORD,
    MAXLEN_WORD,
    STREAMS_WORD,
    default_trim_limit,
)
from shoal.worker.direct import BIG_REPLY, Answer
from shoal.worker.keyspace import Store
from shoal.worker.values.stream import Stream

WRITES: Final = (b"XADD", b"XREADGROUP")

Run = Callable[[list[bytes]], Answer]


class HotStreams:
    """The fused commands over one database, for one protocol version; see the module's text."""

    def __init__(
        self, store: Store, db: int, resp: int, segment: Segment | None, direct: Mapping[bytes, Run]
    ) -> None:
        """Bind to the tables of a database; arguments as of `HotValues`."""
        self._store = store
        self._view = store.view(db)
        self._index = db
        self._write = store.database(db).write
        self._segment = segment
        self._one_stream = b"*1\r\n*2\r\n" if resp == 2 else b"%1\r\n"
        self._nothing = NULL_ARRAY.encode(resp)
        self._xadd = direct[b"XADD"]
        self._xadds = self._xreadgroups = self._vain = 0

    def table(self, *, reads: bool, writes: bool) -> dict[bytes, Run]:
        """Return the methods by command name, upper and lower case."""
        table: dict[bytes, Run] = {}
        for name in WRITES if writes else ():
            table[name] = table[name.lower()] = getattr(self, name.decode().lower())
        return table

    def take_counts(self) -> dict[bytes, int]:
        """Return the calls of each command since the last time, and start again at zero."""
        counts = {b"xadd": self._xadds, b"xreadgroup": self._xreadgroups}
        self._store.dirty_total += sum(counts.values()) - self._vain
        self._xadds = self._xreadgroups = self._vain = 0
        return counts

    def xadd(self, argv: list[bytes]) -> Answer:
        """XADD of one field, with an ID of the server's choice, alone or behind `MAXLEN ~ n`, to a
        stream that never expires.
        """
        if len(argv) != 5 or argv[2] != b"*":
            return self._xadd_capped(argv)
        _, key, _, name, value = argv
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        stream = table.get(key)
        if stream.__class__ is not Stream or stream.expire_ms:
            return self._xadd(argv)
        text: bytes | None = stream.append_pair(self._store.now_ms, name, value)
        if text is None:
            return self._xadd(argv)
        self._xadds += 1
        if self._segment is not None:
            self._segment.log(self._index, (b"XADD", key, text, name, value))
        return BULK_HEADERS[len(text)] + text + CRLF

    def _xadd_capped(self, argv: list[bytes]) -> Answer:
        if len(argv) != 8 or argv[5] != b"*" or argv[3] != b"~" or argv[2] not in MAXLEN_WORD:
            return self._xadd(argv)
        _, key, _, _, number, _, name, value = argv
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        stream = table.get(key)
        most = parse_int(number)
        if stream.__class__ is not Stream or stream.expire_ms or most is None or most < 0:
            return self._xadd(argv)
        text: bytes | None = stream.append_pair(self._store.now_ms, name, value)
        if text is None:
            return self._xadd(argv)
        self._xadds += 1
        stream.trim(max_length=most, approximate=True, limit=default_trim_limit())
        if self._segment is not None:
            left = b"%d" % stream.length
            effect = (b"XADD", key, b"MAXLEN", b"=", left, text, name, value)
            self._segment.log(self._index, effect)
        return BULK_HEADERS[len(text)] + text + CRLF

    def xreadgroup(self, argv: list[bytes]) -> Answer:
        """XREADGROUP by a consumer that exists of entries that are new, in one stream that never
        expires.
        """
        size = len(argv)
        if (
            (size != 9 and size != 7)
            or argv[-1] != b">"
            or argv[1] not in GROUP_WORD
            or argv[-3] not in STREAMS_WORD
            or (size == 9 and argv[4] not in COUNT_WORD)
        ):
            return None
        key = argv[-2]
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        table = self._write[slot]
        if table is None:
            return slot
        stream = table.get(key)
        if stream.__class__ is not Stream or stream.expire_ms:
            return None
        limit = -1 if size == 7 else parse_int(argv[5])
        if limit is None:
            return None
        store = self._store
        store.effects = None
        entries = read_new(self._view, key, stream, argv[2], argv[3], limit)
        if entries is None:
            return None
        self._xreadgroups += 1
        if not entries:
            self._vain += 1
            return self._nothing
        if self._segment is not None:
            assert store.effects is not None
            self._segment.log_all(self._index, store.effects)
        reply = self._one_stream + bulk(key) + entries
        return reply if len(reply) < BIG_REPLY else (reply,)
