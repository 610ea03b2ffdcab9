"""Checker of list-append transactions: strict serializability, by the method of Elle.

Source: Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations",
VLDB 2020. A transaction appends values, each used once, and reads whole lists. So a read shows in
which order everything in it was appended, and all reads of a key must be beginnings of the longest.
From these orders follows who must come before whom:

    ww  appended the value right before one's own
    wr  appended the last value that one has read
    rw  has read the list as it was right before one's own append
    rt  had been answered before one was sent (real time)

A cycle of these is an anomaly, and without any the transactions are strictly serializable as far
as the reads tell. A value that nobody has read, of a transaction that took effect, comes after all
that were read: that is how a lost append shows, as `rw` from a read that came later.

A transaction of unknown outcome counts if somebody has read a value of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from support.histories.history import Anomaly, Call, Outcome

MOST_STARTS: Final = 500  # nodes of one tangle from which a shortest cycle is looked for


class Append(NamedTuple):
    """RPUSH of a value that is used once; its reply is the length."""

    key: bytes
    value: int

    def __str__(self) -> str:
        return f"append({self.key.decode()}, {self.value})"


class Read(NamedTuple):
    """LRANGE of a whole list; its reply is a tuple of values."""

    key: bytes

    def __str__(self) -> str:
        return f"read({self.key.decode()})"


Micro = Append | Read
Transaction = Call[tuple[Micro, ...]]
"""The reply of one that is DONE: those of its operations, in their order."""


def check(history: Sequence[Transaction]) -> list[Anomaly]:
    """Return what is wrong with a history; the cycles, shortest first, at the end."""
    return _Check(history).run()


def show(transaction: Transaction, number: int) -> str:
    """Return a transaction on one line."""
    replies = transaction.reply or ("?",) * len(transaction.what)
    steps = ", ".join(
        f"{micro} -> {list(reply) if isinstance(reply, tuple) else reply}"
        for micro, reply in zip(transaction.what, replies, strict=True)
    )
    end = "" if transaction.returned is None else f"{transaction.returned / 1e9:.6f}"
    outcome = "" if transaction.outcome is Outcome.DONE else f" ({transaction.outcome.value})"
    client = f"client {transaction.client}"
    return f"T{number} {client} {transaction.called / 1e9:.6f}..{end}{outcome}: {steps}"


class _Check:
    def __init__(self, history: Sequence[Transaction]) -> None:
        self.history = history
        self.anomalies: list[Anomaly] = []
        self.writer: dict[tuple[bytes, int], int] = {}
        self.orders: dict[bytes, tuple[int, ...]] = {}  # the longest list that was read
        self.edges: dict[int, dict[int, str]] = {}

    def run(self) -> list[Anomaly]:
        for number, transaction in enumerate(self.history):
            for micro in transaction.what:
                if isinstance(micro, Append):
                    assert (micro.key, micro.value) not in self.writer, f"used twice: {micro}"
                    self.writer[micro.key, micro.value] = number
        self._find_orders()
        for number, key, values in self._reads():
            self._check_read(number, key, values)
        for number, transaction in enumerate(self.history):
            if transaction.outcome is Outcome.DONE:
                self._check_within(number, transaction)
        self._check_lengths()
        counted = self._counted()
        self._add_dependencies(counted)
        self._add_real_time(counted)
        self._find_cycles()
        return self.anomalies

    def _reads(self) -> Iterator[tuple[int, bytes, tuple[int, ...]]]:
        for number, transaction in enumerate(self.history):
            if transaction.outcome is Outcome.DONE:
                for micro, reply in zip(transaction.what, transaction.reply, strict=True):
                    if isinstance(micro, Read):
                        yield number, micro.key, reply

    def _report(self, name: str, what: str, *numbers: int) -> None:
        lines = [what, *(show(self.history[n], n) for n in dict.fromkeys(numbers))]
        self.anomalies.append(Anomaly(name, "\n    ".join(lines)))

    # -- single reads ------------------------------------------------------------------------------

    def _find_orders(self) -> None:
        longest: dict[bytes, tuple[tuple[int, ...], int]] = {}
        for number, key, values in self._reads():
            if key not in longest or len(values) > len(longest[key][0]):
                longest[key] = (values, number)
        for number, key, values in self._reads():
            order, other = longest[key]
            if order[: len(values)] != values:
                self._report("incompatible order", f"of {key!r}", number, other)
        self.orders = {key: order for key, (order, _) in longest.items()}

    def _check_read(self, number: int, key: bytes, values: tuple[int, ...]) -> None:
        if len(set(values)) != len(values):
            self._report("duplicate", f"in a read of {key!r}", number)
        for value in values:
            writer = self.writer.get((key, value))
            if writer is None:
                self._report("garbage read", f"nobody appended {value} to {key!r}", number)
            elif self.history[writer].outcome is Outcome.REFUSED:
                self._report("aborted read", f"{value} in {key!r}", number, writer)
        if values:
            writer = self.writer.get((key, values[-1]))
            if writer is not None and writer != number:
                last = self._appended(writer, key)[-1]
                if last != values[-1]:
                    self._report("intermediate read", f"{values[-1]}, not {last}", number, writer)

    def _appended(self, number: int, key: bytes) -> list[int]:
        """Return what a transaction appends to a key."""
        return [
            micro.value
            for micro in self.history[number].what
            if isinstance(micro, Append) and micro.key == key
        ]

    def _check_within(self, number: int, transaction: Transaction) -> None:
        """A transaction sees its own appends, and between them nobody else's."""
        known: dict[bytes, tuple[int, ...]] = {}  # the whole list, after a read
        added: dict[bytes, tuple[int, ...]] = {}  # what was appended before any read
        for micro, reply in zip(transaction.what, transaction.reply, strict=True):
            key = micro.key
            if isinstance(micro, Append):
                if key in known:
                    known[key] += (micro.value,)
                    if reply != len(known[key]):
                        self._report("internal", f"length {reply} at {micro}", number)
                else:
                    added[key] = (*added.get(key, ()), micro.value)
            else:
                own = added.get(key, ())
                fits = (
                    reply == known[key] if key in known else reply[len(reply) - len(own) :] == own
                )
                if not fits or len(reply) < len(own):
                    self._report("internal", f"it does not see what it did, at {micro}", number)
                known[key] = reply

    def _check_lengths(self) -> None:
        """RPUSH tells where the value went; no two went to one place."""
        places: dict[tuple[bytes, int], tuple[int, int]] = {
            (key, place): (value, self.writer.get((key, value), -1))
            for key, order in self.orders.items()
            for place, value in enumerate(order, 1)
        }
        for number, transaction in enumerate(self.history):
            if transaction.outcome is not Outcome.DONE:
                continue
            for micro, reply in zip(transaction.what, transaction.reply, strict=True):
                if isinstance(micro, Append):
                    value, other = places.setdefault((micro.key, reply), (micro.value, number))
                    if value != micro.value:
                        both = [n for n in (number, other) if n >= 0]
                        self._report("wrong place", f"{micro} and {value} at {reply}", *both)

    # -- who comes before whom ---------------------------------------------------------------------

    def _counted(self) -> list[int]:
        """Return the transactions that took effect."""
        seen = {
            self.writer.get((key, value)) for key, order in self.orders.items() for value in order
        }
        return [
            number
            for number, transaction in enumerate(self.history)
            if transaction.outcome is Outcome.DONE
            or (transaction.outcome is Outcome.UNKNOWN and number in seen)
        ]

    def _edge(self, before: int | None, after: int | None, kind: str) -> None:
        if before is not None and after is not None and before != after:
            self.edges.setdefault(before, {}).setdefault(after, kind)

    def _add_dependencies(self, counted: Iterable[int]) -> None:
        unread: dict[bytes, list[int]] = {}
        places = {
            (key, value): place
            for key, order in self.orders.items()
            for place, value in enumerate(order)
        }
        for number in counted:
            for micro in self.history[number].what:
                if isinstance(micro, Append) and (micro.key, micro.value) not in places:
                    unread.setdefault(micro.key, []).append(number)
        for key, order in self.orders.items():
            writers = [self.writer.get((key, value)) for value in order]
            for before, after in pairwise(writers):
                self._edge(before, after, "ww")
            for number in unread.get(key, ()) if writers else ():
                self._edge(writers[-1], number, "ww")
        for number, key, values in self._reads():
            order = self.orders[key]
            if values:
                self._edge(self.writer.get((key, values[-1])), number, "wr")
            if len(values) < len(order):
                # Of a transaction that reads between its own appends the next is its own: then the
                # first of somebody else.
                for value in order[len(values) :]:
                    if (writer := self.writer.get((key, value))) != number:
                        self._edge(number, writer, "rw")
                        break
            for writer in unread.get(key, ()):
                self._edge(number, writer, "rw")

    def _add_real_time(self, counted: Iterable[int]) -> None:
        """Add as few edges as tell all: who was answered, and nobody who came wholly later."""
        events = []
        for number in counted:
            call = self.history[number]
            events.append((call.called, 0, number))
            if call.returned is not None:
                events.append((call.returned, 1, number))
        front: set[int] = set()
        before: dict[int, set[int]] = {}
        for _, is_return, number in sorted(events):
            if is_return:
                front -= before.pop(number)
                front.add(number)
            else:
                before[number] = set(front)
                for other in front:
                    self._edge(other, number, "rt")

    # -- cycles ------------------------------------------------------------------------------------

    def _find_cycles(self) -> None:
        found = []
        for tangle in _tangles(self.edges):
            inside = set(tangle)
            cycles = (_shortest(self.edges, start, inside) for start in tangle[:MOST_STARTS])
            found.append(min(cycles, key=len))
        for cycle in sorted(found, key=len):
            kinds = [self.edges[a][b] for a, b in zip(cycle, (*cycle[1:], cycle[0]), strict=True)]
            way = " ".join(f"T{n} -{kind}->" for n, kind in zip(cycle, kinds, strict=True))
            self._report(_name(kinds), f"{way} T{cycle[0]}", *cycle)


def _name(kinds: Sequence[str]) -> str:
    """Name a cycle as Adya and Elle do."""
    against = kinds.count("rw")
    if against > 1:
        name = "G2"
    elif against:
        name = "G-single"
    else:
        name = "G1c" if "wr" in kinds else "G0"
    return f"{name}-realtime" if "rt" in kinds else name


def _tangles(edges: dict[int, dict[int, str]]) -> list[list[int]]:
    """Return the strongly connected components of more than one node (Tarjan, no recursion)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    path: list[int] = []
    on_path: set[int] = set()
    found = []
    for root in edges:
        if root in index:
            continue
        work: list[tuple[int, Iterator[int]]] = [(root, iter(edges.get(root, ())))]
        index[root] = low[root] = len(index)
        path.append(root)
        on_path.add(root)
        while work:
            node, rest = work[-1]
            for other in rest:
                if other not in index:
                    index[other] = low[other] = len(index)
                    path.append(other)
                    on_path.add(other)
                    work.append((other, iter(edges.get(other, ()))))
                    break
                if other in on_path:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    tangle = [path.pop()]
                    while tangle[-1] != node:
                        tangle.append(path.pop())
                    on_path.difference_update(tangle)
                    if len(tangle) > 1:
                        found.append(tangle)
    return found


def _shortest(edges: dict[int, dict[int, str]], start: int, inside: set[int]) -> tuple[int, ...]:
    """Return a shortest cycle through a node of a strongly connected component."""
    came: dict[int, int] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for other in edges.get(node, ()):
            if other == start:
                way = [node]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return tuple(reversed(way))
            if other in inside and other not in came:
                came[other] = node
                queue.append(other)
    raise AssertionError("no cycle through a node of a tangle")
