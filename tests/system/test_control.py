"""`shoal ctl` and the control socket behind it."""

import binascii
import json
import os
import re
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator

import psutil
import pytest
from support.raw import RawClient
from support.servers import SHOAL, STOP_BOUND_S, Shoal, wait_until


@pytest.fixture(scope="module")
def running() -> Iterator[Shoal]:
    """A Shoal of three workers with some keys."""
    with Shoal(workers=3) as shoal:
        with shoal.client() as client:
            for i in range(300):
                client.call(b"SET", b"key:%d" % i, b"v")
        yield shoal


def test_status_as_json(running: Shoal) -> None:
    with running.client() as client:
        client.call(b"PING")
        wait_until(lambda: running.status()["totals"]["keys"] == 300, "the figures have come in")
        status = running.status()
        assert status["pid"] == running.pid
        assert f"127.0.0.1:{running.port}" in status["listeners"]
        assert status["uptime_s"] >= 0
        workers = status["workers"]
        assert [worker["worker"] for worker in workers] == [0, 1, 2]
        assert {worker["pid"] for worker in workers} == set(running.worker_pids())
        assert {worker["state"] for worker in workers} == {"serving"}
        slots = [range(first, last + 1) for first, last in (w["slots"] for w in workers)]
        assert [slot for part in slots for slot in part] == list(range(16384))
        assert sum(worker["keys"] for worker in workers) == 300
        assert all(worker["memory_bytes"] > 0 for worker in workers)
        wait_until(lambda: running.status()["totals"]["clients"] >= 1, "the client is counted")


def test_status_as_a_table(running: Shoal) -> None:
    lines = running.ctl("status").stdout.splitlines()
    assert re.match(rf"Shoal \S+ +pid {running.pid} .* 3 workers", lines[0])
    assert sum("serving" in line for line in lines) == 3
    assert lines[-1].startswith("all")


def test_watch(running: Shoal) -> None:
    process = subprocess.Popen(
        [*SHOAL, "ctl", "--socket", str(running.control), "status", "--json", "--watch", "0.05"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        documents = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_BOUND_S) == 0
    assert [document["pid"] for document in documents] == [running.pid] * 3


def test_ping(running: Shoal) -> None:
    assert running.ctl("ping").stdout == "PONG\n"


def test_config(running: Shoal) -> None:
    assert running.ctl("config", "get", "timeout").stdout == "timeout 0\n"
    assert running.ctl("config", "set", "timeout", "300", "hz", "20").stdout == "OK\n"
    with running.client() as client:
        assert client.call(b"CONFIG", b"GET", b"timeout") == b"*2\r\n$7\r\ntimeout\r\n$3\r\n300\r\n"
        # And what a client sets, the control socket knows.
        assert client.call(b"CONFIG", b"SET", b"timeout", b"0") == b"+OK\r\n"
    assert running.ctl("config", "get", "timeout").stdout == "timeout 0\n"
    refused = running.ctl("config", "set", "port", "1", check=False)
    assert refused.returncode == 1
    assert "can't set immutable config" in refused.stderr


def test_log_level(running: Shoal) -> None:
    assert running.ctl("log-level", "debug").stdout == "OK\n"
    assert running.ctl("config", "get", "loglevel").stdout == "loglevel debug\n"
    assert running.ctl("log-level", "notice").stdout == "OK\n"
    assert running.ctl("log-level", "shouting", check=False).returncode == 1


def test_the_socket_belongs_to_its_owner_alone(running: Shoal) -> None:
    assert running.control is not None
    status = os.stat(running.control)
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600


def test_redis_cli_speaks_to_it(running: Shoal) -> None:
    def ask(*words: str) -> str:
        done = subprocess.run(
            ["redis-cli", "-s", str(running.control), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STOP_BOUND_S,
            check=True,
        )
        return done.stdout

    assert ask("ping") == "PONG\n"
    assert json.loads(ask("status"))["pid"] == running.pid
    assert ask("get", "key:1").startswith("ERR unknown command")


def test_a_worker_is_restarted_and_the_others_notice_nothing() -> None:
    with Shoal(workers=3) as shoal:
        before = shoal.status()["workers"]
        clients = [shoal.client() for _ in range(9)]
        homes: dict[int, list[RawClient]] = {0: [], 1: [], 2: []}
        for client in clients:
            homes[home_of(shoal, client)].append(client)
        assert all(homes.values()), "every worker has a client"

        stop = threading.Event()
        said: list[bytes] = []

        def keep_asking(client: RawClient, key: bytes) -> None:
            # The key's owner is this client's home, so nothing it asks concerns worker 1.
            while not stop.is_set():
                said.append(client.call(b"INCR", key))

        threads = []
        for home in (0, 2):
            tag = next(b"%d" % i for i in range(100) if owner_of(shoal, b"%d" % i) == home)
            threads += [
                threading.Thread(target=keep_asking, args=(client, b"{%b}" % tag))
                for client in homes[home]
            ]
        for thread in threads:
            thread.start()
        try:
            assert shoal.ctl("restart-worker", "1").stdout == "OK\n"
            wait_until(lambda: shoal.status()["workers"][1]["state"] == "serving", "it is back")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert said
        assert all(reply[:1] == b":" for reply in said)
        after = shoal.status()["workers"]
        assert after[1]["pid"] != before[1]["pid"]
        assert [after[n]["pid"] for n in (0, 2)] == [before[n]["pid"] for n in (0, 2)]
        for client in homes[1]:
            assert client.read_until_closed() == b""
        for client in clients:
            client.close()


def home_of(shoal: Shoal, client: RawClient) -> int:
    """Return the number of the worker that holds a connection."""
    port = client.socket.getsockname()[1]
    for worker in shoal.status()["workers"]:
        held = psutil.Process(worker["pid"]).net_connections("tcp")
        if any(connection.raddr and connection.raddr[1] == port for connection in held):
            return int(worker["worker"])
    raise AssertionError("no worker holds the connection")


def owner_of(shoal: Shoal, tag: bytes) -> int:
    """Return the number of the worker that owns the keys with a hash tag."""
    slot = binascii.crc_hqx(tag, 0) % 16384
    for worker in shoal.status()["workers"]:
        first, last = worker["slots"]
        if first <= slot <= last:
            return int(worker["worker"])
    raise AssertionError(f"nobody owns slot {slot}")


def test_a_worker_dies_while_another_leaves() -> None:
    """Its successor too tells the one that leaves that nothing more will come."""
    with Shoal(workers=3) as shoal:
        _, second, third = shoal.status()["workers"]
        # The first cannot go before their last frames, and the second never sends its own.
        os.kill(second["pid"], signal.SIGSTOP)
        os.kill(third["pid"], signal.SIGSTOP)
        try:
            restart = subprocess.Popen(
                [*SHOAL, "ctl", "--socket", str(shoal.control), "restart-worker", "0"],
                stdout=subprocess.PIPE,
                text=True,
            )
            wait_until(lambda: shoal.status()["workers"][0]["state"] == "leaving", "it leaves")
            os.kill(second["pid"], signal.SIGKILL)
            shoal.wait_for("Worker 1 serves again")
            assert shoal.status()["workers"][0]["state"] == "leaving"
        finally:
            os.kill(third["pid"], signal.SIGCONT)
        assert restart.communicate()[0] == "OK\n"
        assert "could not leave" not in shoal.output
        with shoal.client() as client:
            assert client.call(b"MSET", b"a", b"1", b"b", b"2", b"c", b"3") == b"+OK\r\n"


def test_restarting_a_worker_that_does_not_exist(running: Shoal) -> None:
    refused = running.ctl("restart-worker", "3", check=False)
    assert refused.returncode == 1
    assert refused.stderr


def test_shutdown() -> None:
    with Shoal(workers=2) as shoal:
        with shoal.client() as client:
            client.call(b"SET", b"k", b"v")
            shoal.ctl("shutdown")
            assert client.read_until_closed() == b""
        assert shoal.wait_exit() == 0
        assert shoal.control is not None
        assert not shoal.control.exists()
        shoal.start()
        assert shoal.raw("GET k") == b"$1\r\nv\r\n"


def test_without_a_server() -> None:
    done = subprocess.run(
        [*SHOAL, "ctl", "--socket", "no-such.sock", "ping"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no-such.sock" in done.stderr


def test_a_worker_that_cannot_leave_is_ended() -> None:
    with Shoal("--shutdown-timeout", "1", workers=2) as shoal:
        first, second = shoal.status()["workers"]
        os.kill(second["pid"], signal.SIGSTOP)  # it never says that it has sent its last frame
        try:
            assert shoal.ctl("restart-worker", "0").stdout == "OK\n"
        finally:
            os.kill(second["pid"], signal.SIGCONT)
        after = shoal.status()["workers"]
        assert after[0]["pid"] != first["pid"]
        assert after[1]["pid"] == second["pid"]
        with shoal.client() as client:
            assert client.call(b"MSET", b"a", b"1", b"b", b"2", b"c", b"3") == b"+OK\r\n"
