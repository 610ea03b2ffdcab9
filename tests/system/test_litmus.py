"""A short run of `make litmus`: on loaded cores nobody misses what came before what he sees."""

import pytest
from support.litmus import FORBIDDEN
from support.litmus.real import Queue, play

ROUNDS = 6000


@pytest.mark.parametrize("workers", [2, 4])
def test_nobody_misses_what_came_before(workers: int) -> None:
    tally = play(ROUNDS, workers)
    assert not tally.misses
    assert tally.rounds.total() == ROUNDS
    assert tally.rounds[Queue.name] == ROUNDS // 2
    assert set(tally.rounds) == {Queue.name, *FORBIDDEN}
