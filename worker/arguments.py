r"""The arguments of the commands as COMMAND DOCS tells them, which redis-cli makes its hints of.

They are written in a line for each command (`arguments_table.py`), in this notation:

    set key:key value [condition(NX|XX)@2.6.12] [GET@6.2.0]
        [expiration(EX=seconds:integer|PX=milliseconds:integer|KEEPTTL@6.0.0)]

- `value` is an argument of type string; `seconds:integer` one of another type; a `key` or a
  `pattern1` belongs to the key specification of this number, a plain `key` to number 0;
- `EX=seconds:integer` follows the token EX; `GET` is a token alone, and `"~"=approximately:token`
  one whose name is not its text;
- `data(field value)` is a block and `condition(NX|XX)` a choice; either may follow a token;
- `[...]` is optional, `key...` may be repeated, and `key...!` together with its token;
- `@6.2.0` says since when, `@-2.8.12` since when it is deprecated, `"ip:port"` what is displayed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from shoal.proto.replies import Reply, array, bulk, integer, map_reply, set_reply, simple


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument, in the terms of COMMAND DOCS.

    Attributes:
        name, kind: its name and its type (`string`, `key`, `oneof`, `block`, `pure-token`, ...).
        display: what help texts show; None for the name, and for `oneof` and `block`.
        key_spec: index of its key specification, None if it is no key.
        token: the word ahead of it, or that it is.
        since, deprecated_since: versions of Redis, empty if the command's own.
        flags: of `optional`, `multiple` and `multiple_token`, in this order.
        arguments: of a `oneof` or a `block`.
    """

    name: str
    kind: str
    display: str | None = None
    key_spec: int | None = None
    token: str | None = None
    since: str = ""
    deprecated_since: str = ""
    flags: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()

    def reply(self) -> Reply:
        """Return the argument's map, its fields in Redis's order."""
        fields: list[tuple[str, Reply]] = [("name", _text(self.name)), ("type", _text(self.kind))]
        if not self.arguments:
            fields.append(("display_text", _text(self.display or self.name)))
        if self.key_spec is not None:
            fields.append(("key_spec_index", integer(self.key_spec)))
        if self.token is not None:
            fields.append(("token", _text(self.token)))
        if self.since:
            fields.append(("since", _text(self.since)))
        if self.deprecated_since:
            fields.append(("deprecated_since", _text(self.deprecated_since)))
        if self.flags:
            fields.append(("flags", set_reply([simple(flag.encode()) for flag in self.flags])))
        if self.arguments:
            fields.append(("arguments", array([part.reply() for part in self.arguments])))
        return map_reply([(_text(name), value) for name, value in fields])


def _text(text: str) -> bytes:
    return bulk(text.encode())


def arguments_of(name: str) -> tuple[Argument, ...]:
    """Return the arguments of a command or subcommand, by lower-case name (`client|kill`)."""
    return parse(_lines().get(name, ""))


@cache
def _lines() -> dict[str, str]:
    # Imported when somebody asks, by the first COMMAND DOCS: most workers never need it.
    from shoal.worker.arguments_table import ARGUMENTS

    joined = re.sub(r"\n +", " ", ARGUMENTS.strip())
    return dict(line.split(" ", 1) for line in joined.splitlines())


_WORD: Final = re.compile(
    r"""(?:(?:"(?P<quoted>[^"]*)"|(?P<token>[A-Z][A-Z0-9-]*))=)?
        (?P<name>[a-z][a-z0-9-]*) (?::(?P<kind>[a-z-]+)(?P<spec>\d*))? (?:"(?P<display>[^"]*)")?
      | (?P<alone>[A-Z][A-Z0-9-]*)""",
    re.VERBOSE,
)
_SINCE: Final = re.compile(r"@(?P<deprecated>-?)(?P<version>\d+(?:\.\d+)*)")


def parse(notation: str) -> tuple[Argument, ...]:
    """Return the arguments that a line describes. Raises: ValueError if it breaks the notation."""
    parser = _Parser(notation)
    found = tuple(parser.sequence())
    if parser.at < len(notation):
        raise ValueError(f"unexpected {notation[parser.at :]!r} in {notation!r}")
    return found


class _Parser:
    """Recursive descent over one line; `at` is the next character."""

    def __init__(self, notation: str) -> None:
        self.notation = notation
        self.at = 0

    def sequence(self) -> Iterator[Argument]:
        """Yield arguments until a closing bracket, a `|` or the end."""
        self._spaces()
        while self.at < len(self.notation) and self.notation[self.at] not in ")]|":
            if self._skip("["):
                yield self._argument(("optional",))
                self._expect("]")
            else:
                yield self._argument(())
            self._spaces()

    def _argument(self, flags: tuple[str, ...]) -> Argument:
        word = _WORD.match(self.notation, self.at)
        if word is None:
            raise ValueError(f"no argument at {self.notation[self.at :]!r} in {self.notation!r}")
        self.at = word.end()
        kind = word["kind"] or "string"
        token = word["token"] if word["quoted"] is None else word["quoted"]
        name, key_spec = word["name"], None
        parts: tuple[Argument, ...] = ()
        if word["alone"]:
            name, token, kind = word["alone"].lower(), word["alone"], "pure-token"
        elif kind == "token":
            kind = "pure-token"
        elif kind == "key" or word["spec"]:
            key_spec = int(word["spec"] or 0)
        if self._skip("("):
            kind, parts = self._parts()
        since, deprecated_since = self._versions()
        if self._skip("..."):
            flags = (*flags, "multiple")
            if self._skip("!"):
                flags = (*flags, "multiple_token")
        return Argument(
            name, kind, word["display"], key_spec, token, since, deprecated_since, flags, parts
        )

    def _parts(self) -> tuple[str, tuple[Argument, ...]]:
        parts, kind = list(self.sequence()), "block"
        while self._skip("|"):
            kind = "oneof"
            parts += self.sequence()
        self._expect(")")
        return kind, tuple(parts)

    def _versions(self) -> tuple[str, str]:
        since = deprecated_since = ""
        while found := _SINCE.match(self.notation, self.at):
            self.at = found.end()
            if found["deprecated"]:
                deprecated_since = found["version"]
            else:
                since = found["version"]
        return since, deprecated_since

    def _spaces(self) -> None:
        while self._skip(" "):
            pass

    def _skip(self, text: str) -> bool:
        if not self.notation.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def _expect(self, text: str) -> None:
        if not self._skip(text):
            raise ValueError(f"{text!r} missing at {self.notation[self.at :]!r}")
