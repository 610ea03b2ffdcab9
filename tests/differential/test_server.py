"""The commands about the server beside redis-server's: INFO, CONFIG, SHUTDOWN, TIME, DEBUG."""

import re

import pytest
from support.differential import Case, Compare, Table, cases, head, mask, pairs, raw, shape
from support.raw import bulk_text, pack
from support.servers import Oracle, Server, Shoal

# -- INFO ------------------------------------------------------------------------------------------

USEC = r"usec=\d+,usec_per_call=[\d.]+"


def only(name: str) -> str:
    """Return the regex of all that is around a command's line of commandstats."""
    return rf"(?s:^.*(?=cmdstat_{name}:)|(?<=failed_calls=\d)\r\n.*$)"


INFO: Table = {
    "unknown section": ["INFO nope", 'INFO ""', "INFO nope neither"],
    "a whole section": ["INFO cluster", "INFO CLUSTER", "INFO cluster nope cluster"],
    "keyspace": [
        "INFO keyspace",
        "MSET a 1 b 2 c 3",
        "INFO keyspace",
        "SELECT 9",
        "SET k v",
        "PEXPIRE k 4102444800000",
        mask(r"avg_ttl=\d+", "INFO Keyspace"),
        "PERSIST k",
        mask(r"avg_ttl=\d+", "INFO keyspace"),
        "FLUSHALL",
        "INFO keyspace cluster",
    ],
    "errorstats": Case(
        "CONFIG RESETSTAT",
        "INCR",
        "SET k v",
        "INCR k",
        "GETDEL",
        "NOSUCH",
        "INFO errorstats",
        "CONFIG RESETSTAT",
        "INFO errorstats",
    ),
    "commandstats": [
        "CONFIG RESETSTAT",
        mask(USEC, "INFO commandstats"),
        # Redis lists the commands in the order of a hash table: compare one of them.
        "DEBUG SLEEP 0",
        "DEBUG",
        "DEBUG nope",
        "DEBUG PROTOCOL integer",
        mask(rf"{only('debug')}|{USEC}", "INFO commandstats"),
        "DBSIZE",
        "DBSIZE x",
        mask(rf"{only('dbsize')}|{USEC}", "INFO commandstats"),
        "FLUSHALL nope",
        "FLUSHALL",
        mask(rf"{only('flushall')}|{USEC}", "INFO commandstats"),
    ],
}

CONFIG: Table = {
    "get one": ["CONFIG GET databases", "config get DataBases", "CONFIG GET nope"],
    "get by patterns": [
        pairs("CONFIG GET hash-max-*-entries set-max-*"),
        pairs("CONFIG GET HZ hz h?"),
        pairs("CONFIG GET h? HZ"),
        pairs("CONFIG GET zset-max-[lz]i* nope latency-monitor-*"),
    ],
    "get without": ["CONFIG GET"],
    "set and get": Case(
        "CONFIG SET set-max-intset-entries 7",
        "CONFIG GET set-max-intset-entries",
        "CONFIG SET hash-max-listpack-entries 5 TIMEOUT 9",
        pairs("CONFIG GET hash-max-listpack-entries hash-max-ziplist-entries timeout"),
        cleanup=["CONFIG SET set-max-intset-entries 512 hash-max-listpack-entries 512 timeout 0"],
    ),
    "set nothing, or half": ["CONFIG SET", "CONFIG SET hz", "CONFIG SET hz 20 timeout"],
    "set what is not there": ["CONFIG SET nope 1", "CONFIG SET hz 20 nope 1", "CONFIG GET hz"],
    "set what may not change": [
        "CONFIG SET databases 3",
        "CONFIG SET timeout 1 databases 5",
        "CONFIG GET timeout",
    ],
    "set wrong values": [
        "CONFIG SET hz x",
        "CONFIG SET timeout -1",
        "CONFIG SET maxclients 0",
        "CONFIG SET appendfsync sometimes",
        "CONFIG SET timeout 3 hz x",
        "CONFIG GET timeout",
    ],
    "set twice": ["CONFIG SET timeout 1 TIMEOUT 2", "CONFIG GET timeout"],
    "resetstat": ["CONFIG RESETSTAT", "CONFIG RESETSTAT x"],
    "no subcommand": ["CONFIG", "CONFIG nope", f"CONFIG {'x' * 200}", "CONFIG HELP x"],
}

OTHER: Table = {
    "time": [shape("TIME"), "TIME x"],
    "lastsave": [shape("LASTSAVE"), "LASTSAVE x"],
    "shutdown refused": [
        "SHUTDOWN nope",
        "SHUTDOWN SAVE NOSAVE",
        "SHUTDOWN ABORT NOW",
        "SHUTDOWN NOW FORCE ABORT",
        "SHUTDOWN ABORT",
        "shutdown abort abort",
    ],
    "lolwut without a picture": ["LOLWUT VERSION 1", "lolwut version -7 x"],
    "lolwut": [head("LOLWUT"), head("LOLWUT VERSION 5 10 2"), head("LOLWUT foo")],
    "lolwut refused": [
        "LOLWUT VERSION x",
        "LOLWUT VERSION 5 x",
        "LOLWUT VERSION 5 1 1 x",
        "LOLWUT VERSION 6 1 x",
    ],
}

# Ours has no serializedlength.
OBJECT = r"at:0x\w+|(?<=int|raw)( serializedlength:\d+)? lru:\d+"

DEBUG: Table = {
    "protocol": [
        f"DEBUG PROTOCOL {kind}"
        for kind in ("string", "integer", "double", "bignum", "null", "array", "set", "map")
    ],
    "protocol, more of it": [
        f"debug protocol {kind}" for kind in ("attrib", "verbatim", "TRUE", "false")
    ],
    "protocol push, RESP2": Case("DEBUG PROTOCOL push", resp=2),
    "protocol push, RESP3": Case(raw(pack(b"DEBUG", b"PROTOCOL", b"push"), 2), resp=3),
    "protocol refused": ["DEBUG PROTOCOL", "DEBUG PROTOCOL nope", "DEBUG PROTOCOL set map"],
    "error": ["DEBUG ERROR foo", r'DEBUG ERROR "A b\r\nc"', 'DEBUG ERROR ""', "DEBUG ERROR a b"],
    "sleep": [
        "DEBUG SLEEP 0",
        "DEBUG sleep .001",
        "DEBUG SLEEP x",
        "DEBUG SLEEP",
        "DEBUG SLEEP 0 0",
    ],
    "set-active-expire": Case(
        "DEBUG SET-ACTIVE-EXPIRE 0",
        "DEBUG SET-ACTIVE-EXPIRE x",
        "DEBUG SET-ACTIVE-EXPIRE",
        cleanup=["DEBUG SET-ACTIVE-EXPIRE 1"],
    ),
    "object": [
        "DEBUG OBJECT nope",
        "DEBUG OBJECT",
        "DEBUG OBJECT k fast",
        "SET k 5",
        mask(OBJECT, "DEBUG OBJECT k"),
        f"SET k {'v' * 80}",
        mask(OBJECT, "DEBUG OBJECT k"),
    ],
    "log": ["DEBUG LOG hello", "DEBUG LOG", "DEBUG LOG a b"],
    "quicklist-packed-threshold": Case(
        *(
            f"DEBUG QUICKLIST-PACKED-THRESHOLD {size}"
            for size in ("100b", "0", "1", "4gb", "4293918720", "4293918721", "5gb", "-1", "x")
        ),
        "DEBUG QUICKLIST-PACKED-THRESHOLD 1gb 1",
        cleanup=["DEBUG QUICKLIST-PACKED-THRESHOLD 0"],  # the default
    ),
    "dict-resizing": ["DEBUG DICT-RESIZING 1", "DEBUG DICT-RESIZING"],
    "reload without a log": [
        "SET a 1",
        "SET b 2 PXAT 4102444800000",
        "DEBUG RELOAD",
        "DBSIZE",
        "MGET a b",
        "PEXPIRETIME b",
    ],
    "loadaof without a log": ["DEBUG LOADAOF", "DEBUG LOADAOF x"],
    "reload refused": ["DEBUG RELOAD nope", "DEBUG RELOAD NOSAVE nope"],
    "unknown": [
        "DEBUG",
        "DEBUG nope",
        r'DEBUG "a\nb"',
        r'DEBUG "\xff"',
        f"DEBUG {'x' * 200}",
        "DEBUG HELP x",
    ],
    "no subcommands to COMMAND": [
        "COMMAND INFO debug|sleep",
        "COMMAND LIST FILTERBY PATTERN debug*",
    ],
}


@pytest.mark.parametrize("script", cases(INFO, CONFIG, OTHER, DEBUG))
def test_server(script: Case, compare: Compare) -> None:
    compare(script)


# Fields of INFO that Redis does not have, or (aof_last_fsync_ms) not by this name.
OURS = {
    "shoal_version",
    "shoal_workers",
    "python_version",
    "hops",
    "spanning_commands",
    "script_retries",
}


def sections(server: Server) -> dict[str, list[str]]:
    """Return the names of INFO's fields by section."""
    text = bulk_text(server.raw("INFO everything")).decode()
    found = {}
    for section in text.split("\r\n\r\n"):
        title, *lines = section.strip().split("\r\n")
        found[title] = [line.partition(":")[0] for line in lines]
    return found


def test_info_has_fields_of_redis_in_its_order(oracle: Oracle, subject: Shoal) -> None:
    theirs, ours = sections(oracle), sections(subject)
    del ours["# Workers"]
    assert [title for title in theirs if title in ours] == list(ours)
    varying = {"# Commandstats", "# Errorstats", "# Keyspace"}
    for title in ours.keys() - varying:
        names = [name for name in ours[title] if name not in OURS]
        assert [name for name in theirs[title] if name in names] == names, title


def test_info_counts_the_workers_together(subject: Shoal) -> None:
    text = bulk_text(subject.raw("INFO")).decode()
    shown = re.findall(r"(?m)^worker(\d+):pid=(\d+),.*restarts=\d+\r$", text)
    assert [int(number) for number, _ in shown] == list(range(len(subject.worker_pids())))
    assert [int(pid) for _, pid in shown] == subject.worker_pids()
    assert f"process_id:{subject.pid}\r\n" in text
    assert f"tcp_port:{subject.port}\r\n" in text


def test_debug_is_not_for_everybody() -> None:
    lines = ("DEBUG SLEEP 0", "DEBUG nope", "DEBUG OBJECT k", "DEBUG HELP", "DEBUG")
    options = ("--requirepass", "secret", "--enable-debug-command", "no")
    with Oracle(*options) as redis, Shoal(*options) as shoal:
        for line in lines:  # refused before the password is asked for, as in Redis
            assert shoal.raw(line) == redis.raw(line), line


@pytest.mark.parametrize("how", ["DEBUG RELOAD", "DEBUG LOADAOF"])
def test_reload_from_the_log(how: str) -> None:
    options = ("--enable-debug-command", "local", "--appendonly", "yes")
    with Shoal(*options, workers=2) as shoal, shoal.client() as client:
        for number in range(200):
            client.call(b"SET", b"k%d" % number, b"v%d" % number)
        client.call(b"MSET", b"k1", b"x", b"k2", b"y", b"k3", b"z")
        client.call(b"SELECT", b"3")
        client.call(b"SET", b"k", b"v", b"PXAT", b"4102444800000")
        client.call(b"SELECT", b"0")
        assert client.call(*how.encode().split()) == b"+OK\r\n"
        assert client.call(b"DBSIZE") == b":200\r\n"
        assert (
            client.call(b"MGET", b"k1", b"k3", b"k9") == b"*3\r\n$1\r\nx\r\n$1\r\nz\r\n$2\r\nv9\r\n"
        )
        client.call(b"SELECT", b"3")
        assert client.call(b"PEXPIRETIME", b"k") == b":4102444800000\r\n"
        assert client.call(b"SET", b"more", b"v") == b"+OK\r\n"
        assert client.call(*how.encode().split()) == b"+OK\r\n"
        assert client.call(b"DBSIZE") == b":2\r\n"
