"""All that a server holds, read back key by key, and what differs between two of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import hiredis
from support.fuzz.alike import near_ms, same_encoding, timeless, unordered, unordered_pairs
from support.fuzz.grammar import Argv
from support.raw import RawClient, bulk_text, pack, split_reply

Key = tuple[int, bytes]
"""A database and a key in it."""

DATABASES: Final = (0, 1, 2)
"""The databases that scripts use."""

ENTRIES_BOUND: Final = b"1000000"


class Value(NamedTuple):
    """What a key holds.

    Attributes:
        kind, encoding: as TYPE and OBJECT ENCODING say.
        expire_ms: as PEXPIRETIME says.
        content: replies that tell all of it, without order where there is none, without times of
            delivery.
        expires_ms: of the fields of a hash, sorted by field, -1 for none.
    """

    kind: bytes
    encoding: bytes
    expire_ms: int
    content: tuple[bytes, ...]
    expires_ms: tuple[int, ...] = ()


Contents = dict[Key, Value]


def contents(client: RawClient) -> Contents:
    """Return what a server holds in the databases of scripts; the client ends up in database 0."""
    found: Contents = {}
    for db in (*DATABASES[1:], DATABASES[0]):
        client.call(b"SELECT", b"%d" % db)
        keys = sorted(map(bulk_text, split_reply(client.call(b"KEYS", b"*"))[1]))
        questions = [(word, *more, key) for key in keys for word, *more in _ABOUT]
        answers = iter(_ask(client, questions))
        for key in keys:
            kind, encoding, expire = next(answers), next(answers), next(answers)
            value = Value(kind[1:-2], encoding, int(expire[1:-2]), ())
            found[db, key] = _read(client, key, value)
    return found


_ABOUT: Final = ((b"TYPE",), (b"OBJECT", b"ENCODING"), (b"PEXPIRETIME",))


def _read(client: RawClient, key: bytes, value: Value) -> Value:
    kind = value.kind
    if kind == b"string":
        return value._replace(content=(client.call(b"GET", key),))
    if kind == b"list":
        return value._replace(content=(client.call(b"LRANGE", key, b"0", b"-1"),))
    if kind == b"set":
        return value._replace(content=(unordered(client.call(b"SMEMBERS", key)),))
    if kind == b"zset":
        return value._replace(content=(client.call(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"),))
    if kind == b"hash":
        return _read_hash(client, key, value)
    if kind == b"stream":
        return value._replace(content=_read_stream(client, key))
    return value  # it has gone meanwhile, or is of a type that scripts cannot make


def _read_stream(client: RawClient, key: bytes) -> tuple[bytes, bytes]:
    info = client.call(b"XINFO", b"STREAM", key, b"FULL", b"COUNT", ENTRIES_BOUND)
    return client.call(b"XRANGE", key, b"-", b"+"), timeless(info)


def stream_content(client: RawClient, key: bytes) -> bytes:
    """Return all that a stream holds, without times and without how its entries lie in nodes."""
    entries, info = _read_stream(client, key)
    return b"%b %b" % (entries, _NODES.sub(rb"\1:N", info))


_NODES: Final = re.compile(rb"(\$1[56]\r\nradix-tree-(?:keys|nodes)\r\n):\d+")


def _read_hash(client: RawClient, key: bytes, value: Value) -> Value:
    reply = client.call(b"HGETALL", key)
    fields = sorted(set(map(bulk_text, split_reply(reply)[1][::2])))
    expires: tuple[int, ...] = ()
    if fields:
        times = client.call(b"HPEXPIRETIME", key, b"FIELDS", b"%d" % len(fields), *fields)
        expires = tuple(int(item[1:-2]) for item in split_reply(times)[1])
    if b"listpack" not in value.encoding:
        reply = unordered_pairs(reply)  # a hash table's order; a listpack's is that of insertion
    return value._replace(content=(reply,), expires_ms=expires)


def _ask(client: RawClient, questions: Sequence[Argv]) -> Iterable[bytes]:
    client.send(b"".join(pack(*argv) for argv in questions))
    return [client.read_reply() for _ in questions]


def differences(theirs: Contents, ours: Contents, *, encodings: bool = True) -> list[str]:
    """Return a line for each key that differs. encodings: whether OBJECT ENCODING counts."""
    lines = []
    for db, key in sorted({*theirs, *ours}):
        a, b = theirs.get((db, key)), ours.get((db, key))
        if a is None or b is None:
            lines.append(f"db {db} {key!r}: {_shown(a)} | {_shown(b)}")
            continue
        if not encodings or same_encoding(a.encoding, b.encoding):
            b = b._replace(encoding=a.encoding)
        for name, one, other in zip(Value._fields, a, b, strict=True):
            if one != other and not _same_times(name, one, other):
                lines.append(f"db {db} {key!r} {name}: {' | '.join(apart(one, other))}")
    return lines


def _same_times(name: str, a: object, b: object) -> bool:
    if isinstance(a, int) and isinstance(b, int):
        return name == "expire_ms" and near_ms(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return name == "expires_ms" and len(a) == len(b) and all(map(near_ms, a, b))
    return False


def _shown(value: Value | None) -> str:
    return "not there" if value is None else _brief(value)


def apart(a: object, b: object) -> tuple[str, str]:
    """Show two things, if they are long from a little before the place where they part."""
    one, other = repr(a), repr(b)
    start = max(0, _common(one, other) - 300)
    return _from(one, start), _from(other, start)


def _common(one: str, other: str) -> int:
    """Return how many characters they begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _from(text: str, start: int) -> str:
    end = start + 1500
    return ("..." if start else "") + text[start:end] + ("..." if end < len(text) else "")


def _brief(what: object) -> str:
    text = repr(what)
    return text if len(text) <= 600 else f"{text[:600]}... ({len(text)} characters)"


# -- what a log can tell ---------------------------------------------------------------------------


def logged(held: Contents, *, rewritten: bool = False) -> Contents:
    """Return what the log can tell of them; see `_stream`. rewritten: whether the values were made
    anew. Encodings may be others, and what depends on them.
    """
    return {key: _logged(value, rewritten) for key, value in held.items()}


def _logged(value: Value, rewritten: bool) -> Value:
    if value.kind == b"stream":
        return _stream(value, rewritten)
    if value.kind == b"hash":
        return value._replace(content=(unordered_pairs(value.content[0]),))
    if value.kind == b"zset":
        # In a listpack -0 becomes 0.
        (reply,) = value.content
        reply = reply.replace(b"$2\r\n-0\r\n", b"$1\r\n0\r\n").replace(b",-0\r\n", b",0\r\n")
        return value._replace(content=(reply,))
    return value


def _stream(value: Value, rewritten: bool) -> Value:
    """Leave out of a stream what Redis does not log either: how often an entry was read again from
    the history of its consumer, and its nodes, which depend on thresholds. Where all values were
    made anew, by XGROUP and XCLAIM, also when consumers were active, and pending entries that are
    no longer in the stream.
    """
    entries, info = (_parsed(reply.replace(b":T\r", b":0\r")) for reply in value.content)
    ids = {entry[0] for entry in entries}
    _put(info, b"radix-tree-keys", 0)
    _put(info, b"radix-tree-nodes", 0)
    for group in _get(info, b"groups"):
        for owner in (group, *_get(group, b"consumers")):
            pending = [item[:-1] for item in _get(owner, b"pending")]
            if rewritten:
                pending = [item for item in pending if item[0] in ids]
                _put(owner, b"pel-count", len(pending))
                if owner is not group:
                    _put(owner, b"active-time", 0)
            _put(owner, b"pending", pending)
    return value._replace(content=(repr(entries).encode(), repr(info).encode()))


def _parsed(reply: bytes) -> Any:
    reader = hiredis.Reader()
    reader.feed(reply)
    return _flat(reader.gets())


def _flat(value: Any) -> Any:
    """Return it with lists of names and values in place of RESP3's maps."""
    if isinstance(value, dict):
        return [_flat(part) for pair in value.items() for part in pair]
    return [_flat(part) for part in value] if isinstance(value, list) else value


def _get(fields: list[Any], name: bytes) -> Any:
    return fields[fields.index(name) + 1]


def _put(fields: list[Any], name: bytes, value: Any) -> None:
    fields[fields.index(name) + 1] = value
