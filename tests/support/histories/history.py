"""What one client did, and heard: the entries of a history, of whatever workload."""

from __future__ import annotations

from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

What = TypeVar("What")


class Outcome(Enum):
    """What is known of a call."""

    DONE = "done"  # answered: it took effect between call and return
    REFUSED = "refused"  # answered, with the promise that it never takes effect
    UNKNOWN = "unknown"  # it takes effect at any time after the call, or never


class Call(NamedTuple, Generic[What]):
    """An operation of a client.

    Attributes:
        client: who.
        what: what was asked for, in the words of the workload.
        called, returned: monotonic nanoseconds; returned is None if the outcome is unknown.
        outcome: see Outcome.
        reply: what was heard, in the words of the workload; None unless DONE.
    """

    client: int
    what: What
    called: int
    returned: int | None
    outcome: Outcome
    reply: Any = None

    def __str__(self) -> str:
        end = "" if self.returned is None else f"{self.returned / 1e9:.6f}"
        heard = self.reply if self.outcome is Outcome.DONE else self.outcome.value
        return f"client {self.client} {self.called / 1e9:.6f}..{end}: {self.what} -> {heard}"


class Anomaly(NamedTuple):
    """Something that no history of the promised kind has.

    Attributes:
        name: its kind.
        text: the evidence, for the eye; several lines.
    """

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"
