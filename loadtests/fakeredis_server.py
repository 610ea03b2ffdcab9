"""fakeredis's TCP server as a process of its own: prints `Listening on 127.0.0.1:PORT`."""

from fakeredis import TcpFakeServer


class Server(TcpFakeServer):
    """TcpFakeServer that lets 50 clients connect at once."""

    # socketserver's 5 overflows when redis-benchmark connects: clients then wait 3 s for the
    # retransmitted SYN, or are reset, and that would be measured instead of the server.
    request_queue_size = 512


def main() -> None:
    """Serve on a free loopback port until killed."""
    server = Server(("127.0.0.1", 0))
    print(f"Listening on 127.0.0.1:{server.server_address[1]}", flush=True)
    print("Ready to accept connections", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
