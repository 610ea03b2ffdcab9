"""Litmus tests of memory models on the real loops: which outcomes there are, and which never.

The tests are those of support/litmus, the scheduler is that of support/turns.py; `make simulate
SEEDS=...` runs other seeds.

An outcome that is allowed has to be seen, so the same code would see it where it is forbidden; and
those that the rules of docs/partitions.md forbid, while one client pipelines, have to be seen
without the rule.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

import pytest
from support import turns
from support.litmus import ALLOWED, FORBIDDEN, Litmus, Outcome, commands_of
from support.seeds import blocks, repeat
from support.turns import ClientsFirst, Script, World, key_of

ROUNDS: Final = 6
SEEN_SEEDS: Final = range(300)  # what is allowed shows within these, most much earlier


def client(
    test: Litmus,
    me: int,
    rounds: list[dict[str, bytes]],
    found: list[list[int]],
    begun: list[int],
) -> Script:
    """Run a client's commands in each round; put the values read into `found`."""
    for number, (keys, reads) in enumerate(zip(rounds, found, strict=True)):
        begun[me] = number
        yield lambda number=number: min(begun) >= number  # type: ignore[misc]
        commands = commands_of(test.clients[me], keys)
        replies = []
        for pipeline in [commands] if test.pipelined[me] else [[one] for one in commands]:
            replies += yield 0, pipeline
        for argv, reply in zip(commands, replies, strict=True):
            if argv[0] == b"GET":
                reads.append(int(reply or 0))
            else:
                assert reply == b"OK"
    begun[me] = ROUNDS


def noise(keys: list[bytes], random: Random) -> Script:
    """Keep the pipes busy."""
    while True:
        yield 0, [[b"GET", random.choice(keys)]]


def outcomes(test: Litmus, seed: int) -> Counter[Outcome]:
    """Run a seed and return what was read in its rounds."""
    random = Random(seed)
    workers = random.choice((2, 3, 3, 4))
    world = World(seed, workers)
    owners = random.choices(range(workers), k=2)
    rounds = [
        {
            name: key_of(owner, workers, f"{n}{name}")
            for name, owner in zip("xy", owners, strict=True)
        }
        for n in range(ROUNDS)
    ]
    found: list[list[list[int]]] = [[[] for _ in rounds] for _ in test.clients]
    begun = [-1] * len(test.clients)
    for me, reads in enumerate(found):
        home = random.choice((*owners, *range(workers)))
        world.connect(client(test, me, rounds, reads, begun), home)
    world.connect(noise([*rounds[0].values()], random), random.randrange(workers), endless=True)
    world.run()
    return Counter(
        tuple(tuple(reads) for reads in of_round) for of_round in zip(*found, strict=True)
    )


@pytest.mark.parametrize("name", FORBIDDEN)
@pytest.mark.parametrize("seeds", blocks("0-49"), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_the_litmus_outcome_never_comes(name: str, seeds: range) -> None:
    test = FORBIDDEN[name]
    for seed in seeds:
        with repeat(seed):
            assert test.outcome not in outcomes(test, seed), name


@pytest.mark.parametrize("name", ALLOWED)
def test_an_allowed_outcome_is_seen(name: str) -> None:
    test = ALLOWED[name]
    assert any(test.outcome in outcomes(test, seed) for seed in SEEN_SEEDS)


# The rule is that peers' requests run before clients' commands. "independent reads" is not among
# them: none of the rules alone, taken away, let it come in a few hundred seeds.
@pytest.mark.parametrize(
    "name",
    [
        "message passing, the writer pipelines",
        "message passing, the reader pipelines",
        "store buffering, one pipelines",
        "load buffering, one pipelines",
    ],
)
def test_without_a_rule_the_litmus_outcome_comes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "Loop", ClientsFirst)
    test = FORBIDDEN[name]
    assert any(test.outcome in outcomes(test, seed) for seed in SEEN_SEEDS)
