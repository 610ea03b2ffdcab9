"""Listening sockets: what binds, what is refused and why, and what an accepted connection tells."""

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from shoal.proto.directives import Config
from shoal.proto.limits import ACCEPTS_PER_TURN
from shoal.supervisor.listener import (
    Arrival,
    Listener,
    ListenError,
    listen_unix,
    open_all,
    remove_socket,
)


@pytest.fixture
def folder() -> Iterator[str]:
    # Not tmp_path: a unix socket's path may not exceed 107 bytes.
    with tempfile.TemporaryDirectory(prefix="shoal-") as directory:
        yield directory


def config_of(*bind: bytes, port: int = 0, **more: bytes) -> Config:
    config = Config()
    config.set_at_start(b"bind", list(bind) or [b""])
    config.set_at_start(b"port", [b"%d" % port])
    for name, value in more.items():
        config.set_at_start(name.replace("_", "-").encode(), [value])
    return config


@contextmanager
def opened(config: Config) -> Iterator[list[Listener]]:
    listeners = open_all(config)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


def accept(listener: Listener, keepalive_s: int = 0) -> list[Arrival]:
    listener.sock.setblocking(True)  # so that the one that is on its way is waited for
    listener.sock.settimeout(30)
    first = listener.sock.accept()[0]
    first.close()
    listener.sock.setblocking(False)
    return listener.accept_some(keepalive_s)


# -- TCP -------------------------------------------------------------------------------------------


def test_with_port_0_all_addresses_share_the_port_the_kernel_chose() -> None:
    with opened(config_of(b"127.0.0.1", b"127.0.0.2")) as listeners:
        first, other = listeners
        assert first.port == other.port > 0
        assert first.name == f"127.0.0.1:{first.port}"
        assert other.name == f"127.0.0.2:{first.port}"


def test_no_address_is_no_listener() -> None:
    with opened(config_of()) as listeners:
        assert listeners == []


@pytest.mark.parametrize("address", [b"::1", b"-::1"])
def test_ipv6_is_shown_in_brackets(address: bytes) -> None:
    with opened(config_of(address)) as (listener,):
        assert listener.name == f"[::1]:{listener.port}"


def test_every_address_of_both_families_at_once() -> None:
    with opened(config_of(b"*", b"-::*")) as listeners:
        assert listeners[0].name == f"0.0.0.0:{listeners[0].port}"
        assert [other.name for other in listeners[1:]] == [f"[::]:{listeners[0].port}"]


def test_a_port_in_use_is_named_and_nothing_stays_open() -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        expected = (
            f"Could not create server TCP listening socket 127.0.0.2:{port}: bind: Address already"
            " in use"
        )
        with pytest.raises(ListenError) as caught:
            open_all(config_of(b"127.0.0.1", b"127.0.0.2", port=port))
        assert str(caught.value) == expected
        socket.create_server(("127.0.0.1", port)).close()  # the first was let go again


ABSENT = "192.0.2.1"  # of TEST-NET-1: no machine has it


def test_an_address_that_this_machine_lacks() -> None:
    expected = rf"listening socket {ABSENT}:0: bind: Cannot assign requested address"
    with pytest.raises(ListenError, match=expected):
        open_all(config_of(ABSENT.encode()))


def test_an_optional_address_that_this_machine_lacks_is_left_out() -> None:
    with opened(config_of(b"-" + ABSENT.encode(), b"127.0.0.1")) as (listener,):
        assert listener.name.startswith("127.0.0.1:")


def test_an_optional_address_whose_port_is_in_use_is_refused_all_the_same() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match="Address already in use"):
            open_all(config_of(b"-127.0.0.1", port=port))


@pytest.mark.parametrize("optional", [False, True])
def test_a_name_that_is_no_address(optional: bool) -> None:
    config = config_of(b"-" * optional + b"no-such-host.invalid", b"127.0.0.1")
    if optional:
        with opened(config) as listeners:
            assert len(listeners) == 1
    else:
        with pytest.raises(ListenError, match=r"socket no-such-host\.invalid:0: "):
            open_all(config)


@pytest.mark.parametrize("keepalive_s", [0, 300])
def test_what_an_arrival_tells(keepalive_s: int) -> None:
    with opened(config_of(b"127.0.0.1")) as (listener,), ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", listener.port)))
            for _ in range(2)
        ]
        (arrival,) = accept(listener, keepalive_s)
        with arrival.sock as sock:
            assert not sock.getblocking()
            assert arrival.addr == b"%b:%d" % (b"127.0.0.1", clients[1].getsockname()[1])
            assert arrival.laddr == b"127.0.0.1:%d" % listener.port
            assert (arrival.is_unix, arrival.is_local) == (False, True)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) == bool(
                keepalive_s
            )
            if keepalive_s:
                options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                times = [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options]
                assert times == [300, 100, 3]


def test_a_flood_is_accepted_in_parts() -> None:
    with opened(config_of(b"127.0.0.1")) as (listener,), ExitStack() as stack:
        count = ACCEPTS_PER_TURN + 20
        for _ in range(count + 1):
            stack.enter_context(socket.create_connection(("127.0.0.1", listener.port)))
        sizes = []
        for arrivals in (accept(listener), listener.accept_some(0), listener.accept_some(0)):
            sizes.append(len(arrivals))
            for arrival in arrivals:
                arrival.sock.close()
        assert sizes == [ACCEPTS_PER_TURN, 20, 0]


class Broken:
    """A listening socket whose calls end as told."""

    def __init__(self, *outcomes: object) -> None:
        self._outcomes = list(outcomes)

    def accept(self) -> object:
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    def close(self) -> None:
        pass


def test_descriptors_that_run_out_are_told_when_nobody_was_accepted() -> None:
    ours, theirs = socket.socketpair()
    exhausted = OSError(24, "Too many open files")
    aborted = OSError(103, "Software caused connection abort")
    broken = Broken(aborted, (ours, ""), exhausted, exhausted)
    listener = Listener(broken, "unix:/s", 0, "/s")  # type: ignore[arg-type]
    assert [arrival.sock for arrival in listener.accept_some(0)] == [ours]
    with pytest.raises(OSError, match="Too many open files"):
        listener.accept_some(0)
    ours.close()
    theirs.close()


# -- unix sockets ----------------------------------------------------------------------------------


def test_a_unix_socket_and_its_arrivals(folder: str) -> None:
    path = f"{folder}/s"
    with opened(config_of(unixsocket=path.encode(), dir=folder.encode())) as (listener,):
        assert (listener.name, listener.port) == (f"unix:{path}", 0)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            (arrival,) = listener.accept_some(300)
            shown = path.encode() + b":0"
            assert arrival[1:] == (shown, shown, True, True)
            arrival.sock.close()
    assert not Path(path).exists()


@pytest.mark.parametrize(("directive", "mode"), [(b"700", 0o700), (b"660", 0o660), (b"777", 0o777)])
def test_unixsocketperm(folder: str, directive: bytes, mode: int) -> None:
    path = f"{folder}/s"
    umask = os.umask(0o022)
    try:
        config = config_of(unixsocket=path.encode(), unixsocketperm=directive, dir=folder.encode())
        with opened(config):
            assert stat.S_IMODE(os.stat(path).st_mode) == mode
        assert os.umask(0o022) == 0o022  # it was put back
    finally:
        os.umask(umask)


def test_without_unixsocketperm_the_umask_decides(folder: str) -> None:
    umask = os.umask(0o027)
    try:
        listen_unix(f"{folder}/s", 5, None).close()
        assert stat.S_IMODE(os.stat(f"{folder}/s").st_mode) == 0o750
    finally:
        os.umask(umask)


def test_the_socket_of_a_dead_server_is_replaced(folder: str) -> None:
    path = f"{folder}/s"
    listen_unix(path, 5, None).close()  # nobody has removed it
    assert Path(path).is_socket()
    with listen_unix(path, 5, None), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


@pytest.mark.parametrize("waiting", [0, 2], ids=["idle", "with a full backlog"])
def test_the_socket_of_a_live_server_is_not(folder: str, waiting: int) -> None:
    path = f"{folder}/s"
    with listen_unix(path, 1, None) as live, ExitStack() as stack:
        for _ in range(waiting):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect(path)
        expected = f"Opening Unix socket {path}: a live server listens there"
        with pytest.raises(ListenError) as caught:
            listen_unix(path, 1, None)
        assert str(caught.value) == expected
        live.accept()[0].close()  # it still listens


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_socket_is_left_alone(folder: str, kind: str) -> None:
    path = Path(folder) / "s"
    if kind == "file":
        path.write_text("precious")
    else:
        path.mkdir()
    with pytest.raises(ListenError, match="there is a file of that name, and it is no socket"):
        listen_unix(str(path), 5, None)
    assert path.is_dir() if kind == "folder" else path.read_text() == "precious"


def test_a_unix_socket_in_no_folder_closes_what_was_bound(folder: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = config_of(b"127.0.0.1", port=port, unixsocket=f"{folder}/none/s".encode())
    with pytest.raises(ListenError, match=r"Opening Unix socket .*: No such file or directory"):
        open_all(config)
    socket.create_server(("127.0.0.1", port)).close()


def test_removing_what_has_gone_is_no_error(folder: str) -> None:
    remove_socket(f"{folder}/s")
