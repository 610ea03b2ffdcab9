"""A run that is taken back leaves no trace; one that stays tells all, in order."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from shoal.proto.errors import ReplyError
from shoal.proto.slots import SLOTS
from shoal.worker.commands import load_all
from shoal.worker.keyspace import Store
from shoal.worker.registry import every_command, resolve
from shoal.worker.trial import Trial
from shoal.worker.values import encoding, rebuild
from support.seeds import repeat

load_all()

NOW_MS = 1_700_000_000_000
KEYS = [b"k%d" % n for n in range(6)]
WORDS = [b"a", b"b", b"c", b"1", b"2", b"17", b"x" * 70]


def run(store: Store, argv: list[bytes], db: int, trial: Trial | None = None) -> None:
    command = resolve(argv)
    if trial is not None:
        trial.keep_for(command, argv, db)
    store.effects = None
    command.calls += 1
    try:
        command.handler(store.view(db), *argv[command.skip :])
    except ReplyError:
        command.failed += 1


def a_command(r: Random) -> list[bytes]:
    key, other, word = r.choice(KEYS), r.choice(KEYS), r.choice(WORDS)
    words = [r.choice(WORDS) for _ in range(2 * r.randint(1, 3))]
    scored = [x for one in words for x in (b"%d" % r.randint(0, 9), one)]
    many = [b"m%d" % n for n in range(r.choice((3, 150, 700)))]
    return r.choice(
        [
            [b"SET", key, word],
            [b"SET", key, word, b"PX", b"%d" % r.choice((1000, 10_000))],
            [b"APPEND", key, word],
            [b"SETBIT", key, b"77", b"1"],
            [b"PFADD", key, *words],
            [b"PFCOUNT", key, other],
            [b"RPUSH", key, *words],
            [b"RPUSH", key, *many],
            [b"LPOP", key],
            [b"LREM", key, b"0", word],
            [b"LMOVE", key, other, b"LEFT", b"RIGHT"],
            [b"SADD", key, *words],
            [b"SADD", key, *many],
            [b"SPOP", key],
            [b"SMOVE", key, other, word],
            [b"SUNIONSTORE", key, other, r.choice(KEYS)],
            [b"ZADD", key, *scored],
            [b"ZADD", key, *[x for n, one in enumerate(many) for x in (b"%d" % n, one)]],
            [b"ZINCRBY", key, b"3", word],
            [b"ZPOPMIN", key, b"2"],
            [b"HSET", key, *words],
            [b"HSET", key, *[x for one in many for x in (one, one)]],
            [b"HDEL", key, *words],
            [b"HPEXPIRE", key, b"%d" % r.choice((1000, 9000)), b"FIELDS", b"1", word],
            [b"XADD", key, b"*", b"f", word],
            [b"XGROUP", b"CREATE", key, b"g", b"0", b"MKSTREAM"],
            [b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"2", b"STREAMS", key, b">"],
            [b"XTRIM", key, b"MAXLEN", b"1"],
            [b"PEXPIRE", key, b"5000"],
            [b"PERSIST", key],
            [b"DEL", key],
            [b"GETDEL", key],
            [b"RENAME", key, other],
            [b"COPY", key, other, b"DB", b"1", b"REPLACE"],
            [b"MOVE", key, b"1"],
            [b"SORT", key, b"ALPHA", b"STORE", other],
            [b"GET", key],
            [b"HGETALL", key],
            [b"TYPE", key],
            [b"FLUSHDB"],
            [b"SWAPDB", b"0", b"1"],
            [b"FLUSHALL"],
        ]
        if r.random() < 0.2
        else [[b"TYPE", key], [b"SADD", key, *words], [b"HSET", key, *words], [b"GET", key]]
    )


def state(store: Store) -> Any:
    """Return all that can be seen of a partition."""
    dbs = []
    for index in range(3):
        db = store.database(index)
        values = {
            key: (encoding(key, value), list(rebuild(key, value)))
            for key, value in sorted(db, key=lambda item: item[0])
        }
        for _, value in db:
            if hasattr(value, "check"):
                value.check()
        dbs.append((values, db.size, db.volatile, db.subexpiry))
    counts = [(one.name, one.calls, one.rejected, one.failed) for one in every_command()]
    return dbs, counts, store.figures()


class Ear:
    """Listens to changes."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def changed(self, db: int, key: bytes) -> None:
        self.heard.append((db, key))

    def flushing(self, db: int, other: int | None) -> None:
        self.heard.append((db, other))

    def notify(self, db: int, kind: bytes, event: bytes, key: bytes) -> None:
        self.heard.append((db, event, key))


@pytest.mark.parametrize("seed", range(150))
def test_nothing_is_left_of_what_is_taken_back(seed: int) -> None:
    with repeat(seed):
        random = Random(seed)
        store = Store(range(SLOTS), 16, Random(seed))
        store.now_ms = NOW_MS
        for _ in range(40):
            run(store, a_command(random), random.choice((0, 0, 1)))
        store.now_ms += random.choice((0, 5500))  # some keys and fields have expired
        before = state(store)
        ear = Ear()
        store.notify = ear.notify
        store.add_listener(ear)
        logged: list[Any] = []
        store.log = lambda *args: logged.append(args)
        trial = Trial(store)
        for _ in range(random.randint(1, 25)):
            run(store, a_command(random), random.choice((0, 0, 1)), trial)
        trial.undo()
        assert state(store) == before
        assert not ear.heard
        assert store.notify == ear.notify
        assert store.on_change == ear.changed
        # What had been thrown away can be freed without harm.
        store.free_some(1_000_000)
        assert state(store) == before


@pytest.mark.parametrize("seed", range(20))
def test_what_stays_is_told_in_order(seed: int) -> None:
    with repeat(seed):
        heard = []
        states = []
        for tentative in (False, True):
            random = Random(seed)
            store = Store(range(SLOTS), 16, Random(seed))
            store.now_ms = NOW_MS
            ear = Ear()
            store.notify = ear.notify
            store.add_listener(ear)
            counts = {one: (one.calls, one.failed) for one in every_command()}
            trial = Trial(store) if tentative else None
            for _ in range(40):
                argv = a_command(random)
                if argv[0] not in (b"FLUSHALL", b"FLUSHDB", b"SWAPDB"):  # of which keys are told
                    run(store, argv, random.choice((0, 0, 1)), trial)
            if trial is not None:
                assert not ear.heard
                trial.commit()
            for one, (calls, failed) in counts.items():
                one.calls, one.failed = calls, failed
            heard.append(ear.heard)
            states.append(state(store))
        assert heard[0] == heard[1]
        assert states[0] == states[1]
        assert heard[0]
