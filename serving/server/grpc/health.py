"""grpc.health.v1.Health, behind `--enable_grpc_healthcheck_service`.

TensorFlow Serving registers short names and never takes SERVING back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc

from serving.protocol.protos import HealthCheckRequest, HealthCheckResponse
from serving.server.grpc.requests import decoder, refuse_undecodable, unary

_SERVING, _SERVICE_UNKNOWN = 1, 3
_NAMES = frozenset({"", "PredictionService", "ModelService"})
# A watcher holds a thread of the server for as long as it watches.
_MAX_WATCHERS = 8


class Health:
    """Check and Watch for a server whose models are up."""

    def __init__(self) -> None:
        self._watchers = threading.BoundedSemaphore(_MAX_WATCHERS)

    def handler(self) -> grpc.GenericRpcHandler:
        """What the gRPC server registers."""
        watch = grpc.unary_stream_rpc_method_handler(
            self.watch,
            request_deserializer=decoder(HealthCheckRequest),
            response_serializer=lambda response: response.SerializeToString(),
        )
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health", {"Check": unary(HealthCheckRequest, self.check), "Watch": watch}
        )

    def check(self, request: Any, context: Any) -> Any:
        """SERVING, or NOT_FOUND for a name that is not registered."""
        if request.service not in _NAMES:
            context.abort(grpc.StatusCode.NOT_FOUND, "")
        return HealthCheckResponse(status=_SERVING)

    def watch(self, request: Any, context: Any) -> Iterator[Any]:
        """The state, which does not change, and then nothing until the client goes."""
        refuse_undecodable(request, context)
        if not self._watchers.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {_MAX_WATCHERS} watchers")
        gone = threading.Event()
        try:
            if not context.add_callback(gone.set):
                return
            yield HealthCheckResponse(status=_SERVING if request.service in _NAMES else _SERVICE_UNKNOWN)
            gone.wait()
        finally:
            self._watchers.release()
