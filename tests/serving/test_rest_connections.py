"""REST without a model: slow, many and leaving clients, bodies and replies of any size."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from serving.protocol.errors import RequestError
from serving.server import ServerFlags
from serving.server.metrics import Metrics
from serving.server.rest.handlers import RestHandlers
from serving.server.rest.server import RestServer
from serving.server.work import Work
from tests.waiting import LAST_RESORT, eventually

PATH = "/v1/models/m:predict"


class Handlers:
    """Answers with what it is given; it can be made to wait for a request's end."""

    def __init__(self) -> None:
        self.reply = '{"ok": true}'
        self.waits = False
        self.begun = threading.Event()
        self.ends: list[str] = []

    def answer(self, method: str, path: str, body: bytes, work: Work) -> bytes:
        self.begun.set()
        while self.waits:
            time.sleep(0.001)
            try:
                work.check()
            except RequestError as error:
                self.ends.append(error.code.name)
                raise
        return self.reply.encode()


@contextmanager
def serve(**settings: Any) -> Iterator[tuple[int, Handlers]]:
    handlers = Handlers()
    flags = ServerFlags(model_base_path="/none", **{"rest_api_timeout_in_ms": LAST_RESORT * 1000, **settings})
    server = RestServer(cast(RestHandlers, handlers), Metrics(), flags)
    port = server.start("127.0.0.1", 0)
    try:
        yield port, handlers
    finally:
        handlers.waits = False
        server.stop()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), LAST_RESORT)


def post(port: int, body: bytes = b"{}", **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LAST_RESORT)
    connection.request("POST", PATH, body, headers)
    reply = connection.getresponse()
    status, text = reply.status, json.loads(reply.read())
    connection.close()
    return status, text


def is_closed(client: socket.socket) -> bool:
    """Waits until the server closes the connection."""
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


HEADER = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n".encode()


@pytest.mark.parametrize(
    ("before", "sent"),
    [(b"", b""), (b"", HEADER), (HEADER + b"\r\n{}", HEADER)],
    ids=["nothing", "half a header", "half a header after an answer"],
)
def test_a_header_that_does_not_arrive_ends_the_connection(before: bytes, sent: bytes) -> None:
    with serve(rest_api_header_seconds=0.05) as (port, _), connect(port) as client:
        if before:
            client.sendall(before)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.sendall(sent)
        assert is_closed(client)
        assert post(port) == (200, {"ok": True})


def test_the_time_of_a_header_is_not_that_of_the_request() -> None:
    with serve(rest_api_header_seconds=0.2) as (port, handlers):
        handlers.waits = True
        threading.Timer(0.6, lambda: setattr(handlers, "waits", False)).start()
        assert post(port) == (200, {"ok": True})


def test_connections_beyond_the_limit_are_told_so() -> None:
    """Where all others have requests that run. Otherwise one that waits for its client gives way."""
    with serve(rest_api_max_connections=2) as (port, handlers):
        handlers.waits = True
        held = [connect(port), connect(port)]
        for client in held:
            client.sendall(HEADER + b"\r\n{}")
            assert handlers.begun.wait(LAST_RESORT)
            handlers.begun.clear()
        assert eventually(lambda: _refused(port))
        handlers.waits = False
        assert all(client.recv(65536).startswith(b"HTTP/1.1 200") for client in held)
        assert post(port) == (200, {"ok": True})
        for client in held:
            client.close()


@pytest.mark.parametrize("sent", [b"", b"POST /v1/mod", HEADER + b"\r\n{"])
def test_who_waits_longest_for_its_client_gives_way_to_newcomers(sent: bytes) -> None:
    with serve(rest_api_max_connections=2) as (port, _):
        held = [connect(port) for _ in range(2)]
        for client in held:
            client.sendall(sent)
        assert post(port) == (200, {"ok": True})
        assert is_closed(held[0])
        assert post(port) == (200, {"ok": True})
        held[1].close()


def _refused(port: int) -> bool:
    with connect(port) as client:
        try:
            client.sendall(HEADER + b"\r\n{}")
            reply = client.recv(65536)
        except ConnectionError:
            return True
    if reply.startswith(b"HTTP/1.1 503"):
        assert b"expected at most 2 connections (--rest_api_max_connections)" in reply
        return True
    return not reply


def test_a_client_that_leaves_ends_its_work() -> None:
    with serve() as (port, handlers):
        handlers.waits = True
        with connect(port) as client:
            client.sendall(HEADER + b"\r\n{}")
            assert handlers.begun.wait(LAST_RESORT)
        assert eventually(lambda: handlers.ends == ["CANCELLED"])


def test_the_time_limit_covers_the_run() -> None:
    with serve(rest_api_timeout_in_ms=50) as (port, handlers):
        handlers.waits = True
        assert post(port) == (504, {"error": "expected the request to take at most 0.05 s"})
        assert handlers.ends == ["DEADLINE_EXCEEDED"]


def test_a_client_that_does_not_read_loses_its_connection() -> None:
    """More bytes than the buffers of both ends hold."""
    with serve(rest_api_timeout_in_ms=50) as (port, handlers), connect(port) as client:
        handlers.reply = " " * (64 * 2**20)
        client.sendall(HEADER + b"\r\n{}")
        assert handlers.begun.wait(LAST_RESORT)
        # Longer than the time limit and the moment that follows it.
        time.sleep(1.5)
        received = 0
        try:
            while part := client.recv(2**20):
                received += len(part)
        except ConnectionError:
            pass
        assert received < len(handlers.reply)


def test_a_client_that_reads_slowly_loses_its_connection() -> None:
    """It takes something all the time, and would take minutes for the whole reply."""
    with serve(rest_api_timeout_in_ms=50) as (port, handlers), connect(port) as client:
        handlers.reply = " " * (64 * 2**20)
        client.sendall(HEADER + b"\r\n{}")
        received, reads = 0, 0
        try:
            while part := client.recv(1000):
                received, reads = received + len(part), reads + 1
                time.sleep(0.001 if reads < 2000 else 0)
        except ConnectionError:
            pass
        assert reads > 1000 and received < len(handlers.reply)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_bodies_up_to_the_limit(pack: Callable[[bytes], bytes]) -> None:
    headers = {"Content-Encoding": "gzip"} if pack is gzip.compress else {}
    with serve(rest_api_max_body_bytes=1000) as (port, _):
        assert post(port, pack(b" " * 1000), **headers) == (200, {"ok": True})
        received = 1001 if pack is bytes else "more"
        text = f"Body: expected at most 1000 bytes (--rest_api_max_body_bytes). Received: {received}"
        refusal = {"error": text}
        assert post(port, pack(b" " * 1001), **headers) == (413, refusal)


def test_a_client_that_asks_first_is_told_to_go_on_or_not() -> None:
    """curl does so for a large body."""
    header = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n".encode()
    with serve(rest_api_max_body_bytes=1000) as (port, _):
        with connect(port) as client:
            client.sendall(header + b"Content-Length: 1000\r\n\r\n")
            assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(b" " * 1000)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        with connect(port) as client:
            client.sendall(header + b"Content-Length: 1001\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_broken_request_line_is_refused() -> None:
    with serve() as (port, _), connect(port) as client:
        client.sendall(b"\x00\xff\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.")


def test_a_client_that_has_had_an_answer_stays_where_strangers_come() -> None:
    with serve(rest_api_max_connections=4) as (port, _), connect(port) as known:
        known.sendall(HEADER + b"\r\n{}")
        assert known.recv(65536).startswith(b"HTTP/1.1 200")
        strangers = [connect(port) for _ in range(12)]
        assert is_closed(strangers[0])
        known.sendall(HEADER + b"\r\n{}")
        assert known.recv(65536).startswith(b"HTTP/1.1 200")
        for stranger in strangers:
            stranger.close()
