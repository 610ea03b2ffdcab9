"""Several features at once over keys of several partitions: scripts and pub/sub, scripts that end
with an error, scripts and databases, streams that travel.
"""

from collections.abc import Callable

import pytest
from support.differential import (
    Case,
    Compare,
    Line,
    Step,
    Table,
    blocked,
    cases,
    head,
    mask,
    near,
    on,
    reply,
    sends,
)

SCRIPTS: Table = {
    "what was written before an error stays, in every partition": [
        "EVAL \"for i = 1, 4 do redis.call('SET', KEYS[i], i) end error('x')\" 4 a b c d",
        "MGET a b c d",
        "EVAL \"for i = 1, 4 do redis.call('INCR', KEYS[i]) end redis.call('LPUSH', KEYS[1], 1)\" "
        "4 a b c d",
        "MGET a b c d",
        "MULTI",
        "EVAL \"for i = 1, 4 do redis.call('INCR', KEYS[i]) end error('x')\" 4 a b c d",
        "INCR b",
        "EXEC",
        "MGET a b c d",
    ],
    "a script publishes": [
        on("s", "SUBSCRIBE ch"),
        on("s", "PSUBSCRIBE c*"),
        on("s", "SSUBSCRIBE sch"),
        "EVAL \"return redis.call('PUBLISH', 'ch', KEYS[1])\" 1 a",
        "EVAL \"return redis.call('PUBLISH', 'ch', KEYS[1])\" 1 b",
        on("s", reply(4)),
        "EVAL \"return redis.call('PUBLISH', 'ch', KEYS[1])\" 2 a b",
        on("s", reply(2)),
        "EVAL \"return redis.call('SPUBLISH', 'sch', KEYS[1])\" 2 a b",
        on("s", reply()),
        "EVAL_RO \"return redis.call('PUBLISH', 'ch', KEYS[1])\" 2 a b",
        "MULTI",
        "EVAL \"redis.call('INCR', KEYS[2]) return redis.call('PUBLISH', 'ch', 'x')\" 2 a b",
        "PUBLISH ch direct",
        "INCR a",
        "EXEC",
        on("s", reply(4)),
    ],
    "a message is published once, though the script finds a key of another partition": [
        "MSET a 1 b 2 c 3",
        on("s", "SUBSCRIBE ch"),
        "EVAL \"local x = {redis.call('GET', 'a'), redis.call('GET', 'b'), redis.call('GET', 'c')} "
        "redis.call('PUBLISH', 'ch', x[1] .. x[2] .. x[3]) return x\" 0",
        "PUBLISH ch end",
        on("s", reply(2)),
    ],
    "a script asks for what no key has to do with": [
        "EVAL \"return redis.call('PUBSUB', 'CHANNELS')\" 0",
        "EVAL \"return redis.call('PUBSUB', 'NUMSUB', 'x')\" 0",
        "EVAL \"return redis.call('PUBSUB', 'NUMPAT')\" 0",
        "EVAL \"return redis.call('SCRIPT', 'HELP')\" 0",
        "EVAL \"return redis.call('FUNCTION', 'HELP')\" 0",
        head("EVAL \"return redis.call('CLIENT', 'HELP')\" 0"),
        head("EVAL \"return redis.call('MEMORY', 'MALLOC-STATS')\" 0"),
        "EVAL \"return redis.call('CLIENT', 'ID')\" 0",
        "EVAL \"return redis.call('SUBSCRIBE', 'ch')\" 0",
        "EVAL \"return redis.call('MONITOR')\" 0",
    ],
}


@pytest.mark.parametrize("script", cases(SCRIPTS))
def test_scripts(script: Case, compare: Compare) -> None:
    compare(script)


STREAMS: Table = {
    "entries that are pending though deleted travel along": [
        "XGROUP CREATE s g 0 MKSTREAM",
        "XADD s 1-1 a b",
        "XADD s 2-1 a b",
        "XREADGROUP GROUP g c STREAMS s >",
        "XDEL s 1-1",
        *(
            step
            for key in ("t", "u", "v", "w")
            for step in (f"COPY s {key}", near(10_000, f"XPENDING {key} g - + 10"))
        ),
        "RENAME s x",
        "RENAME x y",
        near(10_000, "XPENDING y g - + 10"),
    ],
    "groups change beside values that travel whole": [
        *(f"XGROUP CREATE {key} g 0 MKSTREAM" for key in ("h", "i", "j")),
        "RPUSH l1 1 2 3",
        "RPUSH l2 1 2 3",
        "RPUSH l3 1 2 3",
        *(
            "EVAL \"redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'LEFT') return "
            f"redis.call('XGROUP', 'CREATECONSUMER', KEYS[3], 'g', 'c')\" 3 {keys}"
            for keys in ("l1 l2 h", "l2 l3 i", "l3 l1 j")
        ),
        *(near(10_000, f"XINFO CONSUMERS {key} g") for key in ("h", "i", "j")),
    ],
}

# Streams in any partitions; group g has read a and b up to 2, c up to 1, and consumer c1 has that
# pending; group h has read nothing.
READ_FROM = (
    *(f"XADD {key} {at}-1 f {key}{at}" for key in "abc" for at in range(1, 6)),
    *(f"XGROUP CREATE {key} g 0" for key in "abc"),
    *(f"XGROUP CREATE {key} h 0" for key in "abc"),
    "XREADGROUP GROUP g c1 COUNT 2 STREAMS a >",
    "XREADGROUP GROUP g c1 COUNT 2 STREAMS b >",
    "XREADGROUP GROUP g c1 COUNT 1 STREAMS c >",
    "XREADGROUP GROUP g c2 COUNT 1 STREAMS c >",
    "SET s v",
)
IDLE = rb":\d+(?=\r\n:)"  # in front of the count of deliveries
# All that there is to know of these streams.
KNOWN = tuple(
    step
    for key in "abc"
    for step in (
        f"XINFO GROUPS {key}",
        *(mask(IDLE, f"XPENDING {key} {group} - + 99") for group in "gh"),
        *(near(10_000, f"XINFO CONSUMERS {key} {group}") for group in "gh"),
    )
)
READS = (
    "XREAD STREAMS a b c 0 3-1 5-1",
    "XREAD COUNT 2 STREAMS c b a 0 3-1 4",
    "XREAD STREAMS a b $ $",
    "XREAD STREAMS a b + +",
    "XREAD STREAMS a none b + + $",
    "XREAD STREAMS a b a b a 0 $ 3 4 +",
    "XREAD COUNT 1 STREAMS a b a b a 0 $ 3 4 +",
    "XREAD STREAMS a b 9 9",
    "XREAD STREAMS none nothing 0 0",
    "XREAD STREAMS a b s 0 0 0",
    "XREAD STREAMS a b c 0 x 0",
    "XREAD STREAMS s b 0 x",
    "XREAD STREAMS a b 0 >",
    "XREAD STREAMS a b c 0 0",
    "XREAD COUNT x STREAMS a b 0 0",
    "XREAD GROUP g c STREAMS a b 0 0",
    "XREAD BLOCK 1 STREAMS a b c $ $ 4-1",
    "XREADGROUP GROUP g c1 STREAMS a b c > > >",
    "XREADGROUP GROUP g c1 COUNT 1 STREAMS c b a > > >",
    "XREADGROUP GROUP g c3 COUNT 2 STREAMS c b a > > >",
    "XREADGROUP GROUP g c1 NOACK STREAMS a b c > > >",
    "XREADGROUP GROUP g c3 NOACK STREAMS a b c > > >",
    "XREADGROUP GROUP g c1 STREAMS a b c 0 0 0",
    "XREADGROUP GROUP g c1 COUNT 1 STREAMS a b c 0 1-1 0",
    "XREADGROUP GROUP g c1 STREAMS a b c > 0 >",
    "XREADGROUP GROUP g c3 STREAMS a b c > 0 >",
    "XREADGROUP GROUP g c1 COUNT 1 STREAMS a b a b a > > > 0 0",
    "XREADGROUP GROUP g c1 COUNT 2 STREAMS a b a b a 0 > > 0 1-1",
    "XREADGROUP GROUP h c1 COUNT 2 STREAMS a b > >",
    "XREADGROUP GROUP h c1 STREAMS a b > 0",
    "XREADGROUP GROUP h c1 STREAMS a b 0 0",
    "XREADGROUP GROUP g c1 STREAMS a b none > > >",
    "XREADGROUP GROUP g c1 STREAMS a b s > > >",
    "XREADGROUP GROUP no c1 STREAMS a b > >",
    "XREADGROUP GROUP g c1 STREAMS a b c > > x",
    "XREADGROUP GROUP g c9 STREAMS a b c > 0 $",
    "XREADGROUP GROUP g c9 STREAMS a b c > + 0",
    "XREADGROUP GROUP g c1 STREAMS a b c > >",
    "XREADGROUP GROUP g STREAMS a b > >",
    "XREADGROUP GROUP g c1 CLAIM 0 STREAMS a b > >",
    "XREADGROUP GROUP g c1 BLOCK 1 STREAMS a b > >",
    "XREADGROUP GROUP g c1 COUNT 0 STREAMS a b > >",
    "XREADGROUP GROUP g c1 COUNT -7 STREAMS a b > 0",
)
# What is special about a stream.
TURNS = {
    "as they are": (),
    "entries have been deleted": ("XDEL a 1-1 2-1 3-1", "XDEL b 5-1 3-1", "XDEL c 4-1 1-1"),
    "all of them": ("XTRIM a MAXLEN 0", "XTRIM b MAXLEN 1", "XTRIM c MINID 3-1"),
    "groups set back": (
        *(f"XGROUP SETID {key} g 0" for key in "ab"),
        "XGROUP SETID c g 2-1 ENTRIESREAD 9",
        "XACK a g 1-1",
    ),
    "nothing is new": ("XGROUP SETID a g $", "XGROUP SETID b g $", "XGROUP SETID c g $"),
    "it expires": ("PEXPIRE a 500000", "PEXPIREAT b 1"),
}
TO_CALL = 'EVAL "return redis.call(unpack(ARGV))" {count} {keys} {line}'
READING: Table = (
    {
        f"{line}, {name}": [*READ_FROM, *turn, line, *KNOWN, line, *KNOWN]
        for name, turn in TURNS.items()
        for line in READS
    }
    | {
        f"{line}, {how}": [*READ_FROM, *before, line, *after, *KNOWN]
        for line in READS
        for how, before, after in (
            ("in MULTI", ("MULTI", "XADD a 9 f v"), ("XADD b 9 f v", line, "EXEC")),
            (
                "in a row",
                ("XDEL c 5-1", "XADD c 9-1 f v"),
                ("XACK a g 1-1 3-1", line, "COPY a b", line),
            ),
        )
        if "+ $" not in line
    }
    | {
        f"{line}, in a script": [
            *READ_FROM,
            TO_CALL.format(count=5, keys="a b c s none", line=line),
            mask(IDLE, TO_CALL.format(count=5, keys="a b c s none", line="XPENDING a g - + 9 c1")),
            TO_CALL.format(count=5, keys="s b c a none", line=line),
            *KNOWN,
        ]
        for line in READS
        if "BLOCK" not in line
    }
)


@pytest.mark.parametrize("script", cases(READING))
def test_reading_streams(script: Case, compare: Compare) -> None:
    compare(script)


# Who has heard of a push finds that those who waited were served: b waits for lists of any
# partition, c for sorted sets, d and e for streams.
WAITING: tuple[Line | Step, ...] = (
    on("b", sends("BLPOP k l m n 0")),
    on("c", sends("BZPOPMIN p q r s 0")),
    on("d", sends("XREAD BLOCK 0 STREAMS t u v w $ $ $ $")),
    *(f"XGROUP CREATE {key} g $ MKSTREAM" for key in "tuvw"),
    on("e", sends("XREADGROUP GROUP g e BLOCK 0 STREAMS t u v w > > > >")),
    blocked(4),
)
PUSHES: dict[str, Callable[[str], tuple[Line | Step, ...]]] = {
    "RPUSH": lambda k: (f"RPUSH {k} 1 2", f"LRANGE {k} 0 -1"),
    "two": lambda k: (f"LPUSH {k} 1", f"LPUSH {k} 2", f"LRANGE {k} 0 -1"),
    "a transaction of one partition": lambda k: (
        *("MULTI", f"RPUSH {k} 1", f"LLEN {k}", "EXEC", f"EXISTS {k}"),
    ),
    "one of several": lambda k: (
        *("MULTI", *(f"RPUSH {one} 1" for one in "klmn"), f"LLEN {k}", "EXEC"),
        *(f"LLEN {one}" for one in "klmn"),
    ),
    "one with a command of the home": lambda k: (
        *("MULTI", f"RPUSH {k} 1", "PING", "EXEC", f"LLEN {k}"),
    ),
    "a script": lambda k: (f"EVAL \"return redis.call('RPUSH', KEYS[1], 1)\" 1 {k}", f"LLEN {k}"),
    "a script of several": lambda k: (
        "EVAL \"for _, k in ipairs(KEYS) do redis.call('RPUSH', k, 1) end\" 4 k l m n",
        *(f"LLEN {one}" for one in "klmn"),
    ),
    "LMOVE": lambda k: ("RPUSH x 1 2", f"LMOVE x {k} LEFT LEFT", f"LLEN {k}"),
    "RENAME": lambda k: ("RPUSH x 1 2", f"RENAME x {k}", f"LLEN {k}"),
    "SORT": lambda k: ("SADD x 1 2", f"SORT x STORE {k}", f"LLEN {k}"),
}
PUSHED_ANYWHERE: Table = {
    f"{name}, {key}": [*WAITING, *push(key), on("b", reply()), blocked(3)]
    for name, push in PUSHES.items()
    for key in "klmn"
}
PUSHED: Table = {
    "SWAPDB": [
        *(on("b", sends("BLPOP k l m n 0")), blocked(1), "SELECT 3", "RPUSH m 1", "SELECT 0"),
        *("SWAPDB 0 3", "LLEN m", on("b", reply())),
    ],
    "a sorted set": [*WAITING, "ZADD q 1 a 2 b", "ZRANGE q 0 -1", on("c", reply()), "ZCARD q"],
    "a stream": [
        *(*WAITING, "XADD v 5 f v", mask(IDLE, "XPENDING v g - + 9"), on("d", reply())),
        *(on("e", reply()), "XINFO GROUPS v", blocked(2)),
    ],
    "a stream, in MULTI": [
        *(*WAITING, "MULTI", "XADD v 5 f v", "XADD w 5 f v", "XLEN v", "EXEC"),
        *(mask(IDLE, f"XPENDING {key} g - + 9") for key in "vw"),
        *(on("d", reply()), on("e", reply()), blocked(2)),
    ],
    "several clients": [
        *(on("b", sends("BLPOP k l m n 0")), blocked(1), on("c", sends("BRPOP n m l k 0"))),
        *(blocked(2), on("d", sends("BLPOP l 0")), blocked(3)),
        *(on("e", sends("BLMPOP 0 2 l k LEFT COUNT 2")), blocked(4), "RPUSH l 1 2 3 4 5 6"),
        "LRANGE l 0 -1",
        *(on(one, reply()) for one in "bcde"),
        blocked(0),
    ],
    "one after the other": [
        *(on("b", sends("BLPOP k l m n 0")), blocked(1), on("c", sends("BLPOP n m l k 0"))),
        *(blocked(2), "RPUSH m 1", "LLEN m", on("b", reply()), blocked(1), "RPUSH n 1", "LLEN n"),
        *(on("c", reply()), blocked(0)),
    ],
    "a move": [
        *(on("b", sends("BLMOVE k l LEFT LEFT 0")), blocked(1), "RPUSH k 1", "LRANGE l 0 -1"),
        *("EXISTS k", on("b", reply())),
    ],
    "a chain of moves": [
        *(on("b", sends("BLMOVE k l LEFT LEFT 0")), blocked(1)),
        *(on("c", sends("BLMOVE l m LEFT LEFT 0")), blocked(2)),
        *(on("d", sends("BLPOP m n 0")), blocked(3), "RPUSH k 1", on("b", reply())),
        *(on("c", reply()), on("d", reply()), "EXISTS k l m n", blocked(0)),
    ],
    "the group of one goes": [
        *(*WAITING, "XGROUP DESTROY u g", on("e", reply()), "XADD t 5 f v", on("d", reply())),
        blocked(2),
    ],
    "the key of one goes": [*WAITING, "DEL w", on("e", reply()), blocked(3)],
    "another type": [
        *(*WAITING, "SET u v", on("e", reply()), "XADD t 5 f v", blocked(2)),
        *(on("d", reply()),),
    ],
}


@pytest.mark.parametrize("script", cases(PUSHED_ANYWHERE, PUSHED))
def test_who_waits_is_served_before_the_push_is_answered(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(STREAMS))
def test_streams(script: Case, compare: Compare) -> None:
    compare(script)
