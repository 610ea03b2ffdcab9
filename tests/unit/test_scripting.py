"""What scripts log, keep and are refused; the cache of scripts."""

from __future__ import annotations

import hashlib
from random import Random

import pytest
from shoal.proto.limits import MAX_EVAL_SCRIPTS
from shoal.proto.slots import key_slot
from shoal.worker.registry import NeedKeys
from shoal.worker.scripting import engine
from shoal.worker.scripting.convert import argument_of, number_of, value_of
from support.keyspace import NOW_MS
from support.mesh import Caller, Mesh, keys_of, lock
from support.raw import pack, split_line
from support.scripting import Argv, Scripts


@pytest.fixture
def scripts() -> Scripts:
    return Scripts()


# -- effects ---------------------------------------------------------------------------------------

EFFECTS: dict[str, tuple[str, list[Argv]]] = {
    "nothing": ("return redis.call('get', 'k')", []),
    "a command as it came": ("redis.call('SET', 'k', 5)", [(b"SET", b"k", b"5")]),
    "several": (
        "redis.call('set', 'k', 'v') redis.call('rpush', 'l', 'a') redis.call('del', 'none')",
        [(b"set", b"k", b"v"), (b"rpush", b"l", b"a")],
    ),
    "an absolute time": (
        "redis.call('set', 'k', 'v', 'ex', 5)",
        [(b"SET", b"k", b"v", b"PXAT", b"%d" % (NOW_MS + 5000))],
    ),
    "what was chosen": (
        "redis.call('sadd', 's', 'a') redis.call('spop', 's')",
        [(b"sadd", b"s", b"a"), (b"SREM", b"s", b"a")],
    ),
    "another database": (
        "redis.call('set', 'a', 1) redis.call('select', 3) redis.call('set', 'b', 2)"
        " redis.call('set', 'c', 3)",
        [
            (b"set", b"a", b"1"),
            (b"SELECT", b"3"),
            (b"set", b"b", b"2"),
            (b"set", b"c", b"3"),
            (b"SELECT", b"0"),
        ],
    ),
    "another database and back": (
        "redis.call('select', 3) redis.call('get', 'b') redis.call('select', 0)"
        " redis.call('set', 'a', 1)",
        [(b"set", b"a", b"1")],
    ),
    "up to an error": (
        "redis.call('set', 'a', 1) error('no more')",
        [(b"set", b"a", b"1")],
    ),
    "past errors": (
        "redis.pcall('lpush', 'a') pcall(redis.call, 'nosuch') redis.call('set', 'a', 1)",
        [(b"set", b"a", b"1")],
    ),
}


@pytest.mark.parametrize(("text", "logged"), EFFECTS.values(), ids=EFFECTS.keys())
def test_effects(text: str, logged: list[Argv], scripts: Scripts) -> None:
    scripts.run(text)
    assert scripts.logged == logged


def test_what_expires_is_logged_between_the_effects(scripts: Scripts) -> None:
    scripts.run("redis.call('set', 'gone', 1, 'px', 10)")
    scripts.store.now_ms += 100
    scripts.store.log = lambda db, argv: pytest.fail("logged ahead of the script's effects")
    scripts.run("redis.call('set', 'a', 1) redis.call('get', 'gone') redis.call('set', 'b', 2)")
    assert scripts.logged == [(b"set", b"a", b"1"), (b"DEL", b"gone"), (b"set", b"b", b"2")]


def test_a_failing_disk_stops_writes_only(scripts: Scripts) -> None:
    scripts.run("redis.call('set', 'k', 'v')")
    scripts.scripting.around.disk_error = lambda: b"-MISCONF no\r\n"
    assert scripts.run("return redis.call('get', 'k')") == b"$1\r\nv\r\n"
    assert scripts.run("return redis.pcall('set', 'k', 'w')") == b"-MISCONF no\r\n"
    assert scripts.run("#!lua\nreturn 1") == b"-MISCONF no\r\n"
    assert scripts.run("#!lua flags=no-writes\nreturn 1") == b":1\r\n"


# -- the cache -------------------------------------------------------------------------------------


def test_scripts_of_eval_are_evicted_the_oldest_first(scripts: Scripts) -> None:
    scripting = scripts.scripting
    kept = scripting.load(b"return 'kept'", keep=True)
    for number in range(MAX_EVAL_SCRIPTS):
        scripts.run(f"return {number}")
    scripts.run("return 0")  # is used, so it is not the oldest
    scripts.run("return 'one more'")
    shas = {
        number: hashlib.sha1(b"return %d" % number).hexdigest().encode()
        for number in range(MAX_EVAL_SCRIPTS)
    }
    assert [number for number, sha in shas.items() if scripting.body_of(sha) is None] == [1]
    assert scripting.body_of(kept.sha) == b"return 'kept'"
    figures = scripting.figures()
    assert figures["number_of_cached_scripts"] == MAX_EVAL_SCRIPTS + 1
    assert figures["evicted_scripts"] == 1
    scripting.load(b"return 2", keep=True)  # stays from now on
    for number in range(MAX_EVAL_SCRIPTS):
        scripts.run(f"return -{number}")
    assert scripting.body_of(shas[2]) == b"return 2"
    assert scripting.body_of(shas[3]) is None
    scripting.flush()
    assert scripting.body_of(kept.sha) is None


# -- values ----------------------------------------------------------------------------------------


def test_numbers_and_arguments() -> None:
    assert [number_of(text) for text in (b"5", b" 0x10 ", b"1e3", b"-.5", b"", b"x", b"5x")] == [
        5,
        16,
        1000,
        -0.5,
        None,
        None,
        None,
    ]
    assert number_of(True) is None
    assert argument_of(True) is None
    assert [argument_of(one) for one in (b"x", 5, -1, 1.5, 2**63, 1e20)] == [
        b"x",
        b"5",
        b"-1",
        b"1.5",
        b"9223372036854776000",
        b"1e+20",
    ]


REPLIES = {
    b"$3\r\nabc\r\n": b"abc",
    b"$0\r\n\r\n": b"",
    b"$-1\r\n": False,
    b"*-1\r\n": False,
    b":-5\r\n": -5,
}


@pytest.mark.parametrize(("reply", "value"), REPLIES.items())
def test_replies_to_calls(reply: bytes, value: object, scripts: Scripts) -> None:
    assert value_of(scripts.scripting._lua.runtime, reply, 2) == value


# -- several workers -------------------------------------------------------------------------------

HERE, THERE = keys_of(0, 2), keys_of(1, 2)


@pytest.fixture
def mesh() -> Mesh:
    return Mesh(2)


def answers(mesh: Mesh, *commands: Argv | str, home: int = 0) -> bytes:
    caller = mesh.connect(home)
    send(caller, *commands)
    mesh.settle()
    return caller.take()


def send(caller: Caller, *commands: Argv | str) -> None:
    argvs = [split_line(one) if isinstance(one, str) else one for one in commands]
    caller.conn.accept_input(b"".join([pack(*argv) for argv in argvs]))


def script(text: str, *args: str, keys: tuple[str, ...] = ()) -> Argv:
    words = (text, str(len(keys)), *keys, *args)
    return b"EVAL", *(word.encode() for word in words)


def test_keys_of_other_partitions(mesh: Mesh) -> None:
    both = script("return redis.call('mset', KEYS[1], 1, KEYS[2], 2)", keys=(HERE[0], THERE[0]))
    assert answers(mesh, both) == b"+OK\r\n"
    assert answers(mesh, f"MGET {HERE[0]} {THERE[0]}") == b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"


def test_undeclared_keys_of_other_partitions(mesh: Mesh) -> None:
    """They are found out, also when something has been written."""
    text = "return redis.call('set', ARGV[1], 'v')"
    for own, foreign in ((HERE, THERE), (THERE, HERE)):
        for keys in ((), (own[0],)):
            assert answers(mesh, script(text, foreign[0], keys=keys)) == b"+OK\r\n"
            assert answers(mesh, f"GETDEL {foreign[0]}") == b"$1\r\nv\r\n"
    text = "return redis.call('mget', KEYS[1], ARGV[1])"
    reply = answers(mesh, script(text, THERE[0], keys=(HERE[0],)))
    assert reply == b"*2\r\n$-1\r\n$-1\r\n"
    text = "redis.call('set', KEYS[1], 'v') return redis.call('get', ARGV[1])"
    reply = answers(mesh, script(text, THERE[0], keys=(HERE[0],)))
    assert reply == b"$-1\r\n"
    assert answers(mesh, f"GET {HERE[0]}") == b"$1\r\nv\r\n"


@pytest.mark.parametrize("call", ["dbsize", "keys', '*", "flushall", "randomkey", "scan', '0"])
def test_commands_over_all_partitions(call: str, mesh: Mesh) -> None:
    """They see, and change, all of them; each database here has one key, of another partition."""
    answers(mesh, f"SET {THERE[0]} v")
    alone = Mesh(1)
    answers(alone, f"SET {THERE[0]} v")
    argv = script(
        f"redis.call('set', KEYS[1], 1) redis.call('del', KEYS[1]) return redis.call('{call}')",
        keys=(HERE[0],),
    )
    for line in (argv, "DBSIZE"):
        assert answers(mesh, line) == answers(alone, line)


def test_what_a_script_needs_is_learned(mesh: Mesh) -> None:
    """The third run asks at once for what the first two have needed; a wrong guess does no harm."""
    text = "redis.call('incr', KEYS[1]) return redis.call('incr', ARGV[1])"
    same = script(text, THERE[0], keys=(HERE[0],))
    stats = mesh.nodes[0].server.stats
    retries = []
    for count in range(1, 6):
        assert answers(mesh, same) == b":%d\r\n" % count
        retries.append(stats.script_retries)
    assert retries == [1, 2, 2, 2, 2]
    assert answers(mesh, script(text, THERE[1], keys=(HERE[0],))) == b":1\r\n"
    assert stats.script_retries == 3
    assert answers(mesh, same) == b":6\r\n"
    assert stats.script_retries == 4
    assert answers(mesh, f"GET {HERE[0]}") == b"$1\r\n7\r\n"


def test_a_counter_in_a_key_ends_under_locks_on_everything(mesh: Mesh) -> None:
    """Others count up between any two attempts."""
    text = "local n = redis.call('incr', KEYS[1]) return redis.call('set', ARGV[1] .. n, n)"
    callers = [mesh.connect(home % 2) for home in range(60)]
    tag = f"{{{THERE[0]}}}"
    for caller in callers:
        send(caller, script(text, tag, keys=(HERE[0],)))
    mesh.settle(Random(1))
    assert [caller.take() for caller in callers] == [b"+OK\r\n"] * 60
    assert answers(mesh, f"GET {tag}60") == b"$2\r\n60\r\n"


def test_a_script_that_never_asks_for_the_same_is_given_up(mesh: Mesh) -> None:
    text = (
        "redis.call('set', KEYS[1], 1) redis.call('del', KEYS[2]) "
        "return redis.call('get', ARGV[1] .. math.random())"
    )
    answers(mesh, f"SET {HERE[1]} v")
    reply = answers(mesh, script(text, f"{{{THERE[0]}}}", keys=(HERE[0], HERE[1])))
    assert reply.startswith(b"-TRYAGAIN ")
    assert answers(mesh, f"MGET {HERE[0]} {HERE[1]}") == b"*2\r\n$-1\r\n$1\r\nv\r\n"
    assert mesh.coordinator.in_flight == 0


def test_keys_under_a_lock_are_waited_for(mesh: Mesh) -> None:
    node = mesh.nodes[0]
    lock(node, 1, HERE[0])
    mesh.coordinator.next_ticket = 2
    text = "return redis.call('set', ARGV[1], 'v')"
    undeclared, declared = mesh.connect(), mesh.connect()
    send(undeclared, script(text, HERE[0]))
    send(declared, script(text, HERE[0], keys=(HERE[0],)))
    mesh.settle()
    assert undeclared.take() == declared.take() == b""
    node.participant.on_release(1)
    mesh.settle()
    assert undeclared.take() == declared.take() == b"+OK\r\n"


def test_a_script_is_found_wherever_it_ran(mesh: Mesh) -> None:
    text = "return {KEYS[1], ARGV[1]}"
    sha = hashlib.sha1(text.encode()).hexdigest()
    line = f"EVALSHA {sha} 1 {{}} x"
    missing = b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
    for home in (0, 1):
        for key in (HERE[0], THERE[0]):
            assert answers(mesh, line.format(key), "PING", home=home) == missing + b"+PONG\r\n"
    answers(mesh, script(text, "x", keys=(HERE[0],)))
    for home in (1, 0):
        for key in (THERE[0], HERE[0]):
            found = b"*2\r\n$%d\r\n%b\r\n$1\r\nx\r\n" % (len(key), key.encode())
            got = answers(mesh, "PING", line.format(key), "PING", home=home)
            assert got == b"+PONG\r\n" + found + b"+PONG\r\n"
    assert not any(node.dispatcher._refs for node in mesh.nodes)


def test_keys_with_a_hash_tag_are_listed(mesh: Mesh) -> None:
    """What such a pattern matches lies in one slot, so a script there may ask."""
    text = "return redis.call('keys', ARGV[1])"
    for own, foreign in ((HERE[0], THERE[0]), (THERE[0], HERE[0])):
        key, pattern = f"{{{own}}}x", f"{{{own}}}*"
        answers(mesh, f"SET {key} v", f"SET {own}x v")
        for home in (0, 1):
            got = answers(mesh, script(text, pattern, keys=(own,)), home=home)
            assert got == b"*1\r\n$%d\r\n%b\r\n" % (len(key), key.encode())
        for elsewhere in (f"{{{foreign}}}*", "{*}", "{}*", "*{a}"):
            assert answers(mesh, script(text, elsewhere, keys=(own,))) == b"*0\r\n"
        got = answers(mesh, script(text, f"{own}*", keys=(own,)))
        assert got == b"*1\r\n$%d\r\n%bx\r\n" % (len(own) + 1, own.encode())
        answers(mesh, f"DEL {key} {own}x")


def test_keys_with_a_hash_tag_under_a_lock(mesh: Mesh) -> None:
    node = mesh.nodes[0]
    lock(node, 1, f"{{{HERE[0]}}}x")
    asker = mesh.connect()
    argv = script("return redis.call('keys', ARGV[1])", f"{{{HERE[0]}}}*", keys=(HERE[1],))
    mesh.coordinator.next_ticket = 2
    send(asker, argv)
    mesh.settle()
    assert asker.take() == b""
    node.participant.on_release(1)
    mesh.settle()
    assert asker.take() == b"*0\r\n"
    assert answers(mesh, argv) == b"*0\r\n"


@pytest.mark.parametrize("count", range(1, 40))
def test_a_script_that_has_ended_ends_no_other(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook comes every so many instructions, also while a result is put together and the next
    script begins: then it must find nothing to end.
    """
    monkeypatch.setattr(engine, "SCRIPT_HOOK_COUNT", count)
    scripts = Scripts()
    server = scripts.scripting.around.server
    assert server is not None
    server.workers = 2
    scripts.store.slots = range(key_slot(b"far"))
    scripts.store.database(0).tables[key_slot(b"far")] = None
    for _ in range(5):
        with pytest.raises(NeedKeys):
            scripts.run("return redis.call('GET', 'far')")
        assert scripts.run("return {1, {2, 'x'}}") == b"*2\r\n:1\r\n*2\r\n:2\r\n$1\r\nx\r\n"
