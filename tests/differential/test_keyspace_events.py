"""Keyspace events beside redis-server: which are published, with what, and in which order.

Connection "a" changes keys, "b" listens to all channels of keyspace events. Keys have one hash tag:
the order of events of several partitions is not Redis's. Behind each script a message of our own
ends the list, so that one too many is seen as well as one that is missing.
"""

from collections.abc import Sequence

import pytest
from support.differential import Case, Compare, Line, Step, Table, cases, on
from support.raw import RawClient, pack, split_line
from support.servers import Server

FLAGS = "notify-keyspace-events"
END = b"the end"

STRINGS: dict[str, list[Line]] = {
    "SET": [
        "SET {t}k v",
        "SET {t}k w",
        "SET {t}k v EX 100",
        "SET {t}k v KEEPTTL",
        "SETEX {t}k 9 v",
    ],
    "SET over a list": ["RPUSH {t}k a", "SET {t}k v", "GET {t}k", "GETDEL {t}k", "GETDEL {t}k"],
    "SETNX": ["SETNX {t}k v", "SETNX {t}k v", "MSETNX {t}a 1 {t}b 2", "MSETNX {t}a 1 {t}b 2"],
    "counters": [
        "INCR {t}k",
        "INCRBY {t}k 5",
        "DECR {t}k",
        "DECRBY {t}k 2",
        "INCRBYFLOAT {t}k 1.5",
    ],
    "failures": ["SET {t}k v", "INCR {t}k", "LPUSH {t}k v", "HSET {t}k f v", "EXPIRE {t}no 5"],
    "APPEND": [
        "APPEND {t}k v",
        "APPEND {t}k v",
        "SETRANGE {t}k 3 x",
        "SETBIT {t}k 7 1",
        "STRLEN {t}k",
    ],
    "MSET": ["MSET {t}a 1 {t}b 2", "MGET {t}a {t}b {t}c", "DEL {t}a {t}b {t}c", "UNLINK {t}a"],
    "GETEX": ["SET {t}k v", "GETEX {t}k EX 100", "GETEX {t}k PERSIST", "GETEX {t}k"],
    "misses": ["GET {t}k", "EXISTS {t}k", "TTL {t}k", "STRLEN {t}k", "TYPE {t}k", "HGET {t}k f"],
    "misses of several": ["MGET {t}a {t}b", "LRANGE {t}k 0 1", "SISMEMBER {t}k m", "ZSCORE {t}k m"],
    "BITOP": ["SET {t}a x", "BITOP AND {t}d {t}a {t}a", "BITFIELD {t}a SET u8 0 1", "PFADD {t}h a"],
}

COLLECTIONS: dict[str, list[Line]] = {
    "lists": ["RPUSH {t}l a b c", "LPUSH {t}l d", "LPOP {t}l", "RPOP {t}l 9", "LPUSHX {t}l a"],
    "lists changed": [
        "RPUSH {t}l a b c",
        "LSET {t}l 0 x",
        "LINSERT {t}l BEFORE x y",
        "LREM {t}l 0 x",
    ],
    "lists moved": [
        "RPUSH {t}l a b",
        "LMOVE {t}l {t}m LEFT RIGHT",
        "RPOPLPUSH {t}l {t}m",
        "LTRIM {t}m 5 9",
    ],
    "lists blocked": ["RPUSH {t}l a b", "BLPOP {t}l 0", "BRPOP {t}l 0", "LMPOP 1 {t}l LEFT"],
    "sets": [
        "SADD {t}s a b c",
        "SADD {t}s a",
        "SREM {t}s a",
        "SMOVE {t}s {t}t b",
        "SPOP {t}s",
        "SREM {t}t b",
    ],
    "sets stored": [
        "SADD {t}s a b",
        "SUNIONSTORE {t}d {t}s",
        "SINTERSTORE {t}d {t}no {t}s",
        "SDIFFSTORE {t}e {t}s",
    ],
    "hashes": [
        "HSET {t}h f v g w",
        "HSET {t}h f v",
        "HDEL {t}h f",
        "HINCRBY {t}h n 1",
        "HDEL {t}h g n",
    ],
    "hash fields expire": [
        "HSET {t}h f v g w",
        "HEXPIRE {t}h 100 FIELDS 1 f",
        "HPERSIST {t}h FIELDS 1 f",
    ],
    "sorted sets": [
        "ZADD {t}z 1 a 2 b",
        "ZADD {t}z 1 a",
        "ZINCRBY {t}z 1 a",
        "ZREM {t}z a b",
        "ZPOPMIN {t}z",
    ],
    "sorted sets cut": [
        "ZADD {t}z 1 a 2 b 3 c",
        "ZPOPMAX {t}z",
        "ZREMRANGEBYSCORE {t}z 1 1",
        "ZREMRANGEBYRANK {t}z 0 9",
    ],
    "sorted sets stored": [
        "ZADD {t}z 1 a",
        "ZUNIONSTORE {t}d 1 {t}z",
        "ZRANGESTORE {t}e {t}z 0 9",
        "ZINTERSTORE {t}d 1 {t}no",
    ],
    "geo": ["GEOADD {t}g 1 1 a", "GEOSEARCHSTORE {t}d {t}g FROMMEMBER a BYRADIUS 1 m"],
    "streams": [
        "XADD {t}x 1-1 f v",
        "XADD {t}x MAXLEN 1 2-1 f v",
        "XDEL {t}x 2-1",
        "XTRIM {t}x MAXLEN 0",
        "XSETID {t}x 9-9",
    ],
    "groups": [
        "XADD {t}x 1-1 f v",
        "XGROUP CREATE {t}x g 0",
        "XREADGROUP GROUP g c STREAMS {t}x >",
        "XACK {t}x g 1-1",
        "XGROUP DESTROY {t}x g",
    ],
}

KEYS: dict[str, list[Line]] = {
    "DEL": ["SET {t}k v", "DEL {t}k", "DEL {t}k", "SET {t}k v", "UNLINK {t}k"],
    "EXPIRE": ["SET {t}k v", "EXPIRE {t}k 100", "PERSIST {t}k", "PEXPIREAT {t}k 1", "EXISTS {t}k"],
    "RENAME": ["SET {t}k v", "RENAME {t}k {t}n", "SET {t}k v", "RENAME {t}k {t}n"],
    "RENAMENX": ["SET {t}k v", "RENAMENX {t}k {t}o", "SET {t}k v", "RENAMENX {t}k {t}o"],
    "COPY": ["SET {t}k v", "COPY {t}k {t}c", "COPY {t}k {t}c REPLACE", "COPY {t}k {t}c DB 1"],
    "MOVE": ["SET {t}k v", "MOVE {t}k 1", "SELECT 1", "DEL {t}k"],
    "SORT": ["RPUSH {t}l 2 1", "SORT {t}l STORE {t}d", "SORT {t}no STORE {t}d"],
    "another database": ["SELECT 5", "SET {t}k v", "DEL {t}k"],
    "FLUSHALL": ["SET {t}k v", "FLUSHDB", "FLUSHALL", "SET {t}k v"],
    "any bytes": [(b"SET", b"{t}\x00\r\n", b"v"), (b"DEL", b"{t}\x00\r\n")],
}  # fmt: skip


def listened(server: Server, flags: str, lines: Sequence[Line], resp: int) -> list[bytes]:
    """Return the replies to the lines, and then the messages that they published."""
    found = []
    setter, writer, listener = (server.client() for _ in range(3))
    clients = (setter, writer, listener)
    try:
        if resp == 3:
            listener.call(b"HELLO", b"3")
        setter.call(b"FLUSHALL")
        setter.call(b"CONFIG", b"SET", FLAGS.encode(), flags.encode())
        listener.call(b"PSUBSCRIBE", b"__key*__:*")
        listener.call(b"SUBSCRIBE", b"end")
        for line in lines:
            argv = split_line(line) if isinstance(line, str) else line
            found.append(writer.call(*argv))
        found += messages(setter, listener)
        return found
    finally:
        setter.call(b"CONFIG", b"SET", FLAGS.encode(), b"")
        for client in clients:
            client.finish()


def messages(publisher: RawClient, listener: RawClient) -> list[bytes]:
    """Return what has been published until now."""
    publisher.call(b"PUBLISH", b"end", END)
    found: list[bytes] = []
    while not found or END not in found[-1]:
        found.append(listener.read_reply())
    return found


SCRIPTS = {**STRINGS, **COLLECTIONS, **KEYS}


@pytest.mark.parametrize("flags", ["KEA", "KEAmnoc", "Kg$", "E$lshzx"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_events(name: str, flags: str, oracle: Server, subject: Server, resp: int) -> None:
    script = SCRIPTS[name]
    theirs = listened(oracle, flags, script, resp)
    assert theirs[-1].count(END) == 1
    assert listened(subject, flags, script, resp) == theirs


def test_expiry_is_told(oracle: Server, subject: Server, resp: int) -> None:
    lines = ["SET {t}k v PX 1", "SET {t}other v"]
    for server in (oracle, subject):
        client, listener = server.client(), server.client()
        client.call(b"FLUSHALL")
        client.call(b"CONFIG", b"SET", FLAGS.encode(), b"Ex")
        listener.call(b"SUBSCRIBE", b"__keyevent@0__:expired")
        for line in lines:
            client.call(*split_line(line))
        assert listener.read_reply().endswith(b"$4\r\n{t}k\r\n")  # without anybody looking at it
        client.call(b"CONFIG", b"SET", FLAGS.encode(), b"")
        client.finish()
        listener.finish()


# What one sees of one's own changes, and when nothing is published.
OWN: Table = {
    "the reply comes first": Case(
        f"CONFIG SET {FLAGS} KEA",
        "PSUBSCRIBE __key*",
        Step("SET {t}k v", pack(b"SET", b"{t}k", b"v"), 3),
        Step("RPUSH {t}l v", pack(b"RPUSH", b"{t}l", b"v"), 3),
        "GET {t}k",
        resp=3,
        cleanup=[f'CONFIG SET {FLAGS} ""'],
    ),
    "off and on": Case(
        on("b", "PSUBSCRIBE __key*"),
        *("SET {t}k v", f"CONFIG SET {FLAGS} E$", "SET {t}k v"),
        on("b", Step("(a message)", b"", 1)),
        *(f'CONFIG SET {FLAGS} ""', "SET {t}k v", f"CONFIG SET {FLAGS} K$", "SET {t}k v"),
        on("b", Step("(a message)", b"", 1)),
        cleanup=[f'CONFIG SET {FLAGS} ""'],
    ),
    "the directive": Case(
        *[
            step
            for flags in ("KEA", "KEAnoc", "AKEm", "nocKE", "", "Ko", "xdt", "KEg$lshzxetd", "KEy")
            for step in (f'CONFIG SET {FLAGS} "{flags}"', f"CONFIG GET {FLAGS}")
        ],
        cleanup=[f'CONFIG SET {FLAGS} ""'],
    ),
}


@pytest.mark.parametrize("script", cases(OWN))
def test_own_events(script: Case, compare: Compare) -> None:
    compare(script)
