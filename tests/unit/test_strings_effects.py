"""What the string commands log and announce, and that they leave other types and old replies alone.

Effects and events are those redis-server 8.2 writes to its AOF (with aof-use-rdb-preamble no) and
publishes (with notify-keyspace-events KEAmnoc) for the same commands.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
import shoal.worker.commands.strings  # noqa: F401, declares the commands
from shoal.proto.errors import ReplyError
from shoal.proto.replies import encode
from shoal.worker.keyspace import Keyspace, Store, expire_of
from shoal.worker.registry import resolve
from support.raw import split_line

NOW_MS = 1_700_000_000_000
LATER_MS = b"1700000100000"  # 100 s later

Argv = tuple[bytes, ...]


@dataclass
class Partition:
    """A store with one database, and what a command on it left behind.

    Attributes:
        logged: what the last command logs, a DEL of an expired key included.
        events: the keyspace events of the last command, with their kinds.
    """

    store: Store = field(default_factory=lambda: Store(range(16384), 1, Random(1)))
    logged: list[Argv] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store.now_ms = NOW_MS
        self.store.log = lambda _db, argv: self.logged.append(argv)
        self.store.notify = self._notify

    def _notify(self, _db: int, kind: bytes, event: bytes, _key: bytes) -> None:
        self.events.append(f"{kind.decode()}:{event.decode()}")

    @property
    def keys(self) -> Keyspace:
        return self.store.view(0)

    def run(self, argv: Sequence[bytes]) -> bytes:
        """Run a command as the dispatcher does; return the reply, or the error, in RESP2."""
        store = self.store
        self.logged, self.events, store.dirty, store.effects = [], [], 0, None
        command = resolve(list(argv))
        try:
            reply = encode(command.handler(self.keys, *argv[1:]), 2)
        except ReplyError as error:
            assert not store.dirty, "an error after a change"
            return error.encode()
        assert command.write or not store.dirty, "a read that changes"
        if store.dirty:
            self.logged += [tuple(argv)] if store.effects is None else store.effects
        return reply


def after(*lines: str) -> Partition:
    """Return a partition in which these lines have run, in a turn of their own."""
    partition = Partition()
    for line in lines:
        reply = partition.run(split_line(line))
        assert reply[:1] != b"-", (line, reply)
    partition.store.now_ms += 1
    return partition


# name: (lines before, the line, what it logs, its events). NOW stands for the time of the line.
Row = tuple[Sequence[str], str, Sequence[str], Sequence[str]]

NOTHING: Sequence[str] = ()
NEW = ["n:new", "$:set"]
NEW_EXPIRING = [*NEW, "g:expire"]
MISSED = ["m:keymiss"]
AGAIN = ["o:overwritten", "$:set"]
AGAIN_EXPIRING = [*AGAIN, "g:expire"]

EFFECTS: dict[str, Row] = {
    "SET": ([], "SET k v", ["SET k v"], NEW),
    "SET over a volatile key": (["SET k v EX 9"], "SET k w", ["SET k w"], AGAIN),
    "SET EX": ([], "SET k v EX 100", ["SET k v PXAT NOW+100000"], NEW_EXPIRING),
    "SET PX": ([], "set k v px 100", ["SET k v PXAT NOW+100"], NEW_EXPIRING),
    "SET EXAT": ([], "SET k v EXAT 9999999999", ["SET k v PXAT 9999999999000"], NEW_EXPIRING),
    "SET PXAT": ([], "SET k v PXAT 9999999999", ["SET k v PXAT 9999999999"], NEW_EXPIRING),
    "SET EXAT in the past": ([], "SET k v EXAT 1", ["SET k v PXAT 1000"], NEW_EXPIRING),
    "SET NX": ([], "SET k v NX", ["SET k v NX"], NEW),
    "SET NX fails": (["SET k v"], "SET k w NX EX 9", NOTHING, []),
    "SET XX": (["SET k v"], "SET k w XX", ["SET k w XX"], AGAIN),
    "SET XX EX": (["SET k v"], "SET k w XX EX 100", ["SET k w PXAT NOW+100000"], AGAIN_EXPIRING),
    "SET XX fails": ([], "SET k v XX", NOTHING, []),
    "SET KEEPTTL": (["SET k v EX 9"], "SET k w KEEPTTL", ["SET k w KEEPTTL"], AGAIN),
    "SET GET": (["SET k v"], "SET k w GET", ["SET k w"], AGAIN),
    "SET GET of nothing": ([], "SET k w get", ["SET k w"], MISSED + NEW),
    "SET NX GET": ([], "SET k w NX GET GET", ["SET k w NX"], MISSED + NEW),
    "SET NX GET fails": (["SET k v"], "SET k w GET NX", NOTHING, []),
    "SET GET KEEPTTL": (["SET k v EX 9"], "SET k w GET KEEPTTL", ["SET k w KEEPTTL"], AGAIN),
    "SET GET EX": (["SET k v"], "SET k w GET EX 100", ["SET k w PXAT NOW+100000"], AGAIN_EXPIRING),
    "SET GET's words as key and value": ([], "SET GET GET GET", ["SET GET GET"], MISSED + NEW),
    "SET of bad options": (["SET k v"], "SET k w EX 0", NOTHING, []),
    "SETNX": ([], "SETNX k v", ["SETNX k v"], NEW),
    "SETNX fails": (["SET k v"], "SETNX k w", NOTHING, []),
    "SETEX": ([], "SETEX k 100 v", ["SET k v PXAT NOW+100000"], NEW_EXPIRING),
    "PSETEX": ([], "PSETEX k 100 v", ["SET k v PXAT NOW+100"], NEW_EXPIRING),
    "GETSET": (["SET k v EX 9"], "GETSET k w", ["SET k w"], AGAIN),
    "GETSET of nothing": ([], "GETSET k w", ["SET k w"], MISSED + NEW),
    "GETDEL": (["SET k v"], "GETDEL k", ["DEL k"], ["g:del"]),
    "GETDEL of nothing": ([], "GETDEL k", NOTHING, MISSED),
    "GETEX": (["SET k v EX 9"], "GETEX k", NOTHING, []),
    "GETEX EX": (["SET k v"], "GETEX k EX 100", ["PEXPIREAT k NOW+100000"], ["g:expire"]),
    "GETEX PX": (["SET k v EX 9"], "GETEX k PX 100", ["PEXPIREAT k NOW+100"], ["g:expire"]),
    "GETEX EXAT": (
        ["SET k v"],
        "GETEX k EXAT 9999999999",
        ["PEXPIREAT k 9999999999000"],
        ["g:expire"],
    ),
    "GETEX PXAT": (
        ["SET k v"],
        "GETEX k PXAT 9999999999000",
        ["PEXPIREAT k 9999999999000"],
        ["g:expire"],
    ),
    "GETEX EXAT in the past": (["SET k v"], "GETEX k EXAT 1", ["DEL k"], ["g:del"]),
    "GETEX PXAT in the past": (["SET k v"], "GETEX k PXAT 1", ["DEL k"], ["g:del"]),
    "GETEX PERSIST": (["SET k v EX 9"], "GETEX k PERSIST", ["PERSIST k"], ["g:persist"]),
    "GETEX PERSIST of a lasting key": (["SET k v"], "GETEX k PERSIST", NOTHING, []),
    "GETEX of nothing": ([], "GETEX k EX 100", NOTHING, MISSED),
    "MSET": ([], "MSET a 1 b 2 a 3", ["MSET a 1 b 2 a 3"], NEW * 2 + AGAIN),
    "MSETNX": ([], "MSETNX a 1 a 2", ["MSETNX a 1 a 2"], NEW + AGAIN),
    "MSETNX fails": (["SET b 1"], "MSETNX a 1 b 2", NOTHING, []),
    "APPEND to nothing": ([], "APPEND k v", ["APPEND k v"], ["n:new", "$:append"]),
    "APPEND": (["SET k v EX 9"], "APPEND k w", ["APPEND k w"], ["$:append"]),
    "APPEND in place": (["SET k v", "APPEND k w"], "APPEND k x", ["APPEND k x"], ["$:append"]),
    "APPEND of nothing": (["SET k v"], 'APPEND k ""', ['APPEND k ""'], ["$:append"]),
    "APPEND of nothing to nothing": ([], 'APPEND k ""', ['APPEND k ""'], ["n:new", "$:append"]),
    "SETRANGE of no key": ([], "SETRANGE k 3 v", ["SETRANGE k 3 v"], ["n:new", "$:setrange"]),
    "SETRANGE": (["SET k vwx"], "SETRANGE k 1 y", ["SETRANGE k 1 y"], ["$:setrange"]),
    "SETRANGE in place": (
        ["SET k v", "SETRANGE k 1 w"],
        "SETRANGE k 2 x",
        ["SETRANGE k 2 x"],
        ["$:setrange"],
    ),
    "SETRANGE of nothing": (["SET k v"], 'SETRANGE k 3 ""', NOTHING, []),
    "SETRANGE of nothing to no key": ([], 'SETRANGE k 3 ""', NOTHING, []),
    "INCR": ([], "INCR k", ["INCR k"], ["n:new", "$:incrby"]),
    "DECR": (["SET k 5 EX 9"], "DECR k", ["DECR k"], ["$:incrby"]),
    "INCRBY": (["SET k 5"], "INCRBY k 7", ["INCRBY k 7"], ["$:incrby"]),
    "INCRBY zero": (["SET k 5"], "INCRBY k 0", ["INCRBY k 0"], ["$:incrby"]),
    "DECRBY": (["SET k 5"], "DECRBY k 7", ["DECRBY k 7"], ["$:incrby"]),
    "INCR overflows": (["SET k 9223372036854775807"], "INCR k", NOTHING, []),
    "INCRBYFLOAT": (
        ["SET k 1 EX 9"],
        "INCRBYFLOAT k 1.50",
        ["SET k 2.5 KEEPTTL"],
        ["$:incrbyfloat"],
    ),
    "INCRBYFLOAT of nothing": (
        [],
        "INCRBYFLOAT k 3e2",
        ["SET k 300 KEEPTTL"],
        ["n:new", "$:incrbyfloat"],
    ),
    "INCRBYFLOAT fails": ([], "INCRBYFLOAT k x", NOTHING, []),
    "GET": (["SET k v"], "GET k", NOTHING, []),
    "MGET": (["SET k v"], "MGET k m", NOTHING, MISSED),
    "GETRANGE": (["SET k v"], "GETRANGE k 0 -1", NOTHING, []),
    "LCS": (["MSET k vwx l wx"], "LCS k l IDX", NOTHING, []),
}


@pytest.mark.parametrize("row", EFFECTS.values(), ids=EFFECTS.keys())
def test_what_is_logged_and_announced(row: Row) -> None:
    before, line, logged, events = row
    partition = after(*before)
    partition.run(split_line(line))
    assert partition.logged == [tuple(_with_time(word) for word in split_line(e)) for e in logged]
    assert partition.events == events


def _with_time(word: bytes) -> bytes:
    now, plus, ms = word.partition(b"+")
    return b"%d" % (NOW_MS + 1 + int(ms)) if now == b"NOW" and plus else word


@pytest.mark.parametrize("row", EFFECTS.values(), ids=EFFECTS.keys())
def test_the_log_leads_to_the_same_keys(row: Row) -> None:
    before, line, *_ = row
    first, second = after(*before), after(*before)
    first.run(split_line(line))
    for argv in first.logged:
        replay(second, argv)
    assert contents(first) == contents(second)


def replay(partition: Partition, argv: Argv) -> None:
    """Apply one logged effect; DEL, PEXPIREAT and PERSIST are not commands of this group."""
    name, key, *args = argv
    if name == b"DEL":
        partition.keys.delete(key)
    elif name == b"PEXPIREAT":
        partition.keys.set_expire(key, int(args[0]))
    elif name == b"PERSIST":
        partition.keys.persist(key)
    else:
        partition.run(argv)


def contents(partition: Partition) -> dict[bytes, tuple[bytes, int]]:
    return {
        key: (value if isinstance(value, bytes) else bytes(value.data), expire_of(value))
        for key, value in partition.keys.db
    }


# A key that has expired and is still there: its DEL is logged before the command.
ON_EXPIRED = {
    "SET k w": ["DEL k", "SET k w"],
    "SET k w KEEPTTL": ["DEL k", "SET k w KEEPTTL"],
    "SET k w NX": ["DEL k", "SET k w NX"],
    "SET k w XX": ["DEL k"],
    "SET k w GET": ["DEL k", "SET k w"],
    "SETNX k w": ["DEL k", "SETNX k w"],
    "GETSET k w": ["DEL k", "SET k w"],
    "GETDEL k": ["DEL k"],
    "GETEX k PERSIST": ["DEL k"],
    "MSET j 1 k 2": ["DEL k", "MSET j 1 k 2"],
    "MSETNX j 1 k 2": ["DEL k", "MSETNX j 1 k 2"],
    "APPEND k w": ["DEL k", "APPEND k w"],
    "SETRANGE k 1 w": ["DEL k", "SETRANGE k 1 w"],
    "INCR k": ["DEL k", "INCR k"],
    "INCRBYFLOAT k 1": ["DEL k", "SET k 1 KEEPTTL"],
    "GET k": ["DEL k"],
    "STRLEN k": ["DEL k"],
}


@pytest.mark.parametrize("line", ON_EXPIRED)
def test_an_expired_key_is_deleted_first(line: str) -> None:
    partition = after("SET k 8 PX 1")
    partition.run(split_line(line))
    assert partition.logged == [tuple(split_line(effect)) for effect in ON_EXPIRED[line]]
    assert "x:expired" in partition.events
    assert all(expire_ms == 0 for _, expire_ms in contents(partition).values())


# The expire time of a key that had one (NOW_MS + 100 s), after the command.
EXPIRE_AFTER = {
    "SET k 1": 0,
    "SET k 1 GET": 0,
    "SET k 1 KEEPTTL": int(LATER_MS),
    "SET k 1 PXAT 9999999999999": 9999999999999,
    "GETSET k 1": 0,
    "MSET k 1": 0,
    "GETEX k": int(LATER_MS),
    "GETEX k PERSIST": 0,
    "APPEND k 1": int(LATER_MS),
    "SETRANGE k 0 1": int(LATER_MS),
    "INCR k": int(LATER_MS),
    "DECRBY k 3": int(LATER_MS),
    "INCRBYFLOAT k 0.5": int(LATER_MS),
}


@pytest.mark.parametrize("line", EXPIRE_AFTER)
def test_what_becomes_of_the_expire_time(line: str) -> None:
    partition = after("SET k 8 EX 100")
    partition.run(split_line(line))
    assert partition.keys.expire_at(b"k") == (EXPIRE_AFTER[line] or -1)
    assert partition.keys.db.volatile == bool(EXPIRE_AFTER[line])


class Other:
    """A value of a type that is no string."""

    type_name = b"other"
    expire_ms = 0

    def __len__(self) -> int:
        return 1


WRONG_TYPE = (
    b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    [
        "GET k",
        "SET k v GET",
        "SET k v XX GET KEEPTTL",
        "GETSET k v",
        "GETDEL k",
        "GETEX k",
        "GETEX k EX 0",
        "STRLEN k",
        "APPEND k v",
        "SETRANGE k 0 v",
        'SETRANGE k 0 ""',
        "SETRANGE k 1000000000 v",
        "GETRANGE k 0 1",
        "SUBSTR k 0 1",
        "INCR k",
        "DECR k",
        "INCRBY k 1",
        "DECRBY k 1",
        "INCRBYFLOAT k x",
    ],
)
NOT_A_NUMBER = (
    b"-ERR value is not an integer or out of range\r\n",
    ["SETRANGE k x v", "GETRANGE k x 1", "INCRBY k x", "DECRBY k x", "SET k v GET EX x"],
)
OTHERS = [
    (b"-ERR invalid expire time in 'set' command\r\n", ["SET k v GET EX 0"]),
    (b"-ERR The specified keys must contain string values\r\n", ["LCS k j BOGUS", "LCS j k"]),
    (b":0\r\n", ["SETNX k v", "MSETNX j 1 k 2"]),
    (b"$-1\r\n", ["SET k v NX"]),
    (b"*2\r\n$-1\r\n$-1\r\n", ["MGET k j"]),
]
OTHER_TYPE = [
    (line, reply) for reply, lines in [WRONG_TYPE, NOT_A_NUMBER, *OTHERS] for line in lines
]


@pytest.mark.parametrize(("line", "reply"), OTHER_TYPE)
def test_a_value_of_another_type_stays(line: str, reply: bytes) -> None:
    partition, value = after(), Other()
    partition.keys.set(b"k", value)
    assert partition.run(split_line(line)) == reply
    assert partition.logged == []
    assert set(partition.events) <= {"m:keymiss"}
    assert partition.keys.find(b"k") is value


@pytest.mark.parametrize("line", ["SET k v", "SET k v KEEPTTL", "MSET j 1 k v", "SETEX k 100 v"])
def test_a_value_of_another_type_is_replaced(line: str) -> None:
    partition = after()
    partition.keys.set(b"k", Other())
    partition.run(split_line(line))
    assert partition.events.count("c:type_changed") == 1
    assert partition.keys.lookup_read(b"k", bytes) == b"v"


@pytest.mark.parametrize("change", ["APPEND k x", "SETRANGE k 0 X"])
def test_a_string_grows_in_place(change: str) -> None:
    partition = after("SET k value", "APPEND k s")
    buffer = partition.keys.lookup_read(b"k", bytes)
    assert isinstance(buffer, bytearray)
    replies = [
        partition.run(split_line(line))
        for line in ["GET k", "MGET k", "GETRANGE k 0 -1", "GETEX k", "LCS k k"]
    ]
    partition.run(split_line(change))
    assert partition.keys.lookup_read(b"k", bytes) is buffer
    assert all(b"values" in reply and type(reply) is bytes for reply in replies)


def test_a_number_in_a_buffer_becomes_plain_bytes() -> None:
    partition = after("SET k 1", "APPEND k 2")
    assert partition.run([b"INCR", b"k"]) == b":13\r\n"
    assert type(partition.keys.find(b"k")) is bytes
