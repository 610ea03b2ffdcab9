"""What travels in the frames between two processes: tuples that begin with their kind.

Spanning commands (`supervisor/coordinator.py`, `worker/participant.py`):

| message                                  | from, to            | meaning                         |
|------------------------------------------|---------------------|---------------------------------|
| (SPAN, ref, parts, write, steps)         | home, coordinator   | run this, one part a worker     |
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
- steps: empty for one-shot commands; else (executor, lenders, blob) of each step of a command that
  runs in steps (`supervisor/steps.py`).
- mode: RUN, or RELOCK: the part stands in the log (or was a read, and answered), or was granted;
  take the locks again, run nothing, answer nothing.
- reply: any object marshal takes; replies: dict of worker number to reply; the home merges them.
- text: bytes of an error reply, code first.

Commands that run in steps: the workers, once granted, lend instead of running:

| message                                      | from, to              | meaning                   |
|----------------------------------------------|-----------------------|---------------------------|
| (LENT, ticket, attempt, chunk, last)         | worker, coordinator   | a piece of my values      |
| (ABORT, ticket)                              | worker, coordinator   | granted: do not run it    |
| (LOAN, ticket, attempt, lender, chunk, last) | coordinator, executor | passed on                 |
| (TOOK, ticket, attempt, lender)              | executor, coordinator | taken, not the last       |
| (MORE, ticket, attempt)                      | coordinator, worker   | go on: LENT or EFFECT     |
| (EXECUTE, ticket, attempt, blob)             | coordinator, executor | all have lent: run it     |
| (EFFECT, ticket, attempt, worker, chunk)     | executor, coordinator | changes for that worker   |
| (FORGET, ref)                                | home, coordinator     | its client has gone       |
| (NEEDS, ticket, attempt, lenders, blob)      | executor, coordinator | run it again, lent more   |
| (RAN, ticket, attempt, replies)              | executor, coordinator | it ran: no more EFFECT    |
| (APPLY, ticket, participants, chunk, last)   | coordinator, worker   | make these; the last: log |
| (APPLY_MORE, ticket)                         | worker, coordinator   | taken, not the last       |
| (LEND, ticket, attempt, blob)                | coordinator, worker   | lend for a step, or again |
| (HELD, ticket)                               | worker, coordinator   | do not answer it yet      |
| (SETTLED, ticket)                            | worker, coordinator   | I do not mind any more    |

- attempt: the grant is attempt 0, with which a borrowing command's parts lend; each further step,
  and each time that one begins anew, is the next.
- blob: what only workers read: what a step runs, and so what is lent; None: what the part says.
- chunk: bytes that only workers read: marshalled commands, each with its database.
- participants: the workers with effects; who has logged the last piece of its own says DONE.
- HELD comes ahead of the worker's DONE, of any command over partitions: a client that waits for
  keys of several partitions may be served by what this one did, and is tried first. The locks are
  let go all the same; only the ANSWER waits (`worker/blocking.py`).

A worker that starts and has loaded its partition gets, in this order: RELEASED with the tickets
that its log holds without #REL and that are complete (left out if there are none), the LOCKs of
the tickets in flight, SERVE. Before SERVE it runs no command of a client or a peer: it does not
yet hold all the locks that its predecessor held.

The start of a worker and its life (`supervisor/serve.py`, `worker/main.py`), W for the worker and S
for the supervisor:

- (SCAN, files, exact), S to W: look through these segments of the manifest; (SCANNED, reports),
  W to S: what they hold, in the same order, in `ScanReport`'s wire form.
- (LOAD, segment), S to W: cut, load and open; segment is None without a log, else (files, end,
  skip, open tickets, policy).
- (RESPLIT, sources, name), S to W: write the base `name` of my slots out of all the segments.
- (LOADED, figures), W to S: done, the last stamp and the base's size.
- (FAILED, text, damage), W to S: the start cannot go on; damage is None or (file, offset, reason).
- (CLOCK, wall_ms, monotonic_ns), S to W: the base of the stamps' clock, before anything is logged.
- (PEER, worker, state, generation), S to W: a peer is DOWN, LOADING, UP or LEAVING; its generation
  counts its processes, and is also with the new pipe ends that come over the channel.
- (CALL, ref, request), W to S: a client asks the supervisor: name, then arguments; (TOLD, ref,
  reply), S to W: the encoded reply.
- (CONFIG, ref, pairs), S to W: CONFIG SET has been accepted; (APPLIED, ref), W to S: and is done.
- (CLOSED, count), W to S: so many of its clients have gone.
- (DISK, ok, text), W to S: its log can, or cannot, be written.
- (FIGURES, figures), W to S: once a second, what `shoal ctl status` shows, a dict.
- (LEAVE,), S to W: finish what the peers have asked for, then as STOP.
- (STOP,), S to W: write, fsync and exit.

Over the channel, a socketpair, come descriptors, each with a marshalled tuple:

- (CLIENT, id, addr, laddr, is_unix) with a connection;
- (PIPES, worker, generation) with the two ends, read and write, of the pipes to a new peer.
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

LENT: Final = 9
LOAN: Final = 10
TOOK: Final = 11
MORE: Final = 12
EXECUTE: Final = 13
EFFECT: Final = 14
RAN: Final = 15
APPLY: Final = 16
APPLY_MORE: Final = 17
LEND: Final = 18
ABORT: Final = 19
NEEDS: Final = 37

FORGET: Final = 50
HELD: Final = 51
SETTLED: Final = 52

# The modes of LOCK.
RUN: Final = 0
RELOCK: Final = -1

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
LEAVE: Final = 33
CONFIG: Final = 34
APPLIED: Final = 35
CLOCK: Final = 36

# What comes over the channel.
CLIENT: Final = 40
PIPES: Final = 41

# States of a peer.
DOWN: Final = 0
LOADING: Final = 1
UP: Final = 2
LEAVING: Final = 3

# 64-bit counters of the shared page for each worker, which uses the first: a cache line.
COUNTER_STRIDE: Final = 8

SUPERVISOR: Final = -1
"""The supervisor's number where workers are counted from 0."""
