"""Consumer groups of a stream: who was given which entry, and has not acknowledged it.

A pending entry is one `Nack`, which hangs in the group's `pending` and in that of its consumer.
What always holds: the pending IDs of the consumers are disjoint, and together those of the group;
each `Nack` names the consumer it hangs in.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from shoal.worker.values.id_map import IdMap
from shoal.worker.values.stream_node import Node

# entries_read of a group that does not know how many entries precede its last ID.
UNKNOWN: Final = -1
# active_ms of a consumer that was never given an entry.
NEVER: Final = -1


class Nack:
    """An entry that was delivered and not acknowledged.

    Attributes:
        consumer: to whom.
        time_ms: when it was last delivered, ms since the epoch.
        count: how often.
    """

    __slots__ = ("consumer", "count", "time_ms")

    def __init__(self, consumer: Consumer, time_ms: int, count: int) -> None:
        """Describe a delivery."""
        self.consumer = consumer
        self.time_ms = time_ms
        self.count = count


class Consumer:
    """A member of a group.

    Attributes:
        seen_ms: when it last asked for anything, ms since the epoch; 0: before the start.
        active_ms: when it was last given an entry, or NEVER.
        pending: what it has not acknowledged.
    """

    __slots__ = ("active_ms", "name", "pending", "seen_ms")

    def __init__(self, name: bytes, now_ms: int) -> None:
        """Make a consumer that has just been seen."""
        self.name = name
        self.seen_ms = now_ms
        self.active_ms = NEVER
        self.pending: IdMap[Nack] = IdMap()


class Group:
    """A consumer group.

    Attributes:
        last_id: the greatest ID that was delivered; entries after it are new.
        entries_read: how many entries were ever added up to last_id, or UNKNOWN.
        consumers: by name.
        pending: of all consumers.
        node: the stream's node of the last entry that was delivered, if that is known.
    """

    __slots__ = ("consumers", "entries_read", "last_id", "node", "pending")

    def __init__(self, last_id: int, entries_read: int) -> None:
        """Make a group without consumers."""
        self.last_id = last_id
        self.entries_read = entries_read
        self.consumers: dict[bytes, Consumer] = {}
        self.pending: IdMap[Nack] = IdMap()
        self.node: Node | None = None

    def create_consumer(self, name: bytes, now_ms: int) -> Consumer:
        """Add a consumer, whose name is new."""
        consumer = self.consumers[name] = Consumer(name, now_ms)
        return consumer

    def delete_consumer(self, name: bytes) -> int:
        """Remove a consumer, with what it has not acknowledged; return how many entries that is."""
        consumer = self.consumers.pop(name)
        for entry_id, _ in consumer.pending.walk():
            self.pending.pop(entry_id)
        return len(consumer.pending)

    def deliver(self, consumer: Consumer, ids: Sequence[int], now_ms: int) -> None:
        """Make entries, at least one and in order, pending for a consumer, for the first time."""
        consumer.active_ms = now_ms
        pending = self.pending
        if len(ids) == 1:
            delivery = Nack(consumer, now_ms, 1)
            if pending.append(ids[0], delivery):
                consumer.pending.append(ids[0], delivery)
                return
        elif not len(pending) or ids[0] > pending.last():
            nacks = [Nack(consumer, now_ms, 1) for _ in ids]
            pending.extend(ids, nacks)
            consumer.pending.extend(ids, nacks)
            return
        for entry_id in ids:  # last_id was set back: some of them may be pending already
            nack = pending.get(entry_id)
            if nack is None:
                self.assign(entry_id, consumer, now_ms, 1)
            else:
                self.move(entry_id, nack, consumer)
                nack.time_ms = now_ms
                nack.count = 1

    def assign(self, entry_id: int, consumer: Consumer, time_ms: int, count: int) -> Nack:
        """Make an entry that is not pending so."""
        nack = Nack(consumer, time_ms, count)
        self.pending.add(entry_id, nack)
        consumer.pending.add(entry_id, nack)
        return nack

    def move(self, entry_id: int, nack: Nack, consumer: Consumer) -> None:
        """Give a pending entry to a consumer, or leave it with it."""
        if nack.consumer is not consumer:
            nack.consumer.pending.pop(entry_id)
            nack.consumer = consumer
            consumer.pending.add(entry_id, nack)

    def acknowledge(self, entry_id: int) -> bool:
        """Let an entry be pending no longer; tell whether it was."""
        nack = self.pending.pop(entry_id)
        if nack is None:
            return False
        nack.consumer.pending.pop(entry_id)
        return True

    def copy(self) -> Group:
        """Return a group of the same contents that shares nothing."""
        twin = Group(self.last_id, self.entries_read)
        # There may be a million of them: by the short way.
        every: tuple[list[int], list[Nack]] = [], []
        of_each: dict[bytes, tuple[list[int], list[Nack]]] = {}
        for name, consumer in self.consumers.items():
            fellow = twin.create_consumer(name, consumer.seen_ms)
            fellow.active_ms = consumer.active_ms
            of_each[name] = [], []
        for entry_id, nack in self.pending.walk():
            name = nack.consumer.name
            new = Nack(twin.consumers[name], nack.time_ms, nack.count)
            for ids, nacks in (every, of_each[name]):
                ids.append(entry_id)
                nacks.append(new)
        if every[0]:
            twin.pending.extend(*every)
        for name, (ids, nacks) in of_each.items():
            if ids:
                twin.consumers[name].pending.extend(ids, nacks)
        return twin

    def free(self, steps: int) -> int:
        """Let go of about so many pending entries; return how many. Nothing else is right then."""
        freed = self.pending.free(steps)
        while self.consumers and freed < steps:
            name, consumer = self.consumers.popitem()
            freed += consumer.pending.free(steps - freed) + 1
            if len(consumer.pending):
                self.consumers[name] = consumer
        return freed

    def memory_bytes(self) -> int:
        """Return about how many bytes it takes."""
        size = sys.getsizeof(self) + sys.getsizeof(self.consumers) + self.pending.memory_bytes()
        for name, consumer in self.consumers.items():
            size += sys.getsizeof(name) + sys.getsizeof(consumer) + consumer.pending.memory_bytes()
        for entry_id, nack in self.pending.walk():  # one is like the other
            one = sys.getsizeof(entry_id) + sys.getsizeof(nack) + sys.getsizeof(nack.time_ms)
            return size + len(self.pending) * one
        return size

    def check(self) -> None:
        """Assert what the module's text says."""
        self.pending.check()
        found: list[tuple[int, Nack]] = []
        for name, consumer in self.consumers.items():
            assert consumer.name == name
            consumer.pending.check()
            found += consumer.pending.walk()
            assert all(nack.consumer is consumer for _, nack in consumer.pending.walk()), name
        assert sorted(found, key=lambda pair: pair[0]) == list(self.pending.walk())


def referenced(groups: Iterable[Group], entry_id: int) -> bool:
    """Tell whether a group still needs an entry: it has not been given it, or it is pending."""
    return any(
        entry_id > group.last_id or group.pending.get(entry_id) is not None for group in groups
    )
