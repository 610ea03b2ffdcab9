"""The shortest run that fails: what is left of a plan when all that it does not need is taken away.

With something taken away the same seed makes another run of what is left, so each smaller plan is
tried with some seeds. The number of runs is bounded: what comes out is the shortest that was found.
"""

from __future__ import annotations

from typing import Final

from support.linearizability import Undecided
from support.simulated_plan import Plan, make_plan
from support.simulation import Variant, failure

MAX_RUNS: Final = 1500  # some seconds to a minute
TRIES: Final = 12  # seeds for each smaller plan


def shortest(seed: int, variant: Variant | None = None, max_runs: int = MAX_RUNS) -> str:
    """Return the shortest run found that fails as a human can follow it, and what is wrong in it.

    The seed itself fails.
    """
    plan = make_plan(seed)
    seeds = (seed, *range(1, TRIES))
    found = _try(plan, (seed,), variant)
    assert found is not None, f"seed {seed} does not fail"
    runs = 1
    again = True
    while again:
        again = False
        for smaller in plan.smaller():
            if runs >= max_runs:
                break
            runs += TRIES
            better = _try(smaller, (found[0], *seeds), variant)
            if better is not None:
                plan, found, again = smaller, better, True
                break
    events: list[str] = []
    text = failure(plan, found[0], variant, events)
    return "\n".join(
        [
            f"the shortest of {runs} runs of seed {seed} that fails (as run {found[0]}):",
            str(plan),
            "what happened, with the logical time:",
            *events,
            "what is wrong:",
            str(text),
        ]
    )


def _try(plan: Plan, seeds: tuple[int, ...], variant: Variant | None) -> tuple[int, str] | None:
    """Return the first seed with which a plan fails, and how."""
    for seed in dict.fromkeys(seeds):
        try:
            text = failure(plan, seed, variant)
        except Undecided:
            continue
        if text is not None:
            return seed, text
    return None
