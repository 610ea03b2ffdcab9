"""The command line: `shoal serve`, `shoal ctl`; `python -m shoal.supervisor` is the same."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version

from shoal.supervisor import config_file, ctl

HELP = """\
Shoal: a server that speaks Redis's protocol and uses every core.

usage: shoal serve [FILE] [--DIRECTIVE VALUE ...] ...
       shoal ctl [--socket PATH] COMMAND
       shoal --version | --help

serve   starts the server in the foreground; SIGTERM or Ctrl-C stops it.
        FILE is in the form of redis.conf. Options are the directives of that file with
        -- in front; they come after the file, and what comes later wins.
ctl     shows what a running server does, and tells it what to do: `shoal ctl --help`.

examples:
  shoal serve                                 port 6379, a worker for each CPU, data in .
  shoal serve --port 7000 --workers 4 --dir /var/lib/shoal --appendfsync always
  shoal serve /etc/shoal.conf --loglevel verbose
  shoal ctl --socket /var/lib/shoal/shoal.sock status --watch
"""

SERVE_HELP = """\
usage: shoal serve [FILE] [--DIRECTIVE VALUE ...] ...

Directives with their defaults; [*] can be changed while the server runs (CONFIG SET).

"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, without the program's name, and return the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    command = args[0] if args else ""
    if command == "serve":
        return _serve(args[1:])
    if command == "ctl":
        return ctl.main(args[1:])
    if command in ("-v", "--version"):
        print(f"shoal {version('shoal')}")
        return 0
    if command in ("-h", "--help"):
        print(HELP, end="")
        return 0
    trouble = f"no such command: {command}" if args else "which command?"
    print(f"shoal: {trouble}\n\n{HELP}", file=sys.stderr, end="")
    return 2


def _serve(args: list[str]) -> int:
    if args in (["-h"], ["--help"]):
        print(SERVE_HELP + config_file.describe_directives(), end="")
        return 0
    try:
        config = config_file.load(args)
    except config_file.ConfigFileError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    # Here, not above: `shoal ctl` and `--version` should not wait for the whole server's modules.
    from shoal.supervisor.serve import run

    return run(config)


if __name__ == "__main__":
    sys.exit(main())
