"""A stream: entries in the order of their IDs, and its consumer groups.

The entries lie in nodes (`stream_node.py`), which begin where Redis's would. The last node, to
which entries are added, and the WARM that were used last are unpacked; all others are bytes. An
entry is found by bisection: first among the nodes, by the IDs they begin with, then in the node.

What always holds:
- `_firsts[i]` is `_nodes[i].first`, and they ascend;
- `length` is the number of entries in all nodes; `first_id` is the smallest ID, 0 without entries;
- every node but the last and those in `_warm` is packed.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Final

from shoal.proto.numbers import INT64_MAX
from shoal.worker.values import radix
from shoal.worker.values.consumer_group import UNKNOWN, Consumer, Group, Nack, referenced
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.stream_id import (
    FEW,
    MAX_ID,
    SEQ_BITS,
    SEQ_MASK,
    SEQ_TEXTS,
    format_id,
)
from shoal.worker.values.stream_node import (
    INTEGER_DIGITS,
    MAX_INTEGER_BYTES,
    STRING_BYTES,
    Item,
    Node,
    text_bytes,
)

# Nodes beside the last one that stay unpacked: where one reader reads, and where the trimming is.
WARM: Final = 2

# What Redis allows a listpack to have, and what stream-node-max-bytes 0 means.
MAX_NODE_BYTES: Final = 1 << 30

# Pending entries that one XCLAIM makes.
CLAIMED_AT_ONCE: Final = 64


class References(Enum):
    """What becomes of pending entries whose entry is deleted, and what is deleted at all."""

    KEEP = b"KEEPREF"  # they stay pending
    DELETE = b"DELREF"  # they are pending no longer
    ACKED = b"ACKED"  # an entry is deleted only if every group has acknowledged it


class Deletion(Enum):
    """What became of one entry, as XDELEX and XACKDEL answer."""

    MISSING = -1
    DELETED = 1
    REFERENCED = 2


# Entries of one node, in order or in reverse: the names of the node, the IDs, and the items; see
# `Node` for what these are.
Run = tuple[tuple[bytes, ...], list[int], list[Item]]


class Stream:
    """See the module's text.

    Attributes:
        expire_ms: the key's expire time.
        length: the number of entries.
        last_id: the greatest ID ever, which a new one must exceed.
        first_id: the smallest ID that is there, 0 for none.
        max_deleted_id: the greatest ID that XDEL and its kin deleted.
        entries_added: the number of entries ever added.
        groups: by name.
        radix_nodes: how many nodes Redis's radix tree has.
    """

    __slots__ = (
        "_firsts",
        "_made_id",
        "_made_ms",
        "_made_seq",
        "_made_text",
        "_nodes",
        "_warm",
        "entries_added",
        "expire_ms",
        "first_id",
        "groups",
        "last_id",
        "length",
        "max_deleted_id",
        "radix_nodes",
    )

    type_name: Final = b"stream"
    encoding: Final = b"stream"

    def __init__(self) -> None:
        """Make a stream that never had an entry."""
        self.expire_ms = 0
        self.length = 0
        self.last_id = self.first_id = self.max_deleted_id = 0
        self.entries_added = 0
        self.groups: dict[bytes, Group] = {}
        self._nodes: list[Node] = []
        self._firsts: list[int] = []
        self._warm: list[Node] = []
        # The last ID that `append_pair` made, its two numbers, and the first of them printed.
        self._made_id = self._made_ms = self._made_seq = 0
        self._made_text = b"0"
        self.radix_nodes = radix.EMPTY

    def __len__(self) -> int:
        """Return the number of entries."""
        return self.length

    # -- nodes -------------------------------------------------------------------------------------

    @property
    def node_count(self) -> int:
        """The number of nodes."""
        return len(self._nodes)

    def _lists(self, node: Node) -> tuple[list[int], list[Item]]:
        """Return a node's IDs and items, which makes it warm."""
        if node.ids is None or node.items is None:
            warm = self._warm
            if node in warm:
                warm.remove(node)
            elif len(warm) >= WARM:
                warm.pop(0).pack()
            warm.append(node)
            return node.lists()
        return node.ids, node.items

    def _begin_node(self, entry_id: int, names: tuple[bytes, ...]) -> Node:
        nodes = self._nodes
        if nodes:
            tail = nodes[-1]
            if tail.names == names:
                names = tail.names  # one tuple for all of them
            if tail.ids is not None and tail not in self._warm:
                if len(self._warm) >= WARM:
                    self._warm.pop(0).pack()
                self._warm.append(tail)
        node = Node(entry_id, names)
        self.radix_nodes += radix.nodes_of(self._firsts, entry_id)
        nodes.append(node)
        self._firsts.append(entry_id)
        return node

    def _drop_node(self, at: int) -> None:
        node = self._nodes.pop(at)
        node.clear()
        del self._firsts[at]
        self.radix_nodes -= radix.nodes_of(self._firsts, node.first)
        if node in self._warm:
            self._warm.remove(node)

    def _drop_first(self, count: int) -> None:
        """Remove so many nodes in front."""
        firsts = self._firsts
        for at in range(count):
            self.radix_nodes -= radix.nodes_of(firsts, firsts[at], at + 1)
        gone = self._nodes[:count]
        for node in gone:
            node.clear()
        self._warm = [node for node in self._warm if node not in gone]
        del self._nodes[:count], firsts[:count]

    def _refresh_first(self) -> None:
        """Find `first_id` anew after entries were deleted."""
        self.first_id = 0
        for node in self._nodes:
            if node.live:
                self.first_id = self._lists(node)[0][0] if node.dead else node.first
                return

    def last_entry_id(self) -> int:
        """Return the greatest ID that is there, 0 for none."""
        for node in reversed(self._nodes):
            if node.live:
                return self._lists(node)[0][-1] if node.dead else node.last
        return 0

    def oldest_id(self) -> int:
        """Return the first ID of the first node, its entry deleted or not; 0 without nodes."""
        return self._firsts[0] if self._firsts else 0

    def take_node(
        self,
        names: tuple[bytes, ...],
        entries: Iterable[tuple[int, Sequence[bytes], bool]],
    ) -> None:
        """Add a node behind the others, whatever its size; the counters of the stream stay.

        Args:
            names: the field names of its first entry.
            entries: ID, names and values alternating, and whether it has been deleted.
        """
        entries = list(entries)
        gone = [at for at, (_, _, deleted) in enumerate(entries) if deleted]
        if len(gone) == len(entries):
            return
        node = self._begin_node(entries[0][0], names)
        for entry_id, fields, _ in entries:
            node.append(entry_id, tuple(fields))
        for at in reversed(gone):
            node.delete(at, at + 1)
        self.length += node.live
        self._refresh_first()

    # -- entries -----------------------------------------------------------------------------------

    def append(self, entry_id: int, fields: tuple[bytes, ...], size: int) -> None:
        """Add an entry, whose ID is greater than `last_id`.

        Args:
            entry_id: its ID.
            fields: names and values, alternating, at least one of each.
            size: their bytes.
        """
        nodes = self._nodes
        if nodes:
            node = nodes[-1]
            most, room = LIMITS.stream_node_max_entries, LIMITS.stream_node_max_bytes
            if not 0 < room < MAX_NODE_BYTES:
                room = MAX_NODE_BYTES
            used = node.bytes_without_counts + size
            if (most and node.live + node.dead >= most) or (
                used + 2 * MAX_INTEGER_BYTES >= room and node.listpack_bytes() + size >= room
            ):
                node = self._begin_node(entry_id, fields[::2])
        else:
            node = self._begin_node(entry_id, fields[::2])
        node.append(entry_id, fields)
        self.entries_added += 1
        self.last_id = entry_id
        if not self.length:
            self.first_id = entry_id
        self.length += 1

    def append_pair(self, now_ms: int, name: bytes, value: bytes) -> bytes | None:
        """Add an entry of one field: `append_next`, written for the machine.

        Returns: as `append_next`.
        """
        length = len(value)
        size = len(name) + length
        nodes = self._nodes
        node = nodes[-1] if nodes else None
        room = LIMITS.stream_node_max_bytes
        if (
            node is None
            or name != node.only_name
            or node.live + node.dead >= LIMITS.stream_node_max_entries
            or node.bytes_without_counts + size + 2 * MAX_INTEGER_BYTES >= room
            or room > MAX_NODE_BYTES
            or (ids := node.ids) is None
            or (items := node.items) is None
        ):
            return self.append_next(now_ms, (name, value), size)
        last_id = self.last_id
        entry_id = last_id + 1
        if last_id is self._made_id and now_ms <= self._made_ms:
            seq = self._made_seq + 1
        else:
            if entry_id > MAX_ID:
                return None
            entry_id = max(entry_id, now_ms << SEQ_BITS)
            seq = entry_id & SEQ_MASK
            self._made_ms = entry_id >> SEQ_BITS
            self._made_text = b"%d" % self._made_ms
        if entry_id >= node.far:
            node.find_id_bytes(entry_id)
        known = INTEGER_DIGITS < length < 4096
        text_size = STRING_BYTES[length] if known else text_bytes(value)
        node.bytes_without_counts += node.alike_bytes + node.id_bytes + text_size
        ids.append(entry_id)
        items.append(value)
        node.packed = None
        node.last = self.last_id = entry_id
        node.live += 1
        self.entries_added += 1
        if not self.length:
            self.first_id = entry_id
        self.length += 1
        if seq < FEW:
            self._made_id, self._made_seq = entry_id, seq
            return self._made_text + SEQ_TEXTS[seq]
        return b"%b-%d" % (self._made_text, seq)

    def append_next(self, now_ms: int, fields: tuple[bytes, ...], size: int) -> bytes | None:
        """Add an entry with the next ID of this time, or the next one at all.

        Args:
            now_ms: ms since the epoch.
            fields, size: as of `append`.
        Returns: its ID, printed; None, and nothing is added, if there is no ID left, or the fields
            are too large.
        """
        if size > MAX_NODE_BYTES:
            return None
        entry_id = self.last_id + 1
        ms = entry_id >> SEQ_BITS
        if ms < now_ms:
            ms = now_ms
            entry_id = ms << SEQ_BITS
        elif entry_id > MAX_ID:
            return None
        self.append(entry_id, fields, size)
        seq = entry_id & SEQ_MASK
        return b"%d" % ms + SEQ_TEXTS[seq] if seq < FEW else b"%d-%d" % (ms, seq)

    def _find(self, entry_id: int) -> tuple[int, int] | None:
        """Return the indexes of the node and of the entry in it, None if there is no such entry."""
        at = bisect_right(self._firsts, entry_id) - 1
        if at < 0 or entry_id > self._nodes[at].last:
            return None
        ids = self._lists(self._nodes[at])[0]
        index = bisect_left(ids, entry_id)
        if index == len(ids) or ids[index] != entry_id:
            return None
        return at, index

    def __contains__(self, entry_id: int) -> bool:
        """Tell whether there is an entry of this ID."""
        return self._find(entry_id) is not None

    def get(self, entry_id: int) -> Run | None:
        """Return one entry, None if it is not there."""
        found = self._find(entry_id)
        if found is None:
            return None
        at, index = found
        node = self._nodes[at]
        ids, items = self._lists(node)
        return node.names, ids[index : index + 1], items[index : index + 1]

    def runs(
        self, start: int = 0, end: int = MAX_ID, limit: int = -1, *, reverse: bool = False
    ) -> Iterator[Run]:
        """Iterate over the entries of an interval, both ends included, node by node.

        Args:
            start, end: the first and the last ID.
            limit: how many entries at most, negative for all.
            reverse: from the end to the start.
        """
        nodes, firsts = self._nodes, self._firsts
        low = bisect_right(firsts, start) - 1 if start else 0
        high = bisect_right(firsts, end) if end < MAX_ID else len(nodes)
        low = max(low, 0)
        for at in range(high - 1, low - 1, -1) if reverse else range(low, high):
            if not limit:
                return
            node = nodes[at]
            ids, items = self._lists(node)
            first = bisect_left(ids, start) if start > node.first else 0
            stop = len(ids) if end >= node.last else bisect_right(ids, end)
            if 0 <= limit < stop - first:
                if reverse:
                    first = stop - limit
                else:
                    stop = first + limit
            if first >= stop:
                continue
            limit -= stop - first
            ids, items = ids[first:stop], items[first:stop]
            if reverse:
                ids.reverse()
                items.reverse()
            yield node.names, ids, items

    def new_runs(self, group: Group, limit: int) -> list[Run]:
        """Return the entries that are new to a group, at most `limit`, negative for all."""
        node, last_id = group.node, group.last_id
        if node is not None and node.first <= last_id < node.last and limit > 0:
            ids, items = node.ids, node.items
            if ids is not None and items is not None:
                at = bisect_right(ids, last_id)
                stop = at + limit
                if stop <= len(ids):
                    return [(node.names, ids[at:stop], items[at:stop])]
        runs = list(self.runs(last_id + 1, limit=limit))
        if runs:
            group.node = self._nodes[bisect_right(self._firsts, runs[-1][1][-1]) - 1]
        return runs

    # -- deleting ----------------------------------------------------------------------------------

    def delete(self, entry_id: int) -> bool:
        """Delete an entry as XDEL does; tell whether it was there."""
        found = self._find(entry_id)
        if found is None:
            return False
        at, index = found
        node = self._nodes[at]
        node.delete(index, index + 1)
        self.length -= 1
        if not node.live:
            self._drop_node(at)
        if entry_id > self.max_deleted_id:
            self.max_deleted_id = entry_id
        if entry_id == self.first_id:
            self._refresh_first()
        return True

    def delete_with(self, entry_id: int, references: References) -> Deletion:
        """Delete an entry as XDELEX does."""
        if references is References.DELETE:
            self._dereference(entry_id)
        elif references is References.ACKED and referenced(self.groups.values(), entry_id):
            return Deletion.REFERENCED  # also if there is no such entry
        return Deletion.DELETED if self.delete(entry_id) else Deletion.MISSING

    def _dereference(self, entry_id: int) -> None:
        for group in self.groups.values():
            group.acknowledge(entry_id)

    def trim(
        self,
        *,
        max_length: int | None = None,
        min_id: int = 0,
        approximate: bool = False,
        limit: int = 0,
        references: References = References.KEEP,
    ) -> int:
        """Delete the oldest entries; return how many went.

        Args:
            max_length: how many may stay; None to go by `min_id`.
            min_id: the smallest ID that may stay.
            approximate: remove whole nodes only, and nothing if `references` asks for a look at
                each entry.
            limit: the most entries to remove, 0 for no limit; counted by nodes.
            references: see `References`.
        """
        deleted, at = 0, 0
        nodes = self._nodes
        if (
            approximate
            and max_length is not None
            and (not nodes or self.length - nodes[0].live < max_length)
        ):
            return 0  # as nearly always
        while at < len(nodes):
            if max_length is not None and self.length <= max_length:
                break
            node = nodes[at]
            live = node.live
            if limit and deleted + live > limit:
                break
            if max_length is not None:
                whole = self.length - live >= max_length
            else:
                whole = node.last < min_id
            if whole and references is References.KEEP:
                at += 1  # it goes below, with all the others at once
                self.length -= live
                deleted += live
                continue
            if approximate:
                break
            gone = self._trim_node(node, max_length, min_id, references)
            deleted += gone
            if whole and not node.live:
                self._drop_node(at)
                continue
            if not whole:
                break
            at += 1
        if at and references is References.KEEP:
            self._drop_first(at)
        if deleted:
            self._refresh_first()
        return deleted

    def _trim_node(
        self, node: Node, max_length: int | None, min_id: int, references: References
    ) -> int:
        """Delete the oldest entries of a node, as far as `trim` wants."""
        ids = self._lists(node)[0]
        if max_length is None:
            stop = most = bisect_left(ids, min_id)
        else:
            stop, most = len(ids), min(self.length - max_length, len(ids))
        if references is References.ACKED:
            groups = self.groups.values()
            gone = [entry_id for entry_id in ids[:stop] if not referenced(groups, entry_id)][:most]
            for entry_id in gone:
                index = bisect_left(ids, entry_id)
                node.delete(index, index + 1)
            self.length -= len(gone)
            return len(gone)
        if references is References.DELETE:
            for entry_id in ids[:most]:
                self._dereference(entry_id)
        node.delete(0, most)
        self.length -= most
        return most

    # -- groups ------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """The number of pending entries of all groups, also of entries that have gone."""
        return sum([len(group.pending) for group in self.groups.values()])

    def has_deleted_from(self, start: int) -> bool:
        """Tell whether an entry from this ID on may have been deleted by XDEL."""
        return self.length > 0 and 0 < self.max_deleted_id >= start

    def entries_up_to(self, entry_id: int) -> int:
        """Return how many entries were ever added up to this ID, UNKNOWN if that cannot be told."""
        if not self.entries_added:
            return 0
        if not self.length and entry_id <= self.last_id:
            return self.entries_added
        if 0 < entry_id < self.max_deleted_id:
            return UNKNOWN
        if entry_id >= self.last_id:
            return self.entries_added if entry_id == self.last_id else UNKNOWN
        if not self.max_deleted_id or self.max_deleted_id < self.first_id:
            if entry_id < self.first_id:
                return self.entries_added - self.length
            if entry_id == self.first_id:
                return self.entries_added - self.length + 1
        return UNKNOWN

    def _counts(self, group: Group) -> bool:
        """Tell whether entries_read of a group holds for its last ID, and goes on by counting."""
        last_id = group.last_id
        return (
            group.entries_read != UNKNOWN
            and last_id >= self.first_id
            and (self.max_deleted_id < last_id or not self.has_deleted_from(last_id))
        )

    def lag(self, group: Group) -> int | None:
        """Return how many entries a group has yet to be given, None if that cannot be told."""
        if not self.entries_added or not self.length:
            return 0
        if group.last_id < self.first_id and self.max_deleted_id < self.first_id:
            return self.length
        read = group.entries_read
        if not self._counts(group):
            read = self.entries_up_to(group.last_id)
        return None if read == UNKNOWN else self.entries_added - read

    def advance(self, group: Group, ids: list[int]) -> None:
        """Note that a group is given these entries, at least one, in order, all new to it."""
        if self._counts(group):
            # More cannot be logged: XGROUP SETID would refuse to read it again.
            group.entries_read = min(group.entries_read + len(ids), INT64_MAX)
            group.last_id = ids[-1]
            return
        for entry_id in ids:
            if self._counts(group):
                group.entries_read += 1
            elif self.entries_added:
                group.entries_read = self.entries_up_to(entry_id)
            group.last_id = entry_id
        group.entries_read = min(group.entries_read, INT64_MAX)

    # -- as of every value -------------------------------------------------------------------------

    def copy(self) -> Stream:
        """Return a stream of the same contents that shares nothing that changes."""
        twin = Stream()
        for name in ("length", "last_id", "first_id", "max_deleted_id", "entries_added"):
            setattr(twin, name, getattr(self, name))
        twin.radix_nodes = self.radix_nodes
        twin._nodes = [node.copy() for node in self._nodes]
        twin._firsts = self._firsts.copy()
        twin.groups = {name: group.copy() for name, group in self.groups.items()}
        return twin

    def commands(self, key: bytes) -> Iterator[tuple[bytes, ...]]:
        """Yield the commands that rebuild it.

        What is pending but not there any more cannot be rebuilt, as in Redis.
        """
        for names, ids, items in self.runs():
            for entry_id, item in zip(ids, items, strict=True):
                yield b"XADD", key, format_id(entry_id), *fields_of(names, item)
        if not self.length:
            yield b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"
        yield (
            *(b"XSETID", key, format_id(self.last_id)),
            *(b"ENTRIESADDED", b"%d" % min(self.entries_added, INT64_MAX)),
            # A damaged payload of RESTORE may have it above the last id, which XSETID refuses.
            *(b"MAXDELETEDID", format_id(min(self.max_deleted_id, self.last_id))),
        )
        for name, group in self.groups.items():
            read = b"%d" % group.entries_read
            last = format_id(group.last_id)
            yield b"XGROUP", b"CREATE", key, name, last, b"ENTRIESREAD", read
            for consumer in group.consumers.values():
                if not len(consumer.pending):
                    yield b"XGROUP", b"CREATECONSUMER", key, name, consumer.name
                for pending, nack in _alike(consumer):
                    yield claim(key, name, nack, pending)

    def memory_bytes(self, samples: int) -> int:
        """Return about how many bytes it takes."""
        size = sys.getsizeof(self) + sys.getsizeof(self._nodes) + sys.getsizeof(self._firsts)
        size += sys.getsizeof(self.groups)
        step = max(len(self._nodes) // samples, 1) if samples else 1
        looked = self._nodes[::step]
        if looked:
            size += sum(node.memory_bytes() for node in looked) * len(self._nodes) // len(looked)
        return size + sum(group.memory_bytes() for group in self.groups.values())

    def free(self, steps: int) -> int:
        """Let go of about so many entries and pending entries; return how many."""
        freed = 0
        while self.groups and freed < steps:
            name, group = self.groups.popitem()
            freed += group.free(steps - freed)
            if group.consumers or len(group.pending):
                self.groups[name] = group
        self._warm.clear()
        while self._nodes and freed < steps:
            freed += self._nodes.pop().live + 1
        self.length = len(self.groups) + len(self._nodes)  # 0 when nothing is left
        return freed

    def check(self) -> None:
        """Assert what the module's text says."""
        assert self._firsts == [node.first for node in self._nodes]
        assert self._firsts == sorted(set(self._firsts))
        assert self.length == sum(node.live for node in self._nodes)
        ids: list[int] = []
        for node in self._nodes:
            node.check()
            assert node.ids is None or node is self._nodes[-1] or node in self._warm, "unpacked"
            ids += node.copy().lists()[0]
        assert ids == sorted(set(ids)), "out of order"
        assert len(self._warm) <= WARM
        assert all(node in self._nodes for node in self._warm)
        assert self.first_id == (ids[0] if ids else 0)
        assert not ids or ids[-1] <= self.last_id
        count = radix.EMPTY
        for at, first in enumerate(self._firsts):
            count += radix.nodes_of(self._firsts[:at], first)
        assert self.radix_nodes == count, "nodes of the radix tree"
        for group in self.groups.values():
            group.check()
            last = group.node
            assert last is None or last.ids is None or last in self._nodes, "a node that is gone"


# An effect that is no command: key, then `length` and `first_id` of a stream of which there are
# some entries only.
COUNTED: Final = b"\3"


class Excerpt(Stream):
    """What a reader needs of a stream: some entries and groups, and all the counters, so that a
    group's are as they would be with the whole of it.
    """

    __slots__ = ("_whole",)

    def __init__(self, whole: Stream) -> None:
        """Begin without any entry or group."""
        super().__init__()
        self.last_id, self.max_deleted_id = whole.last_id, whole.max_deleted_id
        self.entries_added = whole.entries_added
        self._whole = whole

    def take(self, runs: Iterable[Run]) -> None:
        """Copy the entries of some runs of the whole; they may overlap."""
        found = {
            entry_id: (names, item)
            for names, ids, items in runs
            for entry_id, item in zip(ids, items, strict=True)
        }
        for entry_id in sorted(found):
            fields = fields_of(*found[entry_id])
            self.append(entry_id, tuple(fields), sum(map(len, fields)))
        self.last_id, self.entries_added = self._whole.last_id, self._whole.entries_added

    def commands(self, key: bytes) -> Iterator[tuple[bytes, ...]]:
        """Yield what rebuilds it, an effect that is no command last."""
        yield from super().commands(key)
        whole = self._whole
        yield COUNTED, key, b"%d" % whole.length, b"%d" % whole.first_id


def fields_of(names: tuple[bytes, ...], item: Item) -> list[bytes]:
    """Return names and values of an entry, alternating; `names` are those of its node."""
    if isinstance(item, bytes):
        return [names[0], item]
    if isinstance(item, list):
        return item.copy()
    return [text for pair in zip(names, item, strict=True) for text in pair]


def claim(key: bytes, group: bytes, nack: Nack, ids: list[bytes]) -> tuple[bytes, ...]:
    """Return the XCLAIM that makes entries pending, all in the same way; IDs are printed."""
    return (
        *(b"XCLAIM", key, group, nack.consumer.name, b"0", *ids),
        *(b"TIME", b"%d" % nack.time_ms, b"RETRYCOUNT", b"%d" % nack.count),
        *(b"FORCE", b"JUSTID"),
    )


def _alike(consumer: Consumer) -> Iterator[tuple[list[bytes], Nack]]:
    """Yield neighbours of a consumer's pending entries that were delivered alike, and how."""
    ids: list[bytes] = []
    like: Nack | None = None
    for entry_id, nack in consumer.pending.walk():
        same = like is not None and (nack.time_ms, nack.count) == (like.time_ms, like.count)
        if like is not None and (not same or len(ids) == CLAIMED_AT_ONCE):
            yield ids, like
            ids = []
        ids.append(format_id(entry_id))
        like = nack
    if like is not None:
        yield ids, like
