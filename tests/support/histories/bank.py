"""Checker of a bank: money that moves between accounts, and tokens between lists and sets.

- Every read of all accounts shows the same total, and no account below zero.
- In the end each account has what the acknowledged transfers make of it, give or take those of
  unknown outcome.
- Every read of all places shows each token once.
- A token that one names (SMOVE) is an object by itself, and what is heard of it is linearizable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from support import linearizability
from support.histories.history import Anomaly, Call, Outcome
from support.linearizability import Operation

GONE = "gone"


class Transfer(NamedTuple):
    """Of money; its reply tells whether the source had as much."""

    source: int
    target: int
    amount: int


class Balances(NamedTuple):
    """A read of all accounts at once; its reply is a tuple of their amounts."""


class Move(NamedTuple):
    """Of a token (SMOVE); its reply tells whether it was at the source."""

    source: int
    target: int
    token: int


class MoveAny(NamedTuple):
    """Of the token at an end of a list (LMOVE); its reply is the token, None if there was none."""

    source: int
    target: int


class Places(NamedTuple):
    """A read of all lists, or all sets, at once; its reply is a tuple of tuples of tokens."""

    lists: bool


Deed = Transfer | Balances | Move | MoveAny | Places


class Start(NamedTuple):
    """What there is when the history begins.

    Attributes:
        amounts: of each account.
        lists, sets: the tokens in each of them.
    """

    amounts: tuple[int, ...]
    lists: tuple[tuple[int, ...], ...]
    sets: tuple[tuple[int, ...], ...]


def check(start: Start, history: Sequence[Call[Deed]], ending: Call[Deed]) -> list[Anomaly]:
    """Return what is wrong with a history; `ending` is a read of Balances after all else."""
    anomalies = []
    for call in (*history, ending):
        if call.outcome is Outcome.DONE:
            if isinstance(call.what, Balances):
                anomalies += _check_balances(start, call)
            elif isinstance(call.what, Places):
                anomalies += _check_places(start, call)
    return anomalies + _check_ending(start, history, ending) + _check_tokens(start, history)


def _check_balances(start: Start, call: Call[Deed]) -> list[Anomaly]:
    anomalies = []
    if sum(call.reply) != sum(start.amounts):
        text = f"{sum(call.reply)} instead of {sum(start.amounts)}\n    {call}"
        anomalies.append(Anomaly("wrong total", text))
    if min(call.reply) < 0:
        anomalies.append(Anomaly("overdrawn", str(call)))
    return anomalies


def _check_places(start: Start, call: Call[Deed]) -> list[Anomaly]:
    assert isinstance(call.what, Places)
    given = start.lists if call.what.lists else start.sets
    there = {token for place in given for token in place}
    seen = Counter(token for place in call.reply for token in place)
    anomalies = []
    if missing := sorted(there - seen.keys()):
        anomalies.append(Anomaly("lost tokens", f"{missing}\n    {call}"))
    if twice := sorted(token for token, count in seen.items() if count > 1):
        anomalies.append(Anomaly("doubled tokens", f"{twice}\n    {call}"))
    if alien := sorted(seen.keys() - there):
        anomalies.append(Anomaly("alien tokens", f"{alien}\n    {call}"))
    return anomalies


def _check_ending(start: Start, history: Iterable[Call[Deed]], ending: Call[Deed]) -> list[Anomaly]:
    least, most = list(start.amounts), list(start.amounts)
    for call in history:
        if not isinstance(call.what, Transfer) or call.outcome is Outcome.REFUSED:
            continue
        source, target, amount = call.what
        if call.outcome is Outcome.UNKNOWN:
            least[source] -= amount
            most[target] += amount
        elif call.reply:
            for bound in (least, most):
                bound[source] -= amount
                bound[target] += amount
    return [
        Anomaly("wrong balance", f"account {at} has {amount}, not {low} to {high}")
        for at, (low, amount, high) in enumerate(zip(least, ending.reply, most, strict=True))
        if not low <= amount <= high
    ]


class _Token:
    """The object: in which set a token is."""

    def __init__(self, place: int) -> None:
        self.place = place

    def initial(self) -> int:
        return self.place

    def step(self, state: int, command: Move | Places) -> tuple[int, object]:
        if isinstance(command, Places):
            return state, state
        return (command.target, True) if state == command.source else (state, False)

    def reads(self, command: Move | Places) -> bool:
        return isinstance(command, Places)


def _check_tokens(start: Start, history: Iterable[Call[Deed]]) -> list[Anomaly]:
    of_token: dict[int, list[Operation]] = {t: [] for place in start.sets for t in place}
    for call in history:
        what = call.what
        if isinstance(what, Move) and call.outcome is not Outcome.REFUSED:
            operation = Operation(call.client, what, call.called, call.returned, call.reply)
            of_token[what.token].append(operation)
        elif what == Places(lists=False) and call.outcome is Outcome.DONE:
            where = {token: at for at, place in enumerate(call.reply) for token in place}
            for token, operations in of_token.items():
                at = where.get(token, GONE)
                operations.append(Operation(call.client, what, call.called, call.returned, at))
    anomalies = []
    for at, place in enumerate(start.sets):
        for token in place:
            verdict = linearizability.check(of_token[token], _Token(at))
            if not verdict:
                text = f"token {token}\n{verdict.explain(of_token[token])}"
                anomalies.append(Anomaly("not linearizable", text))
    return anomalies
