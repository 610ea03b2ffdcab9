"""Dispatchers of several workers in one process."""

import marshal
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shoal.proto import messages as m
from shoal.proto.limits import (
    CLIENT_READ_BYTES,
    MAX_HOPS_IN_FLIGHT,
    MAX_PARKED_HOPS,
    MAX_PEER_OUTBOX_BYTES,
    MAX_UNSENT_REPLY_BYTES,
    PARK_MS,
)
from shoal.proto.replies import OK
from shoal.proto.slots import key_slot, owner_of
from shoal.worker import dispatch
from shoal.worker.connection import Block
from shoal.worker.registry import every_command
from support.mesh import (
    NOW_MS,
    Caller,
    Log,
    MemoryPeer,
    Mesh,
    keys_of,
    lock,
    request,
)

MB = 1 << 20

HERE, THERE = keys_of(0, 2), keys_of(1, 2)


@pytest.fixture
def mesh() -> Mesh:
    return Mesh(2)


# -- order -----------------------------------------------------------------------------------------

NAMES = [f"k{n}" for n in range(8)]
key = st.sampled_from(NAMES)
COMMANDS = st.one_of(
    st.builds("SET {} {}".format, key, st.integers(0, 99)),
    st.builds("{} {}".format, st.sampled_from(["GET", "get", "GeT", "INCR", "DECR", "DEL"]), key),
    st.builds("{} {}".format, st.sampled_from(["STRLEN", "TTL", "TYPE", "GETDEL", "PERSIST"]), key),
    st.builds("APPEND {} x".format, key),
    st.builds("MSET {} 1 {} 2 {} 3".format, key, key, key),
    st.builds("{} {} {} {}".format, st.sampled_from(["MGET", "DEL", "EXISTS"]), key, key, key),
    st.sampled_from(
        [
            "PING",
            "DBSIZE",
            "FLUSHALL",
            "FLUSHDB",
            "SELECT 1",
            "SELECT 0",
            "SWAPDB 0 1",
            "NOSUCH",
            "GET",
            "CLIENT REPLY SKIP",
            "CLIENT REPLY OFF",
            "CLIENT REPLY ON",
            "CLIENT REPLY x",
            "CLIENT SETNAME n",
            "HELLO 3",
            "HELLO 2",
            "SELECT 99",
            "SET k1 v EX 100",
            "OBJECT ENCODING k1",
            "RESET",
            "QUIT",
        ]
    ),
)
BATCHES = st.lists(st.lists(COMMANDS, min_size=1, max_size=8), min_size=1, max_size=5)


def alone(batches: list[list[str]]) -> tuple[bytes, bool]:
    """Return what a lone worker answers, and whether it closes."""
    mesh = Mesh(1)
    caller = mesh.connect()
    for batch in batches:
        caller.send(*batch)
        mesh.settle()
    return caller.take(), caller.conn.closed


@settings(deadline=None, max_examples=150)
@given(BATCHES, st.integers(2, 4), st.randoms(use_true_random=False))
def test_a_pipeline_is_answered_as_by_one_worker(
    batches: list[list[str]], workers: int, random: Random
) -> None:
    """Whatever arrives when: same replies, same order, none lost and none twice."""
    mesh = Mesh(workers)
    caller = mesh.connect(random.randrange(workers))
    for batch in batches:
        if not caller.conn.closed:
            caller.send(*batch)
        for _ in range(random.randrange(6)):
            steps = mesh.steps()
            if steps:
                random.choice(steps)()
    mesh.settle(random)
    answered = (caller.take(), caller.conn.closed)
    assert answered == alone(batches)
    assert not caller.conn.waiting
    assert not caller.conn.todo
    assert all(node.participant.idle() for node in mesh.nodes)
    for node in mesh.nodes:
        assert not node.dispatcher._refs
        for peer in node.peers:
            assert peer is None or not (peer.pending or peer.deferred or peer.parked)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.lists(COMMANDS, min_size=1, max_size=5)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_every_client_gets_as_many_replies_as_it_wants(
    batches: list[tuple[int, list[str]]], random: Random
) -> None:
    """Three clients on the same keys: what each gets ends where its last reply ends."""
    mesh = Mesh(3)
    callers = [mesh.connect(home) for home in range(3)]
    expected = [0, 0, 0]
    for at, batch in batches:
        counted = [line for line in batch if not line.startswith(("CLIENT", "HELLO", "QUIT"))]
        counted = [line for line in counted if line != "RESET"]
        callers[at].send(*counted)
        expected[at] += len(counted)
        for _ in range(random.randrange(4)):
            steps = mesh.steps()
            if steps:
                random.choice(steps)()
    mesh.settle(random)
    for caller, count in zip(callers, expected, strict=True):
        assert count_replies(caller.take()) == count
        assert not caller.conn.waiting


def count_replies(data: bytes) -> int:
    """Count the RESP2 replies in data, which ends with the last."""
    count = at = 0
    left = 1  # elements missing for the reply under way
    while at < len(data):
        end = data.index(b"\r\n", at)
        kind, number = data[at : at + 1], data[at + 1 : end]
        at = end + 2
        left -= 1
        if kind == b"*":
            left += max(int(number), 0)
        elif kind == b"$" and number != b"-1":
            at += int(number) + 2
        if not left:
            count += 1
            left = 1
    assert left == 1, "a reply is cut"
    return count


def test_later_input_does_not_overtake_a_client_that_may_go_on(mesh: Mesh) -> None:
    """In one turn the answer unblocks the client, then what it has sent meanwhile is taken."""
    caller = mesh.connect()
    caller.send(f"MSET {HERE[0]} 1 {THERE[0]} 1", f"SET {HERE[0]} 2")
    node = mesh.nodes[0]
    while not node.dispatcher.resumable:
        mesh.steps()[0]()
    caller.send(f"SET {HERE[0]} 3", f"GET {HERE[0]}")
    mesh.settle()
    assert caller.take() == OK * 3 + b"$1\r\n3\r\n"


# What a client may send that is no RESP array of words, or ends its connection.
RAW = st.one_of(
    st.builds(request, COMMANDS),
    st.builds(request, COMMANDS),
    st.sampled_from(
        [
            b"PING\r\n",
            b"\r\n",
            b"*0\r\n",
            b"*1\r\n+\r\n",
            b"*x\r\n",
            b'"\r\n',
            b"*1\r\n$5\r\nPOST \r\n*1\r\n$4\r\nPOST\r\n",
            request("SET k1 " + "v" * 5000),
            request("SET k2 a*b$c+d"),
            request("SET k1 " + "v" * 20_000),  # too much before AUTH
            request("DEL" + " k1" * 12),
        ]
    ),
)
SENDINGS = st.lists(st.tuples(st.integers(0, 2), RAW), max_size=30)


def cut(sent: list[tuple[int, bytes]], random: Random) -> list[list[tuple[int, bytes]]]:
    """Cut what three clients send into rounds: in each, pieces of some of the clients."""
    streams = [b"".join(data for at, data in sent if at == number) for number in range(3)]
    rounds = []
    while any(streams):
        pieces = []
        for number in random.sample(range(3), 3):
            size = random.choice((0, 1, 7, 30, 100, 10_000))
            piece, streams[number] = streams[number][:size], streams[number][size:]
            if piece:
                pieces.append((number, piece))
        rounds.append(pieces)
    return rounds


def state_of(mesh: Mesh, callers: list[Caller]) -> list[object]:
    """Return what clients and statistics may show of the past."""
    state: list[object] = []
    for caller in callers:
        conn, client = caller.conn, caller.client
        state.append((caller.sock.got, conn.closed, conn.blocked, conn.waiting, list(conn.out)))
        state.append((list(conn.todo), conn.query_bytes(), client.commands, client.input_bytes))
        state.append((client.db, client.resp, client.reply_mode, client.last_command))
    for node in mesh.nodes:
        stats = node.server.stats
        state.append((stats.commands, stats.spanning, stats.hops, dict(stats.errors)))
        for name in map(str.encode, NAMES):
            slot = key_slot(name)
            if slot in node.store.slots:
                for db in (0, 1):
                    value: Any = node.store.database(db).keys_in(slot).get(name, b"none")
                    state.append(bytes(getattr(value, "data", value)))
    return state


@pytest.mark.parametrize("password", [None, "pw"])
@settings(deadline=None, max_examples=100)
@given(SENDINGS, st.integers(1, 3), st.integers(0, 1 << 32), st.booleans())
def test_the_fused_path_does_what_the_plain_one_does(
    password: str | None,
    sent: list[tuple[int, bytes]],
    workers: int,
    seed: int,
    paused: bool,
) -> None:
    """`run_batch` is `accept_input` of each client in turn, in any pieces and whatever is under
    way.
    """
    if password is not None:
        auth = request(f"AUTH {password}")
        sent = [(number, auth) for number in range(2)] + sent  # the third is not let in
    found = []
    for fused in (True, False):
        random = Random(seed)
        mesh = Mesh(workers)
        if password is not None:
            for node in mesh.nodes:
                node.server.config.set_at_start(b"requirepass", [password.encode()])
        callers = [mesh.connect(random.randrange(workers)) for _ in range(3)]
        for at, pieces in enumerate(cut(sent, random)):
            for node in mesh.nodes:
                if paused and random.random() < 0.1:
                    node.server.set_pause(NOW_MS + 1000 if at % 2 else 0, random.random() < 0.5)
                here = [(callers[n].conn, data) for n, data in pieces if callers[n].node is node]
                if fused:
                    node.dispatcher.run_batch([(conn, data) for conn, data in here])
                else:
                    for conn, data in here:
                        conn.accept_input(data)
            for _ in range(random.randrange(2 * workers)):
                step, node = random.randrange(3), random.choice(mesh.nodes)
                if step == 0:
                    mesh.turn(node)
                elif step == 1:
                    mesh.hear(node)
                else:
                    other = random.choice(mesh.nodes)
                    if other is not node:
                        mesh.carry(node, other)
        between = state_of(mesh, callers)
        for node in mesh.nodes:
            node.server.set_pause(0, False)
        mesh.settle()
        found.append((between, state_of(mesh, callers)))
        for caller in callers:
            assert not (caller.conn.blocked and caller.conn.waiting)
            assert caller.conn.closed or not (caller.conn.todo or caller.conn._parked)
    assert found[0] == found[1]


def test_the_first_to_wait_goes_on_first(mesh: Mesh) -> None:
    node = mesh.nodes[0]
    node.server.set_pause(NOW_MS + 1000, True)
    callers = [mesh.connect() for _ in range(3)]
    for at, caller in enumerate(callers):
        caller.send(f"APPEND {HERE[0]} {at}")
    node.server.set_pause(0, False)
    mesh.settle()
    callers[0].take()
    callers[0].send(f"GET {HERE[0]}")
    mesh.settle()
    assert callers[0].take() == b"$3\r\n012\r\n"


# -- hops ------------------------------------------------------------------------------------------


def test_a_client_has_a_bounded_number_of_hops_in_flight(mesh: Mesh) -> None:
    caller = mesh.connect()
    caller.send(*[f"GET {THERE[0]}"] * (MAX_HOPS_IN_FLIGHT + 100))
    assert len(mesh.nodes[0].peer(1).pending) == MAX_HOPS_IN_FLIGHT
    assert len(caller.conn.todo) == 100
    mesh.settle()
    assert caller.take() == b"$-1\r\n" * (MAX_HOPS_IN_FLIGHT + 100)
    assert mesh.nodes[0].server.stats.hops == MAX_HOPS_IN_FLIGHT + 100


def test_a_full_outbox_stops_who_fills_it_and_nobody_else(mesh: Mesh) -> None:
    node, peer = mesh.nodes[0], mesh.nodes[0].peer(1)
    peer.outbox_bytes, peer.open = MAX_PEER_OUTBOX_BYTES + 1, False
    caller, other = mesh.connect(), mesh.connect()
    caller.send(f"SET {HERE[0]} 1", f"SET {THERE[0]} 1", f"SET {HERE[0]} 2")
    other.send(f"GET {HERE[0]}")
    mesh.settle()
    assert (caller.take(), caller.conn.blocked) == (OK, Block.PEER)
    assert other.take() == b"$1\r\n1\r\n"
    node.dispatcher.peer_drained(peer)  # nothing has changed
    assert caller.conn.blocked is Block.PEER
    peer.outbox_bytes, peer.open = 0, True
    node.dispatcher.peer_drained(peer)
    mesh.settle()
    assert caller.take() == OK * 2
    assert peer.stalled == []


def test_a_closed_client_leaves_its_hops_in_place(mesh: Mesh) -> None:
    caller, other = mesh.connect(), mesh.connect()
    caller.send(f"SET {THERE[0]} 1", f"GET {THERE[0]}")
    other.send(f"GET {THERE[0]}")
    caller.conn.close("gone")
    mesh.settle()
    assert caller.take() == b""
    assert other.take() == b"$1\r\n1\r\n"


def test_large_replies_go_in_several_frames() -> None:
    mesh = Mesh(2)
    caller = mesh.connect()
    mesh.nodes[1].store.view(0).set(THERE[0].encode(), b"x" * 3 * MB)
    caller.send(*[f"GET {THERE[0]}"] * 12)
    mesh.turn(mesh.nodes[0])
    home = mesh.nodes[1].peer(0)
    frame = marshal.loads(mesh.nodes[0].peer(1).wire.popleft())
    left = mesh.nodes[1].dispatcher.run_requests(home, frame[2])
    assert home.reply_bytes <= MAX_PEER_OUTBOX_BYTES + 4 * MB
    assert len(left) == 1 + 12 - len(home.replies)
    while left:
        mesh.turn(mesh.nodes[1])
        left = mesh.nodes[1].dispatcher.run_requests(home, left)
    mesh.settle()
    assert caller.take() == (b"$%d\r\n%b\r\n" % (3 * MB, b"x" * 3 * MB)) * 12


def test_a_reply_no_frame_can_hold_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "MAX_HOP_REPLY_BYTES", 10_000)
    mesh = Mesh(2)
    caller = mesh.connect()
    mesh.nodes[1].store.view(0).set(THERE[0].encode(), b"x" * 9000)
    mesh.nodes[0].store.view(0).set(HERE[0].encode(), b"x" * 9000)
    there = f"{THERE[0]} {THERE[0]}"
    caller.send(f"MGET {there}", f"MGET {HERE[0]} {there}", f"MGET {HERE[0]} {HERE[0]}", "PING")
    mesh.settle()
    error = b"-ERR the reply is too large to be sent between workers\r\n"
    bulk = b"$9000\r\n%b\r\n" % (b"x" * 9000)
    assert caller.take() == error * 2 + b"*2\r\n" + bulk * 2 + b"+PONG\r\n"


# -- locks -----------------------------------------------------------------------------------------


def test_commands_on_a_locked_key_wait_in_order(mesh: Mesh) -> None:
    node = mesh.nodes[0]
    lock(node, 1, HERE[0])
    local, remote = mesh.connect(0), mesh.connect(1)
    local.send(f"APPEND {HERE[0]} a", f"GET {HERE[1]}", f"GET {HERE[0]}")
    remote.send(f"GET {HERE[1]}", f"APPEND {HERE[0]} b", f"GET {HERE[0]}")
    mesh.settle()
    assert (local.take(), remote.take()) == (b"", b"")
    assert node.participant.waiters == 4
    assert len(mesh.nodes[1].peer(0).deferred) == 2
    node.participant.on_release(1)
    mesh.settle()
    assert local.take() == b":1\r\n$-1\r\n$1\r\na\r\n"
    assert remote.take() == b"$-1\r\n:2\r\n$2\r\nab\r\n"
    assert not mesh.nodes[1].peer(0).deferred


def test_replies_in_front_of_a_locked_key_need_not_wait(mesh: Mesh) -> None:
    lock(mesh.nodes[0], 1, HERE[0])
    caller = mesh.connect()
    caller.send("PING", f"GET {HERE[0]}", "PING")
    mesh.settle()
    caller.conn.flush(head=True)
    assert caller.take() == b"+PONG\r\n"
    mesh.nodes[0].participant.on_release(1)
    mesh.settle()
    assert caller.take() == b"$-1\r\n+PONG\r\n"


def test_readers_share(mesh: Mesh) -> None:
    lock(mesh.nodes[0], 1, HERE[0], write=False)
    caller = mesh.connect()
    caller.send(f"GET {HERE[0]}", f"SET {HERE[0]} 1")
    mesh.settle()
    caller.conn.flush(head=True)
    assert caller.take() == b"$-1\r\n"
    mesh.nodes[0].participant.on_release(1)
    mesh.settle()
    assert caller.take() == OK


def test_a_late_reply_is_not_for_the_successor_of_who_asked(mesh: Mesh) -> None:
    """It waited behind a lock when its home died: the next process does not know the handle."""
    node, home = mesh.nodes[0], mesh.nodes[0].peer(1)
    lock(node, 1, HERE[0])
    remote = mesh.connect(1)
    remote.send(f"APPEND {HERE[0]} x")
    mesh.settle()
    node.dispatcher.peer_lost(home, home.reset())
    node.participant.on_release(1)
    assert (home.late, home.replies) == ([], [])
    caller = mesh.connect()
    caller.send(f"GET {HERE[0]}")
    mesh.settle()
    assert caller.take() == b"$1\r\nx\r\n"  # it ran all the same


# -- a peer that dies ------------------------------------------------------------------------------


def kill(mesh: Mesh, home: int, worker: int) -> MemoryPeer:
    """Let a worker be down as another sees it."""
    peer = mesh.nodes[home].peer(worker)
    peer.up = peer.open = False
    peer.wire.clear()
    mesh.nodes[home].dispatcher.peer_lost(peer, peer.reset())
    return peer


def test_hops_wait_for_the_next_process(mesh: Mesh) -> None:
    caller = mesh.connect()
    peer = kill(mesh, 0, 1)
    caller.send(f"SET {THERE[0]} 1", f"GET {THERE[0]}", f"GET {HERE[0]}", "SELECT 1", "SELECT 0")
    mesh.settle()
    assert caller.take() == b""
    assert len(peer.parked) == 2
    peer.up = peer.open = True
    mesh.nodes[0].dispatcher.peer_up(peer)
    mesh.settle()
    assert caller.take() == OK + b"$1\r\n1\r\n$-1\r\n" + OK * 2


@pytest.mark.parametrize("loading", [False, True])
def test_hops_do_not_wait_for_ever(mesh: Mesh, loading: bool) -> None:
    caller = mesh.connect()
    peer = kill(mesh, 0, 1)
    peer.loading = loading
    dispatcher = mesh.nodes[0].dispatcher
    caller.send(f"SET {THERE[0]} 1")
    dispatcher.now_ms = PARK_MS - 1
    dispatcher.expire_parked(peer)
    mesh.settle()
    assert caller.take() == b""
    dispatcher.now_ms = PARK_MS
    dispatcher.expire_parked(peer)
    mesh.settle()
    text = b"LOADING Redis is loading the dataset in memory"
    assert caller.take() == b"-%b\r\n" % (text if loading else b"TRYAGAIN the key's worker is down")
    assert not caller.conn.waiting


def test_reads_are_sent_again_and_writes_have_an_unknown_outcome(mesh: Mesh) -> None:
    caller = mesh.connect()
    caller.send(f"SET {THERE[0]} 1", f"GET {THERE[0]}", f"DEL {THERE[0]}", f"TTL {THERE[0]}")
    mesh.turn(mesh.nodes[0])
    peer = kill(mesh, 0, 1)
    mesh.settle()
    assert len(peer.parked) == 2
    peer.up = peer.open = True
    mesh.nodes[0].dispatcher.peer_up(peer)
    mesh.settle()
    unknown = (
        b"-ERR the worker that owns the key died before it answered; the command may have been "
        b"executed\r\n"
    )
    assert caller.take() == unknown + b"$-1\r\n" + unknown + b":-2\r\n"


def test_a_lost_late_reply_is_a_lost_reply(mesh: Mesh) -> None:
    lock(mesh.nodes[1], 1, THERE[0])
    caller = mesh.connect()
    caller.send(f"SET {THERE[0]} 1", f"GET {THERE[1]}")
    mesh.settle()
    assert len(mesh.nodes[0].peer(1).deferred) == 1
    kill(mesh, 0, 1)
    mesh.settle()
    assert caller.take().startswith(b"-ERR the worker that owns the key died")
    assert not caller.conn.waiting


def test_only_so_many_hops_are_parked(mesh: Mesh) -> None:
    peer = kill(mesh, 0, 1)
    callers = [mesh.connect() for _ in range(MAX_PARKED_HOPS // MAX_HOPS_IN_FLIGHT)]
    for caller in callers:
        caller.send(*[f"GET {THERE[0]}"] * MAX_HOPS_IN_FLIGHT)
    late = mesh.connect()
    late.send(f"GET {THERE[0]}", "PING")
    mesh.settle()
    assert len(peer.parked) == MAX_PARKED_HOPS
    error, _, rest = late.take().partition(b"\r\n")
    assert error.startswith(b"-TRYAGAIN too many commands wait")
    assert rest == b"+PONG\r\n"


def test_parked_hops_take_only_so_much_memory(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal.worker.peers.MAX_PARKED_HOP_BYTES", 1000)
    peer = kill(mesh, 0, 1)
    caller = mesh.connect()
    value = "x" * 600
    caller.send(f"SET {THERE[0]} {value * 3}", f"SET {THERE[0]} y", "PING")
    mesh.settle()
    assert len(peer.parked) == 1  # the first one, whatever its size
    dispatcher = mesh.nodes[0].dispatcher
    dispatcher.now_ms = PARK_MS
    dispatcher.expire_parked(peer)
    assert peer.parked_bytes == 0
    mesh.settle()
    caller.take()
    caller.send(f"SET {THERE[0]} {value}", f"SET {THERE[0]} {value}", f"SET {THERE[0]} z")
    mesh.settle()
    assert [hop[2][2] for _, hop in peer.parked] == [value.encode(), b"z"]


def test_clients_that_waited_for_the_outbox_go_on_when_the_peer_dies(mesh: Mesh) -> None:
    peer = mesh.nodes[0].peer(1)
    peer.outbox_bytes, peer.open = MAX_PEER_OUTBOX_BYTES + 1, False
    caller = mesh.connect()
    caller.send(f"SET {THERE[0]} 1")
    mesh.settle()
    assert caller.conn.blocked is Block.PEER
    kill(mesh, 0, 1)
    mesh.nodes[0].dispatcher.peer_drained(peer)
    mesh.settle()
    assert len(peer.parked) == 1
    assert not caller.conn.blocked


# -- pause, disk, output ---------------------------------------------------------------------------


def test_a_pause_of_everything_holds_even_unpause(mesh: Mesh) -> None:
    """As in Redis; only what is no valid command at all is answered."""
    node = mesh.nodes[0]
    node.server.set_pause(NOW_MS + 1000, False)
    for line in ("CLIENT UNPAUSE", "PING", "CLIENT LIST", f"GET {HERE[0]}"):
        caller = mesh.connect()
        caller.send(line, "PING")
        mesh.settle()
        assert (caller.take(), caller.conn.blocked) == (b"", Block.PAUSED), line
    caller = mesh.connect()
    caller.send("NOSUCH", "GET")
    mesh.settle()
    assert count_replies(caller.take()) == 2


def test_a_pause_of_writes_holds_the_fused_ones_too(mesh: Mesh) -> None:
    caller = mesh.connect()
    node = mesh.nodes[0]
    node.server.set_pause(NOW_MS + 1000, True)
    caller.send(f"GET {HERE[0]}", f"SET {HERE[0]} 1", f"GET {HERE[0]}")
    mesh.settle()
    assert (caller.take(), len(caller.conn.todo)) == (b"$-1\r\n", 2)
    assert node.server.stats.commands == 1
    node.server.set_pause(0, False)
    mesh.settle()
    assert caller.take() == OK + b"$1\r\n1\r\n"
    assert node.server.stats.commands == 3
    assert caller.client.commands == 3


def test_a_pause_forgets_who_left(mesh: Mesh) -> None:
    node = mesh.nodes[0]
    node.server.set_pause(NOW_MS + 1000, False)
    for _ in range(3):
        caller = mesh.connect()
        caller.send("PING")
        caller.conn.close("gone")
    assert node.dispatcher._paused == {}


MISCONF = "MISCONF Errors writing to the AOF file: No space left on device"


def test_no_write_while_the_disk_fails(mesh: Mesh) -> None:
    caller = mesh.connect()
    encoded = b"-%b\r\n" % MISCONF.encode()
    for node in mesh.nodes:
        node.dispatcher.set_disk_error(MISCONF)
    for name in (HERE[0], THERE[0]):
        caller.send(f"SET {name} 1", f"SET {name} 1 NX", f"INCR {name}", f"GET {name}")
        mesh.settle()
        assert caller.take() == encoded * 3 + b"$-1\r\n"
    assert mesh.nodes[0].server.stats.errors == {b"MISCONF": 3}
    assert mesh.nodes[1].server.stats.errors == {b"MISCONF": 3}
    for node in mesh.nodes:
        node.dispatcher.set_disk_error(None)
    caller.send(f"SET {HERE[0]} 1", f"SET {THERE[0]} 1")
    mesh.settle()
    assert caller.take() == OK * 2


def test_the_owners_disk_decides(mesh: Mesh) -> None:
    mesh.nodes[1].dispatcher.set_disk_error(MISCONF)
    caller = mesh.connect()
    caller.send(f"SET {HERE[0]} 1", f"SET {THERE[0]} 1")
    mesh.settle()
    assert caller.take() == OK + b"-%b\r\n" % MISCONF.encode()


def test_a_lone_worker_refuses_what_would_span(mesh: Mesh) -> None:
    mesh = Mesh(1)
    mesh.nodes[0].dispatcher.set_disk_error(MISCONF)
    caller = mesh.connect()
    caller.send("FLUSHALL", "MSET a 1 b 2", "DBSIZE")
    mesh.settle()
    assert caller.take() == b"-%b\r\n" % MISCONF.encode() * 2 + b":0\r\n"


def test_large_replies_make_a_client_wait(mesh: Mesh) -> None:
    size = 300_000
    caller = mesh.connect()
    mesh.nodes[0].store.view(0).set(HERE[0].encode(), b"x" * size)
    caller.sock.full = True
    caller.send(*[f"GET {HERE[0]}"] * 20)
    assert caller.conn.blocked is Block.OUTPUT
    assert caller.conn.big_bytes <= MAX_UNSENT_REPLY_BYTES + size + 100
    mesh.settle()
    asked = 20 - len(caller.conn.todo)
    assert caller.conn.outbox_bytes == asked * (size + len(b"$300000\r\n\r\n"))
    caller.sock.full = False
    while caller.conn.todo:
        caller.conn.send_more()
        mesh.settle()
    assert caller.take() == b"$%d\r\n%b\r\n" % (size, b"x" * size) * 20


def test_parked_commands_wait_for_the_replies_to_those_before(mesh: Mesh) -> None:
    """A client that reads now and then: what is unsent is bounded, whatever it has asked for."""
    node, caller = mesh.nodes[0], mesh.connect()
    node.store.view(0).set(HERE[0].encode(), b"x" * 4000)
    reply = b"$4000\r\n%b\r\n" % (b"x" * 4000)
    asked = 0
    caller.sock.full = True
    for _ in range(8):
        count = CLIENT_READ_BYTES // len(request(f"GET {HERE[0]}"))
        asked += count
        caller.send(*[f"GET {HERE[0]}"] * count)
        mesh.settle()
    assert caller.conn.blocked is Block.OUTPUT
    of_a_read = CLIENT_READ_BYTES // len(request(f"GET {HERE[0]}")) * len(reply)
    while caller.conn.blocked:
        assert caller.conn.outbox_bytes <= MAX_UNSENT_REPLY_BYTES + of_a_read
        caller.sock.full = False
        caller.conn.send_more()
        caller.sock.full = True
        mesh.settle()
    caller.sock.full = False
    caller.conn.send_more()
    assert caller.take() == reply * asked


def test_held_replies_hold_what_is_parked(mesh: Mesh) -> None:
    node, caller = mesh.nodes[0], mesh.connect()
    caller.send(f"MSET {HERE[0]} 1 {THERE[0]} 1")
    for _ in range(3):
        caller.conn.accept_input(request("PING") * (CLIENT_READ_BYTES // len(request("PING"))))
    while not node.dispatcher.resumable:
        mesh.steps()[0]()
    node.dispatcher.run_resumable()  # the first read of three
    caller.conn.hold()
    held = len(caller.conn.out)
    for _ in range(3):
        node.dispatcher.run_resumable()
    assert (caller.conn.blocked, len(caller.conn.out)) == (Block.OUTPUT, held)
    mesh.settle()
    assert count_replies(caller.take()) == 1 + 3 * (CLIENT_READ_BYTES // len(request("PING")))


def test_a_client_stands_once_among_those_that_go_on(mesh: Mesh) -> None:
    """It waits for its turn, then for its replies, which are sent before the turn has come."""
    node, caller = mesh.nodes[0], mesh.connect()
    caller.conn.blocked = Block.OUTPUT
    many = request("PING") * (CLIENT_READ_BYTES // len(request("PING")))
    for _ in range(3):
        caller.conn.accept_input(many)
    for _ in range(3):
        node.dispatcher.output_drained(caller.conn)
        caller.conn.blocked = Block.OUTPUT
    node.dispatcher.output_drained(caller.conn)
    node.dispatcher.run_resumable()
    assert caller.client.commands == len(many) // len(request("PING"))


@pytest.mark.parametrize("size", [1, 3 * CLIENT_READ_BYTES])
def test_quit_behind_what_blocks_ends_all_that_is_parked(mesh: Mesh, size: int) -> None:
    caller = mesh.connect()
    caller.send(f"MSET {HERE[0]} 1 {THERE[0]} 1", "PING")
    caller.send("QUIT", "PING")
    caller.conn.accept_input((request("PING") * CLIENT_READ_BYTES)[:size])
    mesh.settle()
    assert (caller.take(), caller.conn.closed) == (OK + b"+PONG\r\n" + OK, True)


@pytest.mark.parametrize("workers", [1, 2])
def test_who_kills_himself_gets_the_reply_and_no_more(workers: int) -> None:
    mesh = Mesh(workers)
    caller = mesh.connect()
    caller.send(f"CLIENT KILL ID {caller.client.id} SKIPME no", "PING")
    caller.send("PING")
    mesh.settle()
    assert (caller.take(), caller.conn.closed) == (b":1\r\n", True)


def test_logged_are_the_changes(mesh: Mesh) -> None:
    logs = []
    for node in mesh.nodes:
        log = Log()
        node.dispatcher.segment = cast(Any, log)
        node.store.log = lambda db, argv, log=log: log.records.append((db, argv))
        logs.append(log)
    names = [HERE[0].encode(), THERE[0].encode()]
    for node, name in zip(mesh.nodes, names, strict=True):
        node.store.view(0).set(name, b"old", NOW_MS + 10)
        node.store.now_ms += 10
    caller = mesh.connect()
    caller.send(f"GET {HERE[0]}", f"TYPE {THERE[0]}", "DBSIZE")  # reads, and the keys expire
    caller.send(f"MSET {HERE[0]} 1 {THERE[0]} 2", f"APPEND {HERE[0]} x")
    mesh.settle()
    caller.take()
    deleted = [(0, (b"DEL", name)) for name in names]
    assert logs[0].records[0] == deleted[0]
    assert logs[1].records[0] == deleted[1]
    assert logs[0].records[1:] == [
        (0, (b"MSET", names[0], b"1")),
        (0, (b"APPEND", names[0], b"x")),
    ]
    assert logs[1].records[1:] == [(0, (b"MSET", names[1], b"2"))]
    assert logs[0].tickets == logs[1].tickets != []
    assert mesh.nodes[1].store.dirty_total == 1


# -- nothing that a client sends ends the worker ---------------------------------------------------

WORDS = ["", "x", "0", "-1", "1", "9223372036854775807", *HERE[:2], THERE[0], "EX", "MATCH", "*"]
DANGEROUS = {b"debug", b"shutdown"}  # their job is to end it, and other parts do it


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "name",
    sorted(c.name.decode() for c in every_command() if c.name.split(b"|")[0] not in DANGEROUS),
)
def test_any_arguments_get_a_reply(name: str, workers: int) -> None:
    random = Random(name)
    mesh = Mesh(workers)
    for count in range(8):
        for _ in range(4):
            prepare(mesh)
            caller = mesh.connect()
            words = [*name.split("|"), *random.choices(WORDS, k=count)]
            caller.send(" ".join(words))
            mesh.settle()
            asked = [msg for node in mesh.nodes for msg in node.uplink.messages if msg[0] == m.CALL]
            if not asked and not caller.conn.blocked:
                assert not caller.conn.waiting, words
                assert caller.take() or caller.conn.closed or name == "client|reply", words
            for node in mesh.nodes:
                node.server.set_pause(0, False)
                node.uplink.messages.clear()
            caller.conn.close("done")


def prepare(mesh: Mesh) -> None:
    for node in mesh.nodes:
        names = HERE if node.index == 0 else THERE
        for name in names[:2]:
            if name.encode() and owner_of(key_slot(name.encode()), len(mesh.nodes)) == node.index:
                node.store.view(0).set(name.encode(), b"5")
