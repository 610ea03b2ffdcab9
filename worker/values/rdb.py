"""The values of keys in the format of DUMP and of snapshots, both ways.

`proto/rdb_format.py` knows the format, in plain Python types; here is what belongs to which class.
A value that is read gets the encoding Redis would give it: small collections are compact again as
far as the limits of now allow, whatever they were when they were written.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from shoal.proto.rdb_format import (
    Entry,
    HashValue,
    Kind,
    ListNode,
    ListValue,
    SetValue,
    SortedSetValue,
    StreamConsumer,
    StreamGroup,
    StreamNode,
    StreamValue,
    Value,
    Writer,
)
from shoal.worker.values import consumer_group
from shoal.worker.values import hash as hashes
from shoal.worker.values import set as sets
from shoal.worker.values.consumer_group import Group
from shoal.worker.values.hash import Hash
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.list import List
from shoal.worker.values.set import Set
from shoal.worker.values.sorted_set import SortedSet
from shoal.worker.values.stream import Stream, fields_of
from shoal.worker.values.string import String

# -- writing ---------------------------------------------------------------------------------------


def save(value: Any, writer: Writer) -> Kind:
    """Write a stored value, without its expire time; return its kind."""
    if value.__class__ is bytes:
        return writer.string(value)
    kind: Kind = _SAVE[value.__class__](value, writer)
    return kind


def _save_string(value: String, writer: Writer) -> Kind:
    return writer.string(bytes(value.data))


def _save_list(value: List, writer: Writer) -> Kind:
    return writer.list([ListNode(*node) for node in value.nodes()])


def _save_set(value: Set, writer: Writer) -> Kind:
    members = value.members()
    if value.encoding == sets.INTSET:
        return writer.set_intset([int(member) for member in members])
    if value.encoding == sets.LISTPACK:
        return writer.set_listpack(members)
    return writer.set(members)


def _save_hash(value: Hash, writer: Writer) -> Kind:
    pairs = list(value.live_items(0))  # in order, and none expired at the beginning of time
    if value.encoding == hashes.LISTPACK:
        return writer.hash_listpack(pairs)
    times = {} if value.times is None else dict(value.times.items())
    if value.encoding == hashes.LISTPACKEX:
        if len(times) > hashes.TIMES_FLAT_MAX:  # then they come in any order
            pairs.sort(key=lambda pair: times.get(pair[0], hashes.NEVER))
        return writer.hash_listpack_ex(pairs, times)
    return writer.hash(pairs, times)


def _save_sorted_set(value: SortedSet, writer: Writer) -> Kind:
    if value.encoding == b"listpack":
        return writer.sorted_set_listpack(value.items())
    return writer.sorted_set(list(value.items())[::-1])


def _save_stream(value: Stream, writer: Writer) -> Kind:
    nodes = []
    for names, ids, items in value.runs():
        entries = [
            Entry(entry_id, fields_of(names, item))
            for entry_id, item in zip(ids, items, strict=True)
        ]
        # A node begins with an entry that is in it; here those deleted are gone.
        nodes.append(StreamNode(ids[0], list(names), entries))
    return writer.stream(
        StreamValue(
            nodes,
            value.length,
            value.last_id,
            value.first_id,
            value.max_deleted_id,
            value.entries_added,
            [_plain_group(name, value.groups[name]) for name in sorted(value.groups)],
        )
    )


def _plain_group(name: bytes, group: Group) -> StreamGroup:
    read = None if group.entries_read == consumer_group.UNKNOWN else group.entries_read
    pending = {entry_id: (nack.time_ms, nack.count) for entry_id, nack in group.pending.walk()}
    consumers = [
        StreamConsumer(
            consumer.name,
            consumer.seen_ms,
            consumer.active_ms,
            [entry_id for entry_id, _ in consumer.pending.walk()],
        )
        for _, consumer in sorted(group.consumers.items())
    ]
    return StreamGroup(name, group.last_id, read, pending, consumers)


_SAVE: Any = {
    String: _save_string,
    List: _save_list,
    Set: _save_set,
    Hash: _save_hash,
    SortedSet: _save_sorted_set,
    Stream: _save_stream,
}

# -- reading ---------------------------------------------------------------------------------------


def load(value: Value) -> Any:
    """Return a value, as it may be stored, of what `read_value` returned."""
    if isinstance(value, bytes):
        return value
    return _LOAD[value.__class__](value)


def _load_list(value: ListValue) -> List:
    if value.kind == Kind.LIST:
        return List.stored(value.nodes[0].elements)
    return List.of_nodes(value.nodes, listpack=value.kind != Kind.LIST_ZIPLIST)


def _load_set(value: SetValue) -> Set:
    size = len(value.members)
    if value.kind == Kind.SET_INTSET:
        fits = size <= LIMITS.set_max_intset_entries
        return Set.of(value.members, sets.INTSET if fits else sets.HASHTABLE)
    if value.kind == Kind.SET_LISTPACK:
        fits = size <= LIMITS.set_max_listpack_entries
        return Set.of(value.members, sets.LISTPACK if fits else sets.HASHTABLE)
    new = Set(sets.INTSET if size <= LIMITS.set_max_intset_entries else sets.HASHTABLE)
    new.update(value.members)
    return new


def _load_hash(value: HashValue) -> Hash:
    new = Hash()
    new.put_pairs(list(chain.from_iterable(value.pairs)))
    if value.kind != Kind.HASH:
        fits = len(new) <= LIMITS.hash_max_listpack_entries
        new.encoding = hashes.LISTPACK if fits else hashes.HASHTABLE
        if value.kind == Kind.HASH_LISTPACK_EX:
            new.become_listpackex()
    # Of equal times the one that was set last comes first.
    for field, at_ms in reversed(value.times.items()):
        new.set_expire(field, at_ms)
    return new


def _load_sorted_set(value: SortedSetValue) -> SortedSet:
    new = SortedSet(value.elements)
    if value.kind == Kind.SORTED_SET_LISTPACK:
        new.assume_listpack()
    return new


def _load_stream(value: StreamValue) -> Stream:
    new = Stream()
    for node in value.nodes:
        new.take_node(tuple(node.names), node.entries)
    new.last_id, new.max_deleted_id = value.last_id, value.max_deleted_id
    new.entries_added = value.length if value.entries_added is None else value.entries_added
    for plain in value.groups:
        read = plain.entries_read
        if value.entries_added is None:
            read = new.entries_up_to(plain.last_id)
        group = Group(plain.last_id, consumer_group.UNKNOWN if read is None else read)
        new.groups[plain.name] = group
        for one in plain.consumers:
            consumer = group.create_consumer(one.name, one.seen_ms)
            consumer.active_ms = one.active_ms
            for entry_id in one.pending:
                group.assign(entry_id, consumer, *plain.pending[entry_id])
    return new


_LOAD: Any = {
    ListValue: _load_list,
    SetValue: _load_set,
    HashValue: _load_hash,
    SortedSetValue: _load_sorted_set,
    StreamValue: _load_stream,
}
