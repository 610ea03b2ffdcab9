"""Each fused command beside its plain twin: equal reply, keys, log and counts, or nothing done."""

from collections import Counter
from random import Random
from typing import Any, cast

import hypothesis.strategies as st
import pytest
import shoal.worker.commands.keys
import shoal.worker.commands.strings  # noqa: F401, the two declare the commands
from hypothesis import given, settings
from shoal.proto.errors import ReplyError
from shoal.proto.resp_reader import RequestReader
from shoal.proto.slots import key_slot
from shoal.worker.aof import Segment
from shoal.worker.dispatch import Dispatcher
from shoal.worker.hot import READS, WRITES, Hot
from shoal.worker.keyspace import Store, expire_of
from shoal.worker.registry import COMMANDS, resolve
from shoal.worker.server import Server
from shoal.worker.values.string import String
from support.keyspace import NOW_MS, check_store

OURS = range(128)  # of 128 workers, the first: few slots, as each step looks at all of them


def _named(prefix: bytes, slots: range) -> bytes:
    """Return a key with this prefix whose slot is among `slots`."""
    return next(key for n in range(100_000) if key_slot(key := prefix + b"%d" % n) in slots)


A, B = _named(b"a", OURS), _named(b"b", OURS)
TAG = _named(b"t", OURS)
OWN = [A, B, b"", b"{%b}1" % TAG, b"{%b}2" % TAG, _named(b"{}", OURS), _named(b"x" * 4096, OURS)]
FOREIGN = [b"foo", b"{foo}1", b"{}x"]
assert not any(key_slot(key) in OURS for key in FOREIGN)


class Other:
    """A value of another type than string."""

    type_name = encoding = b"other"

    def __init__(self, expire_ms: int = 0) -> None:
        self.expire_ms = expire_ms

    def __len__(self) -> int:
        return 1


# One for all worlds, as it is slow to make; it has no client, peer or supervisor here.
_NOBODY = cast(Any, None)
_DISPATCHER = Dispatcher(
    Server(0, 1, _NOBODY, Store(OURS, 16, Random(1)), _NOBODY, 1), [None], _NOBODY, lambda: 0
)


class World:
    """A partition with its log, and both ways to run a command on it."""

    def __init__(self, db: int = 0, resp: int = 2, *, logs: bool = True) -> None:
        self.db, self.resp = db, resp
        self.store = Store(OURS, 16, Random(1))
        self.store.now_ms = NOW_MS
        # Neither a disk nor a thread: no test here flushes.
        self.segment = Segment(_NOBODY, -1, 0, "no", _NOBODY) if logs else None
        if self.segment is not None:
            self.store.log = self.segment.log
        self.hot = Hot(self.store, db, resp, self.segment)
        self.table = self.hot.table(reads=True, writes=True)

    def fused(self, *argv: bytes) -> bytes | int | None:
        return self.table[argv[0]](list(argv))

    def plain(self, *argv: bytes) -> bytes:
        """Run the command the generic way; return its reply or its error."""
        _DISPATCHER.store, _DISPATCHER.segment = self.store, self.segment
        try:
            command = resolve(list(argv))
        except ReplyError as error:
            return error.encode()
        reply = _DISPATCHER._run_safely(command, list(argv), self.db, self.resp)
        assert isinstance(reply, bytes)
        return reply

    def put(self, key: bytes, value: Any) -> None:
        """Store a value as it is, behind the log's back."""
        log, self.store.log = self.store.log, None
        self.store.view(self.db).set(key, value, expire_of(value))
        self.store.log = log

    def keys(self) -> dict[tuple[int, bytes], tuple[type, bytes, int]]:
        """Return what is stored: its class, that of a string's buffer counted in, data, expire."""
        found = {}
        for database in self.store.databases():
            for key, value in database:
                data: Any = getattr(value, "data", value)
                kind = data.__class__
                text = bytes(data) if kind in (bytes, bytearray) else b""
                found[database.index, key] = (kind, text, expire_of(value))
        return found

    def logged(self) -> list[list[bytes]]:
        """Return the log's commands, their names in upper case."""
        pieces = [] if self.segment is None else self.segment.pieces
        reader = RequestReader()
        commands = reader.feed(b"".join(pieces))
        assert reader.error is None
        assert reader.pending_bytes == 0
        return [[name.upper(), *args] for name, *args in commands]

    def counts(self) -> tuple[int, ...]:
        store = self.store
        return store.hits, store.misses, store.dirty_total, store.expired_keys

    def check(self) -> None:
        check_store(self.store)


# -- what is fused: without this table a Hot that always says None would pass ----------------------

LONG = b"v" * 4096

# (what is stored before, the command, the reply, the log)
FUSED: list[tuple[dict[bytes, Any], list[bytes], bytes, list[list[bytes]]]] = [
    ({}, [b"PING"], b"+PONG\r\n", []),
    ({A: b"v"}, [b"GET", A], b"$1\r\nv\r\n", []),
    ({A: b""}, [b"GET", A], b"$0\r\n\r\n", []),
    ({A: LONG[1:]}, [b"GET", A], b"$4095\r\n%b\r\n" % LONG[1:], []),
    ({}, [b"get", A], b"$-1\r\n", []),
    ({A: b"abc"}, [b"STRLEN", A], b":3\r\n", []),
    ({A: LONG}, [b"STRLEN", A], b":4096\r\n", []),
    ({}, [b"STRLEN", A], b":0\r\n", []),
    ({A: b""}, [b"EXISTS", A], b":1\r\n", []),
    ({}, [b"EXISTS", A], b":0\r\n", []),
    ({A: b"v"}, [b"TTL", A], b":-1\r\n", []),
    ({A: String(bytearray(b"v"))}, [b"TTL", A], b":-1\r\n", []),
    ({A: Other()}, [b"TTL", A], b":-1\r\n", []),
    ({A: String(b"v", NOW_MS + 1499)}, [b"TTL", A], b":1\r\n", []),
    ({A: String(b"v", NOW_MS + 1500)}, [b"TTL", A], b":2\r\n", []),
    ({A: String(b"v", NOW_MS + 1)}, [b"TTL", A], b":0\r\n", []),
    ({}, [b"TTL", A], b":-2\r\n", []),
    ({A: b"v"}, [b"MGET", A, b"", A], b"*3\r\n$1\r\nv\r\n$-1\r\n$1\r\nv\r\n", []),
    ({}, [b"SET", A, b"v"], b"+OK\r\n", [[b"SET", A, b"v"]]),
    ({A: LONG}, [b"set", A, b""], b"+OK\r\n", [[b"SET", A, b""]]),
    ({}, [b"SET", A, LONG], b"+OK\r\n", [[b"SET", A, LONG]]),
    ({}, [b"SET", b"", b"\r\n*"], b"+OK\r\n", [[b"SET", b"", b"\r\n*"]]),
    ({}, [b"INCR", A], b":1\r\n", [[b"INCR", A]]),
    ({A: b"9"}, [b"incr", A], b":10\r\n", [[b"INCR", A]]),
    ({A: b"0"}, [b"INCR", A], b":1\r\n", [[b"INCR", A]]),
    ({A: b"4095"}, [b"INCR", A], b":4096\r\n", [[b"INCR", A]]),
    ({A: b"9" * 18}, [b"INCR", A], b":1%b\r\n" % (b"0" * 18), [[b"INCR", A]]),
    ({A: b"1"}, [b"DECR", A], b":0\r\n", [[b"DECR", A]]),
    ({A: b"v"}, [b"DEL", A], b":1\r\n", [[b"DEL", A]]),
    ({}, [b"DEL", A], b":0\r\n", []),
    (
        {A: b"v"},
        [b"MSET", A, b"1", b"", b"2", A, b"3"],
        b"+OK\r\n",
        [[b"MSET", A, b"1", b"", b"2", A, b"3"]],
    ),
]


@pytest.mark.parametrize(
    "row", FUSED, ids=[b" ".join(row[1])[:20].decode("latin-1") for row in FUSED]
)
@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("db", [0, 3])
def test_what_is_fused(
    row: tuple[dict[bytes, Any], list[bytes], bytes, list[list[bytes]]], resp: int, db: int
) -> None:
    before, argv, reply, log = row
    world = World(db, resp)
    for key, value in before.items():
        world.put(key, value)
    if resp == 3:
        reply = reply.replace(b"$-1\r\n", b"_\r\n")
    assert world.fused(*argv) == reply
    world.check()
    select = [[b"SELECT", b"%d" % db]]
    assert world.logged() == (select + log if log else [])


# -- what is left to the plain command, and what to its owner --------------------------------------

LIVE = String(b"5", NOW_MS + 1000)
EXPIRED = String(b"5", NOW_MS)
BUFFER = String(bytearray(b"5"))

LEFT: list[tuple[dict[bytes, Any], list[bytes]]] = [
    ({}, [b"PING", b"x"]),
    *[
        ({A: value}, [name, A])
        for name in (b"GET", b"STRLEN", b"EXISTS", b"INCR", b"DECR", b"DEL", b"MGET")
        for value in (LIVE, EXPIRED, BUFFER, Other())
    ],
    *[({A: value}, [b"SET", A, b"v"]) for value in (LIVE, EXPIRED, BUFFER, Other())],
    *[({A: value}, [b"MSET", b"", b"v", A, b"v"]) for value in (LIVE, EXPIRED, BUFFER, Other())],
    ({A: EXPIRED}, [b"TTL", A]),
    ({A: LONG}, [b"GET", A]),
    ({A: LONG}, [b"MGET", b"", A]),
    *[
        ({A: text}, [name, A])
        for name in (b"INCR", b"DECR")
        for text in (b"", b"-1", b"00", b"01", b"+1", b" 1", b"1 ", b"x", b"\xb2", b"1" * 19)
    ],
    ({A: b"0"}, [b"DECR", A]),
    ({}, [b"DECR", A]),
    *[
        ({}, [name, *args])
        for name in (b"GET", b"STRLEN", b"EXISTS", b"TTL", b"INCR", b"DECR", b"DEL")
        for args in ([], [A, B])
    ],
    ({}, [b"MGET"]),
    ({}, [b"SET"]),
    ({}, [b"SET", A]),
    ({}, [b"SET", A, b"v", b"NX"]),
    ({}, [b"MSET"]),
    ({}, [b"MSET", A]),
    ({}, [b"MSET", A, b"v", b""]),
]


@pytest.mark.parametrize(
    "row", LEFT, ids=[f"{at} {row[1][0].decode()}" for at, row in enumerate(LEFT)]
)
def test_what_is_left_is_not_touched(row: tuple[dict[bytes, Any], list[bytes]]) -> None:
    before, argv = row
    world = World()
    for key, value in before.items():
        world.put(key, value)
    keys = world.keys()
    assert world.fused(*argv) is None
    assert (world.keys(), world.logged()) == (keys, [])
    assert not any(world.hot.take_counts().values())
    assert world.counts() == (0, 0, 0, 0)


ONE_KEY = [
    [b"GET"],
    [b"STRLEN"],
    [b"EXISTS"],
    [b"TTL"],
    [b"SET", b"v"],
    [b"INCR"],
    [b"DECR"],
    [b"DEL"],
]
SEVERAL_KEYS = [[b"MGET", A], [b"MSET", A, b"v"]]


@pytest.mark.parametrize("key", FOREIGN)
@pytest.mark.parametrize("command", ONE_KEY, ids=[row[0].decode() for row in ONE_KEY])
def test_a_peers_key_is_named_by_its_slot(command: list[bytes], key: bytes) -> None:
    name, *args = command
    assert World().fused(name, key, *args) == key_slot(key)


@pytest.mark.parametrize("command", SEVERAL_KEYS, ids=[row[0].decode() for row in SEVERAL_KEYS])
def test_several_keys_with_a_peers_among_them(command: list[bytes]) -> None:
    world = World()
    tail = [b"v"] if command[0] == b"MSET" else []
    assert world.fused(*command, FOREIGN[0], *tail) is None
    assert (world.keys(), world.logged()) == ({}, [])


@pytest.mark.parametrize("write_only", [True, False])
@pytest.mark.parametrize(
    "command", ONE_KEY + SEVERAL_KEYS, ids=[row[0].decode() for row in ONE_KEY + SEVERAL_KEYS]
)
def test_a_closed_slot(command: list[bytes], write_only: bool) -> None:
    world = World()
    world.put(A, b"5")
    world.store.gate.close(0, A, write_only)
    name, *args = command
    argv = command if command in SEVERAL_KEYS else [name, A, *args]
    keys = world.keys()
    answer = world.fused(*argv)
    if name in READS and write_only:
        assert isinstance(answer, bytes)
    else:
        assert answer == (None if command in SEVERAL_KEYS else key_slot(A))
    assert (world.keys(), world.logged()) == (keys, [])
    world.store.gate.open(0, A, write_only)
    assert isinstance(world.fused(*argv), bytes)


def test_which_commands_a_table_has() -> None:
    hot = World().hot
    for reads, writes in ((True, False), (False, True), (False, False)):
        names = set(READS if reads else ()) | set(WRITES if writes else ())
        table = hot.table(reads=reads, writes=writes)
        assert set(table) == names | {name.lower() for name in names}


@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_fused_reads_and_writes_are_what_their_twins_are(name: bytes) -> None:
    if name == b"PING":
        return  # no key; whatever its twin is, it changes none
    assert COMMANDS[name.lower()].write == (name in WRITES)


# -- the property ----------------------------------------------------------------------------------

_strings = st.one_of(
    st.sampled_from([b"", b"0", b"1", b"-1", b"9", b"01", b"9" * 18, b"1" + b"0" * 18]),
    st.sampled_from([b"9223372036854775807", b"-9223372036854775808", b"x", b"1.5", b"\xb2"]),
    st.sampled_from([b"v" * 4095, LONG, b"\r\n$1\r\n"]),
    st.integers(-3, 12).map(b"%d".__mod__),
)
_times = st.sampled_from([0, 1, NOW_MS - 1, NOW_MS, NOW_MS + 1, NOW_MS + 500, NOW_MS + 1499])
# A recipe, not a value: each world needs an object of its own.
_recipes = st.tuples(st.sampled_from(["bytes", "String", "buffer", "Other"]), _strings, _times)
_keys = st.sampled_from(OWN + FOREIGN[:1])
_own_keys = st.sampled_from(OWN)
_name = st.sampled_from([*READS, *WRITES]).flatmap(lambda n: st.sampled_from([n, n.lower()]))


@st.composite
def _argv(draw: st.DrawFn) -> list[bytes]:
    name = draw(_name)
    upper = name.upper()
    if draw(st.integers(0, 15)) == 0:  # now and then another number of arguments
        args = draw(st.lists(st.one_of(_keys, _strings), max_size=4))
    elif upper == b"PING":
        args = []
    elif upper == b"MGET":
        args = draw(st.lists(_keys, min_size=1, max_size=4))
    elif upper == b"MSET":
        pairs = draw(st.lists(st.tuples(_keys, _strings), min_size=1, max_size=4))
        args = [arg for pair in pairs for arg in pair]
    elif upper == b"SET":
        args = [draw(_keys), draw(_strings)]
    else:
        args = [draw(_keys)]
    return [name, *args]


def _make(recipe: tuple[str, bytes, int]) -> Any:
    kind, data, expire_ms = recipe
    if kind == "Other":
        return Other(expire_ms)
    if kind == "buffer":
        return String(bytearray(data), expire_ms)
    return data if kind == "bytes" or not expire_ms else String(data, expire_ms)


def _names_keys_of_ours(argv: list[bytes]) -> bool:
    upper = argv[0].upper()
    keys = argv[1:] if upper in (b"MGET", b"EXISTS", b"DEL") else argv[1:2]
    if upper == b"MSET":
        keys = argv[1::2]
    return all(key_slot(key) in OURS for key in keys)


def _stand_in(world: World, argv: list[bytes]) -> bytes:
    """Run the plain command; PING, which has no key, is answered as it always is."""
    return b"+PONG\r\n" if argv[0].upper() == b"PING" else world.plain(*argv)


@given(
    before=st.dictionaries(_own_keys, _recipes),
    closed=st.lists(st.tuples(_own_keys, st.booleans()), max_size=2),
    argvs=st.lists(_argv(), min_size=1, max_size=20),
    db=st.sampled_from([0, 3]),
    resp=st.sampled_from([2, 3]),
    logs=st.booleans(),
)
@settings(max_examples=500, deadline=None)
def test_fused_and_plain_are_equal(
    before: dict[bytes, tuple[str, bytes, int]],
    closed: list[tuple[bytes, bool]],
    argvs: list[list[bytes]],
    db: int,
    resp: int,
    logs: bool,
) -> None:
    fast, slow = World(db, resp, logs=logs), World(db, resp, logs=logs)
    for key, recipe in before.items():
        fast.put(key, _make(recipe))
        slow.put(key, _make(recipe))
    for key, write_only in closed:
        fast.store.gate.close(db, key, write_only)
    done: Counter[bytes] = Counter()
    for argv in argvs:
        keys, log = fast.keys(), fast.logged()
        answer = fast.fused(*argv)
        if isinstance(answer, bytes):
            done[argv[0].lower()] += 1
            assert answer == _stand_in(slow, argv)
        else:
            assert (fast.keys(), fast.logged()) == (keys, log), "changed, and not done"
            if answer is not None:
                assert answer == key_slot(argv[1])
                shut = {
                    key_slot(key)
                    for key, write_only in closed
                    if argv[0].upper() in WRITES or not write_only
                }
                assert answer not in OURS or answer in shut
            if _names_keys_of_ours(argv) and argv[0].upper() != b"PING":
                assert fast.plain(*argv) == slow.plain(*argv)
        assert fast.keys() == slow.keys()
        assert fast.logged() == slow.logged()
        fast.check()
    counts = {name: calls for name, calls in fast.hot.take_counts().items() if calls}
    assert counts == done
    assert fast.counts() == slow.counts()
    assert not any(fast.hot.take_counts().values())
    assert fast.counts() == slow.counts(), "taken twice"


@given(st.lists(_argv(), max_size=20), st.sampled_from([0, 3]))
@settings(max_examples=100, deadline=None)
def test_the_log_leads_to_the_same_keys(argvs: list[list[bytes]], db: int) -> None:
    world, again = World(db), World()
    for argv in argvs:
        if world.fused(*argv) is None and argv[0].upper() != b"PING" and _names_keys_of_ours(argv):
            world.plain(*argv)
    for name, *args in world.logged():
        if name == b"SELECT":
            again.db = int(args[0])
        else:
            assert again.plain(name, *args)[:1] != b"-"
    assert again.keys() == world.keys()


def test_two_databases_share_a_log() -> None:
    world = World()
    other = Hot(world.store, 3, 2, world.segment)
    world.fused(b"SET", A, b"a")
    other.set([b"SET", A, b"b"])
    other.incr([b"INCR", B])
    world.fused(b"DEL", A)
    assert world.logged() == [
        [b"SELECT", b"0"],
        [b"SET", A, b"a"],
        [b"SELECT", b"3"],
        [b"SET", A, b"b"],
        [b"INCR", B],
        [b"SELECT", b"0"],
        [b"DEL", A],
    ]
