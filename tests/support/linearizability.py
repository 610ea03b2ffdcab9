"""Is a recorded history linearizable? The search of Wing and Gong with the memory of Lowe.

A history is linearizable if every operation can be given one instant between its call and its
return such that a single object, running them at those instants, answers the same. With the whole
store as the object that is strict serializability of its commands.

The search builds the order front to back: whatever no unfinished operation must precede may come
next, if the model answers as was recorded. It never visits twice a pair of (operations placed,
state of the object).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

ANYTHING: Final = object()  # the reply of an operation that took effect, and whose answer was lost


class Operation(NamedTuple):
    """What one client did, and heard.

    Attributes:
        client: who; only for the eye.
        command: what the model runs.
        called, returned: logical times, all distinct; returned None: the outcome is unknown, it
            took effect at any time after the call or never.
        reply: the answer heard, or ANYTHING; meaningless if returned is None.
        after: indexes in the history of the operations that precede this one if both took effect,
            although they had not returned when it was called (commands of one pipeline).
    """

    client: int
    command: Hashable
    called: int
    returned: int | None = None
    reply: object = None
    after: tuple[int, ...] = ()


class Model(Protocol):
    """The single object; states are immutable and hashable."""

    def initial(self) -> Hashable:
        """Return the state before the first operation."""

    def step(self, state: Any, command: Any) -> tuple[Hashable, object]:
        """Return the state after a command, and its answer."""

    def reads(self, command: Any) -> bool:
        """Tell whether a command changes nothing, in no state whatever."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """True if the history is linearizable.

    Attributes:
        order: indexes of the operations in a valid order; if there is none, the longest that began
            well.
        stuck: then, indexes of the operations that could have come next, and answered otherwise.
    """

    linearizable: bool
    order: tuple[int, ...]
    stuck: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return self.linearizable

    def explain(self, history: Sequence[Operation]) -> str:
        """Show the history by call, with the place of each operation in the order that was
        found.
        """
        places = {index: place for place, index in enumerate(self.order)}
        lines = []
        for index, op in sorted(enumerate(history), key=lambda item: item[1].called):
            place = "stuck" if index in self.stuck else places.get(index, "-")
            heard = "unknown" if op.returned is None else f"{op.reply!r}"
            when = f"{op.called:5}..{'' if op.returned is None else op.returned:<5}"
            lines.append(f"{place:>5}  {when} client {op.client}: {op.command} -> {heard}")
        return "\n".join(lines)


class Undecided(Exception):  # noqa: N818  no error: nothing is known
    """The search has visited as many states as it may."""


def check(history: Sequence[Operation], model: Model, max_states: int | None = None) -> Verdict:
    """Search for an order of all operations with a known outcome, and any of the others.

    Raises: Undecided after so many states; many operations of unknown outcome make it long.
    """
    search = _Search(history, model)
    return search.run(max_states)


class _Search:
    """Depth first, oldest return first.

    Two things keep the tree small without losing every solution. A read is placed as soon as it
    fits. And of two nodes alike but for the optional operations (unknown outcome) used up, more
    used is dropped.
    """

    def __init__(self, history: Sequence[Operation], model: Model) -> None:
        self.history = history
        self.step = model.step
        self.state = model.initial()
        size = len(history)
        self.required = 0  # bits of the operations that must be placed
        self.before = [0] * size  # bits of the required ones that must be placed earlier
        self.unsure = [0] * size  # bits of the optional ones that must not be placed later
        self.later = [0] * size  # bits of those that must not be placed earlier
        self.reads = [op.returned is not None and model.reads(op.command) for op in history]
        ends: list[tuple[float, int]] = []
        for index, op in enumerate(history):
            bit = 1 << index
            ends.append((float("inf") if op.returned is None else op.returned, index))
            if op.returned is not None:
                self.required |= bit
                for other, its in enumerate(history):
                    if its.called > op.returned:
                        self.before[other] |= bit
            for other in op.after:
                self.later[other] |= bit
                if history[other].returned is None:
                    self.unsure[index] |= 1 << other
                else:
                    self.before[index] |= 1 << other
        self.trial = [index for _, index in sorted(ends)]  # who returned first came likely first

    def run(self, max_states: int | None) -> Verdict:
        required = self.required
        visited = 0
        best: tuple[int, ...] = ()
        stuck: tuple[int, ...] = ()
        seen: dict[tuple[int, Hashable], list[int]] = {}
        stack: list[tuple[int, Hashable, tuple[int, ...]]] = [(0, self.state, ())]
        while stack:
            done, state, order = stack.pop()
            visited += 1
            if max_states is not None and visited > max_states:
                raise Undecided
            done, order = self._place_reads(done, state, order)
            if done & required == required:
                return Verdict(True, order)
            used = seen.setdefault((done & required, state), [])
            if any(others & done == others for others in used):
                continue
            used.append(done & ~required)
            branches = []
            refused = []
            for index in self.trial:
                if done >> index & 1 or self.before[index] & ~done or self.later[index] & done:
                    continue
                op = self.history[index]
                after, reply = self.step(state, op.command)
                if op.returned is None:
                    if after == state:
                        continue  # placing it would change nothing
                elif reply != op.reply and op.reply is not ANYTHING:
                    refused.append(index)
                    continue
                branches.append((done | 1 << index, after, (*order, index)))
            if len(order) >= len(best):
                best, stuck = order, tuple(refused)
            stack.extend(reversed(branches))
        return Verdict(False, best, stuck)

    def _place_reads(
        self, done: int, state: Hashable, order: tuple[int, ...]
    ) -> tuple[int, tuple[int, ...]]:
        """Place every read that may come next and fits.

        That loses no solution: in any that places it later, it can be moved to here. (Of a write
        that happens to change nothing here this is not true: later it may have had work to do.)
        """
        again = True
        while again:
            again = False
            for index in self.trial:
                if (
                    not self.reads[index]
                    or done >> index & 1
                    or (self.before[index] | self.unsure[index]) & ~done
                    or self.later[index] & done
                ):
                    continue
                op = self.history[index]
                if op.reply is ANYTHING or self.step(state, op.command)[1] == op.reply:
                    done |= 1 << index
                    order = (*order, index)
                    again = True
        return done, order
