"""Client-side caching beside redis-server: what CLIENT TRACKING takes and what clients are told.

Connection "a" tracks and reads, "b" changes keys. A push is read with `reply`: it is due, whichever
worker has the key, and whichever the two connections.
"""

from __future__ import annotations

import re

import pytest
from support.differential import (
    Case,
    Compare,
    Step,
    Table,
    blocked,
    cases,
    mask,
    on,
    reply,
    sends,
    unordered,
)
from support.raw import pack

OWN_ID = r":[1-9]\d*\r"  # in CLIENT GETREDIR and the like


def send(line: str, replies: int, client: str = "a") -> Step:
    """Send a line that is answered by several replies, or by one and pushes."""
    step = on(client, line)
    return Step(step.shown, step.data, replies, client)


def pipeline(*lines: str, replies: int, client: str = "a") -> Step:
    """Send lines at once."""
    data = b"".join([pack(*line.encode().split()) for line in lines])
    return Step(" | ".join(lines), data, replies, client)


def in_any_order(count: int) -> Step:
    """Read a reply and the pushes around it: with several workers they come by two ways."""

    def pieces(data: bytes) -> list[bytes]:
        return sorted(re.split(rb"(>2\r\n\$10\r\ninvalidate\r\n\*1\r\n\$\d+\r\n.*?\r\n)", data))

    step = reply(count)
    return Step(step.shown, step.data, count, "a", alike=lambda a, b: pieces(a) == pieces(b))


def figures(line: str) -> Step:
    """Compare what the reply says about tracking: the fields of INFO, or of CLIENT LIST."""

    def found(data: bytes) -> list[bytes]:
        return re.findall(rb"tracking_\w+:\d+|flags=\S+|redir=\S+|cmd=\S+", data)

    step = on("a", line)
    return Step(step.shown, step.data, 1, "a", alike=lambda one, other: found(one) == found(other))


def told(*steps: Step | str) -> Case:
    """A case in which pushes are told, so of RESP3, whose connection a tracks."""
    return Case("CLIENT TRACKING ON", *steps, resp=3)


READ_ALL = (
    "EVAL \"for _, k in ipairs(ARGV) do redis.call('GET', k) end\" 1 {t}h {t}i {t}j {t}k {t}l"
)

OPTIONS: Table = {
    "off at first": ["CLIENT GETREDIR", "CLIENT TRACKINGINFO", "CLIENT TRACKING OFF"],
    "on and off": [
        *("CLIENT TRACKING on", "CLIENT TRACKINGINFO", "CLIENT GETREDIR"),
        *("CLIENT TRACKING oFF", "CLIENT TRACKINGINFO", "CLIENT GETREDIR"),
    ],
    "arity": ["CLIENT TRACKING", "CLIENT CACHING", "CLIENT CACHING a b"],
    "errors": [
        *("CLIENT TRACKING maybe", "CLIENT TRACKING ON bad", "CLIENT TRACKING ON REDIRECT"),
        *("CLIENT TRACKING ON REDIRECT x", "CLIENT TRACKING ON PREFIX"),
        *("CLIENT TRACKING ON REDIRECT 0", "CLIENT TRACKING ON REDIRECT -1"),
        "CLIENT TRACKINGINFO",
    ],
    "REDIRECT is looked at in its turn": [
        "CLIENT TRACKING ON REDIRECT 99999999 bad",
        "CLIENT TRACKING ON bad REDIRECT 99999999",
        "CLIENT TRACKING maybe REDIRECT 99999999",
        "CLIENT TRACKING OFF REDIRECT 99999999",
        "CLIENT TRACKING ON REDIRECT <id:b> REDIRECT <id:c>",
        "CLIENT TRACKING ON REDIRECT <id:b> bad",
        "CLIENT TRACKING maybe REDIRECT <id:b>",
        "CLIENT TRACKING ON REDIRECT <id:b> OPTIN OPTOUT",
        "CLIENT TRACKINGINFO",
    ],
    "options that don't fit": [
        "CLIENT TRACKING ON PREFIX a",
        "CLIENT TRACKING ON BCAST OPTIN",
        "CLIENT TRACKING ON BCAST OPTOUT",
        "CLIENT TRACKING ON OPTIN OPTOUT",
        "CLIENT TRACKING OFF PREFIX a OPTIN OPTOUT BCAST",
    ],
    "prefixes": [
        "CLIENT TRACKING ON BCAST PREFIX b PREFIX a",
        "CLIENT TRACKINGINFO",
        "CLIENT TRACKING ON BCAST PREFIX c",
        "CLIENT TRACKINGINFO",
        "CLIENT TRACKING ON BCAST PREFIX ab",
        "CLIENT TRACKING ON BCAST",
        "CLIENT TRACKINGINFO",
    ],
    "prefixes that overlap": [
        "CLIENT TRACKING ON BCAST PREFIX a PREFIX ab",
        "CLIENT TRACKING ON BCAST PREFIX ab PREFIX a",
        "CLIENT TRACKING ON BCAST PREFIX a PREFIX a",
        (b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", b"", b"PREFIX", b"a"),
        "CLIENT TRACKING ON BCAST",
        "CLIENT TRACKINGINFO",
    ],
    "the mode can't be switched": [
        *("CLIENT TRACKING ON", "CLIENT TRACKING ON BCAST", "CLIENT TRACKING OFF"),
        *("CLIENT TRACKING ON BCAST", "CLIENT TRACKING ON", "CLIENT TRACKING OFF"),
        *("CLIENT TRACKING ON OPTIN", "CLIENT TRACKING ON OPTOUT", "CLIENT TRACKING ON"),
        *("CLIENT TRACKING ON OPTOUT", "CLIENT TRACKING ON OPTIN", "CLIENT TRACKINGINFO"),
    ],
    "CACHING": [
        "CLIENT CACHING YES",
        *("CLIENT TRACKING ON", "CLIENT CACHING YES", "CLIENT CACHING maybe"),
        *("CLIENT TRACKING ON OPTIN", "CLIENT CACHING NO", "CLIENT CACHING maybe"),
        *("CLIENT CACHING yes", "CLIENT TRACKINGINFO", "PING", "CLIENT TRACKINGINFO"),
        *("CLIENT TRACKING OFF", "CLIENT TRACKING ON OPTOUT NOLOOP"),
        *("CLIENT CACHING YES", "CLIENT CACHING NO", "CLIENT TRACKINGINFO", "NOSUCH"),
        "CLIENT TRACKINGINFO",
    ],
    "CACHING lasts over MULTI": [
        *("CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES", "MULTI", "CLIENT TRACKINGINFO"),
        *("PING", "EXEC", "CLIENT TRACKINGINFO"),
        *("CLIENT CACHING YES", "MULTI", "DISCARD", "CLIENT TRACKINGINFO"),
    ],
    "REDIRECT": [
        *("CLIENT TRACKING ON REDIRECT <id:b>", mask(OWN_ID, "CLIENT GETREDIR")),
        mask(OWN_ID, "CLIENT TRACKINGINFO"),
        *("CLIENT TRACKING ON", "CLIENT GETREDIR"),
        *("CLIENT TRACKING ON REDIRECT <id:a>", mask(OWN_ID, "CLIENT GETREDIR")),
    ],
    "in a transaction": [
        *("MULTI", "CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES", "CLIENT TRACKINGINFO"),
        *("GET k", "CLIENT TRACKING ON BCAST", "EXEC", "CLIENT TRACKINGINFO"),
    ],
    "RESET": [
        *("CLIENT TRACKING ON BCAST PREFIX a NOLOOP", "RESET", "CLIENT TRACKINGINFO"),
        "CLIENT TRACKING ON OPTIN",
    ],
    "CLIENT LIST": [
        *("CLIENT TRACKING ON", figures("CLIENT LIST ID <id:a>"), "CLIENT TRACKING OFF"),
        *("CLIENT TRACKING ON BCAST", figures("CLIENT LIST ID <id:a>"), "CLIENT TRACKING OFF"),
        *("CLIENT TRACKING ON REDIRECT 0", "GET k", on("b", "GET k")),
        *(figures("CLIENT INFO"), figures("CLIENT LIST ID <id:b>")),
    ],
    "a script": ["EVAL 'return redis.call([[CLIENT]], [[TRACKING]], [[ON]])' 0"],
    "table size": Case(
        "CONFIG GET tracking-table-max-keys",
        "CONFIG SET tracking-table-max-keys -1",
        "CONFIG SET tracking-table-max-keys x",
        "CONFIG SET tracking-table-max-keys 0",
        "CONFIG GET tracking-table-max-keys",
        cleanup=["CONFIG SET tracking-table-max-keys 1000000"],
    ),
    "INFO": Case(
        *(figures("INFO stats"), "CLIENT TRACKING ON", "GET {t}a", "MGET {t}a {t}b"),
        *(on("b", "CLIENT TRACKING ON"), on("b", "GET {t}a")),
        on("c", "CLIENT TRACKING ON BCAST PREFIX p PREFIX q"),
        *(on("d", "CLIENT TRACKING ON BCAST PREFIX p"), figures("INFO stats")),
        *(figures("INFO clients"), on("c", "CLIENT TRACKING OFF"), figures("INFO clients")),
        *(figures("INFO stats"), on("e", "SET {t}a 1")),
        *(figures("INFO stats"), on("e", "FLUSHDB"), figures("INFO stats")),
        resp=2,
    ),
}

# How a key is read, and what a then is told of when b changes it.
READS = {
    "GET": "GET {t}k",
    "MGET": "MGET {t}x {t}k {t}y",
    "EXISTS": "EXISTS {t}k {t}y {t}x",
    "TOUCH": "TOUCH {t}x {t}k",
    "TTL": "TTL {t}k",
    "TYPE": "TYPE {t}k",
    "the wrong type": "LLEN {t}k",
    "GETRANGE": "GETRANGE {t}k 0 1",
    "OBJECT": "OBJECT ENCODING {t}k",
    "SORT_RO": "SORT_RO {t}k",
    "SINTER, the wrong type too": "SINTER {t}x {t}k {t}y",
    "LCS": "LCS {t}k {t}x",
    "XREAD": "XREAD STREAMS {t}k 0",
    "PFCOUNT": "PFCOUNT {t}x {t}k",
    "EVAL": "EVAL 'return redis.call([[GET]], KEYS[2])' 3 {t}x {t}k {t}y",
    "EVAL_RO": "EVAL_RO 'return redis.call([[GET]], KEYS[1])' 1 {t}k",
    "lower case": "get {t}k",
}
NOT_READS = {
    "SET": "SET {t}k v",
    "GETSET": "GETSET {t}k v",
    "GETDEL": "GETDEL {t}k",
    "COPY": "COPY {t}k {t}y",
    "SORT": "SORT {t}none",
    "a script that reads nothing": "EVAL 'return 1' 1 {t}k",
    "KEYS": "KEYS *",
    "RANDOMKEY": "RANDOMKEY",
    "INCR": "INCR {t}n",
}
CHANGES: dict[str, tuple[str, ...]] = {
    "SET": ("SET {t}k w",),
    "MSET": ("MSET {t}x 1 {t}k 2 {t}y 3",),
    "DEL": ("DEL {t}x {t}k",),
    "UNLINK": ("UNLINK {t}k",),
    "APPEND": ("APPEND {t}k x",),
    "INCR": ("SET {t}k 1",),
    "EXPIRE": ("EXPIRE {t}k 100",),
    "EXPIRE in the past": ("EXPIRE {t}k -1",),
    "PERSIST": ("PEXPIRE {t}k 100000",),
    "RENAME to": ("RENAME {t}x {t}k",),
    "RENAME from": ("RENAME {t}k {t}y",),
    "COPY to": ("COPY {t}x {t}k REPLACE",),
    "MOVE": ("MOVE {t}k 5",),
    "SINTERSTORE": ("SINTERSTORE {t}k {t}none {t}nothing",),
    "BITOP": ("BITOP NOT {t}k {t}x",),
    "SORT STORE": ("SORT {t}none STORE {t}k",),
    "GETDEL": ("GETDEL {t}k",),
    "GETEX": ("GETEX {t}k EX 100",),
    "a transaction": ("MULTI", "SET {t}x 2", "INCR {t}n", "SET {t}k 2", "EXEC"),
    "a script": ("EVAL 'return redis.call([[SET]], KEYS[1], 3)' 2 {t}k {t}x",),
    "another database": ("SELECT 3", "SET {t}k other"),
    "several databases": ("SELECT 3", "MSET {t}x 1 {t}k other"),
}

TOLD: Table = {
    **{
        f"read by {name}": told(
            *("MSET {t}k 1 {t}x 2", line),
            *(on("b", "APPEND {t}k 9"), reply(), on("b", "SET {t}k 2"), "PING"),
        )
        for name, line in READS.items()
    },
    **{
        f"not read by {name}": Case(
            *("MSET {t}k 1 {t}x 2", "CLIENT TRACKING ON NOLOOP", mask(r".*", line)),
            *("GET {t}fence", on("b", "SET {t}k 2"), on("b", "SET {t}fence 1"), reply(), "PING"),
            resp=3,
        )
        for name, line in NOT_READS.items()
    },
    **{
        f"changed by {name}": told(
            *("MSET {t}k 1 {t}x 2", "GET {t}k"),
            *[on("b", line) for line in lines],
            *(reply(), "PING"),
        )
        for name, lines in CHANGES.items()
    },
    "a set": told(
        *("SADD {t}k a b c", "SCARD {t}k", on("b", "SADD {t}k d"), reply(), "SMISMEMBER {t}k x"),
        *(on("b", "SMOVE {t}k {t}o a"), reply(), "SCARD {t}k"),
        *(on("b", "SUNIONSTORE {t}k {t}k {t}o"), reply(), "SCARD {t}k"),
        *(unordered(on("b", "SPOP {t}k 4")), reply(), "PING"),
    ),
    "a list moved": told(
        *("RPUSH {t}l 1 2", "LRANGE {t}l 0 -1", "LLEN {t}m", on("b", "LMOVE {t}l {t}m LEFT LEFT")),
        Step("two pushes", b"", 2, alike=lambda one, other: _pushes(one) == _pushes(other)),
    ),
    "a key that is missing": told("GET {t}none", on("b", "SET {t}none 1"), reply()),
    "only once": told(
        *("GET {t}k", on("b", "SET {t}k 1"), on("b", "SET {t}k 2"), on("b", "SET {t}k 3")),
        *(reply(), "PING", "GET {t}k", on("b", "SET {t}k 4"), reply()),
    ),
    "not of what does not change": told(
        *("GET {t}k", on("b", "DEL {t}k"), on("b", "SET {t}k 1 XX"), on("b", "SETNX {t}k 1")),
        *(reply(), "PING"),
    ),
    "its own change, behind the reply": told(
        *("GET {t}k", send("SET {t}k 1", 2), "SET {t}k 2", "MGET {t}k {t}x"),
        send("INCR {t}k", 2),
    ),
    "its own transaction": told(
        *("GET {t}k", "MULTI", "SET {t}k 1", "GET {t}k", "SET {t}k 2", send("EXEC", 3), "PING"),
    ),
    "what a transaction has read": told(
        *("MULTI", "GET {t}k", "GET {t}j", "EXEC", on("b", "SET {t}k 1"), reply()),
        *(on("b", "SET {t}j 1"), reply(), "PING"),
    ),
    "a script's own changes": told(
        send("EVAL 'redis.call([[GET]],KEYS[1]) return redis.call([[SET]],KEYS[1],1)' 1 {t}k", 2),
        "PING",
    ),
    "several clients": told(
        *(on("c", "CLIENT TRACKING ON"), on("d", "CLIENT TRACKING ON"), "GET {t}k"),
        *(on("c", "GET {t}k"), on("d", "GET {t}j"), on("b", "SET {t}k 1")),
        *(reply(), on("c", reply()), on("d", "PING"), "PING"),
    ),
    "not after it was turned off": told(
        *("GET {t}k", "CLIENT TRACKING OFF", on("b", "SET {t}k 1"), "PING"),
        *("CLIENT TRACKING ON", on("b", "SET {t}k 1"), "GET {t}j", on("b", "SET {t}j 1"), reply()),
    ),
    "FLUSHALL": told("GET {t}k", on("b", "FLUSHALL"), reply(), on("b", "FLUSHALL"), reply()),
    "FLUSHDB of another database": told(
        *(on("b", "SELECT 2"), on("b", "FLUSHDB ASYNC"), reply(), "PING"),
    ),
    "its own FLUSHALL": told("GET {t}k", send("FLUSHALL", 2), send("FLUSHDB", 2), "PING"),
    "a flush in its own transaction": told(
        *("MULTI", "GET {t}k", "FLUSHALL", "GET {t}k", "FLUSHDB", send("EXEC", 3), "PING"),
    ),
    "a flush in another's transaction": told(
        *("GET {t}k", on("b", "MULTI"), on("b", "SET {t}k 1"), on("b", "FLUSHALL")),
        *(on("b", "EXEC"), reply(2), "PING"),
    ),
    "SWAPDB tells nothing": told(
        *("GET {t}k", on("b", "SWAPDB 0 1"), "PING", on("b", "SWAPDB 0 1")),
        *(on("b", "SET {t}k 1"), reply()),
    ),
    "NOLOOP": Case(
        *("CLIENT TRACKING ON NOLOOP", "GET {t}k", "SET {t}k 1", "PING", "MGET {t}k {t}x"),
        *(on("b", "SET {t}k 2"), reply(), "MGET {t}k {t}x", "MSET {t}k 1 {t}x 2", "GET {t}k"),
        *("RENAME {t}x {t}k", "GET {t}k", "MULTI", "SET {t}k 2", "SET {t}x 2", "EXEC", "GET {t}k"),
        "EVAL 'redis.call([[SET]],KEYS[1],1) return redis.call([[SET]],KEYS[2],1)' 2 {t}k {t}x",
        *("GET {t}k", on("b", "SET {t}k 2"), reply(), "PING"),
        resp=3,
    ),
    "OPTIN": Case(
        *("CLIENT TRACKING ON OPTIN", "GET {t}k", "CLIENT CACHING YES", "GET {t}j", "GET {t}i"),
        *(on("b", "SET {t}i 1"), on("b", "SET {t}k 1"), on("b", "SET {t}j 1"), reply(), "PING"),
        resp=3,
    ),
    "OPTIN in a transaction": Case(
        *("CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES", "MULTI", "GET {t}k", "GET {t}j"),
        *("EXEC", "GET {t}i", on("b", "SET {t}i 1"), on("b", "SET {t}k 1"), reply()),
        *(on("b", "SET {t}j 1"), reply(), "MULTI", "GET {t}i", "CLIENT CACHING YES", "GET {t}j"),
        *("EXEC", on("b", "SET {t}i 2"), on("b", "SET {t}j 2"), reply(), "PING"),
        resp=3,
    ),
    "OPTOUT": Case(
        *("CLIENT TRACKING ON OPTOUT", "GET {t}k", "CLIENT CACHING NO", "GET {t}j", "GET {t}i"),
        *(on("b", "SET {t}j 1"), on("b", "SET {t}k 1"), reply(), on("b", "SET {t}i 1"), reply()),
        "PING",
        resp=3,
    ),
    "turned on in a transaction": Case(
        *("MULTI", "GET {t}i", "CLIENT TRACKING ON", "GET {t}k", "CLIENT TRACKING ON OPTIN"),
        *("GET {t}j", "EXEC", on("b", "SET {t}i 1"), on("b", "SET {t}j 1")),
        *(on("b", "SET {t}k 1"), reply(), "PING"),
        resp=3,
    ),
    "BCAST": Case(
        *("CLIENT TRACKING ON BCAST PREFIX {t}p PREFIX {t}q", on("b", "SET {t}p1 1"), reply()),
        *(on("b", "SET {t}r 1"), on("b", "SET {t}q 1"), reply(), send("SET {t}p2 1", 2)),
        *(on("b", "DEL {t}p1"), reply(), on("b", "DEL {t}p1"), on("b", "RENAME {t}p2 {t}r")),
        *(reply(), "PING", on("b", "FLUSHALL"), reply()),
        resp=3,
    ),
    "BCAST of everything, and in one message": Case(
        *("CLIENT TRACKING ON BCAST", on("b", "MSET {u}b 1 {u}a 2 {u}c 3"), reply()),
        *(on("b", "MULTI"), on("b", "SET {u}z 1"), on("b", "SET {u}y 1"), on("b", "EXEC")),
        *(reply(), "PING"),
        resp=3,
    ),
    "BCAST with NOLOOP": Case(
        *("CLIENT TRACKING ON BCAST NOLOOP", "SET {t}k 1", "MSET {t}k 2 {t}j 2", "PING"),
        *("RENAME {t}k {t}i", "MULTI", "SET {t}k 1", "SET {t}j 1", "EXEC"),
        *(on("b", "SET {t}k 3"), reply(), "PING"),
        resp=3,
    ),
    "BCAST and default mode of two clients": told(
        *(on("c", "CLIENT TRACKING ON BCAST PREFIX {t}k"), "GET {t}k", on("b", "SET {t}k 1")),
        *(reply(), on("c", reply()), on("b", "SET {t}k 2"), on("c", reply()), "PING"),
    ),
    "a blocking command": told(
        *(on("c", "CLIENT TRACKING ON"), on("c", "LLEN {t}q"), "LLEN {t}q"),
        *(on("b", "RPUSH {t}q 1"), reply(), on("c", reply()), "LLEN {t}q", on("b", "BLPOP {t}q 0")),
        reply(),
    ),
    "streams that are waited for": told(
        *(f"XADD {{t}}{key} 1 f v" for key in "ijkl"),
        *("XREAD BLOCK 0 STREAMS {t}i {t}j {t}k {t}l 0 0 0 0", on("b", "XADD {t}l 2 f v"), reply()),
        *("XREAD BLOCK 0 STREAMS {t}i {t}j {t}k {t}l 0 0 0 0", on("b", "XADD {t}i 2 f v"), reply()),
        *(sends("XREAD BLOCK 0 STREAMS {t}i {t}j {t}k {t}l $ $ $ $"), blocked(1)),
        *(on("b", "XADD {t}k 2 f v"), in_any_order(2), on("b", "XADD {t}k 3 f v"), reply()),
        *(on("b", "XADD {t}j 2 f v"), reply(), "PING"),
    ),
    "what a client pops itself, with NOLOOP": Case(
        *("CLIENT TRACKING ON NOLOOP", "RPUSH {t}k 1", "LLEN {t}k", "LLEN {t}i", "LLEN {t}j"),
        *("BLPOP {t}i {t}j {t}k {t}l 0", sends("BLPOP {t}i {t}j {t}k {t}l 0"), blocked(1)),
        *(on("b", "RPUSH {t}l 1"), reply(), "PING"),
        resp=3,
    ),
    "what a script uses, declared or not, again and again": told(
        *[READ_ALL] * 5,
        *(on("b", "SET {t}k 1"), reply(), READ_ALL, on("b", "SET {t}k 2"), reply()),
        *(on("b", "SET {t}l 1"), reply(), READ_ALL, on("b", "SET {t}l 2"), reply(), "PING"),
    ),
    "fields of a hash that expire": told(
        *("HSET {t}h f 1 g 2", "HGETALL {t}h", on("b", "HPEXPIRE {t}h 1 FIELDS 1 f"), reply()),
    ),
}


def _pushes(data: bytes) -> list[bytes]:
    return sorted(data.split(b">"))


REDIRECTED: Table = {
    "of RESP2 to a subscriber": Case(
        *("CLIENT TRACKING ON REDIRECT <id:r>", on("r", "SUBSCRIBE __redis__:invalidate")),
        *("GET {t}k", on("b", "SET {t}k 1"), on("r", reply()), on("b", "SET {t}k 1"), "GET {t}k"),
        *(send("SET {t}k 2", 1), on("r", reply()), on("b", "FLUSHALL"), on("r", reply())),
        *("FLUSHALL", on("r", reply()), "PING"),
        resp=2,
    ),
    "of RESP2 to one that hears something else": Case(
        *("CLIENT TRACKING ON REDIRECT <id:r>", on("r", "SUBSCRIBE else"), "GET {t}k"),
        *(on("b", "SET {t}k 1"), on("r", reply())),
        resp=2,
    ),
    "of RESP2 to one that is no subscriber": Case(
        *("CLIENT TRACKING ON REDIRECT <id:r>", "GET {t}k", on("b", "SET {t}k 1")),
        *(on("r", "PING"), on("r", "SUBSCRIBE x"), "GET {t}k", on("b", "SET {t}k 1")),
        on("r", reply()),
        resp=2,
    ),
    "of RESP3": Case(
        *("CLIENT TRACKING ON REDIRECT <id:r>", "GET {t}k", on("b", "SET {t}k 1")),
        *(on("r", reply()), "GET {t}k", "SET {t}k 2", on("r", reply()), "PING"),
        *(on("b", "FLUSHALL"), on("r", reply()), "FLUSHALL", on("r", reply())),
        resp=3,
    ),
    "of BCAST": Case(
        *("CLIENT TRACKING ON BCAST PREFIX {t}k REDIRECT <id:r>", on("b", "SET {t}k 1")),
        *(on("r", reply()), "SET {t}k1 2", on("r", reply()), on("b", "SET {t}j 1"), "PING"),
        resp=3,
    ),
    "to itself": Case(
        *("CLIENT TRACKING ON REDIRECT <id:a>", "GET {t}k", send("SET {t}k 1", 2), "PING"), resp=3
    ),
    "by many to one": Case(
        *("CLIENT TRACKING ON REDIRECT <id:r>", on("c", "CLIENT TRACKING ON REDIRECT <id:r>")),
        *("GET {t}k", on("c", "GET {t}j"), on("b", "SET {t}j 1"), on("r", reply())),
        *(on("b", "SET {t}k 1"), on("r", reply())),
        resp=3,
    ),
    "to one that has gone": Case(
        *("CLIENT TRACKING ON REDIRECT <id:r>", "GET {t}k", "CLIENT KILL ID <id:r>"),
        *(on("b", "SET {t}k 1"), mask(OWN_ID, reply()), mask(OWN_ID, "CLIENT TRACKINGINFO")),
        *("GET {t}k", on("b", "SET {t}k 2"), mask(OWN_ID, reply())),
        *(on("b", "FLUSHALL"), mask(OWN_ID, reply()), "CLIENT TRACKING ON", "CLIENT TRACKINGINFO"),
        resp=3,
    ),
}


@pytest.mark.parametrize("script", cases(OPTIONS, TOLD, REDIRECTED))
def test_tracking(script: Case, compare: Compare) -> None:
    compare(script)
