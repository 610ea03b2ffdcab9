"""MULTI, EXEC, DISCARD, WATCH and UNWATCH beside redis-server.

All keys of a case share a hash tag, so that with several workers they lie in one partition; whose
clients they are changes from case to case. `ALONE` is what concerns all keys: with one worker only.
"""

import pytest
from support.differential import (
    Case,
    Compare,
    Line,
    Step,
    Table,
    blocked,
    cases,
    closes,
    mask,
    on,
    reply,
    sends,
    shape,
    until,
)
from support.servers import Shoal

# What differs of a line of CLIENT LIST between any two servers.
_OWN = (
    r"id=\d+ addr=\S+ laddr=\S+ fd=\d+|age=\d+ idle=\d+|qbuf=\d+ qbuf-free=\d+ argv-mem=\d+"
    r"|rbs=.*? tot-mem=\d+ events=r|tot-net-in=.*"
)


def these(*steps: Step | Line) -> tuple[Step | Line, ...]:
    """Return the steps; mypy finds no common type for them in a literal."""
    return steps


def me(client: str = "a") -> Step:
    """Ask a client for its flags, multi=, watch= and multi-mem=."""
    return on(client, mask(_OWN, "CLIENT INFO"))


def run(*lines: str) -> tuple[Step | Line, ...]:
    """Queue the lines and execute."""
    return ("MULTI", *lines, "EXEC")


def watched(*steps: Step | Line, first: str = "WATCH {t}k") -> list[Step | Line]:
    """Tell whether a transaction runs if the steps come after WATCH."""
    return [first, *steps, *run("SET {t}ran 1"), me(), "GET {t}ran", *run("GET {t}ran")]


STATES: Table = {
    "nothing": run(),
    "EXEC without MULTI": ["EXEC", "DISCARD", "UNWATCH", "PING"],
    "any number of arguments": ["MULTI x", "EXEC x", "DISCARD x", "WATCH", "UNWATCH x", "EXEC"],
    "replies": run(
        "SET {t}k 1", "GET {t}k", "INCR {t}k", "GET {t}m", "LPUSH {t}l a", "HGETALL {t}h"
    ),
    "names in any case": ["multi", "sEt {t}k 1", "get {t}k", "exec", "Multi", "Exec"],
    "nested": ["MULTI", "SET {t}a 1", "MULTI", "SET {t}b 1", "EXEC", "MGET {t}a {t}b"],
    "MONITOR inside": [
        "MULTI",
        "SET {t}a 1",
        "MONITOR",
        "SET {t}b 2",
        "EXEC",
        "MGET {t}a {t}b",
        me(),
    ],
    "WATCH inside": ["MULTI", "WATCH {t}k", "SET {t}a 1", "EXEC", "GET {t}a"],
    "WATCH inside, wrong arity": ["MULTI", "WATCH", "SET {t}a 1", "EXEC", "GET {t}a"],
    "MULTI inside, wrong arity": ["MULTI", "MULTI x", "SET {t}a 1", "EXEC", "GET {t}a"],
    "EXEC with an argument": ["MULTI", "SET {t}a 1", "EXEC x", "EXEC", "GET {t}a", me()],
    "DISCARD with an argument": ["MULTI", "SET {t}a 1", "DISCARD x", me(), "DISCARD", "EXEC"],
    "unknown command": [
        "MULTI",
        "SET {t}a 1",
        "NOSUCH a b",
        me(),
        "SET {t}a 2",
        "EXEC",
        "GET {t}a",
    ],
    "unknown subcommand": ["MULTI", "CLIENT NOSUCH", "EXEC", "EXEC"],
    "a wrong number of arguments": ["MULTI", "SET {t}a", "GET", "PING a b c", "EXEC", "GET {t}a"],
    "wrong arity is seen when it runs": run("PING a b", "PING a"),
    "not allowed": ["MULTI", "SHUTDOWN NOSAVE x", "SET {t}a 1", "EXEC", "GET {t}a"],
    "after an error the next works": ["MULTI", "X", "EXEC", *run("SET {t}a 1"), "GET {t}a"],
    "DISCARD": ["MULTI", "SET {t}a 1", me(), "DISCARD", me(), "GET {t}a", "DISCARD", "EXEC"],
    "DISCARD after an error": ["MULTI", "X", "DISCARD", "EXEC", *run("PING")],
    "RESET": ["MULTI", "SET {t}a 1", "RESET", "EXEC", "GET {t}a", me()],
    "QUIT": ["MULTI", "SET {t}a 1", closes("QUIT"), on("b", "GET {t}a")],
    "the client goes": ["MULTI", "SET {t}a 1", on("b", "GET {t}a")],
    "one error does not stop the others": [
        *run("SET {t}a x", "INCR {t}a", "LPUSH {t}a 1", "SET {t}b y", "SETEX {t}a 0 x"),
        "MGET {t}a {t}b",
    ],
    "several in one pipeline": [
        *run("INCR {t}a"),
        *run("INCR {t}a", "INCR {t}b"),
        "MGET {t}a {t}b",
    ],
    "many commands": [*run(*["INCR {t}a"] * 300), "GET {t}a"],
    "a large value": [*run("SETRANGE {t}a 200000 x", "GET {t}a", "STRLEN {t}a"), "STRLEN {t}a"],
    "CLIENT LIST of others": [
        *these("CLIENT SETNAME x", "MULTI", "SET {t}a 1", "GET {t}a"),
        *these(
            on("b", until(r"name=x .* flags=x .* multi=2 watch=0 .*multi-mem=55 ", "CLIENT LIST"))
        ),
        *these("DISCARD", on("b", until(r"name=x .* flags=N .* multi=-1 ", "CLIENT LIST"))),
    ],
}
CONNECTION: Table = {
    "SELECT": [
        *run(
            "SET {t}k 0", "SELECT 1", "SET {t}k 1", "SELECT 99", "GET {t}k", "SELECT x", "SELECT 0"
        ),
        "GET {t}k",
        *run("SELECT 1", "GET {t}k"),
        me(),
        "GET {t}k",
    ],
    "SELECT takes effect at EXEC": ["MULTI", "SELECT 1", me(), "DISCARD", me()],
    "the client's own commands": [
        *run("CLIENT SETNAME me", "CLIENT GETNAME", "SET {t}a 1", "ECHO x", "CLIENT SETNAME"),
        *run("CLIENT SETNAME me", "CLIENT GETNAME", "SET {t}a 1", "ECHO x", "GET {t}a", "PING"),
        "CLIENT GETNAME",
    ],
    "errors of them": run("SET {t}a 1", "HELLO 9", "GET {t}a", "SELECT 1x"),
    "HELLO 2": [*run("HGETALL {t}h", "GET {t}n"), "MULTI", "HGETALL {t}h", "GET {t}n", "EXEC"],
    "a protocol for the rest": [
        *these("HSET {t}h f v", "MULTI", "HGETALL {t}h", "HELLO 2 SETNAME x", "HGETALL {t}h"),
        *these("GET {t}n", mask(r"(?s)modules.*?\r\n(?=[*%]\d+\r\n\$1\r\nf)|:\d+\r", "EXEC")),
        *these("HGETALL {t}h", "CLIENT GETNAME"),
    ],
    "CLIENT INFO inside": ["MULTI", "SET {t}a 1", "CLIENT INFO", mask(_OWN, "EXEC")],
    "CLIENT INFO inside, watching": [
        *these(
            "WATCH {t}k {t}m {t}k", me(), "MULTI", "GET {t}k", "CLIENT INFO", mask(_OWN, "EXEC")
        ),
        me(),
    ],
    "CLIENT REPLY ON": run("CLIENT REPLY ON", "GET {t}a"),
    "CLIENT REPLY OFF inside": [
        *these("MULTI", "SET {t}a 1", "CLIENT REPLY OFF", "SET {t}b 1"),
        *these(sends("EXEC"), sends("GET {t}a"), on("b", until(r"^\$1", "GET {t}b"))),
        *these(sends("CLIENT REPLY ON"), closes("QUIT")),
    ],
    "CLIENT REPLY OFF and ON inside": [
        *these("MULTI", "SET {t}a 1", "CLIENT REPLY OFF", "SET {t}b 1", "CLIENT REPLY ON", "PING"),
        *these(sends("EXEC"), closes("QUIT")),
    ],
    "CLIENT REPLY SKIP inside": [
        *these("MULTI", "SET {t}a 1", "CLIENT REPLY SKIP", "GET {t}a"),
        *these(sends("EXEC"), sends("PING"), sends("ECHO x"), closes("QUIT")),
    ],
    "CLIENT REPLY SKIP before": [sends("CLIENT REPLY SKIP"), sends("MULTI"), "SET {t}a 1", "EXEC"],
    "CLIENT REPLY OFF around": [
        *these(sends("CLIENT REPLY OFF"), sends("MULTI"), sends("SET {t}a 1"), sends("EXEC")),
        *these("CLIENT REPLY ON", "GET {t}a", *run("GET {t}a")),
    ],
    "CLIENT REPLY ON inside of OFF": [
        *these(sends("CLIENT REPLY OFF"), sends("MULTI"), sends("SET {t}a 1")),
        *these(sends("CLIENT REPLY ON"), sends("GET {t}a"), sends("EXEC"), closes("QUIT")),
    ],
    "TIME, COMMAND, CONFIG GET": [
        *these("MULTI", "COMMAND COUNT", "CONFIG GET appendfsync", "GET {t}a", shape("EXEC")),
    ],
    "CONFIG SET": Case(
        *run("SET {t}l 1", "CONFIG SET hz 11", "CONFIG GET hz", "CONFIG SET hz x", "GET {t}l"),
        "CONFIG GET hz",
        cleanup=["CONFIG SET hz 10"],
    ),
    "CLIENT LIST inside": [
        *these("CLIENT SETNAME x", "MULTI", "GET {t}a", "CLIENT LIST ID 0", "CLIENT KILL ID 0"),
        "EXEC",
    ],
    "INFO inside": ["MULTI", "SET {t}a 1", "INFO nosuch", "GET {t}a", "EXEC"],
}
BLOCKING: Table = {
    "they do not block": run(
        "BLPOP {t}k 0",
        "RPUSH {t}k a b",
        "BLPOP {t}k 0",
        "BLMOVE {t}k {t}j LEFT LEFT 0",
        "BRPOPLPUSH {t}n {t}j 0",
        "BLMPOP 0 1 {t}n LEFT",
        "BZPOPMIN {t}z 0",
        "BZMPOP 0 1 {t}z MIN",
        "XREAD BLOCK 0 STREAMS {t}s $",
        "LRANGE {t}j 0 -1",
    ),
    "WAIT and WAITAOF": run("SET {t}a 1", "WAIT 1 0", "WAITAOF 0 1 0", "GET {t}a"),
    "a group": [
        "XGROUP CREATE {t}s g $ MKSTREAM",
        *run("XREADGROUP GROUP g c BLOCK 0 STREAMS {t}s >", "XLEN {t}s"),
    ],
    "others are served after the whole": [
        *these(on("b", sends("BLPOP {t}k 0")), blocked(1)),
        *run("LPUSH {t}k 1", "LPUSH {t}k 2", "LLEN {t}k", "LPUSH {t}k 3"),
        *these(on("b", reply()), "LRANGE {t}k 0 -1"),
    ],
    "others are not served what is gone": [
        *these(on("b", sends("BLPOP {t}k 0")), blocked(1)),
        *run("LPUSH {t}k 1", "DEL {t}k", "SADD {t}k x"),
        *these("DEL {t}k", "RPUSH {t}k 2", on("b", reply()), "EXISTS {t}k"),
    ],
    "two others": [
        *these(
            on("b", sends("BLPOP {t}k 0")), blocked(1), on("c", sends("BLPOP {t}m 0")), blocked(2)
        ),
        *run("RPUSH {t}m 1", "RPUSH {t}k 2 3", "RPUSH {t}m 4"),
        *these(on("b", reply()), on("c", reply()), "LRANGE {t}k 0 -1", "LRANGE {t}m 0 -1"),
    ],
}
_CHANGES = (
    "SET {t}k 1",
    "SET {t}k v",
    "DEL {t}k",
    "UNLINK {t}k {t}x",
    'APPEND {t}k ""',
    "APPEND {t}k x",
    'SETRANGE {t}k 0 ""',
    "GETEX {t}k",
    "GETEX {t}k EX 100",
    "GETDEL {t}k",
    "PERSIST {t}k",
    "EXPIRE {t}k 100",
    "EXPIRE {t}k 100 XX",
    "EXPIRE {t}k 0",
    "SETNX {t}k 1",
    "SETNX {t}n 1",
    "MSET {t}x 1 {t}k 2",
    "MSET {t}x 1 {t}y 2",
    "MSETNX {t}x 1 {t}k 2",
    "RENAME {t}k {t}n",
    "RENAME {t}other {t}k",
    "RENAMENX {t}other {t}k",
    "COPY {t}other {t}k REPLACE",
    "COPY {t}k {t}copy",
    "MOVE {t}k 1",
    "INCR {t}k",
    "LPUSH {t}k 1",
    "SADD {t}set a",
    "SADD {t}set b",
    "SREM {t}set b",
    "SREM {t}set a",
    "HSET {t}hash f v",
    "HDEL {t}hash g",
    "ZADD {t}zset 1 a",
    "ZADD {t}zset 2 a",
    "ZADD {t}zset NX 2 a",
    "SINTERSTORE {t}k {t}none",
    "SUNIONSTORE {t}k {t}set",
    "SORT {t}set ALPHA STORE {t}k",
    "SETBIT {t}k 7 0",
    "GET {t}k",
    "OBJECT ENCODING {t}k",
    "TOUCH {t}k",
    "SET {t}k 1 XX GET",
    "SET {t}k 1 NX",
    "RPOPLPUSH {t}list {t}list",
    "LTRIM {t}list 0 -1",
    "LREM {t}list 0 nope",
    "PFADD {t}hll a",
    "XADD {t}k * f v",
)
_FILL = [
    "MSET {t}k v {t}other w",
    "SADD {t}set a",
    "HSET {t}hash f v",
    "ZADD {t}zset 1 a",
    "RPUSH {t}list a b",
]
CHANGES: Table = {
    f"{line}, by {who}": [
        *_FILL,
        *watched(on(who, line), first="WATCH {t}k {t}set {t}hash {t}zset {t}list {t}n {t}hll"),
    ]
    for line in _CHANGES
    for who in "ab"
}
WATCHING: Table = {
    "nothing happens": watched(),
    "another key": watched(on("b", "SET {t}m 1")),
    "it comes": watched(on("b", "SET {t}k 1")),
    "before WATCH": [on("b", "SET {t}k 1"), *watched()],
    "by oneself": watched("SET {t}k 1"),
    "inside MULTI": ["WATCH {t}k", "MULTI", "INCR {t}k", "INCR {t}k", "EXEC", *run("INCR {t}k")],
    "after MULTI": ["WATCH {t}k", "MULTI", on("b", "SET {t}k 1"), "PING", me(), "EXEC", me()],
    "twice the same": watched("WATCH {t}k {t}k", me(), on("b", "SET {t}k 1")),
    "many": watched(
        "WATCH {t}a {t}b", "WATCH {t}c", me(), on("b", "DEL {t}k"), on("b", "INCR {t}b")
    ),
    "more when it is touched": watched(on("b", "SET {t}k 1"), "WATCH {t}m"),
    "what CLIENT INFO says": watched(
        on("b", "SET {t}k 1"), until("flags=d .* watch=0 ", "CLIENT INFO")
    ),
    "UNWATCH": watched(on("b", "SET {t}k 1"), "UNWATCH", me()),
    "UNWATCH, then WATCH": watched(on("b", "SET {t}k 1"), "UNWATCH", "WATCH {t}m"),
    "UNWATCH inside": [
        "WATCH {t}k",
        "MULTI",
        "UNWATCH",
        on("b", "SET {t}k 1"),
        "EXEC",
        *run("PING"),
    ],
    "UNWATCH inside, touched later": ["WATCH {t}k", *run("UNWATCH"), on("b", "SET {t}k 1"), *run()],
    "DISCARD forgets": ["WATCH {t}k", "MULTI", "DISCARD", on("b", "SET {t}k 1"), *run("PING")],
    "an aborted EXEC forgets": ["WATCH {t}k", *run("X"), on("b", "SET {t}k 1"), *run("PING")],
    "EXEC forgets": ["WATCH {t}k", *run("PING"), on("b", "SET {t}k 1"), me(), *run("PING")],
    "a null EXEC forgets": [
        *these("WATCH {t}k {t}m", on("b", "SET {t}k 1"), *run("PING")),
        *these(on("b", "SET {t}m 1"), *run("PING")),
    ],
    "RESET forgets": ["WATCH {t}k", on("b", "SET {t}k 1"), "RESET", *run("PING")],
    "an error first": ["WATCH {t}k", on("b", "SET {t}k 1"), *run("X"), *run("PING")],
    "empty": ["WATCH {t}k", on("b", "SET {t}k 1"), *run(), *run()],
    "another db": [
        *these("SELECT 1", "WATCH {t}k", "SELECT 0", on("b", "SET {t}k 1"), *run("PING")),
        *these("SELECT 1", "WATCH {t}k", "SELECT 0", on("b", "SELECT 1"), on("b", "SET {t}k 1")),
        *run("PING"),
    ],
    "in two dbs": [
        *these(
            "WATCH {t}k", "SELECT 1", "WATCH {t}k", me(), on("b", "SELECT 1"), on("b", "SET {t}k 1")
        ),
        *run("PING"),
    ],
    "two clients": [
        *these("WATCH {t}k", on("b", "WATCH {t}k"), *run("INCR {t}k"), on("b", "MULTI")),
        *these(on("b", "INCR {t}k"), on("b", "EXEC"), "GET {t}k"),
    ],
    "a client that goes": [on("c", "WATCH {t}k"), on("c", closes("QUIT")), "SET {t}k 1"],
    "by a transaction": watched(on("b", "MULTI"), on("b", "SET {t}k 1"), on("b", "EXEC")),
    "by a blocked client": [
        *these(on("b", sends("BLPOP {t}l 0")), blocked(1), "WATCH {t}l", on("c", "RPUSH {t}l 1")),
        *these(on("b", reply()), *run("PING")),
    ],
    "watched and awaited": [
        *these("WATCH {t}l", on("b", sends("BLPOP {t}l 0")), blocked(1), *run("RPUSH {t}l 1 2")),
        *these(on("b", reply()), "WATCH {t}l", on("b", "LPOP {t}l"), *run("PING")),
    ],
    "FLUSHALL, missing": watched(on("b", "FLUSHALL")),
    "FLUSHALL": ["SET {t}k 1", *watched(on("b", "FLUSHALL"))],
    "FLUSHDB": ["SET {t}k 1", *watched(on("b", "FLUSHDB"))],
    "FLUSHDB of another": ["SET {t}k 1", *watched(on("b", "SELECT 1"), on("b", "FLUSHDB"))],
    "SWAPDB, missing": watched(on("b", "SWAPDB 0 1")),
    "SWAPDB, it goes": ["SET {t}k 1", *watched(on("b", "SWAPDB 0 1"))],
    "SWAPDB, it comes": [
        on("b", "SELECT 1"),
        on("b", "SET {t}k 1"),
        *watched(on("b", "SWAPDB 1 0")),
    ],
    "SWAPDB, both": [
        "SET {t}k 1",
        on("b", "SELECT 1"),
        on("b", "SET {t}k 1"),
        *watched("SWAPDB 0 1"),
    ],
    "SWAPDB with itself": ["SET {t}k 1", *watched(on("b", "SWAPDB 0 0"))],
    "SWAPDB of others": ["SET {t}k 1", *watched(on("b", "SWAPDB 1 2"))],
}


def expires(*steps: Step | Line) -> Case:
    """A case in which keys stay when their time has passed, until somebody looks at them."""
    return Case(
        *("DEBUG SET-ACTIVE-EXPIRE 0", *steps), cleanup=["DEBUG SET-ACTIVE-EXPIRE 1", "FLUSHALL"]
    )


PASS = ("SET {t}k 1 PX 10", "DEBUG SLEEP 0.03")
EXPIRY: Table = {
    "expires": expires("SET {t}k 1 PX 10", "WATCH {t}k", "DEBUG SLEEP 0.03", *run("PING")),
    "expires and is found": expires(
        *("SET {t}k 1 PX 10", "WATCH {t}k", "DEBUG SLEEP 0.03", on("b", "GET {t}k"), *run("PING"))
    ),
    "had expired": expires(*PASS, *watched()),
    "had expired and is found": expires(*PASS, *watched(on("b", "GET {t}k"))),
    "had expired, is found, and comes": expires(
        *PASS, *watched(on("b", "GET {t}k"), on("b", "SET {t}k 1"))
    ),
    "had expired and is set": expires(*PASS, *watched(on("b", "SET {t}k 1"))),
    "had expired and is deleted": expires(*PASS, *watched(on("b", "DEL {t}k"))),
    "had expired and is changed": expires(*PASS, *watched(on("b", "APPEND {t}k x"))),
    "had expired and is pushed to": expires(*PASS, *watched(on("b", "LPUSH {t}k x"))),
    "had expired, FLUSHALL": expires(*PASS, *watched(on("b", "FLUSHALL"))),
    "had expired, FLUSHALL, comes": expires(
        *PASS, *watched(on("b", "FLUSHALL"), on("b", "SET {t}k 1"))
    ),
    "had expired, SWAPDB": expires(*PASS, *watched(on("b", "SWAPDB 0 1"))),
    "had expired, SWAPDB brings one": expires(
        *(*PASS, on("b", "SELECT 1"), on("b", "SET {t}k 1"), *watched(on("b", "SWAPDB 0 1")))
    ),
    "SWAPDB brings one that had expired": expires(
        *(*PASS, "SELECT 1", *watched(on("b", "SWAPDB 0 1"), on("b", "GET {t}k")))
    ),
    "actively": ["SET {t}k 1 PX 10", "WATCH {t}k", on("b", until("^:0", "DBSIZE")), *run("PING")],
}
PAUSED: Table = {
    "writes wait": [
        *these("MULTI", "SET {t}a 1", on("b", "CLIENT PAUSE 100000 WRITE"), sends("EXEC")),
        *these(on("b", "GET {t}a"), on("b", "CLIENT UNPAUSE"), reply()),
    ],
    "reads do not": [
        *these("MULTI", "GET {t}a", on("b", "CLIENT PAUSE 100000 WRITE"), "EXEC"),
        on("b", "CLIENT UNPAUSE"),
    ],
    "queueing waits": [
        *these("MULTI", on("b", "CLIENT PAUSE 100000 WRITE"), "GET {t}a", sends("SET {t}a 1")),
        *these(on("b", "CLIENT UNPAUSE"), reply(), "EXEC"),
    ],
}
ALONE: Table = {
    "of all keys": run(
        "SET a 1",
        "DBSIZE",
        "KEYS a",
        "RANDOMKEY",
        "SCAN 0 COUNT 100",
        "FLUSHDB",
        "DBSIZE",
        "SET b 2",
        "SWAPDB 0 1",
        "GET b",
        "SELECT 1",
        "GET b",
        "FLUSHALL",
        "DBSIZE",
        "SELECT 0",
    ),
    "several keys": run("MSET a 1 b 2 c 3", "MGET c b a", "RENAME a d", "DEL a b c", "EXISTS d"),
    "a cursor that is none": run("SCAN x", "SCAN 0 COUNT 0"),
    "DEBUG": run("SET a 1", "DEBUG SLEEP 0", "GET a", "DEBUG RELOAD", "GET a"),
    "a lock": Case(*run("SET a 1", "CLIENT UNPAUSE", "CONFIG RESETSTAT", "GET a")),
    "WATCH and all": [
        "WATCH a b",
        *run("FLUSHALL"),
        "WATCH a",
        "SET a 1",
        *run("FLUSHALL"),
        "GET a",
    ],
}


@pytest.mark.parametrize("script", cases(STATES, CONNECTION, BLOCKING, WATCHING, EXPIRY, PAUSED))
def test_transactions(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(CHANGES))
def test_changes(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(ALONE))
def test_of_all_keys(script: Case, compare: Compare, subject: Shoal) -> None:
    if len(subject.worker_pids()) > 1:
        pytest.skip("concerns every partition")
    compare(script)
