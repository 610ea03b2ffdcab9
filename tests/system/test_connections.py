"""Connections in numbers, of odd sizes and odd manners, and the limits that keep them in check."""

import hashlib
import itertools
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest
from support.raw import RawClient, bulk_text, pack
from support.servers import Shoal, wait_until

MB = 1 << 20


def info(client: RawClient, section: str, field: str) -> int:
    """Return a number of INFO."""
    found = re.search(rf"{field}:(\d+)".encode(), client.call(b"INFO", section.encode()))
    assert found is not None, f"{field} is missing"
    return int(found[1])


def open_files(shoal: Shoal) -> int:
    """Return how many files all of the server's processes hold open."""
    return sum(psutil.Process(pid).num_fds() for pid in [shoal.pid, *shoal.worker_pids()])


def digest_of(client: RawClient, size: int) -> str:
    """Hash the next `size` bytes of a connection without keeping them."""
    digest = hashlib.sha256()
    while size:
        piece = client.stream.read(min(size, MB))
        assert piece, f"the connection ended {size} bytes early"
        digest.update(piece)
        size -= len(piece)
    return digest.hexdigest()


def test_a_thousand_at_once(shoal: Shoal, many_files: int) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(shoal.client()) for _ in range(1000)]
        for i, client in enumerate(clients):
            client.send(pack(b"SET", b"key:%d" % i, b"%d" % i) + pack(b"INCR", b"all"))
        counts = set()
        for client in clients:
            assert client.read_reply() == b"+OK\r\n"
            counts.add(client.read_reply())
        assert counts == {b":%d\r\n" % (i + 1) for i in range(1000)}
        for i, client in enumerate(clients):
            other = (i + 500) % 1000
            assert client.call(b"GET", b"key:%d" % other) == b"$%d\r\n%d\r\n" % (
                len(str(other)),
                other,
            )
        assert info(clients[0], "clients", "connected_clients") == 1000


def test_ten_thousand_one_after_the_other(shoal: Shoal) -> None:
    with shoal.client() as watcher:
        wait_until(lambda: info(watcher, "clients", "connected_clients") == 1, "nobody else")
        received = info(watcher, "stats", "total_connections_received")
        files = open_files(shoal)
        for _ in range(10_000):
            with shoal.client() as client:
                assert client.call(b"PING") == b"+PONG\r\n"
        assert info(watcher, "stats", "total_connections_received") == received + 10_000
        wait_until(lambda: info(watcher, "clients", "connected_clients") == 1, "all are gone")
        wait_until(lambda: open_files(shoal) <= files, "their files are closed")


def test_one_byte_at_a_time(shoal: Shoal) -> None:
    sent = pack(b"SET", b"k", b"a\r\nb") + b'PING "x y"\r\n' + pack(b"MGET", b"k", b"none")
    sent += b"\r\n" + pack(b"ECHO", b"") + b"QUIT\r\n"
    with shoal.client() as client:
        for i in range(len(sent)):
            client.send(sent[i : i + 1])
        expected = b"+OK\r\n$3\r\nx y\r\n*2\r\n$4\r\na\r\nb\r\n$-1\r\n$0\r\n\r\n+OK\r\n"
        assert client.read_until_closed() == expected


def test_a_command_in_two_halves_does_not_hold_up_others(shoal: Shoal) -> None:
    command = pack(b"SET", b"k", b"v" * 1000)
    with shoal.client() as slow, shoal.client() as other:
        for cut in (1, 5, 14, 20, 30, 500, len(command) - 1):
            slow.send(command[:cut])
            assert other.call(b"PING") == b"+PONG\r\n"
            slow.send(command[cut:])
            assert slow.read_reply() == b"+OK\r\n"


def test_a_value_of_a_hundred_megabytes(shoal: Shoal) -> None:
    piece = bytes(range(256)) * (MB // 256)
    size = 100 * MB
    expected = hashlib.sha256()
    with shoal.client() as writer, shoal.client() as reader:
        writer.send(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n" % size)
        for _ in range(100):
            writer.send(piece)
            expected.update(piece)
            # Others are served between the pieces.
            assert reader.call(b"PING") == b"+PONG\r\n"
        writer.send(b"\r\n")
        assert writer.read_reply() == b"+OK\r\n"
        assert reader.call(b"STRLEN", b"big") == b":%d\r\n" % size
        reader.send(pack(b"GET", b"big"))
        assert reader.stream.readline() == b"$%d\r\n" % size
        assert digest_of(reader, size) == expected.hexdigest()
        assert reader.stream.read(2) == b"\r\n"
        assert reader.call(b"DEL", b"big") == b":1\r\n"


def _send_aside(client: RawClient, pieces: Iterator[bytes]) -> threading.Thread:
    """Send from a thread, so that a server which answers before it reads on is no deadlock."""

    def send() -> None:
        for piece in pieces:
            client.send(piece)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def test_a_pipeline_of_a_million(shoal: Shoal) -> None:
    # Two counters of different workers in turns: the order of the replies can't come by itself.
    counters = (b"{0}", b"{1}")
    commands = b"".join(pack(b"INCR", counter) for counter in counters)
    expected = hashlib.sha256()
    size = 0
    for start in range(1, 500_001, 1000):
        replies = b"".join(b":%d\r\n:%d\r\n" % (n, n) for n in range(start, start + 1000))
        expected.update(replies)
        size += len(replies)
    with shoal.client() as client:
        thread = _send_aside(client, itertools.repeat(commands * 1000, 500))
        assert digest_of(client, size) == expected.hexdigest()
        thread.join()
        assert client.call(b"MGET", *counters) == b"*2\r\n" + b"$6\r\n500000\r\n" * 2


def test_replies_that_nobody_reads_do_not_pile_up(shoal: Shoal) -> None:
    # 6,000 GETs of 100 kB are 600 MB of replies. A server either waits until they are read, or
    # (as Redis without a limit) stores them; Shoal waits, and serves everybody else.
    with shoal.client() as slow, shoal.client() as other:
        slow.call(b"SET", b"k", b"v" * 100_000)
        commands = pack(b"GET", b"k") * 1000
        _send_aside(slow, itertools.repeat(commands, 6))
        for _ in range(200):
            assert other.call(b"PING") == b"+PONG\r\n"
        memory = sum(psutil.Process(pid).memory_info().rss for pid in shoal.worker_pids())
        assert memory < 300 * MB
        size = 6_000 * len(b"$100000\r\n\r\n") + 6_000 * 100_000
        digest_of(slow, size)
        assert slow.call(b"PING") == b"+PONG\r\n"


@pytest.mark.parametrize("limit", ["normal 8mb 0 0", "normal 0 1mb 1"], ids=["hard", "soft"])
def test_a_slow_reader_is_cut_off_at_its_output_limit(shoal: Shoal, limit: str) -> None:
    with shoal.client() as other, shoal.client() as slow:
        old = bulk_text(
            other.call_line("CONFIG GET client-output-buffer-limit").split(b"\r\n", 3)[3]
        )
        other.call(b"SET", b"big", b"v" * (32 * MB))
        try:
            assert other.call(b"CONFIG", b"SET", b"client-output-buffer-limit", limit.encode()) == (
                b"+OK\r\n"
            )
            slow.call(b"CLIENT", b"SETNAME", b"slow")
            slow.send(pack(b"GET", b"big"))
            wait_until(lambda: b"name=slow" not in other.call(b"CLIENT", b"LIST"), "it is cut off")
            # Less than the reply came, and then the end.
            assert len(slow.read_until_closed()) < 32 * MB
            assert other.call(b"STRLEN", b"big") == b":%d\r\n" % (32 * MB)
        finally:
            other.call(b"CONFIG", b"SET", b"client-output-buffer-limit", old)


def test_idle_clients_are_closed_after_timeout(shoal: Shoal) -> None:
    with shoal.client() as busy, shoal.client() as idle:
        assert busy.call(b"CONFIG", b"SET", b"timeout", b"1") == b"+OK\r\n"
        try:
            idle.call(b"CLIENT", b"SETNAME", b"idle")
            wait_until(lambda: b"name=idle" not in busy.call(b"CLIENT", b"LIST"), "it is closed")
            assert idle.read_until_closed() == b""
        finally:
            busy.call(b"CONFIG", b"SET", b"timeout", b"0")


def test_a_client_that_vanishes_leaves_nothing(shoal: Shoal) -> None:
    with shoal.client() as watcher:
        wait_until(lambda: info(watcher, "clients", "connected_clients") == 1, "nobody else")
        files = open_files(shoal)
        for sent in (b"", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nv", pack(b"KEYS", b"*") * 10):
            for _ in range(50):
                client = shoal.client()
                client.send(sent)
                # Linger 0: close() sends a reset instead of the end of the stream.
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                client.close()
        wait_until(lambda: info(watcher, "clients", "connected_clients") == 1, "all are gone")
        wait_until(lambda: open_files(shoal) <= files, "their files are closed")


def test_unix_socket(shoal: Shoal, unix_path: str) -> None:
    with RawClient(unix_path) as inside, shoal.client() as outside:
        assert inside.call(b"SET", b"k", b"v") == b"+OK\r\n"
        assert outside.call(b"GET", b"k") == b"$1\r\nv\r\n"
        assert unix_path.encode() in inside.call(b"CLIENT", b"INFO")
        inside.finish()


def test_max_clients() -> None:
    with (
        Shoal("--maxclients", "20", "--appendonly", "no", workers=2) as shoal,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(shoal.client()) for _ in range(20)]
        for client in clients:
            assert client.call(b"PING") == b"+PONG\r\n"
        with shoal.client() as refused:
            assert refused.read_until_closed() == b"-ERR max number of clients reached\r\n"
        assert info(clients[0], "stats", "rejected_connections") == 1
        clients.pop().finish()

        def is_served() -> bool:
            with shoal.client() as client:
                try:
                    return client.call(b"PING") == b"+PONG\r\n"
                except (EOFError, ConnectionError):
                    return False

        wait_until(is_served, "a place that is free again is given away")


def test_several_addresses_and_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    with Shoal("--appendonly", "no", bind="127.0.0.1 ::1", workers=2) as shoal:
        (host4, port4), (host6, port6) = (a for a in shoal.addresses if not isinstance(a, str))
        assert (host4, host6) == ("127.0.0.1", "::1")
        with RawClient((host4, port4)) as four, RawClient((host6, port6)) as six:
            assert six.call(b"SET", b"k", b"v") == b"+OK\r\n"
            assert four.call(b"GET", b"k") == b"$1\r\nv\r\n"
            assert b"addr=[::1]:" in six.call(b"CLIENT", b"INFO")
            assert b"addr=127.0.0.1:" in four.call(b"CLIENT", b"INFO")
