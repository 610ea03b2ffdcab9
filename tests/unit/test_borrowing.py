"""Commands over several partitions that need values of all: beside one partition, and with deaths.

The model is Shoal with one worker: the same handlers, without anything borrowed. What is compared
is each reply, and at the end every key with its value and expire time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from random import Random
from typing import Any, Final

import pytest
from shoal.proto import messages as m
from shoal.proto.limits import CHUNK_BYTES
from shoal.proto.slots import key_slot, owner_of
from shoal.supervisor import steps
from shoal.supervisor.coordinator import Coordinator
from shoal.supervisor.steps import Outgoing
from shoal.worker.keyspace import Store, expire_of
from shoal.worker.values import rebuild
from support.logged_mesh import DIRECTORY, LoggedMesh
from support.mesh import NOW_MS, Caller, Mesh, Node, lock
from support.seeds import repeat

WORKERS: Final = 3
KEYS: Final = [b"k%d" % n for n in range(8)]
HOME_KEY: Final = next(key for key in KEYS if owner_of(key_slot(key), WORKERS) == 0)
MEMBERS: Final = [b"a", b"b", b"c", b"1", b"2", b"17"]


# -- what is run -----------------------------------------------------------------------------------


def program(
    random: Random, length: int, commands: Sequence[Any] | None = None
) -> Iterator[list[list[bytes]]]:
    """Yield commands with keys in any partitions, and what gives these keys values: one at a time,
    or a transaction, perhaps with what comes between its WATCH and its MULTI.
    """
    chosen = commands or [*COMMANDS, *SCRIPTS]
    for _ in range(length):
        if random.random() < 0.85:
            yield [random.choice(chosen)(random)]
            continue
        unit = [[b"MULTI"]]
        if random.random() < 0.3:
            unit = [[b"WATCH", *_keys(random, 2)], random.choice(chosen)(random), *unit]
        for _ in range(random.randint(0, 6)):
            unit.append(random.choice((*chosen, *chosen, *WIDE))(random))
        yield [*unit, [random.choice((b"EXEC", b"EXEC", b"EXEC", b"DISCARD"))]]


def _keys(random: Random, count: int) -> list[bytes]:
    return [random.choice(KEYS) for _ in range(count)]


def _some(random: Random) -> list[bytes]:
    keys = _keys(random, random.randint(1, 4))
    return [b"%d" % len(keys), *keys]


def _members(random: Random, width: int = 1) -> list[bytes]:
    return [random.choice(MEMBERS) for _ in range(width * random.randint(1, 6))]


def _scored(random: Random) -> list[bytes]:
    return [word for one in _members(random) for word in (b"%d" % random.randint(0, 9), one)]


def _side(random: Random) -> bytes:
    return random.choice((b"LEFT", b"RIGHT"))


def _key(random: Random) -> bytes:
    return random.choice(KEYS)


def _id(random: Random) -> bytes:
    return b"%d" % random.randint(1, 40)


def _count(random: Random) -> list[bytes]:
    return random.choice(([], [b"COUNT", b"%d" % random.randint(1, 3)]))


def _reader(random: Random) -> list[bytes]:
    return [b"GROUP", b"g", random.choice((b"c", b"d")), *random.choice(((), (b"NOACK",)))]


def _streams(random: Random, ids: Sequence[bytes]) -> list[bytes]:
    keys = _keys(random, random.randint(1, 4))
    return [b"STREAMS", *keys, *(random.choice(ids) for _ in keys)]


COMMANDS: Final[list[Any]] = [
    lambda r: [b"SET", _key(r), r.choice(MEMBERS)],
    lambda r: [b"SET", _key(r), r.choice(MEMBERS), b"PX", b"%d" % r.randint(10_000, 99_999)],
    lambda r: [b"RPUSH", _key(r), *_members(r)],
    lambda r: [b"RPUSH", _key(r), *_members(r)],
    lambda r: [b"SADD", _key(r), *_members(r)],
    lambda r: [b"SADD", _key(r), *_members(r)],
    lambda r: [b"ZADD", _key(r), *_scored(r)],
    lambda r: [b"ZADD", _key(r), *_scored(r)],
    lambda r: [b"HSET", _key(r), *_members(r, 2)],
    lambda r: [b"PFADD", _key(r), *_members(r)],
    lambda r: [b"XADD", _key(r), b"*", b"f", b"v"],
    lambda r: [b"PEXPIRE", _key(r), b"%d" % r.randint(10_000, 99_999)],
    lambda r: [b"DEL", _key(r)],
    lambda r: [b"RENAME", *_keys(r, 2)],
    lambda r: [b"RENAMENX", *_keys(r, 2)],
    lambda r: [b"COPY", *_keys(r, 2), *r.choice(((), (b"REPLACE",)))],
    lambda r: [b"COPY", *_keys(r, 2), b"DB", b"%d" % r.randint(0, 2), b"REPLACE"],
    lambda r: [b"MSETNX", *(w for k in _keys(r, r.randint(1, 3)) for w in (k, b"v"))],
    lambda r: [b"LMOVE", *_keys(r, 2), _side(r), _side(r)],
    lambda r: [b"LMOVE", *_keys(r, 2), _side(r), _side(r)],
    lambda r: [b"RPOPLPUSH", *_keys(r, 2)],
    lambda r: [b"LMPOP", *_some(r), _side(r), b"COUNT", b"%d" % r.randint(1, 4)],
    lambda r: [b"ZMPOP", *_some(r), r.choice((b"MIN", b"MAX")), b"COUNT", b"2"],
    lambda r: [b"SMOVE", *_keys(r, 2), r.choice(MEMBERS)],
    lambda r: [b"SMOVE", *_keys(r, 2), r.choice(MEMBERS)],
    lambda r: [b"SINTERSTORE", *_keys(r, 3)],
    lambda r: [b"SUNIONSTORE", *_keys(r, 3)],
    lambda r: [b"SDIFFSTORE", *_keys(r, 3)],
    lambda r: [b"SINTERCARD", *_some(r)],
    lambda r: [b"ZUNIONSTORE", _key(r), *_some(r)],
    lambda r: [b"ZINTERSTORE", _key(r), *_some(r), b"AGGREGATE", b"MAX"],
    lambda r: [b"ZDIFF", *_some(r), b"WITHSCORES"],
    lambda r: [b"ZRANGESTORE", *_keys(r, 2), b"0", b"2"],
    lambda r: [b"BITOP", b"OR", *_keys(r, 3)],
    lambda r: [b"PFCOUNT", *_keys(r, 3)],
    lambda r: [b"PFMERGE", *_keys(r, 3)],
    lambda r: [b"LCS", *_keys(r, 2)],
    lambda r: [b"SORT", _key(r), b"ALPHA", b"BY", b"k*", b"GET", b"k*", b"GET", b"#"],
    lambda r: [b"SORT", _key(r), b"ALPHA", b"GET", b"k*", b"STORE", _key(r)],
    lambda r: [b"MGET", *_keys(r, 3)],
    lambda r: [b"SELECT", b"%d" % r.choice((0, 0, 0, 1))],
]


WIDE: Final[list[Any]] = [
    lambda r: [b"DBSIZE"],
    lambda r: [b"KEYS", b"*"],
    lambda r: [r.choice((b"FLUSHDB", b"FLUSHALL"))],
    lambda r: [b"SWAPDB", b"0", b"1"],
]

# ARGV: so many words, and these words, of each command.
CALLS: Final = b"""\
local said, at = {}, 1
while ARGV[at] do
  local argv = {}
  for i = 1, tonumber(ARGV[at]) do argv[i] = ARGV[at + i] end
  said[#said + 1] = redis.pcall(unpack(argv))
  at = at + #argv + 1
end
return said"""


def script_of(random: Random, calls: Sequence[Any], declared: Sequence[bytes]) -> list[bytes]:
    """Return a script that calls some of these commands, whatever keys it declares."""
    words: list[bytes] = []
    for _ in range(random.randint(1, 6)):
        argv = random.choice(calls)(random)
        words += [b"%d" % len(argv), *argv]
    return [b"EVAL", CALLS, b"%d" % len(declared), *declared, *words]


SCRIPTS: Final[list[Any]] = [
    lambda r: script_of(r, COMMANDS, _keys(r, r.randint(0, 2))),
    lambda r: script_of(r, [*COMMANDS, *COMMANDS, *WIDE], _keys(r, r.randint(0, 2))),
] * 3
# Streams, and what their groups have read.
READS: Final[list[Any]] = [
    lambda r: [b"XADD", _key(r), _id(r), b"f", b"v"],
    lambda r: [b"XADD", _key(r), _id(r), b"f", b"v"],
    lambda r: [b"XGROUP", b"CREATE", _key(r), b"g", _id(r), b"MKSTREAM"],
    lambda r: [b"XGROUP", b"CREATE", _key(r), b"g", b"0", b"MKSTREAM"],
    lambda r: [b"XDEL", _key(r), _id(r), _id(r)],
    lambda r: [b"XREAD", *_count(r), *_streams(r, (b"0", b"$", b"+", _id(r)))],
    lambda r: [b"XREADGROUP", *_reader(r), *_count(r), *_streams(r, (b">",))],
    lambda r: [b"XREADGROUP", *_reader(r), *_count(r), *_streams(r, (b">",))],
    lambda r: [b"XREADGROUP", *_reader(r), *_count(r), *_streams(r, (b">", b"0", _id(r)))],
    lambda r: [b"RENAME", *_keys(r, 2)],
    lambda r: [b"DEL", _key(r)] if r.random() < 0.2 else [b"PING"],
    lambda r: [b"SET", _key(r), b"v"] if r.random() < 0.1 else [b"PING"],
]

# What counts, if it is done twice or not at all.
MOVES: Final[list[Any]] = [
    lambda r: [b"RPUSH", HOME_KEY, *_members(r)],
    lambda r: [b"LMOVE", *_keys(r, 2), _side(r), _side(r)],
    lambda r: [b"RENAME", *_keys(r, 2)],
]


def send(caller: Caller, argv: Sequence[bytes]) -> None:
    caller.conn.accept_input(
        b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in argv)
    )


def contents(stores: Sequence[Store]) -> dict[tuple[int, bytes], list[Any]]:
    """Return every key with the commands that rebuild its value."""
    found: dict[tuple[int, bytes], list[Any]] = {}
    for store in stores:
        for db in store.databases():
            count = volatile = 0
            for key, value in db:
                count += 1
                volatile += expire_of(value) != 0
                if hasattr(value, "check"):
                    value.check()
                rebuilt: list[Any] = list(rebuild(key, value))
                if value.__class__ is not bytes and getattr(value, "type_name", b"") == b"set":
                    rebuilt = sorted(rebuilt[0][2:])
                found[db.index, key] = rebuilt
            assert db.size == count, "the count of keys"
            assert db.volatile == volatile, "the count of keys with an expire time"
    return found


def in_order(reply: bytes) -> bytes:
    """Return a reply without the order of its lines: sets have none."""
    return b"\n".join(sorted(reply.split(b"\n")))


@pytest.mark.parametrize("seed", range(6))
def test_any_program_answers_as_with_one_worker(seed: int) -> None:
    with repeat(seed):
        run_beside_one_worker(seed, COMMANDS)


@pytest.mark.parametrize("seed", range(6))
def test_any_program_of_streams_answers_as_with_one_worker(seed: int) -> None:
    with repeat(seed):
        run_beside_one_worker(seed, READS)


def check_answered_alike(
    argv: list[bytes], ours: tuple[Mesh, Caller], models: tuple[Mesh, Caller], random: Random
) -> None:
    """Run a command on both, and assert equal replies."""
    (mesh, caller), (model, modelled) = ours, models
    send(caller, argv)
    mesh.settle(random)
    send(modelled, argv)
    model.settle()
    assert in_order(caller.take()) == in_order(modelled.take()), argv


def check_ended_alike(mesh: Mesh, model: Mesh) -> None:
    """Assert that all have the same keys, and that nothing is under way any more."""
    theirs = contents([node.store for node in mesh.nodes])
    assert theirs == contents([model.nodes[0].store])
    for node in mesh.nodes:
        assert node.participant.idle()
        assert not node.dispatcher.borrower.parts
    assert mesh.coordinator.in_flight == mesh.coordinator.in_flight_bytes == 0


def run_beside_one_worker(seed: int, commands: Sequence[Any]) -> None:
    random = Random(seed)
    mesh, model = Mesh(WORKERS), Mesh(1)
    caller, modelled = mesh.connect(seed % WORKERS), model.connect()
    for argv in chain.from_iterable(program(random, 200, commands)):
        check_answered_alike(argv, (mesh, caller), (model, modelled), random)
    check_ended_alike(mesh, model)


# -- deaths ----------------------------------------------------------------------------------------


class MortalMesh(LoggedMesh):
    """Workers with a log that die; the home of the clients, worker 0, stays."""

    def __init__(self, workers: int, random: Random, coordinator: type[Coordinator]) -> None:
        super().__init__(workers, coordinator)
        self.random = random
        self.deaths = 0

    def kill(self, index: int) -> None:
        """End a worker: what it had not sent is lost, and what it had not written, or not."""
        self.deaths += 1
        if self.random.random() < 0.5:
            self.write_log(self.nodes[index])
        self.disks[index].kill()
        self.coordinator.on_worker_lost(index)
        self.nodes[index] = Node(index, len(self.nodes), iter(()))

    def revive(self, index: int) -> None:
        logged = self.load(self.nodes[index])
        self.send(self.coordinator.on_worker_ready(index, logged))

    def settle(self, random: Random | None = None) -> None:
        """As in `Mesh`, with deaths in between."""
        assert random is not None
        dead: list[int] = []
        for _ in range(10_000):
            if random.random() < 0.1 and len(dead) < 2:
                index = random.randint(1, len(self.nodes) - 1)
                if index not in dead:
                    self.kill(index)
                    dead.append(index)
            if dead and random.random() < 0.2:
                self.revive(dead.pop())
            steps = self.steps()
            if steps:
                random.choice(steps)()
            elif dead:
                self.revive(dead.pop())
            else:
                return
        raise AssertionError("it does not come to an end")


def _is_finished_by_others(unit: Sequence[Sequence[bytes]]) -> bool:
    """Tell whether something spans, or is the home's: a hop to a worker that dies has an unknown
    outcome, and a key that is watched there counts as touched. (The time of XADD * is each one's,
    and that something was delivered again is in no log.)
    """
    names = {argv[0] for argv in unit}
    if not names.isdisjoint((b"SORT", b"WATCH")):
        return False
    if any(b"XADD" in argv and b"*" in argv for argv in unit):
        return False
    if any(argv[0] == b"XREADGROUP" and _reads_again(argv) for argv in unit):
        return False
    if any(b"XADD" in argv for argv in unit):
        return False
    keys = {word for argv in unit for word in _declared(argv) if word in KEYS}
    wide = not names.isdisjoint((b"DBSIZE", b"KEYS", b"FLUSHDB", b"FLUSHALL", b"SWAPDB"))
    return wide or {owner_of(key_slot(key), WORKERS) for key in keys} not in ({1}, {2})


def _declared(argv: Sequence[bytes]) -> Sequence[bytes]:
    """Return what a command's route depends on."""
    return argv[3 : 3 + int(argv[2])] if argv[0] == b"EVAL" else argv


def _reads_again(argv: Sequence[bytes]) -> bool:
    words = argv[argv.index(b"STREAMS") + 1 :]
    return set(words[len(words) // 2 :]) != {b">"}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.usefixtures("endless")
def test_a_command_is_done_once_whoever_dies(seed: int) -> None:
    with repeat(seed):
        run_with_deaths(seed, Coordinator)
        run_with_deaths(100 + seed, Coordinator, MOVES)
        run_with_deaths(200 + seed, Coordinator, READS)


class TrustsEarlierAttempts(Coordinator):
    """What was run or lent before a death counts."""

    def on_lent(self, worker: int, number: int, attempt: int, chunk: bytes, last: bool) -> Outgoing:
        steps = self._steps(self._tickets[number])
        if steps._begun:
            attempt = steps._attempt
        return super().on_lent(worker, number, attempt, chunk, last)


@pytest.mark.usefixtures("endless")
def test_a_broken_rule_shows() -> None:
    """The others are broken in tests/simulation/test_spanning.py."""
    for seed in range(90):
        try:
            run_with_deaths(seed, TrustsEarlierAttempts, MOVES)
        except (AssertionError, KeyError):
            return
    raise AssertionError("it shows in no seed")


def run_with_deaths(
    seed: int, coordinator: type[Coordinator], commands: Sequence[Any] | None = None
) -> None:
    """Run a program in which workers die at any moment, and compare it with one that none does."""
    random = Random(seed)
    mesh, model = MortalMesh(WORKERS, random, coordinator), Mesh(1)
    caller, modelled = mesh.connect(0), model.connect()
    for unit in program(random, 100, commands):
        if not _is_finished_by_others(unit):
            continue
        for argv in unit:
            check_answered_alike(argv, (mesh, caller), (model, modelled), random)
    check_ended_alike(mesh, model)
    assert mesh.deaths > 10


# -- large values ----------------------------------------------------------------------------------

FIRST = next(b"big%d" % n for n in range(99) if owner_of(key_slot(b"big%d" % n), 2) == 0)
SECOND = next(b"big%d" % n for n in range(99) if owner_of(key_slot(b"big%d" % n), 2) == 1)


@pytest.mark.parametrize(
    "fill",
    [
        [[b"SET", FIRST, bytes(5 * CHUNK_BYTES + 7)]],
        [[b"RPUSH", FIRST, *(b"%d" % n for n in range(20_000))]],
        [[b"HSET", FIRST, *(b"%d" % n for n in range(20_000))], [b"EXPIRE", FIRST, b"1000"]],
        [[b"ZADD", FIRST, *(b"%d" % n for n in range(20_000))]],
        [[b"SADD", FIRST, *(b"m%d" % n for n in range(20_000))]],
    ],
    ids=lambda fill: fill[0][0].decode(),
)
def test_a_large_value_moves_in_pieces(fill: list[list[bytes]]) -> None:
    mesh = Mesh(2)
    caller = mesh.connect(0)
    for argv in fill:
        send(caller, argv)
        mesh.settle()
    (before,) = contents([mesh.nodes[0].store]).values()
    sizes: list[int] = []
    plain = mesh.send

    def watch(messages: Any) -> None:
        sizes.extend(
            len(part) for _, message in messages for part in message if isinstance(part, bytes)
        )
        plain(messages)

    mesh.send = watch  # type: ignore[method-assign]
    send(caller, [b"RENAME", FIRST, SECOND])
    mesh.settle()
    assert caller.take().endswith(b"+OK\r\n")
    assert len(sizes) > 4
    assert max(sizes) < 3 * CHUNK_BYTES
    after = contents([node.store for node in mesh.nodes])
    assert list(after) == [(0, SECOND)]
    assert [_without_key(one, SECOND) for one in after[0, SECOND]] == [
        _without_key(one, FIRST) for one in before
    ]


@pytest.mark.parametrize("when", range(24))
def test_an_executor_dies_while_it_is_lent_a_large_value(when: int) -> None:
    """The lender has said that it is granted, but not all that it lends, and says no more of it."""
    mesh = MortalMesh(2, Random(when), Coordinator)
    caller = mesh.connect(0)
    value = bytes(5 * CHUNK_BYTES)
    send(caller, [b"SET", FIRST, value])
    Mesh.settle(mesh)
    caller.take()
    send(caller, [b"COPY", FIRST, SECOND])
    for _ in range(when):
        for step in mesh.steps()[:1]:
            step()
    mesh.kill(1)
    mesh.revive(1)
    Mesh.settle(mesh)
    assert caller.take() == b":1\r\n"
    send(caller, [b"STRLEN", SECOND])
    Mesh.settle(mesh)
    assert caller.take() == b":%d\r\n" % len(value)
    assert mesh.coordinator.in_flight == 0


def _without_key(one: Any, key: bytes) -> Any:
    return tuple(word for word in one if word != key) if isinstance(one, tuple) else one


def test_replies_that_are_too_large_together_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one step have to fit into a frame, and those of all steps too."""
    too_large = b"-ERR the reply is too large to be sent between workers\r\n"
    mesh = Mesh(2)
    caller = mesh.connect(0)
    for key in (FIRST, SECOND):
        send(caller, [b"SET", key, bytes(60)])
    get = bytes(60).join((b"$60\r\n", b"\r\n"))
    for limit, end in ((100, get + too_large + get), (1000, get + get + too_large)):
        mesh.nodes[0].dispatcher.borrower._max_reply_bytes = limit
        for argv in ([b"MULTI"], [b"GET", FIRST], [b"GET", FIRST], [b"GET", SECOND], [b"EXEC"]):
            send(caller, argv)
        mesh.settle()
        assert caller.take().endswith(b"*3\r\n" + end)
        monkeypatch.setattr(steps, "MAX_FRAME_BYTES", 300)


# -- streams ---------------------------------------------------------------------------------------


def two_streams(mesh: Mesh, entries: int) -> Caller:
    """Give two workers a stream each, with a group that consumer c has read two entries of."""
    caller = mesh.connect(0)
    for key in (FIRST, SECOND):
        for number in range(1, entries + 1):
            send(caller, [b"XADD", key, b"%d" % number, b"f", b"v" * 100])
        send(caller, [b"XGROUP", b"CREATE", key, b"g", b"0"])
        words = b"XREADGROUP GROUP g c COUNT 2 STREAMS %b >" % key
        send(caller, words.split())
        mesh.settle()
    caller.take()
    return caller


@pytest.mark.parametrize("script", [False, True])
def test_what_no_log_holds_of_a_consumer_goes_to_the_owners(script: bool) -> None:
    mesh = Mesh(2)
    caller = two_streams(mesh, 2)
    for node in mesh.nodes:
        node.store.now_ms += 1000
    for ids in ([b">", b">"], [b"0", b"1"]):
        argv = [b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", FIRST, SECOND, *ids]
        if script:
            text = b"return redis.call(unpack(ARGV))"
            argv = [b"EVAL", text, b"2", FIRST, SECOND, *argv]
        send(caller, argv)
        mesh.settle()
    replies = caller.take()
    assert replies[1:5] == b"-1\r\n", replies
    for node, key, given in ((mesh.nodes[0], FIRST, [2, 2]), (mesh.nodes[1], SECOND, [1, 2])):
        stream: Any = node.store.view(0).find(key)
        consumer = stream.groups[b"g"].consumers[b"c"]
        assert consumer.seen_ms == NOW_MS + 1000
        deliveries = [nack for _, nack in consumer.pending.walk()]
        assert [nack.count for nack in deliveries] == given
        assert [nack.time_ms for nack in deliveries] == [NOW_MS + 1000 * (n - 1) for n in given]


@pytest.mark.parametrize(
    "line",
    [
        b"XREAD COUNT 3 STREAMS %b %b 5 0",
        b"XREAD STREAMS %b %b $ 400",
        b"XREADGROUP GROUP g c COUNT 3 STREAMS %b %b > 0",
        b"XREADGROUP GROUP g d COUNT 3 STREAMS %b %b > >",
    ],
)
def test_of_a_stream_only_what_is_read_is_lent(line: bytes) -> None:
    mesh = Mesh(2)
    caller = two_streams(mesh, 400)
    lent: list[int] = []
    plain = mesh.send

    def watch(messages: Any) -> None:
        lent.extend(len(message[4]) for _, message in messages if message[0] == m.LOAN)
        plain(messages)

    mesh.send = watch  # type: ignore[method-assign]
    send(caller, (line % (FIRST, SECOND)).split())
    mesh.settle()
    assert caller.take()[:1] == b"*"
    assert lent
    assert sum(lent) < 2000


@pytest.mark.parametrize(
    "words",
    [
        b"XREADGROUP GROUP g c STREAMS %b %b > 0",  # of the second nothing that a log holds
        b"XREADGROUP GROUP g new BLOCK 0 STREAMS %b %b > >",  # one new consumer
    ],
)
def test_who_has_nothing_to_log_logs_the_ticket_too(words: bytes) -> None:
    """A start would skip it otherwise, and cut what comes behind."""
    mesh = LoggedMesh(2)
    caller = two_streams(mesh, 2 if b"BLOCK" in words else 4)
    if b"BLOCK" in words:
        for key in (FIRST, SECOND):
            send(caller, [b"XGROUP", b"SETID", key, b"g", b"$"])
        send(caller, [b"XGROUP", b"CREATECONSUMER", FIRST, b"g", b"new"])
        mesh.settle()
    send(caller, (words % (FIRST, SECOND)).split())
    mesh.settle()
    found = []
    for node in mesh.nodes:
        mesh.write_log(node)
        lines = mesh.disks[node.index].data(f"{DIRECTORY}/log").split(b"\r\n")
        found.append([line for line in lines if line.startswith(b"#TICKET")])
    assert found[0] == found[1]
    assert found[0]


# -- what ends its executor ------------------------------------------------------------------------

DEADLY: Final = b"deadly"


class DeadlyMesh(MortalMesh):
    """A worker dies when it is about to run what has DEADLY in it."""

    def __init__(self) -> None:
        super().__init__(WORKERS, Random(1), Coordinator)

    def hear(self, node: Node) -> bool:
        if node.down and node.down[0][0] == m.EXECUTE:
            _, ticket, _, blob = node.down[0]
            command: Any = node.dispatcher.borrower.parts[ticket].command
            if DEADLY in (b" ".join(command.argv) if blob is None else blob):
                self.kill(node.index)
                self.revive(node.index)
                return True
        return super().hear(node)

    def settle(self, random: Random | None = None) -> None:
        Mesh.settle(self, random)


def run_deadly(lines: Sequence[Sequence[bytes]]) -> tuple[bytes, DeadlyMesh]:
    mesh = DeadlyMesh()
    caller = mesh.connect(0)
    for argv in lines:
        send(caller, argv)
        mesh.settle(Random(1))
    assert mesh.coordinator.in_flight == mesh.coordinator.in_flight_bytes == 0
    for node in mesh.nodes:
        assert node.participant.idle()
    return caller.take(), mesh


K = [
    next(b"d%d" % n for n in range(99) if owner_of(key_slot(b"d%d" % n), WORKERS) == worker)
    for worker in range(WORKERS)
]
GIVEN_UP = b"-ERR the worker that ran the command died twice: it was not executed\r\n"


def test_what_ends_its_executor_twice_is_given_up() -> None:
    got, mesh = run_deadly(
        [
            [b"MSET", K[1], b"1", K[2], b"2"],
            [b"MSETNX", b"x{%b}" % K[1], DEADLY, b"x{%b}" % K[2], b"v"],
            [b"MGET", K[1], K[2]],
        ]
    )
    assert got == b"+OK\r\n" + GIVEN_UP + b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"
    assert mesh.deaths == 2


def test_the_rest_of_a_transaction_is_done() -> None:
    """Its other steps count, here and in every log."""
    got, mesh = run_deadly(
        [
            [b"MULTI"],
            [b"SET", K[1], b"1"],
            [b"SET", K[2], b"2"],
            [b"COPY", K[1], b"c{%b}" % K[2]],
            [b"EVAL", b"return redis.call('SET', KEYS[1], 'deadly')", b"1", K[2]],
            [b"INCR", K[1]],
            [b"INCR", K[2]],
            [b"EXEC"],
        ]
    )
    assert got.endswith(b"*6\r\n+OK\r\n+OK\r\n:1\r\n" + GIVEN_UP + b":2\r\n:3\r\n")
    assert mesh.deaths == 2
    found = contents([node.store for node in mesh.nodes])
    assert {key: value[0][2] for (_, key), value in found.items()} == {
        K[1]: b"2",
        K[2]: b"3",
        b"c{%b}" % K[2]: b"1",
    }
    for node in list(mesh.nodes):
        mesh.write_log(node)
        mesh.kill(node.index)
        mesh.revive(node.index)
    assert contents([node.store for node in mesh.nodes]) == found


@pytest.mark.usefixtures("endless")
def test_without_a_limit_of_deaths_there_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeadlyMesh, "kill", _mortal(DeadlyMesh.kill))
    with pytest.raises(AssertionError, match="hundred deaths"):
        run_deadly([[b"MSETNX", K[1], DEADLY, K[2], b"v"]])


def _mortal(kill: Any) -> Any:
    def limited(mesh: DeadlyMesh, index: int) -> None:
        assert mesh.deaths < 100, "a hundred deaths"
        kill(mesh, index)

    return limited


def test_what_follows_a_script_that_turns_out_to_span_waits_for_it() -> None:
    """It is admitted at once beside the lock of another key, and names a key of another worker."""
    mesh = Mesh(2)
    lock(mesh.nodes[0], 1, "other" + FIRST.decode())
    mesh.coordinator.next_ticket = 2
    caller = mesh.connect(0)
    script = b"return redis.call('GET', ARGV[1])"
    send(caller, [b"EVAL", script, b"1", FIRST, SECOND])
    send(caller, [b"SET", FIRST, b"x"])
    assert mesh.nodes[0].store.view(0).find(FIRST) is None
    mesh.settle()
    assert caller.take() == b"$-1\r\n+OK\r\n"
