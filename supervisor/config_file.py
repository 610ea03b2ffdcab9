r"""Make the Config of `shoal serve [file] [--directive value ...]`, by the rules of redis-server.

A file has a directive on each line, `name argument ...`. Empty lines and lines that start with `#`
are skipped (a `#` further on is an argument like any other). Arguments are quoted as in redis.conf:
"a\x00\n\"", 'it\'s', plain. `include path` reads other files (glob patterns may match none) as if
they stood there. Options come after the file and read as its last lines; a later line wins, but for
the directives that add up (see directives.py).

What cannot be right stops the start: ConfigFileError says where, which line, and why.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
from collections.abc import Sequence
from importlib.metadata import version

from shoal.proto.directive_types import DirectiveError, Mutability, check_socket_path
from shoal.proto.directives import BY_NAME, DIRECTIVES, Config
from shoal.proto.limits import MAX_CONFIG_FILE_BYTES, MAX_INCLUDE_DEPTH
from shoal.proto.quoting import quote_arg, split_args

_COMMAND_LINE = "the command line"


class ConfigFileError(Exception):
    """The configuration cannot be used; the message is all the lines to print."""


def load(args: Sequence[str]) -> Config:
    """Return the configuration of `shoal serve ARGS`.

    Args:
        args: the path of a file unless the first starts with `-`, then options. A word with `--` in
            front is the name of a directive, if the one before has a value already; all else is a
            value.

    `dir` is absolute in the result. The other paths are as given: see Config.in_dir.

    Raises: ConfigFileError.
    """
    words = [os.fsencode(word) for word in args]
    loader = _Loader()
    if words and not words[0].startswith(b"-"):
        path = os.fsdecode(words.pop(0))
        loader.read_file(path, [])
        loader.config.file = os.path.abspath(path)
    for line in _option_lines(words):
        loader.read_line(line, _COMMAND_LINE, [])
    return loader.finish()


def _option_lines(words: list[bytes]) -> list[bytes]:
    """Turn options into lines of a configuration file, as redis-server does."""
    lines: list[bytes] = []
    complete = True  # whether the last line has got a value
    for word in words:
        if word.startswith(b"--") and complete:
            lines.append(word[2:])
            # `--save` alone is `--save ""`, and `--` or "--timeout 5" needs nothing more.
            complete = len(split_args(word[2:]) or ()) != 1 or word.lower() == b"--save"
        elif not lines:
            raise _error(f"Reading {_COMMAND_LINE}", word, "an option starts with --")
        else:
            lines[-1] += b" " + quote_arg(word)
            complete = True
    return [line + b' ""' if line.lower() == b"save" else line for line in lines]


class _Loader:
    """Reads lines into a Config."""

    def __init__(self) -> None:
        self.config = Config()
        self._start_dir = os.getcwd()

    def read_file(self, path: str, including: list[str]) -> None:
        """Read a file; `including` are the places of the `include` lines that led here."""
        if len(including) > MAX_INCLUDE_DEPTH:
            reason = f"more than {MAX_INCLUDE_DEPTH} files include each other"
            raise _error(f"Reading the configuration file {path}", None, reason, including)
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_CONFIG_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            shown = path if including or not path else os.path.abspath(path)
            heading = f"Fatal error, can't open config file '{shown}': {why}"
            raise ConfigFileError("\n".join([heading, *_trail(including)])) from None
        if len(data) > MAX_CONFIG_FILE_BYTES:
            reason = f"it is larger than {MAX_CONFIG_FILE_BYTES} bytes"
            raise _error(f"Reading the configuration file {path}", None, reason, including)
        for number, line in enumerate(data.split(b"\n"), 1):
            where = f"the configuration file {path}, at line {number}"
            self.read_line(line, where, including)

    def read_line(self, line: bytes, where: str, including: list[str]) -> None:
        """Obey one line; `where` names it in errors."""
        line = line.strip(b" \t\r\n")
        if not line or line.startswith(b"#"):
            return
        try:
            self._obey(line, where, including)
        except DirectiveError as error:
            raise _error(f"Reading {where}", line, str(error), including) from None

    def _obey(self, line: bytes, where: str, including: list[str]) -> None:
        words = split_args(line)
        if words is None:
            raise DirectiveError("Unbalanced quotes in configuration line")
        if not words:
            return
        name, args = words[0].lower(), words[1:]
        if name == b"include" and len(args) == 1:
            self._include(os.fsdecode(args[0]), [*including, where])
        elif name in BY_NAME:
            self.config.set_at_start(name, args)
            if name == b"dir":
                self._enter_dir()
        else:
            raise DirectiveError("Bad directive or wrong number of arguments")

    def _include(self, pattern: str, including: list[str]) -> None:
        paths = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
        for path in paths:
            self.read_file(path, including)

    def _enter_dir(self) -> None:
        """Make `dir` absolute, and check that it is a folder this process may enter."""
        config = self.config
        path = os.path.realpath(os.path.join(self._start_dir, config.dir)) if config.dir else ""
        try:
            if not stat.S_ISDIR(os.stat(path).st_mode):
                raise DirectiveError(os.strerror(errno.ENOTDIR))
        except OSError as error:
            raise DirectiveError(error.strerror) from None
        if not os.access(path, os.X_OK):
            raise DirectiveError(os.strerror(errno.EACCES))
        config.set_at_start(b"dir", [os.fsencode(path)])

    def finish(self) -> Config:
        """Return the Config, after the checks that need more than one directive."""
        config = self.config
        if not os.path.isabs(config.dir):
            config.set_at_start(b"dir", [os.fsencode(self._start_dir)])
        for name in ("unixsocket", "control-socket"):
            path = config.get(name)
            try:
                if path:
                    check_socket_path(os.fsencode(config.in_dir(path)))
            except DirectiveError as error:
                heading = f"The directive {name}, in the folder {config.dir}"
                raise _error(heading, None, str(error)) from None
        if config.in_dir(config.unixsocket) == config.in_dir(config.control_socket):
            heading = "The directives unixsocket and control-socket"
            raise _error(heading, None, "they name the same path")
        return config


def _error(
    heading: str, line: bytes | None, reason: str, including: Sequence[str] = ()
) -> ConfigFileError:
    rows = [f"*** FATAL CONFIG FILE ERROR (Shoal {version('shoal')}) ***", heading]
    if line is not None:
        rows.append(f">>> '{line.decode(errors='backslashreplace')}'")
    return ConfigFileError("\n".join([*rows, reason, *_trail(including)]))


def _trail(including: Sequence[str]) -> list[str]:
    return [
        f"included from {where.removeprefix('the configuration file ')}"
        for where in reversed(including)
    ]


def describe_directives() -> str:
    """Return a list of all directives for the help screen: name, default, what it is for."""
    text = ""
    for directive in DIRECTIVES:
        default = directive.render(directive.default).decode() or '""'
        usage = f"  --{directive.name} {default}"
        # A long one has a line to itself.
        usage += "\n" + " " * 36 if len(usage) > 34 else " " * (36 - len(usage))
        mark = " [*]" if directive.mutability is Mutability.MUTABLE else ""
        text += f"{usage}{directive.help}{mark}\n"
    return text
