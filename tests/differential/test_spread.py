"""Several features at once over keys of several partitions: scripts and pub/sub, scripts that end
with an error, scripts and databases.
"""

import pytest
from support.differential import Case, Compare, Table, cases, head, on, reply, shape

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


def test_a_script_that_moves_a_key_of_another_partition_gets_an_error(subject: Shoal) -> None:
    """Of another database it has only the keys of the partition that runs it."""
    with subject.client() as client:
        for line in (b"FLUSHALL", b"MSET a 1 b 2 c 3 d 4 e 5"):
            client.call(*line.split())
        body = b"return redis.pcall('MOVE', KEYS[2], 1).err"
        for first in (b"a", b"b", b"c"):
            for second in (b"d", b"e"):
                client.call(b"EVAL", body, b"2", first, second)
        copies = b"return redis.pcall('COPY', KEYS[1], KEYS[2], 'DB', 1).err"
