r"""Tables of commands, run on a real redis-server and on Shoal, replies compared byte for byte.

A file of tests is a table and one function:

    from support.differential import Case, Compare, Table, cases, near, unordered

    GETDEL: Table = {
        "missing key": ["GETDEL k"],
        "deletes what it gives": ["SET k v", "GETDEL k", "EXISTS k"],
        "any bytes": [r'SET k "a\x00\r\nb"', (b"GETDEL", b"k"), (b"SET", b"k", b"\xff" * 9)],
        "keys in any order": ["MSET a 1 b 2", unordered("KEYS *")],
        "a relative expire": ["SET k v PX 90000", near(5000, "PTTL k")],
        "newer than some": Case("HSET h f v", "HGETEX h FIELDS 1 f", since="8.0"),
    }

    @pytest.mark.parametrize("script", cases(GETDEL))
    def test_getdel(script: Case, compare: Compare) -> None:
        compare(script)

Each case runs four times, with 1 and with 3 workers (fixture `subject`) and in RESP2 and in RESP3
(fixture `resp`), on an empty keyspace and over fresh connections. Its steps are:

- a line with redis-cli's quoting, or a tuple of bytes, which is the argv as it is;
- `unordered(line)`: arrays, sets and maps compared as sorted, at every depth (KEYS, SMEMBERS);
  `pairs(line)`: the same for a flat RESP2 array of pairs (HGETALL, CONFIG GET);
- `near(by, line)`: integers may differ by this much; anything else must be equal;
- `mask(regex, line)`: what the regex matches, and every length of a bulk, is not compared;
- `shape(line)`: only types and counts are compared (TIME, CLIENT ID);
- `head(line)`: only the type, and of an error the first word (where the rest is our own wording);
- `raw(data, replies=1)`: bytes as they are, answered by so many replies;
- `closes(data)`: bytes after which the server closes: all that comes until then is compared;
- `sends(line)`: expects no reply yet; `reply()`: reads one that is due (blocking, pub/sub);
- `until(regex, line)`: repeats the line until its reply holds the regex; it is not compared;
- `on("b", step)`: any of these over a further connection, opened when it is first named.

An argument `<id:b>` stands for the client id of connection "b", which is another on each server.

`Case(*steps, since=..., resp=..., cleanup=...)` says more about a case: the Redis version that
first behaves so (skipped beside an older one), the only protocol to run in, and lines that put back
what FLUSHALL does not (CONFIG SET, ACL); they run on both servers even when the case fails.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.raw import RawClient, bulk_text, pack, split_line, split_reply
from support.servers import Server, Shoal, wait_until

Line = str | tuple[bytes, ...]


@dataclass(frozen=True)
class Step:
    """Bytes to send over one connection, and how the replies are compared.

    Attributes:
        shown: the step in a failure's message.
        replies: how many to read; None for all until the server closes.
        alike: whether (Redis's reply, ours) count as the same.
        until: the step is repeated until the reply holds this.
    """

    shown: str
    data: bytes
    replies: int | None = 1
    client: str = "a"
    alike: Callable[[bytes, bytes], bool] = bytes.__eq__
    until: re.Pattern[bytes] | None = None


class Case:
    """The steps of one case, and when it applies. Iterating yields the steps."""

    def __init__(
        self,
        *steps: Step | Line,
        since: str = "",
        resp: int | None = None,
        cleanup: Sequence[Step | Line] = (),
    ) -> None:
        self.steps = [_step(step) for step in steps]
        self.since = since
        self.resp = resp
        self.cleanup = [_step(step) for step in cleanup]


Table = Mapping[str, Case | Sequence[Step | Line]]


def cases(*tables: Table) -> list[Any]:
    """Return one pytest.param per case of the tables, named after it."""
    return [
        pytest.param(case if isinstance(case, Case) else Case(*case), id=name)
        for table in tables
        for name, case in table.items()
    ]


def _step(step: Step | Line) -> Step:
    if isinstance(step, Step):
        return step
    if isinstance(step, str):
        return Step(step, pack(*split_line(step)))
    return Step(b" ".join(step)[:200].decode(errors="backslashreplace"), pack(*step))


def _normalised(step: Step | Line, normalise: Callable[[bytes], bytes]) -> Step:
    return dataclasses.replace(_step(step), alike=lambda a, b: normalise(a) == normalise(b))


def unordered(step: Step | Line) -> Step:
    """Compare arrays, sets and maps without their order, at every depth."""
    return _normalised(step, lambda reply: _sorted(reply, False))


def pairs(step: Step | Line) -> Step:
    """Compare pairs, flat in RESP2 and a map in RESP3, without the order of the pairs."""
    return _normalised(step, lambda reply: _sorted(reply, True))


def _sorted(reply: bytes, by_pair: bool) -> bytes:
    header, items = split_reply(reply)
    items = [_sorted(item, False) for item in items]
    if by_pair or header[:1] == b"%":
        items = [b"".join(pair) for pair in zip(items[::2], items[1::2], strict=True)]
    return header + b"".join(sorted(items))


def near(by: int, step: Step | Line) -> Step:
    """Let integers, or those in arrays, differ by this much: what is left of a relative time."""
    times = re.compile(rb"(?m)^:(\d+)\r$")  # -1 and -2 are answers, not times

    def alike(theirs: bytes, ours: bytes) -> bool:
        if times.sub(b":*", theirs) != times.sub(b":*", ours):
            return False
        both = zip(times.findall(theirs), times.findall(ours), strict=True)
        return all(abs(int(his) - int(our)) <= by for his, our in both)

    return dataclasses.replace(_step(step), alike=alike)


def mask(regex: bytes | str, step: Step | Line) -> Step:
    """Replace what the regex matches by '*', and every length of a bulk, before comparing."""
    expression = re.compile(regex.encode() if isinstance(regex, str) else regex)

    def normalise(reply: bytes) -> bytes:
        return re.sub(rb"(?m)^([$=!])\d+\r$", rb"\1*\r", expression.sub(b"*", reply))

    return _normalised(step, normalise)


def shape(step: Step | Line) -> Step:
    """Compare types and counts only."""
    return _normalised(step, _shape)


def _shape(reply: bytes) -> bytes:
    header, items = split_reply(reply)
    return (header if items else header[:1]) + b"".join(map(_shape, items))


def head(step: Step | Line) -> Step:
    """Compare the reply's type, and of an error the first word (WRONGTYPE, ERR, NOPERM)."""
    return _normalised(step, lambda r: r.split()[0] if r[:1] in b"-!" else r[:1])


def raw(data: bytes, replies: int = 1) -> Step:
    """Send bytes as they are, which are answered by so many replies."""
    return Step(repr(data[:200])[1:], data, replies)


def closes(step: Step | Line | bytes) -> Step:
    """Send bytes or a command after which the server must close; compare all that it says."""
    return dataclasses.replace(raw(step) if isinstance(step, bytes) else _step(step), replies=None)


def sends(step: Step | Line) -> Step:
    """Send a command that is not answered yet, or never."""
    return dataclasses.replace(_step(step), replies=0)


def until(regex: bytes | str, step: Step | Line) -> Step:
    """Repeat a step until its reply holds what the regex matches; the replies may differ."""
    expression = re.compile(regex.encode() if isinstance(regex, str) else regex)
    return dataclasses.replace(_step(step), until=expression, alike=lambda _theirs, _ours: True)


def blocked(count: int) -> Step:
    """Wait until so many clients are blocked; asked over a connection of its own."""
    return on("(the one that asks)", until(rf"blocked_clients:{count}\r", "INFO clients"))


def reply(count: int = 1) -> Step:
    """Read replies that are due without sending anything."""
    return Step(f"({count} more replies)", b"", count)


def on(client: str, step: Step | Line) -> Step:
    """Run the step over the connection of this name; the first of a case is "a"."""
    return dataclasses.replace(_step(step), client=client)


_ID = re.compile(rb"\$\d+\r\n<id:(\w+)>\r\n")


@dataclass
class Talk:
    """The connections of one case with one server."""

    server: Server
    resp: int
    clients: dict[str, RawClient] = field(default_factory=dict)
    ids: dict[str, bytes] = field(default_factory=dict)

    def run(self, step: Step) -> bytes:
        """Send the step and return its replies, concatenated."""
        if step.until is not None:
            return self._repeat(step, step.until)
        client = self.clients.get(step.client)
        if client is None:
            client = self.clients[step.client] = self.server.client()
            if self.resp == 3:
                client.call(b"HELLO", b"3")
        client.send(_ID.sub(self._client_id, step.data))
        if step.replies is None:
            return client.read_until_closed()
        return b"".join([client.read_reply() for _ in range(step.replies)])

    def _client_id(self, named: re.Match[bytes]) -> bytes:
        name = named[1].decode()
        if name not in self.ids:
            self.ids[name] = self.run(on(name, "CLIENT ID"))[1:-2]
        return pack(self.ids[name]).split(b"\r\n", 1)[1]

    def _repeat(self, step: Step, until: re.Pattern[bytes]) -> bytes:
        once = dataclasses.replace(step, until=None)
        reply = b""

        def holds() -> bool:
            nonlocal reply
            reply = self.run(once)
            return until.search(reply) is not None

        wait_until(holds, f"{step.shown}: {until.pattern!r}")
        return reply

    def finish(self) -> None:
        """Close every connection and wait until the server has done so too."""
        for client in self.clients.values():
            client.finish()
        self.clients.clear()
        self.ids.clear()


# With these braces the keys of a case have a hash tag; with those they have none.
_TAG, _NO_TAG = b"{t}", b"<t>"
_NOT_SPREAD = re.compile(rb"(?i)\r\nDEBUG")


class Compare:
    """Run a case on both servers and insist on equal replies. The fixture `compare` is one.

    With several workers, a case whose keys have the hash tag {t} is run twice: as it is, and with
    keys that lie anywhere.
    """

    def __init__(self, oracle: Server, subject: Server, resp: int) -> None:
        self.oracle = oracle
        self.subject = subject
        self.resp = resp
        self.version = version_of(oracle)

    def __call__(self, case: Case | Sequence[Step | Line]) -> None:
        case = case if isinstance(case, Case) else Case(*case)
        if _version(case.since) > self.version:
            pytest.skip(f"since Redis {case.since}, and the oracle is {self.version}")
        if case.resp not in (None, self.resp):
            pytest.skip(f"this case is about RESP{case.resp}")
        self._run(case, case.steps)
        if isinstance(self.subject, Shoal) and self.subject.workers > 1:
            data = b"".join([step.data for step in case.steps])
            if _TAG in data and not _NOT_SPREAD.search(data):
                self._run(case, [_without_tag(step) for step in case.steps])

    def _run(self, case: Case, steps: Sequence[Step]) -> None:
        theirs, ours = Talk(self.oracle, self.resp), Talk(self.subject, self.resp)
        flush = Step("FLUSHALL", pack(b"FLUSHALL"))
        try:
            self._compare([flush, *steps], theirs, ours)
        finally:
            for talk in (theirs, ours):
                talk.finish()
                for step in case.cleanup:
                    talk.run(step)
                talk.finish()

    def _compare(self, steps: Iterable[Step], theirs: Talk, ours: Talk) -> None:
        said: list[str] = []
        for step in steps:
            said.append(f"{step.client}> {step.shown}")
            replies = []
            for name, talk in (("redis", theirs), ("shoal", ours)):
                try:
                    replies.append(talk.run(step))
                except (OSError, EOFError) as error:
                    said.append(f"  {name} {error!r}; its last lines:")
                    said += talk.server.output.splitlines()[-40:]
                    pytest.fail("\n".join(said), pytrace=False)
                said.append(f"  {name} {_brief(replies[-1])}")
            if not step.alike(*replies):
                pytest.fail("\n".join(said), pytrace=False)
            said.pop()  # the same again


def _without_tag(step: Step) -> Step:
    shown = step.shown.replace(_TAG.decode(), _NO_TAG.decode())
    return dataclasses.replace(step, shown=shown, data=step.data.replace(_TAG, _NO_TAG))


def _brief(reply: bytes) -> str:
    return repr(reply) if len(reply) <= 2000 else f"{reply[:2000]!r}... ({len(reply)} bytes)"


def version_of(server: Server) -> tuple[int, ...]:
    """Return redis_version of a server as numbers, (8, 2, 3)."""
    info = bulk_text(server.raw("INFO server"))
    found = re.search(rb"redis_version:([\d.]+)", info)
    assert found is not None, info
    return _version(found[1].decode())


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("."))) if text else ()
