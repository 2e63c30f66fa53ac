"""HTTP around the REST handlers, on a thread and an event loop of its own."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Middleware

from serving.protocol.errors import RequestError, unavailable
from serving.server.flags import address
from serving.server.metrics import CONTENT_TYPE, Metrics
from serving.server.rest.handlers import RestHandlers
from serving.server.rest.middlewares import name_no_versions
from serving.server.rest.replies import error_to_json

# aiohttp waits twice, for the handler and then for the connection, each time half of this.
_GRACE_SECONDS = 5.0
# How long a client that still sends can read its error. With aiohttp's 10 s, slow bodies would keep connections.
_LINGERING_SECONDS = 1.0
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


class _RefusedError(Exception):
    """A request that reaches no handler."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class RestServer:
    """Listens for REST requests and hands them to the handlers.

    Args:
        handlers: Answer the requests.
        metrics: What the metrics page shows.
        metrics_path: Path of that page, None for no page.
        max_body_bytes: Largest body, unpacked; larger ones get 413.
        cors: Answer preflight requests of browsers.
        threads: Requests that run at the same time.
        max_requests: Requests that may run or wait; further ones get 429.
        timeout: Seconds within which a body must arrive; slower ones get 408.
        middlewares: What every request passes, the outermost first.
    """

    def __init__(
        self,
        handlers: RestHandlers,
        metrics: Metrics,
        *,
        metrics_path: str | None,
        max_body_bytes: int,
        cors: bool,
        threads: int,
        max_requests: int,
        timeout: float,
        middlewares: Sequence[Middleware] = (),
    ) -> None:
        self._handlers = handlers
        self._metrics = metrics
        self._metrics_path = metrics_path
        self._max_body_bytes = max_body_bytes
        self._cors = cors
        self._max_requests = max_requests
        self._timeout = timeout
        self._middlewares = middlewares
        self._running = 0  # changed on the event loop's thread alone
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="serving-rest")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="serving-rest", daemon=True)
        self._runner: web.AppRunner | None = None

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
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _open(self, host: str, port: int) -> int:
        name_no_versions()
        application = web.Application(client_max_size=self._max_body_bytes, middlewares=self._middlewares)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=_GRACE_SECONDS / 2, lingering_time=_LINGERING_SECONDS
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host.strip("[]"), port).start()
        return int(self._runner.addresses[0][1])

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path
        if path == self._metrics_path and request.method == "GET":
            return web.Response(text=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})
        if not path.lower().startswith("/v1/"):
            return _html(HTTPStatus.NOT_FOUND)
        if self._cors and request.method == "OPTIONS" and "Origin" in request.headers:
            return web.Response(headers=_CORS, content_type="application/json")
        headers = _CORS if self._cors else None
        try:
            self._check_running()
            body = await self._read(request)
            # Counted only now: otherwise clients that send slowly would keep all others out.
            self._check_running()
        except _RefusedError as refused:
            reply = _json(error_to_json(refused.message), refused.status, headers)
            if refused.status == HTTPStatus.REQUEST_TIMEOUT:
                reply.force_close()
            return reply
        self._running += 1
        try:
            return await self._answer_model(request.method, path, body, headers)
        finally:
            self._running -= 1

    def _check_running(self) -> None:
        if self._running >= self._max_requests:
            raise _RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS, f"More than {self._max_requests} requests at the same time"
            )

    async def _read(self, request: web.Request) -> bytes:
        try:
            return await asyncio.wait_for(request.read(), self._timeout)
        except asyncio.TimeoutError as error:
            raise _RefusedError(
                HTTPStatus.REQUEST_TIMEOUT, f"Body did not arrive within {self._timeout:g} s"
            ) from error
        except web.HTTPRequestEntityTooLarge as error:
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Body is larger than {self._max_body_bytes} bytes"
            ) from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, f"Body cannot be read: {error}") from error

    async def _answer_model(self, method: str, path: str, body: bytes, headers: dict[str, str] | None) -> web.Response:
        try:
            text = await asyncio.get_running_loop().run_in_executor(
                self._pool, contextvars.copy_context().run, self._handlers.answer, method, path, body
            )
            return _json(text, 200, headers)
        except RequestError as error:
            return _json(error_to_json(error.message), error.http_status, headers)


def _json(text: str, status: int, headers: dict[str, str] | None) -> web.Response:
    # Strings that were not UTF-8 in the request are the same bytes in the reply.
    body = text.encode("utf-8", "surrogateescape")
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _html(status: HTTPStatus) -> web.Response:
    """Returns the error page of the HTTP library that TensorFlow Serving uses."""
    page = (
        f"<HTML><HEAD>\n<TITLE>{status.value} {status.phrase}</TITLE>\n</HEAD><BODY>\n"
        f"<H1>{status.phrase}</H1>\n</BODY></HTML>\n"
    )
    return web.Response(text=page, status=status.value, content_type="text/html")
