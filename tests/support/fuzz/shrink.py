"""The shortest script, found in bounded time, that still shows a difference."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Protocol

from support.fuzz.grammar import Argv
from support.fuzz.pair import Difference
from support.fuzz.wrapped import is_counted, unfolded
from support.raw import split_line


class Runner(Protocol):
    """What runs scripts: a `Pair`."""

    def run(self, steps: Sequence[Argv], check_every: int) -> Difference | None:
        """Run a script on two empty servers; see `Pair.run`."""


ATTEMPTS: Final = 400
BOUND_S: Final = 60.0


def shrink(
    pair: Runner, steps: Sequence[Argv], difference: Difference
) -> tuple[list[Argv], Difference]:
    """Return a shorter script and the difference that it shows.

    Args:
        pair: the servers; each attempt empties them.
        steps: a script that showed a difference.
        difference: the one it showed; a shorter script may show another one of the same commands.
    """
    return _Shrinking(pair, difference).run(list(steps[: difference.at]))


class _Shrinking:
    """Delta debugging: leave out ever smaller parts, keep what still differs."""

    def __init__(self, pair: Runner, difference: Difference) -> None:
        self._pair = pair
        self._found = difference
        self._attempts = 0
        self._deadline = time.monotonic() + BOUND_S

    def run(self, steps: list[Argv]) -> tuple[list[Argv], Difference]:
        steps = self._only_related(steps)
        size = max(1, len(steps) // 2)
        while True:
            steps, shorter = self._without_parts(steps, size)
            if size == 1 and not shorter:
                break
            if self._is_over():
                break
            size = max(1, size // 2)
        return self._with_fewer_words(steps), self._found

    def _is_over(self) -> bool:
        return self._attempts >= ATTEMPTS or time.monotonic() > self._deadline

    def _differs(self, steps: Sequence[Argv]) -> bool:
        """Run them; remember the difference if there is still one of the kind looked for."""
        if not steps or self._is_over():
            return False
        self._attempts += 1
        # Where contents differ, they are looked at once, at the end.
        found = self._pair.run(steps, check_every=len(steps))
        if found is None or _of(found) != _of(self._found):
            return False
        if "-CROSSSLOT" in found.ours:  # a word that was left out made a key of another
            return False
        self._found = found
        return True

    def _only_related(self, steps: list[Argv]) -> list[Argv]:
        """Try with only the commands that share a word with the last one, and the thresholds."""
        last = self._found.step
        if last is None:
            return steps
        words = set(last[1:])
        related = [s for s in steps if s[0] == b"CONFIG" or not words.isdisjoint(s[1:])]
        return related if self._differs(related) else steps

    def _without_parts(self, steps: list[Argv], size: int) -> tuple[list[Argv], bool]:
        shorter = False
        end = len(steps)  # from the end: what was left out there cannot matter to what is before
        while end > 0 and not self._is_over():
            start = max(0, end - size)
            candidate = steps[:start] + steps[end:]
            if self._differs(candidate):
                steps, shorter = candidate[: self._found.at], True
                start = min(start, len(steps))
            end = start
        return steps, shorter

    def _with_fewer_words(self, steps: list[Argv]) -> list[Argv]:
        """Leave out words of long commands, in halves."""
        for at in range(len(steps)):
            if is_counted(steps[at]):
                continue
            size = len(steps[at]) // 2
            while size >= 1 and len(steps[at]) > 4 and not self._is_over():
                start = len(steps[at])
                while start > 2 and not self._is_over():
                    start = max(2, start - size)
                    argv = steps[at][:start] + steps[at][start + size :]
                    candidate = [*steps[:at], argv, *steps[at + 1 :]]
                    if self._differs(candidate) and self._found.at == len(candidate):
                        steps = candidate
                size //= 2
        return steps


def _of(difference: Difference) -> bytes | None:
    """Return the command whose replies differ, None if contents do."""
    return None if difference.step is None else difference.step[0].lower()


def as_table(name: str, steps: Sequence[Argv]) -> str:
    """Return the steps as an entry of a table of tests/differential."""
    lines = [f'    "{name}": [']
    lines += [f"        {_as_step(argv)}," for argv in unfolded(steps)]
    return "\n".join([*lines, "    ],"])


def _as_step(argv: Argv) -> str:
    line = b" ".join(argv)
    plain = line.isascii() and line.decode().isprintable() and '"' not in line.decode()
    if plain and split_line_or_none(line.decode()) == list(argv):
        return f'"{line.decode()}"' if "\\" not in line.decode() else f'r"{line.decode()}"'
    return repr(argv)


def split_line_or_none(line: str) -> list[bytes] | None:
    """Return argv of a line as redis-cli reads it, None if it cannot."""
    try:
        return split_line(line)
    except ValueError:
        return None
