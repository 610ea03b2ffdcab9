"""A whole Shoal under a seeded scheduler: delays, deaths, crashes, failing disks.

Each seed is one run of support/simulation.py: two to four real workers, six clients, some fifty
commands of all kinds that partitions make difficult. Its history has to be strictly serializable,
and nothing may be left behind. CI runs a fixed number of seeds; any others are run by

    make simulate SEEDS=1000-20000

which sets SHOAL_SEEDS, first and last. A failure prints the shortest run found that fails
(`support/shrink.py`), and the command that repeats it.

The second half breaks one rule at a time, in the code or around it, and expects the same runs to
notice: a simulation that finds nothing proves something only if it can find.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest
from shoal.proto.aof_format import ScanReport
from shoal.proto.messages import LOCK, RELEASED, RELOCK, RUN, SERVE
from shoal.supervisor import recovery
from shoal.supervisor.coordinator import Coordinator
from shoal.supervisor.recovery import decide_live
from shoal.supervisor.steps import Outgoing
from shoal.worker import aof, dispatch
from shoal.worker import main as main_module
from shoal.worker.aof import Segment
from shoal.worker.connection import Block
from shoal.worker.dispatch import Dispatcher
from shoal.worker.keyspace import Gate
from shoal.worker.participant import Done, Part, Participant
from support import simulation
from support.linearizability import Undecided
from support.seeds import blocks, repeat
from support.shrink import shortest
from support.simulated_plan import make_plan
from support.simulation import Simulation, Variant, failure, failure_of

MUTANT_SEEDS: Final = range(1000)  # a broken rule shows within these, at the latest
MAX_UNDECIDED: Final = 8  # of a block of seeds; one or two of a hundred have too many unknowns


pytestmark = pytest.mark.usefixtures("endless")


@pytest.mark.parametrize("seeds", blocks("0-499"), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_histories_are_strictly_serializable(seeds: range) -> None:
    undecided = []
    for seed in seeds:
        with repeat(seed):
            try:
                found = failure_of(seed)
            except Undecided:
                undecided.append(seed)
                continue
            if found is not None:
                pytest.fail(f"{found}\n\n{shortest(seed)}", pytrace=False)
    assert len(undecided) <= MAX_UNDECIDED, undecided


def test_a_seed_gives_the_same_run_every_time() -> None:
    for seed in range(5):
        plan = make_plan(seed)
        assert Simulation(plan, seed).run() == Simulation(plan, seed).run()


def test_the_shortest_run_is_found() -> None:
    """Of the mutant whose fault needs the least: two commands of one client."""
    text = shortest(_first_noticed(PASSES_HOPS), PASSES_HOPS, max_runs=300)
    assert len(re.findall("^client ", text, re.MULTILINE)) <= 2, text
    assert "no faults" in text
    assert "what happened" in text


# -- one rule broken at a time --------------------------------------------------------------------


class ReleasesAtOnce(Participant):
    """Locks are let go when the part has run, not when all parts have."""

    def on_lock(self, ticket: int, part: Part, participants: tuple[int, ...], mode: int) -> Done:
        return self._let_go(super().on_lock(ticket, part, participants, mode))

    def on_release(self, ticket: int) -> Done:
        return self._let_go(super().on_release(ticket)) if ticket in self.busy else []

    def _let_go(self, done: Done) -> Done:
        more: Done = []
        for ticket, _ in done:
            more += self.on_release(ticket)
        return done + more


class TakesLocksInAnyOrder(Participant):
    def on_lock(self, ticket: int, part: Part, participants: tuple[int, ...], mode: int) -> Done:
        self._last_ticket = 0
        return super().on_lock(ticket, part, participants, mode)


class LetsOrdinaryCommandsPass(Participant):
    """Ordinary commands run whatever is locked."""

    def _conflicts(self, *_: object) -> bool:
        return False


class OpenGate(Gate):
    """Fused commands run whatever is locked."""

    def close(self, db: int | None, key: bytes | None, write_only: bool) -> None:
        pass

    def open(self, db: int | None, key: bytes | None, write_only: bool) -> None:
        pass


class IgnoresUnknownReleases(Participant):
    def on_release(self, ticket: int) -> Done:
        return super().on_release(ticket) if ticket in self.busy else []


class AnswersAtTheFirst(Coordinator):
    """The first DONE ends a ticket."""

    def on_done(self, worker: int, number: int, reply: object) -> Outgoing:
        ticket = self._tickets.get(number)
        if ticket is None:
            return []
        for other in ticket.parts:
            ticket.replies.setdefault(other, reply)
        del ticket.replies[worker]
        return super().on_done(worker, number, reply)


def _ready_without(drop: Callable[[tuple[object, ...]], bool]) -> type[Coordinator]:
    class Forgets(Coordinator):
        def on_worker_ready(self, worker: int, logged: Mapping[int, object]) -> Outgoing:
            out = super().on_worker_ready(worker, logged)
            return [(to, message) for to, message in out if to != worker or not drop(message)]

    return Forgets


class RunsAgain(Coordinator):
    """A part runs again after a death, although the log holds it."""

    def on_worker_ready(self, worker: int, logged: Mapping[int, object]) -> Outgoing:
        out = super().on_worker_ready(worker, logged)
        return [
            (to, (*message[:-1], RUN) if to == worker and message[0] == LOCK else message)
            for to, message in out
        ]


class PassesItsHops(Dispatcher):
    """The barrier, in front: a spanning command does not wait for its client's earlier hops."""

    def _ahead(self, conn: Any, span: Callable[[], Any]) -> Any:
        waiting, conn.waiting = conn.waiting, 0
        try:
            return span()
        finally:
            conn.waiting += waiting

    def _span(self, conn: Any, *args: Any) -> bool:
        return bool(self._ahead(conn, lambda: super(PassesItsHops, self)._span(conn, *args)))

    def _borrow(self, conn: Any, *args: Any) -> bool:
        return bool(self._ahead(conn, lambda: super(PassesItsHops, self)._borrow(conn, *args)))


class WaitsForNoSpan(Dispatcher):
    """The barrier, behind: a client's next commands do not wait for its spanning one."""

    def _span(self, conn: Any, *args: Any) -> bool:
        super()._span(conn, *args)
        if conn.blocked is Block.REPLY and not conn.retry:
            conn.blocked = Block.NOTHING
        return bool(conn.blocked)


class AppliesAgain(Coordinator):
    """What a worker's log holds already is sent to it once more."""

    def on_worker_ready(self, worker: int, logged: Mapping[int, object]) -> Outgoing:
        return super().on_worker_ready(worker, {})


class ForgetsEffects(Coordinator):
    """A worker that dies before it has logged its effects does not get them again."""

    def on_worker_ready(self, worker: int, logged: Mapping[int, object]) -> Outgoing:
        left = {
            number: b""
            for number, ticket in self._tickets.items()
            if ticket.steps is not None and worker in (ticket.steps._left or ())
        }
        return super().on_worker_ready(worker, {**logged, **left})


class AnswersBeforeItIsLogged(Coordinator):
    """A command ends as soon as it has run."""

    def on_ran(self, worker: int, number: int, attempt: int, replies: list[object]) -> Outgoing:
        self._steps(self._tickets[number])._told.clear()
        return super().on_ran(worker, number, attempt, replies)


def may_run(_: Dispatcher, watcher: int, watched: int) -> bool:
    return True


def no_release_line(_: Segment, ticket: int) -> None:
    pass


class HoldsNothing(simulation.Segment):
    """Acknowledgements leave before what they acknowledge is durable."""

    def flush(self, now_ms: int) -> bool:
        super().flush(now_ms)
        return True


def participant(broken: type[Participant]) -> tuple[object, str, object]:
    return dispatch, "Participant", broken


NOT_SERIALIZABLE: Final = "not strictly serializable"
NO_OUTCOME: Final = "no outcome|still busy"
LOG_RULE: Final = "logs .* before #REL|lacks the #REL"
DEPENDS: Final = "depends on what was lost|stays, though it is skipped"
OPEN_GATE: Final = (
    (Gate, "close", OpenGate.close),
    (Gate, "open", OpenGate.open),
)
PASSES_HOPS: Final = Variant(patches=((main_module, "Dispatcher", PassesItsHops),))

# What is broken, and what at least one of the seeds must say.
MUTANTS: Final[dict[str, tuple[Variant, str]]] = {
    "locks are released once the part has run": (
        Variant(patches=(participant(ReleasesAtOnce),)),
        NOT_SERIALIZABLE,
    ),
    "LOCKs are not sent in ticket order": (
        Variant(patches=(participant(TakesLocksInAnyOrder),), shuffle_locks=True),
        NO_OUTCOME,
    ),
    "LOCKs come out of order, and the participant notices": (
        Variant(shuffle_locks=True),
        r"ticket \d+ after \d+",
    ),
    "a spanning command passes its client's hops": (PASSES_HOPS, NOT_SERIALIZABLE),
    "a client's commands pass its spanning one": (
        Variant(patches=((main_module, "Dispatcher", WaitsForNoSpan),)),
        NOT_SERIALIZABLE,
    ),
    "a restarted worker serves before it has its locks": (Variant(serve_early=True), LOG_RULE),
    "a restarted worker takes no locks again": (
        Variant(
            coordinator=_ready_without(lambda m: m[0] == LOCK and m[-1] == RELOCK),
            patches=(participant(IgnoresUnknownReleases),),
            trust_logs=True,
        ),
        "",
    ),
    "a part lost in a death does not run again": (
        Variant(coordinator=_ready_without(lambda m: m[0] == LOCK and m[-1] == RUN)),
        NO_OUTCOME,
    ),
    "a part that is logged runs again": (
        Variant(coordinator=RunsAgain),
        "AssertionError|KeyError",  # an answer that nobody waits for
    ),
    "a restarted worker is not told to serve": (
        Variant(coordinator=_ready_without(lambda m: m[0] == SERVE)),
        NO_OUTCOME,
    ),
    "tickets that ended meanwhile get no #REL": (
        Variant(coordinator=_ready_without(lambda m: m[0] == RELEASED)),
        LOG_RULE,
    ),
    "the first answer ends a ticket": (
        Variant(coordinator=AnswersAtTheFirst),
        NOT_SERIALIZABLE,
    ),
    "ordinary commands pass locks": (
        Variant(patches=(participant(LetsOrdinaryCommandsPass), *OPEN_GATE), trust_logs=True),
        NOT_SERIALIZABLE,
    ),
    "fused commands pass locks": (Variant(patches=OPEN_GATE, trust_logs=True), NOT_SERIALIZABLE),
    "acknowledgements do not wait for the log": (
        Variant(patches=((aof, "Segment", HoldsNothing),)),
        NOT_SERIALIZABLE,
    ),
    "releases are not logged": (Variant(patches=((Segment, "release", no_release_line),)), ""),
    "effects are applied again": (Variant(coordinator=AppliesAgain), ""),
    "effects are not sent again": (Variant(coordinator=ForgetsEffects), ""),
    "a command is answered before it is logged": (Variant(coordinator=AnswersBeforeItIsLogged), ""),
    "EXEC does not look at what is watched": (
        Variant(patches=((Dispatcher, "_may_run", may_run),)),
        NOT_SERIALIZABLE,
    ),
}


# Broken rules that matter seldom: what the plans get more of.
MORE: Final[dict[str, dict[str, Any]]] = {
    "effects are not sent again": {"deaths": 8, "death_rate": 0.2},
    "acknowledgements do not wait for the log": {"policy": "always", "crashes": 4, "power": 1.0},
}


def is_noticed(variant: Variant, expected: str, more: Mapping[str, Any]) -> bool:
    """Tell whether one of the seeds fails as expected."""
    return any(_says(seed, variant, expected, more) for seed in MUTANT_SEEDS)


def _says(seed: int, variant: Variant, expected: str, more: Mapping[str, Any]) -> bool:
    try:
        text = failure(replace(make_plan(seed), **more), seed, variant)
    except Undecided:
        return False
    return text is not None and re.search(expected, text) is not None


def _first_noticed(variant: Variant) -> int:
    return next(seed for seed in MUTANT_SEEDS if _says(seed, variant, NOT_SERIALIZABLE, {}))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_noticed(name: str) -> None:
    variant, expected = MUTANTS[name]
    assert is_noticed(variant, expected, MORE.get(name, {}))


def _no_cut(_: object, __: object, end: int) -> int:
    return end


def _none_missing(_: object, __: object) -> set[int]:
    return set()


def _forgets_skipped(index: int, report: ScanReport, _: object = ()) -> recovery.SegmentPlan:
    return decide_live(index, report)


def _first_ticket_again(_: object, __: object) -> int:
    return 1


RECOVERY_MUTANTS: Final = {
    "segments are not cut at the #REL of an incomplete ticket": (
        "_first_release",
        _no_cut,
        DEPENDS,
    ),
    "incomplete tickets are not skipped": ("_missing", _none_missing, "half of"),
    "a lone restart forgets what was skipped": ("decide_live", _forgets_skipped, ""),
    "tickets are given again after a start": ("next_ticket", _first_ticket_again, ""),
}


@pytest.mark.parametrize(
    ("name", "broken", "expected"), RECOVERY_MUTANTS.values(), ids=RECOVERY_MUTANTS.keys()
)
def test_a_broken_recovery_is_noticed(
    name: str, broken: object, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, name, broken)
    assert is_noticed(Variant(), expected, {})
