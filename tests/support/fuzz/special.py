"""Commands that are not just sent to both servers: their outcome is free, to a degree that these
functions hold them to, and what is free must not make all that follows differ.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from shoal.proto.rdb_format import StreamValue, read_value, unseal
from support.fuzz.alike import alike, alike_all, unordered, unordered_pairs
from support.fuzz.grammar import Argv
from support.fuzz.state import stream_content
from support.fuzz.wrapped import queued, unfolded
from support.raw import RawClient, bulk_text, pack, read_reply, split_reply

Replies = tuple[bytes, bytes]
"""What Redis and Shoal said, where it differs."""


class Both(NamedTuple):
    """The two connections, and the version of the protocol they speak."""

    redis: RawClient
    shoal: RawClient
    resp: int

    def call(self, *argv: bytes) -> tuple[bytes, bytes]:
        """Return both replies."""
        return self.redis.call(*argv), self.shoal.call(*argv)


Special = Callable[[Both, Argv], Replies | None]

SCANS: Final = {b"SCAN": 1, b"HSCAN": 2, b"SSCAN": 2, b"ZSCAN": 2}
"""Where the cursor stands."""


def special_of(argv: Argv) -> Special | None:
    """Return what runs this command on both, None for one that is simply sent."""
    name = argv[0].upper()
    if queued(argv) is not None:
        return transact
    if name in _BY_NAME:
        return _BY_NAME[name]
    words = [word.upper() for word in argv[1:]]
    if name == b"XGROUP" and words[:1] == [b"DESTROY"]:
        return destroy_group
    if name in _GEO_SEARCHES and b"COUNT" in words:
        return store_places if _stores_places(name, words) else find_places
    return None


# -- SCAN ------------------------------------------------------------------------------------------


def scan(both: Both, argv: Argv) -> Replies | None:
    """Scan to the end on both; what is found must be the same, in whatever order and pieces."""
    at = SCANS[argv[0].upper()]
    theirs, ours = _scan(both.redis, argv, at), _scan(both.shoal, argv, at)
    # Of a cursor that no scan gave only the errors are compared.
    free = argv[at : at + 1] != (b"0",) and b"-" not in (theirs[:1], ours[:1])
    return None if free or theirs == ours else (theirs, ours)


def _scan(client: RawClient, argv: Argv, at: int) -> bytes:
    """Return an error as it is, else the distinct elements, sorted."""
    found: set[bytes] = set()
    step = 2 if argv[0].upper() in (b"HSCAN", b"ZSCAN") else 1
    if b"NOVALUES" in map(bytes.upper, argv):
        step = 1
    from_start = len(argv) > at and argv[at] == b"0"
    while True:
        reply = client.call(*argv)
        header, items = split_reply(reply)
        if not items:
            return reply
        cursor, elements = bulk_text(items[0]), split_reply(items[1])[1]
        found.update(b"".join(row) for row in zip(*[iter(elements)] * step, strict=True))
        if cursor == b"0" or not from_start:
            return header + b"".join(sorted(found))
        argv = (*argv[:at], cursor, *argv[at + 1 :])


# -- SPOP ------------------------------------------------------------------------------------------


def spop(both: Both, argv: Argv) -> Replies | None:
    """Let Shoal pick, and have the same members removed from Redis's set."""
    reply = both.shoal.call(*argv)
    header, items = split_reply(reply)
    members = items if header[:1] in b"*~" else [reply] if reply[:1] == b"$" else []
    if not members or reply == b"$-1\r\n":
        expected = both.redis.call(*argv)
        return None if expected == reply else (expected, reply)
    size = int(both.redis.call(b"SCARD", argv[1])[1:-2])
    wanted = 1 if len(argv) == 2 else min(int(argv[2]), size)
    removed = both.redis.call(b"SREM", argv[1], *map(bulk_text, members))
    kind = b"$" if len(argv) == 2 else b"~" if both.resp == 3 else b"*"
    if removed == b":%d\r\n" % wanted and len(members) == wanted and header[:1] == kind:
        # Of many, SPOP makes a new set of those that are left, which may be a listpack again;
        # SREM leaves it as it is.
        _make_anew(both, argv[1])
        return None
    return b"(members of its set that were removed) " + removed, reply


def _make_anew(both: Both, key: bytes) -> None:
    if len(set(both.call(b"OBJECT", b"ENCODING", key))) > 1:
        both.call(b"SUNIONSTORE", key, key)


# -- DUMP ------------------------------------------------------------------------------------------


def dump(both: Both, argv: Argv) -> Replies | None:
    """Dump the key on both, and let each restore what the other said."""
    theirs, ours = both.call(*argv)
    if theirs[:1] != b"$" or ours[:1] != b"$" or b"$-1\r\n" in (theirs, ours):
        return None if theirs == ours else (theirs, ours)
    key = argv[1]
    is_hash_table = both.redis.call(b"OBJECT", b"ENCODING", key) == b"$9\r\nhashtable\r\n"
    restore = (b"RESTORE", key, b"0")
    by_redis = both.redis.call(*restore, bulk_text(ours), b"REPLACE")
    by_shoal = both.shoal.call(*restore, bulk_text(theirs), b"REPLACE")
    if by_redis != b"+OK\r\n" or by_shoal != b"+OK\r\n":
        return b"RESTORE of Shoal's: " + by_redis, b"RESTORE of Redis's: " + by_shoal
    if is_hash_table:
        # A small one becomes a listpack, in the order of the table it was, which is free.
        theirs, ours = _elements(both.redis, key), _elements(both.shoal, key)
        both.call(b"DEL", key)
        return None if theirs == ours else (theirs, ours)
    if _has_deleted(bulk_text(theirs)):
        # Shoal's leaves those entries out, so the nodes of what Redis made of it are others.
        contents = stream_content(both.redis, key), stream_content(both.shoal, key)
        both.call(*restore, bulk_text(theirs), b"REPLACE")
        return None if contents[0] == contents[1] else contents
    return None


def _has_deleted(payload: bytes) -> bool:
    """Tell whether it is a stream's, and has entries that are marked as deleted."""
    reader = unseal(payload)
    assert reader is not None, payload
    value = read_value(reader.byte(), reader)
    if not isinstance(value, StreamValue):
        return False
    return any(entry.deleted for node in value.nodes for entry in node.entries)


def _elements(client: RawClient, key: bytes) -> bytes:
    """Return the members of a set or the pairs of a hash, sorted."""
    reply = client.call(b"SMEMBERS", key)
    return unordered(reply) if reply[:1] != b"-" else unordered_pairs(client.call(b"HGETALL", key))


# -- XGROUP DESTROY --------------------------------------------------------------------------------


def destroy_group(both: Both, argv: Argv) -> Replies | None:
    """Destroy a group, and let Redis forget the lowest last id of all groups.

    Redis 8.2 remembers it, and forgets to forget it when that group is destroyed, so that ACKED
    keeps entries which no group waits for (redis/redis#14552).
    """
    theirs, ours = both.call(*argv)
    if theirs == b":1\r\n":
        for step in _forget_lowest(argv[2]):
            both.redis.call(*step)
    return None if alike(argv, theirs, ours) else (theirs, ours)


def _forget_lowest(key: bytes) -> tuple[Argv, ...]:
    name = b"{fuzz} lowest"
    return (
        (b"XGROUP", b"CREATE", key, name, b"0"),
        (b"XGROUP", b"SETID", key, name, b"0"),
        (b"XGROUP", b"DESTROY", key, name),
    )


_DESTROY: Final = re.compile(rb"\*4\r\n\$6\r\nXGROUP\r\n\$7\r\nDESTROY\r\n", re.IGNORECASE)


def forgetting(log: bytes) -> bytes:
    """Return a log by which Redis forgets it, too, where groups are destroyed."""
    pieces, done = [], 0
    stream = io.BytesIO(log)
    for match in _DESTROY.finditer(log):
        stream.seek(match.end())
        key, _group = read_reply(stream), read_reply(stream)
        end = stream.tell()
        pieces += [log[done:end], *(pack(*step) for step in _forget_lowest(bulk_text(key)))]
        done = end
    return b"".join([*pieces, log[done:]])


# -- searches on the earth that take some of what they find ----------------------------------------

_RADIUS_SEARCHES: Final = (b"GEORADIUS", b"GEORADIUSBYMEMBER")
_GEO_SEARCHES: Final = (
    *(b"GEOSEARCH", b"GEOSEARCHSTORE", *_RADIUS_SEARCHES),
    *(name + b"_RO" for name in _RADIUS_SEARCHES),
)
_STORE: Final = (b"STORE", b"STOREDIST")
_DETAILS: Final = (b"WITHDIST", b"WITHCOORD", b"WITHHASH")
_ALL_PLACES: Final = b"{fuzz} places"


def _stores_places(name: bytes, words: Sequence[bytes]) -> bool:
    if name in _RADIUS_SEARCHES:
        return any(word in _STORE for word in words)
    return name == b"GEOSEARCHSTORE"


def find_places(both: Both, argv: Argv) -> Replies | None:
    """Ask for what is near, up to a COUNT; of places at the same distance it may take any."""
    theirs, ours = both.call(*argv)
    if alike(argv, theirs, ours):
        return None
    (header, a), (other_header, b) = split_reply(theirs), split_reply(ours)
    if header != other_header or header[:1] != b"*":
        return theirs, ours
    every = split_reply(both.redis.call(*_without(argv, (b"COUNT",), (b"ANY",))))[1]
    far = _all_places(both.redis, argv, distances=True)
    detailed = any(word.upper() in _DETAILS for word in argv)
    distances = [
        [far.get(split_reply(item)[1][0] if detailed else item) for item in items]
        for items in (a, b)
    ]
    known = set(b) <= set(every) and len(set(b)) == len(b)
    return None if known and distances[0] == distances[1] else (theirs, ours)


def store_places(both: Both, argv: Argv) -> Replies | None:
    """Store what is near, up to a COUNT; of places at the same distance it may take any."""
    places, far = _all_places(both.redis, argv, distances=False), {}
    if places:
        far = _all_places(both.redis, argv, distances=True)
    theirs, ours = both.call(*argv)
    if theirs != ours or theirs[:1] != b":":
        return None if alike(argv, theirs, ours) else (theirs, ours)
    key = _target(argv)
    pairs = both.call(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES")
    if pairs[0] == pairs[1]:
        return None
    stored, chosen = (_scores(client, key) for client in both[:2])
    expected = far if _by_distance(argv) else places
    as_far = sorted(far.get(name, b"") for name in stored) == sorted(
        far.get(name, b"") for name in chosen
    )
    if not as_far or not chosen.items() <= expected.items():
        return pairs
    payload = bulk_text(both.shoal.call(b"DUMP", key))
    both.call(b"RESTORE", key, b"0", payload, b"REPLACE")
    return None


def _by_distance(argv: Argv) -> bool:
    return b"STOREDIST" in map(bytes.upper, argv)


def _target(argv: Argv) -> bytes:
    """Return the key that the result is stored at."""
    if argv[0].upper() == b"GEOSEARCHSTORE":
        return argv[1]
    words = [word.upper() for word in argv]
    at = max(at for at, word in enumerate(words[:-1]) if word in _STORE)
    return argv[at + 1]


def _all_places(redis: RawClient, argv: Argv, *, distances: bool) -> dict[bytes, bytes]:
    """Return what the search finds without its COUNT, and with which scores; nothing if it is not
    valid.
    """
    name = argv[0].upper()
    flag = b"STOREDIST" if distances else b"STORE"
    if name.startswith(b"GEOSEARCH"):
        words = argv[2:] if name == b"GEOSEARCHSTORE" else argv[1:]
        kept = [b"GEOSEARCHSTORE", _ALL_PLACES]
        kept += _without(words, (b"COUNT",), (b"ANY", b"STOREDIST", *_DETAILS))
        kept += [flag] if distances else []
    else:
        kept = [name.removesuffix(b"_RO")]
        kept += _without(argv[1:], (b"COUNT", *_STORE), (b"ANY", *_DETAILS))
        kept += [flag, _ALL_PLACES]
    redis.call(*kept)
    found = _scores(redis, _ALL_PLACES)
    redis.call(b"DEL", _ALL_PLACES)
    return found


def _without(
    argv: Sequence[bytes], options: Sequence[bytes], flags: Sequence[bytes]
) -> list[bytes]:
    """Return the words without some options, each with its argument, and without some flags."""
    kept = []
    words = iter(argv)
    for word in words:
        if word.upper() in options:
            next(words, None)
        elif word.upper() not in flags:
            kept.append(word)
    return kept


def _scores(client: RawClient, key: bytes) -> dict[bytes, bytes]:
    """Return the scores of a sorted set as they are sent, by encoded member."""
    items = split_reply(client.call(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"))[1]
    if items and items[0][:1] == b"*":  # RESP3
        items = [part for item in items for part in split_reply(item)[1]]
    return dict(zip(items[::2], items[1::2], strict=True))


# -- MULTI -----------------------------------------------------------------------------------------


def transact(both: Both, argv: Argv) -> Replies | None:
    """Run a transaction on both, and compare the reply to each of its commands."""
    commands = queued(argv)
    assert commands is not None
    data = b"".join([pack(*step) for step in unfolded([argv])])
    replies: list[list[bytes]] = []
    for client in both[:2]:
        client.send(data)
        replies.append([client.read_reply() for _ in range(len(commands) + 2)])
    (*queueing, theirs), (*our_queueing, ours) = replies
    if queueing != our_queueing:
        return b"".join(queueing), b"".join(our_queueing)
    if theirs == ours or alike_all(commands, theirs, ours):
        return None
    return theirs, ours


_BY_NAME: Final[dict[bytes, Special]] = {
    **dict.fromkeys(SCANS, scan),
    b"SPOP": spop,
    b"DUMP": dump,
}
