"""The stream's structures against naive models, and streams rebuilt from their commands."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random

import pytest
import shoal.worker.commands.consumer_groups
import shoal.worker.commands.keys
import shoal.worker.commands.streams  # noqa: F401, declares the commands
from hypothesis import given
from hypothesis import strategies as st
from shoal.worker.keyspace import Keyspace
from shoal.worker.replay import Replayer
from shoal.worker.values import radix, stream_node
from shoal.worker.values.consumer_group import Group
from shoal.worker.values.id_map import BLOCK_MAX, IdMap
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.stream import Deletion, References, Stream, fields_of
from shoal.worker.values.stream_id import MAX_ID, format_id, parse_id
from shoal.worker.values.stream_node import Node, integer_bytes, text_bytes
from support.keyspace import Partition
from support.raw import split_line

Fields = tuple[bytes, ...]
Model = dict[int, Fields]  # in the order of the IDs, which only grow

VALUES = (b"", b"v", b"-1", b"4096", b"x" * 63, b"x" * 64, b"\x00\r\n\xff", b"y" * 300, b"-0")


@pytest.fixture(params=[(100, 4096), (4, 4096), (0, 200), (3, 0)])
def node_limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test with several sizes of nodes."""
    entries, size = request.param
    monkeypatch.setattr(LIMITS, "stream_node_max_entries", entries)
    monkeypatch.setattr(LIMITS, "stream_node_max_bytes", size)


def add(stream: Stream, entry_id: int, fields: Fields) -> None:
    stream.append(entry_id, fields, sum(map(len, fields)))


def entries(
    stream: Stream, start: int = 0, end: int = MAX_ID, limit: int = -1, *, reverse: bool = False
) -> list[tuple[int, Fields]]:
    return [
        (entry_id, tuple(fields_of(names, item)))
        for names, ids, items in stream.runs(start, end, limit, reverse=reverse)
        for entry_id, item in zip(ids, items, strict=True)
    ]


def random_fields(random: Random) -> Fields:
    names = random.choice([(b"f",), (b"f",), (b"f", b"g"), (b"g",), (b"f", b"f")])
    return tuple(word for name in names for word in (name, random.choice(VALUES)))


def agree(stream: Stream, model: Model) -> None:
    stream.check()
    assert entries(stream) == list(model.items())
    assert len(stream) == len(model)
    assert stream.first_id == next(iter(model), 0)
    assert stream.last_entry_id() == next(reversed(model), 0)


def ask(stream: Stream, model: Model, random: Random) -> None:
    """Compare the answers to one random question of each kind."""
    ids = [*model, 0, MAX_ID, stream.last_id + 1]
    start, end = (max(random.choice(ids) + random.randint(-1, 1), 0) for _ in range(2))
    end = min(end, MAX_ID)
    limit = random.choice([-1, 0, 1, 2, 7, 1000])
    inside = [item for item in model.items() if start <= item[0] <= end]
    wanted = inside if limit < 0 else inside[:limit]
    assert entries(stream, start, end, limit) == wanted
    inside.reverse()
    wanted = inside if limit < 0 else inside[:limit]
    assert entries(stream, start, end, limit, reverse=True) == wanted
    assert (start in stream) == (start in model)
    run = stream.get(start)
    assert (run is not None) == (start in model)
    if run is not None:
        names, found, items = run
        assert found == [start]
        assert tuple(fields_of(names, items[0])) == model[start]


def change(stream: Stream, model: Model, random: Random) -> None:
    """Make one random change to both."""
    kind = random.random()
    if kind < 0.75 or not model:
        step = random.choice([1, 1, 1, 7, 1 << 64, (9 << 64) + 3, 1 << 96])
        entry_id = min(stream.last_id + step, MAX_ID)
        fields = random_fields(random)
        if entry_id > stream.last_id:
            add(stream, entry_id, fields)
            model[entry_id] = fields
    elif kind < 0.9:
        entry_id = random.choice([*model, stream.last_id + 1, 0])
        assert stream.delete(entry_id) == (entry_id in model)
        if model.pop(entry_id, None) is not None:
            assert stream.max_deleted_id >= entry_id
    elif kind < 0.95:
        most = random.randint(0, len(model))
        approximate = random.random() < 0.5
        before = len(model)
        went = stream.trim(max_length=most, approximate=approximate)
        assert went <= before - most if approximate else went == before - most
        for entry_id in list(model)[:went]:
            del model[entry_id]
    else:
        least = random.choice(list(model)) + random.randint(-1, 1)
        approximate = random.random() < 0.5
        older = [entry_id for entry_id in model if entry_id < least]
        went = stream.trim(min_id=least, approximate=approximate)
        assert went <= len(older) if approximate else went == len(older)
        for entry_id in older[:went]:
            del model[entry_id]


@pytest.mark.usefixtures("node_limits")
@pytest.mark.parametrize("seed", range(4))
def test_random_changes(seed: int) -> None:
    random = Random(seed)
    stream, model = Stream(), Model()
    for _ in range(400):
        change(stream, model, random)
        agree(stream, model)
        ask(stream, model, random)
        if random.random() < 0.03:
            stream, left = stream.copy(), stream
            add(left, MAX_ID, (b"f", b"of the original"))
            left.delete(left.first_id)
    assert stream.entries_added > len(model)
    assert stream.memory_bytes(0) > len(model)


def test_entries_of_a_copy_are_its_own() -> None:
    stream = Stream()
    for at in range(1, 300):
        add(stream, at, (b"f", b"%d" % at))
    stream.groups[b"g"] = group = Group(0, 0)
    group.deliver(group.create_consumer(b"c", 1), [1, 2, 3], 5)
    twin = stream.copy()
    before = entries(stream), list(rebuilt(stream))
    for at in range(1, 300, 2):
        twin.delete(at)
    twin.groups[b"g"].acknowledge(2)
    twin.groups[b"g"].consumers[b"c"].seen_ms = 9
    twin.check()
    stream.check()
    assert (entries(stream), list(rebuilt(stream))) == before
    assert len(twin) == 149
    assert list(dict(twin.groups[b"g"].pending.walk())) == [1, 3]


def test_whole_nodes_go_when_trimming_is_approximate() -> None:
    stream = Stream()
    for at in range(1, 251):
        add(stream, at, (b"f", b"v"))
    assert stream.node_count == 3
    assert stream.trim(max_length=151, approximate=True) == 0
    assert stream.trim(max_length=150, approximate=True) == 100
    assert stream.first_id == 101
    assert stream.trim(min_id=201, approximate=True, references=References.ACKED) == 0
    assert stream.trim(min_id=201, approximate=True, limit=99) == 0
    assert stream.trim(min_id=201, approximate=True, limit=100) == 100
    assert stream.trim(max_length=1) == 49
    assert stream.node_count == 1
    assert entries(stream) == [(250, (b"f", b"v"))]
    assert stream.trim(max_length=0) == 1
    assert (stream.node_count, stream.first_id, stream.last_id) == (0, 0, 250)
    stream.check()


def test_only_a_few_nodes_are_unpacked() -> None:
    stream = Stream()
    for at in range(1, 10_001):
        add(stream, at << 64, (b"field", b"v%09d" % at))
    assert stream.node_count == 100
    assert sum(len(run[1]) for run in stream.runs()) == 10_000
    assert stream.memory_bytes(0) < 10_000 * 30
    assert abs(stream.memory_bytes(10) - stream.memory_bytes(0)) < 60_000  # the unpacked ones
    stream.check()


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=4), st.integers(0, 1 << 127))
def test_a_node_packs_what_it_holds(values: list[bytes], first: int) -> None:
    names = tuple(b"%d" % at for at in range(len(values)))
    fields = tuple(word for pair in zip(names, values, strict=True) for word in pair)
    node = Node(first, names)
    for at in range(3):
        node.append(first + at * (1 << 60), fields)
    node.append(first + (1 << 65), (b"other", b"names"))
    before = node.copy().lists()
    node.check()
    node.pack()
    assert node.ids is None
    assert node.lists() == before
    node.check()


# Text, and how many bytes it takes in a listpack, its length behind it included.
LISTPACK = {
    b"": 2,
    b"0": 2,
    b"127": 2,
    b"128": 3,
    b"-1": 3,
    b"-4096": 3,
    b"4095": 3,
    b"4096": 4,
    b"-32768": 4,
    b"32768": 5,
    b"8388607": 5,
    b"8388608": 6,
    b"-2147483648": 6,
    b"2147483648": 10,
    b"9223372036854775807": 10,
    b"9223372036854775808": 21,
    b"01": 4,
    b"-": 3,
    b"-0": 4,
    b"x" * 63: 65,
    b"x" * 64: 67,
    b"x" * 125: 128,
    b"x" * 126: 130,
    b"x" * 4095: 4099,
    b"x" * 4096: 4103,
    b"x" * 20_000: 20_008,
}


@pytest.mark.parametrize(("text", "size"), LISTPACK.items())
def test_bytes_of_a_listpack(text: bytes, size: int) -> None:
    assert text_bytes(text) == size
    if size <= stream_node.MAX_INTEGER_BYTES and text.removeprefix(b"-").isdigit():
        canonical = b"%d" % int(text) == text
        assert integer_bytes(int(text)) == size or not canonical


@pytest.mark.parametrize("seed", range(5))
def test_what_a_node_counts_is_what_its_entries_take(seed: int) -> None:
    random = Random(seed)
    first = random.randrange(1 << 127)
    node = Node(first, random_fields(random)[::2])
    size = 7 + integer_bytes(len(node.names)) + sum(map(text_bytes, node.names)) + 2
    entry_id = first
    for _ in range(200):
        fields = random_fields(random)
        entry_id += random.choice([0, 1, 200, 1 << 64, 1 << 80])
        node.append(entry_id, fields)
        ms = (entry_id >> 64) - (first >> 64)
        seq = (entry_id & (1 << 64) - 1) - (first & (1 << 64) - 1)
        alike = fields[::2] == node.names
        words = fields[1::2] if alike else fields
        count = len(words) + (3 if alike else 4)
        size += 2 + integer_bytes(ms) + integer_bytes(seq) + integer_bytes(count)
        size += sum(map(text_bytes, words)) + (0 if alike else integer_bytes(len(fields) // 2))
        assert node.listpack_bytes() == size + integer_bytes(node.live) + integer_bytes(0)
        entry_id += 1


# -- IDs -------------------------------------------------------------------------------------------


@given(st.integers(0, MAX_ID))
def test_ids_survive_printing(entry_id: int) -> None:
    assert parse_id(format_id(entry_id)) == entry_id
    assert parse_id(format_id(entry_id) + b"\0-7") == entry_id


@pytest.mark.parametrize(
    "text",
    [b"", b"-", b"+", b"1-", b"-1", b"1--1", b"1-2-3", b"x", b"1-x", b"1.0", b"\xd9\xa1", b"*"],
)
def test_what_is_no_id(text: bytes) -> None:
    assert parse_id(text) is None
    assert parse_id(b"1" * 128) is None


# -- the map of IDs --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_map_of_ids(seed: int) -> None:
    random = Random(seed)
    ids: IdMap[int] = IdMap()
    model: dict[int, int] = {}
    span = random.choice([50, 5000, 1 << 70])
    for step in range(600):
        kind = random.random()
        if kind < 0.3:
            first = max(model, default=0) + random.randint(1, 5)
            more = range(first, first + random.choice([1, 3, BLOCK_MAX, 2 * BLOCK_MAX + 7]))
            ids.extend(more, [step] * len(more))
            model.update(dict.fromkeys(more, step))
        elif kind < 0.6:
            entry_id = random.randrange(span)
            if entry_id not in model:
                ids.add(entry_id, step)
                model[entry_id] = step
        else:
            for entry_id in random.sample(sorted(model), min(len(model), random.choice([1, 400]))):
                assert ids.pop(entry_id) == model.pop(entry_id)
        entry_id = random.randrange(span)
        assert ids.get(entry_id) == model.get(entry_id)
        assert ids.pop(-1) is None
        assert len(ids) == len(model)
        if step % 20 == 0:
            ids.check()
            assert list(ids.walk()) == sorted(model.items())
            assert list(ids.walk(entry_id)) == sorted(i for i in model.items() if i[0] >= entry_id)
        if model:
            assert (ids.first(), ids.last()) == (min(model), max(model))


def test_what_was_given_may_be_removed_while_a_map_is_walked() -> None:
    ids: IdMap[None] = IdMap()
    ids.extend(range(5000), [None] * 5000)
    seen = []
    for entry_id, _ in ids.walk(7):
        seen.append(entry_id)
        ids.pop(entry_id)
    assert seen == list(range(7, 5000))
    assert len(ids) == 7


# -- the radix tree --------------------------------------------------------------------------------


def tree_nodes(keys: list[bytes]) -> int:
    """Count the nodes of a compressed tree the naive way: chains, branches, leaves."""
    if keys == [b""]:
        return 1
    heads = sorted({key[:1] for key in keys})
    if len(heads) > 1:
        branches = [[key[1:] for key in keys if key[:1] == head] for head in heads]
        return 1 + sum(map(tree_nodes, branches))
    shared = next(
        size
        for size in itertools.count(1)
        if len({key[: size + 1] for key in keys}) > 1 or size == len(keys[0])
    )
    return 1 + tree_nodes([key[shared:] for key in keys])


@pytest.mark.parametrize("seed", range(5))
def test_nodes_of_a_radix_tree(seed: int) -> None:
    random = Random(seed)
    keys: list[int] = []
    count = radix.EMPTY
    for _ in range(300):
        if keys and random.random() < 0.3:
            key = keys.pop(random.randrange(len(keys)))
            count -= radix.nodes_of(keys, key)
        else:
            key = sum(random.choice([0, 1, 255]) << 8 * random.randrange(16) for _ in range(4))
            key %= 1 << 128
            if key not in keys:
                count += radix.nodes_of(keys, key)
                keys = sorted([*keys, key])
        if keys:
            assert count == tree_nodes([key.to_bytes(16, "big") for key in keys])
        else:
            assert count == radix.EMPTY


# -- groups ----------------------------------------------------------------------------------------


def test_what_acked_deletes() -> None:
    stream = Stream()
    for at in range(1, 6):
        add(stream, at, (b"f", b"v"))
    assert stream.delete_with(1, References.ACKED) is Deletion.DELETED
    stream.groups[b"g"] = group = Group(3, 3)
    consumer = group.create_consumer(b"c", 1)
    group.deliver(consumer, [2], 1)
    assert stream.delete_with(2, References.ACKED) is Deletion.REFERENCED
    assert stream.delete_with(4, References.ACKED) is Deletion.REFERENCED
    assert stream.delete_with(3, References.ACKED) is Deletion.DELETED
    assert stream.delete_with(3, References.ACKED) is Deletion.MISSING
    assert stream.trim(max_length=0, references=References.ACKED) == 0
    assert stream.delete_with(2, References.KEEP) is Deletion.DELETED
    assert len(group.pending) == 1
    assert stream.delete_with(2, References.DELETE) is Deletion.MISSING
    assert not len(group.pending)
    stream.check()


def test_entries_given_again_move() -> None:
    group = Group(0, 0)
    one, two = group.create_consumer(b"1", 1), group.create_consumer(b"2", 1)
    group.deliver(one, [1, 2, 3, 5], 10)
    group.deliver(two, [2, 3, 4, 6], 20)
    group.check()
    assert [entry_id for entry_id, _ in one.pending.walk()] == [1, 5]
    assert [entry_id for entry_id, _ in two.pending.walk()] == [2, 3, 4, 6]
    assert [nack.time_ms for _, nack in group.pending.walk()] == [10, 20, 20, 20, 10, 20]
    assert group.delete_consumer(b"2") == 4
    group.check()
    assert [entry_id for entry_id, _ in group.pending.walk()] == [1, 5]


def test_a_big_stream_is_freed_in_slices() -> None:
    stream = Stream()
    for at in range(1, 2001):
        add(stream, at, (b"f", b"v"))
    for name in (b"g", b"h"):
        stream.groups[name] = group = Group(2000, 2000)
        group.deliver(group.create_consumer(b"c", 1), range(1, 2001), 1)
    freed, slices = 0, 0
    while len(stream):
        steps = stream.free(100)
        assert 0 < steps <= 100 + BLOCK_MAX
        freed += steps
        slices += 1
    assert freed >= 2000 + 2 * 2 * 2000
    assert slices >= 10


# -- rebuilding ------------------------------------------------------------------------------------


def rebuilt(stream: Stream) -> Iterator[object]:
    """Yield all that a stream is rebuilt with; times of consumers are not."""
    yield stream.last_id, stream.max_deleted_id, stream.entries_added
    yield entries(stream)
    for name, group in sorted(stream.groups.items()):
        yield name, group.last_id, group.entries_read, sorted(group.consumers)
        for entry_id, nack in group.pending.walk():
            if entry_id in stream:
                yield entry_id, nack.consumer.name, nack.time_ms, nack.count


HISTORIES = {
    "entries": ["XADD s 5-1 f v", "XADD s 5-2 g w f v"],
    "deleted ones": [*(f"XADD s {n} f v" for n in range(1, 9)), "XDEL s 8 3 1"],
    "no entries": ["XADD s 5 f v", "XDEL s 5"],
    "never any": ["XGROUP CREATE s g 0 MKSTREAM", "XGROUP CREATECONSUMER s g c"],
    "trimmed": ["XADD s 5 f v", "XADD s 6 f v", "XTRIM s MAXLEN 1", "XSETID s 9"],
    "groups": [
        *(f"XADD s {n} f v" for n in range(1, 200)),
        *("XGROUP CREATE s g 0", "XGROUP CREATE s h 100-1 ENTRIESREAD 7", "XGROUP CREATE s i $"),
        *("XREADGROUP GROUP g c COUNT 150 STREAMS s >", "XREADGROUP GROUP g d STREAMS s >"),
        *("XREADGROUP GROUP h c STREAMS s >", "XREADGROUP GROUP g c COUNT 5 STREAMS s 0"),
        *("XCLAIM s g d 0 7 9 11 IDLE 500 RETRYCOUNT 5", "XGROUP CREATECONSUMER s g e"),
        *("XACK s g 2 3 4 151", "XDEL s 12 13 160", "XREADGROUP GROUP g f STREAMS s >"),
    ],
}


@pytest.mark.parametrize("lines", HISTORIES.values(), ids=HISTORIES.keys())
def test_a_stream_is_rebuilt_from_its_commands(lines: list[str]) -> None:
    partition, other = Partition(), Partition()
    for line in lines:
        reply = partition.run(split_line(line))
        assert reply[:1] != b"-", (line, reply)
    stream: Stream = partition.ks.lookup_write(b"s", Stream)
    replayer = Replayer(other.store)
    for argv in stream.commands(b"s"):
        assert len(argv) < 100
        replayer.apply(argv)
    twin: Stream = other.ks.lookup_write(b"s", Stream)
    twin.check()
    assert list(rebuilt(twin)) == list(rebuilt(stream))
    assert stream.lag(Group(0, 0)) == twin.lag(Group(0, 0))


def state(ks: Keyspace) -> list[object]:
    found: list[object] = []
    for key in (b"s", b"t"):
        stream = ks.find(key)
        if stream is not None:
            stream.check()
            found += [stream.node_count, stream.radix_nodes, stream.first_id, *rebuilt(stream)]
            found += [
                [entry_id for entry_id, _ in g.pending.walk()] for g in stream.groups.values()
            ]
    return found


def random_line(random: Random) -> str:
    key = random.choice("sst")
    group, consumer = random.choice("gh"), random.choice("cde")
    ids = [f"{NOW + random.randint(-3, 9)}-{random.randint(0, 3)}" for _ in range(2)]
    references = random.choice(["", "KEEPREF", "DELREF", "ACKED"])
    trim = random.choice(["MAXLEN {}", "MAXLEN ~ {}", "MINID {}", "MINID ~ {} LIMIT 6"])
    trim = trim.format(random.randrange(9) if "MAX" in trim else ids[0])
    lines = {
        f"XADD {key} {random.choice(['*', '*', ids[0], f'{NOW + 9}-*'])} f {random.random()}": 8,
        f"XADD {key} {references} {trim} * f v g w": 3,
        f"XTRIM {key} {references} {trim}": 1,
        f"XDEL {key} {ids[0]} {ids[1]}": 1,
        f"XDELEX {key} {references} IDS 2 {ids[0]} {ids[1]}": 1,
        f"XACKDEL {key} {group} {references} IDS 2 {ids[0]} {ids[1]}": 2,
        f"XGROUP CREATE {key} {group} {random.choice(['0', '$', ids[0]])} MKSTREAM": 1,
        f"XGROUP SETID {key} {group} {random.choice(['0', '$', ids[0]])}": 1,
        f"XGROUP DESTROY {key} {group}": 0.1,
        f"XGROUP DELCONSUMER {key} {group} {consumer}": 0.3,
        f"XREADGROUP GROUP {group} {consumer} COUNT {random.randint(1, 9)} STREAMS {key} >": 6,
        f"XREADGROUP GROUP {group} {consumer} NOACK COUNT 1 STREAMS {key} >": 1,
        f"XREADGROUP GROUP {group} x{consumer} STREAMS {key} 0": 0.3,
        f"XACK {key} {group} {ids[0]} {ids[1]}": 2,
        f"XCLAIM {key} {group} {consumer} 3 {ids[0]} {ids[1]} FORCE": 1,
        f"XCLAIM {key} {group} {consumer} 3 {ids[0]} IDLE 7 LASTID {ids[1]}": 1,
        f"XAUTOCLAIM {key} {group} {consumer} 3 {ids[0]} COUNT 3": 1,
        f"XSETID {key} {ids[0]} ENTRIESADDED 30": 0.2,
        f"DEL {key}": 0.05,
    }
    return random.choices(list(lines), list(lines.values()))[0]


NOW = 1_700_000_000_000


@pytest.mark.parametrize("seed", range(6))
def test_the_log_leads_to_the_same_streams(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LIMITS, "stream_node_max_entries", 4)
    random = Random(seed)
    first, second = Partition(), Partition()
    replayer = Replayer(second.store)
    done = []
    for _ in range(500):
        first.store.now_ms += random.choice([0, 0, 1, 5])
        line = random_line(random)
        done.append(line)
        first.run(split_line(line))
        for _, argv in first.logged:
            replayer.apply(argv)
        assert state(first.ks) == state(second.ks), done[-20:]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 3), st.integers(1, 70)), min_size=1))
def test_packed_ids_are_the_same(runs: list[tuple[int, int, int]]) -> None:
    ids: list[int] = []
    last = NOW << 64
    for ms, gap, length in runs:  # neighbours, and gaps within a millisecond and between some
        first = last + gap if not ms else (last >> 64) + ms << 64
        ids += range(first, first + length)
        last = ids[-1]
    node = Node(ids[0], (b"f",))
    for entry_id in ids:
        node.append(entry_id, (b"f", b"v"))
    packed = node.copy()
    assert packed.ids is None
    assert packed.lists() == (ids, [b"v"] * len(ids))
    assert packed.bytes_without_counts == node.bytes_without_counts
