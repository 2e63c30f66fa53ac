"""REST connections: how many there may be, and how long one may take to send a header."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from serving.server.file_descriptors import connections_within

# Connections that the system holds until they are taken. With asyncio's 100, a burst makes others wait a second.
_BACKLOG = 4096

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s"
)
_TOO_MANY = b'{"error": "expected at most %d connections (--rest_api_max_connections). Received: one more"}'


def connection_limit(wanted: int) -> int:
    """Returns how many REST connections may be open: half of the file descriptors stay for gRPC, models and logs."""
    return connections_within(wanted, 0.5)


class Connections:
    """Makes the connections of a listening socket.

    Args:
        server: aiohttp's.
        max_connections: How many may be open. For a further one that closes which has waited for its client longest,
            of those that have had no answer yet where there are any; where none waits, the further one gets 503.
        header_seconds: In which a header must have arrived. After that the connection is closed.
    """

    def __init__(self, server: web.Server, *, max_connections: int, header_seconds: float) -> None:
        self.max_connections = max_connections
        self.header_seconds = header_seconds
        self.count = 0  # changed on the event loop's thread alone
        # Connections that wait for a header or a body, the one that waits longest first: those that have had no answer
        # yet, and the others. A burst of strangers closes no connection of a client that rests between two requests.
        self._strangers: dict[Connection, None] = {}
        self._known: dict[Connection, None] = {}
        self._server = server

    def __call__(self) -> Connection:
        """Returns the protocol of a new connection."""
        loop = asyncio.get_running_loop()
        return Connection(self, self._server, loop)

    def has_room(self) -> bool:
        """Returns whether one more may be open. Where it must, the one that has waited longest is closed for it."""
        if self.count >= self.max_connections and (waiting := self._strangers or self._known):
            next(iter(waiting)).give_way()
        return self.count < self.max_connections

    def waits(self, connection: Connection) -> None:
        """Notes that a connection waits for its client from now on."""
        self.waits_no_longer(connection)
        (self._known if connection.is_known else self._strangers)[connection] = None

    def waits_no_longer(self, connection: Connection) -> None:
        """Notes that a connection has its request, or is closed."""
        self._strangers.pop(connection, None)
        self._known.pop(connection, None)


class Connection(RequestHandler):
    """One connection. `header_arrived` and `answered` tell it when a request runs."""

    __slots__ = ("_connections", "_header_timer", "_is_ahead", "_is_counted", "_is_open", "_request", "is_known")

    def __init__(self, connections: Connections, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop=loop, **server._kwargs)
        self._connections = connections
        self._header_timer: asyncio.TimerHandle | None = None
        self._is_counted = self._is_open = False
        #: Whether it has had a good answer.
        self.is_known = False
        self._request: web.BaseRequest | None = None
        # Whether the next header began before the answer was written.
        self._is_ahead = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuses one connection too many, else waits for its first header."""
        limit = self._connections.max_connections
        if not self._connections.has_room():
            text = _TOO_MANY % limit
            stream = cast(asyncio.Transport, transport)
            stream.write(_BUSY % (len(text), text))
            stream.close()
            return
        self._connections.count += 1
        self._is_counted = self._is_open = True
        self._connections.waits(self)
        super().connection_made(transport)
        self._await_header()

    def data_received(self, data: bytes) -> None:
        """Passes bytes on; the first ones after an answer begin a header."""
        if not self._is_open:
            return
        if self._request is not None:
            self._is_ahead = self._is_ahead or self._request.content.is_eof()
        elif self._header_timer is None:
            self._await_header()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Makes room for another connection."""
        self._stop_timer()
        self._leave()
        if self._is_open:
            self._is_open = False
            super().connection_lost(exc)

    def give_way(self) -> None:
        """Closes the connection for another one."""
        self._leave()
        self.force_close()

    def _leave(self) -> None:
        self._connections.waits_no_longer(self)
        if self._is_counted:
            self._is_counted = False
            self._connections.count -= 1

    def header_arrived(self, request: web.BaseRequest) -> None:
        """Notes that a request has begun. Its body may still have to arrive."""
        self._request = request
        self._is_ahead = False
        self._stop_timer()

    def body_arrived(self) -> None:
        """Notes that a request runs."""
        self._connections.waits_no_longer(self)

    def answered(self, *, well: bool) -> None:
        """Notes that the request has its answer.

        Args:
            well: Whether it was none that a stranger gets for anything.
        """
        self.is_known = self.is_known or well
        self._request = None
        if self._is_counted:
            self._connections.waits(self)
        if self._is_ahead and self._is_counted:
            self._await_header()

    def _await_header(self) -> None:
        self._stop_timer()
        self._header_timer = self._loop.call_later(self._connections.header_seconds, self.force_close)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


async def listen(
    connections: Callable[[], Connection], host: str, port: int, *, shared: bool = False
) -> asyncio.Server:
    """Returns the listening sockets; `shared` lets other processes listen on the same port."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        connections, host, port, reuse_address=True, reuse_port=shared or None, backlog=_BACKLOG
    )
