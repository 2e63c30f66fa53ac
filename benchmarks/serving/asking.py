"""Clients that cost little: requests are written before, replies are not read beyond their success.

The clients share the processors with the server, so what they spend is missing there.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from tests.serving.fuzz import PREDICT

Ask = Callable[[bytes], None]


@contextmanager
def over_grpc(target: str) -> Iterator[Callable[[], Ask]]:
    """Yields what makes a client for each thread; requests are serialized PredictRequests."""
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(PREDICT)

        def ask(request: bytes) -> None:
            call(request, timeout=60)

        yield lambda: ask


@contextmanager
def over_rest(port: int, model: str) -> Iterator[Callable[[], Ask]]:
    """Yields what makes a client for each thread, with a connection of its own; requests are JSON bodies."""
    connections: list[socket.socket] = []
    header = f"POST /v1/models/{model}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: ".encode()

    def connect() -> Ask:
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections.append(connection)

        def ask(request: bytes) -> None:
            connection.sendall(b"%s%d\r\n\r\n%s" % (header, len(request), request))
            reply = connection.recv(65536)
            while (end := reply.find(b"\r\n\r\n")) < 0:
                reply += _more(connection)
            if not reply.startswith(b"HTTP/1.1 200 "):
                raise ValueError(f"expected status 200. Received: {reply[:1000]!r}")
            length = int(reply[:end].split(b"Content-Length: ", 1)[1].split(b"\r", 1)[0])
            left = length - (len(reply) - end - 4)
            while left > 0:
                left -= len(_more(connection))

        return ask

    try:
        yield connect
    finally:
        for connection in connections:
            connection.close()


def _more(connection: socket.socket) -> bytes:
    if not (part := connection.recv(65536)):
        raise ConnectionError("the server closed the connection inside a reply")
    return part


def latencies(clients: Callable[[], Ask], requests: Sequence[bytes], concurrency: int, seconds: float) -> list[float]:
    """Asks from many threads for a time, and returns the seconds that each reply took."""
    end = time.perf_counter() + seconds

    def work(worker: int) -> list[float]:
        ask, start = clients(), time.perf_counter()
        found: list[float] = []
        while start < end:
            ask(requests[(worker + len(found)) % len(requests)])
            now = time.perf_counter()
            found.append(now - start)
            start = now
        return found

    with ThreadPoolExecutor(concurrency) as pool:
        return [each for part in pool.map(work, range(concurrency)) for each in part]
