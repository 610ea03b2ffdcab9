"""The commands of streams, except those of consumer groups.

What is logged is exact: the ID that an entry got, and how many entries are left after approximate
trimming, which goes by nodes and might go otherwise when the log is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shoal.proto import errors
from shoal.proto.numbers import parse_int, parse_uint64
from shoal.proto.replies import (
    BULK_HEADERS,
    CRLF,
    NULL,
    NULL_ARRAY,
    OK,
    ZERO,
    Reply,
    array,
    bulk,
    bulk_list,
    integer,
    map_reply,
    pair_map,
    simple,
)
from shoal.proto.spec import CommandFlag, KeySpec, key_at
from shoal.worker.commands import parse
from shoal.worker.keyspace import Keyspace, Value
from shoal.worker.registry import UNLOGGED, Borrowed, Wait, command
from shoal.worker.values.consumer_group import UNKNOWN, Consumer, Group
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.stream import (
    COUNTED,
    MAX_NODE_BYTES,
    Deletion,
    Excerpt,
    References,
    Run,
    Stream,
)
from shoal.worker.values.stream_id import (
    FEW,
    MAX_ID,
    SEQ_BITS,
    SEQ_MASK,
    SEQ_TEXTS,
    format_id,
    parse_id,
)

WRITE, READONLY, FAST = CommandFlag.WRITE, CommandFlag.READONLY, CommandFlag.FAST
DENYOOM, BLOCKING = CommandFlag.DENYOOM, CommandFlag.BLOCKING
LOADING, STALE = CommandFlag.LOADING, CommandFlag.STALE

# The spellings for which there are short ways.
COUNT_WORD: Final = (b"COUNT", b"count")
MAXLEN_WORD: Final = (b"MAXLEN", b"maxlen")
STREAMS_WORD: Final = (b"STREAMS", b"streams")

# -- IDs -------------------------------------------------------------------------------------------


def strict_id(text: bytes, missing_seq: int = 0) -> int:
    """Return an ID given as numbers. Raises: ReplyError."""
    entry_id = parse_id(text, missing_seq)
    if entry_id is None:
        raise errors.invalid_stream_id()
    return entry_id


def is_sign(text: bytes, sign: bytes) -> bool:
    """Tell whether a sign such as `$` stands for an ID. Redis compares C strings: NUL ends one."""
    return text == sign or text[:2] == sign + b"\0"


def loose_id(text: bytes, missing_seq: int = 0) -> int:
    """Return an ID, which may be `-` or `+`, the smallest and the greatest. Raises: ReplyError."""
    if is_sign(text, b"-"):
        return 0
    if is_sign(text, b"+"):
        return MAX_ID
    return strict_id(text, missing_seq)


def interval_start(text: bytes) -> int:
    """Return the first ID of an interval, whose given end a `(` leaves out. Raises: ReplyError."""
    if text == b"-":
        return 0
    if text[:1] != b"(":
        return loose_id(text)
    start = strict_id(text[1:])
    if start == MAX_ID:
        raise errors.invalid_interval_id("start")
    return start + 1


def interval_end(text: bytes) -> int:
    """Return the last ID of an interval, as `interval_start`; without seq it is the last of its
    millisecond. Raises: ReplyError.
    """
    if text == b"+":
        return MAX_ID
    if text[:1] != b"(":
        return loose_id(text, SEQ_MASK)
    end = strict_id(text[1:], SEQ_MASK)
    if not end:
        raise errors.invalid_interval_id("end")
    return end - 1


# -- replies ---------------------------------------------------------------------------------------


# What an entry begins with, by the length of its ID, which is at most two numbers of 20 digits.
_ENTRY_HEADS: Final = [b"*2\r\n$%d\r\n" % size for size in range(42)]
# What stands before the fields, by how many pairs they are.
_FIELD_COUNTS: Final = [b"\r\n*%d\r\n" % (2 * count) for count in range(64)]


def add_entries(pieces: list[bytes], run: Run) -> None:
    """Append the encoded entries, each an array of its ID and its fields."""
    names, ids, items = run
    headers, starts = BULK_HEADERS, _ENTRY_HEADS
    count = len(names)
    head = (_FIELD_COUNTS[count] if count < 64 else b"\r\n*%d\r\n" % (2 * count)) + bulk(names[0])
    heads = [head, *[b"\r\n%b" % bulk(name) for name in names[1:]]] if count > 1 else ()
    ms, ms_text = -1, b""
    for entry_id, item in zip(ids, items, strict=True):
        if entry_id >> SEQ_BITS != ms:
            ms = entry_id >> SEQ_BITS
            ms_text = b"%d" % ms
        seq = entry_id & SEQ_MASK
        text = ms_text + (SEQ_TEXTS[seq] if seq < FEW else b"-%d" % seq)
        if isinstance(item, bytes):
            size = len(item)
            header = headers[size] if size < 4096 else b"$%d\r\n" % size
            pieces += (starts[len(text)], text, head, header, item, CRLF)
            continue
        if isinstance(item, list):
            pieces += (starts[len(text)], text, CRLF, bulk_list(item))
            continue
        pieces += (starts[len(text)], text)
        for name, value in zip(heads, item, strict=True):
            size = len(value)
            pieces += (name, headers[size] if size < 4096 else b"$%d\r\n" % size, value)
        pieces.append(CRLF)


def entries_reply(runs: Iterable[Run]) -> bytes:
    """Return an array of entries."""
    pieces = [b""]
    count = 0
    for run in runs:
        count += len(run[1])
        add_entries(pieces, run)
    pieces[0] = b"*%d\r\n" % count
    return b"".join(pieces)


def _entry_reply(run: Run | None) -> Reply:
    if run is None:
        return NULL
    pieces: list[bytes] = []
    add_entries(pieces, run)
    return b"".join(pieces)


# -- XADD, XTRIM -----------------------------------------------------------------------------------

_REFERENCES: Final = {references.value: references for references in References}

# LIMIT of approximate trimming, if it is not given: 100 nodes; bounded as Redis bounds it.
_NODES_TRIMMED: Final = 100
_DEFAULT_LIMIT: Final = 10_000
_MAX_DEFAULT_LIMIT: Final = 1_000_000


@dataclass(slots=True)
class _Trim:
    """The options of trimming; see `Stream.trim`.

    Attributes:
        by: MAXLEN or MINID; empty without trimming.
        limit_given: whether there is a LIMIT.
        no_create: NOMKSTREAM.
    """

    by: bytes = b""
    max_length: int | None = None
    min_id: int = 0
    approximate: bool = False
    limit: int = 0
    limit_given: bool = False
    references: References | None = None
    no_create: bool = False

    def run(self, stream: Stream) -> int:
        """Trim; return how many entries went."""
        return stream.trim(
            max_length=self.max_length,
            min_id=self.min_id,
            approximate=self.approximate,
            limit=self.limit,
            references=self.references or References.KEEP,
        )

    def exactly(self, stream: Stream) -> list[bytes]:
        """Return the options that ask for what approximate trimming has come to."""
        if self.max_length is not None:
            left = b"%d" % stream.length
        else:
            left = format_id(stream.oldest_id() if stream.length else MAX_ID)
        words = [] if self.references is None else [self.references.value]
        return [*words, self.by, b"=", left]


def _trim_options(args: Sequence[bytes], *, adds: bool) -> tuple[_Trim, int]:
    """Read the options of XTRIM, or of XADD (`adds`) up to the ID.

    Returns: the options, and the index of the ID, or the number of arguments. Raises: ReplyError.
    """
    trim = _Trim()
    size = len(args)
    at = 0
    while at < size:
        word = parse.word(args[at])
        more = size - at - 1
        if adds and word == b"*":
            break
        if word in (b"MAXLEN", b"MINID") and more:
            at = _strategy(trim, word, args, at)
        elif word == b"LIMIT" and more:
            trim.limit = parse.integer(args[at + 1])
            if trim.limit < 0:
                raise errors.argument_below_zero("LIMIT")
            trim.limit_given = True
            at += 2
        elif adds and word == b"NOMKSTREAM":
            trim.no_create = True
            at += 1
        elif word in _REFERENCES and trim.references is None:
            trim.references = _REFERENCES[word]
            at += 1
        elif adds:
            break
        else:
            raise errors.syntax_error()
    if adds and at < size:
        _new_id(args[at])  # what is no ID is told first
    if trim.limit and not trim.by:
        raise errors.limit_without_strategy()
    if not adds and not trim.by:
        raise errors.trim_without_strategy()
    if trim.limit_given:
        if not trim.approximate:
            raise errors.limit_of_exact_trim()
    elif trim.approximate:
        trim.limit = default_trim_limit()
    return trim, at


def default_trim_limit() -> int:
    """Return LIMIT of approximate trimming if it is not given."""
    limit = _NODES_TRIMMED * LIMITS.stream_node_max_entries or _DEFAULT_LIMIT
    return min(limit, _MAX_DEFAULT_LIMIT)


def _strategy(trim: _Trim, word: bytes, args: Sequence[bytes], at: int) -> int:
    """Read MAXLEN or MINID at an index; return the index behind. Raises: ReplyError."""
    if trim.by:
        raise errors.two_trim_strategies()
    trim.by = word
    at += 1
    if len(args) - at > 1 and parse.word(args[at]) in (b"~", b"="):
        trim.approximate = is_sign(args[at], b"~")
        at += 1
    if word == b"MAXLEN":
        trim.max_length = parse.integer(args[at])
        if trim.max_length < 0:
            raise errors.argument_below_zero("MAXLEN")
    else:
        trim.min_id = strict_id(args[at])
    return at + 1


def _new_id(text: bytes) -> tuple[int, bool, bool]:
    """Return (ID, whether its milliseconds are given, whether its sequence number is), of what XADD
    is given. Raises: ReplyError.
    """
    shown = text.partition(b"\0")[0]
    if shown == b"*":
        return 0, False, False
    if shown[-2:] == b"-*":
        ms = None if b"-" in shown[:-2] or len(text) > 127 else parse_uint64(shown[:-2])
        if ms is None:
            raise errors.invalid_stream_id()
        return ms << SEQ_BITS, True, False
    return strict_id(text), True, True


def _with_next_seq(wanted: int, last_id: int) -> int:
    """Return the ID of a new entry of which only the milliseconds are given. Raises: ReplyError."""
    if wanted >> SEQ_BITS != last_id >> SEQ_BITS:
        return wanted
    if last_id & SEQ_MASK == SEQ_MASK:
        raise errors.id_not_greater()
    return last_id + 1


@command(
    "XADD",
    since="5.0.0",
    arity=-5,
    group="stream",
    flags=WRITE | DENYOOM | FAST,
    keys=(
        KeySpec(
            1,
            flags=(
                "RW",
                "update",
            ),
            notes="UPDATE instead of INSERT because of the optional trimming feature",
        ),
    ),
    acl=("stream",),
    complexity="O(1) when adding a new entry, O(N) when trimming where N being the number of "
    "entries evicted.",
    tips=("nondeterministic_output",),
    history=(
        (
            "6.2.0",
            "Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option.",
        ),
        ("7.0.0", "Added support for the `<ms>-*` explicit ID form."),
        ("8.2.0", "Added the `KEEPREF`, `DELREF` and `ACKED` options."),
    ),
)
def xadd(ks: Keyspace, key: bytes, text: bytes, *fields: bytes) -> Reply:
    """Appends a new message to a stream. Creates the key if it doesn't exist."""
    reply: Reply | None = None
    if text == b"*":
        reply = _add_next(ks, key, fields)
    elif len(fields) > 4 and fields[2] == b"*" and fields[0] == b"~" and text in MAXLEN_WORD:
        most = parse.integer(fields[1])
        if most >= 0:
            reply = _add_next(ks, key, fields[3:], most)
    return _add(ks, key, (text, *fields)) if reply is None else reply


def _add_next(
    ks: Keyspace, key: bytes, fields: tuple[bytes, ...], most: int | None = None
) -> Reply | None:
    """Run XADD with `*` for the ID, and nothing else or `MAXLEN ~`, on a stream that is there.

    Args:
        fields: names and values.
        most: what MAXLEN says, at least 0; None without.
    Returns: the reply; None, and nothing has changed, if it is to be done in full. Raises:
        ReplyError.
    """
    count = len(fields)
    if count & 1:
        raise errors.wrong_arity(b"xadd")
    stream: Stream | None = ks.lookup_write(key, Stream)
    if stream is None:
        return None
    store = ks.store
    if count == 2:
        text = stream.append_pair(store.now_ms, *fields)
    else:
        text = stream.append_next(store.now_ms, fields, sum(map(len, fields)))
    if text is None:
        return None
    ks.changed(key)
    ks.notify(b"t", b"xadd", key)
    if most is None:
        if store.log is not None:
            ks.propagate(b"XADD", key, text, *fields)
    else:
        if stream.trim(max_length=most, approximate=True, limit=default_trim_limit()):
            ks.notify(b"t", b"xtrim", key)
        if store.log is not None:
            left = b"%d" % stream.length
            ks.propagate(b"XADD", key, b"MAXLEN", b"=", left, text, *fields)
    return BULK_HEADERS[len(text)] + text + CRLF


def _add(ks: Keyspace, key: bytes, args: tuple[bytes, ...]) -> Reply:
    """Run XADD in any of its forms."""
    text = args[0]
    trim: _Trim | None = None
    at = 0
    if text == b"*":
        wanted, ms_given, seq_given = 0, False, False
    else:
        if not text[:1].isdigit():  # options
            trim, at = _trim_options(args, adds=True)
            if at == len(args):
                raise errors.wrong_arity(b"xadd")
            text = args[at]
        wanted, ms_given, seq_given = _new_id(text)
    fields = args[at + 1 :]
    if not fields or len(fields) & 1:
        raise errors.wrong_arity(b"xadd")
    if seq_given and not wanted:
        raise errors.id_is_zero()
    stream: Stream | None = ks.lookup_write(key, Stream)
    if stream is None:
        if trim is not None and trim.no_create:
            return NULL
        last_id = 0
    else:
        last_id = stream.last_id
        if last_id == MAX_ID:
            raise errors.ids_exhausted()
    if not ms_given:
        entry_id = max(last_id + 1, ks.store.now_ms << SEQ_BITS)
    else:
        entry_id = wanted if seq_given else _with_next_seq(wanted, last_id)
        if entry_id <= last_id:
            raise errors.id_not_greater()
    size = sum(map(len, fields))
    if size > MAX_NODE_BYTES:
        raise errors.elements_too_large()
    if stream is None:
        stream = Stream()
        ks.set(key, stream)
    else:
        ks.changed(key)
    stream.append(entry_id, fields, size)
    ks.notify(b"t", b"xadd", key)
    if trim is not None and trim.by and trim.run(stream):
        ks.notify(b"t", b"xtrim", key)
    text = format_id(entry_id)
    if trim is not None and trim.approximate:
        ks.propagate(b"XADD", key, *trim.exactly(stream), text, *fields)
    elif not seq_given:
        ks.propagate(b"XADD", key, *args[:at], text, *fields)
    return BULK_HEADERS[len(text)] + text + CRLF


@command(
    "XTRIM",
    since="5.0.0",
    arity=-4,
    group="stream",
    flags=WRITE,
    keys=key_at(1, "RW delete"),
    acl=("stream",),
    complexity="O(N), with N being the number of evicted entries. Constant times are very small "
    "however, since entries are organized in macro nodes containing multiple entries that"
    " can be released with a single deallocation.",
    tips=("nondeterministic_output",),
    history=(
        ("6.2.0", "Added the `MINID` trimming strategy and the `LIMIT` option."),
        ("8.2.0", "Added the `KEEPREF`, `DELREF` and `ACKED` options."),
    ),
)
def xtrim(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Deletes messages from the beginning of a stream."""
    trim, _ = _trim_options(args, adds=False)
    stream: Stream | None = ks.lookup_write(key, Stream)
    if stream is None:
        return ZERO
    deleted = trim.run(stream)
    if deleted:
        ks.changed(key)
        ks.notify(b"t", b"xtrim", key)
        if trim.approximate:
            ks.propagate(b"XTRIM", key, *trim.exactly(stream))
    return integer(deleted)


# -- XDEL, XDELEX ----------------------------------------------------------------------------------


@command(
    "XDEL",
    since="5.0.0",
    arity=-3,
    group="stream",
    flags=WRITE | FAST,
    keys=key_at(1, "RW delete"),
    acl=("stream",),
    complexity="O(1) for each single item to delete in the stream, regardless of the stream size.",
)
def xdel(ks: Keyspace, key: bytes, *ids: bytes) -> Reply:
    """Returns the number of messages after removing them from a stream."""
    stream: Stream | None = ks.lookup_write(key, Stream)
    if stream is None:
        return ZERO
    deleted = sum([stream.delete(entry_id) for entry_id in [strict_id(text) for text in ids]])
    if deleted:
        ks.changed(key)
        ks.notify(b"t", b"xdel", key)
    return integer(deleted)


def ids_with_references(args: Sequence[bytes]) -> tuple[Sequence[bytes], References]:
    """Return the IDs and the option of XDELEX and XACKDEL. Raises: ReplyError."""
    references: References | None = None
    ids: Sequence[bytes] = ()
    at = 0
    while at < len(args):
        word = parse.word(args[at])
        if word in _REFERENCES and references is None:
            references = _REFERENCES[word]
            at += 1
        elif word == b"IDS" and at + 1 < len(args):
            count = parse_int(args[at + 1])
            if count is None or count < 1:
                raise errors.numids_not_positive()
            at += 2
            if count > len(args) - at:
                raise errors.numids_too_large()
            ids = args[at : at + count]
            at += count
        else:
            raise errors.syntax_error()
    if not ids:
        raise errors.syntax_error()
    return ids, references or References.KEEP


def deletions(outcomes: Sequence[Deletion]) -> Reply:
    """Return the reply of XDELEX and XACKDEL."""
    return array([integer(outcome.value) for outcome in outcomes])


@command(
    "XDELEX",
    since="8.2.0",
    arity=-5,
    group="stream",
    flags=WRITE | FAST,
    keys=key_at(1, "RW delete"),
    acl=("stream",),
    complexity="O(1) for each single item to delete in the stream, regardless of the stream size.",
)
def xdelex(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Deletes one or multiple entries from the stream."""
    stream: Stream | None = ks.lookup_write(key, Stream)
    texts, references = ids_with_references(args)
    if stream is None:
        return deletions([Deletion.MISSING] * len(texts))
    ids = [strict_id(text) for text in texts]
    outcomes = [stream.delete_with(entry_id, references) for entry_id in ids]
    if Deletion.DELETED in outcomes:
        ks.changed(key)
        ks.notify(b"t", b"xdel", key)
    elif references is References.DELETE:
        ks.changed_inside(key)  # entries that were gone already may have been pending
    return deletions(outcomes)


# -- XLEN, XRANGE, XREVRANGE -----------------------------------------------------------------------


@command(
    "XLEN",
    since="5.0.0",
    arity=2,
    group="stream",
    flags=READONLY | FAST,
    keys=key_at(1, "RO"),
    acl=("stream",),
    complexity="O(1)",
)
def xlen(ks: Keyspace, key: bytes) -> Reply:
    """Return the number of messages in a stream."""
    stream: Stream | None = ks.lookup_read(key, Stream)
    return ZERO if stream is None else integer(stream.length)


def _range(
    ks: Keyspace, key: bytes, start: int, end: int, options: Sequence[bytes], reverse: bool
) -> Reply:
    limit = -1
    if len(options) == 2 and options[0] in COUNT_WORD:
        limit = max(parse.integer(options[1]), 0)
        options = ()
    for at in range(0, len(options), 2):
        if parse.word(options[at]) != b"COUNT" or at + 1 == len(options):
            raise errors.syntax_error()
        limit = max(parse.integer(options[at + 1]), 0)
    stream: Stream | None = ks.lookup_read(key, Stream)
    if stream is None:
        return b"*0\r\n"
    if not limit:
        return NULL_ARRAY
    return entries_reply(stream.runs(start, end, limit, reverse=reverse))


@command(
    "XRANGE",
    since="5.0.0",
    arity=-4,
    group="stream",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=("stream",),
    complexity="O(N) with N being the number of elements being returned. If N is constant (e.g. "
    "always asking for the first 10 elements with COUNT), you can consider it O(1).",
    history=(("6.2.0", "Added exclusive ranges."),),
)
def xrange(ks: Keyspace, key: bytes, start: bytes, end: bytes, *options: bytes) -> Reply:
    """Returns the messages from a stream within a range of IDs."""
    return _range(ks, key, interval_start(start), interval_end(end), options, False)


@command(
    "XREVRANGE",
    since="5.0.0",
    arity=-4,
    group="stream",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=("stream",),
    complexity="O(N) with N being the number of elements returned. If N is constant (e.g. always "
    "asking for the first 10 elements with COUNT), you can consider it O(1).",
    history=(("6.2.0", "Added exclusive ranges."),),
)
def xrevrange(ks: Keyspace, key: bytes, end: bytes, start: bytes, *options: bytes) -> Reply:
    """Returns the messages from a stream within a range of IDs in reverse order."""
    return _range(ks, key, interval_start(start), interval_end(end), options, True)


# -- XREAD -----------------------------------------------------------------------------------------


class ReadRequest:
    """The arguments of XREAD and XREADGROUP.

    Attributes:
        limit: entries of each stream, negative for all.
        timeout_ms: of BLOCK, 0 for ever; None without.
        group: name of the group, and of the consumer; None for XREAD.
        keys, ids: of the streams, in order; the IDs as they came.
        ids_at: index of the first ID among the arguments.
    """

    __slots__ = ("group", "ids", "ids_at", "keys", "limit", "no_ack", "timeout_ms")

    def __init__(self, args: Sequence[bytes], name: str, now_ms: int) -> None:
        """Read the arguments of the command `name`, lower case. Raises: ReplyError."""
        self.limit = -1
        self.timeout_ms: int | None = None
        self.group: tuple[bytes, bytes] | None = None
        self.no_ack = False
        grouped = name == "xreadgroup"
        size = len(args)
        at = 0
        while at < size:
            word = parse.word(args[at])
            more = size - at - 1
            if word == b"STREAMS" and more:
                break
            if word == b"BLOCK" and more:
                at += 1
                self.timeout_ms = parse.milliseconds(args[at], now_ms)
            elif word == b"COUNT" and more:
                at += 1
                count = parse.integer(args[at])
                self.limit = count if count > 0 else -1
            elif word == b"GROUP" and more > 1:
                if not grouped:
                    raise errors.only_for_xreadgroup("GROUP")
                self.group = (args[at + 1], args[at + 2])
                at += 2
            elif word == b"NOACK":
                if not grouped:
                    raise errors.only_for_xreadgroup("NOACK")
                self.no_ack = True
            else:
                raise errors.syntax_error()
            at += 1
        else:
            raise errors.syntax_error()
        at += 1
        count, odd = divmod(size - at, 2)
        if odd:
            raise errors.unbalanced_streams(name, " or '>'" if grouped else ", '+', or '$'")
        if grouped and self.group is None:
            raise errors.missing_group_option()
        self.ids_at = at + count
        self.keys = args[at : self.ids_at]
        self.ids = args[self.ids_at :]

    def ids_of(self, key: bytes) -> list[bytes]:
        """Return the IDs with which a stream is named."""
        return [text for one, text in zip(self.keys, self.ids, strict=True) if one == key]


def _last_known(stream: Stream | None, text: bytes) -> int:
    """Return the ID after which XREAD wants entries. Raises: ReplyError."""
    if is_sign(text, b"$"):
        return 0 if stream is None else stream.last_id
    if is_sign(text, b"+"):
        return 0 if stream is None else max(stream.last_entry_id() - 1, 0)
    if is_sign(text, b">"):
        raise errors.new_entries_without_group()
    return strict_id(text)


def _lend_read(argv: Sequence[bytes], key: bytes, value: Value) -> Value | None:
    """Lend XREAD the entries that it gives."""
    if value.__class__ is not Stream:
        return None
    lent = Excerpt(value)
    runs: list[Run] = []
    try:
        request = ReadRequest(argv[1:], "xread", 0)
        for text in request.ids_of(key):
            runs += value.runs(_last_known(value, text) + 1, limit=request.limit)
    except errors.ReplyError:
        return lent  # the command itself will find the error
    lent.take(runs)
    return lent


def _count(ks: Keyspace, key: bytes, length: bytes, first_id: bytes) -> None:
    """Let a stream that was lent in part have the counters of the whole."""
    stream = ks.find(key)
    assert stream.__class__ is Stream
    stream.length, stream.first_id = int(length), int(first_id)


UNLOGGED[COUNTED] = _count


@command(
    "XREAD",
    since="5.0.0",
    arity=-4,
    group="stream",
    flags=READONLY | BLOCKING,
    keys=(
        KeySpec(
            1,
            keyword="STREAMS",
            last=-1,
            limit=2,
            flags=(
                "RO",
                "access",
            ),
        ),
    ),
    acl=("stream",),
    borrowed=Borrowed(lend=_lend_read),
)
def xread(ks: Keyspace, *args: bytes) -> Reply:
    """Returns messages from multiple streams with IDs greater than the ones requested. Blocks until a message is available otherwise."""  # noqa: E501
    size = len(args)
    if args[-3] in STREAMS_WORD and (size == 3 or (size == 5 and args[0] in COUNT_WORD)):
        limit = -1 if size == 3 else parse.integer(args[1])
        reply = _read_after(ks, args[-2], args[-1], limit if limit > 0 else -1)
        if reply is not None:
            return reply
    return _read(ks, args)


def _read_after(ks: Keyspace, key: bytes, text: bytes, limit: int) -> Reply | None:
    """Run XREAD on one stream; return None, and nothing has changed, if it is to be done in full.
    Raises: ReplyError.
    """
    stream = ks.find(key)
    if stream.__class__ is not Stream or not text[:1].isdigit():
        return None
    after = strict_id(text)
    ks.store.hits += 2  # Redis looks every key up twice
    runs = list(stream.runs(after + 1, limit=limit)) if after < stream.last_id else ()
    return pair_map([(bulk(key), entries_reply(runs))]) if runs else NULL_ARRAY


def _read(ks: Keyspace, args: Sequence[bytes]) -> Reply:
    """Run XREAD in any of its forms."""
    request = ReadRequest(args, "xread", ks.now_ms)
    known = [
        _last_known(ks.lookup_read(key, Stream), text)
        for key, text in zip(request.keys, request.ids, strict=True)
    ]
    found: list[tuple[bytes, Reply]] = []
    for key, after in zip(request.keys, known, strict=True):
        stream: Stream | None = ks.lookup_read(key, Stream)
        if stream is not None and stream.last_entry_id() > after:
            found.append((bulk(key), entries_reply(stream.runs(after + 1, limit=request.limit))))
    if found:
        return pair_map(found)
    if request.timeout_ms is None:
        return NULL_ARRAY
    # `$` is what it is now; `+` will be the last entry then.
    ids = [
        format_id(after) if is_sign(text, b"$") else text
        for text, after in zip(request.ids, known, strict=True)
    ]
    argv = (*args[: request.ids_at], *ids)
    return Wait(tuple(request.keys), request.timeout_ms, Stream, NULL_ARRAY, argv)


# -- XSETID ----------------------------------------------------------------------------------------


@command(
    "XSETID",
    since="5.0.0",
    arity=-3,
    group="stream",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW update"),
    acl=("stream",),
    complexity="O(1)",
    history=(("7.0.0", "Added the `entries_added` and `max_deleted_entry_id` arguments."),),
)
def xsetid(ks: Keyspace, key: bytes, text: bytes, *options: bytes) -> Reply:
    """An internal command for replicating stream values."""
    last_id = strict_id(text)
    added: int | None = None
    max_deleted = 0
    for at in range(0, len(options), 2):
        word = parse.word(options[at])
        if at + 1 == len(options) or word not in (b"ENTRIESADDED", b"MAXDELETEDID"):
            raise errors.syntax_error()
        if word == b"ENTRIESADDED":
            added = parse.integer(options[at + 1])
            if added < 0:
                raise errors.entries_added_negative()
        else:
            max_deleted = strict_id(options[at + 1])
            if last_id < max_deleted:
                raise errors.xsetid_below("the provided max_deleted_entry_id")
    stream: Stream | None = ks.lookup_write(key, Stream)
    if stream is None:
        raise errors.no_such_key()
    if last_id < stream.max_deleted_id:
        raise errors.xsetid_below("current max_deleted_entry_id")
    if stream.length:
        if last_id < stream.last_entry_id():
            raise errors.xsetid_below("the target stream top item")
        if added is not None and added < stream.length:
            raise errors.entries_added_below_length()
    stream.last_id = last_id
    if added is not None:
        stream.entries_added = added
    if max_deleted:
        stream.max_deleted_id = max_deleted
    ks.changed_inside(key)
    ks.notify(b"t", b"xsetid", key)
    return OK


# -- XINFO -----------------------------------------------------------------------------------------

# Entries and pending entries that XINFO STREAM FULL shows, unless COUNT says otherwise.
_SHOWN: Final = 10


def _info(pairs: Iterable[tuple[bytes, Reply]]) -> Reply:
    return map_reply([(bulk(name), value) for name, value in pairs])


def _seen_ms(consumer: Consumer, now_ms: int) -> int:
    """Return when a consumer was seen. The log does not say; after a start it is now."""
    if not consumer.seen_ms:
        consumer.seen_ms = now_ms
    return consumer.seen_ms


@command(
    "XINFO",
    since="5.0.0",
    arity=-2,
    group="stream",
    complexity="Depends on subcommand.",
)
def xinfo(ks: Keyspace, *_: bytes) -> Reply:
    """A container for stream introspection commands."""
    raise AssertionError("a container is never called")


@command(
    "XINFO|STREAM",
    since="5.0.0",
    arity=-3,
    group="stream",
    flags=READONLY,
    keys=key_at(2, "RO access"),
    acl=("stream",),
    complexity="O(1)",
    history=(
        ("6.0.0", "Added the `FULL` modifier."),
        (
            "7.0.0",
            "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, "
            "`entries-read` and `lag` fields",
        ),
        ("7.2.0", "Added the `active-time` field, and changed the meaning of `seen-time`."),
    ),
)
def xinfo_stream(ks: Keyspace, key: bytes, *options: bytes) -> Reply:
    """Returns information about a stream."""
    stream: Stream | None = ks.lookup_read(key, Stream)
    if stream is None:
        raise errors.no_such_key()
    limit = _SHOWN
    if options:
        if parse.word(options[0]) != b"FULL" or len(options) not in (1, 3):
            raise errors.subcommand_syntax(b"xinfo", b"STREAM")
        if len(options) == 3:
            if parse.word(options[1]) != b"COUNT":
                raise errors.subcommand_syntax(b"xinfo", b"STREAM")
            limit = parse.integer(options[2])
            if limit < 0:
                limit = _SHOWN
    facts: list[tuple[bytes, Reply]] = [
        (b"length", integer(stream.length)),
        (b"radix-tree-keys", integer(stream.node_count)),
        (b"radix-tree-nodes", integer(stream.radix_nodes)),
        (b"last-generated-id", bulk(format_id(stream.last_id))),
        (b"max-deleted-entry-id", bulk(format_id(stream.max_deleted_id))),
        (b"entries-added", integer(stream.entries_added)),
        (b"recorded-first-entry-id", bulk(format_id(stream.first_id))),
    ]
    if options:
        groups = [_group_in_full(ks, stream, *item, limit) for item in _by_name(stream.groups)]
        facts += [
            (b"entries", entries_reply(stream.runs(limit=limit or -1))),
            (b"groups", array(groups)),
        ]
    else:
        facts += [
            (b"groups", integer(len(stream.groups))),
            (b"first-entry", _entry_reply(next(stream.runs(limit=1), None))),
            (b"last-entry", _entry_reply(next(stream.runs(limit=1, reverse=True), None))),
        ]
    return _info(facts)


def _by_name(members: dict[bytes, Any]) -> list[tuple[bytes, Any]]:
    """Return groups or consumers in the order of Redis's radix tree."""
    return sorted(members.items())


def _read_and_lag(stream: Stream, group: Group) -> list[tuple[bytes, Reply]]:
    lag = stream.lag(group)
    read = NULL if group.entries_read == UNKNOWN else integer(group.entries_read)
    return [(b"entries-read", read), (b"lag", NULL if lag is None else integer(lag))]


def _group_in_full(ks: Keyspace, stream: Stream, name: bytes, group: Group, limit: int) -> Reply:
    pending: list[Reply] = []
    for entry_id, nack in group.pending.walk():
        facts = (bulk(format_id(entry_id)), bulk(nack.consumer.name))
        pending.append(array([*facts, integer(nack.time_ms), integer(nack.count)]))
        if len(pending) == limit:
            break
    consumers = [_consumer_in_full(ks, item[1], limit) for item in _by_name(group.consumers)]
    return _info(
        [
            (b"name", bulk(name)),
            (b"last-delivered-id", bulk(format_id(group.last_id))),
            *_read_and_lag(stream, group),
            (b"pel-count", integer(len(group.pending))),
            (b"pending", array(pending)),
            (b"consumers", array(consumers)),
        ]
    )


def _consumer_in_full(ks: Keyspace, consumer: Consumer, limit: int) -> Reply:
    pending: list[Reply] = []
    for entry_id, nack in consumer.pending.walk():
        text = bulk(format_id(entry_id))
        pending.append(array([text, integer(nack.time_ms), integer(nack.count)]))
        if len(pending) == limit:
            break
    return _info(
        [
            (b"name", bulk(consumer.name)),
            (b"seen-time", integer(_seen_ms(consumer, ks.now_ms))),
            (b"active-time", integer(consumer.active_ms)),
            (b"pel-count", integer(len(consumer.pending))),
            (b"pending", array(pending)),
        ]
    )


@command(
    "XINFO|GROUPS",
    since="5.0.0",
    arity=3,
    group="stream",
    flags=READONLY,
    keys=key_at(2, "RO access"),
    acl=("stream",),
    complexity="O(1)",
    history=(("7.0.0", "Added the `entries-read` and `lag` fields"),),
)
def xinfo_groups(ks: Keyspace, key: bytes) -> Reply:
    """Returns a list of the consumer groups of a stream."""
    stream: Stream | None = ks.lookup_read(key, Stream)
    if stream is None:
        raise errors.no_such_key()
    return array(
        [
            _info(
                [
                    (b"name", bulk(name)),
                    (b"consumers", integer(len(group.consumers))),
                    (b"pending", integer(len(group.pending))),
                    (b"last-delivered-id", bulk(format_id(group.last_id))),
                    *_read_and_lag(stream, group),
                ]
            )
            for name, group in _by_name(stream.groups)
        ]
    )


@command(
    "XINFO|CONSUMERS",
    since="5.0.0",
    arity=4,
    group="stream",
    flags=READONLY,
    keys=key_at(2, "RO access"),
    acl=("stream",),
    complexity="O(1)",
    tips=("nondeterministic_output",),
    history=(("7.2.0", "Added the `inactive` field, and changed the meaning of `idle`."),),
)
def xinfo_consumers(ks: Keyspace, key: bytes, name: bytes) -> Reply:
    """Returns a list of the consumers in a consumer group."""
    stream: Stream | None = ks.lookup_read(key, Stream)
    if stream is None:
        raise errors.no_such_key()
    group = stream.groups.get(name)
    if group is None:
        raise errors.no_such_group(key, name)
    now_ms = ks.now_ms
    replies = []
    for _, consumer in _by_name(group.consumers):
        active_ms = consumer.active_ms
        inactive = active_ms if active_ms < 0 else max(now_ms - active_ms, 0)
        replies.append(
            _info(
                [
                    (b"name", bulk(consumer.name)),
                    (b"pending", integer(len(consumer.pending))),
                    (b"idle", integer(max(now_ms - _seen_ms(consumer, now_ms), 0))),
                    (b"inactive", integer(inactive)),
                ]
            )
        )
    return array(replies)


_XINFO_HELP: Final = (
    b"XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"CONSUMERS <key> <groupname>",
    b"    Show consumers of <groupname>.",
    b"GROUPS <key>",
    b"    Show the stream consumer groups.",
    b"STREAM <key> [FULL [COUNT <count>]",
    b"    Show information about the stream.",
    b"HELP",
    b"    Print this help.",
)


@command(
    "XINFO|HELP",
    since="5.0.0",
    arity=2,
    group="stream",
    flags=LOADING | STALE,
    acl=("stream",),
    complexity="O(1)",
)
def xinfo_help(ks: Keyspace) -> Reply:
    """Returns helpful text about the different subcommands."""
    return array([simple(line) for line in _XINFO_HELP])
