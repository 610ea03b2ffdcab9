"""The checkers of histories: what they accept, and that each anomaly is found by its name.

The histories are made by hand. A line is what was asked for, when (`called..returned`, nothing
behind if the outcome is unknown), and the reply, or REFUSED.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.histories import bank, list_append, registers, sets
from support.histories.bank import Balances, Move, MoveAny, Places, Start, Transfer
from support.histories.history import Anomaly, Call, Outcome
from support.histories.link import Rotation, keys_of
from support.histories.list_append import Append, Micro, Read, Transaction
from support.histories.registers import Access
from support.histories.sets import Add, Shift

Line = tuple[Any, str, Any]
History = Sequence[Line]
REFUSED: Final = "refused"


def call_of(number: int, what: Any, when: str, reply: Any) -> Call[Any]:
    called, _, returned = when.partition("..")
    if not returned:
        return Call(number, what, int(called), None, Outcome.UNKNOWN)
    if reply == REFUSED:
        return Call(number, what, int(called), int(returned), Outcome.REFUSED)
    return Call(number, what, int(called), int(returned), Outcome.DONE, reply)


def calls_of(history: History, read: Callable[[Any], Any] = lambda what: what) -> list[Call[Any]]:
    return [call_of(n, read(what), when, reply) for n, (what, when, reply) in enumerate(history)]


def names_of(anomalies: list[Anomaly]) -> set[str]:
    return {anomaly.name for anomaly in anomalies}


# -- list-append: `x+1` appends 1 to x, `x` reads it -----------------------------------------------


def micros(text: str) -> tuple[Micro, ...]:
    found: list[Micro] = []
    for word in text.split():
        key, plus, value = word.partition("+")
        found.append(Append(key.encode(), int(value)) if plus else Read(key.encode()))
    return tuple(found)


GOOD_LISTS: Final[dict[str, History]] = {
    "nothing": [],
    "one after the other": [
        ("x+1 y+1", "1..2", (1, 1)),
        ("x y", "3..4", ((1,), (1,))),
        ("x x+2 x", "5..6", ((1,), 2, (1, 2))),
    ],
    "beside each other, in either order": [
        ("x+1 y+1", "1..4", (2, 2)),
        ("x+2 y+2", "2..3", (1, 1)),
        ("x y", "5..6", ((2, 1), (2, 1))),
    ],
    "a read beside an append sees the old": [
        ("x+1", "1..4", (1,)),
        ("x", "2..3", ((),)),
        ("x", "5..6", ((1,),)),
    ],
    "unknown, and seen": [("x+1 y+1", "1..", None), ("x y", "2..3", ((1,), (1,)))],
    "unknown, and never seen": [("x+1 y+1", "1..", None), ("x y", "2..3", ((), ()))],
    "unknown, and seen late": [
        ("x+1", "1..", None),
        ("x", "2..3", ((),)),
        ("x", "4..5", ((1,),)),
    ],
    "refused, and not seen": [("x+1", "1..2", REFUSED), ("x", "3..4", ((),))],
    "two appends of one transaction": [
        ("x+1 x x+2", "1..2", (1, (1,), 2)),
        ("x", "3..4", ((1, 2),)),
    ],
    "others appended before": [
        ("x+1", "1..2", (1,)),
        ("x+2 x", "3..4", (2, (1, 2))),
    ],
}

BAD_LISTS: Final[dict[str, tuple[str, History]]] = {
    "a lost append": ("G-single-realtime", [("x+1", "1..2", (1,)), ("x", "3..4", ((),))]),
    "an append lost later": (
        "incompatible order",
        [("x+1", "1..2", (1,)), ("x", "3..4", ((1,),)), ("x+2 x", "5..6", (1, (2,)))],
    ),
    "an append done twice": ("duplicate", [("x+1", "1..2", (1,)), ("x", "3..4", ((1, 1),))]),
    "a refused append is seen": (
        "aborted read",
        [("x+1", "1..2", REFUSED), ("x", "3..4", ((1,),))],
    ),
    "a value from nowhere": ("garbage read", [("x", "1..2", ((7,),))]),
    "the middle of a transaction": (
        "intermediate read",
        [("x+1 x+2", "1..6", (1, 2)), ("x", "2..3", ((1,),)), ("x", "7..8", ((1, 2),))],
    ),
    "two orders": (
        "incompatible order",
        [
            ("x+1", "1..9", (1,)),
            ("x+2", "2..10", (1,)),
            ("x", "3..4", ((1, 2),)),
            ("x", "5..6", ((2, 1),)),
        ],
    ),
    "its own append is not there": ("internal", [("x+1 x", "1..2", (1, ()))]),
    "somebody between its own steps": (
        "internal",
        [("x+9", "1..8", (1,)), ("x x", "2..3", ((), (9,)))],
    ),
    "a length that the list never had": ("internal", [("x x+1", "1..2", ((), 2))]),
    "two appends at one place": (
        "wrong place",
        [("x+1", "1..4", (1,)), ("x+2", "2..3", (1,)), ("x", "5..6", ((1, 2),))],
    ),
    "two appends at one place, unread": (
        "wrong place",
        [("x+1", "1..4", (1,)), ("x+2", "2..3", (1,))],
    ),
    "writes in two orders": (
        "G0",
        [
            ("x+1 y+1", "1..9", (1, 2)),
            ("x+2 y+2", "2..8", (2, 1)),
            ("x", "10..11", ((1, 2),)),
            ("y", "12..13", ((2, 1),)),
        ],
    ),
    "each reads the other": (
        "G1c",
        [("x+1 y", "1..4", (1, (2,))), ("y+2 x", "2..3", (1, (1,)))],
    ),
    "half a transaction": (
        "G-single",
        [("x+1 y+1", "1..9", (1, 1)), ("x y", "2..8", ((1,), ())), ("y", "10..11", ((1,),))],
    ),
    "half of an unknown one, for ever": (
        "G-single",
        [("x+1 y+1", "1..", None), ("x y", "2..3", ((1,), ()))],
    ),
    "half of an unknown one, one after the other": (
        "G-single-realtime",
        [("x+1 y+1", "1..", None), ("x", "2..3", ((1,),)), ("y", "4..5", ((),))],
    ),
    "write skew": (
        "G2",
        [
            ("x y+1", "1..9", ((), 1)),
            ("y x+1", "2..8", ((), 1)),
            ("x y", "10..11", ((1,), (1,))),
        ],
    ),
    "a stale read": (
        "G-single-realtime",
        [("x+1", "1..2", (1,)), ("x", "3..4", ((),)), ("x", "5..6", ((1,),))],
    ),
    "two readers, two orders": (
        "G2",
        [
            ("x+1", "1..20", (1,)),
            ("y+1", "2..21", (1,)),
            ("x y", "3..18", ((1,), ())),
            ("x y", "4..19", ((), (1,))),
            ("x y", "22..23", ((1,), (1,))),
        ],
    ),
    "a later write comes first": (
        "G0-realtime",
        [("x+1", "1..2", (2,)), ("x+2", "3..4", (1,)), ("x", "5..6", ((2, 1),))],
    ),
}


@pytest.mark.parametrize("history", GOOD_LISTS.values(), ids=GOOD_LISTS.keys())
def test_lists_that_are_serializable(history: History) -> None:
    assert list_append.check(calls_of(history, micros)) == []


@pytest.mark.parametrize(("name", "history"), BAD_LISTS.values(), ids=BAD_LISTS.keys())
def test_anomalies_of_lists(name: str, history: History) -> None:
    anomalies = list_append.check(calls_of(history, micros))
    assert name in names_of(anomalies), anomalies


def test_the_shortest_cycle_is_shown_with_its_transactions() -> None:
    history = [
        ("x+1", "1..2", (1,)),
        ("x y", "3..10", ((), ())),
        ("z+1", "4..5", (1,)),
        ("y+1", "6..7", (1,)),
        ("x y", "11..12", ((1,), (1,))),
    ]
    (anomaly,) = list_append.check(calls_of(history, micros))
    head, *lines = [line.strip() for line in anomaly.text.splitlines()]
    assert anomaly.name == "G-single-realtime"
    assert head in ("T0 -rt-> T1 -rw-> T0", "T1 -rw-> T0 -rt-> T1")
    assert sorted(line.partition(": ")[2] for line in lines) == [
        "append(x, 1) -> 1",
        "read(x) -> [], read(y) -> []",
    ]


def serial(random: Random, size: int) -> list[Transaction]:
    """Return a history that ran in some order, with calls that overlap, and some unknown."""
    lists: dict[bytes, tuple[int, ...]] = {}
    values = count(1)
    history = []
    for place in range(size):
        called = 10 * place - random.randrange(40)
        steps: list[Micro] = []
        replies: list[Any] = []
        for _ in range(random.randrange(1, 5)):
            key = random.choice((b"x", b"y", b"z"))
            if random.random() < 0.5:
                steps.append(Append(key, next(values)))
                lists[key] = (*lists.get(key, ()), steps[-1].value)  # type: ignore[union-attr]
                replies.append(len(lists[key]))
            else:
                steps.append(Read(key))
                replies.append(lists.get(key, ()))
        what = tuple(steps)
        if random.random() < 0.1:
            history.append(Call(place, what, called, None, Outcome.UNKNOWN))
        else:
            end = 10 * place + 1 + random.randrange(40)
            history.append(Call(place, what, called, end, Outcome.DONE, tuple(replies)))
    random.shuffle(history)
    return history


@given(st.integers(0, 1 << 30), st.integers(0, 60))
def test_what_ran_in_an_order_has_no_anomaly(seed: int, size: int) -> None:
    assert list_append.check(serial(Random(seed), size)) == []


@given(st.integers(0, 1 << 30))
def test_a_read_that_is_too_old_is_found(seed: int) -> None:
    random = Random(seed)
    history = serial(random, 30)
    end = 10_000
    key = random.choice((b"x", b"y", b"z"))
    whole = max(
        (
            reply
            for call in history
            if call.reply
            for step, reply in zip(call.what, call.reply, strict=True)
            if step == Read(key)
        ),
        key=len,
        default=(),
    )
    old = whole[: random.randrange(len(whole))] if whole else ()
    history.append(Call(99, (Read(key),), end, end + 1, Outcome.DONE, (old,)))
    assert bool(list_append.check(history)) == (
        bool(whole)
        or any(
            Append(key, value) in call.what
            for call in history
            if call.outcome is Outcome.DONE
            for value in (step.value for step in call.what if isinstance(step, Append))
        )
    )


# -- registers -------------------------------------------------------------------------------------


def access(text: str) -> Access:
    name, key, *value = text.split()
    return Access(name, key.encode(), *map(int, value))


GOOD_REGISTERS: Final[dict[str, History]] = {
    "each command": [
        ("GET k", "1..2", None),
        ("SETNX k 5", "3..4", "OK"),
        ("SETNX k 6", "5..6", None),
        ("INCR k", "7..8", 6),
        ("SETGET k 9", "9..10", 6),
        ("GETDEL k", "11..12", 9),
        ("DEL k", "13..14", 0),
        ("SET k 1", "15..16", "OK"),
        ("DEL k", "17..18", 1),
        ("INCR k", "19..20", 1),
    ],
    "keys apart": [("SET k 1", "1..2", "OK"), ("GET j", "3..4", None)],
    "unknown, then seen": [("SET k 1", "1..", None), ("GET k", "2..3", 1)],
    "unknown, never seen": [("INCR k", "1..", None), ("GET k", "2..3", None)],
    "refused": [("SET k 1", "1..2", REFUSED), ("GET k", "3..4", None)],
}

BAD_REGISTERS: Final[dict[str, History]] = {
    "a stale read": [("SET k 1", "1..2", "OK"), ("GET k", "3..4", None)],
    "an increment done twice": [("INCR k", "1..2", 1), ("GET k", "3..4", 2)],
    "an unknown one done twice": [("INCR k", "1..", None), ("GET k", "3..4", 2)],
    "refused, and seen": [("SET k 1", "1..2", REFUSED), ("GET k", "3..4", 1)],
    "two SET NX": [("SETNX k 1", "1..4", "OK"), ("SETNX k 2", "2..3", "OK")],
    "one value taken twice": [
        ("SET k 1", "1..2", "OK"),
        ("GETDEL k", "3..6", 1),
        ("GETDEL k", "4..5", 1),
    ],
    "a read goes back": [
        ("SET k 1", "1..8", "OK"),
        ("GET k", "2..3", 1),
        ("GET k", "4..5", None),
    ],
}


@pytest.mark.parametrize("history", GOOD_REGISTERS.values(), ids=GOOD_REGISTERS.keys())
def test_registers_that_are_linearizable(history: History) -> None:
    assert registers.check(calls_of(history, access)) == []


@pytest.mark.parametrize("history", BAD_REGISTERS.values(), ids=BAD_REGISTERS.keys())
def test_anomalies_of_registers(history: History) -> None:
    assert names_of(registers.check(calls_of(history, access))) == {"not linearizable"}


# -- the bank --------------------------------------------------------------------------------------

START: Final = Start((10, 10), ((1, 2), ()), ((3,), (4,)))
ENDING: Final = (10, 10)

GOOD_BANK: Final[dict[str, tuple[History, tuple[int, ...]]]] = {
    "transfers": (
        [
            (Transfer(0, 1, 4), "1..4", True),
            (Balances(), "2..3", (10, 10)),
            (Transfer(0, 1, 9), "5..6", False),
            (Transfer(1, 0, 1), "7..8", REFUSED),
            (Balances(), "9..10", (6, 14)),
        ],
        (6, 14),
    ),
    "an unknown transfer that was": ([(Transfer(0, 1, 4), "1..", None)], (6, 14)),
    "an unknown transfer that was not": ([(Transfer(0, 1, 4), "1..", None)], (10, 10)),
    "tokens": (
        [
            (MoveAny(0, 1), "1..2", 1),
            (Places(True), "3..4", ((2,), (1,))),
            (Move(0, 1, 3), "1..2", True),
            (Move(0, 1, 3), "3..4", False),
            (Move(1, 0, 4), "5..", None),
            (Places(False), "6..7", ((), (3, 4))),
            (Places(False), "8..9", ((4,), (3,))),
        ],
        ENDING,
    ),
}

BAD_BANK: Final[dict[str, tuple[str, History, tuple[int, ...]]]] = {
    "half a transfer": ("wrong total", [(Balances(), "1..2", (6, 10))], ENDING),
    "below zero": ("overdrawn", [(Balances(), "1..2", (-1, 21))], ENDING),
    "a lost transfer": ("wrong balance", [(Transfer(0, 1, 4), "1..2", True)], ENDING),
    "a refused transfer": ("wrong balance", [(Transfer(0, 1, 4), "1..2", REFUSED)], (6, 14)),
    "a transfer for nothing": ("wrong balance", [(Transfer(0, 1, 4), "1..2", False)], (6, 14)),
    "an unknown one done twice": ("wrong balance", [(Transfer(0, 1, 4), "1..", None)], (2, 18)),
    "a lost token": ("lost tokens", [(Places(True), "1..2", ((1,), ()))], ENDING),
    "a doubled token": ("doubled tokens", [(Places(True), "1..2", ((1, 2), (1,)))], ENDING),
    "an alien token": ("alien tokens", [(Places(False), "1..2", ((3,), (4, 5)))], ENDING),
    "a lost move": (
        "not linearizable",
        [(Move(0, 1, 3), "1..2", True), (Places(False), "3..4", ((3,), (4,)))],
        ENDING,
    ),
    "a move done by two": (
        "not linearizable",
        [(Move(0, 1, 3), "1..4", True), (Move(0, 1, 3), "2..3", True)],
        ENDING,
    ),
    "a refused move": (
        "not linearizable",
        [(Move(0, 1, 3), "1..2", REFUSED), (Places(False), "3..4", ((), (3, 4)))],
        ENDING,
    ),
}


def check_bank(history: History, ending: tuple[int, ...]) -> list[Anomaly]:
    return bank.check(START, calls_of(history), call_of(-1, Balances(), "100..101", ending))


@pytest.mark.parametrize(("history", "ending"), GOOD_BANK.values(), ids=GOOD_BANK.keys())
def test_banks_that_are_right(history: History, ending: tuple[int, ...]) -> None:
    assert check_bank(history, ending) == []


@pytest.mark.parametrize(("name", "history", "ending"), BAD_BANK.values(), ids=BAD_BANK.keys())
def test_anomalies_of_banks(name: str, history: History, ending: tuple[int, ...]) -> None:
    assert names_of(check_bank(history, ending)) == {name}


# -- sets ------------------------------------------------------------------------------------------

Ending = list[tuple[int, ...]]

GOOD_SETS: Final[dict[str, tuple[History, Ending]]] = {
    "added and moved": (
        [(Add(0, (1, 2)), "1..2", 2), (Shift(0, 1, 1), "3..4", True)],
        [(2,), (1,)],
    ),
    "an unknown addition that was": ([(Add(0, (1,)), "1..", None)], [(1,), ()]),
    "an unknown addition that was not": ([(Add(0, (1,)), "1..", None)], [(), ()]),
    "an unknown move": (
        [(Add(0, (1,)), "1..2", 1), (Shift(0, 1, 1), "3..", None)],
        [(1,), ()],
    ),
    "refused": ([(Add(0, (1,)), "1..2", REFUSED)], [(), ()]),
    "a refused move": (
        [(Add(0, (1,)), "1..2", 1), (Shift(0, 1, 1), "3..4", REFUSED)],
        [(1,), ()],
    ),
}

BAD_SETS: Final[dict[str, tuple[str, History, Ending]]] = {
    "lost": ("lost element", [(Add(0, (1,)), "1..2", 1)], [(), ()]),
    "lost in a move": (
        "lost element",
        [(Add(0, (1,)), "1..2", 1), (Shift(0, 1, 1), "3..", None)],
        [(), ()],
    ),
    "doubled by a move": (
        "doubled element",
        [(Add(0, (1,)), "1..2", 1), (Shift(0, 1, 1), "3..", None)],
        [(1,), (1,)],
    ),
    "a move that was undone": (
        "element out of place",
        [(Add(0, (1,)), "1..2", 1), (Shift(0, 1, 1), "3..4", True)],
        [(1,), ()],
    ),
    "refused, and there": (
        "element out of place",
        [(Add(0, (1,)), "1..2", REFUSED)],
        [(1,), ()],
    ),
    "from nowhere": ("alien element", [], [(7,), ()]),
    "not new": ("wrong reply", [(Add(0, (1,)), "1..2", 0)], [(1,), ()]),
    "not there to be moved": (
        "wrong reply",
        [(Add(0, (1,)), "1..2", 1), (Shift(0, 1, 1), "3..4", False)],
        [(), (1,)],
    ),
}


@pytest.mark.parametrize(("history", "ending"), GOOD_SETS.values(), ids=GOOD_SETS.keys())
def test_sets_that_are_right(history: History, ending: Ending) -> None:
    assert sets.check(calls_of(history), ending) == []


@pytest.mark.parametrize(("name", "history", "ending"), BAD_SETS.values(), ids=BAD_SETS.keys())
def test_anomalies_of_sets(name: str, history: History, ending: Ending) -> None:
    assert names_of(sets.check(calls_of(history), ending)) == {name}


# -- keys ------------------------------------------------------------------------------------------


def owner(key: bytes) -> int:
    return int(key.rpartition(b":")[2]) % 3


def test_keys_make_way_after_their_uses() -> None:
    rotation = Rotation(b"k", owner, 3, 1, 2)
    taken = [tuple(rotation.take(lambda current: [current[1][0]])) for _ in range(5)]
    assert [taken.count(keys) for keys in dict.fromkeys(taken)] == [2, 2, 1]
    assert {owner(key) for (key,) in taken} == {1}
    assert {key for (key,) in taken} <= set(rotation.all)


def test_keys_next_to_each_other_lie_apart() -> None:
    keys = keys_of(b"k", owner, 3, 2)
    assert [owner(key) for key in keys] == [0, 1, 2, 0, 1, 2]
    assert len(set(keys)) == 6
