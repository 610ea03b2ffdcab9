"""Litmus tests of memory models on the real loops: which outcomes there are, and which never.

Each test has two keys, x and y, both 0 at first, in partitions of any workers, and clients of any
homes; a client writes 1 (`x=1`) or reads (`x`). One that waits sends each command when the one
before is answered, one that pipelines sends all in one write. docs/partitions.md has the outcomes
as a table. The scheduler is that of support/turns.py; `make simulate SEEDS=...` runs other seeds.

An outcome that is allowed has to be seen, so the same code would see it where it is forbidden; and
those that the rules of docs/partitions.md forbid, while one client pipelines, have to be seen
without the rule.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final, NamedTuple

import pytest
from support import turns
from support.seeds import blocks, repeat
from support.turns import ClientsFirst, Pipeline, Script, World, key_of

ROUNDS: Final = 6
SEEN_SEEDS: Final = range(300)  # what is allowed shows within these, most much earlier

# What was read: for each client the values in the order of its reads.
Outcome = tuple[tuple[int, ...], ...]


class Litmus(NamedTuple):
    """A test, and the outcome that one order of all commands does not have.

    Attributes:
        clients: the commands of each.
        pipelined: whether it sends them in one write, for each.
        outcome: nobody sees it, or somebody does.
        forbidden: which of the two.
    """

    clients: tuple[str, ...]
    pipelined: tuple[bool, ...]
    outcome: Outcome
    forbidden: bool


WAIT, PIPE = (False, False), (True, True)
MESSAGE: Final = ("x=1 y=1", "y x")
STORES: Final = ("x=1 y", "y=1 x")
LOADS: Final = ("x y=1", "y x=1")
READS: Final = ("x=1", "y=1", "x y", "y x")

TESTS: Final = {
    "message passing, all wait": Litmus(MESSAGE, WAIT, ((), (1, 0)), True),
    "message passing, the writer pipelines": Litmus(MESSAGE, (True, False), ((), (1, 0)), True),
    "message passing, the reader pipelines": Litmus(MESSAGE, (False, True), ((), (1, 0)), True),
    "message passing, all pipeline": Litmus(MESSAGE, PIPE, ((), (1, 0)), False),
    "store buffering, all wait": Litmus(STORES, WAIT, ((0,), (0,)), True),
    "store buffering, one pipelines": Litmus(STORES, (True, False), ((0,), (0,)), True),
    "store buffering, all pipeline": Litmus(STORES, PIPE, ((0,), (0,)), False),
    "load buffering, all wait": Litmus(LOADS, WAIT, ((1,), (1,)), True),
    "load buffering, one pipelines": Litmus(LOADS, (True, False), ((1,), (1,)), True),
    "load buffering, all pipeline": Litmus(LOADS, PIPE, ((1,), (1,)), False),
    "independent reads, all wait": Litmus(READS, (False,) * 4, ((), (), (1, 0), (1, 0)), True),
    "independent reads, one pipelines": Litmus(
        READS, (False, False, True, False), ((), (), (1, 0), (1, 0)), True
    ),
    "independent reads, all pipeline": Litmus(
        READS, (False, False, True, True), ((), (), (1, 0), (1, 0)), False
    ),
}


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
        commands: Pipeline = []
        for word in test.clients[me].split():
            key = keys[word[0]]
            commands.append([b"SET", key, b"1"] if "=" in word else [b"GET", key])
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


FORBIDDEN: Final = {name: test for name, test in TESTS.items() if test.forbidden}
ALLOWED: Final = {name: test for name, test in TESTS.items() if not test.forbidden}


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
