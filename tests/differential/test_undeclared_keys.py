"""Scripts that use keys of any partition, declared or not, before and after they have written, in
transactions and other databases; and those that list or empty whole databases.

With three workers b and f lie in the first, c and g in the second, a, d, e and h in the third.
"""

from __future__ import annotations

import pytest
from support.differential import (
    Case,
    Compare,
    Table,
    cases,
    near,
    on,
    reply,
    sends,
    unordered,
    until,
)

# Writes to the key that it declares, then to others.
WRITES_FIRST = """\
call('SET', KEYS[1], 'x', 'EX', 1000)
call('RPUSH', 'l', 'a', 'b')
call('HSET', 'h', 'f', 'v')
for _, key in ipairs(ARGV) do call('INCR', key) end
return call('GET', KEYS[1])"""

# What BullMQ does to add a job: its key is made of a counter.
ADD_JOB = """\
local id = call('INCR', KEYS[1])
local job = ARGV[1] .. id
call('HSET', job, 'name', ARGV[2], 'data', ARGV[3], 'priority', 0)
call('XADD', KEYS[3], 'MAXLEN', '~', 1000, id .. '-1', 'event', 'added', 'jobId', id)
if call('EXISTS', ARGV[1] .. 'paused') == 0 then call('LPUSH', KEYS[2], id) end
call('XADD', KEYS[3], id .. '-2', 'event', 'waiting', 'jobId', id)
call('ZADD', ARGV[1] .. 'marker', 0, '0')
return id"""


def script(text: str, *args: str, keys: tuple[str, ...] = ()) -> tuple[bytes, ...]:
    words = ("EVAL", "local call = redis.call " + text, str(len(keys)), *keys, *args)
    return tuple([word.encode() for word in words])


def add(name: str) -> tuple[bytes, ...]:
    return script(
        ADD_JOB, "bull:q:", name, "{}", keys=("bull:q:id", "bull:q:wait", "bull:q:events")
    )


UNDECLARED: Table = {
    "after a write": [
        *(script(WRITES_FIRST, *"abcdefgh", keys=(key,)) for key in "xyz"),
        "MGET a b c d e f g",
        "LRANGE l 0 -1",
        "HGETALL h",
        near(20, "TTL x"),
        near(20, "TTL y"),
    ],
    "a job": [
        *map(add, ("one", "two", "three")),
        "LRANGE bull:q:wait 0 -1",
        "XRANGE bull:q:events - +",
        *(f"HGETALL bull:q:{n}" for n in range(1, 4)),
        "SET bull:q:paused 1",
        add("four"),
        "LRANGE bull:q:wait 0 -1",
        "KEYS bull:q:4",
    ],
    "keys that only values name": [
        "MSET a b b c c d d e",
        script(
            "local key = KEYS[1] for _ = 1, 4 do call('APPEND', key, '!') "
            "key = string.sub(call('GET', key), 1, 1) end return call('GET', key)",
            keys=("a",),
        ),
        "MGET a b c d e",
    ],
    "every kind of value is put back": [
        *(
            line
            for k in "bca"
            for line in (
                f"RPUSH {k}l 1 2 3",
                f"HSET {k}h f 1 g 2",
                f"SADD {k}s 1 2 x",
                f"ZADD {k}z 1 a 2 b",
                f"XADD {k}x 1-1 f v",
                f"SET {k}s2 v EX 1000",
                f"PFADD {k}p 1 2 3",
                f"SETBIT {k}b 7 1",
            )
        ),
        *(
            script(
                "local k = KEYS[1] "
                "call('LPUSH', k .. 'l', 0) call('LPOP', k .. 'l', 2) "
                "call('HINCRBY', k .. 'h', 'f', 5) call('HDEL', k .. 'h', 'g') "
                "call('SADD', k .. 's', 'y') call('SREM', k .. 's', '1') "
                "call('ZINCRBY', k .. 'z', 5, 'a') call('ZREM', k .. 'z', 'b') "
                "call('XADD', k .. 'x', '2-1', 'f', 'v') "
                "call('APPEND', k .. 's2', '!') call('PFADD', k .. 'p', 9) "
                "call('SETBIT', k .. 'b', 9, 1) "
                "call('RENAME', k .. 'l', k .. 'l2') "
                "return {call('INCR', 'n1'), call('INCR', 'n2'), call('INCR', 'n3')}",
                keys=(k,),
            )
            for k in "bca"
        ),
        *(
            line
            for k in "bca"
            for line in (
                f"LRANGE {k}l2 0 -1",
                f"HGETALL {k}h",
                unordered(f"SMEMBERS {k}s"),
                f"ZRANGE {k}z 0 -1 WITHSCORES",
                f"XRANGE {k}x - +",
                f"GET {k}s2",
                near(20, f"TTL {k}s2"),
                f"PFCOUNT {k}p",
                f"BITCOUNT {k}b",
                f"EXISTS {k}l",
            )
        ),
    ],
    "an error after a write": [
        script("call('SET', 'a', 1) call('SET', 'b', 2) return call('LPUSH', 'c', 1, 2)"),
        script("call('INCR', 'a') call('INCR', 'b') return call('INCR', 'c')"),
        "MGET a b",
        script("call('INCR', 'a') call('INCR', 'b') error('x')"),
        "MGET a b",
    ],
    "SORT with patterns": [
        "RPUSH l 1 2 3",
        "MSET w1 3 w2 2 w3 1 v1 a v2 b v3 c",
        script(
            "call('RPUSH', KEYS[1], 4) call('SET', 'w4', 0) "
            "return call('SORT', KEYS[1], 'BY', 'w*', 'GET', 'v*', 'GET', '#')",
            keys=("l",),
        ),
        "MULTI",
        "INCR w1",
        "SORT l BY w* GET v* GET #",
        "SORT l BY w* STORE m",
        "EXEC",
        "LRANGE m 0 -1",
    ],
    "in another database": [
        script(
            "call('SET', KEYS[1], 1) call('SELECT', 1) "
            "for _, key in ipairs(ARGV) do call('INCR', key) end "
            "call('SELECT', 2) call('SET', KEYS[1], 2) return call('GET', 'b')",
            *"abc",
            keys=("a",),
        ),
        "MGET a b c",
        "SELECT 1",
        "MGET a b c",
        "SELECT 2",
        "MGET a b c",
        script(
            "for _, k in ipairs(ARGV) do call('SET', k, 1) call('MOVE', k, 3) end",
            *"abcd",
        ),
        script("return call('COPY', KEYS[1], 'z', 'DB', 4)", keys=("a",)),
        "SELECT 3",
        "MGET a b c d",
        "SELECT 4",
        "MGET z",
    ],
    "functions": [
        (
            b"FUNCTION",
            b"LOAD",
            b"REPLACE",
            b"#!lua name=lib\nredis.register_function('f', function(keys, args) "
            b"redis.call('INCR', keys[1]) "
            b"for _, key in ipairs(args) do redis.call('INCR', key) end "
            b"return redis.call('MGET', keys[1], unpack(args)) end)",
        ),
        "FCALL f 1 a b c d",
        "FCALL f 1 b c d a",
        "MULTI",
        "INCR a",
        "FCALL f 1 c d",
        "FCALL f 1 a b",
        "EXEC",
        "MGET a b c d",
        "FUNCTION FLUSH",
    ],
    "only read": [
        "MSET a 1 b 2 c 3",
        (b"EVAL_RO", b"return {redis.call('GET', 'a'), redis.call('GET', 'b')}", b"0"),
        (b"EVAL_RO", b"return {redis.call('DBSIZE'), redis.call('GET', 'b')}", b"0"),
        (b"EVAL_RO", b"redis.call('GET', 'a') return redis.call('SET', 'b', 1)", b"0"),
    ],
}

TRANSACTIONS: Table = {
    "in one partition": [
        "MULTI",
        "SET b 5",
        "RPUSH f 1 2",
        script("call('INCR', KEYS[1]) return call('INCR', 'c')", keys=("b",)),
        script("return call('LPUSH', 'f', call('INCR', 'a'))"),
        "GET b",
        "EXEC",
        "MGET a b c",
        "LRANGE f 0 -1",
    ],
    "with commands of the client": [
        "MULTI",
        "SELECT 1",
        "SET b 5",
        script("call('INCR', KEYS[1]) return call('INCR', 'c')", keys=("b",)),
        "PING",
        "SELECT 0",
        script("return call('INCR', KEYS[1])", keys=("b",)),
        "EXEC",
        "MGET b c",
        "SELECT 1",
        "MGET b c",
    ],
    "in several": [
        "MULTI",
        "MSET a 1 b 2 c 3",
        script("call('RENAME', 'a', 'd') return call('INCR', 'c')", keys=("b",)),
        script("return call('MGET', 'a', 'b', 'c', 'd')"),
        "DBSIZE",
        script("return {call('DBSIZE'), call('FLUSHALL'), call('SET', 'h', 1)}"),
        "DBSIZE",
        "EXEC",
        "MGET a b c d h",
    ],
    "an error in it": [
        "SET b x",
        "MULTI",
        "SET c 1",
        script("call('INCR', 'c') return call('INCR', 'b')", keys=("f",)),
        script("call('INCR', 'c') error('x')", keys=("f",)),
        "INCR c",
        "EXEC",
        "MGET b c",
        "MULTI",
        script("call('INCR', KEYS[1]) return call('INCR', 'c')", keys=("f",)),
        "INCR f",
        "LPUSH f 1",
        "EXEC",
        "MGET c f",
    ],
    "what is watched": [
        "WATCH b",
        "MULTI",
        script("call('INCR', KEYS[1]) return call('INCR', 'c')", keys=("b",)),
        "EXEC",
        "WATCH b",
        on("o", script("call('INCR', 'b') return call('INCR', 'c')")),
        "MULTI",
        script("return call('INCR', 'c')"),
        "EXEC",
        "MGET b c",
        "WATCH f",  # a run that is taken back touches nothing
        on("o", script("call('SET', 'f', 1) call('INCR', 'c') call('DEL', 'f')")),
        on("o", script("call('GET', 'f') return call('INCR', 'c')")),
        "MULTI",
        "PING",
        "EXEC",
        "WATCH f",
        on(
            "o",
            script("call('GET', 'f') call('INCR', 'b') return call('INCR', 'c')"),
        ),
        "MULTI",
        "PING",
        "EXEC",
        "WATCH b c a",
        on("o", script("return call('FLUSHALL')")),
        "MULTI",
        "PING",
        "EXEC",
    ],
}

HEARD: Table = {
    "events and messages are told once": Case(
        "CONFIG SET notify-keyspace-events EA",
        on("s", "PSUBSCRIBE __keyevent@0__:* ch*"),
        script(
            "call('SET', KEYS[1], 1) call('PUBLISH', 'ch', 'x') call('INCR', 'c') "
            "call('PUBLISH', 'ch2', 'y') return call('INCR', 'a')",
            keys=("b",),
        ),
        "PUBLISH ch end",
        *[on("s", reply())] * 6,
        cleanup=["CONFIG SET notify-keyspace-events ''"],
    ),
    "who waits is served once, at the end": [
        on("w", sends("BLPOP b 0")),
        on("v", sends("BLPOP c 0")),
        until("blocked_clients:2", "INFO clients"),
        script(
            "call('RPUSH', KEYS[1], 1) call('LPOP', KEYS[1]) call('RPUSH', 'c', 2) "
            "call('RPUSH', KEYS[1], 3, 4) call('LPUSH', 'c', 5) return call('INCR', 'a')",
            keys=("b",),
        ),
        on("w", reply()),
        on("v", reply()),
        "LRANGE b 0 -1",
        "LRANGE c 0 -1",
    ],
    "a message of a script without keys": [
        "MSET a 1 b 2 c 3",
        on("s", "SUBSCRIBE ch"),
        script(
            "call('INCR', 'a') call('INCR', 'b') call('INCR', 'c') "
            "return call('PUBLISH', 'ch', 'm')"
        ),
        on("s", reply()),
        "MGET a b c",
    ],
}

LISTED = "local found = call('KEYS', ARGV[1]) table.sort(found) return found"
SCANNED = """\
local found, cursor = {}, '0'
repeat
  local said = call('SCAN', cursor, unpack(ARGV))
  cursor = said[1]
  for _, key in ipairs(said[2]) do found[#found + 1] = key end
until cursor == '0'
table.sort(found)
return found"""

FILL = (*(f"SET s{n} v" for n in range(12)), *(f"SADD t{n} 1 2" for n in range(6)))

WIDE: Table = {
    "KEYS": [
        *FILL,
        script(LISTED, "*"),
        script(LISTED, "t*"),
        script(LISTED, "{s1}*"),
        script(LISTED, "x"),
    ],
    "KEYS, and what the script has changed": [
        *FILL,
        script(
            "call('DEL', KEYS[1], 's1', 's2', 's3') call('SET', 'new', 1) "
            "call('RENAME', 's4', 'other') " + LISTED,
            "*",
            keys=("s0",),
        ),
        unordered("KEYS *"),
    ],
    "SCAN": [
        *FILL,
        script(SCANNED, "COUNT", "3"),
        script(SCANNED, "TYPE", "set"),
        script(SCANNED, "MATCH", "s1*", "COUNT", "100"),
        script("call('SET', 's3', 1) call('DEL', 't1') " + SCANNED, "MATCH", "*1*"),
        script("return call('SCAN', 'x')"),
    ],
    "DBSIZE": [
        *FILL,
        script(
            "local one = call('DBSIZE') call('DEL', 's1', 's2', 's3') "
            "local two = call('DBSIZE') call('SET', 's3', 1) call('SET', 'u', 1) "
            "call('SELECT', 1) return {one, two, call('DBSIZE')}",
        ),
        "DBSIZE",
    ],
    "RANDOMKEY": [
        script("return call('RANDOMKEY')"),
        *(
            step
            for key in "abc"
            for step in (
                f"SET {key} v",
                script("return call('RANDOMKEY')"),
                script("call('DEL', ARGV[1]) return call('RANDOMKEY')", key),
            )
        ),
    ],
    "delete what matches": [
        *FILL,
        script(
            "local count = 0 for _, key in ipairs(call('KEYS', ARGV[1])) do "
            "count = count + call('DEL', key) end return count",
            "s*",
        ),
        "DBSIZE",
        script(
            "local keys = call('KEYS', '*') for i = 1, #keys, 4 do "
            "call('UNLINK', unpack(keys, i, math.min(i + 3, #keys))) end return #keys"
        ),
        "DBSIZE",
    ],
    "values of what is listed": [
        *FILL,
        script(
            "local sum = 0 for _, key in ipairs(call('KEYS', 't*')) do "
            "sum = sum + call('SCARD', key) call('SADD', key, 3) end "
            "for _, key in ipairs(call('KEYS', 't*')) do sum = sum + call('SCARD', key) end "
            "return sum"
        ),
        *(f"SCARD t{n}" for n in range(6)),
    ],
    "FLUSHALL": [
        "MSET a 1 b 2 c 3",
        "SELECT 1",
        "MSET a 1 b 2 c 3",
        "SELECT 0",
        script(
            "call('INCR', 'a') call('INCR', 'b') call('FLUSHALL') "
            "local said = {call('MGET', 'a', 'b', 'c', 'd'), call('DBSIZE'), call('EXISTS', 'c')} "
            "call('SET', 'c', 7) call('RPUSH', 'l', 1) call('LMOVE', 'l', 'm', 'LEFT', 'LEFT') "
            "said[#said + 1] = call('DBSIZE') call('SELECT', 1) "
            "said[#said + 1] = call('DBSIZE') call('SET', 'b', 8) said[#said + 1] = "
            "call('GET', 'a') "
            "return said"
        ),
        unordered("KEYS *"),
        "MGET a b c",
        "LRANGE m 0 -1",
        "SELECT 1",
        "MGET a b c",
        "DBSIZE",
    ],
    "FLUSHDB": [
        "MSET a 1 b 2 c 3",
        "SELECT 1",
        "MSET a 1 b 2 c 3",
        script("call('FLUSHDB', 'ASYNC') call('SELECT', 0) return call('MGET', 'a', 'b', 'c')"),
        "DBSIZE",
        "SELECT 0",
        "DBSIZE",
        script("return call('FLUSHDB', 'x')"),
        script(
            "call('SET', 'x', 1) call('FLUSHDB') call('SET', 'y', 1) "
            "call('SET', 'z', 1) call('RENAME', 'y', 'x') return call('MGET', 'x', 'y', 'z', 'a')"
        ),
        unordered("KEYS *"),
    ],
    "SWAPDB": [
        "MSET a 1 b 2 c 3",
        "SELECT 1",
        "MSET a 4 b 5 d 6",
        "SELECT 0",
        script(
            "call('INCR', 'a') call('SWAPDB', 0, 1) "
            "local said = {call('MGET', 'a', 'b', 'c', 'd'), call('DBSIZE')} "
            "call('INCR', 'b') call('SET', 'e', 1) call('RENAME', 'd', 'f') "
            "call('SELECT', 1) call('DEL', 'c') said[3] = call('MGET', 'a', 'b', 'c', "
            "'d') return said"
        ),
        "MGET a b c d e f",
        "DBSIZE",
        "SELECT 1",
        "MGET a b c d e f",
        "DBSIZE",
        script("return call('SWAPDB', 0, 99)"),
        script("return call('SWAPDB', 'x', 0)"),
    ],
}


@pytest.mark.parametrize("script", cases(UNDECLARED, TRANSACTIONS, HEARD, WIDE))
def test_scripts(script: Case, compare: Compare) -> None:
    compare(script)
