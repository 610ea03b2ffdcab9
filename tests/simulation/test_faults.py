"""Anything may go wrong at any moment: workers die, pipes are full, clients vanish, do not read, or
run out of time, a pause comes and goes. In the end nothing may be left: no lock, no client that
waits, no reply in the wrong place, no command that was done by half.

Tokens travel between lists of several partitions by RENAME, LMOVE, BLMOVE, scripts and
transactions, which never make or destroy one. Groups of keys are set to one value together. So half
of a command shows as a token that is missing or doubled, or as a group that differs.
"""

from __future__ import annotations

import io
from collections import Counter
from random import Random
from typing import Any, Final

import pytest
from shoal.proto.slots import key_slot, owner_of
from shoal.worker import dispatch, multi
from support.faulty_mesh import OUTBOX_BYTES, FaultyMesh
from support.mesh import Caller, check_nothing_is_left, keys_of
from support.raw import read_reply
from support.seeds import blocks, repeat

WORKERS: Final = 3
LISTS: Final = [key for worker in range(WORKERS) for key in keys_of(worker, WORKERS, 2)]
GROUP: Final = [keys_of(worker, WORKERS, 3)[2] for worker in range(WORKERS)]
TOKENS: Final = 24
MOVE: Final = "return{redis.call('lmove',KEYS[1],KEYS[2],'left','right')}"


class Talker:
    """A client that says what it expects: every command is followed by an ECHO of its number."""

    def __init__(self, caller: Caller, random: Random) -> None:
        self.caller = caller
        self.random = random
        self.sent: list[bytes] = []  # what stands in place of each reply, b"" for any
        self.got = b""

    def say(self, *lines: str) -> None:
        """Send commands, each with a reply, and an ECHO."""
        number = f"n{len(self.sent)}"
        self.caller.send(*lines, f"ECHO {number}")
        self.sent += [b""] * len(lines)
        self.sent.append(b"$%d\r\n%b\r\n" % (len(number), number.encode()))

    def read(self) -> list[bytes]:
        """Return the replies that have come, whole ones only."""
        self.got += self.caller.take()
        stream = io.BytesIO(self.got)
        replies: list[bytes] = []
        while True:
            try:
                replies.append(read_reply(stream))
            except EOFError:
                return replies

    def check(self, *, complete: bool) -> None:
        """Assert that every reply is in its place."""
        replies = self.read()
        if complete:
            assert len(replies) == len(self.sent), f"{len(replies)} of {len(self.sent)} replies"
        for at, (reply, expected) in enumerate(zip(replies, self.sent, strict=False)):
            assert not expected or reply == expected, f"reply {at}: {reply!r}, not {expected!r}"


class Game:
    """What clients do, and what befalls them and the workers."""

    def __init__(self, seed: int, *, deaths: bool = True) -> None:
        self.random = Random(seed)
        self.deaths = deaths
        self.mesh = FaultyMesh(WORKERS, self.random)
        self.talkers: list[Talker] = []
        self.values = 0
        filler = self.mesh.connect(0)
        for token in range(TOKENS):
            filler.send(f"RPUSH {LISTS[token % len(LISTS)]} t{token}")
        filler.send("MSET " + " ".join(f"{key} v0" for key in GROUP))
        self.mesh.settle(self.random)
        filler.conn.close("over")

    def play(self, steps: int) -> None:
        for _ in range(steps):
            choice = self.random.random()
            if choice < 0.6:
                self.talk()
            elif choice < 0.8:
                self.befall()
            elif choice < 0.9:
                self.mesh.tick(self.random.choice((1, 20, 300)))
            self.mesh.move(self.random.randrange(12))
        self.finish()

    def talk(self) -> None:
        """Let a client send something."""
        self.talkers = [one for one in self.talkers if self.mesh.lives_on(one.caller)]
        serving = sorted(self.mesh.serving)
        if serving and (len(self.talkers) < 6 or self.random.random() < 0.1):
            home = self.random.choice(serving)
            self.talkers.append(Talker(self.mesh.connect(home), self.random))
        if self.talkers:
            one = self.random.choice(self.talkers)
            one.say(*self.command())

    def command(self) -> list[str]:
        random = self.random
        a, b = random.choices(LISTS, k=2)
        c, d = random.choices(LISTS, k=2)
        timeout = random.choice(("0.01", "0.1", "0.5", "3"))
        sides = f"{random.choice(('LEFT', 'RIGHT'))} {random.choice(('LEFT', 'RIGHT'))}"
        self.values += 1
        value = f"v{self.values}"
        choices: list[list[str]] = [
            [f"LMOVE {a} {b} {sides}"],
            [f"BLMOVE {a} {b} {sides} {timeout}"],
            [f"BLMPOP {timeout} 2 {a}x {b}x LEFT"],
            [f"BLPOP {a}x {b}x {c}x {timeout}"],
            [f"RENAMENX {a} {b}"],
            ["MSET " + " ".join(f"{key} {value}" for key in GROUP)],
            ["MULTI", *(f"SET {key} {value}" for key in GROUP), "EXEC"],
            ["MULTI", f"LMOVE {a} {b} {sides}", f"LMOVE {c} {d} {sides}", "EXEC"],
            [f"WATCH {a} {b}", "MULTI", f"LMOVE {c} {d} {sides}", "EXEC"],
            ["MULTI", f"LRANGE {a} 0 -1", "DBSIZE", f"LMOVE {a} {b} {sides}", "EXEC"],
            ["MGET " + " ".join(GROUP)],
            [f"RPUSH {a}x 1", f"LPOP {a}x"],
            [f"RPUSH {a}x 1 2"],
            [f"SET {a}x string"],
            [f"DEL {a}x"],
            [f"BLMOVE {a}x {b}x {sides} {timeout}"],
            [f"EVAL {MOVE} 2 {a} {b}"],
            ["MULTI", f"EVAL {MOVE} 2 {a} {b}", f"LMOVE {c} {d} {sides}", "EXEC"],
            [f"WATCH {a} {b}", f"LLEN {c}", "UNWATCH"],
            [f"GET {random.choice(GROUP)}", f"LLEN {a}", f"LLEN {b}", f"LLEN {c}"],
            [f"CLIENT PAUSE {random.choice((5, 200))} {random.choice(('WRITE', 'ALL'))}"],
            ["CLIENT UNPAUSE"],
            [f"SORT {a} ALPHA BY {b[0]}*"],
            ["DBSIZE"],
        ]
        return random.choice(choices)

    def befall(self) -> None:
        """Let something go wrong, or right again."""
        random, mesh = self.random, self.mesh
        choice = random.randrange(9)
        if choice == 0 and self.deaths and len(mesh.dead) < 2:
            alive = sorted(set(range(WORKERS)) - mesh.dead)
            mesh.kill(random.choice(alive))
        elif choice == 1 and mesh.dead:
            mesh.revive(random.choice(sorted(mesh.dead)))
        elif choice == 2 and mesh.dead and random.random() < 0.3:
            mesh.send(mesh.coordinator.on_deadline(random.choice(sorted(mesh.dead))))
        elif choice == 3:
            a, b = random.sample(range(WORKERS), 2)
            mesh.fill_pipe(mesh.nodes[a], b)
        elif choice in (4, 5):
            mesh.empty_pipes()
        elif self.talkers:
            one = random.choice(self.talkers)
            if not mesh.lives_on(one.caller):
                return
            if choice == 6:
                one.check(complete=False)
                if random.random() < 0.5:
                    one.caller.conn.close("gone")
                else:
                    one.caller.conn.at_eof()
            elif one.caller.sock.full:
                self.let_read(one)
            else:
                one.caller.sock.full = True

    def let_read(self, one: Talker) -> None:
        one.caller.sock.full = False
        one.caller.conn.send_more()

    def finish(self) -> None:
        """Let everything come to its end, and look at what is left."""
        mesh = self.mesh
        for one in self.talkers:
            if mesh.lives_on(one.caller):
                self.let_read(one)
        mesh.come_to_rest()
        for one in self.talkers:
            if mesh.lives_on(one.caller):
                assert one.caller.conn.eof or not one.caller.conn.blocked, one.caller.conn.blocked
                one.check(complete=True)
                one.caller.conn.close("over")
        mesh.come_to_rest()
        check_nothing_is_left(mesh)
        for node in mesh.nodes:
            assert not node.server.clients
            assert not node.dispatcher.transactions._series
        self.check_keys()

    def check_keys(self) -> None:
        tokens: Counter[bytes] = Counter()
        for key in LISTS:
            tokens.update(self.find(key) or ())
        assert tokens == Counter(b"t%d" % token for token in range(TOKENS))
        assert len({self.find(key) for key in GROUP}) == 1, [self.find(key) for key in GROUP]

    def find(self, key: str) -> Any:
        worker = owner_of(key_slot(key.encode()), WORKERS)
        return self.mesh.nodes[worker].store.view(0).find(key.encode())


@pytest.mark.parametrize("seeds", blocks("0-99"), ids=str)
def test_nothing_is_left_whatever_goes_wrong(seeds: range, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (dispatch, multi):
        monkeypatch.setattr(module, "MAX_PEER_OUTBOX_BYTES", OUTBOX_BYTES)
    for seed in seeds:
        with repeat(seed):
            Game(seed).play(150)
