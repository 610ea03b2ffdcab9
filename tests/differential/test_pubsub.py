"""Pub/sub beside redis-server: confirmations, messages, counts, and what a subscriber may call.

Connection "a" publishes, the others listen. A message is read with `reply`: it is due, whichever
workers the two are connected to.
"""

from contextlib import ExitStack

import pytest
from support.differential import (
    Case,
    Compare,
    Step,
    Table,
    cases,
    closes,
    head,
    mask,
    on,
    raw,
    reply,
    sends,
    shape,
    unordered,
)
from support.raw import pack
from support.servers import Shoal, wait_until


def send(client: str, line: str, replies: int) -> Step:
    """Send a line that is answered by several replies."""
    step = on(client, line)
    return Step(step.shown, step.data, replies, client)


CONFIRMED: Table = {
    "one channel": ["SUBSCRIBE a"],
    "several": [send("a", "SUBSCRIBE a b c", 3)],
    "one twice": [send("a", "SUBSCRIBE a a b", 3), "SUBSCRIBE b"],
    "patterns count too": [send("a", "SUBSCRIBE a b", 2), "PSUBSCRIBE p*", "SUBSCRIBE c"],
    "shard channels count apart": ["SUBSCRIBE a", send("a", "SSUBSCRIBE s t", 2), "SUBSCRIBE b"],
    "unsubscribe": ["SUBSCRIBE a", "PSUBSCRIBE a", "UNSUBSCRIBE a", "PUNSUBSCRIBE a"],
    "unsubscribe from several": [
        send("a", "SUBSCRIBE a b c", 3),
        send("a", "UNSUBSCRIBE c x a c", 4),
        "UNSUBSCRIBE",
    ],
    "unsubscribe from nothing": ["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "UNSUBSCRIBE x"],
    "unsubscribe from no shard channel": ["SUNSUBSCRIBE x", "SSUBSCRIBE x", "SUNSUBSCRIBE"],
    "none of one kind": ["SUBSCRIBE a", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "PUNSUBSCRIBE x"],
    "any bytes": [(b"SUBSCRIBE", b"\x00\r\n\xff"), (b"PSUBSCRIBE", b""), (b"SUBSCRIBE", b"")],
    "in a pipeline": [
        raw(pack(b"PING") + pack(b"SUBSCRIBE", b"a") + pack(b"UNSUBSCRIBE", b"a"), 3),
        raw(pack(b"SET", b"k", b"v") + pack(b"SUBSCRIBE", b"a") + pack(b"RESET"), 3),
    ],
    "behind commands of every worker": [
        raw(
            b"".join(pack(b"SET", b"k%d" % n, b"v") for n in range(50)) + pack(b"SUBSCRIBE", b"c"),
            51,
        ),
    ],
    "without CLIENT REPLY": [sends("CLIENT REPLY OFF"), "SUBSCRIBE a", "UNSUBSCRIBE a"],
    "behind CLIENT REPLY SKIP": [
        sends("CLIENT REPLY SKIP"),
        send("a", "SUBSCRIBE a b", 2),
        "PING",
    ],
    "errors": ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "PUBLISH", "PUBLISH a", "PUBLISH a b c"],
    "errors of SPUBLISH": ["SPUBLISH", "SPUBLISH a", "SPUBLISH a b c"],
}

RECEIVED: Table = {
    "nobody": ["PUBLISH a x", "SPUBLISH a x"],
    "one": [on("b", "SUBSCRIBE a"), "PUBLISH a x", on("b", reply())],
    "in order": [
        on("b", "SUBSCRIBE a"),
        *[f"PUBLISH a {n}" for n in range(10)],
        on("b", reply(10)),
    ],
    "many": [
        *[on(f"b{n}", "SUBSCRIBE a") for n in range(7)],
        "PUBLISH a x",
        *[on(f"b{n}", reply()) for n in range(7)],
    ],
    "another channel": [on("b", "SUBSCRIBE a"), "PUBLISH b x", "PUBLISH a y", on("b", reply())],
    "a pattern": [on("b", "PSUBSCRIBE a*"), "PUBLISH b x", "PUBLISH abc y", on("b", reply())],
    "several patterns of one client": [
        on("b", "PSUBSCRIBE a*"),
        on("b", "PSUBSCRIBE a?c"),
        on("b", "SUBSCRIBE abc"),
        "PUBLISH abc y",
        unordered(on("b", reply())),
        on("b", Step("", b"", 2, alike=lambda one, other: len(one) == len(other))),
    ],
    "a pattern and a channel": [
        on("b", "SUBSCRIBE abc"),
        on("c", "PSUBSCRIBE a*"),
        "PUBLISH abc y",
        on("b", reply()),
        on("c", reply()),
    ],
    "the empty channel": [
        on("b", (b"SUBSCRIBE", b"")),
        on("b", "PSUBSCRIBE *"),
        (b"PUBLISH", b"", b""),
        on("b", reply()),
    ],
    "shard channels are others": [
        on("b", "SUBSCRIBE a"),
        on("c", "SSUBSCRIBE a"),
        on("d", "PSUBSCRIBE *"),
        "SPUBLISH a shard",
        "PUBLISH a plain",
        on("b", reply()),
        on("c", reply()),
        on("d", reply()),
    ],
    "not after unsubscribing": [
        on("b", "SUBSCRIBE a"),
        on("b", "SUBSCRIBE b"),
        on("b", "UNSUBSCRIBE a"),
        "PUBLISH a x",
        "PUBLISH b y",
        on("b", reply()),
    ],
    "not after RESET": [
        on("b", "SUBSCRIBE a"),
        on("b", "PSUBSCRIBE a"),
        on("b", "SSUBSCRIBE a"),
        on("b", "RESET"),
        "PUBLISH a x",
        "SPUBLISH a x",
        on("b", "PING"),
    ],
    "any bytes": [
        on("b", (b"SUBSCRIBE", b"\x00\r\n\xff")),
        (b"PUBLISH", b"\x00\r\n\xff", b"\r\n\x00" * 9),
        on("b", reply()),
    ],
    "large ones": [
        on("b", "SUBSCRIBE a"),
        on("c", "SUBSCRIBE a"),
        (b"PUBLISH", b"a", b"x" * 1_000_000),
        (b"PUBLISH", b"a", b"y" * 5000),
        on("b", reply(2)),
        on("c", reply(2)),
    ],
    "in a pipeline": [
        on("b", "PSUBSCRIBE *"),
        raw(b"".join(pack(b"PUBLISH", b"c%d" % n, b"m") for n in range(100)), 100),
        on("b", reply(100)),
    ],
    "without CLIENT REPLY": [
        on("b", sends("CLIENT REPLY OFF")),
        on("b", "SUBSCRIBE a"),
        "PUBLISH a x",
        on("b", reply()),
    ],
    "whatever the database": [
        "SELECT 3",
        on("b", "SUBSCRIBE a"),
        "PUBLISH a x",
        on("b", reply()),
    ],
    "to oneself": Case(
        "SUBSCRIBE a",
        send("a", "PUBLISH a x", 2),
        "PING",
        "SET k v",
        raw(pack(b"PUBLISH", b"a", b"x") + pack(b"PING"), 3),
        resp=3,
    ),
    "to one that is blocked": Case(
        on("b", "SUBSCRIBE a"),
        on("b", sends("BLPOP list 0")),
        "PUBLISH a x",
        on("b", reply()),
        "RPUSH list y",
        on("b", reply()),
        resp=3,
    ),
    "under CLIENT PAUSE WRITE a publisher waits": [
        on("b", "SUBSCRIBE a"),
        "CLIENT PAUSE 200 WRITE",
        on("c", "PUBLISH a x"),
        on("b", reply()),
    ],
}

CONTEXT: Table = {
    "refused": [
        "SUBSCRIBE a",
        *(
            "GET x",
            "SET x 1",
            shape("CLIENT ID"),
            "CLIENT NO-TOUCH ON",
            head("HELLO 3"),
            "PUBLISH a b",
            "PUBSUB NUMPAT",
        ),
        *("SELECT 1", "get x", "CONFIG GET databases", "BLPOP a 0.01"),
    ],
    "by a pattern": ["PSUBSCRIBE a", "GET x", "PUNSUBSCRIBE", "GET x"],
    "by a shard channel": [
        "SSUBSCRIBE a",
        "GET x",
        "UNSUBSCRIBE",
        "GET x",
        "SUNSUBSCRIBE",
        "GET x",
    ],
    "other errors come first": [
        *("SUBSCRIBE a", "nosuch", "nosuch a b", "GET", "CLIENT", "CLIENT nosuch", "CLIENT ID x"),
    ],
    "PING": ["SUBSCRIBE a", "PING", "ping", "PiNg x", "PING a b", "UNSUBSCRIBE", "PING", "PING x"],
    "until it has left": [
        send("a", "SUBSCRIBE a b", 2),
        *("UNSUBSCRIBE a", "GET x", "UNSUBSCRIBE b", "GET x"),
    ],
    "left and back": ["SUBSCRIBE a", "UNSUBSCRIBE a", "SUBSCRIBE a", "GET x"],
    "RESET leaves": ["SUBSCRIBE a", "RESET", "GET x", "SUBSCRIBE a", "GET x"],
    "QUIT": [closes(pack(b"SUBSCRIBE", b"a") + pack(b"QUIT") + pack(b"PING"))],
    "in a pipeline": [
        raw(
            pack(b"SUBSCRIBE", b"a")
            + pack(b"GET", b"x")
            + pack(b"PING")
            + pack(b"UNSUBSCRIBE")
            + pack(b"GET", b"x"),
            5,
        ),
    ],
    "back to RESP2": Case("SUBSCRIBE a", "GET x", mask(r"id\r\n:\d+", "HELLO 2"), resp=2),
    "every command in RESP3": Case(
        *("SUBSCRIBE a", "SET x 1", "GET x", "PING", "PING x", "CLIENT SETNAME me", "DBSIZE"),
        resp=3,
    ),
}

LOOKED_AT: Table = {
    "CHANNELS": [
        *("PUBSUB CHANNELS", "PUBSUB CHANNELS a*"),
        send("b", "SUBSCRIBE ab b", 2),
        on("c", "SUBSCRIBE ab"),
        on("c", "PSUBSCRIBE x*"),
        unordered("PUBSUB CHANNELS"),
        *("PUBSUB CHANNELS a*", "PUBSUB CHANNELS x*", "PUBSUB SHARDCHANNELS"),
        on("b", "UNSUBSCRIBE ab"),
        unordered("PUBSUB CHANNELS"),
        on("c", "UNSUBSCRIBE ab"),
        "PUBSUB CHANNELS",
    ],
    "SHARDCHANNELS": [
        *("PUBSUB SHARDCHANNELS", send("b", "SSUBSCRIBE ab b", 2), "PUBSUB SHARDCHANNELS a*"),
        *(unordered("PUBSUB SHARDCHANNELS"), "PUBSUB CHANNELS", "pubsub shardchannels x"),
    ],
    "NUMSUB": [
        *("PUBSUB NUMSUB", "PUBSUB NUMSUB a b a", send("b", "SUBSCRIBE a b", 2)),
        *(on("c", "SUBSCRIBE a"), on("d", "PSUBSCRIBE a"), on("d", "SSUBSCRIBE a")),
        *("PUBSUB NUMSUB a b c a", "PUBSUB SHARDNUMSUB a b", "PUBSUB SHARDNUMSUB"),
        *(on("b", "UNSUBSCRIBE b"), on("c", "UNSUBSCRIBE"), "PUBSUB NUMSUB a b"),
    ],
    "NUMPAT": [
        *("PUBSUB NUMPAT", on("b", "PSUBSCRIBE a*"), on("c", "PSUBSCRIBE a*"), "PUBSUB NUMPAT"),
        *(on("c", "PSUBSCRIBE b"), "PUBSUB NUMPAT", on("b", "PUNSUBSCRIBE a*"), "PUBSUB NUMPAT"),
        *(on("c", "PUNSUBSCRIBE a*"), "PUBSUB NUMPAT"),
    ],
    "errors": [
        *("PUBSUB", "PUBSUB nosuch", "PUBSUB CHANNELS a b", "PUBSUB SHARDCHANNELS a b"),
        *("PUBSUB NUMPAT x", "PUBSUB HELP x", "PUBSUB HELP"),
    ],
    "INFO": [
        *(send("b", "SUBSCRIBE a b", 2), on("c", "SUBSCRIBE a"), on("c", "PSUBSCRIBE x*")),
        on("d", "SSUBSCRIBE s"),
        mask(r"(?s)^.*?(?=pubsub_clients)|(?<=pubsub_clients:3).*", "INFO clients"),
        mask(r"(?s)^.*?(?=pubsub_channels)|(?<=shard_channels:1).*$", "INFO stats"),
    ],
    "CLIENT LIST": [
        on("b", "CLIENT SETNAME sub"),
        *(send("b", "SUBSCRIBE a b", 2), on("b", "PSUBSCRIBE x*"), on("b", "SSUBSCRIBE s")),
        mask(
            r"(?s)^.*?(?=name=sub)|(?<=name=sub)[^\n]*(?= flags=)|(?<=ssub=1).*$",
            "CLIENT LIST TYPE pubsub",
        ),
        mask(r"(?s)^.*?(?=flags=)|(?<=ssub=0).*$", "CLIENT LIST TYPE normal"),
    ],
    "CLIENT KILL": [
        *(
            on("b", "SUBSCRIBE a"),
            on("c", "PSUBSCRIBE a"),
            on("d", "SSUBSCRIBE a"),
            on("e", "PING"),
        ),
        *("CLIENT KILL TYPE pubsub", "CLIENT LIST TYPE pubsub", on("e", "PING"), "PUBLISH a x"),
        "PUBSUB NUMPAT",
    ],
}


@pytest.mark.parametrize("script", cases(CONFIRMED, RECEIVED, CONTEXT, LOOKED_AT))
def test_pubsub(script: Case, compare: Compare, subject: Shoal) -> None:
    wait_until(lambda: nobody_listens(subject), "every worker has heard that the last ones left")
    compare(script)


def nobody_listens(subject: Shoal) -> bool:
    with ExitStack() as stack:
        clients = [stack.enter_context(subject.client()) for _ in range(subject.workers)]
        return all(client.call(b"PUBSUB", b"CHANNELS") == b"*0\r\n" for client in clients)
