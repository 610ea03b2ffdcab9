"""The append only files are readable by the tools that come with Redis."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.raw import RawClient, bulk_text, split_reply
from support.servers import STOP_BOUND_S, DebianRedis, Server, Shoal


def contents(server: Server) -> dict[tuple[int, bytes], tuple[bytes, int]]:
    """Return every (db, key) of a server with its value and its expire time."""
    found = {}
    with server.client() as client:
        for db in range(16):
            client.call(b"SELECT", b"%d" % db)
            for key in map(bulk_text, split_reply(client.call(b"KEYS", b"*"))[1]):
                value = bulk_text(client.call(b"GET", key))
                found[db, key] = value, int(client.call(b"PEXPIRETIME", key)[1:-2])
    return found


def write_some_of_everything(client: RawClient) -> None:
    """Leave traces of each kind of string command, in several databases."""
    for db in (0, 3, 0, 15):
        client.call(b"SELECT", b"%d" % db)
        for i in range(200):
            key = b"key:%d" % i
            client.call(b"SET", key, b"a\r\n*1\r\n#REL:5\r\n" * (i % 7))
            client.call(b"APPEND", key, bytes(range(256)))
            client.call(b"INCRBY", b"n:%d" % (i % 10), b"%d" % i)
            client.call(b"INCRBYFLOAT", b"f:%d" % (i % 10), b"0.1")
            client.call(b"SETRANGE", b"r:%d" % i, b"%d" % i, b"x")
            client.call(b"SET", b"e:%d" % i, b"v", b"EX", b"100000")
            client.call(b"GETEX", b"e:%d" % (i // 2), b"PERSIST")
        # Of several partitions: logged in parts between MULTI and EXEC.
        client.call(b"MSET", *(x for i in range(50) for x in (b"m:%d" % i, b"v" * i)))
        client.call(b"DEL", *(b"m:%d" % i for i in range(0, 50, 3)))
        client.call(b"RENAME", b"{tag}a", b"{tag}b")
        client.call(b"SET", b"gone", b"v", b"PX", b"1")
    client.call(b"SELECT", b"7")
    client.call(b"MSET", b"a", b"1", b"b", b"2", b"c", b"3")
    client.call(b"FLUSHDB")


@pytest.fixture(scope="module", params=[1, 3], ids=["1 worker", "3 workers"])
def written(
    request: pytest.FixtureRequest,
) -> Iterator[tuple[list[Path], dict[tuple[int, bytes], tuple[bytes, int]]]]:
    """The segments of a server that has written and stopped, and what it held."""
    with Shoal("--appendfsync", "everysec", workers=request.param) as shoal:
        with shoal.client() as client:
            write_some_of_everything(client)
        held = contents(shoal)
        shoal.stop()
        segments = sorted(shoal.directory.glob("appendonlydir/*.aof"))
        assert len(segments) == request.param
        yield segments, held


Written = tuple[list[Path], dict[tuple[int, bytes], tuple[bytes, int]]]


def test_redis_check_aof_passes_each_segment(written: Written) -> None:
    for segment in written[0]:
        done = subprocess.run(
            ["redis-check-aof", str(segment)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STOP_BOUND_S,
            check=False,
        )
        assert done.returncode == 0, done
        assert "is valid" in done.stdout, done


def test_redis_cli_pipe_moves_the_data_to_a_real_redis(written: Written) -> None:
    segments, held = written
    with DebianRedis() as redis:
        for segment in segments:
            done = subprocess.run(
                ["redis-cli", "-p", str(redis.port), "--pipe"],
                input=segment.read_bytes(),
                capture_output=True,
                timeout=STOP_BOUND_S,
                check=False,
            )
            # Redis's loader skips the lines that start with #. A client that sends them is told
            # that there is no such command: these are the errors, and no other.
            replies = re.search(rb"errors: (\d+), replies: (\d+)", done.stdout)
            assert replies is not None, done
            unknown = re.findall(
                rb"ERR unknown command '#(?:TS|TICKET|REL):", done.stderr + done.stdout
            )
            assert int(replies[1]) == len(unknown), done.stdout[-2000:]
        assert contents(redis) == held


def test_redis_loads_a_segment_as_its_own_append_only_file(written: Written) -> None:
    segments, held = written
    found: dict[tuple[int, bytes], tuple[bytes, int]] = {}
    for segment in segments:
        redis = DebianRedis("--appendonly", "yes", "--appendfilename", "appendonly.aof")
        folder = redis.directory / "appendonlydir"
        folder.mkdir()
        (folder / "appendonly.aof.1.incr.aof").write_bytes(segment.read_bytes())
        (folder / "appendonly.aof.manifest").write_text(
            "file appendonly.aof.1.incr.aof seq 1 type i\n"
        )
        with redis:
            loaded = contents(redis)
        assert not found.keys() & loaded.keys(), "a key in two segments"
        found |= loaded
    assert found == held
