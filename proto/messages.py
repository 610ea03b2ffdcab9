"""What travels in the frames between two processes: tuples that begin with their kind.

Spanning commands (`supervisor/coordinator.py`, `worker/participant.py`):

| message                                  | from, to            | meaning                         |
|------------------------------------------|---------------------|---------------------------------|
| (SPAN, ref, parts, write)                | home, coordinator   | run this, one part a worker     |
| (LOCK, ticket, blob, participants, mode) | coordinator, worker | queue for the locks, then run   |
| (DONE, ticket, reply)                    | worker, coordinator | my part ran; its locks are held |
| (RELEASE, ticket)                        | coordinator, worker | all parts ran: let the locks go |
| (ANSWER, ref, replies)                   | coordinator, home   | what the parts answered         |
| (REFUSE, ref, text)                      | coordinator, home   | nothing ran, and nothing will   |
| (RELEASED, tickets)                      | coordinator, worker | log #REL for these, see below   |
| (SERVE,)                                 | coordinator, worker | you may serve, see below        |

- ref: int, chosen by the home, unique among its spanning commands in flight.
- parts: dict of worker number to blob; blob: bytes only workers read, the part for that worker.
- write: bool, some part may change keys.
- ticket: int, ascending over all spanning commands; participants: tuple of worker numbers.
- mode: RUN, or RELOCK: the part stands in the log (or was a read, and answered); take the locks
  again, run nothing, answer nothing.
- reply: any object marshal takes; replies: dict of worker number to reply; the home merges them.
- text: bytes of an error reply, code first.

A worker that starts and has loaded its partition gets, in this order: RELEASED with the tickets
that its log holds without #REL and that are complete (left out if there are none), the LOCKs of
the tickets in flight, SERVE. Before SERVE it runs no command of a client or a peer: it does not
yet hold all the locks that its predecessor held.

The start of a worker and its life (`supervisor/serve.py`, `worker/main.py`):

| message                | from, to           | meaning|
|------------------------|--------------------|----------------------------------------------------|
| (SCAN, files)          | supervisor, worker | look through these segments of the manifest        |
| (SCANNED, reports)     | worker, supervisor | what they hold, in the same order|
| (LOAD, plan)           | supervisor, worker | cut, load and open the segment|
| (RESPLIT, plan)        | supervisor, worker | write a base of my slots out of all the segments|
| (LOADED, keys, figures)| worker, supervisor | the keys are in memory, or the base is written|
| (FAILED, text)         | worker, supervisor | the start cannot go on, and why|
| (PEER, worker, state)  | supervisor, worker | a peer is DOWN, LOADING or UP|
| (CALL, ref, request)   | worker, supervisor | a client asks the supervisor: name, then arguments|
| (TOLD, ref, reply)     | supervisor, worker | the encoded reply to a CALL|
| (CONFIG, changes)      | supervisor, worker | directives have changed: attribute to value|
| (CLOSED, count)        | worker, supervisor | so many of its clients have gone|
| (DISK, ok, text)       | worker, supervisor | its log can, or cannot, be written|
| (FIGURES, dict)        | worker, supervisor | once a second: what `shoal ctl status` shows|
| (STOP, now)            | supervisor, worker | write, fsync (unless now) and exit|
"""

from __future__ import annotations

from typing import Any, Final

Message = tuple[Any, ...]

SPAN: Final = 1
LOCK: Final = 2
DONE: Final = 3
RELEASE: Final = 4
ANSWER: Final = 5
REFUSE: Final = 6
RELEASED: Final = 7
SERVE: Final = 8

# The modes of LOCK.
RUN: Final = 0
RELOCK: Final = 1

# The start of a worker and its life.
CALL: Final = 20
TOLD: Final = 21
SCAN: Final = 22
SCANNED: Final = 23
LOAD: Final = 24
RESPLIT: Final = 25
LOADED: Final = 26
FAILED: Final = 27
PEER: Final = 28
CLOSED: Final = 29
DISK: Final = 30
FIGURES: Final = 31
STOP: Final = 32
CONFIG: Final = 33

# States of a peer.
DOWN: Final = 0
LOADING: Final = 1
UP: Final = 2

SUPERVISOR: Final = -1
"""The supervisor's number where workers are counted from 0."""
