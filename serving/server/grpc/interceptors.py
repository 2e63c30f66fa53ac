"""What every gRPC call passes before and after its method: tokens, the count of running requests, the access log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from serving.protocol.errors import RequestError
from serving.server.access_log import Access, AccessLog, current, request_id
from serving.server.tokens import Tokens
from serving.server.traffic import Traffic

_HEALTH = "/grpc.health.v1.Health/"
_ID = "x-request-id"
_CHALLENGE = (("www-authenticate", "Bearer"),)


class TokenInterceptor(grpc.ServerInterceptor):
    """Refuses calls without a known token.

    Args:
        tokens: The known ones.
        free_health: Whether health needs none.
    """

    def __init__(self, tokens: Tokens, *, free_health: bool) -> None:
        self._tokens = tokens
        self._free_health = free_health

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Returns the method's handler, or one that refuses."""
        if self._free_health and handler_call_details.method.startswith(_HEALTH):
            return continuation(handler_call_details)
        try:
            self._tokens.check(_metadata(handler_call_details).get("authorization"))
        except RequestError as error:
            return _refusing(error)
        return continuation(handler_call_details)


class ObservingInterceptor(grpc.ServerInterceptor):
    """Counts the calls that run and writes the access log. Health is not observed."""

    def __init__(self, traffic: Traffic, log: AccessLog) -> None:
        self._traffic = traffic
        self._log = log

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Returns the method's handler, observed."""
        path = handler_call_details.method
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None or path.startswith(_HEALTH):
            return handler
        given = _metadata(handler_call_details).get(_ID)

        def run(request: Any, context: Any) -> Any:
            access = Access("gRPC", path.rsplit("/", 1)[-1], request_id(given))
            return self._observe(access, handler.unary_unary, request, context)

        if (pool := getattr(handler.unary_unary, "experimental_thread_pool", None)) is not None:
            run.experimental_thread_pool = pool  # type: ignore[attr-defined]
        return grpc.unary_unary_rpc_method_handler(run, handler.request_deserializer, handler.response_serializer)

    def _observe(self, access: Access, method: Callable[[Any, Any], Any], request: Any, context: Any) -> Any:
        mark = current.set(access)
        context.set_trailing_metadata((*(context.trailing_metadata() or ()), (_ID, access.request_id)))
        access.note(request)
        try:
            with self._traffic.request("gRPC"):
                reply = method(request, context)
            access.note(request, reply)
            return reply
        except BaseException:
            access.status = (context.code() or grpc.StatusCode.UNKNOWN).name
            raise
        finally:
            self._log.write(access)
            current.reset(mark)


def _metadata(details: Any) -> dict[str, str]:
    return {key: value for key, value in details.invocation_metadata or () if isinstance(value, str)}


def _refusing(error: RequestError) -> grpc.RpcMethodHandler:
    def refuse(_: Any, context: Any) -> None:
        context.set_trailing_metadata(_CHALLENGE)
        context.abort(error.code, error.wire_message)

    return grpc.unary_unary_rpc_method_handler(refuse)
