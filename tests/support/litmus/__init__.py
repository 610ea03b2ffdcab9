"""Litmus tests of memory models: what clients do, and what no order of all commands explains.

Each test has two keys, x and y, both 0 at first, and clients that write 1 (`x=1`) or read (`x`).
One that waits sends each command when the one before is answered; one that pipelines sends all in
one write. docs/partitions.md has the outcomes as a table. The tests are run in the simulation
(`tests/simulation/test_litmus.py`) and on a real server (`make litmus`, `support/litmus/real.py`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

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

FORBIDDEN: Final = {name: test for name, test in TESTS.items() if test.forbidden}
ALLOWED: Final = {name: test for name, test in TESTS.items() if not test.forbidden}


def commands_of(text: str, keys: dict[str, bytes]) -> list[list[bytes]]:
    """Return a client's commands in a round with these keys."""
    commands = []
    for word in text.split():
        key = keys[word[0]]
        commands.append([b"SET", key, b"1"] if "=" in word else [b"GET", key])
    return commands
