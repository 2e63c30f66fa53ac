"""HTTP around the REST handlers, on a thread and an event loop of its own."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware

from serving.protocol.errors import RequestError, deadline_exceeded, unavailable
from serving.server.config_files import metrics_path
from serving.server.flags import ServerFlags, address
from serving.server.holdings import Holdings
from serving.server.metrics import CONTENT_TYPE, Rendered
from serving.server.rest.bodies import Bodies, RefusedError, largest_unpacked, unpacked
from serving.server.rest.connections import Connection, Connections, connection_limit, listen
from serving.server.rest.handlers import RestHandlers
from serving.server.rest.middlewares import name_no_versions
from serving.server.rest.replies import error_to_json
from serving.server.work import Budget, Work

# aiohttp waits twice, for the handler and then for the connection, each time half of this.
_GRACE_SECONDS = 5.0
# How long a client that still sends can read its error. With aiohttp's 10 s, slow bodies would keep connections.
_LINGERING_SECONDS = 1.0
# How long a connection may rest between two requests.
_KEEPALIVE_SECONDS = 75.0
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
}


class RestServer:
    """Listens for REST requests and hands them to the handlers.

    Args:
        handlers: Answer the requests.
        metrics: What the metrics page shows.
        flags: The settings.
        middlewares: What every request passes, the outermost first.
    """

    def __init__(
        self, handlers: RestHandlers, metrics: Rendered, flags: ServerFlags, middlewares: Sequence[Middleware] = ()
    ) -> None:
        self._handlers = handlers
        self._metrics = metrics
        self._middlewares = middlewares
        self._metrics_path = metrics_path(flags.monitoring_config_file)
        self._max_body_bytes = flags.rest_api_max_body_bytes
        self._cors = flags.rest_api_enable_cors_support
        self._max_requests = flags.grpc_max_concurrent_requests
        self._is_shared = flags.workers > 1
        self._max_connections = connection_limit(flags.rest_api_max_connections)
        self._header_seconds = flags.rest_api_header_seconds
        self._timeout = flags.rest_api_timeout_in_ms / 1000
        self._bodies = Bodies(
            max_body_bytes=flags.rest_api_max_body_bytes,
            max_held_bytes=flags.rest_api_max_held_bytes,
            timeout=self._timeout,
        )
        self._parsed = Budget(flags.rest_api_max_parsed_bytes, "bytes (--rest_api_max_parsed_bytes)")
        self._replies = Holdings(flags.max_held_reply_bytes, self._timeout + _LINGERING_SECONDS, "serving-rest-replies")
        self._running = 0  # changed on the event loop's thread alone
        threads = flags.rest_api_num_threads or flags.grpc_max_threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="serving-rest")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="serving-rest", daemon=True)
        self._runner: web.ServerRunner | None = None
        self._socket: asyncio.Server | None = None

    def start(self, host: str, port: int) -> int:
        """Listens; returns the port, which the system chooses for 0.

        Raises:
            RequestError: UNAVAILABLE, if the port is taken.
        """
        self._thread.start()
        try:
            return asyncio.run_coroutine_threadsafe(self._open(host, port), self._loop).result()
        except OSError as error:
            self.stop()
            raise unavailable(f"cannot listen on {address(host, port)}: {error}") from error

    def stop(self) -> None:
        """Lets requests end, for a few seconds, then closes the port. Threads that still run are left behind."""
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._close(self._runner), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._replies.stop()

    async def _open(self, host: str, port: int) -> int:
        name_no_versions()
        server = web.Server(
            self._answer,
            handler_cancellation=True,
            access_log=None,
            logger=_http_logger(),
            lingering_time=_LINGERING_SECONDS,
            auto_decompress=False,
            keepalive_timeout=_KEEPALIVE_SECONDS,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=_GRACE_SECONDS / 2)
        await self._runner.setup()
        connections = Connections(server, max_connections=self._max_connections, header_seconds=self._header_seconds)
        self._socket = await listen(connections, host.strip("[]"), port, shared=self._is_shared)
        return int(self._socket.sockets[0].getsockname()[1])

    async def _close(self, runner: web.ServerRunner) -> None:
        if self._socket is not None:
            self._socket.close()
        await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.header_arrived(request)
        work = Work(self._timeout)
        is_well = False
        try:
            reply = await self._through_middlewares(request, work)
            await self._send(request, reply, work)
            is_well = request.method == "POST" and reply.status == HTTPStatus.OK
            return reply
        finally:
            # The client may have left, or the server may stop. Whatever still runs for it ends soon.
            work.leave()
            connection.answered(well=is_well)

    async def _through_middlewares(self, request: web.BaseRequest, work: Work) -> web.StreamResponse:
        async def innermost(request: web.BaseRequest) -> web.StreamResponse:
            return await self._reply(request, work)

        handler: Any = innermost
        for middleware in reversed(self._middlewares):
            handler = partial(middleware, handler=handler)
        return cast(web.StreamResponse, await handler(request))

    async def _send(self, request: web.BaseRequest, reply: web.StreamResponse, work: Work) -> None:
        """Writes a reply; a client that does not take it in time loses its connection."""
        body = getattr(reply, "body", None)
        try:
            with self._replies.holding(
                len(body) if isinstance(body, (bytes, bytearray)) else 0, partial(self._drop, request)
            ):
                await reply.prepare(request)
                # A reply that is late has a moment to tell so.
                await asyncio.wait_for(reply.write_eof(), max(_LINGERING_SECONDS, (work.left_ms() or 0) / 1000))
        except asyncio.TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the reply was not taken in time") from None

    def _drop(self, request: web.BaseRequest) -> None:
        """Closes the connection of a client that is slow to take its reply."""
        if request.transport is not None:
            self._loop.call_soon_threadsafe(request.transport.abort)

    async def _reply(self, request: web.BaseRequest, work: Work) -> web.Response:
        if (page := await self._page(request)) is not None:
            return page
        headers = _CORS if self._cors else None
        try:
            self._check_running()
            body = await self._bodies.read(request)
            cast(Connection, request.protocol).body_arrived()
        except RefusedError as refused:
            return _refusal(refused, headers)
        except (web.RequestPayloadError, ConnectionError) as error:
            return _refusal(RefusedError(HTTPStatus.BAD_REQUEST, f"Body cannot be read: {error}"), headers)
        try:
            # Counted only now: otherwise clients that send slowly would keep all others out.
            self._check_running()
            return await self._run(request, body, headers, work)
        except RefusedError as refused:
            return _refusal(refused, headers)
        finally:
            self._bodies.release(body)

    async def _page(self, request: web.BaseRequest) -> web.Response | None:
        """Returns what is answered without the models, None for a request that needs them."""
        path = request.rel_url.raw_path
        if path == self._metrics_path and request.method == "GET":
            # On a thread: where there are other workers, it asks them.
            text = await asyncio.get_running_loop().run_in_executor(None, self._metrics.render)
            return web.Response(text=text, headers={"Content-Type": CONTENT_TYPE})
        if not path.lower().startswith("/v1/"):
            return _html(HTTPStatus.NOT_FOUND)
        if self._cors and request.method == "OPTIONS" and "Origin" in request.headers:
            return web.Response(headers=_CORS, content_type="application/json")
        return None

    def _check_running(self) -> None:
        if self._running >= self._max_requests:
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"expected at most {self._max_requests} requests at the same time (--grpc_max_concurrent_requests). "
                "Received: one more",
            )

    async def _run(
        self, request: web.BaseRequest, body: bytes, headers: dict[str, str] | None, work: Work
    ) -> web.Response:
        encoding = request.headers.get("Content-Encoding", "")
        self._running += 1
        try:
            run = contextvars.copy_context().run  # the access log's line of this request, on the thread, too
            answer = asyncio.get_running_loop().run_in_executor(
                self._pool, run, self._work, request.method, request.rel_url.raw_path, body, encoding, work
            )
            return _json(
                await asyncio.wait_for(answer, (work.left_ms() or 0) / 1000 + _LINGERING_SECONDS), 200, headers
            )
        except asyncio.TimeoutError:
            late = deadline_exceeded(f"expected the request to take at most {self._timeout:g} s")
            return _json(_error(late.message), late.http_status, headers)
        except RequestError as error:
            return _json(_error(error.message), error.http_status, headers)
        finally:
            self._running -= 1

    def _work(self, method: str, path: str, body: bytes, encoding: str, work: Work) -> bytes | bytearray:
        """Answers on a thread of the pool."""
        amount = largest_unpacked(body, encoding, self._max_body_bytes)
        with self._parsed.share(amount, work):
            return self._handlers.answer(method, path, unpacked(body, encoding, self._max_body_bytes), work)


def _http_logger() -> logging.Logger:
    """Returns a logger without tracebacks of malformed requests and clients that leave: anybody could fill a disk."""
    logger = logging.getLogger("serving.server.http")
    if not logger.filters:
        theirs = (HttpProcessingError, ConnectionError)
        logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], theirs)))
    return logger


def _error(message: str) -> bytes:
    return error_to_json(message).encode("utf-8", "surrogateescape")


def _refusal(refused: RefusedError, headers: dict[str, str] | None) -> web.Response:
    reply = _json(_error(refused.message), refused.status, headers)
    if refused.status == HTTPStatus.REQUEST_TIMEOUT:
        reply.force_close()
    return reply


def _json(body: bytes | bytearray, status: int, headers: dict[str, str] | None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _html(status: HTTPStatus) -> web.Response:
    """Returns the error page of the HTTP library that TensorFlow Serving uses."""
    page = (
        f"<HTML><HEAD>\n<TITLE>{status.value} {status.phrase}</TITLE>\n</HEAD><BODY>\n"
        f"<H1>{status.phrase}</H1>\n</BODY></HTML>\n"
    )
    return web.Response(text=page, status=status.value, content_type="text/html")
