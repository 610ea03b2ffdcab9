"""The sequencer: events in, messages out, as tables; and what is left when a run ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from shoal.proto.messages import (
    ANSWER,
    APPLY,
    EXECUTE,
    LEND,
    LOAN,
    LOCK,
    MORE,
    REFUSE,
    RELEASE,
    RELEASED,
    RELOCK,
    RUN,
    SERVE,
    SUPERVISOR,
    Message,
)
from shoal.supervisor import coordinator as coordinator_module
from shoal.supervisor.coordinator import Coordinator
from shoal.supervisor.steps import Outgoing

Sent = list[tuple[int, Message]]
Event = Callable[[Coordinator], Outgoing]


def span(home: int, ref: int, *workers: int, write: bool = True) -> Event:
    """A home's command, with a part for each of the workers."""
    return lambda c: c.on_span(home, ref, {worker: blob(worker) for worker in workers}, write)


def done(worker: int, ticket: int, reply: object) -> Event:
    return lambda c: c.on_done(worker, ticket, reply)


def held(worker: int, ticket: int) -> Event:
    def event(coordinator: Coordinator) -> Outgoing:
        coordinator.on_held(worker, ticket)
        return []

    return event


def settled(worker: int, ticket: int) -> Event:
    return lambda c: c.on_settled(worker, ticket)


def lost(worker: int) -> Event:
    return lambda c: c.on_worker_lost(worker)


def overdue(worker: int) -> Event:
    return lambda c: c.on_deadline(worker)


def ready(worker: int, **logged: object) -> Event:
    """A worker that has loaded; `t7=reply` is a part that its log holds without #REL."""
    return lambda c: c.on_worker_ready(worker, {int(t[1:]): r for t, r in logged.items()})


def disk(worker: int, ok: bool, text: bytes = b"MISCONF full") -> Event:
    return lambda c: c.on_disk_state(worker, ok, text)


def blob(worker: int) -> bytes:
    return b"part %d" % worker


def lock(worker: int, ticket: int, everyone: tuple[int, ...], mode: int = RUN) -> Any:
    return worker, (LOCK, ticket, blob(worker), everyone, mode)


def relock(worker: int, ticket: int, everyone: tuple[int, ...]) -> Any:
    return lock(worker, ticket, everyone, RELOCK)


def release(worker: int, ticket: int) -> Any:
    return worker, (RELEASE, ticket)


def answer(home: int, ref: int, **replies: object) -> Any:
    return home, (ANSWER, ref, {int(worker[1:]): reply for worker, reply in replies.items()})


def refuse(home: int, ref: int, text: bytes) -> Any:
    return home, (REFUSE, ref, text)


def released(worker: int, *tickets: int) -> Any:
    return worker, (RELEASED, tickets)


def serve(worker: int) -> Any:
    return worker, (SERVE,)


def borrow(home: int, ref: int, executor: int, *workers: int) -> Event:
    """A home's borrowing command."""
    lenders = tuple(one for one in workers if one != executor)
    steps = [(executor, lenders, None, 1)]
    return lambda c: c.on_span(home, ref, {one: blob(one) for one in workers}, True, steps)


def lent(worker: int, ticket: int, attempt: int, chunk: bytes = b"", last: bool = True) -> Event:
    return lambda c: c.on_lent(worker, ticket, attempt, chunk, last)


def took(ticket: int, attempt: int, lender: int) -> Event:
    return lambda c: c.on_took(ticket, attempt, lender)


def forget(home: int, ref: int) -> Event:
    return lambda c: c.on_forget(home, ref)


def effect(worker: int, ticket: int, attempt: int, whose: int, chunk: bytes) -> Event:
    return lambda c: c.on_effect(worker, ticket, attempt, whose, chunk)


def ran(worker: int, ticket: int, attempt: int, reply: object) -> Event:
    return lambda c: c.on_ran(worker, ticket, attempt, [reply])


def apply_more(worker: int, ticket: int) -> Event:
    return lambda c: c.on_apply_more(worker, ticket)


def loan(executor: int, ticket: int, attempt: int, lender: int, chunk: bytes, last: bool) -> Any:
    return executor, (LOAN, ticket, attempt, lender, chunk, last)


def execute(executor: int, ticket: int, attempt: int, what: bytes | None = None) -> Any:
    return executor, (EXECUTE, ticket, attempt, what)


def more(worker: int, ticket: int, attempt: int) -> Any:
    return worker, (MORE, ticket, attempt)


def apply(worker: int, ticket: int, everyone: tuple[int, ...], chunk: bytes, last: bool) -> Any:
    return worker, (APPLY, ticket, everyone, chunk, last)


def lend(worker: int, ticket: int, attempt: int, what: bytes | None = None) -> Any:
    return worker, (LEND, ticket, attempt, what)


DOWN_1: Final = b"TRYAGAIN worker 1 is down"

# Three workers that serve; the first ticket is 5. (event, what is sent), in order. What is left of
# the tickets at the end stands behind.
RUNS: Final[dict[str, tuple[list[tuple[Event, Sent]], int]]] = {
    "one command": (
        [
            (span(2, 9, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
            (done(1, 5, b"y"), []),
            (
                done(0, 5, b"x"),
                [answer(2, 9, w0=b"x", w1=b"y"), release(0, 5), release(1, 5)],
            ),
        ],
        0,
    ),
    "two, the second is ready first": (
        [
            (span(0, 1, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
            (span(1, 1, 1, 2), [lock(1, 6, (1, 2)), lock(2, 6, (1, 2))]),
            (done(2, 6, 2), []),
            (done(1, 6, 1), [answer(1, 1, w2=2, w1=1), release(1, 6), release(2, 6)]),
        ],
        1,
    ),
    "the supervisor takes part": (
        [
            (
                span(0, 1, 0, SUPERVISOR, write=False),
                [lock(0, 5, (0, SUPERVISOR)), lock(SUPERVISOR, 5, (0, SUPERVISOR))],
            ),
            (done(SUPERVISOR, 5, b"s"), []),
            (
                done(0, 5, b"x"),
                [
                    (0, (ANSWER, 1, {0: b"x", SUPERVISOR: b"s"})),
                    release(0, 5),
                    release(SUPERVISOR, 5),
                ],
            ),
        ],
        0,
    ),
    "a home dies: the command runs on, nobody is told": (
        [
            (span(2, 9, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
            (lost(2), []),
            (ready(2), [serve(2)]),
            (done(0, 5, 0), []),
            (done(1, 5, 1), [release(0, 5), release(1, 5)]),
        ],
        0,
    ),
    "dead before it ran: its successor runs the part": (
        [
            (span(0, 1, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
            (done(0, 5, 0), []),
            (lost(1), []),
            (ready(1), [lock(1, 5, (0, 1)), serve(1)]),
            (done(1, 5, 1), [answer(0, 1, w0=0, w1=1), release(0, 5), release(1, 5)]),
        ],
        0,
    ),
    "dead after it logged, its DONE lost, others missing: locks again": (
        [
            (span(0, 1, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
            (lost(1), []),
            (ready(1, t5=b":1\r\n"), [relock(1, 5, (0, 1)), serve(1)]),
            (
                done(0, 5, b":0\r\n"),
                [answer(0, 1, w1=b":1\r\n", w0=b":0\r\n"), release(0, 5), release(1, 5)],
            ),
        ],
        0,
    ),
    "dead after it logged, its DONE lost, it was the last: the ticket ends": (
        [
            (span(0, 1, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
            (done(0, 5, 0), []),
            (lost(1), []),
            (
                ready(1, t5=1),
                [released(1, 5), serve(1), answer(0, 1, w0=0, w1=1), release(0, 5)],
            ),
        ],
        0,
    ),
    "dead after its DONE: locks again, the answer stands": (
        [
            (span(0, 1, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
            (done(1, 5, 1), []),
            (lost(1), []),
            (ready(1, t5=1), [relock(1, 5, (0, 1)), serve(1)]),
            (done(0, 5, 0), [answer(0, 1, w1=1, w0=0), release(0, 5), release(1, 5)]),
        ],
        0,
    ),
    "a read that answered is not run again": (
        [
            (span(0, 1, 0, 1, write=False), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
            (done(1, 5, 1), []),
            (lost(1), []),
            (ready(1), [relock(1, 5, (0, 1)), serve(1)]),
        ],
        1,
    ),
    "dead between the end of a ticket and its #REL": (
        [
            (span(0, 1, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
            (done(0, 5, 0), []),
            (done(1, 5, 1), [answer(0, 1, w0=0, w1=1), release(0, 5), release(1, 5)]),
            (lost(1), []),
            (ready(1, t5=1), [released(1, 5), serve(1)]),
        ],
        0,
    ),
    "a ticket ends while a worker that answered is down: #REL at its return": (
        [
            (span(0, 1, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
            (done(1, 5, 1), []),
            (lost(1), []),
            (done(0, 5, 0), [answer(0, 1, w1=1, w0=0), release(0, 5)]),
            (ready(1, t5=1), [released(1, 5), serve(1)]),
        ],
        0,
    ),
    "commands for a worker that is down wait for it, in order": (
        [
            (lost(1), []),
            (span(0, 1, 0, 1), [lock(0, 5, (0, 1))]),
            (span(2, 1, 1, 2), [lock(2, 6, (1, 2))]),
            (span(2, 2, 0, 2), [lock(0, 7, (0, 2)), lock(2, 7, (0, 2))]),
            (ready(1), [lock(1, 5, (0, 1)), lock(1, 6, (1, 2)), serve(1)]),
        ],
        3,
    ),
    "RELEASED first, then all LOCKs by ticket, then SERVE": (
        [
            (span(0, 1, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
            (span(0, 2, 1, 2), [lock(1, 6, (1, 2)), lock(2, 6, (1, 2))]),
            (span(0, 3, 0, 1), [lock(0, 7, (0, 1)), lock(1, 7, (0, 1))]),
            (done(1, 6, 1), []),
            (lost(1), []),
            (
                ready(1, t2=0, t3=0, t5=b"x"),
                [
                    released(1, 2, 3),
                    relock(1, 5, (0, 1)),
                    relock(1, 6, (1, 2)),
                    lock(1, 7, (0, 1)),
                    serve(1),
                ],
            ),
        ],
        3,
    ),
    "dead twice": (
        [
            (span(0, 1, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
            (lost(1), []),
            (ready(1), [lock(1, 5, (0, 1)), serve(1)]),
            (lost(1), []),
            (ready(1, t5=1), [relock(1, 5, (0, 1)), serve(1)]),
        ],
        1,
    ),
    "home and participant at once": (
        [
            (span(1, 1, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
            (done(0, 5, 0), []),
            (lost(1), []),
            (ready(1, t5=1), [released(1, 5), serve(1), release(0, 5)]),
        ],
        0,
    ),
    "overdue: new commands are refused, those with a ticket wait": (
        [
            (lost(1), []),
            (span(0, 1, 0, 1), [lock(0, 5, (0, 1))]),
            (overdue(1), []),
            (span(0, 2, 0, 1), [refuse(0, 2, DOWN_1)]),
            (span(0, 3, 0, 2), [lock(0, 6, (0, 2)), lock(2, 6, (0, 2))]),
            (ready(1), [lock(1, 5, (0, 1)), serve(1)]),
            (span(0, 4, 0, 1), [lock(0, 7, (0, 1)), lock(1, 7, (0, 1))]),
        ],
        3,
    ),
    "a deadline that comes late is nothing": (
        [
            (lost(1), []),
            (ready(1), [serve(1)]),
            (overdue(1), []),
            (span(0, 1, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
        ],
        1,
    ),
    "a disk that fails refuses writes": (
        [
            (disk(1, ok=False), []),
            (span(0, 1, 0, 1), [refuse(0, 1, b"MISCONF full")]),
            (span(0, 2, 0, 2), [lock(0, 5, (0, 2)), lock(2, 5, (0, 2))]),
            (span(0, 3, 0, 1, write=False), [lock(0, 6, (0, 1)), lock(1, 6, (0, 1))]),
            (disk(1, ok=True), []),
            (span(0, 4, 0, 1), [lock(0, 7, (0, 1)), lock(1, 7, (0, 1))]),
        ],
        3,
    ),
    "a failing disk goes with its worker": (
        [
            (disk(1, ok=False), []),
            (lost(1), []),
            (span(0, 1, 0, 1), [lock(0, 5, (0, 1))]),
        ],
        1,
    ),
}


BOTH: Final = (0, 1)
# Ticket 5 of home 2, run by worker 0 over what worker 1 lends.
BEGUN: Final[list[tuple[Event, Sent]]] = [
    (borrow(2, 9, 0, 0, 1), [lock(0, 5, BOTH), lock(1, 5, BOTH)]),
    (lent(0, 5, 0), []),
]
LENT_ALL: Final[list[tuple[Event, Sent]]] = [
    *BEGUN,
    (lent(1, 5, 0, b"v"), [loan(0, 5, 0, 1, b"v", True), execute(0, 5, 0)]),
]
DECIDED: Final[list[tuple[Event, Sent]]] = [
    *LENT_ALL,
    (effect(0, 5, 0, 0, b"x"), [more(0, 5, 0)]),
    (effect(0, 5, 0, 1, b"y"), [more(0, 5, 0)]),
    (ran(0, 5, 0, b"r"), [apply(0, 5, BOTH, b"", True), apply(1, 5, BOTH, b"y", True)]),
]
ENDED: Final = [answer(2, 9, w2=[b"r"]), release(0, 5), release(1, 5)]
AGAIN: Final[list[tuple[Event, Sent]]] = [
    (took(5, 0, 1), []),
    (lent(1, 5, 0, b"late", last=False), []),
    (lent(1, 5, 1, b"v"), [loan(0, 5, 1, 1, b"v", True), execute(0, 5, 1)]),
    (ran(0, 5, 1, b"r"), ENDED),
]
BORROWING: Final[dict[str, tuple[list[tuple[Event, Sent]], int]]] = {
    "it changes nothing": ([*LENT_ALL, (ran(0, 5, 0, b"r"), ENDED)], 0),
    "it changes both": ([*DECIDED, (done(1, 5, b""), []), (done(0, 5, b""), ENDED)], 0),
    "it changes one, whose log names that one": (
        [
            *LENT_ALL,
            (effect(0, 5, 0, 1, b"y"), [more(0, 5, 0)]),
            (ran(0, 5, 0, b"r"), [apply(1, 5, (1,), b"y", True)]),
            (done(1, 5, b""), ENDED),
        ],
        0,
    ),
    "in pieces": (
        [
            *BEGUN,
            (lent(1, 5, 0, b"v1", last=False), [loan(0, 5, 0, 1, b"v1", False)]),
            (took(5, 0, 1), [more(1, 5, 0)]),
            (lent(1, 5, 0, b"v2"), [loan(0, 5, 0, 1, b"v2", True), execute(0, 5, 0)]),
            (effect(0, 5, 0, 1, b"y1"), [more(0, 5, 0)]),
            (effect(0, 5, 0, 1, b"y2"), [more(0, 5, 0)]),
            (ran(0, 5, 0, b"r"), [apply(1, 5, (1,), b"y1", False)]),
            (apply_more(1, 5), [apply(1, 5, (1,), b"y2", True)]),
            (done(1, 5, b""), ENDED),
        ],
        0,
    ),
    "the executor dies while it is lent to": (
        [
            *BEGUN,
            (lost(0), []),
            (lent(1, 5, 0, b"v"), []),
            (ready(0), [relock(0, 5, BOTH), serve(0), lend(1, 5, 1)]),
            *AGAIN,
        ],
        0,
    ),
    "the executor dies as it runs, some effects told": (
        [
            *LENT_ALL,
            (effect(0, 5, 0, 1, b"y"), [more(0, 5, 0)]),
            (lost(0), []),
            (ready(0), [relock(0, 5, BOTH), serve(0), lend(1, 5, 1)]),
            *AGAIN,
        ],
        0,
    ),
    "a lender dies before it has lent all": (
        [
            *BEGUN,
            (lent(1, 5, 0, b"v1", last=False), [loan(0, 5, 0, 1, b"v1", False)]),
            (lost(1), []),
            (took(5, 0, 1), []),
            (ready(1), [relock(1, 5, BOTH), serve(1), lend(1, 5, 1)]),
            *AGAIN,
        ],
        0,
    ),
    "the executor dies before it was lent all": (
        [
            *BEGUN,
            (lent(1, 5, 0, b"v1", last=False), [loan(0, 5, 0, 1, b"v1", False)]),
            (lost(0), []),
            (ready(0), [relock(0, 5, BOTH), serve(0), lend(1, 5, 1)]),
            *AGAIN,
        ],
        0,
    ),
    "a lender dies when it has lent all": (
        [
            *LENT_ALL,
            (lost(1), []),
            (ready(1), [relock(1, 5, BOTH), serve(1)]),
            (ran(0, 5, 0, b"r"), ENDED),
        ],
        0,
    ),
    "dead before its effects were logged": (
        [
            *DECIDED,
            (lost(0), []),
            (done(1, 5, b""), []),
            (ready(0), [relock(0, 5, BOTH), serve(0), apply(0, 5, BOTH, b"x", True)]),
            (done(0, 5, b""), ENDED),
        ],
        0,
    ),
    "dead after they were logged, DONE lost": (
        [
            *DECIDED,
            (lost(1), []),
            (ready(1, t5=b""), [relock(1, 5, BOTH), serve(1)]),
            (done(0, 5, b""), ENDED),
        ],
        0,
    ),
    "the same, and it was the last": (
        [
            *DECIDED,
            (done(0, 5, b""), []),
            (lost(1), []),
            (
                ready(1, t5=b""),
                [released(1, 5), serve(1), answer(2, 9, w2=[b"r"]), release(0, 5)],
            ),
        ],
        0,
    ),
    "dead as the effects were due: they are sent at its return": (
        [
            *LENT_ALL,
            (effect(0, 5, 0, 1, b"y"), [more(0, 5, 0)]),
            (lost(1), []),
            (ran(0, 5, 0, b"r"), []),
            (ready(1), [relock(1, 5, BOTH), serve(1), apply(1, 5, (1,), b"y", True)]),
            (done(1, 5, b""), ENDED),
        ],
        0,
    ),
    "given up while it is lent to again": (
        [
            *BEGUN,
            (lent(1, 5, 0, b"v1", last=False), [loan(0, 5, 0, 1, b"v1", False)]),
            (lost(1), []),
            (ready(1), [relock(1, 5, BOTH), serve(1), lend(1, 5, 1)]),
            (forget(2, 9), [(2, (ANSWER, 9, {2: None})), release(0, 5), release(1, 5)]),
            (lent(1, 5, 1, b"v"), []),
            (took(5, 0, 1), []),
        ],
        0,
    ),
    "the home dies: it runs on": (
        [
            *LENT_ALL,
            (lost(2), []),
            (ready(2), [serve(2)]),
            (ran(0, 5, 0, b"r"), [release(0, 5), release(1, 5)]),
        ],
        0,
    ),
}


@pytest.mark.parametrize(
    ("run", "left"), [*RUNS.values(), *BORROWING.values()], ids=[*RUNS, *BORROWING]
)
def test_runs(run: list[tuple[Event, Sent]], left: int) -> None:
    coordinator = serving(3)
    for step, (event, expected) in enumerate(run):
        assert event(coordinator) == expected, f"step {step}"
    assert coordinator.in_flight == left
    assert (coordinator.in_flight_bytes > 0) == (left > 0)


def serving(workers: int, next_ticket: int = 5) -> Coordinator:
    coordinator = Coordinator(workers, next_ticket)
    for worker in range(workers):
        assert coordinator.on_worker_ready(worker, {}) == [serve(worker)]
    return coordinator


ENDED_HELD: Final[list[tuple[Event, Sent]]] = [
    (span(2, 9, 0, 1), [lock(0, 5, (0, 1)), lock(1, 5, (0, 1))]),
    (held(0, 5), []),
    (done(0, 5, b"x"), []),
    (held(1, 5), []),
    (done(1, 5, b"y"), [release(0, 5), release(1, 5)]),
]
ANSWERED: Final = answer(2, 9, w0=b"x", w1=b"y")
HELD_RUNS: Final[dict[str, list[tuple[Event, Sent]]]] = {
    "both settle": [(settled(1, 5), []), (settled(0, 5), [ANSWERED]), (settled(0, 5), [])],
    "one dies": [(settled(1, 5), []), (lost(0), [ANSWERED])],
    "one dies, then the other settles": [(lost(0), []), (settled(1, 5), [ANSWERED])],
    "the home dies": [(lost(2), []), (settled(0, 5), []), (settled(1, 5), [])],
}


@pytest.mark.parametrize("run", HELD_RUNS.values(), ids=HELD_RUNS.keys())
def test_a_held_answer(run: list[tuple[Event, Sent]]) -> None:
    """The locks go when the ticket ends; the answer when nobody holds it."""
    coordinator = serving(3)
    for step, (event, expected) in enumerate([*ENDED_HELD, *run]):
        assert event(coordinator) == expected, f"step {step}"
    assert coordinator.in_flight == 0
    assert not coordinator._held


def test_what_has_settled_before_the_end_is_answered_with_it() -> None:
    coordinator = serving(3)
    for event, expected in (*ENDED_HELD[:4], (settled(0, 5), []), (lost(1), [])):
        assert event(coordinator) == expected
    end = [ANSWERED, release(0, 5)]
    assert ready(1, t5=b"y")(coordinator) == [released(1, 5), serve(1), *end]


def test_before_the_first_start_all_are_down() -> None:
    coordinator = Coordinator(2, 8)
    assert span(0, 1, 0, 1)(coordinator) == []
    assert ready(0)(coordinator) == [lock(0, 8, (0, 1)), serve(0)]
    assert ready(1, t3=b"+OK\r\n")(coordinator) == [
        released(1, 3),
        lock(1, 8, (0, 1)),
        serve(1),
    ]
    assert coordinator.next_ticket == 9


def test_tickets_in_flight_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator_module, "MAX_TICKETS", 2)
    coordinator = serving(2)
    span(0, 1, 0, 1)(coordinator)
    span(0, 2, 0, 1)(coordinator)
    refusal = refuse(0, 3, b"TRYAGAIN too many spanning commands")
    assert span(0, 3, 0, 1)(coordinator) == [refusal]
    assert coordinator.next_ticket == 7, "a refused command gets no ticket"
    done(0, 5, 0)(coordinator)
    done(1, 5, 0)(coordinator)
    assert span(0, 4, 0, 1)(coordinator) == [lock(0, 7, (0, 1)), lock(1, 7, (0, 1))]


def test_bytes_in_flight_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator_module, "MAX_TICKET_BYTES", 20)
    coordinator = serving(2)
    large = {0: bytes(15), 1: bytes(15)}
    assert len(coordinator.on_span(0, 1, dict(large), True)) == 2, "alone it is let in"
    assert coordinator.in_flight_bytes == 30
    assert coordinator.on_span(0, 2, {0: b"", 1: b"x"}, True)[0][1][0] == REFUSE
    done(0, 5, 0)(coordinator)
    done(1, 5, 0)(coordinator)
    assert coordinator.in_flight_bytes == 0
    coordinator.on_span(0, 3, {0: bytes(10), 1: b""}, True)
    assert coordinator.on_span(0, 4, {0: bytes(10), 1: b""}, True)[0][1][0] == LOCK
    assert coordinator.on_span(0, 5, {0: b"x", 1: b""}, True)[0][1][0] == REFUSE
    assert coordinator.in_flight_bytes == 20


# Our bugs, or a worker's: the supervisor must die of them, not go on.
WRONG: Final[dict[str, tuple[list[Event], type[Exception]]]] = {
    "an answer to nothing": ([done(0, 5, 0)], KeyError),
    "a second answer": ([span(0, 1, 0, 1), done(0, 5, 0), done(0, 5, 0)], AssertionError),
    "an answer of a stranger": ([span(0, 1, 0, 1), done(2, 5, 0)], AssertionError),
    "an answer after the end": (
        [span(0, 1, 0, 1), done(0, 5, 0), done(1, 5, 0), done(1, 5, 0)],
        KeyError,
    ),
    "ready without having been down": ([ready(0)], KeyError),
    "a ticket in a log that was never given": ([lost(0), ready(0, t5=1)], AssertionError),
    "a command without parts": ([span(0, 1)], AssertionError),
}


@pytest.mark.parametrize(("events", "error"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_raises(events: list[Event], error: type[Exception]) -> None:
    coordinator = serving(3)
    *before, last = events
    for event in before:
        event(coordinator)
    with pytest.raises(error):
        last(coordinator)


def test_the_first_ticket_is_positive() -> None:
    with pytest.raises(AssertionError):
        Coordinator(1, 0)
