"""A worker's locks: who waits for whom, what is granted when, and what is left at the end."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.proto.errors import ReplyError
from shoal.proto.messages import RELOCK, RUN
from shoal.worker import participant as participant_module
from shoal.worker.participant import Part, Participant

EVERYONE: Final = (0, 1)


class Gate:
    """What is closed, counted: db and key, for writes only or for reads too."""

    def __init__(self) -> None:
        self.closed: Counter[tuple[int | None, bytes | None, bool]] = Counter()

    def close(self, db: int | None, key: bytes | None, write_only: bool) -> None:
        self.closed[db, key, write_only] += 1

    def open(self, db: int | None, key: bytes | None, write_only: bool) -> None:
        assert self.closed[db, key, write_only] > 0, "opened, and was not closed"
        self.closed[db, key, write_only] -= 1


class Locks:
    """A participant, and all that it does, in order: `events` has `run 1`, `DONE 1`, `go a`, ..."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.events: list[str] = []
        self.participant = Participant(self.execute, self.gate, self.log_release)

    def execute(self, part: Part, ticket: int, participants: tuple[int, ...]) -> object:
        assert participants == EVERYONE
        self.events.append(f"run {ticket}")
        return part.command

    def log_release(self, ticket: int) -> None:
        self.events.append(f"#REL {ticket}")

    def send(self, done: list[tuple[int, object]]) -> None:
        for ticket, reply in done:
            assert reply == f"reply {ticket}"
            self.events.append(f"DONE {ticket}")

    def lock(self, ticket: int, words: str, mode: int = RUN) -> None:
        part = Part(*locked(words), f"reply {ticket}")
        self.send(self.participant.on_lock(ticket, part, EVERYONE, mode))

    def release(self, ticket: int) -> None:
        self.send(self.participant.on_release(ticket))

    def ask(self, name: str, words: str) -> None:
        def go() -> None:
            self.events.append(f"go {name}")

        if self.participant.admit(*locked(words), go):
            go()

    def play(self, script: str) -> list[str]:
        """Run lines like `lock 1 write a b`, `relock 1 read db`, `ask x read a`, `release 1`."""
        for line in script.split("; "):
            what, name, *words = line.split(maxsplit=2)
            if what == "release":
                self.release(int(name))
            elif what == "ask":
                self.ask(name, words[0])
            else:
                self.lock(int(name), words[0], RUN if what == "lock" else RELOCK)
        return self.events


def locked(words: str) -> tuple[int | None, tuple[bytes, ...] | None, bool]:
    """Return db, keys and write of `write a b`, `read a @1`, `write db`, `read all`, ..."""
    how, *names = words.split()
    db: int | None = int(names.pop()[1:]) if names[-1].startswith("@") else 0
    write = how == "write"
    if names == ["all"]:
        return None, None, write
    if names == ["db"]:
        return db, None, write
    return db, tuple(name.encode() for name in names if name != "nothing"), write


# What happens -> what it does. All tickets and waiters are gone at the end.
SCRIPTS: Final[dict[str, tuple[str, list[str]]]] = {
    "a free key is granted at once": (
        "lock 1 write a; release 1",
        ["run 1", "DONE 1", "#REL 1"],
    ),
    "a read logs no release": (
        "lock 1 read a; release 1",
        ["run 1", "DONE 1"],
    ),
    "writers of a key take turns": (
        "lock 1 write a; lock 2 write a; lock 3 write a; release 1; release 2; release 3",
        ["run 1", "DONE 1", "#REL 1", "run 2", "DONE 2", "#REL 2", "run 3", "DONE 3", "#REL 3"],
    ),
    "readers share": (
        "lock 1 read a; lock 2 read a; release 2; release 1",
        ["run 1", "DONE 1", "run 2", "DONE 2"],
    ),
    "a writer waits for every reader": (
        "lock 1 read a; lock 2 read a; lock 3 write a; release 1; release 2; release 3",
        ["run 1", "DONE 1", "run 2", "DONE 2", "run 3", "DONE 3", "#REL 3"],
    ),
    "a reader does not pass a waiting writer": (
        "lock 1 read a; lock 2 write a; lock 3 read a; release 1; release 2; release 3",
        ["run 1", "DONE 1", "run 2", "DONE 2", "#REL 2", "run 3", "DONE 3"],
    ),
    "readers behind a writer are granted together, in order": (
        "lock 1 write a; lock 2 read a; lock 3 read a; release 1; release 3; release 2",
        ["run 1", "DONE 1", "#REL 1", "run 2", "run 3", "DONE 2", "DONE 3"],
    ),
    "other keys and other databases do not wait": (
        "lock 1 write a; lock 2 write b; lock 3 write a @1; release 1; release 2; release 3",
        ["run 1", "DONE 1", "run 2", "DONE 2", "run 3", "DONE 3", "#REL 1", "#REL 2", "#REL 3"],
    ),
    "all keys are needed": (
        "lock 1 write a; lock 2 write b; lock 3 write a b; release 2; release 1; release 3",
        ["run 1", "DONE 1", "run 2", "DONE 2", "#REL 2", "#REL 1", "run 3", "DONE 3", "#REL 3"],
    ),
    "a key named twice is one key": (
        "lock 1 write a a; lock 2 read a a b; lock 3 write a a; release 1; release 2; release 3",
        ["run 1", "DONE 1", "#REL 1", "run 2", "DONE 2", "run 3", "DONE 3", "#REL 3"],
    ),
    "no lock at all": (
        "lock 1 write all; lock 2 read nothing; release 2; release 1",
        ["run 1", "DONE 1", "run 2", "DONE 2", "#REL 1"],
    ),
    "a database waits for its keys": (
        "lock 1 write a; lock 2 read db; release 1; release 2",
        ["run 1", "DONE 1", "#REL 1", "run 2", "DONE 2"],
    ),
    "keys wait for their database": (
        "lock 1 write db; lock 2 read a; lock 3 read a @1; release 1; release 2; release 3",
        ["run 1", "DONE 1", "run 3", "DONE 3", "#REL 1", "run 2", "DONE 2"],
    ),
    "a database shares with readers": (
        "lock 1 read a; lock 2 read db; lock 3 read all; release 1; release 2; release 3",
        ["run 1", "DONE 1", "run 2", "DONE 2", "run 3", "DONE 3"],
    ),
    "everything waits for every database": (
        "lock 1 write db @1; lock 2 read a; lock 3 write all; release 2; release 1; release 3",
        ["run 1", "DONE 1", "run 2", "DONE 2", "#REL 1", "run 3", "DONE 3", "#REL 3"],
    ),
    "databases do not wait for each other": (
        "lock 1 write db; lock 2 write db @1; release 1; release 2",
        ["run 1", "DONE 1", "run 2", "DONE 2", "#REL 1", "#REL 2"],
    ),
    "an ordinary command on a free key runs": (
        "lock 1 write a; ask x write b; release 1",
        ["run 1", "DONE 1", "go x", "#REL 1"],
    ),
    "an ordinary reader shares with readers": (
        "lock 1 read a; ask x read a; ask y write a; release 1",
        ["run 1", "DONE 1", "go x", "go y"],
    ),
    "ordinary commands keep their order behind a lock": (
        "lock 1 write a; ask x write a; ask y read a; ask z write a; release 1",
        ["run 1", "DONE 1", "#REL 1", "go x", "go y", "go z"],
    ),
    "an ordinary command does not pass a waiting one": (
        "lock 1 read a; ask x write a; ask y read a; release 1",
        ["run 1", "DONE 1", "go x", "go y"],
    ),
    "tickets and ordinary commands wait in one queue": (
        "lock 1 write a; ask x write a; lock 2 write a; ask y write a; release 1; release 2",
        ["run 1", "DONE 1", "#REL 1", "go x", "run 2", "DONE 2", "#REL 2", "go y"],
    ),
    "an ordinary command on a database": (
        "lock 1 write a; ask x read db; ask y write a; release 1",
        ["run 1", "DONE 1", "#REL 1", "go x", "go y"],
    ),
    "a command without keys does not wait": (
        "lock 1 write all; ask x read nothing; release 1",
        ["run 1", "DONE 1", "go x", "#REL 1"],
    ),
    "locks taken again run nothing": (
        "relock 4 write a; relock 5 read b; lock 6 write a; release 4; release 5; release 6",
        ["#REL 4", "run 6", "DONE 6", "#REL 6"],
    ),
    "what waited leaves no trace for the next": (
        "lock 1 write a; ask x write a; release 1; lock 2 write a; release 2",
        ["run 1", "DONE 1", "#REL 1", "go x", "run 2", "DONE 2", "#REL 2"],
    ),
}


@pytest.mark.parametrize(("script", "events"), SCRIPTS.values(), ids=SCRIPTS.keys())
def test_scripts(script: str, events: list[str]) -> None:
    locks = Locks()
    assert locks.play(script) == events
    assert locks.participant.idle()
    assert not +locks.gate.closed


# Gate after the script: (db, key, writes only) -> how often it is closed.
GATES: Final[dict[str, tuple[str, dict[tuple[int | None, bytes | None, bool], int]]]] = {
    "a writer closes to all": ("lock 1 write a", {(0, b"a", False): 1}),
    "a reader closes to writers": ("lock 1 read a", {(0, b"a", True): 1}),
    "each reader closes": ("lock 1 read a; lock 2 read a", {(0, b"a", True): 2}),
    "who waits closes too": (
        "lock 1 read a; ask x write a; ask y read a",
        {(0, b"a", True): 2, (0, b"a", False): 1},
    ),
    "a key named twice, twice": ("lock 1 write a a", {(0, b"a", False): 2}),
    "a database": ("lock 1 read db @1", {(1, None, True): 1}),
    "everything": ("lock 1 write all", {(None, None, False): 1}),
    "nothing": ("lock 1 write nothing", {}),
    "an admitted command closes nothing": ("lock 1 read a; ask x read a", {(0, b"a", True): 1}),
    "locks taken again": ("relock 1 write a", {(0, b"a", False): 1}),
}


@pytest.mark.parametrize(("script", "closed"), GATES.values(), ids=GATES.keys())
def test_gate(script: str, closed: dict[Any, int]) -> None:
    locks = Locks()
    locks.play(script)
    assert dict(+locks.gate.closed) == closed


def test_who_stands_where() -> None:
    locks = Locks()
    locks.play("lock 3 write a; lock 5 write a; ask x write a; lock 6 read b")
    assert locks.participant.locked_tickets() == [(3, True), (5, False), (6, True)]
    assert locks.participant.waiters == 1
    assert not locks.participant.idle()


def test_waiting_commands_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(participant_module, "MAX_LOCK_WAITERS", 2)
    locks = Locks()
    locks.play("lock 1 write a; ask x read a; ask y read a")
    with pytest.raises(ReplyError, match="TRYAGAIN too many commands wait"):
        locks.ask("z", "read a")
    locks.play("ask free read b; lock 2 read a")  # neither of them is a waiter
    assert locks.participant.waiters == 2
    locks.play("release 1; release 2; lock 3 write a; ask x read a; release 3")
    assert locks.events[-3:] == ["DONE 3", "#REL 3", "go x"]
    assert locks.participant.idle()


# Our bugs, or the coordinator's: the worker must die of them, not go on.
WRONG: Final = {
    "tickets go back": ("lock 2 write a; lock 1 write b", "ticket 1 after 2"),
    "the same ticket twice": ("lock 2 write a; lock 2 write b", "ticket 2 after 2"),
    "release before the grant": ("lock 1 write a; lock 2 write a; release 2", "before it was"),
    "a lock of before that would wait": ("lock 1 write a; relock 2 write a", "held its locks"),
}


@pytest.mark.parametrize(("script", "text"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_is_asserted(script: str, text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        Locks().play(script)


def test_a_release_of_nothing_raises() -> None:
    locks = Locks()
    locks.play("lock 1 write a; release 1")
    with pytest.raises(KeyError):
        locks.release(1)


def test_a_resumed_command_may_bring_the_next_one() -> None:
    locks = Locks()
    participant = locks.participant

    def first() -> None:
        locks.events.append("go first")
        # Its client's next command; `last` came before, and waits for the same key.
        locks.ask("next", "write a")

    locks.lock(1, "write a")
    assert not participant.admit(0, (b"a",), True, first)
    locks.ask("last", "write a")
    locks.release(1)
    assert locks.events[2:] == ["#REL 1", "go first", "go last", "go next"]
    assert participant.idle()


# -- a naive model --------------------------------------------------------------------------------


class NaiveLocks:
    """All claims in a list: one is granted when no earlier one in it conflicts."""

    def __init__(self) -> None:
        self.claims: list[tuple[str, Any]] = []  # name (a number: a ticket), what it locks
        self.ran: set[str] = set()
        self.events: list[str] = []

    @staticmethod
    def conflict(one: Any, other: Any) -> bool:
        (db, keys, write), (its_db, its_keys, its_write) = one, other
        if keys == () or its_keys == () or not (write or its_write):
            return False
        if db != its_db and None not in (db, its_db):
            return False
        return keys is None or its_keys is None or bool(set(keys) & set(its_keys))

    def granted(self, at: int) -> bool:
        locks = self.claims[at][1]
        return not any(self.conflict(locks, earlier) for _, earlier in self.claims[:at])

    def add(self, name: str, locks: Any) -> None:
        self.claims.append((name, locks))
        self.work()

    def remove(self, name: str) -> None:
        ((at, write),) = [(at, c[1][2]) for at, c in enumerate(self.claims) if c[0] == name]
        del self.claims[at]
        if write:
            self.events.append(f"#REL {name}")
        self.work()

    def work(self) -> None:
        """Run whoever is granted and has not run, the oldest first."""
        done = []
        while True:
            todo = [
                at
                for at, (name, _) in enumerate(self.claims)
                if name not in self.ran and self.granted(at)
            ]
            if not todo:
                break
            name = self.claims[todo[0]][0]
            if name.isdigit():
                self.events.append(f"run {name}")
                self.ran.add(name)
                done.append(f"DONE {name}")
            else:
                self.events.append(f"go {name}")
                del self.claims[todo[0]]
        self.events += done

    def releasable(self) -> list[str]:
        return [name for name, _ in self.claims if name in self.ran]

    def gate(self) -> Counter[Any]:
        closed: Counter[Any] = Counter()
        for _, (db, keys, write) in self.claims:
            for key in (None,) if keys is None else keys:
                closed[db, key, not write] += 1
        return closed


@st.composite
def claims(draw: st.DrawFn) -> str:
    """Draw what to lock, as `locked` reads it; conflicts are likely."""
    how = draw(st.sampled_from(("read", "write")))
    keys = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(" ".join)
    what = draw(st.one_of(keys, keys, keys, st.sampled_from(("db", "all", "nothing"))))
    return f"{how} {what} @{draw(st.sampled_from((0, 0, 1)))}"


@given(st.lists(st.tuples(st.sampled_from("LLRRRA"), claims(), st.integers(0, 9)), max_size=40))
def test_agrees_with_the_naive_model(steps: list[tuple[str, str, int]]) -> None:
    locks, model = Locks(), NaiveLocks()
    participant = locks.participant
    for number, (what, words, pick) in enumerate(steps, 1):
        held = model.releasable()
        if what == "L":
            locks.lock(number, words)
            model.add(str(number), locked(words))
        elif what == "A":
            locks.ask(f"x{number}", words)
            model.add(f"x{number}", locked(words))
        elif held:
            name = held[pick % len(held)]
            locks.release(int(name))
            model.remove(name)
        assert locks.events == model.events
        assert +locks.gate.closed == model.gate()
        tickets = [(int(name), name in model.ran) for name, _ in model.claims if name.isdigit()]
        assert participant.locked_tickets() == tickets
        assert participant.waiters == len(model.claims) - len(tickets)
    while held := model.releasable():
        locks.release(int(held[0]))
        model.remove(held[0])
    assert locks.events == model.events
    assert not model.claims
    assert participant.idle()
    assert not +locks.gate.closed
