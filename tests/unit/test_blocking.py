"""Blocked commands over several workers: who is served, in which order, and that nothing is lost
whoever goes away.
"""

from collections import Counter
from random import Random
from typing import Any

import pytest
from shoal.proto.limits import HOLD_MS
from shoal.worker.connection import Block
from shoal.worker.dispatch import RemoteWait
from shoal.worker.hot import Hot
from shoal.worker.keyspace import Store
from shoal.worker.spread_wait import SpreadWait
from support.mesh import Caller, Mesh, Node, check_nothing_is_left, keys_of, lock, request

HERE, THERE = keys_of(0, 2), keys_of(1, 2)
KEY, OTHER = HERE[0], HERE[1]


@pytest.fixture
def mesh() -> Mesh:
    return Mesh(2)


def popped(key: str, element: str) -> bytes:
    """Return the reply of BLPOP."""
    return request(f"{key} {element}")


def tick(mesh: Mesh, ms: int) -> None:
    """Let time pass and what it brings be done."""
    for node in mesh.nodes:
        node.dispatcher.now_ms += ms
        node.store.now_ms += ms
        mesh.turn(node)
    mesh.settle()


def test_clients_are_served_in_the_order_in_which_they_came(mesh: Mesh) -> None:
    callers = [mesh.connect(home) for home in (0, 1, 1, 0, 1)]
    for caller in callers:
        caller.send(f"BLPOP {KEY} 0")
        mesh.settle()
    pusher = mesh.connect(1)
    for number in range(2):
        pusher.send(f"RPUSH {KEY} a{number} b{number}")
        mesh.settle()
    elements = ["a0", "b0", "a1", "b1"]
    assert [c.take() for c in callers[:4]] == [popped(KEY, element) for element in elements]
    assert callers[4].take() == b""
    assert pusher.take() == b":2\r\n:2\r\n"
    pusher.send(f"RPUSH {KEY} last extra", f"LRANGE {KEY} 0 -1")
    mesh.settle()
    assert callers[4].take() == popped(KEY, "last")
    assert pusher.take() == b":2\r\n" + request("extra")
    check_nothing_is_left(mesh)


@pytest.mark.parametrize("home", [0, 1])
def test_what_follows_a_blocked_command_waits_and_what_precedes_it_is_answered(
    mesh: Mesh, home: int
) -> None:
    caller, pusher = mesh.connect(home), mesh.connect()
    caller.send("PING", f"BLPOP {KEY} 0", "PING", f"RPUSH {KEY} again")
    mesh.settle()
    assert caller.take() == b"+PONG\r\n"
    pusher.send(f"RPUSH {KEY} x", f"LLEN {KEY}")
    mesh.settle()
    assert caller.take() == popped(KEY, "x") + b"+PONG\r\n:1\r\n"
    check_nothing_is_left(mesh)


def test_nobody_else_gets_what_is_offered(mesh: Mesh) -> None:
    waiter, pusher, thief = mesh.connect(1), mesh.connect(0), mesh.connect(0)
    waiter.send(f"BLPOP {KEY} 0")
    mesh.settle()
    node = mesh.nodes[0]
    pusher.send(f"RPUSH {KEY} x y")
    assert node.dispatcher.blocking.offers == 1
    thief.send(f"LPOP {KEY}", f"LLEN {OTHER}")
    assert node.participant.waiters == 1
    mesh.settle()
    assert waiter.take() == popped(KEY, "x")
    assert thief.take() == b"$1\r\ny\r\n:0\r\n"
    check_nothing_is_left(mesh)


def test_waiters_go_ahead_of_the_commands_that_wait_for_the_key(mesh: Mesh) -> None:
    """So each push of a pipeline finds the list empty, as in one Redis."""
    callers = [mesh.connect(home) for home in (1, 0, 1, 1, 0, 0, 1)]
    for number, caller in enumerate(callers):
        caller.send(f"BLPOP {HERE[number % 2]} 0")
        mesh.settle()
    for home in (0, 1):
        pusher = mesh.connect(home)
        pusher.send(*[f"RPUSH {HERE[number % 2]} x" for number in range(3)], f"EXISTS {KEY}")
        mesh.settle()
        assert pusher.take() == b":1\r\n" * 3 + b":0\r\n"
    assert sum(caller.take() != b"" for caller in callers) == 6
    callers[5].conn.close("over")
    mesh.settle()
    check_nothing_is_left(mesh)


def test_who_has_gone_takes_nothing_along(mesh: Mesh) -> None:
    first, second = mesh.connect(1), mesh.connect(1)
    for caller in (first, second):
        caller.send(f"BLPOP {KEY} 0")
        mesh.settle()
    pusher = mesh.connect(0)
    pusher.send(f"RPUSH {KEY} x")
    first.conn.close("gone")  # the offer is on its way
    mesh.settle()
    assert second.take() == popped(KEY, "x")
    check_nothing_is_left(mesh)


@pytest.mark.parametrize("home", [0, 1])
def test_who_goes_leaves_nothing_behind(mesh: Mesh, home: int) -> None:
    caller, pusher = mesh.connect(home), mesh.connect(0)
    caller.send(f"BLPOP {KEY} {OTHER} 5")
    caller.conn.close("gone")  # its home does not know yet that it has to wait
    mesh.settle()
    another = mesh.connect(home)
    another.send(f"BLPOP {KEY} {OTHER} 0")
    mesh.settle()
    assert another.conn.is_blocked()
    another.conn.at_eof()
    assert another.conn.closed
    mesh.settle()
    pusher.send(f"RPUSH {KEY} x", f"LLEN {KEY}")
    mesh.settle()
    assert pusher.take() == b":1\r\n:1\r\n"
    check_nothing_is_left(mesh)


@pytest.mark.parametrize("home", [0, 1])
def test_timeouts(mesh: Mesh, home: int) -> None:
    short, long = mesh.connect(home), mesh.connect(home)
    short.send(f"BLPOP {KEY} 0.010")
    long.send(f"BLMOVE {KEY} {KEY} LEFT LEFT 1")
    mesh.settle()
    blocking = mesh.nodes[0].dispatcher.blocking
    start_ms = mesh.nodes[0].dispatcher.now_ms
    assert blocking.next_deadline_ms() == start_ms + 10
    tick(mesh, 9)
    assert short.take() == b""
    tick(mesh, 1)
    assert short.take() == b"*-1\r\n"
    assert blocking.next_deadline_ms() == start_ms + 1000
    tick(mesh, 990)
    assert long.take() == b"*-1\r\n"
    assert blocking.next_deadline_ms() is None
    check_nothing_is_left(mesh)


def test_the_time_is_over_while_it_is_offered_and_gone(mesh: Mesh) -> None:
    caller, pusher = mesh.connect(1), mesh.connect(0)
    caller.send(f"BLPOP {KEY} 0.010")
    mesh.settle()
    node = mesh.nodes[0]
    pusher.send(f"RPUSH {OTHER} x", f"PEXPIRE {OTHER} 5", f"RENAME {OTHER} {KEY}")
    mesh.turn(node)
    assert node.dispatcher.blocking.offers == 1
    tick(mesh, 20)  # before the home has answered the key expires
    tick(mesh, 0)
    assert caller.take() == b"*-1\r\n"
    check_nothing_is_left(mesh)


@pytest.mark.parametrize("home", [0, 1])
@pytest.mark.parametrize(
    ("reason", "reply"),
    [
        ("", b"*-1\r\n"),
        (" TIMEOUT", b"*-1\r\n"),
        (" ERROR", b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"),
    ],
)
def test_client_unblock(mesh: Mesh, home: int, reason: str, reply: bytes) -> None:
    caller = mesh.connect(home)
    caller.send(f"BLPOP {KEY} 0", "PING")
    assert caller.conn.unblock(with_error="ERROR" in reason)  # even before the owner has said it
    assert not caller.conn.unblock(with_error=False)
    mesh.settle()
    assert caller.take() == reply + b"+PONG\r\n"
    caller.send(f"BLPOP {KEY} 0")
    mesh.settle()
    other = mesh.connect(home)
    other.send(f"CLIENT UNBLOCK {caller.client.id}{reason}")
    mesh.settle()
    assert other.take() == b":1\r\n"
    assert caller.take() == reply
    other.send(f"CLIENT UNBLOCK {caller.client.id}{reason}")
    mesh.settle()
    assert other.take() == b":0\r\n"
    check_nothing_is_left(mesh)


def test_a_client_that_is_unblocked_is_not_served(mesh: Mesh) -> None:
    caller, pusher = mesh.connect(1), mesh.connect(0)
    caller.send(f"BLPOP {KEY} 0")
    mesh.settle()
    pusher.send(f"RPUSH {KEY} x")
    assert caller.conn.unblock(with_error=True)  # and the offer is on its way
    mesh.settle()
    assert caller.take().startswith(b"-UNBLOCKED")
    pusher.send(f"LPOP {KEY}")
    mesh.settle()
    assert pusher.take() == b":1\r\n$1\r\nx\r\n"
    check_nothing_is_left(mesh)


def test_behind_a_lock(mesh: Mesh) -> None:
    """The key is locked by a spanning command when the blocking ones come, and when it is ready."""
    node = mesh.nodes[0]
    lock(node, 1, KEY)
    callers = [mesh.connect(home) for home in (0, 1, 0, 1)]
    for caller in callers:
        caller.send(f"BLPOP {KEY} 0")
        mesh.settle()
    callers[2].conn.close("gone")
    callers[3].conn.close("gone")
    mesh.settle()
    node.participant.on_release(1)
    mesh.settle()
    assert [c.conn.blocked for c in callers[:2]] == [Block.KEYS] * 2
    pusher = mesh.connect(1)
    pusher.send(f"RPUSH {KEY} x y z", f"LLEN {KEY}")
    mesh.settle()
    assert [c.take() for c in callers[:2]] == [popped(KEY, "x"), popped(KEY, "y")]
    assert pusher.take() == b":3\r\n:1\r\n"
    check_nothing_is_left(mesh)


def test_a_chain_of_moves(mesh: Mesh) -> None:
    first, second, third = mesh.connect(0), mesh.connect(1), mesh.connect(0)
    a, b = HERE[:2]
    third.send(f"BLPOP {b} 0")
    second.send(f"BLMOVE {a} {b} LEFT RIGHT 0")
    mesh.settle()
    first.send(f"RPUSH {a} x")
    mesh.settle()
    assert (second.take(), third.take()) == (b"$1\r\nx\r\n", popped(b, "x"))
    check_nothing_is_left(mesh)


def test_a_home_that_dies_waits_for_nothing(mesh: Mesh) -> None:
    caller, pusher = mesh.connect(1), mesh.connect(0)
    caller.send(f"BLPOP {KEY} 0")
    mesh.settle()
    pusher.send(f"RPUSH {KEY} x")  # and the element is offered
    node = mesh.nodes[0]
    home = node.peer(1)
    node.dispatcher.peer_lost(home, home.reset())
    pusher.send(f"LLEN {KEY}")
    mesh.turn(node)
    assert pusher.take() == b":1\r\n:1\r\n"
    assert node.participant.idle()
    assert node.dispatcher.blocking.key_counts() == (0, 0)


def test_an_owner_that_dies_is_asked_again(mesh: Mesh) -> None:
    caller = mesh.connect(1)
    caller.send(f"BLPOP {KEY} 0")
    mesh.settle()
    owner = mesh.nodes[1].peer(0)
    owner.up = owner.open = False
    mesh.nodes[1].dispatcher.peer_lost(owner, owner.reset())
    assert len(owner.parked) == 1
    # Its successor knows nothing of the one that waits, and hears of it anew.
    mesh.nodes[0].dispatcher.end_waiters(mesh.nodes[0].peer(1))
    owner.up = owner.open = True
    mesh.nodes[1].dispatcher.peer_up(owner)
    mesh.settle()
    pusher = mesh.connect(0)
    pusher.send(f"RPUSH {KEY} x")
    mesh.settle()
    assert caller.take() == popped(KEY, "x")
    check_nothing_is_left(mesh)


def test_an_owner_that_dies_after_it_was_told_to_serve(mesh: Mesh) -> None:
    caller, pusher = mesh.connect(1), mesh.connect(0)
    caller.send(f"BLPOP {KEY} 0")
    mesh.settle()
    pusher.send(f"RPUSH {KEY} x")
    mesh.turn(mesh.nodes[0])
    mesh.carry(mesh.nodes[0], mesh.nodes[1])
    wait = caller.conn.wait
    assert isinstance(wait, RemoteWait)
    assert wait.taken
    owner = mesh.nodes[1].peer(0)
    owner.up = owner.open = False
    mesh.nodes[1].dispatcher.peer_lost(owner, owner.reset())
    mesh.turn(mesh.nodes[1])
    assert caller.take().startswith(b"-")  # nobody knows whether it was done


def test_fused_writes_wake_too() -> None:
    """They do not pass the keyspace's door, so they are kept from a key that somebody awaits."""
    mesh = Mesh(1)
    caller, pusher = mesh.connect(), mesh.connect()
    caller.send(f"BLPOP {KEY} 0")
    mesh.settle()
    store: Store = mesh.nodes[0].store
    hot = Hot(store, 0, 2, None)
    assert isinstance(hot.set([b"SET", KEY.encode(), b"v"]), int)
    pusher.send(f"SET {KEY} v", f"DEL {KEY}", f"RPUSH {KEY} x")
    mesh.settle()
    assert caller.take() == popped(KEY, "x")
    check_nothing_is_left(mesh)


SPREAD = f"BLPOP {HERE[0]} {THERE[0]} 0"


@pytest.mark.parametrize("home", [0, 1])
@pytest.mark.parametrize("pusher_home", [0, 1])
def test_a_push_is_answered_when_the_try_is_decided(
    mesh: Mesh, home: int, pusher_home: int
) -> None:
    waiter, pusher = mesh.connect(home), mesh.connect(pusher_home)
    waiter.send(SPREAD)
    mesh.settle()
    pusher.send(f"RPUSH {KEY} x")
    owner = mesh.nodes[0].dispatcher
    for _ in range(1000):
        steps = mesh.steps()
        if not steps:
            break
        pushed = mesh.nodes[0].store.view(0).find(KEY.encode())
        assert not (pusher.sock.got and pushed), "answered while it is still there"
        steps[0]()
    assert pusher.take() == b":1\r\n"
    assert waiter.take() == popped(KEY, "x")
    assert owner.blocking.next_deadline_ms() is None
    check_nothing_is_left(mesh)


@pytest.mark.parametrize("end", ["unblock", "vanish", "home dies", "time"])
def test_a_held_reply_does_not_wait_for_ever(mesh: Mesh, end: str) -> None:
    waiter, pusher = mesh.connect(1), mesh.connect(0)
    waiter.send(SPREAD)
    mesh.settle()
    pusher.send(f"RPUSH {KEY} x")
    node = mesh.nodes[0]
    mesh.turn(node)
    assert pusher.take() == b""
    if end == "unblock":
        waiter.conn.unblock(with_error=True)
        mesh.settle()
        assert waiter.take().startswith(b"-UNBLOCKED")
    elif end == "vanish":
        waiter.conn.close("gone")
        mesh.settle()
    elif end == "home dies":
        node.dispatcher.peer_lost(node.peer(1), node.peer(1).reset())
        mesh.turn(node)
    else:
        deadline_ms = node.dispatcher.blocking.next_deadline_ms()
        assert deadline_ms == node.dispatcher.now_ms + HOLD_MS
        node.dispatcher.now_ms = deadline_ms
        mesh.turn(node)
    assert pusher.take() == b":1\r\n"
    pusher.send(f"LLEN {KEY}")
    mesh.turn(node)
    assert pusher.take() == b":1\r\n"


def test_who_is_entered_for_a_home_that_has_died_is_forgotten(mesh: Mesh) -> None:
    """As when the home died while its ticket was under way: its successor knows no such command."""
    node, other = mesh.nodes[0], mesh.connect(1)
    words = KEY.encode(), b"1", b"99", b"list", b"0", b"2", b"BLPOP", KEY.encode(), b"0"
    node.dispatcher._enter_spread(0, words)
    other.send(f"BLPOP {KEY} 0")
    mesh.settle()
    pusher = mesh.connect(0)
    pusher.send(f"RPUSH {KEY} x", f"LLEN {KEY}")
    mesh.settle()
    assert other.take() == popped(KEY, "x")
    assert pusher.take() == b":1\r\n:0\r\n"
    check_nothing_is_left(mesh)


class Game:
    """Clients of three workers that push, pop, wait and vanish, and an account of the elements.

    Attributes:
        spread: they wait for keys of several partitions; moves: some move elements on, for which
            others wait that may be served later; tried: how many clients vanished while
            their command was tried, which may take an element along.
    """

    def __init__(self, seed: int, *, spread: bool = False) -> None:
        self.random = Random(seed)
        self.spread = spread
        self.moves = spread and seed % 2 == 0
        self.tried = 0
        self.mesh = Mesh(3)
        self.keys = [key for worker in range(3) for key in keys_of(worker, 3, 1)]
        self.callers: list[Caller] = []
        self.movers: set[Caller] = set()  # what they hear of is still in a list
        self.pushers: list[tuple[str, Caller]] = []
        self.pushed = 0
        self.received: Counter[bytes] = Counter()

    def step(self) -> None:
        """Let one client do something."""
        random = self.random
        key = random.choice(self.keys)
        choice = random.random()
        if choice < 0.3 or len(self.callers) < 4:
            caller = self.mesh.connect(random.randrange(3))
            self.callers.append(caller)
            timeout = random.choice(["0", "0.005", "0.02"])
            keys = key
            if self.spread:
                keys = " ".join(random.choices(self.keys, k=random.randint(1, 3)))
            caller.send(f"{random.choice(['BLPOP', 'BRPOP'])} {keys} {timeout}")
            if self.moves and random.random() < 0.2:
                mover = self.mesh.connect(random.randrange(3))
                self.callers.append(mover)
                mover.send(f"BLMOVE {key} {random.choice(self.keys)} LEFT RIGHT {timeout}")
                self.movers.add(mover)
        elif choice < 0.6:
            pusher = self.mesh.connect(random.randrange(3))
            self.callers.append(pusher)
            elements = [f"e{self.pushed + n}" for n in range(random.choice([1, 1, 3]))]
            self.pushed += len(elements)
            self.pushers.append((key, pusher))
            self.push(pusher, key, elements)
        elif choice < 0.7:
            caller = self.mesh.connect(random.randrange(3))
            self.callers.append(caller)
            caller.send(f"LPOP {key}")
        elif choice < 0.8:
            self.vanish(random.choice(self.callers))
        elif choice < 0.9:
            for node in self.mesh.nodes:
                node.dispatcher.now_ms += 3
                self.mesh.turn(node)
        else:
            victim = random.choice(self.callers)
            if victim.conn.is_blocked():
                victim.conn.unblock(with_error=random.random() < 0.5)

    def push(self, pusher: Caller, key: str, elements: list[str]) -> None:
        pusher.send(f"RPUSH {key} {' '.join(elements)}")

    def is_ready(self, node: Node, key: str) -> bool:
        """Tell whether a key has something for those who wait for it in turn."""
        return bool(self.collect(node, key))

    def check_held(self) -> None:
        """Assert that a push is not answered before those who waited were tried."""
        self.pushers = [(key, caller) for key, caller in self.pushers if not caller.sock.got]
        open_pushes = {key for key, _ in self.pushers}
        for key, node in zip(self.keys, self.mesh.nodes, strict=True):
            waiters = node.dispatcher.blocking._by_key.get(0, {}).get(key.encode(), {})
            if key not in open_pushes and self.is_ready(node, key):
                assert not [one for one in waiters if one.spread and one.command.write], key

    def check_settled(self) -> None:
        """Assert that nobody waits who could be served, or for something that has happened."""
        for key, node in zip(self.keys, self.mesh.nodes, strict=True):
            waiters = node.dispatcher.blocking._by_key.get(0, {}).get(key.encode(), {})
            if self.is_ready(node, key):
                assert not [one for one in waiters if one.command.write], key
            for one in waiters:
                assert not one.told
                assert not one.holds
                assert not one.behind
            assert not node.dispatcher.blocking._holds or all(
                hold.over for hold in node.dispatcher.blocking._holds
            )

    def vanish(self, caller: Caller) -> None:
        """A client goes, unless something may be on its way to it that nobody could take back."""
        wait = caller.conn.wait
        on_its_way = False
        if isinstance(wait, RemoteWait):
            owner = self.mesh.nodes[wait.peer.worker].peer(caller.node.index)
            on_its_way = wait.taken or wait.handle not in owner.waiters
        if caller.conn.is_blocked() and not on_its_way:
            self.tried += isinstance(wait, SpreadWait) and wait.ref > 0
            caller.conn.close("gone")

    def move(self) -> None:
        """Let some of what can happen happen."""
        for _ in range(self.random.randrange(6)):
            steps = self.mesh.steps()
            if steps:
                self.random.choice(steps)()
                if not self.moves:
                    self.check_held()

    def collect(self, node: Node, key: str) -> list[bytes]:
        value = node.store.view(0).find(key.encode())
        return [] if value is None else list(value)


@pytest.mark.parametrize("seed", range(60))
def test_every_element_is_somewhere_once(seed: int) -> None:
    play(Game(seed))


@pytest.mark.parametrize("seed", range(60))
def test_the_same_with_keys_of_several_partitions(seed: int) -> None:
    play(Game(seed, spread=True))


class StreamGame(Game):
    """The same with streams and a group, which shares out what is added, and mere readers."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, spread=True)
        self.moves = False
        for key in self.keys:
            self.mesh.connect().send(f"XGROUP CREATE {key} g 0 MKSTREAM")
        self.mesh.settle()

    def step(self) -> None:
        random = self.random
        choice = random.random()
        if 0.1 < choice < 0.4:
            caller = self.mesh.connect(random.randrange(3))
            self.callers.append(caller)
            keys = random.choices(self.keys, k=random.randint(1, 3))
            block = random.choice([" BLOCK 0", " BLOCK 5", " BLOCK 20", ""])
            count = random.choice(["", " COUNT 1"])
            if random.random() < 0.3:
                words = f"XREAD{count}{block} STREAMS {' '.join(keys)}" + " $" * len(keys)
                self.movers.add(caller)  # what it hears of others may have too
            else:
                group = f"XREADGROUP GROUP g c{random.randint(1, 3)}{count}{block}"
                words = f"{group} STREAMS {' '.join(keys)}" + " >" * len(keys)
            caller.send(words)
        elif 0.6 < choice < 0.7:
            return
        else:
            super().step()

    def push(self, pusher: Caller, key: str, elements: list[str]) -> None:
        for element in elements:
            pusher.send(f"XADD {key} * f {element}")

    def is_ready(self, node: Node, key: str) -> bool:
        stream: Any = node.store.view(0).find(key.encode())
        return bool(stream.last_id > stream.groups[b"g"].last_id)

    def check_delivered(self) -> None:
        """Assert that the group has given everything to one consumer, or has it left."""
        given: Counter[bytes] = Counter()
        left = 0
        for key, node in zip(self.keys, self.mesh.nodes, strict=True):
            stream: Any = node.store.view(0).find(key.encode())
            group = stream.groups[b"g"]
            group.check()
            for _, ids, items in stream.runs():
                for entry_id, item in zip(ids, items, strict=True):
                    if group.pending.get(entry_id) is not None:
                        given[item if isinstance(item, bytes) else item[0]] += 1
                    else:
                        assert entry_id > group.last_id
                        left += 1
        assert given.total() + left == self.pushed
        heard: Counter[bytes] = Counter()
        for caller in self.callers:
            if caller not in self.movers:
                words = caller.take().split(b"\r\n")
                heard.update(word for word in words if word[:1] == b"e")
        assert not heard - given


@pytest.mark.parametrize("seed", range(60))
def test_streams_over_several_partitions(seed: int) -> None:
    game = StreamGame(seed)
    run(game)
    game.check_settled()
    game.check_delivered()
    finish(game)


def run(game: Game) -> None:
    for _ in range(150):
        game.step()
        game.move()
    game.mesh.settle(game.random)


def finish(game: Game) -> None:
    for caller in game.callers:
        caller.conn.close("over")
    game.mesh.settle()
    check_nothing_is_left(game.mesh)


def play(game: Game) -> None:
    run(game)
    game.check_settled()
    for caller in game.callers:
        if caller in game.movers:
            continue
        for word in caller.take().split(b"\r\n"):
            if word.startswith(b"e"):
                game.received[word] += 1
    for key, node in zip(game.keys, game.mesh.nodes, strict=True):
        game.received.update(game.collect(node, key))
    missing = Counter(b"e%d" % number for number in range(game.pushed))
    missing.subtract(game.received)
    assert set(missing.values()) <= {0, 1}, "something was served twice"
    assert missing.total() <= game.tried
    finish(game)
