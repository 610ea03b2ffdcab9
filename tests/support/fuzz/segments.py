"""What a restart, another number of workers and a real Redis make of Shoal's log."""

from __future__ import annotations

from shoal.proto.manifest import MANIFEST_NAME, decode_manifest
from support.fuzz.special import forgetting
from support.fuzz.state import Contents, contents, differences, logged
from support.servers import Oracle, Server, Shoal


def check_log(subject: Shoal, other_workers: int) -> list[str]:
    """Stop Shoal and look at what its log says; return what differs from what it held in memory.

    Encodings are not compared: the values are built anew, under default thresholds.

    Args:
        subject: running with `appendonly yes`; it runs again in the end, with as many workers.
        other_workers: another number of workers, to start with in between.
    """
    workers = subject.workers
    before = _held(subject)
    subject.stop()
    held = logged(before)
    lines = _compare("a real Redis", held, logged(_read_by_redis(subject)))
    subject.start()
    lines += _compare("a start", held, logged(_held(subject)))
    subject.stop()
    held = logged(before, rewritten=True)
    subject.workers = other_workers
    subject.start()
    found = logged(_held(subject), rewritten=True)
    lines += _compare(f"a start with {other_workers} workers", held, found)
    subject.stop()
    found = logged(_read_by_redis(subject), rewritten=True)
    lines += _compare(f"a real Redis, of {other_workers} workers", held, found)
    subject.workers = workers
    subject.start()
    return lines


def _held(server: Server) -> Contents:
    with server.client() as client:
        return contents(client)


def _compare(reader: str, held: Contents, read: Contents) -> list[str]:
    return [f"{reader}: {line}" for line in differences(held, read, encodings=False)]


def _read_by_redis(subject: Shoal) -> Contents:
    """Let a real Redis load each worker's files as its own append only file.

    One Redis for each: FLUSHALL stands in all segments and means the keys of its own.
    """
    folder = subject.directory / "appendonlydir"
    manifest = decode_manifest((folder / MANIFEST_NAME).read_bytes())
    found: Contents = {}
    for files in manifest.workers:
        names = [*([files.base.name] if files.base else []), *files.incrs]
        redis = Oracle("--appendonly", "yes", "--appendfilename", "appendonly.aof")
        target = redis.directory / "appendonlydir"
        target.mkdir()
        data = b"".join([(folder / name).read_bytes() for name in names])
        (target / "appendonly.aof.1.incr.aof").write_bytes(forgetting(data))
        (target / "appendonly.aof.manifest").write_text(
            "file appendonly.aof.1.incr.aof seq 1 type i\n"
        )
        with redis:
            loaded = _held(redis)
        assert not found.keys() & loaded.keys(), "a key in two segments"
        found |= loaded
    return found
