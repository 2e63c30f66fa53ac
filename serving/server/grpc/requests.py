"""Requests that cannot be read: refused without a leak.

If a deserializer fails, gRPC's Python server waits for ever for the request, and the call keeps one of its connection's
streams. When no stream is left, good requests fail, too. So a deserializer here never fails: it passes on a mark, and
the method refuses it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

_UNDECODABLE = object()


def decoder(request_class: Any) -> Callable[[bytes], Any]:
    """Returns a deserializer of `request_class`."""

    def decode(data: bytes) -> Any:
        try:
            return request_class.FromString(data)
        except Exception:  # protobuf's classes differ by implementation
            return _UNDECODABLE

    return decode


def refuse_undecodable(request: Any, context: Any) -> None:
    """Ends the call with INTERNAL where the request could not be read, with the text of gRPC's Python server."""
    if request is _UNDECODABLE:
        context.abort(grpc.StatusCode.INTERNAL, "Exception deserializing request!")


def unary(
    request_class: Any, run: Callable[[Any, Any], Any], pool: ThreadPoolExecutor | None = None
) -> grpc.RpcMethodHandler:
    """Returns a method of one request and one reply; it runs on the server's threads, or on those of `pool`."""

    def checked(request: Any, context: Any) -> Any:
        refuse_undecodable(request, context)
        return run(request, context)

    # gRPC's Python server looks for this name. See grpc.experimental in its documentation.
    checked.experimental_thread_pool = pool  # type: ignore[attr-defined]
    return grpc.unary_unary_rpc_method_handler(
        checked,
        request_deserializer=decoder(request_class),
        response_serializer=lambda reply: reply.SerializeToString(),
    )
