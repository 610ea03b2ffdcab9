"""Several features at once over keys of several partitions: scripts and pub/sub, scripts that end
with an error, scripts and databases, streams that travel.
"""

import pytest
from support.differential import Case, Compare, Table, cases, head, near, on, reply

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


@pytest.mark.parametrize("script", cases(STREAMS))
def test_streams(script: Case, compare: Compare) -> None:
    compare(script)
