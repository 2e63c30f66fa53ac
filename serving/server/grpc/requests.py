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

from serving.protocol.errors import RequestError, internal
from serving.server.limits import check_parts

# In the words of gRPC's Python server.
_UNDECODABLE = internal("Exception deserializing request!")


def decoder(request_class: Any, max_parts: int = 0) -> Callable[[bytes], Any]:
    """Returns a deserializer of `request_class`, which returns a RequestError for what it cannot read.

    Args:
        request_class: Of the messages.
        max_parts: Fields of one message; 0 = no limit.
    """

    def decode(data: bytes) -> Any:
        try:
            check_parts(data, request_class.DESCRIPTOR, max_parts)
            return request_class.FromString(data)
        except RequestError as error:
            return error
        except Exception:  # protobuf's classes differ by implementation
            return _UNDECODABLE

    return decode


def refuse_undecodable(request: Any, context: Any) -> None:
    """Ends the call where the request could not be read."""
    if isinstance(request, RequestError):
        context.abort(request.code, request.wire_message)


def unary(
    request_class: Any, run: Callable[[Any, Any], Any], pool: ThreadPoolExecutor | None = None, *, max_parts: int = 0
) -> grpc.RpcMethodHandler:
    """Returns a method of one request and one reply.

    Args:
        request_class: Of the requests.
        run: Answers a request.
        pool: The threads on which it runs; None = those of the server.
        max_parts: Fields of one message; 0 = no limit.
    """

    def checked(request: Any, context: Any) -> Any:
        refuse_undecodable(request, context)
        return run(request, context)

    # gRPC's Python server looks for this name. See grpc.experimental in its documentation.
    checked.experimental_thread_pool = pool  # type: ignore[attr-defined]
    return grpc.unary_unary_rpc_method_handler(
        checked,
        request_deserializer=decoder(request_class, max_parts),
        response_serializer=lambda reply: reply.SerializeToString(),
    )
