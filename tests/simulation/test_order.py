"""The order between partitions: who sees a later effect of a pipeline finds the earlier ones.

The litmus test is message passing. A writer sends two writes in one pipeline, a payload in one
partition and an entry in another; a reader that sees the entry must find its payload, whatever the
workers involved and however the scheduler of support/turns.py cuts their turns into pieces. The
loops are the real ones; `make simulate SEEDS=1000-20000` runs other seeds.

Four rules give that (docs/partitions.md). Each is taken away in turn, and then the same runs must
see a payload that is missing.
"""

from __future__ import annotations

from collections.abc import Generator
from random import Random
from typing import Final

import pytest
from shoal.worker import loop as loop_module
from shoal.worker.loop import Loop
from support import machine, turns
from support.machine import Page
from support.seeds import blocks, repeat
from support.turns import (
    ClientsFirst,
    Condition,
    Pipeline,
    Replies,
    RepliesFirst,
    Script,
    World,
    key_of,
)

ROUNDS: Final = 12
LOOKS: Final = 200
MUTANT_SEEDS: Final = range(1000)  # a missing rule shows within these, most much earlier


class MissedError(AssertionError):
    """An effect was seen, and one that came before it was not."""


def writer(keys: list[bytes]) -> Script:
    """Write round after round to the keys, in their order, each round in one pipeline."""
    for number in range(1, ROUNDS + 1):
        replies = yield 0, [[b"SET", key, b"%d" % number] for key in keys]
        assert replies == [b"OK"] * len(keys)


def reader(keys: list[bytes], random: Random) -> Script:
    """Wait for news in the last key, then look at those before it: none may be behind."""
    seen = 0
    for _ in range(LOOKS):
        newest = yield from look(keys[-1], 0 if random.random() < 0.1 else 1)
        if newest == seen:
            continue
        seen = newest
        for key in reversed(keys[:-1]):
            number = yield from look(key, random.randrange(2))
            if number < newest:
                raise MissedError(f"{key!r} is at {number}, a later write of {newest} was seen")
            newest = number
        if seen == ROUNDS:
            return


def noise(keys: list[bytes], random: Random) -> Script:
    """Keep the pipes busy."""
    while True:
        yield random.randrange(2), [[b"GET", random.choice(keys)]]


def look(key: bytes, connection: int) -> Generator[tuple[int, Pipeline] | Condition, Replies, int]:
    (value,) = yield connection, [[b"GET", key]]
    return int(value or 0)


def relay(seen: bytes, told: bytes, random: Random) -> Script:
    """Write what was seen in one key into another."""
    last = 0
    for _ in range(LOOKS):
        number = yield from look(seen, random.randrange(2))
        if number > last:
            last = number
            yield random.randrange(2), [[b"SET", told, b"%d" % number]]
        if last == ROUNDS:
            return


def litmus(seed: int) -> None:
    """Run a seed. Raises: MissedError."""
    random = Random(seed)
    workers = random.choice((2, 3, 3, 4))
    # Over a full pipe only what the home does not do itself is in order: docs/partitions.md.
    small_pipes = workers > 2 and random.random() < 0.3
    world = World(seed, workers, small_pipes=small_pipes)

    for number in range(random.choice((1, 2))):
        owners = random.sample(range(workers), k=random.randint(2, workers - small_pipes))
        strangers = [worker for worker in range(workers) if worker not in owners]
        home = random.choice(strangers if small_pipes else (owners[-1], *range(workers)))
        keys = [key_of(owner, workers, f"{number}:{at}:") for at, owner in enumerate(owners)]
        world.connect(writer(keys), home)
        for _ in range(random.choice((1, 2))):
            other = random.choice((home, owners[-1], *range(workers)))
            world.connect(reader(keys, random), owners[0], other)
        if random.random() < 0.3:
            told = key_of(random.randrange(workers), workers, f"{number}:told:")
            homes = random.choices(range(workers), k=4)
            world.connect(relay(keys[-1], told, random), *homes[:2])
            world.connect(reader([*keys[:-1], told], random), *homes[2:])
        world.connect(noise(keys, random), other, random.randrange(workers), endless=True)
    world.run()


@pytest.mark.parametrize("seeds", blocks("0-299"), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_the_payload_of_a_seen_entry_is_found(seeds: range) -> None:
    for seed in seeds:
        with repeat(seed):
            litmus(seed)


# -- one rule taken away at a time ----------------------------------------------------------------


class DrainsFirst(Loop):
    """Rule 1, first half: clients are received from after the pipes were drained."""

    _drained = False

    def turn(self, timeout_s: float) -> None:
        self._poller.poll(timeout_s)
        super()._drain()
        self._drained = True
        super().turn(0)
        self._drained = False

    def _drain(self) -> None:
        if not self._drained:
            super()._drain()


def as_they_came(_: object) -> int:
    """Rule 2, first half: frames run in the order in which the pipes were read."""
    return 0


class LeavesNothing(Loop):
    """Rule 2, second half: frames stamped after the drain began run in the same turn."""

    def _run_inbox(self, began_ns: int) -> None:
        super()._run_inbox(1 << 62)


class Announced(Page):
    """Rule 4: frames are run before their sender has said that all of them are in the pipes."""

    def __getitem__(self, at: int) -> int:
        return super().__getitem__(at) + (1 << 62 if self.machine.running else 0)


# The rule that is missing -> where it is, and what stands there instead.
MUTANTS: Final[dict[str, tuple[object, str, object]]] = {
    "1: receive, then drain": (turns, "Loop", DrainsFirst),
    "1: peers' requests, then clients' commands": (turns, "Loop", ClientsFirst),
    "2: in the order of the stamps": (loop_module, "_stamp_and_sender", as_they_came),
    "2: what came later waits for the next turn": (turns, "Loop", LeavesNothing),
    "3: frames, then replies": (turns, "Loop", RepliesFirst),
    "4: no frame before its sender says so": (machine, "Page", Announced),
}


@pytest.mark.parametrize(("owner", "name", "broken"), MUTANTS.values(), ids=MUTANTS.keys())
def test_without_the_rule_a_payload_is_missed(
    owner: object, name: str, broken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, broken)
    assert any(misses(seed) for seed in MUTANT_SEEDS)


def misses(seed: int) -> bool:
    """Tell whether a seed sees a payload that is missing."""
    try:
        litmus(seed)
    except MissedError:
        return True
    return False
