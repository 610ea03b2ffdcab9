"""INFO: one worker's part of it, and the text that all parts together make. No I/O.

`part` gathers this worker's figures into a dict that JSON can carry, `render` makes the text of the
workers' dicts and the supervisor's. Fields have Redis's names, order and formats. What Shoal has no
figure for is left out (allocator, io threads, latencystats, keysizes); of features it does not have
yet the fields that monitoring asks for show the zero that is true. Ours are `shoal_version`,
`shoal_workers`, `hops`, `spanning_commands` and `script_retries` in stats, and the section Workers.

Counters are added up over the workers. used_memory is resident memory, all processes together: what
they share is counted in each. used_memory_peak adds the peaks of the workers, which need not have
been at the same time. A worker that was restarted counts from zero again.

The supervisor's document; a key it leaves out counts as 0, or as unknown where that is said:

- pid: its process id.
- cpu_user, cpu_system: its own CPU time, seconds; cpu_user_children, cpu_system_children: that of
  workers that have ended.
- memory_bytes: its resident memory; total_system_memory: of the machine, bytes.
- os: `Linux 6.1.0 x86_64`; unknown: the field is left out.
- total_connections_received, rejected_connections: since the start or CONFIG RESETSTAT.
- restarts: how often each worker was started anew, a list by worker number.

`Server.extra_info` of a worker may give, as numbers: expired_stale_perc,
expired_time_cap_reached_count; blocked_clients, tracking_clients, pubsub_clients, watching_clients,
total_watched_keys, total_blocking_keys, total_blocking_keys_on_nokey; pubsub_channels,
pubsub_patterns, pubsubshard_channels, tracking_total_keys, tracking_total_items,
tracking_total_prefixes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from shoal.proto.spec import REDIS_VERSION
from shoal.worker.keyspace import Database, Store, expire_of
from shoal.worker.registry import Command, every_command

if TYPE_CHECKING:
    from shoal.worker.server import Server

Document = dict[str, Any]
Fields = list[tuple[str, object]]

# How much of a database avg_ttl is estimated from: slots that have an expire time, and keys of one.
TTL_SLOTS: Final = 64
TTL_KEYS_OF_SLOT: Final = 16
SAMPLE_MS: Final = 1000

_NO_REPLID: Final = "0" * 40


class Sampler:
    """What of INFO takes two looks or a look now and then: rates and the peak of memory.

    Attributes:
        ops_per_s, input_kbps, output_kbps: means over about the last second.
        peak_memory_bytes: the most resident memory seen.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.ops_per_s = 0
        self.input_kbps = self.output_kbps = 0.0
        self.peak_memory_bytes = 0
        self._at_ms = 0
        self._counts = (0, 0, 0)

    def sample(self, server: Server, now_ms: int) -> None:
        """Look, if the last look is a second ago; now_ms is monotonic. The loop's cron calls it."""
        past_ms = now_ms - self._at_ms
        if past_ms < SAMPLE_MS:
            return
        counts = (server.stats.commands, *net_bytes(server))
        # Less than before: CONFIG RESETSTAT, and they count from 0.
        ops, received, sent = (
            (new - old if new >= old else new) * 1000 / past_ms
            for new, old in zip(counts, self._counts, strict=True)
        )
        self.ops_per_s = round(ops)
        self.input_kbps, self.output_kbps = received / 1024, sent / 1024
        self._at_ms, self._counts = now_ms, counts
        self.see_memory(server.memory_bytes())

    def see_memory(self, size: int) -> int:
        """Take this size into the peak, and return it."""
        self.peak_memory_bytes = max(self.peak_memory_bytes, size)
        return size


def net_bytes(server: Server) -> tuple[int, int]:
    """Return what this worker has received from and sent to clients, in bytes."""
    stats, clients = server.stats, server.clients.values()
    return (
        stats.net_input_bytes + sum(client.input_bytes for client in clients),
        stats.net_output_bytes + sum(client.output_bytes for client in clients),
    )


def reset_stats(server: Server) -> None:
    """Do CONFIG RESETSTAT in this worker."""
    server.collect_counts()
    server.on_reset_stats()
    for entry in _entries():
        entry.calls = entry.timed = entry.usec = entry.rejected = entry.failed = 0
    received, sent = net_bytes(server)
    stats = server.stats
    server.stats = type(stats)(
        # The clients that are connected keep their own counts: with these the sums are 0.
        net_input_bytes=stats.net_input_bytes - received,
        net_output_bytes=stats.net_output_bytes - sent,
        peak_clients=len(server.clients),
    )
    store = server.store
    store.hits = store.misses = store.expired_keys = store.expired_subkeys = 0
    if server.segment is not None:
        server.segment.delayed_fsync = 0


def _entries() -> Iterable[Command]:
    for entry in every_command():
        yield entry
        yield from entry.variants.values()


# -- one worker's part -----------------------------------------------------------------------------


def wanted(args: Sequence[bytes]) -> list[str]:
    """Return the names of the sections that INFO's arguments ask for, in the order of the reply."""
    names = {arg.lower().decode("latin-1") for arg in args} or {"default"}
    if names & {"all", "everything"}:
        return list(SECTIONS)
    if "default" in names:
        names |= SECTIONS.keys() - NOT_BY_DEFAULT
    return [name for name in SECTIONS if name in names]


def part(server: Server, sections: Sequence[str]) -> Document:
    """Return this worker's figures for these sections; numbers, texts, lists and dicts."""
    server.collect_counts()
    stats, store, sampler, config = server.stats, server.store, server.sampler, server.config
    facts, segment = server.facts, server.segment
    memory = sampler.see_memory(server.memory_bytes())
    user, system = server.cpu_seconds()
    received, sent = net_bytes(server)
    document: Document = {
        **server.extra_info(),
        "sections": list(sections),
        "worker": server.index,
        "workers": server.workers,
        "pid": server.pid,
        "time_us": server.time_us(),
        "now_ms": store.now_ms,
        "start_ms": facts.start_ms,
        "run_id": facts.run_id,
        "supervisor_pid": facts.supervisor_pid,
        "shoal_version": facts.version,
        "tcp_port": facts.port,
        "listeners": facts.listeners,
        "executable": facts.executable,
        "config_file": facts.config_file,
        "hz": config.hz,
        "maxclients": config.maxclients,
        "maxmemory": config.maxmemory,
        "maxmemory_policy": config.maxmemory_policy,
        "connected_clients": len(server.clients),
        "memory_bytes": memory,
        "peak_memory_bytes": sampler.peak_memory_bytes,
        "garbage": len(store.garbage),
        "dirty": store.dirty_total,
        "log": None if segment is None else segment.info(),
        "connections": stats.connections,
        "commands": stats.commands,
        "ops_per_s": sampler.ops_per_s,
        "net_input_bytes": received,
        "net_output_bytes": sent,
        "input_kbps": sampler.input_kbps,
        "output_kbps": sampler.output_kbps,
        "expired_keys": store.expired_keys,
        "expired_subkeys": store.expired_subkeys,
        "volatile": sum(db.volatile for db in store.databases()),
        "hits": store.hits,
        "misses": store.misses,
        "error_replies": stats.error_replies,
        "query_limit_disconnections": stats.query_limit_disconnections,
        "output_limit_disconnections": stats.output_limit_disconnections,
        "turns": stats.turns,
        "turn_usec": stats.turn_usec,
        "hops": stats.hops,
        "spanning": stats.spanning,
        "script_retries": stats.script_retries,
        "cpu_user": user,
        "cpu_system": system,
        "keys": sum(db.size for db in store.databases()),
    }
    if "commandstats" in sections:
        document["commandstats"] = _command_counts()
    if "errorstats" in sections:
        document["errorstats"] = {
            code.decode("utf-8", "surrogateescape"): count for code, count in stats.errors.items()
        }
    if "keyspace" in sections:
        document["keyspace"] = {
            db.index: [db.size, db.volatile, _average_ttl_ms(store, db), db.subexpiry]
            for db in store.databases()
            if db.size
        }
    return document


def _command_counts() -> dict[str, list[int]]:
    """Return calls, usec, rejected and failed by name, of commands that have any.

    Of commands that go the short way some calls are timed, and stand for all.
    """
    found: dict[str, list[int]] = {}
    for entry in _entries():
        usec = entry.usec * entry.calls // entry.timed if entry.timed else entry.usec
        counts = (entry.calls, usec, entry.rejected, entry.failed)
        if any(counts):
            before = found.get(entry.spec.name, [0, 0, 0, 0])
            found[entry.spec.name] = [a + b for a, b in zip(before, counts, strict=True)]
    return found


def _average_ttl_ms(store: Store, db: Database) -> int:
    """Estimate how long the keys of a database with an expire time still live, from some of them.

    Redis keeps a running average of what its expire cycle meets; the cycle here visits only slots
    that are due, which would bias it to the short-lived.
    """
    slots = list(db.next_expire)
    if len(slots) > TTL_SLOTS:
        slots = store.random.sample(slots, TTL_SLOTS)
    total = seen = 0
    for slot in slots:
        of_slot = 0
        for value in db.keys_in(slot).values():
            expire_ms = expire_of(value)
            if expire_ms:
                total += max(expire_ms - store.now_ms, 0)
                of_slot += 1
                if of_slot == TTL_KEYS_OF_SLOT:
                    break
        seen += of_slot
    return total // seen if seen else 0


# -- the text --------------------------------------------------------------------------------------


class _Parts:
    """All workers' parts, the lowest number's first, and the supervisor's document."""

    def __init__(self, parts: Sequence[Document], supervisor: Document) -> None:
        self.parts = parts
        self.first = parts[0]
        self.supervisor = supervisor

    def total(self, name: str) -> Any:
        return sum(part.get(name, 0) for part in self.parts)

    def totals(self, *names: str) -> Fields:
        return [(name, self.total(name)) for name in names]

    def everywhere(self, name: str) -> Any:
        """Add the supervisor's figure to the workers'."""
        return self.total(name) + self.supervisor.get(name, 0)

    def summed(self, section: str) -> list[tuple[str, list[int]]]:
        """Add up lists of numbers by name, sorted by name."""
        sums: dict[str, list[int]] = {}
        for part in self.parts:
            for name, numbers in part[section].items():
                before = sums.get(name, [0] * len(numbers))
                sums[name] = [a + b for a, b in zip(before, numbers, strict=True)]
        return sorted(sums.items())


def render(parts: Sequence[Document], supervisor: Document) -> bytes:
    """Return INFO's text of one or more workers' parts, in any order, and the supervisor's."""
    everything = _Parts(sorted(parts, key=lambda part: int(part["worker"])), supervisor)
    return b"\r\n".join(
        _section(name, SECTIONS[name](everything)) for name in everything.first["sections"]
    )


def _section(name: str, fields: Fields) -> bytes:
    title = "CPU" if name == "cpu" else name.capitalize()
    lines = [f"# {title}", *(f"{field}:{value}" for field, value in fields)]
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")


def human(size: int) -> str:
    """Show a size in bytes as the `_human` fields do: 1024 is 1.00K."""
    if size < 1024:
        return f"{size}B"
    power = min((size.bit_length() - 1) // 10, 5)
    return f"{size / 1024**power:.2f}{'KMGTP'[power - 1]}"


def _with_human(name: str, size: int) -> Fields:
    return [(name, size), (f"{name}_human", human(size))]


def _server(all_: _Parts) -> Fields:
    first, supervisor = all_.first, all_.supervisor
    uptime_s = max(first["now_ms"] - first["start_ms"], 0) // 1000
    os_: Fields = [("os", supervisor["os"])] if "os" in supervisor else []
    return [
        ("redis_version", REDIS_VERSION),
        ("shoal_version", first["shoal_version"]),
        ("shoal_workers", first["workers"]),
        ("redis_mode", "standalone"),
        *os_,
        ("arch_bits", 64 if sys.maxsize > 1 << 32 else 32),
        ("monotonic_clock", "POSIX clock_gettime"),
        ("multiplexing_api", "epoll"),
        ("python_version", ".".join(map(str, sys.version_info[:3]))),
        ("process_id", first["supervisor_pid"]),
        ("process_supervised", "no"),
        ("run_id", first["run_id"]),
        ("tcp_port", first["tcp_port"]),
        ("server_time_usec", first["time_us"]),
        ("uptime_in_seconds", uptime_s),
        ("uptime_in_days", uptime_s // 86400),
        ("hz", first["hz"]),
        ("configured_hz", first["hz"]),
        ("lru_clock", lru_clock(first["now_ms"])),
        ("executable", first["executable"]),
        ("config_file", first["config_file"]),
        ("io_threads_active", 0),
        *_listeners(first["listeners"]),
    ]


def lru_clock(now_ms: int) -> int:
    """Return the clock that Redis stamps keys with: seconds, 24 bits of them."""
    return now_ms // 1000 & 0xFFFFFF


def _listeners(listeners: Sequence[str]) -> Fields:
    """Describe `127.0.0.1:6379`, `[::1]:6379`, `unix:/path`, one line for each kind, as Redis."""
    tcp = [listener.rpartition(":") for listener in listeners if not listener.startswith("unix:")]
    lines = []
    if tcp:
        binds = "".join(f"bind={host.strip('[]')}," for host, _, _ in tcp)
        lines.append(f"name=tcp,{binds}port={tcp[0][2]}")
    unix = [listener for listener in listeners if listener.startswith("unix:")]
    lines += [f"name=unix,bind={path.removeprefix('unix:')}" for path in unix]
    return [(f"listener{number}", line) for number, line in enumerate(lines)]


def _workers(all_: _Parts) -> Fields:
    restarts = all_.supervisor.get("restarts", [])
    fields: Fields = []
    for part in all_.parts:
        number = part["worker"]
        fields.append(
            (
                f"worker{number}",
                f"pid={part['pid']},clients={part['connected_clients']},keys={part['keys']},"
                f"commands={part['commands']},hops={part['hops']},memory={part['memory_bytes']},"
                f"cpu={part['cpu_user'] + part['cpu_system']:.6f},"
                f"restarts={restarts[number] if number < len(restarts) else 0}",
            )
        )
    return fields


def _clients(all_: _Parts) -> Fields:
    return [
        ("connected_clients", all_.total("connected_clients")),
        ("cluster_connections", 0),
        ("maxclients", all_.first["maxclients"]),
        *all_.totals("blocked_clients", "tracking_clients", "pubsub_clients", "watching_clients"),
        *all_.totals("total_watched_keys", "total_blocking_keys", "total_blocking_keys_on_nokey"),
    ]


def _memory(all_: _Parts) -> Fields:
    used = all_.everywhere("memory_bytes")
    peak = all_.total("peak_memory_bytes") + all_.supervisor.get("memory_bytes", 0)
    return [
        *_with_human("used_memory", used),
        *_with_human("used_memory_rss", used),
        *_with_human("used_memory_peak", peak),
        ("used_memory_peak_perc", f"{100 * used / peak if peak else 0:.2f}%"),
        *_with_human("total_system_memory", all_.supervisor.get("total_system_memory", 0)),
        *all_.totals("number_of_cached_scripts"),
        # Every worker has all of them.
        ("number_of_functions", all_.first.get("number_of_functions", 0)),
        ("number_of_libraries", all_.first.get("number_of_libraries", 0)),
        *_with_human("maxmemory", all_.first["maxmemory"]),
        ("maxmemory_policy", all_.first["maxmemory_policy"]),
        ("mem_aof_buffer", sum(log["aof_buffer_length"] for log in _logs(all_))),
        ("active_defrag_running", 0),
        ("lazyfree_pending_objects", all_.total("garbage")),
    ]


def _logs(all_: _Parts) -> list[Document]:
    return [part["log"] for part in all_.parts if part["log"] is not None]


def _persistence(all_: _Parts) -> Fields:
    logs = _logs(all_)
    failed = any(log["aof_last_write_status"] != "ok" for log in logs)
    fields: Fields = [
        ("loading", 0),
        ("async_loading", 0),
        ("rdb_changes_since_last_save", all_.total("dirty")),
        ("rdb_bgsave_in_progress", 0),
        ("rdb_last_save_time", all_.first["start_ms"] // 1000),
        ("rdb_last_bgsave_status", "ok"),
        ("rdb_last_bgsave_time_sec", -1),
        ("rdb_current_bgsave_time_sec", -1),
        ("rdb_saves", 0),
        ("aof_enabled", int(bool(logs))),
        ("aof_rewrite_in_progress", 0),
        ("aof_rewrite_scheduled", 0),
        ("aof_last_rewrite_time_sec", -1),
        ("aof_current_rewrite_time_sec", -1),
        ("aof_last_bgrewrite_status", "ok"),
        ("aof_rewrites", 0),
        ("aof_last_write_status", "err" if failed else "ok"),
    ]
    if logs:
        fields += [
            ("aof_current_size", sum(log["aof_current_size"] for log in logs)),
            ("aof_base_size", sum(log["aof_base_size"] for log in logs)),
            ("aof_pending_rewrite", 0),
            ("aof_buffer_length", sum(log["aof_buffer_length"] for log in logs)),
            ("aof_pending_bio_fsync", sum(log["aof_pending_bio_fsync"] for log in logs)),
            ("aof_delayed_fsync", sum(log["aof_delayed_fsync"] for log in logs)),
            ("aof_last_fsync_ms", max(log["aof_last_fsync_ms"] for log in logs)),
        ]
    return fields


def _stats(all_: _Parts) -> Fields:
    total, supervisor = all_.total, all_.supervisor
    volatile = total("volatile")
    stale = sum(part.get("expired_stale_perc", 0.0) * part["volatile"] for part in all_.parts)
    return [
        ("total_connections_received", supervisor.get("total_connections_received", 0)),
        ("total_commands_processed", total("commands")),
        ("instantaneous_ops_per_sec", total("ops_per_s")),
        *all_.totals("hops"),
        ("spanning_commands", total("spanning")),
        ("script_retries", total("script_retries")),
        ("total_net_input_bytes", total("net_input_bytes")),
        ("total_net_output_bytes", total("net_output_bytes")),
        ("instantaneous_input_kbps", f"{total('input_kbps'):.2f}"),
        ("instantaneous_output_kbps", f"{total('output_kbps'):.2f}"),
        ("rejected_connections", supervisor.get("rejected_connections", 0)),
        ("sync_full", 0),
        ("sync_partial_ok", 0),
        ("sync_partial_err", 0),
        *all_.totals("expired_subkeys", "expired_keys"),
        ("expired_stale_perc", f"{stale / volatile if volatile else 0:.2f}"),
        *all_.totals("expired_time_cap_reached_count"),
        ("evicted_keys", 0),
        ("evicted_clients", 0),
        *all_.totals("evicted_scripts"),
        ("keyspace_hits", total("hits")),
        ("keyspace_misses", total("misses")),
        # Those of all workers, as each of them knows.
        *[
            (name, all_.first.get(name, 0))
            for name in ("pubsub_channels", "pubsub_patterns", "pubsubshard_channels")
        ],
        ("latest_fork_usec", 0),
        ("total_forks", 0),
        *all_.totals("tracking_total_keys", "tracking_total_items"),
        ("tracking_total_prefixes", all_.first.get("tracking_total_prefixes", 0)),
        ("total_error_replies", total("error_replies")),
        ("client_query_buffer_limit_disconnections", total("query_limit_disconnections")),
        ("client_output_buffer_limit_disconnections", total("output_limit_disconnections")),
        ("eventloop_cycles", total("turns")),
        ("eventloop_duration_sum", total("turn_usec")),
    ]


def _replication(all_: _Parts) -> Fields:
    return [
        ("role", "master"),
        ("connected_slaves", 0),
        ("master_failover_state", "no-failover"),
        ("master_replid", all_.first["run_id"]),
        ("master_replid2", _NO_REPLID),
        ("master_repl_offset", 0),
        ("second_repl_offset", -1),
        ("repl_backlog_active", 0),
        ("repl_backlog_size", 0),
        ("repl_backlog_first_byte_offset", 0),
        ("repl_backlog_histlen", 0),
    ]


def _cpu(all_: _Parts) -> Fields:
    seconds = {
        "used_cpu_sys": all_.everywhere("cpu_system"),
        "used_cpu_user": all_.everywhere("cpu_user"),
        "used_cpu_sys_children": all_.supervisor.get("cpu_system_children", 0),
        "used_cpu_user_children": all_.supervisor.get("cpu_user_children", 0),
    }
    return [(name, f"{value:.6f}") for name, value in seconds.items()]


def _modules(_: _Parts) -> Fields:
    return []


def _commandstats(all_: _Parts) -> Fields:
    fields: Fields = []
    for name, (calls, usec, rejected, failed) in all_.summed("commandstats"):
        fields.append(
            (
                f"cmdstat_{name}",
                f"calls={calls},usec={usec},usec_per_call={usec / calls if calls else 0:.2f},"
                f"rejected_calls={rejected},failed_calls={failed}",
            )
        )
    return fields


# Bytes that would break a line of INFO apart.
_SAFE: Final = str.maketrans("#:\n\r", "____")


def _errorstats(all_: _Parts) -> Fields:
    counts: dict[str, int] = {}
    for part in all_.parts:
        for code, count in part["errorstats"].items():
            counts[code] = counts.get(code, 0) + count
    return [
        (f"errorstat_{code.translate(_SAFE)}", f"count={count}")
        for code, count in sorted(counts.items())
    ]


def _cluster(_: _Parts) -> Fields:
    return [("cluster_enabled", 0)]


def _keyspace(all_: _Parts) -> Fields:
    dbs: dict[int, list[int]] = {}
    for part in all_.parts:
        for db, (keys, expires, ttl_ms, subexpiry) in part["keyspace"].items():
            sums = dbs.setdefault(int(db), [0, 0, 0, 0])
            sums[0] += keys
            sums[1] += expires
            sums[2] += expires * ttl_ms
            sums[3] += subexpiry
    return [
        (
            f"db{db}",
            f"keys={keys},expires={expires},avg_ttl={ttl_sum // expires if expires else 0},"
            f"subexpiry={subexpiry}",
        )
        for db, (keys, expires, ttl_sum, subexpiry) in sorted(dbs.items())
    ]


SECTIONS: Final[dict[str, Callable[[_Parts], Fields]]] = {
    "server": _server,
    "workers": _workers,
    "clients": _clients,
    "memory": _memory,
    "persistence": _persistence,
    "stats": _stats,
    "replication": _replication,
    "cpu": _cpu,
    "modules": _modules,
    "commandstats": _commandstats,
    "errorstats": _errorstats,
    "cluster": _cluster,
    "keyspace": _keyspace,
}
"""The sections by the name in INFO's arguments, in the order in which they are shown."""

NOT_BY_DEFAULT: Final = frozenset({"commandstats"})
