"""INFO: what one worker says of itself, and what the parts of several make."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.proto.slots import key_slot
from shoal.proto.spec import REDIS_VERSION
from shoal.worker.commands import load_all
from shoal.worker.info import (
    SECTIONS,
    Sampler,
    human,
    part,
    render,
    reset_stats,
    wanted,
)
from shoal.worker.registry import COMMANDS, every_command
from shoal.worker.server import Server
from support.keyspace import NOW_MS
from support.workers import make_client, make_server

load_all()

SUPERVISOR = {
    "pid": 4711,
    "cpu_user": 0.5,
    "cpu_system": 0.25,
    "memory_bytes": 1000,
    "total_system_memory": 1 << 30,
    "os": "Linux 6.1.0 x86_64",
    "total_connections_received": 77,
    "rejected_connections": 3,
    "restarts": [0, 2],
}


@pytest.fixture(autouse=True)
def fresh_counts() -> None:
    """The command table is one for all tests of the process."""
    for entry in every_command():
        for each in (entry, *entry.variants.values()):
            each.calls = each.usec = each.rejected = each.failed = 0


def parsed(text: bytes) -> dict[str, str]:
    """Return the fields of INFO's text; insist on its form."""
    fields: dict[str, str] = {}
    if not text:
        return fields
    assert text.endswith(b"\r\n")
    for section in text[:-2].decode("utf-8", "surrogateescape").split("\r\n\r\n"):
        title, *lines = section.removesuffix("\r\n").split("\r\n")
        assert re.fullmatch(r"# [A-Z][A-Za-z]+", title)
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon
            assert name not in fields
            fields[name] = value
    return fields


def info(servers: list[Server], *args: bytes, supervisor: Any = SUPERVISOR) -> dict[str, str]:
    """Return INFO's fields over these workers, their parts taken through JSON as on the wire."""
    parts = [json.loads(json.dumps(part(server, wanted(args)))) for server in servers]
    return parsed(render(parts, supervisor))


def titles(*args: bytes) -> list[str]:
    text = render([part(make_server(), wanted(args))], SUPERVISOR).decode()
    return re.findall(r"(?m)^# (\w+)\r$", text)


DEFAULT = [
    "Server",
    "Workers",
    "Clients",
    "Memory",
    "Persistence",
    "Stats",
    "Replication",
    "CPU",
    "Modules",
    "Errorstats",
    "Cluster",
    "Keyspace",
]
ALL = [*DEFAULT[:9], "Commandstats", *DEFAULT[9:]]

ASKED: dict[str, tuple[list[bytes], list[str]]] = {
    "nothing": ([], DEFAULT),
    "default": ([b"default"], DEFAULT),
    "all": ([b"ALL"], ALL),
    "everything": ([b"everything"], ALL),
    "all wins": ([b"cpu", b"all", b"default"], ALL),
    "default and more": ([b"commandstats", b"Default"], ALL),
    "one in any case": ([b"cPu"], ["CPU"]),
    "the order is ours": ([b"keyspace", b"clients", b"keyspace"], ["Clients", "Keyspace"]),
    "unknown ones are passed over": ([b"nope", b"cpu", b"\xff"], ["CPU"]),
    "only unknown ones": ([b"nope"], []),
    "empty": ([b""], []),
}


@pytest.mark.parametrize(("args", "expected"), ASKED.values(), ids=ASKED.keys())
def test_sections(args: list[bytes], expected: list[str]) -> None:
    assert titles(*args) == expected


def test_text_of_nothing_is_empty() -> None:
    assert render([part(make_server(), wanted([b"nope"]))], {}) == b""


def test_text_of_two_sections() -> None:
    text = render([part(make_server(), wanted([b"cluster", b"modules"]))], SUPERVISOR)
    assert text == b"# Modules\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n"


def test_server() -> None:
    server = make_server(0, 2)
    server.time_us = lambda: NOW_MS * 1000 + 5
    fields = info([server, make_server(1, 2)], b"server")
    expected = {
        "redis_version": REDIS_VERSION,
        "shoal_version": "0.1.0",
        "shoal_workers": "2",
        "redis_mode": "standalone",
        "os": "Linux 6.1.0 x86_64",
        "process_id": "4711",
        "tcp_port": "6379",
        "server_time_usec": f"{NOW_MS}005",
        "uptime_in_seconds": "100",
        "uptime_in_days": "0",
        "hz": "10",
        "lru_clock": str(NOW_MS // 1000 % (1 << 24)),
        "config_file": "",
        "listener0": "name=tcp,bind=127.0.0.1,bind=::1,port=6379",
        "listener1": "name=unix,bind=/run/shoal.sock",
    }
    assert {name: fields[name] for name in expected} == expected


def test_what_the_supervisor_leaves_out() -> None:
    fields = info([make_server()], supervisor={})
    assert "os" not in fields
    assert fields["total_connections_received"] == "0"
    assert fields["worker0"].endswith("restarts=0")
    assert fields["used_memory_peak_perc"] == "0.00%"


def test_a_path_that_is_no_utf8() -> None:
    server = make_server()
    server.facts.config_file = b"/\xff/shoal.conf".decode("utf-8", "surrogateescape")
    text = render([json.loads(json.dumps(part(server, ["server"])))], {})
    assert b"config_file:/\xff/shoal.conf\r\n" in text


def test_counters_are_added_up() -> None:
    servers = [make_server(index, 3) for index in range(3)]
    for number, server in enumerate(servers, 1):
        server.stats.commands = 10 * number
        server.stats.hops = number
        server.stats.spanning = 1
        server.store.hits = 100 * number
        server.cpu_seconds = lambda: (1.0, 0.5)
        make_client(server).input_bytes = 5
        server.stats.net_input_bytes = 1000
        server.extra_info = lambda: {"blocked_clients": 2, "commands": "not ours to say"}
    fields = info(servers)
    expected = {
        "connected_clients": "3",
        "blocked_clients": "6",
        "pubsub_clients": "0",
        "total_connections_received": "77",
        "rejected_connections": "3",
        "total_commands_processed": "60",
        "hops": "6",
        "spanning_commands": "3",
        "script_retries": "0",
        "keyspace_hits": "600",
        "total_net_input_bytes": "3015",
        "used_cpu_user": "3.500000",
        "used_cpu_sys": "1.750000",
    }
    assert {name: fields[name] for name in expected} == expected
    assert fields["worker1"] == (
        "pid=5001,clients=1,keys=0,commands=20,hops=2,memory=0,cpu=1.500000,restarts=2"
    )


def test_expired_stale_perc_is_weighted_by_the_keys_that_expire() -> None:
    servers = [make_server(index, 2) for index in range(2)]
    for number, server in enumerate(servers):
        server.store.database(0).volatile = 1 + 2 * number
    servers[0].extra_info = lambda: {"expired_stale_perc": 40.0}
    servers[1].extra_info = lambda: {"expired_stale_perc": 0.0}
    assert info(servers, b"stats")["expired_stale_perc"] == "10.00"


def test_memory() -> None:
    servers = [make_server(index, 2) for index in range(2)]
    for server in servers:
        server.memory_bytes = lambda: 4000
        assert info(servers, b"memory")["used_memory_peak"]
        server.memory_bytes = lambda: 2000
    fields = info(servers, b"memory")
    assert fields["used_memory"] == fields["used_memory_rss"] == "5000"
    assert fields["used_memory_human"] == "4.88K"
    assert fields["used_memory_peak"] == "9000"
    assert fields["used_memory_peak_perc"] == "55.56%"
    assert fields["total_system_memory_human"] == "1.00G"
    assert fields["maxmemory_human"] == "0B"


class Log:
    """A segment as INFO sees it."""

    delayed_fsync = 9

    def __init__(self, size: int, status: str = "ok") -> None:
        self.size, self.status = size, status

    def info(self) -> dict[str, int | str]:
        return {
            "aof_last_write_status": self.status,
            "aof_current_size": self.size,
            "aof_base_size": 10,
            "aof_buffer_length": 1,
            "aof_pending_bio_fsync": 1,
            "aof_delayed_fsync": 2,
            "aof_last_fsync_ms": self.size,
        }


def test_persistence() -> None:
    servers: list[Any] = [make_server(index, 2) for index in range(2)]
    fields = info(servers, b"persistence")
    assert fields["aof_enabled"] == "0"
    assert "aof_current_size" not in fields
    servers[0].segment, servers[1].segment = Log(100), Log(30)
    servers[0].store.dirty_total = servers[1].store.dirty_total = 4
    fields = info(servers, b"persistence")
    expected = {
        "rdb_changes_since_last_save": "8",
        "rdb_last_save_time": str(NOW_MS // 1000 - 100),
        "aof_enabled": "1",
        "aof_last_write_status": "ok",
        "aof_current_size": "130",
        "aof_base_size": "20",
        "aof_buffer_length": "2",
        "aof_pending_bio_fsync": "2",
        "aof_delayed_fsync": "4",
        "aof_last_fsync_ms": "100",
    }
    assert {name: fields[name] for name in expected} == expected
    servers[1].segment = Log(1, "err")
    assert info(servers, b"persistence")["aof_last_write_status"] == "err"


def test_commandstats_and_errorstats() -> None:
    servers = [make_server(index, 2) for index in range(2)]
    collected = []
    servers[0].collect_counts = lambda: collected.append(True)
    get = COMMANDS[b"get"]
    get.calls, get.timed, get.usec, get.failed = 3, 1, 10, 1  # one call stands for three
    COMMANDS[b"config"].subcommands[b"get"].rejected = 1
    debug = COMMANDS[b"debug"]
    debug.calls, debug.variants[b"sleep"].calls = 1, 2
    servers[0].stats.errors = {b"WRONGTYPE": 1, b"ERR": 2}
    servers[1].stats.errors = {b"ERR": 5, b"a#b\xff": 1}
    fields = info(servers, b"commandstats", b"errorstats")
    # Both workers of this test read the one table of the process, so everything counts twice.
    assert fields == {
        "cmdstat_config|get": ("calls=0,usec=0,usec_per_call=0.00,rejected_calls=2,failed_calls=0"),
        "cmdstat_debug": "calls=6,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0",
        "cmdstat_get": "calls=6,usec=60,usec_per_call=10.00,rejected_calls=0,failed_calls=2",
        "errorstat_ERR": "count=7",
        "errorstat_WRONGTYPE": "count=1",
        "errorstat_a_b\udcff": "count=1",
    }
    assert collected == [True]


def test_keyspace() -> None:
    servers = [make_server(index, 2) for index in range(2)]
    for number in range(100):
        key = b"key:%d" % number
        server = next(each for each in servers if key_slot(key) in each.store.slots)
        # The first worker's keys live 10 s, the second's 30 s.
        lives_ms = 10_000 if server is servers[0] else 30_000
        server.store.view(0).set(key, b"v", NOW_MS + lives_ms if number < 50 else 0)
    servers[1].store.view(12).set(next_key(servers[1]), b"v")
    servers[0].store.view(3)  # in use, but empty: not shown
    first, second = (each.store.database(0).volatile for each in servers)
    average = (10_000 * first + 30_000 * second) // 50
    assert info(servers, b"keyspace") == {
        "db0": f"keys=100,expires=50,avg_ttl={average},subexpiry=0",
        "db12": "keys=1,expires=0,avg_ttl=0,subexpiry=0",
    }


def next_key(server: Server) -> bytes:
    return next(
        key for key in map(b"k%d".__mod__, range(99)) if key_slot(key) in server.store.slots
    )


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=300), st.booleans())
def test_average_ttl_is_between_the_extremes(lives_ms: list[int], one_slot: bool) -> None:
    server = make_server()
    ks = server.store.view(0)
    for number, life_ms in enumerate(lives_ms):
        ks.set(b"{t}%d" % number if one_slot else b"%d" % number, b"v", NOW_MS + life_ms)
    shown = re.fullmatch(
        r"keys=(\d+),expires=(\d+),avg_ttl=(\d+),subexpiry=0", info([server], b"keyspace")["db0"]
    )
    assert shown is not None
    assert int(shown[1]) == int(shown[2]) == len(lives_ms)
    assert min(lives_ms) <= int(shown[3]) <= max(lives_ms)


HUMAN = {0: "0B", 1023: "1023B", 1024: "1.00K", 694032: "677.77K", 8351744: "7.96M"}
HUMAN |= {25276514304: "23.54G", 1 << 40: "1.00T", (1 << 50) * 3 // 2: "1.50P", 1 << 60: "1024.00P"}


@pytest.mark.parametrize(("size", "text"), HUMAN.items())
def test_human(size: int, text: str) -> None:
    assert human(size) == text


def test_every_section_renders_alone() -> None:
    seen: dict[str, str] = {}
    for name in SECTIONS:
        fields = info([make_server()], name.encode())
        assert not fields.keys() & seen.keys()
        seen |= fields
    assert seen == info([make_server()], b"all")


def test_sampler() -> None:
    server, sampler = make_server(), Sampler()
    sampler.sample(server, 10_000)
    server.stats.commands, server.stats.net_input_bytes = 300, 3072
    server.memory_bytes = lambda: 50
    sampler.sample(server, 10_900)  # too early: nothing is looked at
    assert (sampler.ops_per_s, sampler.peak_memory_bytes) == (0, 0)
    sampler.sample(server, 11_500)
    assert (sampler.ops_per_s, sampler.input_kbps, sampler.output_kbps) == (200, 2.0, 0.0)
    assert sampler.peak_memory_bytes == 50
    server.stats.commands = 40  # CONFIG RESETSTAT and 40 commands
    sampler.sample(server, 12_500)
    assert sampler.ops_per_s == 40
    server.memory_bytes = lambda: 20
    sampler.sample(server, 13_500)
    assert (sampler.ops_per_s, sampler.peak_memory_bytes) == (0, 50)


def test_reset() -> None:
    server: Any = make_server()
    client = make_client(server)
    client.input_bytes, client.output_bytes = 100, 200
    server.segment = Log(1)
    stats, store = server.stats, server.store
    stats.commands = stats.net_input_bytes = stats.hops = stats.error_replies = 9
    stats.errors[b"ERR"] = 9
    store.hits = store.misses = store.expired_keys = 9
    store.dirty_total = 9
    COMMANDS[b"get"].calls = COMMANDS[b"debug"].variants[b"sleep"].calls = 9
    calls = []
    server.on_reset_stats = lambda: calls.append("reset")
    server.collect_counts = lambda: calls.append("collect")
    reset_stats(server)
    assert calls == ["collect", "reset"]
    assert server.segment.delayed_fsync == 0
    client.input_bytes += 7  # only what comes from now on counts
    fields = info([server], b"all")
    expected = {
        "total_commands_processed": "0",
        "total_net_input_bytes": "7",
        "total_net_output_bytes": "0",
        "hops": "0",
        "keyspace_hits": "0",
        "keyspace_misses": "0",
        "expired_keys": "0",
        "total_error_replies": "0",
        "rdb_changes_since_last_save": "9",
        "connected_clients": "1",
    }
    assert {name: fields[name] for name in expected} == expected
    assert not [name for name in fields if name.startswith(("cmdstat_", "errorstat_"))]
