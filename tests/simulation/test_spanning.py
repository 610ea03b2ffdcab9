"""Spanning commands under a seeded scheduler: delays, deaths, crashes, failing disks.

Each seed is one run of support/simulation.py: two to four workers, six clients, some forty
commands. Its history has to be strictly serializable, and nothing may be left behind. CI runs a
fixed number of seeds; any others are run by

    make simulate SEEDS=1000-20000

which sets SHOAL_SEEDS, first and last. A failure prints the history, and the command that repeats
it.

The second half breaks one rule at a time, in the code or around it, and expects the same runs to
notice: a simulation that finds nothing proves something only if it can find.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import pytest
from shoal.proto.aof_format import ScanReport
from shoal.proto.messages import LOCK, RELEASED, RELOCK, RUN, SERVE
from shoal.supervisor import recovery
from shoal.supervisor.coordinator import Coordinator
from shoal.supervisor.recovery import decide_live
from shoal.supervisor.steps import Outgoing
from shoal.worker.aof import Segment
from shoal.worker.participant import Done, Part, Participant
from support.seeds import blocks, repeat
from support.simulated_worker import CountingGate
from support.simulation import Simulation, Variant, failure

MUTANT_SEEDS: Final = range(1000)  # a broken rule shows within these, at the latest


@pytest.mark.parametrize("seeds", blocks("0-1999"), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_histories_are_strictly_serializable(seeds: range) -> None:
    for seed in seeds:
        with repeat(seed):
            found = failure(seed)
            assert found is None, found


def test_a_seed_gives_the_same_run_every_time() -> None:
    for seed in range(5):
        assert Simulation(seed).run() == Simulation(seed).run()


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


class OpenGate(CountingGate):
    def lets(self, db: int, keys: tuple[bytes, ...], write: bool) -> bool:
        return True


class IgnoresUnknownReleases(Participant):
    def on_release(self, ticket: int) -> Done:
        return super().on_release(ticket) if ticket in self.busy else []


class ReadersPassWaitingWriters(Participant):
    """A reader that comes after a waiting writer runs before it."""

    def _conflicts(self, db: int | None, keys: Sequence[bytes] | None, write: bool) -> bool:
        waits = super()._conflicts(db, keys, write)
        return waits and (write or any(c.write and not c.waits for c in self.busy.values()))


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


def never(_: bool) -> bool:
    return False


def no_release_lines(_: Segment) -> Callable[[int], None]:
    return lambda ticket: None


NOT_SERIALIZABLE: Final = "not strictly serializable"
NO_OUTCOME: Final = "no outcome|still busy"
LOG_RULE: Final = "logs .* before #REL"
DEPENDS: Final = "depends on what was lost"

# What is broken, and what at least one of the seeds must say.
MUTANTS: Final = {
    "locks are released once the part has run": (
        Variant(participant=ReleasesAtOnce),
        NOT_SERIALIZABLE,
    ),
    "LOCKs are not sent in ticket order": (
        Variant(participant=TakesLocksInAnyOrder, shuffle_locks=True),
        NO_OUTCOME,
    ),
    "LOCKs come out of order, and the participant notices": (
        Variant(shuffle_locks=True),
        r"ticket \d+ after \d+",
    ),
    "a restarted worker serves before it has its locks": (
        Variant(serve_early=True, trust_logs=True),
        NOT_SERIALIZABLE,
    ),
    "and the log's rule is broken by that": (Variant(serve_early=True), LOG_RULE),
    "a restarted worker takes no locks again": (
        Variant(
            coordinator=_ready_without(lambda m: m[0] == LOCK and m[-1] == RELOCK),
            participant=IgnoresUnknownReleases,
            trust_logs=True,
        ),
        NOT_SERIALIZABLE,
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
        Variant(participant=LetsOrdinaryCommandsPass, gate=OpenGate, trust_logs=True),
        NOT_SERIALIZABLE,
    ),
    "readers pass waiting writers": (
        Variant(participant=ReadersPassWaitingWriters),
        "gate says",
    ),
    "the gate is open over locks": (Variant(gate=OpenGate), "gate says True, locks False"),
    "acknowledgements do not wait for the log": (Variant(hold=never), "acknowledged and lost"),
    "releases are not logged": (Variant(release_of=no_release_lines), DEPENDS),
}


def is_noticed(variant: Variant, expected: str) -> bool:
    """Tell whether one of the seeds fails as expected."""
    found = (failure(seed, variant) or "" for seed in MUTANT_SEEDS)
    return any(re.search(expected, text) for text in found)


@pytest.mark.parametrize(("variant", "expected"), MUTANTS.values(), ids=MUTANTS.keys())
def test_a_broken_rule_is_noticed(variant: Variant, expected: str) -> None:
    assert is_noticed(variant, expected)


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
    assert is_noticed(Variant(), expected)
