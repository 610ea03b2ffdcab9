"""The manifest: written, read, damaged."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.proto.manifest import (
    Base,
    Manifest,
    ManifestError,
    WorkerFiles,
    base_name,
    decode_manifest,
    encode_manifest,
    incr_name,
)
from shoal.proto.slots import SLOTS

TEXT = """format 1
appendfsync everysec
last_ticket 61
skipped 57,59-60
worker 0 slots 0-8191
base 0 appendonly.0.3.base.aof size 1048576 ticket 40
incr 0 appendonly.0.4.incr.aof
incr 0 appendonly.0.5.incr.aof
worker 1 slots 8192-16383
incr 1 appendonly.1.4.incr.aof
"""
MANIFEST = Manifest(
    workers=(
        WorkerFiles(
            ((0, 8191),),
            Base("appendonly.0.3.base.aof", 1048576, 40),
            ("appendonly.0.4.incr.aof", "appendonly.0.5.incr.aof"),
        ),
        WorkerFiles(((8192, 16383),), None, ("appendonly.1.4.incr.aof",)),
    ),
    appendfsync="everysec",
    last_ticket=61,
    skipped=(57, 59, 60),
)


def signed(text: str) -> bytes:
    return text.encode() + b"sum %08x\n" % zlib.crc32(text.encode())


def test_the_text_is_for_people() -> None:
    assert encode_manifest(MANIFEST) == signed(TEXT)
    assert decode_manifest(signed(TEXT)) == MANIFEST


def test_names_and_the_next_number() -> None:
    assert len(MANIFEST.names()) == 4
    assert MANIFEST.next_sequence() == 6


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    count = draw(st.integers(1, 6))
    cuts = sorted(draw(st.sets(st.integers(1, SLOTS - 1), min_size=count - 1, max_size=count + 9)))
    starts = [0, *cuts]
    pairs = list(zip(starts, [cut - 1 for cut in cuts] + [SLOTS - 1], strict=True))
    workers = []
    for number in range(count):
        sequence = draw(st.integers(1, 10**9))
        base = Base(base_name(number, sequence), draw(st.integers(0)), draw(st.integers(0, 9)))
        incrs = tuple(incr_name(number, sequence + i) for i in range(draw(st.integers(1, 3))))
        slots = tuple(pairs[number::count])
        workers.append(WorkerFiles(slots, draw(st.sampled_from([None, base])), incrs))
    skipped = tuple(sorted(draw(st.sets(st.integers(1, 99)))))
    policy = draw(st.sampled_from(["always", "everysec", "no"]))
    return Manifest(tuple(workers), policy, 99, skipped)


@given(manifests())
def test_any_manifest_is_read_back(manifest: Manifest) -> None:
    assert decode_manifest(encode_manifest(manifest)) == manifest


@given(manifests(), st.integers(0), st.integers(0, 255))
def test_any_other_byte_is_noticed(manifest: Manifest, at: int, byte: int) -> None:
    data = bytearray(encode_manifest(manifest))
    at %= len(data)
    if data[at] != byte:
        data[at] = byte
        with pytest.raises(ManifestError):
            decode_manifest(bytes(data))


@given(manifests(), st.integers(0))
def test_any_cut_is_noticed(manifest: Manifest, at: int) -> None:
    data = encode_manifest(manifest)
    with pytest.raises(ManifestError):
        decode_manifest(data[: at % len(data)])


WRONG = {
    "a later format": ("format 1", "format 2", "only format 1 is known"),
    "policy": ("everysec", "sometimes", "'sometimes' is none of"),
    "order of lines": ("last_ticket 61\n", "", "line 3 is 'skipped', expected 'last_ticket'"),
    "number": ("last_ticket 61", "last_ticket x", "invalid literal"),
    "skipped": ("57,59-60", "57,59-99", "below 62"),
    "worker": ("worker 1", "worker 2", "worker 2 where worker 1 is expected"),
    "slot without owner": ("0-8191", "0-8190", "slot 8191 is not owned once"),
    "slot with two owners": ("0-8191", "0-8192", "slot 8193 is not owned once"),
    "last slot": ("8192-16383", "8192-16382", "slot 16383 is not owned once"),
    "path": ("appendonly.0.4", "../appendonly.0.4", "is no name"),
    "the same file twice": (".0.5.incr", ".0.4.incr", "as incr file of worker 0"),
    "another worker's file": ("incr 1 appendonly.1", "incr 1 appendonly.0", "of worker 1"),
    "kind": ("appendonly.1.4.incr", "appendonly.1.4.base", "as incr file"),
    "no file": ("incr 1 appendonly.1.4.incr.aof\n", "", "worker 1 has no incremental file"),
    "too few words": (" size 1048576", "", "not enough values"),
    "more lines": ("1.4.incr.aof\n", "1.4.incr.aof\nmore\n", "line 11 is not expected"),
    "no workers": (TEXT[TEXT.index("worker") :], "", "0 workers"),
}


@pytest.mark.parametrize(("old", "new", "message"), WRONG.values(), ids=WRONG.keys())
def test_nonsense_with_a_right_checksum(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(ManifestError, match=message):
        decode_manifest(signed(TEXT.replace(old, new)))
