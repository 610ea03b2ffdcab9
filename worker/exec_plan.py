"""How a transaction over several partitions is cut into steps (no I/O).

Each command runs where its keys are. Commands of different partitions have nothing to do with each
other, so all those of one partition are one step; what stands between is a fence: a command with
keys in several partitions, which borrows, or one over all of them, which every worker runs, one
after the other. The order among the commands of one partition is kept, over the fences too.

    SET a1, SET b1, INCR a2, RENAME a1 b2, GET b2, DBSIZE
    -> worker A: SET a1, INCR a2 | worker B: SET b1 | B: RENAME, lent a1 | B: GET b2 | A: DBSIZE |
       B: DBSIZE

All keys, and the watched ones, are locked from before the first step until after the last.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shoal.proto.frames import MARSHAL_VERSION
from shoal.proto.replies import encode
from shoal.worker.borrowing import executor_key
from shoal.worker.peers import Context, split_context
from shoal.worker.registry import (
    Command,
    LockScope,
    PartAnswer,
    Scope,
    is_wide,
    resolve,
    spans_databases,
)

Lock = tuple[int | None, tuple[bytes, ...] | None]

EVERYTHING: Final[Lock] = (None, None)


@dataclass(slots=True)
class Plan:
    """A transaction as its home sends it.

    Attributes:
        locks: worker -> what it locks, as in `participant.Part`; every worker with a part.
        steps: as in `messages.SPAN`.
        commands: each with the protocol of its reply.
        places: of each command, where its replies are in the replies of all steps; several for one
            over all partitions, each with its worker.
    """

    locks: dict[int, Lock] = field(default_factory=dict)
    steps: list[tuple[int, tuple[int, ...], bytes]] = field(default_factory=list)
    commands: list[tuple[Command, int]] = field(default_factory=list)
    places: list[list[tuple[int, int]]] = field(default_factory=list)

    def replies_of(self, replies: Sequence[Any], merged: Callable[..., bytes]) -> list[bytes]:
        """Return the reply of each command, from those of all steps.

        Args:
            replies: as the coordinator has them.
            merged: (command, answers, resp) -> the reply of one over all partitions.
        """
        found: list[bytes] = []
        for (command, resp), places in zip(self.commands, self.places, strict=True):
            if is_wide(command):
                answers = [PartAnswer(worker, (), replies[at]) for worker, at in sorted(places)]
                found.append(encode(merged(command, answers, resp), resp))
            else:
                ((_, at),) = places
                found.append(replies[at])
        return found


def roams(command: Command, argv: Sequence[bytes]) -> bool:
    """Tell whether a command may need keys that only its run can name."""
    if not command.roams:
        return False
    return command.scope is Scope.SCRIPT or any(b"*" in word for word in argv[2:])


class _Planner:
    def __init__(self, workers: int, home: int, owner: Callable[[bytes], int]) -> None:
        self.plan = Plan()
        self._workers, self._home, self._owner = workers, home, owner
        self._keys: dict[int, dict[int, dict[bytes, None]]] = {}  # worker -> db -> keys
        self._wide: set[int] = set()  # workers that lock everything
        self._batches: dict[int, list[tuple[int, tuple[Any, ...]]]] = {}  # since the last fence
        self._ran = 0  # replies of the steps so far

    def lock(self, db: int, key: bytes) -> int:
        worker = self._owner(key)
        self._keys.setdefault(worker, {}).setdefault(db, {})[key] = None
        return worker

    def add(self, argv: list[bytes], context: Context, slot_owner: Callable[[int], int]) -> None:
        command = resolve(argv)
        db, resp, reader = split_context(context)

        def item(executor: int, everything: bool = False) -> tuple[Any, ...]:
            return (argv, resp, db, executor, (), everything, (), None, reader)

        plan = self.plan
        ordinal = len(plan.commands)
        plan.commands.append((command, resp))
        plan.places.append([])
        if is_wide(command):
            spanning = command.spanning
            assert spanning is not None
            if spanning.locks is not LockScope.NOTHING:
                self._wide.update(range(self._workers))
            self.fence()
            for worker in range(self._workers):
                self._step(worker, (), [(ordinal, item(worker))])
            return
        if command.route is not None:  # SCAN
            worker = slot_owner(command.route(argv))
            self._keys.setdefault(worker, {})
            self._batch(worker, ordinal, item(worker))
            return
        keys = [argv[at] for at in command.spec.key_positions(argv)]
        owners = {self.lock(db, key) for key in keys}
        if spans_databases(command, argv, db):
            self._wide.update(owners)
        if roams(command, argv):  # it may turn out to need any keys: all are locked for it
            self._wide.update(range(self._workers))
            first = executor_key(command, argv)
            executor = self._home if first is None else self._owner(first)
            self.fence()
            lenders = tuple(sorted(owners - {executor}))
            self._step(executor, lenders, [(ordinal, item(executor, True))])
            return
        if not owners:
            self._keys.setdefault(self._home, {})
            owners = {self._home}
        if len(owners) == 1:
            worker = owners.pop()
            self._batch(worker, ordinal, item(worker))
            return
        first = executor_key(command, argv)
        assert first is not None
        executor = self._owner(first)
        self.fence()
        lenders = tuple(sorted(owners - {executor}))
        self._step(executor, lenders, [(ordinal, item(executor))])

    def _batch(self, worker: int, ordinal: int, item: tuple[Any, ...]) -> None:
        self._batches.setdefault(worker, []).append((ordinal, item))

    def fence(self) -> None:
        """Let what came so far run before what comes."""
        batches, self._batches = self._batches, {}
        for worker, items in batches.items():
            self._step(worker, (), items)

    def _step(
        self, executor: int, lenders: tuple[int, ...], items: list[tuple[int, tuple[Any, ...]]]
    ) -> None:
        blob = marshal.dumps([item for _, item in items], MARSHAL_VERSION)
        self.plan.steps.append((executor, lenders, blob))
        for ordinal, _ in items:
            self.plan.places[ordinal].append((executor, self._ran))
            self._ran += 1

    def finish(self) -> Plan:
        self.fence()
        locks = self.plan.locks
        for worker in {*self._keys, *self._wide}:
            dbs = self._keys.get(worker, {})
            if worker in self._wide or len(dbs) > 1:
                locks[worker] = EVERYTHING
            else:
                ((db, keys),) = dbs.items() or (((0), {}),)
                locks[worker] = db, tuple(keys)
        if not self.plan.steps:  # nothing was queued, but keys of several partitions are watched
            self._step(min(locks), (), [])
        return self.plan


def plan_of(
    items: Sequence[Any],
    watched: Sequence[tuple[int, bytes]],
    *,
    workers: int,
    home: int,
    owner: Callable[[bytes], int],
    slot_owner: Callable[[int], int],
) -> Plan:
    """Plan a transaction.

    Args:
        items: argvs, each under the last context before it; the first is a context.
        watched: database and key of all that is watched: locked too.
        workers: how many there are.
        home: where a command without keys runs.
        owner: key -> worker; slot_owner: slot -> worker.
    """
    planner = _Planner(workers, home, owner)
    for db, key in watched:
        planner.lock(db, key)
    context: Context = (0, 2)
    for item in items:
        if item.__class__ is tuple:
            context = item
        else:
            planner.add(item, context, slot_owner)
    return planner.finish()
