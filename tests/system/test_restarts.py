"""Commands over partitions, and what a start makes of their log: all of each, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from support.mesh import keys_of
from support.raw import RawClient
from support.servers import Shoal

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
WORKERS = 2
(A, *_), (B, *_) = (keys_of(worker, WORKERS) for worker in range(WORKERS))
TICKET = b"#TICKET"

# What is there before, the command, and what is read: before it, and after it.
COMMANDS: dict[str, tuple[list[str], list[str], list[str], list[bytes], list[bytes]]] = {
    "MSET": (
        [f"MSET {A} 1 {B} 1"],
        [f"MSET {A} 2 {B} 2"],
        [f"GET {A}", f"GET {B}"],
        [b"$1\r\n1\r\n"] * 2,
        [b"$1\r\n2\r\n"] * 2,
    ),
    "RENAME": (
        [f"RPUSH {A} 1"],
        [f"RENAME {A} {B}"],
        [f"LLEN {A}", f"LLEN {B}"],
        [b":1\r\n", b":0\r\n"],
        [b":0\r\n", b":1\r\n"],
    ),
    "LMOVE": (
        [f"RPUSH {A} 1 2", f"RPUSH {B} 3"],
        [f"LMOVE {A} {B} LEFT RIGHT"],
        [f"LLEN {A}", f"LLEN {B}"],
        [b":2\r\n", b":1\r\n"],
        [b":1\r\n", b":2\r\n"],
    ),
    "EXEC": (
        [f"SET {A} 1", f"SET {B} 1"],
        ["MULTI", f"INCR {A}", f"INCR {B}", "EXEC"],
        [f"GET {A}", f"GET {B}"],
        [b"$1\r\n1\r\n"] * 2,
        [b"$1\r\n2\r\n"] * 2,
    ),
}


def say(client: RawClient, lines: Sequence[str]) -> list[bytes]:
    return [client.call_line(line) for line in lines]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_over_partitions_outlives_a_restart(name: str) -> None:
    """RENAME is not undone by a start, and neither is anything else that was acknowledged."""
    first, command, reads, _, after = COMMANDS[name]
    with Shoal(*ALWAYS, workers=WORKERS) as shoal:
        with shoal.client() as client:
            say(client, [*first, *command])
        for end in (shoal.kill, shoal.stop):
            end()
            shoal.start()
            with shoal.client() as client:
                assert say(client, reads) == after


@pytest.mark.parametrize("loser", range(WORKERS))
@pytest.mark.parametrize("name", COMMANDS)
def test_what_only_one_side_has_is_dropped(name: str, loser: int) -> None:
    """One worker's log lost the command, the other's has it: it has not happened, on both sides."""
    first, command, reads, before, _ = COMMANDS[name]
    with Shoal(*ALWAYS, workers=WORKERS) as shoal:
        with shoal.client() as client:
            say(client, [*first, *command])
        shoal.kill()
        (segment,) = Path(shoal.directory).rglob(f"appendonly.{loser}.*.incr.aof")
        whole = segment.read_bytes()
        segment.write_bytes(whole[: whole.rindex(TICKET)])
        for _ in range(2):  # the second start must not find it again
            shoal.start()
            with shoal.client() as client:
                assert say(client, reads) == before
            shoal.kill()
        shoal.start()
        with shoal.client() as client:  # and what comes next is kept
            say(client, command)
        shoal.kill()
        shoal.start()
        with shoal.client() as client:
            assert say(client, reads) == COMMANDS[name][4]
