"""The order between partitions: who sees a later effect of a pipeline finds the earlier ones.

The litmus test is message passing. A writer sends two writes in one pipeline, a payload in one
partition and an entry in another; a reader that sees the entry must find its payload, whatever the
workers involved and however the scheduler of support/turns.py cuts their turns into pieces. The
loops are the real ones; `make simulate SEEDS=1000-20000` runs other seeds.

Four rules give that (docs/partitions.md). Each is taken away in turn, and then the same runs must
see a payload that is missing.
"""

from __future__ import annotations

from random import Random
from typing import Final

import pytest
from shoal.worker import loop as loop_module
from shoal.worker.connection import Connection
from shoal.worker.loop import Loop
from support import turns
from support.seeds import blocks, repeat
from support.turns import Page, Script, World, key_of

ROUNDS: Final = 12
LOOKS: Final = 60
MUTANT_SEEDS: Final = range(1500)


class MissedError(AssertionError):
    """An effect was seen, and one that came before it was not."""


def writer(keys: list[bytes]) -> Script:
    """Write round after round to the keys, in their order, each round in one pipeline."""
    for number in range(1, ROUNDS + 1):
        replies = yield [[b"SET", key, b"%d" % number] for key in keys]
        assert replies == [b"OK"] * len(keys)


def reader(keys: list[bytes]) -> Script:
    """Look at the keys from the last to the first: none may be behind one written after it."""
    for _ in range(LOOKS):
        newest = 0
        for key in reversed(keys):
            (value,) = yield [[b"GET", key]]
            number = int(value or 0)
            if number < newest:
                raise MissedError(f"{key!r} is at {number}, a later write of {newest} was seen")
            newest = number
        if newest == ROUNDS:
            return


def relay(seen: bytes, tell: bytes) -> Script:
    """Write what was seen in one key into another."""
    last = 0
    for _ in range(LOOKS):
        (value,) = yield [[b"GET", seen]]
        number = int(value or 0)
        if number > last:
            last = number
            yield [[b"SET", tell, b"%d" % number]]
        if last == ROUNDS:
            return


def litmus(seed: int) -> None:
    """Run a seed. Raises: MissedError."""
    random = Random(seed)
    workers = random.choice((2, 3, 4))
    world = World(seed, workers)
    for number in range(random.choice((1, 2))):
        count = random.choice((2, 2, 3))
        owners = [random.randrange(workers) for _ in range(count)]
        keys = [key_of(owner, workers, f"{number}:{place}:") for place, owner in enumerate(owners)]
        world.connect(random.randrange(workers), writer(keys))
        world.connect(random.randrange(workers), reader(keys))
        if random.random() < 0.5:
            world.connect(random.randrange(workers), reader(keys))
        else:
            told = key_of(random.randrange(workers), workers, f"{number}:told:")
            world.connect(random.randrange(workers), relay(keys[-1], told))
            world.connect(random.randrange(workers), reader([*keys[:-1], told]))
    world.run()


@pytest.mark.parametrize("seeds", blocks("0-399"), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_who_sees_the_entry_finds_the_payload(seeds: range) -> None:
    for seed in seeds:
        with repeat(seed):
            litmus(seed)


# -- one rule taken away at a time ----------------------------------------------------------------


class ReceivesLate(Connection):
    """Rule 1, first half: clients are received from after the pipes were drained."""

    __slots__ = ()

    def receive(self) -> bytes | None:
        return b""  # there is something; accept_input is called behind the drain

    def accept_input(self, data: bytes) -> None:
        received = super().receive()
        if received is not None:
            super().accept_input(received)


class RunsAtOnce(Connection):
    """Rule 1, second half: clients' commands run before the peers' requests."""

    __slots__ = ()

    def receive(self) -> bytes | None:
        received = super().receive()
        if received is not None:
            self.accept_input(received)
        return None


def as_they_came(_: object) -> int:
    """Rule 2, first half: frames run in the order in which the pipes were read."""
    return 0


class LeavesNothing(Loop):
    """Rule 2, second half: frames stamped after the drain began run in the same turn."""

    def _run_inbox(self, began_ns: int) -> None:
        super()._run_inbox(1 << 62)


class RepliesFirst(Loop):
    """Rule 3: replies go out before frames."""

    _ending = False

    def _end_turn(self, started_ns: int) -> None:
        self._ending = True
        super()._end_turn(started_ns)
        self._ending = False
        self._send_frames()

    def _send_frames(self) -> None:
        if not self._ending:
            super()._send_frames()


class Announced(Page):
    """Rule 4: frames are run before their sender has said that all of them are in the pipes."""

    def __getitem__(self, at: int) -> int:
        return max(super().__getitem__(at), 1 << 62)


# The rule that is missing -> where it is, and what stands there instead.
MUTANTS: Final[dict[str, tuple[object, str, object]]] = {
    "1: receive, then drain": (loop_module, "Connection", ReceivesLate),
    "1: peers' requests, then clients' commands": (loop_module, "Connection", RunsAtOnce),
    "2: in the order of the stamps": (loop_module, "_stamp_and_sender", as_they_came),
    "2: what came later waits for the next turn": (turns, "Loop", LeavesNothing),
    "3: frames, then replies": (turns, "Loop", RepliesFirst),
    "4: no frame before its sender says so": (turns, "Page", Announced),
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
