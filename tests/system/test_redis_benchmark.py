"""redis-benchmark with each of its flags that applies to what Shoal serves."""

import csv
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.raw import RawClient, bulk_text
from support.servers import STOP_BOUND_S, Shoal, wait_until

TESTS = "ping,set,get,incr,mset"
TITLES = {"PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"}

# name -> (flags, the tests that its report must name)
RUNS: dict[str, tuple[list[str], set[str]]] = {
    "fifty clients": (["-n", "20000", "-t", TESTS], TITLES),
    "one client": (["-c", "1", "-n", "500", "-t", "set,get"], {"SET", "GET"}),
    "two hundred clients": (["-c", "200", "-n", "10000", "-t", "set,get"], {"SET", "GET"}),
    "value size": (["-d", "20000", "-n", "2000", "-t", "set,get"], {"SET", "GET"}),
    "random keys": (["-r", "100000", "-n", "20000", "-t", TESTS], TITLES),
    "pipelines": (["-P", "64", "-n", "100000", "-r", "100000", "-t", TESTS], TITLES),
    "connection for each request": (["-k", "0", "-n", "2000", "-t", "ping,set"], {"SET"}),
    "two threads": (["--threads", "2", "-n", "20000", "-t", "set,get"], {"SET", "GET"}),
    "another database": (["--dbnum", "3", "-n", "5000", "-t", "set,incr"], {"SET", "INCR"}),
    "RESP3": (["-3", "-n", "5000", "-t", "set,get"], {"SET", "GET"}),
    "precision": (["--precision", "3", "-n", "2000", "-t", "set"], {"SET"}),
    "address as a URI": (["-u", "redis://127.0.0.1:PORT/2", "-n", "2000", "-t", "set"], {"SET"}),
    "a command of its own": (
        ["-r", "50", "-n", "2000", "SETEX", "key:__rand_int__", "100", "v"],
        {"SETEX key:__rand_int__ 100 v"},
    ),
}


def benchmark(*arguments: str) -> str:
    """Run redis-benchmark; insist that it ends well and complains of nothing."""
    done = subprocess.run(
        ["redis-benchmark", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * STOP_BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done
    # -k 0 warns that it leaves many ports waiting behind it.
    complaints = [line for line in done.stderr.splitlines() if "Keepalive disabled" not in line]
    assert not complaints
    assert not re.search(r"error|warning|could not", done.stdout, re.IGNORECASE), done.stdout
    return done.stdout


@pytest.mark.parametrize(("flags", "titles"), RUNS.values(), ids=list(RUNS))
def test_run(flags: list[str], titles: set[str], shoal: Shoal) -> None:
    # One of -q, --csv and the full report for each would only repeat the same; --csv is checkable.
    flags = [flag.replace("PORT", str(shoal.port)) for flag in flags]
    said = benchmark("-p", str(shoal.port), "--csv", *flags)
    rows = {row["test"]: row for row in csv.DictReader(said.splitlines())}
    assert titles <= set(rows)
    assert all(float(row["rps"]) > 0 for row in rows.values())


def test_every_request_took_effect(shoal: Shoal) -> None:
    benchmark("-p", str(shoal.port), "-q", "-n", "30000", "-P", "16", "-c", "20", "-t", "incr")
    with shoal.client() as client:
        # Its clients send whole pipelines, so it may overshoot -n by a few of them.
        count = int(bulk_text(client.call(b"GET", b"counter:__rand_int__")))
    assert 30000 <= count < 30000 + 20 * 16


def test_database_number(shoal: Shoal) -> None:
    benchmark("-p", str(shoal.port), "-q", "--dbnum", "3", "-n", "1000", "-t", "set")
    with shoal.client() as client:
        assert client.call(b"DBSIZE") == b":0\r\n"
        client.call(b"SELECT", b"3")
        assert client.call(b"DBSIZE") == b":1\r\n"


def test_quiet_report(shoal: Shoal) -> None:
    said = benchmark("-p", str(shoal.port), "-q", "-n", "2000", "-t", "set,get")
    assert len(re.findall(r"(?:SET|GET): [0-9.]+ requests per second, p50=[0-9.]+ msec", said)) == 2


def test_full_report(shoal: Shoal) -> None:
    # It asks for CONFIG GET save and appendonly, and prints them as the server's configuration.
    said = benchmark("-p", str(shoal.port), "-n", "2000", "-t", "set")
    assert 'host configuration "save":' in said
    assert 'host configuration "appendonly": no' in said
    assert "throughput summary" in said


def test_unix_socket(unix_path: str) -> None:
    said = benchmark("-s", unix_path, "-q", "-n", "2000", "-t", "set,get")
    assert "GET: " in said


def test_standard_input(shoal: Shoal) -> None:
    done = subprocess.run(
        ["redis-benchmark", "-p", str(shoal.port), "-x", "-q", "-n", "100", "SET", "k"],
        input="from stdin",
        capture_output=True,
        text=True,
        timeout=STOP_BOUND_S,
        check=True,
    )
    assert "requests per second" in done.stdout
    with shoal.client() as client:
        assert client.call(b"GET", b"k") == b"$10\r\nfrom stdin\r\n"


def test_password(shoal: Shoal) -> None:
    with shoal.client() as client:
        assert client.call(b"CONFIG", b"SET", b"requirepass", b"secret") == b"+OK\r\n"
        try:
            assert "SET: " in benchmark(
                "-p", str(shoal.port), "-a", "secret", "-q", "-n", "1000", "-t", "set"
            )
        finally:
            assert client.call(b"CONFIG", b"SET", b"requirepass", b"") == b"+OK\r\n"
        assert client.call(b"DBSIZE") == b":1\r\n"


@contextmanager
def _running(shoal: Shoal, *arguments: str) -> Iterator[None]:
    """Run a redis-benchmark that does not end by itself."""
    process = subprocess.Popen(
        ["redis-benchmark", "-p", str(shoal.port), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
        assert process.poll() is None, "redis-benchmark gave up"
    finally:
        process.kill()
        process.wait()


def _clients(client: RawClient) -> int:
    found = re.search(rb"connected_clients:(\d+)", client.call(b"INFO", b"clients"))
    assert found is not None
    return int(found[1])


def test_idle_connections(shoal: Shoal) -> None:
    with shoal.client() as client:
        wait_until(lambda: _clients(client) == 1, "nobody else is left of earlier tests")
        with _running(shoal, "-I", "-c", "100"):
            wait_until(lambda: _clients(client) == 101, "100 idle clients")
            assert client.call(b"PING") == b"+PONG\r\n"
        wait_until(lambda: _clients(client) == 1, "the idle clients are gone")


def test_loop(shoal: Shoal) -> None:
    with shoal.client() as client, _running(shoal, "-l", "-q", "-n", "1000", "-t", "incr"):
        # More than one round of -n.
        def rounds() -> int:
            count = client.call(b"INCRBY", b"counter:__rand_int__", b"0")
            return int(count[1:-2]) // 1000

        wait_until(lambda: rounds() > 2, "three rounds")
