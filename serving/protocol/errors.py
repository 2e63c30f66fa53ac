"""Errors that a client sees: a status code and a text, the same over gRPC and REST."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import grpc

# Bytes, by grpc_status_util.cc, so that messages fit into HTTP/2 trailers: gRPC writes a byte that is not ASCII as
# three, and clients refuse trailers of more than 8 KiB.
_MAX_MESSAGE = 1024
_TRUNCATED = "...TRUNCATED"

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_HTTP = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class RequestError(Exception):
    """A request, or a model version, that cannot be served; `code` and `message` are what the client gets."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message

    @classmethod
    def from_number(cls, number: int, message: str) -> RequestError:
        """Returns the error with a code's number, as TensorFlow's errors carry it."""
        return cls(_CODES.get(number, grpc.StatusCode.UNKNOWN), message)

    @property
    def number(self) -> int:
        """The code's number on the wire."""
        return int(self.code.value[0])

    @property
    def http_status(self) -> int:
        """The HTTP status that TensorFlow Serving maps the code to."""
        return _HTTP[self.code]

    @property
    def wire_message(self) -> str:
        """The message as gRPC carries it, cut where it is too long."""
        data = self.message.encode("utf-8", "replace")
        if len(data) <= _MAX_MESSAGE:
            return data.decode()
        return data[:_MAX_MESSAGE].decode("utf-8", "ignore") + _TRUNCATED


_Maker = Callable[[str], RequestError]
invalid_argument: _Maker = partial(RequestError, grpc.StatusCode.INVALID_ARGUMENT)
failed_precondition: _Maker = partial(RequestError, grpc.StatusCode.FAILED_PRECONDITION)
not_found: _Maker = partial(RequestError, grpc.StatusCode.NOT_FOUND)
unimplemented: _Maker = partial(RequestError, grpc.StatusCode.UNIMPLEMENTED)
unavailable: _Maker = partial(RequestError, grpc.StatusCode.UNAVAILABLE)
deadline_exceeded: _Maker = partial(RequestError, grpc.StatusCode.DEADLINE_EXCEEDED)
internal: _Maker = partial(RequestError, grpc.StatusCode.INTERNAL)
data_loss: _Maker = partial(RequestError, grpc.StatusCode.DATA_LOSS)
permission_denied: _Maker = partial(RequestError, grpc.StatusCode.PERMISSION_DENIED)
