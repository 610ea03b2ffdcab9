"""Checker of registers: every key by itself is linearizable.

Linearizability is local: a history is linearizable if that of each object is. So keys are looked at
one by one, which also keeps the search short.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from support import linearizability
from support.histories.history import Anomaly, Call, Outcome
from support.linearizability import Operation

OK: Final = "OK"


class Access(NamedTuple):
    """A command on a register.

    Attributes:
        name: GET, SET, SETNX (SET with NX), SETGET (SET with GET), GETDEL, DEL or INCR.
        key: which.
        value: what is set.
    """

    name: str
    key: bytes
    value: int = 0


class Register:
    """The object: an integer, or None where there is no key."""

    def initial(self) -> int | None:
        """Return the state before the first operation."""
        return None

    def step(self, state: int | None, command: Access) -> tuple[int | None, object]:
        """Return the state after a command, and its answer."""
        match command.name:
            case "GET":
                return state, state
            case "SET":
                return command.value, OK
            case "SETNX":
                return (command.value, OK) if state is None else (state, None)
            case "SETGET":
                return command.value, state
            case "GETDEL":
                return None, state
            case "DEL":
                return None, int(state is not None)
            case "INCR":
                value = (state or 0) + 1
                return value, value
        raise AssertionError(f"no such command: {command}")

    def reads(self, command: Access) -> bool:
        """Tell whether a command changes nothing, in no state whatever."""
        return command.name == "GET"


def operations(calls: Iterable[Call[Access]]) -> list[Operation]:
    """Return a history as the search takes it, without what says nothing."""
    return [
        Operation(call.client, call.what, call.called, call.returned, call.reply)
        for call in calls
        if call.outcome is Outcome.DONE
        or (call.outcome is Outcome.UNKNOWN and call.what.name != "GET")
    ]


def check(history: Iterable[Call[Access]]) -> list[Anomaly]:
    """Return an anomaly for each key whose history is not linearizable."""
    of_key: dict[bytes, list[Call[Access]]] = {}
    for call in history:
        of_key.setdefault(call.what.key, []).append(call)
    anomalies = []
    for key, calls in of_key.items():
        found = operations(calls)
        verdict = linearizability.check(found, Register())
        if not verdict:
            anomalies.append(Anomaly("not linearizable", f"{key!r}\n{verdict.explain(found)}"))
    return anomalies
