"""Who has subscribed to what, in this worker and in the others. No I/O.

A *topic* is what one can subscribe to: a channel, a pattern, a shard channel; and, as it works the
same way, the one feed of all commands (MONITOR). Each worker has the subscribers of its own
clients, and of every other worker how many it has for each topic. So a publisher knows without
asking who must get a message and how many clients that will be.

A subscription is begun or ended in two steps, as the other workers must hear of it: the client's
worker announces its new count, and when all have answered that they know, the client gets its
confirmation (`worker/broker.py`). In between some workers know and some do not. What holds:

- A message of worker W is delivered to exactly the clients that W has counted: to one that joins if
  W knows of it, to one that leaves until W knows (`Change.known`). What W had sent before it knew
  comes before its answer, as pipes are FIFO.
- So a message that is published after a SUBSCRIBE was confirmed reaches that client and counts it,
  and one that is published after an UNSUBSCRIBE was confirmed does neither.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from shoal.proto.glob import compile_glob, glob_match

# Kinds of topics. The feed has one topic, of no name.
CHANNEL: Final = 0
PATTERN: Final = 1
SHARD: Final = 2
FEED: Final = 3

S = TypeVar("S", bound=Hashable)

Announced = tuple[int, bytes, int]
"""What a worker tells of a topic: kind, name, how many subscribers it has."""


class Change:
    """Subscriptions that begin or end, and who knows of it.

    Attributes:
        joins: they begin; else they end.
        known: the workers that have answered.
    """

    __slots__ = ("joins", "known")

    def __init__(self, *, joins: bool) -> None:
        """Start with nobody knowing."""
        self.joins = joins
        self.known: set[int] = set()


class Topic(Generic[S]):
    """The subscribers of one channel or pattern.

    Attributes:
        local: those of this worker, in the order of their coming; the change that is under way.
        changing: how many of them have one.
        leaving: how many of them have one by which they leave.
        remote: how many the other workers have, by worker; never 0.
    """

    __slots__ = ("changing", "leaving", "local", "matches", "remote")

    def __init__(self, matches: Callable[[bytes], bool] | None) -> None:
        """Start with nobody; `matches` is the pattern's test."""
        self.matches = matches
        self.local: dict[S, Change | None] = {}
        self.remote: dict[int, int] = {}
        self.changing = self.leaving = 0

    def receivers(self, sender: int | None) -> list[S]:
        """Return the subscribers here that a message is for; `sender` is None for ourselves."""
        if sender is None or not self.changing:
            return list(self.local)
        return [
            subscriber
            for subscriber, change in self.local.items()
            if change is None or change.joins == (sender in change.known)
        ]


class Registry(Generic[S]):
    """All topics that anybody has subscribed to, as one worker knows them."""

    def __init__(self) -> None:
        """Start with none."""
        self.topics: tuple[dict[bytes, Topic[S]], ...] = ({}, {}, {}, {})

    # -- our own subscribers -----------------------------------------------------------------------

    def add(self, kind: int, name: bytes, subscriber: S, change: Change | None) -> None:
        """Begin a subscription that there is not yet; with a change it is confirmed by `settle`."""
        topic = self._topic(kind, name)
        assert subscriber not in topic.local
        topic.local[subscriber] = change
        topic.changing += change is not None

    def leave(self, kind: int, name: bytes, subscriber: S, change: Change) -> None:
        """Begin to end a subscription; `remove` ends it."""
        topic = self.topics[kind][name]
        assert topic.local[subscriber] is None
        topic.local[subscriber] = change
        topic.changing += 1
        topic.leaving += 1

    def settle(self, kind: int, name: bytes, subscriber: S) -> None:
        """Everybody knows of a new subscription."""
        topic = self.topics[kind][name]
        assert topic.local[subscriber] is not None
        topic.local[subscriber] = None
        topic.changing -= 1

    def remove(self, kind: int, name: bytes, subscriber: S) -> None:
        """End a subscription, whatever its state."""
        topic = self.topics[kind][name]
        change = topic.local.pop(subscriber)
        if change is not None:
            topic.changing -= 1
            topic.leaving -= not change.joins
        self._drop_if_empty(kind, name, topic)

    def announced(self, kind: int, name: bytes) -> Announced:
        """Return what the others shall know of a topic: those that leave do not count any more."""
        topic = self.topics[kind].get(name)
        return kind, name, 0 if topic is None else len(topic.local) - topic.leaving

    def announced_all(self) -> list[Announced]:
        """Return what somebody who knows nothing shall know of us."""
        every = [
            self.announced(kind, name) for kind, topics in enumerate(self.topics) for name in topics
        ]
        return [one for one in every if one[2]]

    # -- those of other workers --------------------------------------------------------------------

    def hear(self, worker: int, announced: Announced) -> None:
        """Take what another worker has announced."""
        kind, name, count = announced
        if count:
            self._topic(kind, name).remote[worker] = count
            return
        topic = self.topics[kind].get(name)
        if topic is not None:
            topic.remote.pop(worker, None)
            self._drop_if_empty(kind, name, topic)

    def forget(self, worker: int) -> None:
        """A worker has gone, and its clients with it."""
        for kind, topics in enumerate(self.topics):
            for name, topic in list(topics.items()):
                if topic.remote.pop(worker, None) is not None:
                    self._drop_if_empty(kind, name, topic)

    # -- messages ----------------------------------------------------------------------------------

    def matching(self, kind: int, name: bytes) -> list[tuple[bytes | None, Topic[S]]]:
        """Return the topics that a message to this channel is for: that itself, as None, then the
        patterns, by their text.
        """
        found: list[tuple[bytes | None, Topic[S]]] = []
        topic = self.topics[kind].get(name)
        if topic is not None:
            found.append((None, topic))
        if kind == CHANNEL:
            for pattern, by_pattern in self.topics[PATTERN].items():
                assert by_pattern.matches is not None
                if by_pattern.matches(name):
                    found.append((pattern, by_pattern))
        return found

    # -- questions ---------------------------------------------------------------------------------

    def count(self, kind: int, name: bytes) -> int:
        """Return how many clients of all workers have subscribed to a topic."""
        topic = self.topics[kind].get(name)
        return 0 if topic is None else len(topic.local) + sum(topic.remote.values())

    def receivers(self, kind: int, name: bytes) -> int:
        """Return how many get a message to this channel; once for each pattern, too."""
        return sum(
            len(topic.local) + sum(topic.remote.values()) for _, topic in self.matching(kind, name)
        )

    def names(self, kind: int, pattern: bytes | None) -> list[bytes]:
        """Return the names of the topics that have subscribers anywhere and match a pattern."""
        topics = self.topics[kind]
        if pattern is None:
            return list(topics)
        return [name for name in topics if glob_match(pattern, name)]

    def _topic(self, kind: int, name: bytes) -> Topic[S]:
        topic = self.topics[kind].get(name)
        if topic is None:
            matches = compile_glob(name) if kind == PATTERN else None
            topic = self.topics[kind][name] = Topic(matches)
        return topic

    def _drop_if_empty(self, kind: int, name: bytes, topic: Topic[S]) -> None:
        if not topic.local and not topic.remote:
            del self.topics[kind][name]
