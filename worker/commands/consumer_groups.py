"""The commands of the consumer groups of streams.

A delivery is logged as the XCLAIM that makes the entries pending, with the time and the count that
they have now; what a group has read is logged as XGROUP SETID. Entries that became pending in the
same way share one XCLAIM, where Redis logs one for each.

No watcher of the key hears of a change of its groups (`Keyspace.changed_inside`), as in Redis.
While the log is read the time is 0: then a consumer was seen when its entries say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from shoal.proto import errors
from shoal.proto.numbers import INT64_MAX, parse_int
from shoal.proto.replies import (
    NULL,
    NULL_ARRAY,
    OK,
    ZERO,
    Reply,
    array,
    bulk,
    integer,
    pair_map,
    simple,
)
from shoal.proto.spec import CommandFlag, KeySpec, key_at
from shoal.worker.commands import parse
from shoal.worker.commands.streams import (
    COUNT_WORD,
    STREAMS_WORD,
    ReadRequest,
    add_entries,
    deletions,
    entries_reply,
    ids_with_references,
    interval_end,
    interval_start,
    is_sign,
    loose_id,
    strict_id,
)
from shoal.worker.keyspace import Keyspace, Value
from shoal.worker.registry import UNLOGGED, Borrowed, Wait, command
from shoal.worker.values.consumer_group import UNKNOWN, Consumer, Group, Nack
from shoal.worker.values.stream import CLAIMED_AT_ONCE, Deletion, Excerpt, Run, Stream, claim
from shoal.worker.values.stream_id import MAX_ID, format_id, parse_id

WRITE, READONLY, FAST = CommandFlag.WRITE, CommandFlag.READONLY, CommandFlag.FAST
DENYOOM, BLOCKING = CommandFlag.DENYOOM, CommandFlag.BLOCKING
LOADING, STALE = CommandFlag.LOADING, CommandFlag.STALE


def _seen(ks: Keyspace, key: bytes, group: Group, name: bytes) -> tuple[Consumer, bool]:
    """Return a consumer, made if there is none of this name, and whether it was made."""
    consumer = group.consumers.get(name)
    if consumer is not None:
        consumer.seen_ms = ks.now_ms
        return consumer, False
    consumer = group.create_consumer(name, ks.now_ms)
    ks.changed_inside(key)
    ks.notify(b"t", b"xgroup-createconsumer", key)
    return consumer, True


def _log_consumer(ks: Keyspace, key: bytes, group: bytes, name: bytes) -> None:
    ks.propagate(b"XGROUP", b"CREATECONSUMER", key, group, name)


def _log_group(ks: Keyspace, key: bytes, name: bytes, group: Group) -> None:
    last, read = format_id(group.last_id), b"%d" % group.entries_read
    ks.propagate(b"XGROUP", b"SETID", key, name, last, b"ENTRIESREAD", read)


def _log_claim(
    ks: Keyspace, key: bytes, name: bytes, group: Group, nack: Nack, ids: Sequence[int]
) -> None:
    texts = [format_id(entry_id) for entry_id in ids]
    ks.propagate(*claim(key, name, nack, texts), b"LASTID", format_id(group.last_id))


# -- XGROUP ----------------------------------------------------------------------------------------


@command(
    "XGROUP",
    since="5.0.0",
    arity=-2,
    group="stream",
    complexity="Depends on subcommand.",
)
def xgroup(ks: Keyspace, *_: bytes) -> Reply:
    """A container for consumer groups commands."""
    raise AssertionError("a container is never called")


def _group_options(name: bytes, options: Sequence[bytes]) -> tuple[bool, int]:
    """Return whether MKSTREAM is given, and ENTRIESREAD, of XGROUP CREATE or SETID (`name`).
    Raises: ReplyError.
    """
    create, read = False, UNKNOWN
    at = 0
    while at < len(options):
        word = parse.word(options[at])
        if word == b"MKSTREAM" and name == b"CREATE":
            create = True
            at += 1
        elif word == b"ENTRIESREAD" and at + 1 < len(options):
            read = parse.integer(options[at + 1])
            if read < 0 and read != UNKNOWN:
                raise errors.entries_read_below_minus_one()
            at += 2
        else:
            raise errors.subcommand_syntax(b"xgroup", name)
    return create, read


def _stream(ks: Keyspace, key: bytes) -> Stream:
    """Return the stream at key, to change its groups. Raises: ReplyError."""
    stream: Stream | None = ks.lookup_write(key, Stream)
    if stream is None:
        raise errors.xgroup_needs_key()
    return stream


def _stream_and_group(ks: Keyspace, key: bytes, name: bytes) -> tuple[Stream, Group]:
    stream = _stream(ks, key)
    group = stream.groups.get(name)
    if group is None:
        raise errors.no_such_group(key, name)
    return stream, group


@command(
    "XGROUP|CREATE",
    since="5.0.0",
    arity=-5,
    group="stream",
    flags=WRITE | DENYOOM,
    keys=key_at(2, "RW insert"),
    acl=("stream",),
    complexity="O(1)",
    history=(("7.0.0", "Added the `entries_read` named argument."),),
)
def xgroup_create(ks: Keyspace, key: bytes, name: bytes, text: bytes, *options: bytes) -> Reply:
    """Creates a consumer group."""
    create, read = _group_options(b"CREATE", options)
    stream: Stream | None = ks.lookup_write(key, Stream)
    if stream is None and not create:
        raise errors.xgroup_needs_key()
    if len(options) > 3:
        raise errors.subcommand_syntax(b"xgroup", b"CREATE")
    known = 0 if stream is None else stream.last_id
    last_id = known if is_sign(text, b"$") else strict_id(text)
    if stream is None:
        stream = Stream()
        ks.set(key, stream)
    elif name in stream.groups:
        raise errors.group_exists()
    group = stream.groups[name] = Group(last_id, _bounded(ks, stream, read))
    ks.changed_inside(key)
    ks.notify(b"t", b"xgroup-create", key)
    if group.entries_read != read:
        made = (b"MKSTREAM",) if create else ()
        count = b"%d" % group.entries_read
        ks.propagate(
            *(b"XGROUP", b"CREATE", key, name, format_id(last_id), *made, b"ENTRIESREAD", count)
        )
    return OK


def _bounded(ks: Keyspace, stream: Stream, read: int) -> int:
    """Return ENTRIESREAD as a group takes it: not above the number of entries ever added.

    A group that goes on reading may exceed that, and the log, which is read at the time 0, says so.
    """
    return min(read, stream.entries_added) if ks.now_ms else read


@command(
    "XGROUP|SETID",
    since="5.0.0",
    arity=-5,
    group="stream",
    flags=WRITE,
    keys=key_at(2, "RW update"),
    acl=("stream",),
    complexity="O(1)",
    history=(("7.0.0", "Added the optional `entries_read` argument."),),
)
def xgroup_setid(ks: Keyspace, key: bytes, name: bytes, text: bytes, *options: bytes) -> Reply:
    """Sets the last-delivered ID of a consumer group."""
    _, read = _group_options(b"SETID", options)
    stream, group = _stream_and_group(ks, key, name)
    if len(options) > 2:
        raise errors.subcommand_syntax(b"xgroup", b"SETID")
    group.last_id = stream.last_id if is_sign(text, b"$") else loose_id(text)
    group.entries_read = _bounded(ks, stream, read)
    ks.changed_inside(key)
    ks.notify(b"t", b"xgroup-setid", key)
    if group.entries_read != read:
        _log_group(ks, key, name, group)
    return OK


@command(
    "XGROUP|DESTROY",
    since="5.0.0",
    arity=4,
    group="stream",
    flags=WRITE,
    keys=key_at(2, "RW delete"),
    acl=("stream",),
    complexity="O(N) where N is the number of entries in the group's pending entries list (PEL).",
)
def xgroup_destroy(ks: Keyspace, key: bytes, name: bytes) -> Reply:
    """Destroys a consumer group."""
    stream = _stream(ks, key)
    if stream.groups.pop(name, None) is None:
        return ZERO
    ks.changed(key)  # those who wait for entries of this group are told
    ks.notify(b"t", b"xgroup-destroy", key)
    return integer(1)


@command(
    "XGROUP|CREATECONSUMER",
    since="6.2.0",
    arity=5,
    group="stream",
    flags=WRITE | DENYOOM,
    keys=key_at(2, "RW insert"),
    acl=("stream",),
    complexity="O(1)",
)
def xgroup_createconsumer(ks: Keyspace, key: bytes, name: bytes, consumer: bytes) -> Reply:
    """Creates a consumer in a consumer group."""
    _, group = _stream_and_group(ks, key, name)
    if consumer in group.consumers:
        return ZERO
    _seen(ks, key, group, consumer)
    return integer(1)


@command(
    "XGROUP|DELCONSUMER",
    since="5.0.0",
    arity=5,
    group="stream",
    flags=WRITE,
    keys=key_at(2, "RW delete"),
    acl=("stream",),
    complexity="O(1)",
)
def xgroup_delconsumer(ks: Keyspace, key: bytes, name: bytes, consumer: bytes) -> Reply:
    """Deletes a consumer from a consumer group."""
    _, group = _stream_and_group(ks, key, name)
    if consumer not in group.consumers:
        return ZERO
    pending = group.delete_consumer(consumer)
    ks.changed_inside(key)
    ks.notify(b"t", b"xgroup-delconsumer", key)
    return integer(pending)


_XGROUP_HELP: Final = (
    b"XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"CREATE <key> <groupname> <id|$> [option]",
    b"    Create a new consumer group. Options are:",
    b"    * MKSTREAM",
    b"      Create the empty stream if it does not exist.",
    b"    * ENTRIESREAD entries_read",
    b"      Set the group's entries_read counter (internal use).",
    b"CREATECONSUMER <key> <groupname> <consumer>",
    b"    Create a new consumer in the specified group.",
    b"DELCONSUMER <key> <groupname> <consumer>",
    b"    Remove the specified consumer.",
    b"DESTROY <key> <groupname>",
    b"    Remove the specified group.",
    b"SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    b"    Set the current group ID and entries_read counter.",
    b"HELP",
    b"    Print this help.",
)


@command(
    "XGROUP|HELP",
    since="5.0.0",
    arity=2,
    group="stream",
    flags=LOADING | STALE,
    acl=("stream",),
    complexity="O(1)",
)
def xgroup_help(ks: Keyspace) -> Reply:
    """Returns helpful text about the different subcommands."""
    return array([simple(line) for line in _XGROUP_HELP])


# -- XREADGROUP ------------------------------------------------------------------------------------

_NEW: Final = MAX_ID  # `>`
GROUP_WORD: Final = (b"GROUP", b"group")


def _read_from(text: bytes) -> int:
    """Return the ID after which XREADGROUP reads, or _NEW. Raises: ReplyError."""
    if is_sign(text, b">"):
        return _NEW
    for sign in ("$", "+"):
        if is_sign(text, sign.encode()):
            raise errors.id_meaningless_in_group(sign)
    return strict_id(text)


def _lend_group_read(argv: Sequence[bytes], key: bytes, value: Value) -> Value | None:
    """Lend XREADGROUP the entries that it gives, and of the group and its consumer what it reads;
    what others have pending the owner knows.
    """
    if value.__class__ is not Stream:
        return None
    runs: list[Run] = []
    lent = Excerpt(value)
    try:
        request = ReadRequest(argv[1:], "xreadgroup", 0)
        assert request.group is not None
        name, consumer_name = request.group
        group = value.groups.get(name)
        if group is None:
            return lent
        twin = lent.groups[name] = Group(group.last_id, group.entries_read)
        consumer = group.consumers.get(consumer_name)
        if consumer is not None:
            fellow = twin.create_consumer(consumer_name, 0)
        fresh = 0
        for text in request.ids_of(key):
            after = _read_from(text)
            if after == _NEW:
                fresh += 1
            elif consumer is not None:
                for entry_id, nack in _pending(consumer, after, request.limit):
                    run = value.get(entry_id)
                    if run is not None:
                        runs.append(run)
                    if twin.pending.get(entry_id) is None:
                        twin.assign(entry_id, fellow, nack.time_ms, nack.count)
        if fresh:
            runs += value.runs(group.last_id + 1, limit=fresh * request.limit)
    except errors.ReplyError:
        return lent  # the command itself will find the error
    lent.take(runs)
    return lent


@command(
    "XREADGROUP",
    since="5.0.0",
    arity=-7,
    group="stream",
    flags=WRITE | BLOCKING,
    keys=(
        KeySpec(
            4,
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
    complexity="For each stream mentioned: O(M) with M being the number of elements returned. If M "
    "is constant (e.g. always asking for the first 10 elements with COUNT), you can "
    "consider it O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N) "
    "time in order to serve the N clients blocked on the stream getting new data.",
    borrowed=Borrowed(lend=_lend_group_read),
)
def xreadgroup(ks: Keyspace, *args: bytes) -> Reply:
    """Returns new or historical messages from a stream for a consumer in a group. Blocks until a message is available otherwise."""  # noqa: E501
    size = len(args)
    if (
        (size == 8 or size == 6)
        and ks.store.borrowed is None
        and args[-1] == b">"
        and args[0] in GROUP_WORD
        and args[-3] in STREAMS_WORD
        and (size == 6 or args[3] in COUNT_WORD)
    ):
        key, limit = args[-2], parse.integer(args[4]) if size == 8 else -1
        stream = ks.find(key)
        if stream.__class__ is Stream:
            entries = read_new(ks, key, stream, args[1], args[2], limit)
            if entries is not None:
                return pair_map([(bulk(key), entries)]) if entries else NULL_ARRAY
    return _read_group(ks, args)


def read_new(
    ks: Keyspace, key: bytes, stream: Stream, name: bytes, consumer_name: bytes, limit: int
) -> bytes | None:
    """Run XREADGROUP for new entries of one stream.

    Args:
        limit: how many entries at most; not above 0 for all.
    Returns: the entries, encoded; nothing if there is none; None, and nothing has changed, if there
        is no such group or consumer.
    """
    group = stream.groups.get(name)
    if group is None:
        return None
    consumer = group.consumers.get(consumer_name)
    if consumer is None:
        return None
    store = ks.store
    store.hits += 2  # Redis looks every key up twice
    consumer.seen_ms = store.now_ms
    runs = stream.new_runs(group, limit if limit > 0 else -1)
    if not runs:
        return b""
    deliver(ks, key, name, stream, group, consumer, runs, True)
    return entries_reply(runs)


def _read_group(ks: Keyspace, args: Sequence[bytes]) -> Reply:
    """Run XREADGROUP in any of its forms."""
    request = ReadRequest(args, "xreadgroup", ks.now_ms)
    assert request.group is not None
    name, consumer_name = request.group
    found: list[tuple[bytes, Stream, Group, int]] = []
    for key, text in zip(request.keys, request.ids, strict=True):
        stream: Stream | None = ks.lookup_read(key, Stream)
        group = None if stream is None else stream.groups.get(name)
        if stream is None or group is None:
            raise errors.no_group_to_read(key, name)
        found.append((key, stream, group, _read_from(text)))
    ks.store.hits += len(found)  # Redis looks every key up twice
    replies: list[tuple[bytes, Reply]] = []
    for key, stream, group, after in found:
        again: list[bytes] = []
        consumer, made = _seen(ks, key, group, consumer_name)
        if after == _NEW:
            runs = stream.new_runs(group, request.limit)
            if made and (request.no_ack or not runs):  # else XCLAIM makes it
                _log_consumer(ks, key, name, consumer_name)
            if runs:
                deliver(ks, key, name, stream, group, consumer, runs, not request.no_ack)
                replies.append((bulk(key), entries_reply(runs)))
        else:
            if made:
                _log_consumer(ks, key, name, consumer_name)
            history = _history(ks, stream, consumer, after, request.limit, again)
            replies.append((bulk(key), history))
        _tell_seen(ks, key, name, consumer, again)
    if replies:
        return pair_map(replies)
    if request.timeout_ms is None:
        return NULL_ARRAY
    return Wait(tuple(request.keys), request.timeout_ms, Stream, NULL_ARRAY, on_nokey=True)


def deliver(
    ks: Keyspace,
    key: bytes,
    name: bytes,
    stream: Stream,
    group: Group,
    consumer: Consumer,
    runs: Sequence[Run],
    pend: bool,
) -> None:
    """Give entries that are new to the group `name` to a consumer.

    Args:
        runs: the entries, at least one, as `Stream.new_runs` returned them.
        pend: whether they are pending then.
    """
    ids = runs[0][1] if len(runs) == 1 else [entry_id for run in runs for entry_id in run[1]]
    stream.advance(group, ids)
    store = ks.store
    store.dirty += 1
    now_ms = store.now_ms
    if pend:
        group.deliver(consumer, ids, now_ms)
    if store.log is None:
        return
    if pend:
        nack = Nack(consumer, now_ms, 1)
        for at in range(0, len(ids), CLAIMED_AT_ONCE):
            _log_claim(ks, key, name, group, nack, ids[at : at + CLAIMED_AT_ONCE])
    _log_group(ks, key, name, group)


def _pending(consumer: Consumer, after: int, limit: int) -> Iterable[tuple[int, Nack]]:
    """Return what a consumer has pending after an ID, at most `limit`, negative for all."""
    items = consumer.pending.walk(after + 1)
    return islice(items, limit) if limit > 0 else items


def _history(
    ks: Keyspace, stream: Stream, consumer: Consumer, after: int, limit: int, again: list[bytes]
) -> Reply:
    """Deliver pending entries once more, those that were deleted without their fields; the IDs of
    the others are added to `again`.
    """
    replies: list[Reply] = []
    for entry_id, nack in _pending(consumer, after, limit):
        run = stream.get(entry_id)
        if run is None:
            replies.append(array([bulk(format_id(entry_id)), NULL_ARRAY]))
            continue
        nack.time_ms = ks.now_ms
        nack.count += 1
        again.append(format_id(entry_id))
        pieces: list[bytes] = []
        add_entries(pieces, run)
        replies.append(b"".join(pieces))
    return array(replies)


# What the log does not hold of a consumer, as an effect for the owner of a stream that was lent:
# key, group, consumer, the time at which it was seen, and the IDs that it was given again.
_SEEN: Final = b"\2"


def _tell_seen(
    ks: Keyspace, key: bytes, name: bytes, consumer: Consumer, again: Sequence[bytes] = ()
) -> None:
    if ks.store.borrowed is not None:
        ks.propagate(_SEEN, key, name, consumer.name, b"%d" % consumer.seen_ms, *again)


def _take_seen(
    ks: Keyspace, key: bytes, name: bytes, consumer_name: bytes, time_ms: bytes, *again: bytes
) -> None:
    stream = ks.find(key)
    assert stream.__class__ is Stream
    consumer = stream.groups[name].consumers[consumer_name]
    consumer.seen_ms = int(time_ms)
    for text in again:
        nack = consumer.pending.get(strict_id(text))
        assert nack is not None
        nack.time_ms = consumer.seen_ms
        nack.count += 1


UNLOGGED[_SEEN] = _take_seen


# -- XACK, XACKDEL ---------------------------------------------------------------------------------


@command(
    "XACK",
    since="5.0.0",
    arity=-4,
    group="stream",
    flags=WRITE | FAST,
    keys=key_at(1, "RW update"),
    acl=("stream",),
    complexity="O(1) for each message ID processed.",
)
def xack(ks: Keyspace, key: bytes, name: bytes, *ids: bytes) -> Reply:
    """Returns the number of messages that were successfully acknowledged by the consumer group member of a stream."""  # noqa: E501
    stream: Stream | None = ks.lookup_read(key, Stream)
    group = None if stream is None else stream.groups.get(name)
    if group is None:
        return ZERO
    acknowledge = group.acknowledge
    if len(ids) == 1:
        acknowledged = int(acknowledge(strict_id(ids[0])))
    else:
        entries = [strict_id(text) for text in ids]
        acknowledged = sum([acknowledge(entry_id) for entry_id in entries])
    if acknowledged:
        ks.changed_inside(key)
    return integer(acknowledged)


@command(
    "XACKDEL",
    since="8.2.0",
    arity=-6,
    group="stream",
    flags=WRITE | FAST,
    keys=key_at(1, "RW update delete"),
    acl=("stream",),
    complexity="O(1) for each message ID processed.",
)
def xackdel(ks: Keyspace, key: bytes, name: bytes, *args: bytes) -> Reply:
    """Acknowledges and deletes one or multiple messages for a stream consumer group."""
    stream: Stream | None = ks.lookup_read(key, Stream)
    texts, references = ids_with_references(args)
    group = None if stream is None else stream.groups.get(name)
    if stream is None or group is None:
        return deletions([Deletion.MISSING] * len(texts))
    ids = [strict_id(text) for text in texts]
    outcomes = []
    length = stream.length
    for entry_id in ids:
        outcome = Deletion.MISSING
        if group.acknowledge(entry_id):
            outcome = stream.delete_with(entry_id, references)
            if outcome is Deletion.MISSING:
                outcome = Deletion.DELETED
            ks.changed_inside(key)
        outcomes.append(outcome)
    if stream.length != length:
        ks.changed(key)
        ks.notify(b"t", b"xdel", key)
    return deletions(outcomes)


# -- XPENDING --------------------------------------------------------------------------------------


def _group_of(key: bytes, name: bytes, stream: Stream | None) -> tuple[Stream, Group]:
    """Return the group, and its stream. Raises: ReplyError if either is missing."""
    group = None if stream is None else stream.groups.get(name)
    if stream is None or group is None:
        raise errors.no_key_or_group(key, name)
    return stream, group


@command(
    "XPENDING",
    since="5.0.0",
    arity=-3,
    group="stream",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=("stream",),
    complexity="O(N) with N being the number of elements returned, so asking for a small fixed "
    "number of entries per call is O(1). O(M), where M is the total number of entries "
    "scanned when used with the IDLE filter. When the command returns just the summary "
    "and the list of consumers is small, it runs in O(1) time; otherwise, an additional "
    "O(N) time for iterating every consumer.",
    tips=("nondeterministic_output",),
    history=(("6.2.0", "Added the `IDLE` option and exclusive range intervals."),),
)
def xpending(ks: Keyspace, key: bytes, name: bytes, *args: bytes) -> Reply:
    """Returns the information and entries from a stream consumer group's pending entries list."""
    if not args:
        return _pending_summary(_group_of(key, name, ks.lookup_read(key, Stream))[1])
    if len(args) < 3 or len(args) > 6:
        raise errors.syntax_error()
    min_idle = 0
    if parse.word(args[0]) == b"IDLE":
        min_idle = parse.integer(args[1])
        if len(args) < 5:
            raise errors.syntax_error()
        args = args[2:]
    limit = max(parse.integer(args[2]), 0)
    start, end = interval_start(args[0]), interval_end(args[1])
    _, group = _group_of(key, name, ks.lookup_read(key, Stream))
    pending = group.pending
    if len(args) > 3:
        consumer = group.consumers.get(args[3])
        if consumer is None:
            return b"*0\r\n"
        pending = consumer.pending
    replies: list[bytes] = []
    for entry_id, nack in pending.walk(start):
        if len(replies) == limit or entry_id > end:
            break
        idle = ks.now_ms - nack.time_ms
        if min_idle and idle < min_idle:
            continue
        who = bulk(format_id(entry_id)) + bulk(nack.consumer.name)
        replies.append(b"*4\r\n%b:%d\r\n:%d\r\n" % (who, max(idle, 0), nack.count))
    return b"*%d\r\n%b" % (len(replies), b"".join(replies))


def _pending_summary(group: Group) -> Reply:
    pending = group.pending
    if not len(pending):
        return array([ZERO, NULL, NULL, NULL_ARRAY])
    counts = [
        array([bulk(name), bulk(b"%d" % len(consumer.pending))])
        for name, consumer in sorted(group.consumers.items())
        if len(consumer.pending)
    ]
    first, last = bulk(format_id(pending.first())), bulk(format_id(pending.last()))
    return array([integer(len(pending)), first, last, array(counts)])


# -- XCLAIM, XAUTOCLAIM ----------------------------------------------------------------------------


class _Claim:
    """The options of XCLAIM.

    Attributes:
        time_ms: when the entries count as delivered, None for now.
        count: how often, None for once more.
        last_id: the group's last ID becomes at least this.
    """

    __slots__ = ("count", "force", "just_id", "last_id", "time_ms")

    def __init__(self, options: Sequence[bytes], now_ms: int) -> None:
        """Read the options. Raises: ReplyError."""
        self.time_ms: int | None = None
        self.count: int | None = None
        self.last_id = 0
        self.force = self.just_id = False
        rest = iter(options)
        left = len(options)
        for option in rest:
            word = parse.word(option)
            left -= 1
            if word == b"FORCE":
                self.force = True
            elif word == b"JUSTID":
                self.just_id = True
            elif word in _CLAIM_NUMBERS and left:
                left -= 1
                number = parse_int(next(rest))
                if number is None:
                    raise errors.invalid_argument_of(f"{word.decode()} option", "XCLAIM")
                if word == b"RETRYCOUNT":
                    self.count = number if number >= 0 else None
                else:
                    self.time_ms = now_ms - number if word == b"IDLE" else number
            elif word == b"LASTID" and left:
                left -= 1
                self.last_id = strict_id(next(rest))
            else:
                raise errors.unrecognized_xclaim_option(option)

    def delivery_ms(self, now_ms: int) -> int:
        """Return the delivery time: one that makes no sense is now."""
        given = self.time_ms
        if given is None:
            return now_ms
        if not now_ms:  # the log is read, and knows
            return given
        return given if 0 <= given <= now_ms else now_ms


_CLAIM_NUMBERS: Final = frozenset({b"IDLE", b"TIME", b"RETRYCOUNT"})


def _claimed(stream: Stream, entry_id: int, just_id: bool, replies: list[bytes]) -> None:
    """Append the reply for an entry that is there."""
    if just_id:
        replies.append(bulk(format_id(entry_id)))
        return
    run = stream.get(entry_id)
    assert run is not None
    pieces: list[bytes] = []
    add_entries(pieces, run)
    replies.append(b"".join(pieces))


@command(
    "XCLAIM",
    since="5.0.0",
    arity=-6,
    group="stream",
    flags=WRITE | FAST,
    keys=key_at(1, "RW update"),
    acl=("stream",),
    complexity="O(log N) with N being the number of messages in the PEL of the consumer group.",
    tips=("nondeterministic_output",),
)
def xclaim(
    ks: Keyspace, key: bytes, name: bytes, consumer_name: bytes, min_idle: bytes, *args: bytes
) -> Reply:
    """Changes, or acquires, ownership of a message in a consumer group, as if the message was delivered a consumer group member."""  # noqa: E501
    stream, group = _group_of(key, name, ks.lookup_read(key, Stream))
    idle_ms = parse_int(min_idle)
    if idle_ms is None:
        raise errors.invalid_argument_of("min-idle-time", "XCLAIM")
    ids: list[int] = []
    for text in args:
        entry_id = parse_id(text)
        if entry_id is None:
            break
        ids.append(entry_id)
    now_ms = ks.now_ms
    options = _Claim(args[len(ids) :], now_ms)
    time_ms = options.delivery_ms(now_ms)
    consumer, made = _seen(ks, key, group, consumer_name)
    if not now_ms:
        consumer.seen_ms = time_ms
    advanced = options.last_id > group.last_id  # which the log of a claim says too
    if advanced:
        group.last_id = options.last_id
    replies: list[bytes] = []
    for entry_id in ids:
        nack = group.pending.get(entry_id)
        if entry_id not in stream:
            if nack is not None:  # pending no longer: it was deleted
                made, advanced = made and nack.consumer is not consumer, False
                _forget(ks, key, name, group, entry_id, nack)
                continue
            # What rebuilds a stream says so of entries that are pending though they were deleted.
            if now_ms or not options.just_id:
                continue
        if nack is None:
            if not options.force:
                continue
            nack = group.assign(entry_id, consumer, time_ms, 1)
        elif idle_ms > 0 and now_ms - nack.time_ms < idle_ms:
            continue
        group.move(entry_id, nack, consumer)
        nack.time_ms = time_ms
        if options.count is not None:
            nack.count = options.count
        elif not options.just_id:
            nack.count += 1
        consumer.active_ms = now_ms or time_ms
        _claimed(stream, entry_id, options.just_id, replies)
        _log_claim(ks, key, name, group, nack, (entry_id,))
        ks.changed_inside(key)
        made = advanced = False
    if made:
        _log_consumer(ks, key, name, consumer_name)
    if advanced:
        _log_group(ks, key, name, group)
        ks.changed_inside(key)
    _tell_seen(ks, key, name, consumer)
    return b"*%d\r\n%b" % (len(replies), b"".join(replies))


def _forget(ks: Keyspace, key: bytes, name: bytes, group: Group, entry_id: int, nack: Nack) -> None:
    """Let an entry that was deleted be pending no longer; claiming it once more logs that."""
    _log_claim(ks, key, name, group, nack, (entry_id,))
    ks.changed_inside(key)
    group.acknowledge(entry_id)


# Entries that XAUTOCLAIM looks at for each that it may return.
_ATTEMPTS: Final = 10
# Redis makes room for as many IDs, which an address space of 47 bits bounds.
_ID_BYTES: Final = 16
_MAX_COUNT: Final = INT64_MAX // _ID_BYTES
_MAX_ID_BYTES: Final = 1 << 47


@command(
    "XAUTOCLAIM",
    since="6.2.0",
    arity=-6,
    group="stream",
    flags=WRITE | FAST,
    keys=key_at(1, "RW delete"),
    acl=("stream",),
    complexity="O(1) if COUNT is small.",
    tips=("nondeterministic_output",),
    history=(
        (
            "7.0.0",
            "Added an element to the reply array, containing deleted entries the command cleared "
            "from the PEL",
        ),
    ),
)
def xautoclaim(
    ks: Keyspace,
    key: bytes,
    name: bytes,
    consumer_name: bytes,
    min_idle: bytes,
    start: bytes,
    *options: bytes,
) -> Reply:
    """Changes, or acquires, ownership of messages in a consumer group, as if the messages were delivered to as consumer group member."""  # noqa: E501
    value = ks.lookup_read(key)
    idle_ms = parse_int(min_idle)
    if idle_ms is None:
        raise errors.invalid_argument_of("min-idle-time", "XAUTOCLAIM")
    first = interval_start(start)
    count, just_id = _autoclaim_options(options)
    if value is not None and value.__class__ is not Stream:
        raise errors.wrong_type()
    stream, group = _group_of(key, name, value)
    if count * _ID_BYTES > _MAX_ID_BYTES:
        raise errors.count_too_high()
    consumer, made = _seen(ks, key, group, consumer_name)
    now_ms = ks.now_ms
    claimed: list[bytes] = []
    deleted: list[int] = []
    attempts = count * _ATTEMPTS
    cursor = 0
    left = count
    for entry_id, nack in group.pending.walk(first):
        if not attempts or not left:
            cursor = entry_id
            break
        attempts -= 1
        if entry_id not in stream:
            made = made and nack.consumer is not consumer
            _forget(ks, key, name, group, entry_id, nack)
            deleted.append(entry_id)
            left -= 1
            continue
        if idle_ms > 0 and now_ms - nack.time_ms < idle_ms:
            continue
        group.move(entry_id, nack, consumer)
        nack.time_ms = now_ms
        if not just_id:
            nack.count += 1
        consumer.active_ms = now_ms
        left -= 1
        _claimed(stream, entry_id, just_id, claimed)
        _log_claim(ks, key, name, group, nack, (entry_id,))
        ks.changed_inside(key)
        made = False
    if made:
        _log_consumer(ks, key, name, consumer_name)
    _tell_seen(ks, key, name, consumer)
    return b"*3\r\n%b*%d\r\n%b*%d\r\n%b" % (
        bulk(format_id(cursor)),
        len(claimed),
        b"".join(claimed),
        len(deleted),
        b"".join([bulk(format_id(entry_id)) for entry_id in deleted]),
    )


def _autoclaim_options(options: Sequence[bytes]) -> tuple[int, bool]:
    count, just_id = 100, False
    rest = iter(options)
    left = len(options)
    for option in rest:
        word = parse.word(option)
        left -= 1
        if word == b"COUNT" and left:
            left -= 1
            number = parse_int(next(rest))
            if number is None or not 1 <= number <= _MAX_COUNT:
                raise errors.count_not_positive()
            count = number
        elif word == b"JUSTID":
            just_id = True
        else:
            raise errors.syntax_error()
    return count, just_id
