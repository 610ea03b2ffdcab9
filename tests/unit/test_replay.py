"""Running a log into a partition: nothing expires or is logged again, a wrong line is named."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shoal.worker.commands import load_all
from shoal.worker.replay import Replayer, ReplayError
from support.keyspace import NOW_MS, Partition, check_store

load_all()

PAST = b"1000"
FUTURE = b"%d" % (NOW_MS + 60_000)


class Log:
    """A log and the partition that it is run into."""

    def __init__(self) -> None:
        self.partition = Partition()
        self.replayer = Replayer(self.partition.store)

    def run(self, *lines: str) -> "Log":
        for line in lines:
            self.replayer.apply(line.encode().split(b" "))
        return self

    def held(self, now_ms: int = 0) -> dict[tuple[int, bytes], tuple[bytes, int]]:
        """Return (db, key) -> (data, expire time), as seen at that time."""
        self.partition.store.now_ms = now_ms
        check_store(self.partition.store)
        return self.partition.live()


def test_databases_are_selected_in_the_log() -> None:
    log = Log().run(
        "SET k 0", "SELECT 9", "SET k 9", "select 3", "APPEND k 3", "SELECT 0", "INCR n"
    )
    assert log.held() == {
        (0, b"k"): (b"0", 0),
        (9, b"k"): (b"9", 0),
        (3, b"k"): (b"3", 0),
        (0, b"n"): (b"1", 0),
    }


def test_keys_do_not_expire_while_the_log_is_run() -> None:
    """Whether one had expired was decided when it was logged: its DEL follows, or a later write."""
    log = Log().run(
        f"SET a 1 PXAT {PAST.decode()}",
        "APPEND a 2",
        "PERSIST a",
        f"SET b 1 PXAT {PAST.decode()}",
        f"SET c 1 PXAT {PAST.decode()}",
        "DEL c",
        f"PEXPIREAT a {FUTURE.decode()}",
        f"SET d 1 PXAT {PAST.decode()}",
        "RENAME d e",
    )
    assert log.held() == {
        (0, b"a"): (b"12", int(FUTURE)),
        (0, b"b"): (b"1", int(PAST)),
        (0, b"e"): (b"1", int(PAST)),
    }
    assert list(log.held(NOW_MS)) == [(0, b"a")]


def test_nothing_is_logged_again_and_time_goes_on() -> None:
    log = Log()
    store = log.partition.store
    before = store.log
    log.run("SET a 1", "APPEND a 1", "MSET a 1 b 2", f"SET c 1 PXAT {PAST.decode()}", "FLUSHALL")
    assert log.partition.logged == []
    assert store.log == before
    assert (store.now_ms, store.dirty, store.effects) == (NOW_MS, 0, None)


WRONG = {
    "no such command": (["NOSUCH", "k"], "unknown command"),
    "arguments missing": (["SET", "k"], "wrong number of arguments"),
    "no database": (["SELECT", "x"], "invalid literal"),
    "a database too many": (["SELECT", "16"], "out of range"),
    "a database too few": (["SELECT", "-1"], "out of range"),
    "SELECT of nothing": (["SELECT"], "index"),
}
FAILING = {
    "an option that is none": (["SET", "k", "v", "x"], "syntax error"),
    "no number": (["INCRBY", "k", "x"], "not an integer"),
    "not a number in the key": (["INCR", "text"], "not an integer"),
    "another type": (["RPUSH", "text", "x"], "WRONGTYPE"),
}


@pytest.mark.parametrize(("argv", "reason"), FAILING.values(), ids=FAILING.keys())
def test_a_command_that_fails_is_passed_over_and_counted(argv: list[str], reason: str) -> None:
    log = Log().run("SET text x")
    before = log.partition.store.log
    log.run(" ".join(argv), "SET after y", " ".join(argv))
    assert (log.partition.store.now_ms, log.partition.store.log) == (NOW_MS, before)
    assert log.replayer.failed == 2
    assert log.replayer.first_failure.startswith(f"{' '.join(argv).encode()!r}: ")
    assert reason in log.replayer.first_failure
    assert sorted(log.held()) == [(0, b"after"), (0, b"text")]


@pytest.mark.parametrize(("argv", "reason"), WRONG.values(), ids=WRONG.keys())
def test_a_line_that_fails_is_named(argv: list[str], reason: str) -> None:
    log = Log().run("SET text x")
    before = log.partition.store.log
    with pytest.raises(ReplayError, match=reason) as caught:
        log.run(" ".join(argv))
    assert str(caught.value).startswith(f"the log holds {' '.join(argv).encode()!r}, which fails: ")
    assert (log.partition.store.now_ms, log.partition.store.log) == (NOW_MS, before)


def test_a_long_line_is_named_by_its_beginning() -> None:
    with pytest.raises(ReplayError) as caught:
        Log().replayer.apply([b"NOSUCH", b"x" * 1_000_000])
    assert len(str(caught.value)) < 1000


def test_clear_begins_again() -> None:
    log = Log().run("SET a 1", "SELECT 5", "SET b 1")
    log.replayer.clear()
    assert log.held() == {}
    log.run("SET c 1", "INCR n")
    assert sorted(log.held()) == [(0, b"c"), (0, b"n")]


KEYS = [b"a", b"b", b"c", b"{a}"]
key: Any = st.sampled_from(KEYS)
number: Any = st.integers(-3, 3).map(lambda n: b"%d" % n)
COMMANDS: Any = st.one_of(
    st.tuples(st.just(b"SET"), key, st.one_of(number, st.binary(max_size=5))),
    st.tuples(st.just(b"SET"), key, number, st.just(b"PX"), st.just(b"1000")),
    st.tuples(st.sampled_from([b"INCR", b"DECR", b"DEL", b"PERSIST", b"GETDEL"]), key),
    st.tuples(
        st.sampled_from([b"APPEND", b"INCRBY", b"INCRBYFLOAT", b"SETNX", b"GETSET"]), key, number
    ),
    st.tuples(st.just(b"SETRANGE"), key, st.just(b"2"), number),
    st.tuples(st.sampled_from([b"PEXPIRE", b"EXPIRE"]), key, number),
    st.tuples(st.just(b"MSET"), key, number, key, number),
    st.tuples(st.just(b"RENAME"), st.just(b"a"), st.just(b"{a}")),
    st.tuples(st.just(b"GETEX"), key, st.just(b"EX"), st.just(b"9")),
    st.tuples(st.sampled_from([b"FLUSHDB", b"FLUSHALL"])),
    st.tuples(st.sampled_from([b"GET", b"TTL", b"STRLEN"]), key),
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 700), COMMANDS), max_size=30))
def test_what_was_logged_gives_the_same_keys_again(
    history: list[tuple[int, int, tuple[bytes, ...]]],
) -> None:
    """Whenever it is run: what a partition logs in its life, run into an empty one."""
    partition = Partition()
    log = Log()
    selected = 0
    for db, pause_ms, argv in history:
        partition.db = db
        partition.store.now_ms += pause_ms
        partition.run(argv)
        for at, effect in partition.logged:
            if at != selected:
                selected = at
                log.replayer.apply([b"SELECT", b"%d" % at])
            log.replayer.apply(effect)
    assert log.held(partition.store.now_ms) == partition.live()
