"""Reads the message of a call, and hands out its reply, without letting slow clients hold what others need.

gRPC's Python server waits for a message on one of its threads, for as long as the client likes, and keeps a reply until
the client takes it. Here many threads may wait for messages and few run them. The oldest call that still sends is
cancelled where three quarters of all calls only send, and any after some seconds. It is the same with replies, by their
bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc

from serving.protocol.errors import RequestError
from serving.server.flags import ServerFlags
from serving.server.holdings import Holdings
from serving.server.work import Budget, Work

_POOL = "experimental_thread_pool"
_HEALTH = "/grpc.health.v1.Health/"
# Smaller replies fit into the buffers that every connection has.
_SMALL_REPLY = 64 * 2**10
_FOREVER = 1e6  # seconds; without a deadline gRPC reports years


def time_left(context: Any) -> float | None:
    """Returns the seconds that a call may still take, None without a deadline."""
    left = context.time_remaining()
    return None if left is None or left > _FOREVER else float(left)


class MessageInterceptor(grpc.ServerInterceptor):
    """Makes every method of one message read it within bounds. It must be the outermost interceptor.

    Args:
        flags: The settings.
    """

    def __init__(self, flags: ServerFlags) -> None:
        # Most of the places: a burst of good clients must not drop each other's calls.
        most_reading = max(2, flags.grpc_max_concurrent_requests * 3 // 4)
        self._reading = Holdings(most_reading, flags.grpc_message_seconds, "serving-grpc-messages")
        self._replies = Holdings(flags.max_held_reply_bytes, flags.grpc_reply_seconds, "serving-grpc-replies")
        self._running = Budget(flags.grpc_max_threads, "requests (--grpc_max_threads)")

    def stop(self) -> None:
        """Ends its threads."""
        self._reading.stop()
        self._replies.stop()

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Returns the method's handler as one of a stream, which can be waited for."""
        handler = continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                lambda messages, context: self._stream(handler, messages, context),
                response_serializer=handler.response_serializer,
            )
        pool = getattr(handler.unary_unary, _POOL, None)
        # Health answers although all who may run do. A method with threads of its own does not wait for the others'.
        is_apart = pool is not None or handler_call_details.method.startswith(_HEALTH)

        def run(messages: Any, context: Any) -> bytes:
            return self._answer(handler, messages, context, is_apart=is_apart)

        setattr(run, _POOL, pool)
        return grpc.stream_unary_rpc_method_handler(run)

    def _answer(self, handler: Any, messages: Iterator[bytes], context: Any, *, is_apart: bool) -> bytes:
        data = self._read(messages, context)
        if is_apart:
            return self._run(handler, data, context)
        work = Work(time_left(context))
        context.add_callback(work.leave)
        try:
            with self._running.share(1, work):
                return self._run(handler, data, context)
        except RequestError as error:
            context.abort(error.code, error.wire_message)
        raise AssertionError("context.abort returned")

    def _run(self, handler: Any, data: bytes, context: Any) -> bytes:
        answer = handler.unary_unary(_request(handler, data), context)
        reply: bytes = answer if handler.response_serializer is None else handler.response_serializer(answer)
        if len(reply) > _SMALL_REPLY:
            held = self._replies.hold(len(reply), context.cancel)
            if not context.add_callback(lambda: self._replies.release(held)):
                self._replies.release(held)
        return reply

    def _stream(self, handler: Any, messages: Iterator[bytes], context: Any) -> Iterator[Any]:
        yield from handler.unary_stream(_request(handler, self._read(messages, context)), context)

    def _read(self, messages: Iterator[bytes], context: Any) -> bytes:
        held = self._reading.hold(1, context.cancel)
        # A call that its client has cancelled counts no longer, even before its thread has noticed. Otherwise thousands
        # of them would end a call whose message has come.
        context.add_callback(lambda: self._reading.release(held))
        try:
            for data in messages:
                return data
        finally:
            self._reading.release(held)
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the method requires exactly one request message.")
        raise AssertionError("context.abort returned")


def _request(handler: Any, data: bytes) -> Any:
    return data if handler.request_deserializer is None else handler.request_deserializer(data)
