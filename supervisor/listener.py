"""Listening sockets: bound before the first fork, accepted from while there is room for clients."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import NamedTuple

from shoal.proto.directives import Config
from shoal.proto.limits import ACCEPTS_PER_TURN


class ListenError(Exception):
    """An address cannot be listened on; the text says which and why."""


class Arrival(NamedTuple):
    """A connection that was accepted.

    Attributes:
        sock: non-blocking.
        addr, laddr: either end as CLIENT LIST shows it: `ip:port`, `[ip]:port`, or `path:0`.
        is_unix: it came over the unix socket.
        is_local: from this machine.
    """

    sock: socket.socket
    addr: bytes
    laddr: bytes
    is_unix: bool
    is_local: bool


class Listener:
    """One listening socket.

    Attributes:
        name: `127.0.0.1:6379`, `[::1]:6379` or `unix:/path`.
        port: the TCP port, 0 for a unix socket.
    """

    def __init__(self, sock: socket.socket, name: str, port: int, path: str = "") -> None:
        """Take over a listening socket; `path` is a unix socket's."""
        self.sock = sock
        self.name = name
        self.port = port
        self._path = path

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.sock.fileno()

    def accept_some(self, keepalive_s: int) -> list[Arrival]:
        """Accept up to ACCEPTS_PER_TURN connections; raises OSError when descriptors run out.

        Args:
            keepalive_s: the directive tcp-keepalive.
        """
        arrivals: list[Arrival] = []
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, remote = self.sock.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue  # it has gone before we looked
                if arrivals:
                    break  # they first; the error comes again
                raise
            sock.setblocking(False)
            if self._path:
                shown = os.fsencode(self._path) + b":0"
                arrivals.append(Arrival(sock, shown, shown, True, True))
                continue
            try:
                local = sock.getsockname()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if keepalive_s:
                    set_keepalive(sock, keepalive_s)
            except OSError:
                sock.close()  # reset by the other side meanwhile
                continue
            is_local = remote[0].startswith("127.") or remote[0] in ("::1", "::ffff:127.0.0.1")
            arrivals.append(
                Arrival(sock, _shown(remote).encode(), _shown(local).encode(), False, is_local)
            )
        return arrivals

    def close(self) -> None:
        """Stop listening; remove a unix socket's path."""
        self.sock.close()
        if self._path:
            remove_socket(self._path)


def set_keepalive(sock: socket.socket, seconds: int) -> None:
    """Let TCP ask a client that is silent for so long whether it is there, as Redis does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(seconds // 3, 1))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def _shown(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def open_all(config: Config) -> list[Listener]:
    """Bind everything that the configuration names. Raises: ListenError, with nothing open."""
    listeners: list[Listener] = []
    try:
        port = config.port
        for address in config.bind:
            listener = _open_tcp(address, port, config.tcp_backlog)
            if listener is not None:
                listeners.append(listener)
                port = listener.port  # with port 0, all share the one the kernel chose
        if config.unixsocket:
            path = config.in_dir(config.unixsocket)
            mode = config.unixsocketperm or None
            sock = listen_unix(path, config.tcp_backlog, mode)
            listeners.append(Listener(sock, f"unix:{path}", 0, path))
    except ListenError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _open_tcp(address: str, port: int, backlog: int) -> Listener | None:
    optional = address.startswith("-")
    host = address.removeprefix("-")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if host == "*":
        host = "0.0.0.0"
    elif host == "::*":
        host = "::"
    try:
        found = socket.getaddrinfo(host, port, family if ":" in host else 0, socket.SOCK_STREAM)
        family, kind, protocol, _, target = found[0]
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    except (OSError, UnicodeError) as error:  # a label of a host name may be too long
        if optional:
            return None
        raise ListenError(
            f"Could not create server TCP listening socket {host}:{port}: {error}"
        ) from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(target)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        missing = error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
        if optional and missing:
            return None
        where = _shown((host, port))
        raise ListenError(
            f"Could not create server TCP listening socket {where}: bind: {error.strerror}"
        ) from None
    bound = sock.getsockname()
    return Listener(sock, _shown(bound), bound[1])


def listen_unix(path: str, backlog: int, mode: int | None) -> socket.socket:
    """Listen on a unix socket, in place of one that a dead server has left. Raises: ListenError.

    Args:
        path: absolute.
        backlog: connections that may wait.
        mode: permissions, None for those of the umask.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _clear_place(path)
        # Never open to others, not even between bind and chmod.
        umask = os.umask(0o777 & ~mode) if mode is not None else None
        try:
            sock.bind(path)
        finally:
            if umask is not None:
                os.umask(umask)
        sock.listen(backlog)
    except (OSError, ListenError) as error:
        sock.close()
        why = error.strerror if isinstance(error, OSError) else error
        raise ListenError(f"Opening Unix socket {path}: {why}") from None
    return sock


def _clear_place(path: str) -> None:
    """Remove a socket that nobody listens on any more; refuse anything else that stands there."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError("there is a file of that name, and it is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            remove_socket(path)
            return
        except OSError as error:
            if error.errno != errno.EAGAIN:  # its backlog is full: it lives
                raise
    raise ListenError("a live server listens there")


def remove_socket(path: str) -> None:
    """Delete a unix socket's path; it may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
