"""What every REST request passes before and after its handler: health, tokens, the access log."""

from __future__ import annotations

from collections.abc import Callable, Collection

from aiohttp import web, web_response
from aiohttp.typedefs import Handler, Middleware

from serving.protocol.errors import RequestError
from serving.server.access_log import Access, AccessLog, current, request_id
from serving.server.rest.replies import error_to_json
from serving.server.tokens import Tokens
from serving.server.traffic import Traffic

LIVE, READY = "/v1/health/live", "/v1/health/ready"
_ID = "X-Request-Id"


def name_no_versions() -> None:
    """Makes the header `Server` name no versions.

    aiohttp has no setting for it, and replies to malformed HTTP pass no middleware.
    """
    web_response.SERVER_SOFTWARE = "model-server"


def observing(traffic: Traffic, log: AccessLog, unobserved: Collection[str]) -> Middleware:
    """Returns what counts the requests that run and writes the access log.

    Args:
        traffic: Where they are counted.
        log: Gets a line for each.
        unobserved: Paths of health and metrics, which are neither counted nor logged.
    """

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path in unobserved:
            return await handler(request)
        access = Access("REST", f"{request.method} {path}", request_id(request.headers.get(_ID)), status="499")
        mark = current.set(access)
        try:
            with traffic.request("REST"):
                reply = await handler(request)
            access.status = str(reply.status)
            reply.headers[_ID] = access.request_id
            return reply
        finally:
            log.write(access)
            current.reset(mark)

    return observe


def with_tokens(tokens: Tokens, free: Collection[str]) -> Middleware:
    """Returns what refuses requests without a known token, before their body is read.

    Args:
        tokens: The known ones.
        free: Paths that need none.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        # A browser's preflight request never has a token.
        preflight = request.method == "OPTIONS" and "Origin" in request.headers
        if not preflight and request.rel_url.raw_path not in free:
            try:
                tokens.check(request.headers.get("Authorization"))
            except RequestError as error:
                headers = {"WWW-Authenticate": "Bearer"}
                return _json(error_to_json(error.message), error.http_status, headers)
        return await handler(request)

    return check


def with_health(traffic: Traffic, models_are_ready: Callable[[], bool]) -> Middleware:
    """Returns what answers `/v1/health/live` and `/v1/health/ready`, however many requests wait for a thread."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if request.method not in ("GET", "HEAD") or path not in (LIVE, READY):
            return await handler(request)
        if path == READY and traffic.draining:
            return _json('{"status": "draining"}', 503)
        if path == READY and not models_are_ready():
            return _json('{"status": "a model has no version that answers"}', 503)
        return _json(f'{{"status": "{path.rsplit("/", 1)[1]}"}}', 200)

    return answer


def _json(text: str, status: int, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")
