"""Makes worker processes: the pipes between all of them, the fork, and their end.

The supervisor keeps no end of a pipe between two workers: the forked inherit them, and who lives
already gets its two ends over its channel. So a pipe breaks when one of its two workers dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import socket
import stat
import sys
import traceback
from collections.abc import Callable
from typing import Final, NamedTuple

from shoal.proto.limits import PIPE_BYTES
from shoal.worker.main import run as run_worker

Ends = tuple[int, int]
"""What one process has of a pair of pipes: where it reads, where it writes."""


class Child(NamedTuple):
    """A worker that was forked.

    Attributes:
        pid: of the process.
        ends: our ends of the two pipes to it.
        channel: our end of the socketpair to it.
    """

    pid: int
    ends: Ends
    channel: socket.socket


def pipe_pair() -> tuple[Ends, Ends]:
    """Make two pipes, one in each direction, and return both sides' ends, all non-blocking."""
    first_read, second_write = _pipe()
    try:
        second_read, first_write = _pipe()
    except OSError:
        close_ends((first_read, second_write))
        raise
    return (first_read, first_write), (second_read, second_write)


def _pipe() -> Ends:
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    # Over the user's share (pipe-user-pages-soft) it stays small, which only means more reads.
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return read_fd, write_fd


def close_ends(ends: Ends) -> None:
    """Close both descriptors of one side."""
    for fd in ends:
        os.close(fd)


def fork_worker(
    index: int,
    mesh: dict[int, Ends],
    facts: dict[str, object],
    kept: set[int],
    in_child: Callable[[], None],
) -> Child:
    """Fork a worker.

    Args:
        index: its number.
        mesh: its ends of the pipes to its peers; the caller closes them here afterwards.
        facts: what `shoal.worker.main.run` takes besides its number and descriptors, by name.
        kept: other descriptors that the child keeps: the log's, which may be a pipe or terminal.
        in_child: called first thing in the child, to undo what only the supervisor needs.
    Raises: OSError.
    """
    with contextlib.ExitStack() as made:
        ours, theirs = pipe_pair()
        made.callback(close_ends, ours)
        made.callback(close_ends, theirs)
        our_channel, their_channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        made.callback(our_channel.close)
        made.callback(their_channel.close)
        our_channel.setblocking(False)
        their_channel.setblocking(False)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        made.pop_all()  # no error: all of it stays open
    if pid:
        close_ends(theirs)
        their_channel.close()
        return Child(pid, ours, our_channel)
    # The child never returns into the supervisor's code, whatever happens.
    code = 1
    try:
        in_child()
        wanted = {fd for ends in mesh.values() for fd in ends}
        _close_others({0, 1, 2, *kept, *wanted, *theirs, their_channel.fileno()})
        # The objects of the supervisor stay: no pass of the collector shall look at them, or write
        # to their pages.
        gc.disable()
        gc.freeze()
        code = run_worker(index, mesh, theirs, their_channel, **facts)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _close_others(keep: set[int]) -> None:
    """Close every socket, pipe and poll that is not ours; files stay: the lock."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd not in keep:
            # One of them is gone already: that of the folder that was listed.
            with contextlib.suppress(OSError):
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    os.close(fd)


EXIT_NAMES: Final = {number.value: number.name for number in signal.Signals}


def reap() -> list[tuple[int, int]]:
    """Return pid and exit code (-N after signal N) of the children that have ended."""
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended.append((pid, os.waitstatus_to_exitcode(status)))


def exit_text(code: int) -> str:
    """Say how a process ended: `exit code 1`, or `SIGKILL`."""
    return f"exit code {code}" if code >= 0 else EXIT_NAMES.get(-code, f"signal {-code}")


def kill(pid: int) -> None:
    """End a child at once; it may have ended already, and is reaped as ever."""
    os.kill(pid, signal.SIGKILL)
