"""Starting, stopping, crashing: what becomes of processes, clients and acknowledged writes."""

import os
import random
import re
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
from support.raw import RawClient, bulk_text, split_reply
from support.servers import SHOAL, Shoal, is_running, wait_until

ALWAYS = ("--appendfsync", "always")

Data = dict[int, dict[bytes, tuple[bytes, int]]]
"""Database number -> key -> (value, expire time in ms or -1)."""


def fill(shoal: Shoal, count: int = 300) -> Data:
    """Write strings over two databases, a third of them with an expire; return all of it."""
    with shoal.client() as client:
        for db in (0, 9):
            client.call(b"SELECT", b"%d" % db)
            for i in range(count):
                client.call(b"SET", b"key:%d" % i, b"%d:%d\r\n#TS:1\r\n" % (db, i))
                if i % 3 == 0:
                    client.call(b"PEXPIREAT", b"key:%d" % i, b"%d" % (4_000_000_000_000 + i))
            # Of several partitions at once, then of one.
            client.call(b"MSET", *(x for i in range(60) for x in (b"multi:%d" % i, b"%d" % i)))
            client.call(b"DEL", *(b"multi:%d" % i for i in range(0, 60, 2)), b"key:1")
    return dump(shoal)


def dump(shoal: Shoal) -> Data:
    """Return everything that two databases hold."""
    data: Data = {}
    with shoal.client() as client:
        for db in (0, 9):
            client.call(b"SELECT", b"%d" % db)
            data[db] = {}
            for key in map(bulk_text, split_reply(client.call(b"KEYS", b"*"))[1]):
                value = bulk_text(client.call(b"GET", key))
                data[db][key] = value, int(client.call(b"PEXPIRETIME", key)[1:-2])
    return data


def gone(pids: Iterable[int]) -> bool:
    """Tell whether none of the processes runs."""
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            if is_running(psutil.Process(pid)):
                return False
    return True


def segments(shoal: Shoal) -> list[Path]:
    """Return the segments, the largest first."""
    found = sorted(shoal.directory.glob("appendonlydir/*.aof"), key=lambda p: -p.stat().st_size)
    assert found, list(shoal.directory.rglob("*"))
    return found


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_an_orderly_stop_keeps_everything(sig: signal.Signals, policy: str) -> None:
    with Shoal("--appendfsync", policy, workers=3) as shoal:
        data = fill(shoal)
        assert len(data[0]) == len(data[9]) == 300 - 1 + 30
        pids = shoal.worker_pids()
        shoal.stop(sig)
        assert gone(pids)
        shoal.start()
        assert dump(shoal) == data


@pytest.mark.parametrize(
    "how", [["SHUTDOWN"], ["SHUTDOWN", "NOW"], ["SHUTDOWN", "NOSAVE"]], ids=" ".join
)
def test_shutdown_keeps_the_log(how: list[str]) -> None:
    # As in Redis, NOSAVE is about a snapshot, not about the append only file.
    with Shoal(*ALWAYS, workers=2) as shoal:
        data = fill(shoal)
        with shoal.client() as client:
            client.send(b" ".join(word.encode() for word in how) + b"\r\n")
            assert client.read_until_closed() == b""
        assert shoal.wait_exit() == 0
        shoal.start()
        assert dump(shoal) == data


def test_without_a_log_nothing_is_kept() -> None:
    with Shoal("--appendonly", "no", workers=2) as shoal:
        fill(shoal)
        shoal.stop()
        assert not list(shoal.directory.glob("**/*.aof"))
        shoal.start()
        assert dump(shoal) == {0: {}, 9: {}}


def test_a_second_interrupt_does_not_wait() -> None:
    with Shoal("--shutdown-timeout", "600", workers=2) as shoal:
        pids = shoal.worker_pids()
        os.kill(pids[0], signal.SIGSTOP)  # so the orderly way can't come to its end
        seen = len(shoal.lines)
        os.kill(shoal.pid, signal.SIGINT)
        shoal.wait_for("shutdown|SIGINT", since=seen)
        os.kill(shoal.pid, signal.SIGINT)
        assert shoal.wait_exit() != 0
        wait_until(lambda: gone(pids), "the workers are gone")


def test_workers_do_not_outlive_their_supervisor() -> None:
    with Shoal(*ALWAYS, workers=3) as shoal:
        data = fill(shoal)
        pids = shoal.worker_pids()
        os.kill(shoal.pid, signal.SIGKILL)
        assert shoal.wait_exit() == -signal.SIGKILL
        wait_until(lambda: gone(pids), "no worker is left alone")
        shoal.start()
        assert dump(shoal) == data


@pytest.mark.parametrize("path", [(1, 3, 2), (2, 5, 1)], ids=str)
def test_another_number_of_workers_keeps_the_data(path: tuple[int, ...]) -> None:
    with Shoal(workers=path[0]) as shoal:
        data = fill(shoal)
        for workers in path[1:]:
            shoal.stop()
            shoal.workers = workers
            shoal.start()
            assert len(shoal.worker_pids()) == workers
            assert dump(shoal) == data
            with shoal.client() as client:
                # What is written after the change is kept as well.
                assert client.call(b"SET", b"workers:%d" % workers, b"v") == b"+OK\r\n"
            data[0][b"workers:%d" % workers] = b"v", -1


WITHOUT_ITS_WORKER = (b"-LOADING", b"-TRYAGAIN", b"-ERR the worker that owns the key died")
"""How a command may be answered while a worker is replaced; after the last it may have run."""


class Writer(threading.Thread):
    """Writes keys of its own until told to end, and checks each answer against its own memory.

    A command without an answer, or refused while a worker is replaced, has an unknown outcome: it
    takes effect at any time after it was sent, or never. So a counter lies between the INCRs that
    were acknowledged and those that were sent, and grows from answer to answer. MSET writes one
    value to keys of several partitions, which is the one acknowledged last or an unknown one, and
    MGET finds all of them equal.
    """

    def __init__(self, shoal: Shoal, number: int) -> None:
        super().__init__(daemon=True)
        self.address = shoal.address
        self.counters = [b"count:%d:%d" % (number, i) for i in range(20)]
        self.sent = dict.fromkeys(self.counters, 0)
        self.counted = dict.fromkeys(self.counters, 0)
        self.spread = [b"spread:%d:%d" % (number, i) for i in range(5)]
        self.acknowledged = b"$-1\r\n"
        self.unknown: set[bytes] = set()
        self.answers = 0
        self.wrong: list[str] = []
        self.enough = threading.Event()
        self._random = random.Random(number)

    def run(self) -> None:
        while not self.enough.is_set() and not self.wrong:
            try:
                with RawClient(self.address) as client:
                    while not self.enough.is_set() and not self.wrong:
                        self._count(client)
                        self._spread(client)
            except (EOFError, OSError):
                continue  # its home died

    def check(self, client: RawClient) -> None:
        """Compare what the server holds with what was acknowledged."""
        for counter in self.counters:
            value = int(client.call(b"INCRBY", counter, b"0")[1:-2])
            if not self.counted[counter] <= value <= self.sent[counter]:
                self._complain(counter, value)
        self._compare_spread(client)

    def _complain(self, counter: bytes, value: int) -> None:
        counted, sent = self.counted[counter], self.sent[counter]
        self.wrong.append(f"{counter!r} is {value}, acknowledged {counted}, sent {sent}")

    def _count(self, client: RawClient) -> None:
        counter = self._random.choice(self.counters)
        self.sent[counter] += 1
        reply = client.call(b"INCR", counter)
        if self._is_refused(reply):
            return
        value = int(reply[1:-2])
        if not self.counted[counter] < value <= self.sent[counter]:
            self._complain(counter, value)
        self.counted[counter] = value
        self.answers += 1

    def _spread(self, client: RawClient) -> None:
        value = b"%d" % self._random.getrandbits(60)
        shown = b"$%d\r\n%b\r\n" % (len(value), value)
        self.unknown.add(shown)
        reply = client.call(b"MSET", *(word for key in self.spread for word in (key, value)))
        if self._is_refused(reply):
            return
        if reply != b"+OK\r\n":
            self.wrong.append(f"MSET answered {reply!r}")
        self.unknown.remove(shown)
        self.acknowledged = shown
        self.answers += 1
        self._compare_spread(client)

    def _compare_spread(self, client: RawClient) -> None:
        reply = client.call(b"MGET", *self.spread)
        if self._is_refused(reply):
            return
        values = set(split_reply(reply)[1])
        if len(values) != 1:
            self.wrong.append(f"half an MSET: {values}")
        elif not values <= {self.acknowledged, *self.unknown}:
            self.wrong.append(f"MGET gave {values}, acknowledged was {self.acknowledged!r}")

    def _is_refused(self, reply: bytes) -> bool:
        if reply[:1] == b"-" and not reply.startswith(WITHOUT_ITS_WORKER):
            self.wrong.append(f"unexpected answer {reply!r}")
        return reply[:1] == b"-"


@contextmanager
def writing(shoal: Shoal, count: int) -> Iterator[list[Writer]]:
    """Have some writers at work; in the end all of them are content."""
    writers = [Writer(shoal, number) for number in range(count)]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.enough.set()
        for writer in writers:
            writer.join()
    assert [writer.wrong for writer in writers] == [[]] * count


def everybody_gets_on(writers: list[Writer], answers: int = 100) -> None:
    """Wait until each of the writers has had that many more answers, or one has a complaint."""
    goals = [writer.answers + answers for writer in writers]

    def are_reached() -> bool:
        return any(writer.wrong for writer in writers) or all(
            writer.answers >= goal for writer, goal in zip(writers, goals, strict=True)
        )

    wait_until(are_reached, "all writers are answered")
    assert [writer.wrong for writer in writers] == [[]] * len(writers)


def test_each_worker_is_killed_in_the_middle_of_load() -> None:
    workers = 3
    with Shoal(*ALWAYS, workers=workers) as shoal:
        with writing(shoal, 6) as writers:
            everybody_gets_on(writers)
            for killed in range(workers):
                os.kill(shoal.status()["workers"][killed]["pid"], signal.SIGKILL)
                wait_until(partial(is_restarted, shoal, killed), f"worker {killed} serves again")
                everybody_gets_on(writers)
            assert [worker["restarts"] for worker in shoal.status()["workers"]] == [1] * workers
            shoal.kill()  # of everything at once, in the middle as well
        shoal.start()
        with shoal.client() as client:
            for writer in writers:
                writer.check(client)
        assert [writer.wrong for writer in writers] == [[]] * len(writers)


def is_restarted(shoal: Shoal, number: int) -> bool:
    """Tell whether a worker has been restarted and serves again."""
    worker = shoal.status()["workers"][number]
    return bool(worker["restarts"] >= 1 and worker["state"] == "serving")


def test_clients_of_the_other_workers_stay_connected() -> None:
    with Shoal(*ALWAYS, workers=2) as shoal:
        clients = [shoal.client() for _ in range(8)]
        assert {client.call(b"PING") for client in clients} == {b"+PONG\r\n"}
        (first, second) = shoal.status()["workers"]
        assert first["clients"] == second["clients"] == 4
        os.kill(first["pid"], signal.SIGKILL)
        wait_until(lambda: is_restarted(shoal, 0), "worker 0 serves again")
        answered = closed = 0
        for client in clients:
            try:
                assert client.call(b"PING") == b"+PONG\r\n"
                answered += 1
            except (EOFError, OSError):
                closed += 1
            client.close()
        assert (answered, closed) == (4, 4)


def test_it_gives_up_on_a_worker_that_cannot_live() -> None:
    with Shoal(*ALWAYS, workers=2) as shoal:
        fill(shoal)
        pids = shoal.worker_pids()

        def killed_until_the_end() -> bool:
            with suppress(psutil.NoSuchProcess):
                for pid in shoal.worker_pids()[-1:]:
                    os.kill(pid, signal.SIGKILL)
            return not shoal.running

        wait_until(killed_until_the_end, "the supervisor gives up", bound_s=120)
        assert shoal.wait_exit() > 0
        assert re.search(r"giv\w* up", shoal.output), shoal.output
        wait_until(lambda: gone(pids), "no worker is left alone")


def test_a_segment_damaged_under_a_running_worker_is_named() -> None:
    with Shoal(*ALWAYS, workers=1) as shoal:
        fill(shoal)
        segment = segments(shoal)[0]
        damage(segment)
        (pid,) = shoal.worker_pids()
        os.kill(pid, signal.SIGKILL)
        assert shoal.wait_exit() > 0
        assert segment.name in shoal.output
        assert re.search(r"offset \d+", shoal.output)


def damage(segment: Path) -> int:
    """Spoil a record in the middle of a segment; return the offset."""
    data = segment.read_bytes()
    offset = data.index(b"*3\r\n$3\r\nSET\r\n", len(data) // 2)
    with segment.open("r+b") as file:
        file.seek(offset)
        file.write(b"*x")
    return offset


def test_damage_in_the_middle_stops_the_start() -> None:
    with Shoal(workers=2) as shoal:
        fill(shoal)
        shoal.stop()
        segment = segments(shoal)[0]
        offset = damage(segment)
        before = segment.read_bytes()
        said = shoal.fails_to_start()
        assert segment.name in said
        assert f"offset {offset + 1}" in said  # the `x` where a digit has to be
        assert "redis-check-aof" in said  # a way out
        assert segment.read_bytes() == before
        with pytest.raises(AssertionError, match=r"exit code|ended"):
            shoal.start()  # not only the first time


@pytest.mark.parametrize("cut", [1, 7, 30])
def test_a_truncated_tail_is_cut_with_a_warning(cut: int) -> None:
    with Shoal(workers=1) as shoal:
        data = fill(shoal)
        with shoal.client() as client:
            assert client.call(b"SET", b"last", b"x" * 100) == b"+OK\r\n"
        shoal.stop()
        (segment,) = segments(shoal)
        with segment.open("r+b") as file:
            file.truncate(segment.read_bytes().index(b"x" * 100) + 100 - cut)
        seen = len(shoal.lines)
        shoal.start()
        said = "\n".join(shoal.lines[seen:])
        assert re.search(r" # .*truncat", said, re.IGNORECASE), said
        assert segment.name in said
        assert dump(shoal) == data
        with shoal.client() as client:
            assert client.call(b"SET", b"last", b"again") == b"+OK\r\n"
        # What is appended after the cut can be read again.
        shoal.stop()
        shoal.start()
        data[0][b"last"] = b"again", -1
        assert dump(shoal) == data


def test_a_truncated_tail_is_kept_when_the_number_of_workers_changes() -> None:
    with Shoal(workers=1) as shoal:
        data = fill(shoal)
        with shoal.client() as client:
            assert client.call(b"SET", b"last", b"x" * 100) == b"+OK\r\n"
        shoal.stop()
        (segment,) = segments(shoal)
        with segment.open("r+b") as file:
            file.truncate(segment.read_bytes().index(b"x" * 100) + 50)
        seen = len(shoal.lines)
        shoal.workers = 3
        shoal.start()
        assert re.search(rf" # {segment.name} .*truncat", "\n".join(shoal.lines[seen:]))
        assert dump(shoal) == data
        (kept,) = shoal.directory.glob("appendonlydir/*.quarantine-*")
        assert b"x" * 50 in kept.read_bytes()


def test_a_truncated_tail_is_refused_when_the_configuration_says_so() -> None:
    with Shoal("--aof-load-truncated", "no", workers=1) as shoal:
        fill(shoal)
        shoal.stop()
        (segment,) = segments(shoal)
        with segment.open("r+b") as file:
            file.truncate(segment.stat().st_size - 5)
        size = segment.stat().st_size
        assert segment.name in shoal.fails_to_start()
        assert segment.stat().st_size == size


def test_a_directory_in_use_is_refused() -> None:
    with Shoal(workers=2) as shoal:
        data = fill(shoal)
        other = Shoal("--control-socket", "other.sock", workers=2, directory=shoal.directory)
        said = other.fails_to_start()
        assert "appendonlydir" in said or str(shoal.directory) in said, said
        other.remove()
        assert dump(shoal) == data


def test_a_port_in_use_is_refused() -> None:
    with Shoal(workers=1) as shoal:
        other = Shoal("--port", str(shoal.port), workers=1)
        assert f":{shoal.port}" in other.fails_to_start()
        other.remove()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--no-such-directive", "1"], "no-such-directive"),
        (["--port", "70000"], "port"),
        (["--maxmemory", "1gb"], "not implemented"),
    ],
    ids=["unknown directive", "bad value", "not implemented"],
)
def test_a_wrong_configuration_is_refused(options: list[str], complaint: str) -> None:
    shoal = Shoal(*options)
    assert complaint in shoal.fails_to_start()
    shoal.remove()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--logfile", "no-such-folder/log"], "Can't open the log file"),
        (["--pidfile", "."], "Is a directory"),
    ],
    ids=["log file", "pid file"],
)
def test_a_file_that_cannot_be_written_is_named(options: list[str], complaint: str) -> None:
    shoal = Shoal(*options)
    output = shoal.fails_to_start()
    assert complaint in output
    assert "Traceback" not in output
    shoal.remove()


def test_workers_log_to_what_is_no_plain_file() -> None:
    with Shoal("--logfile", "/dev/stdout", workers=2) as shoal:
        assert shoal.output.count("DB loaded from append only file") == 2


def test_a_low_limit_of_open_files_limits_the_clients() -> None:
    program = ["sh", "-c", 'ulimit -n 128 && exec "$@"', "sh", *SHOAL]
    with (
        Shoal("--appendonly", "no", workers=1, program=program) as shoal,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(shoal.client()) for _ in range(56)]
        for client in clients:
            assert client.call(b"PING") == b"+PONG\r\n"
        with shoal.client() as refused:
            assert refused.read_until_closed() == b"-ERR max number of clients reached\r\n"
        assert b"connected_clients:56\r\n" in clients[0].call(b"INFO", b"clients")


def test_a_configuration_file() -> None:
    shoal = Shoal(config_file="shoal.conf")
    assert "shoal.conf" in shoal.fails_to_start()  # there is none
    (shoal.directory / "shoal.conf").write_text(
        "# a comment\ntimeout 300\ninclude more.conf\nproto-max-bulk-len 2mb\n"
    )
    (shoal.directory / "more.conf").write_text('requirepass "se\\x63ret"\n')
    with shoal, shoal.client() as client:
        assert client.call(b"PING").startswith(b"-NOAUTH")
        assert client.call(b"AUTH", b"secret") == b"+OK\r\n"
        assert client.call(b"CONFIG", b"GET", b"timeout") == b"*2\r\n$7\r\ntimeout\r\n$3\r\n300\r\n"
        assert b"$7\r\n2097152\r\n" in client.call(b"CONFIG", b"GET", b"proto-max-bulk-len")


def test_keys_that_expired_while_it_was_down_are_gone() -> None:
    with Shoal(workers=2) as shoal:
        with shoal.client() as client:
            for i in range(50):
                client.call(b"SET", b"short:%d" % i, b"v", b"PX", b"1")
                client.call(b"SET", b"long:%d" % i, b"v", b"PX", b"100000000")
        shoal.stop()
        shoal.start()
        assert set(dump(shoal)[0]) == {b"long:%d" % i for i in range(50)}
