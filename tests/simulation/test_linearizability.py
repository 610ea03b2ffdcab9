"""The checker of histories: what it accepts, what it must reject, and a brute force beside it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations, permutations
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.linearizability import ANYTHING, Operation, check
from support.simulated_plan import make_plan
from support.simulated_store import Command, StoreModel
from support.simulation import Simulation

# A line of a history: client, command, called..returned (nothing behind: outcome unknown), reply.
# Keys and values as in `MSET a=1 b=2`; databases as in `GET a @1`.
Line = tuple[str, str, object]
History = list[Line]

OK = None

SERIALIZABLE: Final[dict[str, History]] = {
    "nothing happened": [],
    "one after the other": [("SET a=1", "1..2", OK), ("GET a", "3..4", [1])],
    "a read beside a write sees the old": [("SET a=1", "1..4", OK), ("GET a", "2..3", [None])],
    "or the new": [("SET a=1", "1..4", OK), ("GET a", "2..3", [1])],
    "old, then new, beside one MSET": [
        ("MSET a=1 b=2", "1..8", OK),
        ("GET a", "2..3", [None]),
        ("GET b", "4..5", [2]),
    ],
    "writes that overlap take either order": [
        ("SET a=1", "1..4", OK),
        ("SET a=2", "2..3", OK),
        ("GET a", "5..6", [1]),
    ],
    "a write of unknown outcome is seen": [("SET a=1", "1..", OK), ("GET a", "2..3", [1])],
    "it is not": [("SET a=1", "1..", OK), ("GET a", "2..3", [None])],
    "it takes effect late": [
        ("SET a=1", "1..", OK),
        ("GET a", "2..3", [None]),
        ("GET a", "4..5", [1]),
    ],
    "a reply that was lost": [
        ("INCR a", "1..2", ANYTHING),
        ("INCR a", "3..4", 2),
    ],
    "counters count": [("INCR a", "1..6", 2), ("INCR a", "2..3", 1), ("GET a", "4..5", [1])],
    "databases apart": [("SET a=1", "1..2", OK), ("GET a @1", "3..4", [None])],
    "a swap": [("SET a=1", "1..2", OK), ("SWAPDB", "3..4", OK), ("GET a @1", "5..6", [1])],
    "no random key in an empty database": [("RANDOMKEY", "1..2", True)],
}

NOT_SERIALIZABLE: Final[dict[str, History]] = {
    "a stale read": [("SET a=1", "1..2", OK), ("GET a", "3..4", [None])],
    "a read from nowhere": [("GET a", "1..2", [7])],
    "half an MSET": [("MSET a=1 b=2", "1..4", OK), ("MGET a b", "2..3", [1, None])],
    "half an MSET, for ever": [
        ("MSET a=1 b=2", "1..2", OK),
        ("MGET a b", "3..4", [1, None]),
    ],
    "new a, then old b, beside one MSET": [
        ("MSET a=1 b=2", "1..8", OK),
        ("GET a", "2..3", [1]),
        ("GET b", "4..5", [None]),
    ],
    "the same, from two clients": [
        ("MSET a=1 b=2", "1..8", OK),
        ("GET b", "2..3", [2]),
        ("MGET b a", "4..5", [2, None]),
    ],
    "two readers see two writes in two orders": [
        ("SET a=1", "1..20", OK),
        ("SET b=2", "2..21", OK),
        ("MGET a b", "3..8", [1, None]),
        ("MGET a b", "4..9", [None, 2]),
    ],
    "a read goes back": [
        ("SET a=1", "1..9", OK),
        ("GET a", "2..3", [1]),
        ("GET a", "4..5", [None]),
    ],
    "a lost update": [("INCR a", "1..4", 1), ("INCR a", "2..3", 1)],
    "an update that was lost later": [
        ("INCR a", "1..2", 1),
        ("INCR a", "3..4", 2),
        ("GET a", "5..6", [1]),
    ],
    "a key deleted twice": [
        ("SET a=1", "1..2", OK),
        ("DEL a", "3..6", 1),
        ("UNLINK a", "4..5", 1),
    ],
    "DBSIZE counts what came later": [
        ("SET a=1", "1..2", OK),
        ("DBSIZE", "3..4", 2),
        ("SET b=2", "5..6", OK),
    ],
    "DBSIZE in two orders": [
        ("SET a=1", "1..20", OK),
        ("DBSIZE", "2..3", 1),
        ("DBSIZE", "4..5", 0),
    ],
    "DBSIZE of half an MSET": [("MSET a=1 b=2", "1..4", OK), ("DBSIZE", "2..3", 1)],
    "KEYS of half an MSET": [("MSET a=1 b=2", "1..4", OK), ("KEYS", "2..3", [b"b"])],
    "EXISTS after DEL": [
        ("SET a=1", "1..2", OK),
        ("DEL a", "3..4", 1),
        ("EXISTS a", "5..6", 1),
    ],
    "TOUCH counts a key once when it is named twice": [
        ("SET a=1", "1..2", OK),
        ("TOUCH a a", "3..4", 1),
    ],
    "half a FLUSHALL": [
        ("MSET a=1 b=2", "1..2", OK),
        ("FLUSHALL", "3..8", OK),
        ("MGET a b", "4..5", [1, None]),
    ],
    "FLUSHDB of another database": [
        ("SET a=1", "1..2", OK),
        ("FLUSHDB @1", "3..4", OK),
        ("GET a", "5..6", [None]),
    ],
    "half a swap": [
        ("SET a=1", "1..2", OK),
        ("SWAPDB", "3..8", OK),
        ("GET a @1", "4..5", [1]),
        ("GET a", "6..7", [1]),
    ],
    "a random key that is not there": [("RANDOMKEY a", "1..2", True)],
    "no random key where there is one": [("SET a=1", "1..2", OK), ("RANDOMKEY", "3..4", True)],
    "a write of unknown outcome comes and goes": [
        ("SET a=1", "1..", OK),
        ("GET a", "2..3", [1]),
        ("GET a", "4..5", [None]),
    ],
    "an effect before the call": [("GET a", "1..2", [1]), ("SET a=1", "3..", OK)],
    "a reply that was lost, an effect that was not": [
        ("INCR a", "1..2", ANYTHING),
        ("GET a", "3..4", [None]),
    ],
}


def operation(line: Line) -> Operation:
    text, times, reply = line
    name, *words = text.split()
    db = int(words.pop()[1:]) if words and words[-1].startswith("@") else 0
    rest = tuple(part.encode() for word in words for part in word.split("="))
    called, _, returned = times.partition("..")
    end = int(returned) if returned else None
    return Operation(0, Command(db, (name, *rest)), int(called), end, as_replied(name, reply))


def as_replied(name: str, reply: object) -> object:
    """Return a reply of the tables as the model gives it: strings are bytes, OK is one."""
    if reply is ANYTHING or isinstance(reply, int):
        return reply
    if reply is None:
        return b"OK"
    assert isinstance(reply, list)
    found = [b"%d" % one if isinstance(one, int) else one for one in reply]
    return found[0] if name == "GET" else found


@pytest.mark.parametrize("history", SERIALIZABLE.values(), ids=SERIALIZABLE.keys())
def test_accepted(history: History) -> None:
    operations = [operation(line) for line in history]
    verdict = check(operations, StoreModel())
    assert verdict, verdict.explain(operations)
    assert_valid(operations, verdict.order)


@pytest.mark.parametrize("history", NOT_SERIALIZABLE.values(), ids=NOT_SERIALIZABLE.keys())
def test_rejected(history: History) -> None:
    operations = [operation(line) for line in history]
    verdict = check(operations, StoreModel())
    assert not verdict
    assert "stuck" in verdict.explain(operations)


def test_pipelined_commands_keep_their_order() -> None:
    first = operation(("SET a=1", "1..9", OK))
    second = operation(("SET a=2", "2..8", OK))
    look = operation(("GET a", "10..11", [1]))
    assert check([first, second, look], StoreModel())
    assert not check([first, second._replace(after=(0,)), look], StoreModel())


def test_a_write_of_unknown_outcome_cannot_come_after_its_successor() -> None:
    first = operation(("SET a=1", "1..", OK))
    second = operation(("SET a=2", "2..3", OK))
    look = operation(("GET a", "4..5", [1]))
    assert check([first, second, look], StoreModel())
    assert not check([first, second._replace(after=(0,)), look], StoreModel())


def test_the_state_before_the_first_command_counts() -> None:
    look = operation(("GET a", "1..2", [5]))
    assert check([look], StoreModel((frozenset({(b"a", b"5")}), frozenset())))
    assert not check([look], StoreModel())


def test_a_wrong_value_in_a_real_history_is_rejected() -> None:
    corrupted = 0
    for seed in range(12):
        for initial, history in Simulation(make_plan(seed), seed).run():
            for index, op in enumerate(history):
                command = op.command
                assert isinstance(command, Command)
                if command.words[0] not in {"GET", "MGET"} or op.returned is None:
                    continue
                wrong = list(history)
                wrong[index] = op._replace(reply=-7)
                assert not check(wrong, StoreModel(initial)), f"seed {seed}, operation {index}"
                corrupted += 1
    assert corrupted > 50


# -- beside a brute force -------------------------------------------------------------------------


def assert_valid(history: Sequence[Operation], order: Sequence[int]) -> None:
    """Hold an order to the definition."""
    required = {index for index, op in enumerate(history) if op.returned is not None}
    assert required <= set(order)
    assert len(set(order)) == len(order)
    assert is_valid(history, order)


def is_valid(history: Sequence[Operation], order: Sequence[int]) -> bool:
    model = StoreModel()
    state = model.initial()
    places = {index: place for place, index in enumerate(order)}
    for index in order:
        op = history[index]
        command: Any = op.command
        state, reply = model.step(state, command)
        if op.returned is not None and op.reply is not ANYTHING and reply != op.reply:
            return False
        for other in op.after:
            if places.get(other, -1) > places[index]:
                return False
        for other in order:
            returned = history[other].returned
            if returned is not None and returned < op.called and places[other] > places[index]:
                return False
    return True


def brute_force(history: Sequence[Operation]) -> bool:
    required = [index for index, op in enumerate(history) if op.returned is not None]
    optional = [index for index, op in enumerate(history) if op.returned is None]
    return any(
        is_valid(history, order)
        for count in range(len(optional) + 1)
        for some in combinations(optional, count)
        for order in permutations([*required, *some])
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """Draw a few operations on two keys, with replies that may be right."""
    size = draw(st.integers(1, 5))
    times = draw(st.permutations(range(2 * size)))
    history: list[Operation] = []
    for index in range(size):
        called, returned = sorted(times[2 * index : 2 * index + 2])
        name = draw(st.sampled_from(("GET", "SET", "INCR", "MGET", "MSET", "DBSIZE", "DEL")))
        keys = (b"a", b"b") if name in {"MGET", "MSET"} else (draw(st.sampled_from((b"a", b"b"))),)
        small = st.integers(1, 2)
        value = st.one_of(st.none(), small)
        values: tuple[bytes, ...] = ()
        reply: object = None
        if name in {"GET", "MGET"}:
            reply = [draw(value) for _ in keys]
        elif name in {"SET", "MSET"}:
            values = tuple(b"%d" % draw(small) for _ in keys)
            reply = None
        else:
            reply = draw(st.integers(0, 2))
        reply = ANYTHING if draw(st.integers(0, 9)) == 0 else as_replied(name, reply)
        end = None if draw(st.integers(0, 4)) == 0 else returned
        earlier = [at for at in range(index) if history[at].called < called]
        after = tuple(at for at in earlier if draw(st.integers(0, 4)) == 0)
        words = keys if not values else tuple(chain(*zip(keys, values, strict=True)))
        command = Command(0, (name, *(() if name == "DBSIZE" else words)))
        history.append(Operation(index, command, called, end, reply, after))
    return history


@given(histories())
def test_agrees_with_trying_every_order(history: list[Operation]) -> None:
    verdict = check(history, StoreModel())
    assert bool(verdict) == brute_force(history), verdict.explain(history)
    if verdict:
        assert_valid(history, verdict.order)
